package ort

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	ortgo "github.com/yalue/onnxruntime_go"
)

// ErrClosed is returned by a run of a closed session.
var ErrClosed = errors.New("ort: session is closed")

// Info describes an input or output of a model.
type Info struct {
	Name  string
	Shape []int // -1 is a size known only at run time; empty is a scalar or an unknown rank
	Type  Type
}

// Session is a model loaded into ONNX Runtime. Runs may be concurrent. It must
// be closed.
type Session struct {
	inputs, outputs []Info
	metadata        map[string]string

	mu     sync.RWMutex // runs hold it for reading, Close for writing
	native *ortgo.DynamicAdvancedSession
}

// Open loads a model from the bytes of an ONNX file. The bytes are not kept.
// Tensors that the model keeps in other files are not found: use OpenFile.
func Open(model []byte, opt Options) (*Session, error) {
	if len(model) == 0 {
		return nil, errors.New("ort: open model: it is empty")
	}
	return open("model", opt,
		func(*ortgo.SessionOptions) ([]ortgo.InputOutputInfo, []ortgo.InputOutputInfo, error) {
			return ortgo.GetInputOutputInfoWithONNXData(model)
		},
		func(in, out []string, o *ortgo.SessionOptions) (*ortgo.DynamicAdvancedSession, error) {
			return ortgo.NewDynamicAdvancedSessionWithONNXData(model, in, out, o)
		})
}

// OpenFile loads the ONNX file at path, and what it keeps in files beside it.
func OpenFile(path string, opt Options) (*Session, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("ort: open model: %w", err)
	}
	return open(path, opt,
		func(o *ortgo.SessionOptions) ([]ortgo.InputOutputInfo, []ortgo.InputOutputInfo, error) {
			return ortgo.GetInputOutputInfoWithOptions(path, o)
		},
		func(in, out []string, o *ortgo.SessionOptions) (*ortgo.DynamicAdvancedSession, error) {
			return ortgo.NewDynamicAdvancedSession(path, in, out, o)
		})
}

type (
	askFunc  func(*ortgo.SessionOptions) (in, out []ortgo.InputOutputInfo, err error)
	loadFunc func(in, out []string, o *ortgo.SessionOptions) (*ortgo.DynamicAdvancedSession, error)
)

func open(what string, opt Options, ask askFunc, load loadFunc) (*Session, error) {
	if _, err := Init(FindOptions{}); err != nil {
		return nil, err
	}
	fail := func(err error) error {
		return fmt.Errorf("ort: open %s: %w", what, err)
	}
	s := &Session{inputs: opt.Inputs, outputs: opt.Outputs}
	if len(opt.Inputs) == 0 || len(opt.Outputs) == 0 {
		in, out, err := signature(ask)
		if err != nil {
			return nil, fail(err)
		}
		if len(opt.Inputs) == 0 {
			s.inputs = in
		}
		if len(opt.Outputs) == 0 {
			s.outputs = out
		}
	}
	if len(s.inputs) == 0 || len(s.outputs) == 0 {
		return nil, fail(fmt.Errorf("got %d inputs and %d outputs, want at least one of each", len(s.inputs), len(s.outputs)))
	}
	native, err := opt.native()
	if err != nil {
		return nil, fail(err)
	}
	defer native.Destroy()
	if opt.TightArena && !opt.NoArena {
		load = withTightArena(load)
	}
	if s.native, err = load(names(s.inputs), names(s.outputs), native); err != nil {
		return nil, fail(err)
	}
	if s.metadata, err = readMetadata(s.native); err != nil {
		s.native.Destroy()
		return nil, fail(err)
	}
	return s, nil
}

// signature asks the library for a model's inputs and outputs. The bindings can
// only do that by loading the model a second time, so graph optimisation is off
// here where they let us choose.
func signature(ask askFunc) (in, out []Info, err error) {
	plain, err := Options{Threads: 1, OptLevel: OptNone}.native()
	if err != nil {
		return nil, nil, err
	}
	defer plain.Destroy()
	nin, nout, err := ask(plain)
	if err != nil {
		return nil, nil, err
	}
	return infos(nin), infos(nout), nil
}

func infos(native []ortgo.InputOutputInfo) []Info {
	out := make([]Info, len(native))
	for i, n := range native {
		out[i] = Info{Name: n.Name, Type: fromORT(n.DataType), Shape: make([]int, len(n.Dimensions))}
		for k, d := range n.Dimensions {
			out[i].Shape[k] = int(d)
		}
	}
	return out
}

