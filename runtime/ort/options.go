package ort

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	ortgo "github.com/yalue/onnxruntime_go"
)

// OptLevel says how far ONNX Runtime may rewrite the graph before it runs.
type OptLevel int

const (
	OptAll      OptLevel = iota // all rewrites, the blocked layout included (the default)
	OptExtended                 // fusions too
	OptBasic                    // only what leaves every operator standard
	OptNone                     // run the graph as it is written
)

// Options configures a session. The zero value runs on the CPU with one thread
// per available processor.
type Options struct {
	// Device is "cpu" (the default), "cuda" or "cuda:N". CUDA needs a library
	// that was built for it, and the CUDA libraries.
	Device string
	// Threads works on one run; 0 is GOMAXPROCS.
	Threads int
	// OptLevel is OptAll by default.
	OptLevel OptLevel
	// Profile, if set, is the path prefix of a JSON profile with a time per
	// node, written when the session is closed.
	Profile string
	// Optimized, if set, is where the library writes the model as it runs it, with
	// its own rewrites.
	Optimized string
	// Providers are execution providers tried in this order before the device's.
	Providers []Provider
	// Libraries are files of custom operators that models of this session may use.
	Libraries []string
	// Config holds further session settings by the names of
	// onnxruntime_session_options_config_keys.h, such as
	// "session.intra_op.allow_spinning".
	Config map[string]string
	// NoArena frees memory after each run instead of keeping it for the next.
	NoArena bool
	// TightArena has the arena take from the system what is asked for, not powers of
	// two: less memory where many tensors have the same few sizes, as in a training
	// step.
	TightArena bool
	// NoMemPattern plans no fixed memory layout; use it when shapes change from
	// run to run.
	NoMemPattern bool
	// Inputs and Outputs fix what Run takes and returns, and their order. With
	// both set the model is loaded once; otherwise it is loaded a second time
	// to ask for what is missing. Outputs may name a part of the model's.
	Inputs, Outputs []Info
}

// Provider is an execution provider by ONNX Runtime's short name ("CoreML",
// "OpenVINO", "XNNPACK", ...) with its own options.
type Provider struct {
	Name    string
	Options map[string]string
}

// native builds the library's options; the caller destroys them.
func (o Options) native() (_ *ortgo.SessionOptions, err error) {
	device, err := cudaDevice(o.Device)
	if err != nil {
		return nil, err
	}
	if o.Threads < 0 {
		return nil, fmt.Errorf("threads: got %d, want 0 (all) or more", o.Threads)
	}
	if o.OptLevel < OptAll || o.OptLevel > OptNone {
		return nil, fmt.Errorf("optimisation level: got %d, want %d to %d", o.OptLevel, OptAll, OptNone)
	}
	n, err := ortgo.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			n.Destroy()
		}
	}()
	threads := o.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	level := [...]ortgo.GraphOptimizationLevel{
		OptAll:      ortgo.GraphOptimizationLevelEnableAll,
		OptExtended: ortgo.GraphOptimizationLevelEnableExtended,
		OptBasic:    ortgo.GraphOptimizationLevelEnableBasic,
		OptNone:     ortgo.GraphOptimizationLevelDisableAll,
	}[o.OptLevel]
	settings := []func() error{
		func() error { return n.SetIntraOpNumThreads(threads) },
		func() error { return n.SetInterOpNumThreads(1) },
		func() error { return n.SetGraphOptimizationLevel(level) },
		func() error { return n.SetLogSeverityLevel(ortgo.LoggingLevelFatal) },
		func() error { return n.SetCpuMemArena(!o.NoArena) },
		func() error { return n.SetMemPattern(!o.NoMemPattern) },
	}
	for _, set := range settings {
		if err := set(); err != nil {
			return nil, err
		}
	}
	if o.Profile != "" {
		if err := n.EnableProfiling(o.Profile); err != nil {
			return nil, fmt.Errorf("profile %s: %w", o.Profile, err)
		}
	}
	if o.Optimized != "" {
		if err := n.SetOptimizedModelFilePath(o.Optimized); err != nil {
			return nil, fmt.Errorf("optimised model %s: %w", o.Optimized, err)
		}
	}
	for _, key := range sortedKeys(o.Config) {
		if err := n.AddSessionConfigEntry(key, o.Config[key]); err != nil {
			return nil, fmt.Errorf("session setting %s=%s: %w", key, o.Config[key], err)
		}
	}
	for _, path := range o.Libraries {
		if err := n.RegisterCustomOpsLibrary(path); err != nil {
			return nil, fmt.Errorf("custom operators of %s: %w", path, err)
		}
	}
	for _, p := range o.Providers {
		if err := n.AppendExecutionProvider(p.Name, p.Options); err != nil {
			return nil, fmt.Errorf("execution provider %s: %w", p.Name, err)
		}
	}
	if device >= 0 {
		if err := appendCUDA(n, device); err != nil {
			return nil, fmt.Errorf("device %s: %w; install a build of ONNX Runtime with CUDA and name it by %s, or use --device cpu",
				o.Device, err, EnvLibrary)
		}
	}
	return n, nil
}

// CheckDevice is the error of a device's name that is none: want cpu, the default, or
// cuda:N. That there is such a device is found when a model is opened.
func CheckDevice(name string) error {
	_, err := cudaDevice(name)
	return err
}

// cudaDevice returns the CUDA device that a name asks for, -1 for the CPU.
func cudaDevice(name string) (int, error) {
	kind, index, numbered := strings.Cut(name, ":")
	switch {
	case kind == "" || (kind == "cpu" && !numbered):
		return -1, nil
	case kind == "cuda" && !numbered:
		return 0, nil
	case kind == "cuda":
		if n, err := strconv.Atoi(index); err == nil && n >= 0 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("device: got %q, want cpu or cuda:N", name)
}

func appendCUDA(n *ortgo.SessionOptions, device int) error {
	cuda, err := ortgo.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer cuda.Destroy()
	if err := cuda.Update(map[string]string{"device_id": strconv.Itoa(device)}); err != nil {
		return err
	}
	return n.AppendExecutionProviderCUDA(cuda)
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
