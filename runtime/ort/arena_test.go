package ort_test

import (
	"context"
	"sync"
	"testing"

	"github.com/sslrt/sslrt/runtime/ort"
)

// TestTightArena opens sessions with such an arena beside each other and beside others,
// and goes on with some after others were closed.
func TestTightArena(t *testing.T) {
	needLibrary(t)
	model := descent(t)
	open := func(tight bool) *ort.Session {
		s, err := ort.Open(model, ort.Options{Threads: 1, TightArena: tight})
		if err != nil {
			t.Error(err)
		}
		return s
	}
	kept := open(true)
	if kept == nil {
		return
	}
	defer kept.Close()
	step := func(s *ort.Session) {
		out := make([]*ort.Tensor, 2)
		in := []*ort.Tensor{tensor(t, []int{1, 2}, float32(2), 4), tensor(t, nil, float32(.5))}
		if err := s.Run(context.Background(), in, out); err != nil {
			t.Error(err)
			return
		}
		if w := data[float32](t, out[0]); w[0] != 1 || w[1] != 2 {
			t.Errorf("the step gives %v, want [1 2]", w)
		}
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if s := open(i%2 == 0); s != nil {
				step(s)
				s.Close()
			}
		})
	}
	all.Wait()
	step(kept)
}