func names(infos []Info) []string {
	out := make([]string, len(infos))
	for i, info := range infos {
		out[i] = info.Name
	}
	return out
}

func readMetadata(native *ortgo.DynamicAdvancedSession) (map[string]string, error) {
	m, err := native.GetModelMetadata()
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	defer m.Destroy()
	keys, err := m.GetCustomMetadataMapKeys()
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	out := make(map[string]string, len(keys))
	for _, k := range keys {
		v, _, err := m.LookupCustomMetadataMap(k)
		if err != nil {
			return nil, fmt.Errorf("read metadata %s: %w", k, err)
		}
		out[k] = v
	}
	return out, nil
}

// Inputs returns what the model wants, in the order Run takes it.
func (s *Session) Inputs() []Info { return slices.Clone(s.inputs) }

// Outputs returns what the model gives, in the order Run returns it.
func (s *Session) Outputs() []Info { return slices.Clone(s.outputs) }

// Metadata returns the model's own key-value pairs (metadata_props).
func (s *Session) Metadata() map[string]string { return maps.Clone(s.metadata) }

// Run computes the outputs from the inputs, both in the model's order. A nil
// entry of out is allocated and stored there; any other is written in place and
// must have the output's exact shape. An output tensor may not also be an input
// of the same run. When ctx ends the run is stopped between two nodes and the
// error wraps the context's; the contents of the outputs are then undefined.
func (s *Session) Run(ctx context.Context, in, out []*Tensor) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("ort: run: %w", err)
	}
	if err := s.checkInputs(in); err != nil {
		return err
	}
	if len(out) != len(s.outputs) {
		return fmt.Errorf("ort: run: got %d outputs, want %d (%s)",
			len(out), len(s.outputs), strings.Join(names(s.outputs), ", "))
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.native == nil {
		return ErrClosed
	}

	var b binding
	defer b.release()
	if err := b.bind(s, in, out); err != nil {
		return err
	}
	err := runNative(ctx, s.native, b.in, b.out)
	runtime.KeepAlive(in) // a tensor that is garbage frees its value
	if err != nil {
		return err
	}
	return b.finish(s, out)
}

// RunMap is Run by names: it takes every input and returns every output, newly
// allocated.
func (s *Session) RunMap(ctx context.Context, in map[string]*Tensor) (map[string]*Tensor, error) {
	for name := range in {
		if !slices.ContainsFunc(s.inputs, func(i Info) bool { return i.Name == name }) {
			return nil, fmt.Errorf("ort: run: the model has no input %q, only %s", name, strings.Join(names(s.inputs), ", "))
		}
	}
	ins := make([]*Tensor, len(s.inputs))
	for i, info := range s.inputs {
		ins[i] = in[info.Name]
	}
	outs := make([]*Tensor, len(s.outputs))
	if err := s.Run(ctx, ins, outs); err != nil {
		return nil, err
	}
	named := make(map[string]*Tensor, len(outs))
	for i, info := range s.outputs {
		named[info.Name] = outs[i]
	}
	return named, nil
}

// Close waits for the runs under way and frees the model. A second Close does
// nothing.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.native == nil {
		return nil
	}
	err := s.native.Destroy()
	s.native = nil
	return err
}

func (s *Session) checkInputs(in []*Tensor) error {
	if len(in) != len(s.inputs) {
		return fmt.Errorf("ort: run: got %d inputs, want %d (%s)",
			len(in), len(s.inputs), strings.Join(names(s.inputs), ", "))
	}
	for i, t := range in {
		info := s.inputs[i]
		if t == nil {
			return fmt.Errorf("ort: run: input %q is missing", info.Name)
		}
		if t.Type() != info.Type {
			return fmt.Errorf("ort: run: input %q: got %v, want %v", info.Name, t.Type(), info.Type)
		}
		if !info.accepts(t.shape) {
			return fmt.Errorf("ort: run: input %q: got shape %v, want %v", info.Name, t.shape, info.Shape)
		}
	}
	return nil
}

// accepts reports whether a tensor of this shape fits; an empty Shape may stand
// for an unknown rank.
func (i Info) accepts(shape []int) bool {
	if len(i.Shape) == 0 {
		return true
	}
	return slices.EqualFunc(i.Shape, shape, func(want, got int) bool { return want < 0 || want == got })
}
