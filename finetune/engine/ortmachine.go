package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine/ortkernel"
	"github.com/sslrt/sslrt/finetune/engine/ortpass"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
	"github.com/sslrt/sslrt/runtime/ort"
)

// ORT is ONNX Runtime over the graph lowered to one ONNX model with fixed sizes.
type ORT struct {
	Options ort.Options

	// Passes rewrite the model before it is loaded. nil stands for those that pay
	// on this processor, an empty list for none.
	Passes []ortpass.Pass

	// Without leaves out passes by their names.
	Without []string
}

// Name returns "ort".
func (ORT) Name() string { return "ort" }

// nextPrefix starts the name of the output that carries a parameter's new value.
const nextPrefix = "next:"

// Lower returns the function as the ONNX model that this machine runs: inputs,
// then parameters go in; outputs, then the carried parameters' new values, named
// "next:" and the parameter's name, come out.
func (ORT) Lower(f Function, opt export.Options) (*onnx.Model, error) {
	return export.Lower(withCarried(f), opt)
}

// withCarried returns the outputs of f and those for its carried parameters.
func withCarried(f Function) []export.Output {
	outputs := append([]export.Output(nil), f.Outputs...)
	for _, c := range f.Carry {
		outputs = append(outputs, export.Output{Name: nextPrefix + c.Param.Name, Node: c.Next})
	}
	return outputs
}

// Compile lowers the function and opens a session on it.
func (m ORT) Compile(f Function) (Program, error) {
	s, err := newSignature(f)
	if err != nil {
		return nil, err
	}
	model, err := m.Lower(f, export.Options{Shapes: true})
	if err != nil {
		return nil, err
	}
	passes, err := m.passes()
	if err != nil {
		return nil, err
	}
	if err := ortpass.Apply(model, passes...); err != nil {
		return nil, fmt.Errorf("engine: ort: %w", err)
	}
	data, err := model.Marshal()
	if err != nil {
		return nil, fmt.Errorf("engine: ort: %w", err)
	}
	p := &ortProgram{signature: s, params: map[*op.Node]*slot{}}
	opt := m.Options
	opt.Inputs, opt.Outputs = nil, nil
	// A planned layout would stand beside the memory of the first run, which is
	// kept: a third more at the peak, and no faster.
	opt.NoMemPattern = true
	opt.TightArena = m.onCPU()
	// Threads wait busily for the next of a step's many short nodes, which is worth 5
	// to 10 % of a small network's step, but not for long: beside workers that decode
	// and augment, or any other load, they would take away more.
	opt.Config = map[string]string{"session.intra_op.allow_spinning": "1", "session.intra_op.spin_duration_us": "30"}
	if f.LargeConstants {
		opt.Config["optimization.disable_specified_optimizers"] = "ConstantFolding"
	}
	maps.Copy(opt.Config, m.Options.Config)
	if slices.ContainsFunc(passes, func(p ortpass.Pass) bool { return p.Kernels }) {
		library, ok := ortkernel.Find(blockedChannels())
		if !ok {
			return nil, errors.New("engine: ort: the passes need a library of kernels: build it by sslrt setup")
		}
		opt.Libraries = append(slices.Clone(opt.Libraries), library)
	}
	// The model reads only what its outputs depend on.
	for _, in := range model.Graph.Inputs {
		n := s.leaf(in.Name)
		p.order = append(p.order, n)
		opt.Inputs = append(opt.Inputs, portInfo(in.Name, n))
	}
	for _, o := range withCarried(f) {
		opt.Outputs = append(opt.Outputs, portInfo(o.Name, o.Node))
	}
	if p.session, err = ort.Open(data, opt); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	for _, n := range s.params {
		p.params[n] = newSlot(n, s.next[n] != nil)
	}
	for _, o := range f.Outputs {
		p.outputs = append(p.outputs, newBuffer(o.Node))
	}
	return p, nil
}

// passes returns the passes of a compilation.
func (m ORT) passes() ([]ortpass.Pass, error) {
	passes := m.Passes
	if passes == nil {
		passes = m.DefaultPasses()
	}
	for _, name := range m.Without {
		kept := slices.DeleteFunc(slices.Clone(passes), func(p ortpass.Pass) bool { return p.Name == name })
		if len(kept) == len(passes) {
			return nil, fmt.Errorf("engine: ort: no pass %q to leave out here: there are %s", name, strings.Join(PassNames(passes), ", "))
		}
		passes = kept
	}
	return passes, nil
}

// PassNames lists the names of passes.
func PassNames(passes []ortpass.Pass) []string {
	var names []string
	for _, p := range passes {
		names = append(names, p.Name)
	}
	return names
}

// onCPU reports whether ONNX Runtime's own kernels for the CPU run all of a model.
func (m ORT) onCPU() bool {
	return (m.Options.Device == "" || m.Options.Device == "cpu") && len(m.Options.Providers) == 0
}

