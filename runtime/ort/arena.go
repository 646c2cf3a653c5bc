package ort

import (
	"errors"
	"fmt"
	"sync"

	ortgo "github.com/yalue/onnxruntime_go"
)

// registering is held while an arena stands in the library's environment.
var registering sync.Mutex

// withTightArena has load open sessions with an arena that takes from the system what is
// asked for. The library offers no such setting of a session, but sessions may use an
// arena of its environment. A session that has it keeps it, so it is taken from the
// environment at once: each session has its own, which goes when it is closed.
func withTightArena(load loadFunc) loadFunc {
	return func(in, out []string, o *ortgo.SessionOptions) (s *ortgo.DynamicAdvancedSession, err error) {
		if err := o.AddSessionConfigEntry("session.use_env_allocators", "1"); err != nil {
			return nil, fmt.Errorf("arena: %w", err)
		}
		where, err := ortgo.GetMemoryInfo()
		if err != nil {
			return nil, fmt.Errorf("arena: %w", err)
		}
		const sameAsRequested, standard = 1, -1
		arena, err := ortgo.NewArenaCfg(0, sameAsRequested, standard, standard)
		if err != nil {
			return nil, fmt.Errorf("arena: %w", err)
		}
		defer arena.Destroy()
		registering.Lock()
		defer registering.Unlock()
		if err := ortgo.CreateAndRegisterAllocator(where, arena); err != nil {
			return nil, fmt.Errorf("arena: %w", err)
		}
		s, err = load(in, out, o)
		if gone := ortgo.UnregisterAllocator(where); gone != nil {
			err = errors.Join(err, fmt.Errorf("arena: %w", gone))
			if s != nil {
				err = errors.Join(err, s.Destroy())
			}
		}
		return s, err
	}
}
