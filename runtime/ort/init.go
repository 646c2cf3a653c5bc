package ort

import (
	"fmt"
	"sync"

	ortgo "github.com/yalue/onnxruntime_go"
)

var loaded struct {
	sync.Mutex
	lib  Library
	done bool
}

// Init finds ONNX Runtime and loads it, once per process: later calls return the
// library that is loaded, or an error if opt names another one. A failed Init
// may be repeated, for instance after Setup. The library logs nothing: what goes
// wrong is in the errors.
func Init(opt FindOptions) (Library, error) {
	loaded.Lock()
	defer loaded.Unlock()
	if loaded.done {
		if opt.Path == "" {
			return loaded.lib, nil
		}
		lib, err := Find(opt)
		if err != nil {
			return Library{}, err
		}
		if lib.Path != loaded.lib.Path {
			return Library{}, fmt.Errorf("ort: load %s: this process has already loaded %s", lib.Path, loaded.lib.Path)
		}
		return loaded.lib, nil
	}
	lib, err := Find(opt)
	if err != nil {
		return Library{}, err
	}
	ortgo.SetSharedLibraryPath(lib.Path)
	if err := ortgo.InitializeEnvironment(ortgo.WithLogLevelFatal()); err != nil {
		return Library{}, fmt.Errorf("ort: load %s: %w", lib.Path, err)
	}
	loaded.lib, loaded.done = lib, true
	return lib, nil
}