// DefaultPasses returns the passes that pay on this processor, none on other
// devices. Those that need kernels of ours are among them if the kernels were built.
func (m ORT) DefaultPasses() []ortpass.Pass {
	if !m.onCPU() {
		return nil
	}
	block := blockedChannels()
	if block == 0 {
		return nil
	}
	if _, ok := ortkernel.Find(block); ok {
		return ortpass.WithKernels(block)
	}
	return ortpass.Default(block)
}

// BuildKernels compiles the kernels that make training steps faster, for this
// processor, and returns the library's path. It is there already if it was built
// before. Where ONNX Runtime has no blocked layout it returns "": there is no use for
// them.
func BuildKernels(ctx context.Context) (path string, err error) {
	block := blockedChannels()
	if block == 0 {
		return "", nil
	}
	return ortkernel.Build(ctx, block)
}

func portInfo(name string, n *op.Node) ort.Info {
	types := map[op.DType]ort.Type{op.Float32: ort.Float32, op.Int64: ort.Int64, op.Int32: ort.Int32, op.Bool: ort.Bool}
	return ort.Info{Name: name, Shape: n.Dims, Type: types[n.DType]}
}

type ortProgram struct {
	signature
	session *ort.Session
	order   []*op.Node // leaves, as the model takes them
	params  map[*op.Node]*slot
	outputs []buffer
	loaded  bool
}

// buffer is one block of memory seen by both sides.
type buffer struct {
	dense *tensor.Dense
	ort   *ort.Tensor
}

func newBuffer(n *op.Node) buffer {
	d := tensor.New(tensor.WithShape(n.Dims...), tensor.Of(n.DType.Tensor()))
	return buffer{d, boundAs(n, d)}
}

// boundAs binds a tensor of the type of n.
func boundAs(n *op.Node, v *tensor.Dense) *ort.Tensor {
	switch n.DType {
	case op.Int64:
		return bound(n.Dims, v.Int64s())
	case op.Int32:
		return bound(n.Dims, v.Int32s())
	case op.Bool:
		return bound(n.Dims, v.Bools())
	}
	return bound(n.Dims, v.Float32s())
}

// bound binds data whose size is known to fit.
func bound[T float32 | int64 | int32 | bool](sizes []int, data []T) *ort.Tensor {
	t, err := ort.NewTensor(sizes, data)
	if err != nil {
		panic(err)
	}
	return t
}

// slot holds a parameter: the value that a run reads and, when runs replace it,
// the one they write. The two change places after each run.
type slot struct{ read, write buffer }

func newSlot(n *op.Node, carried bool) *slot {
	s := &slot{read: newBuffer(n)}
	if carried {
		s.write = newBuffer(n)
	}
	return s
}

func (p *ortProgram) Load(params Tensors) error {
	for _, n := range p.signature.params {
		v, err := value("parameter", n, params)
		if err != nil {
			return err
		}
		if err := tensor.Copy(p.params[n].read.dense, v); err != nil {
			return fmt.Errorf("engine: ort: parameter %q: %w", n.Name, err)
		}
	}
	p.loaded = true
	return nil
}

func (p *ortProgram) Run(ctx context.Context, in Tensors) (Tensors, error) {
	if !p.loaded && len(p.signature.params) > 0 {
		return nil, errors.New("engine: ort: run: the parameters were not loaded")
	}
	ins := make([]*ort.Tensor, len(p.order))
	for i, n := range p.order {
		if n.Kind == op.Param {
			ins[i] = p.params[n].read.ort
			continue
		}
		v, err := value("input", n, in)
		if err != nil {
			return nil, err
		}
		ins[i] = boundAs(n, v)
	}
	var outs []*ort.Tensor
	result := Tensors{}
	for i, o := range p.Outputs {
		outs = append(outs, p.outputs[i].ort)
		result[o.Name] = p.outputs[i].dense
	}
	for _, c := range p.Carry {
		outs = append(outs, p.params[c.Param].write.ort)
	}
	if err := p.session.Run(ctx, ins, outs); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	for _, c := range p.Carry {
		s := p.params[c.Param]
		s.read, s.write = s.write, s.read
	}
	return result, nil
}

func (p *ortProgram) State() Tensors { return clones(p.Values()) }

func (p *ortProgram) Values() Tensors {
	out := Tensors{}
	for n, s := range p.params {
		out[n.Name] = s.read.dense
	}
	return out
}

// Before reads the buffers that the last run read: they have changed places.
func (p *ortProgram) Before() Tensors {
	out := p.State()
	for n, s := range p.params {
		if s.write.dense != nil {
			out[n.Name] = clone(s.write.dense)
		}
	}
	return out
}

func (p *ortProgram) Close() error { return p.session.Close() }

// CarriedName returns the parameter whose new value an output of a lowered
// function carries, if it does.
func CarriedName(output string) (param string, ok bool) { return strings.CutPrefix(output, nextPrefix) }
