package finetune

import (
	"errors"
	"fmt"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/runtime/ort"
)

// Machine returns the machine that a configuration names, and why it is that one.
func (c *Config) Machine() (engine.Machine, string, error) {
	fast := engine.ORT{Options: ort.Options{Device: c.Device, Threads: c.Threads}}
	switch c.Engine {
	case "go":
		return engine.Go{}, "asked for", nil
	case "ort", "auto", "":
	default:
		return nil, "", fmt.Errorf("finetune: unknown engine %q: choose auto, ort or go", c.Engine)
	}
	lib, err := ort.Init(ort.FindOptions{})
	if err == nil {
		return fast, lib.String(), nil
	}
	if c.Engine == "ort" || !errors.Is(err, ort.ErrNoLibrary) {
		return nil, "", fmt.Errorf("finetune: %w", err)
	}
	return engine.Go{}, "no ONNX Runtime found; sslrt setup installs it, and it is many times faster", nil
}
