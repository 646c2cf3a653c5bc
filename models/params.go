package models

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/op"
)

// Params collects the parameters of the networks in one graph.
type Params struct {
	Graph *op.Graph

	specs   []Spec
	index   map[string]int
	current map[string]*op.Node
}

// Spec describes one parameter.
type Spec struct {
	Name      string
	Node      *op.Node // its value before the step
	Init      Init
	Trainable bool // a weight, as against a buffer: running statistics, queues
}

// NewParams returns an empty collection for a graph.
func NewParams(g *op.Graph) *Params {
	return &Params{Graph: g, index: map[string]int{}, current: map[string]*op.Node{}}
}

// Specs returns the parameters in the order in which they were asked for.
func (p *Params) Specs() []Spec { return p.specs }

// Trainable returns the specs of the weights.
func (p *Params) Trainable() []Spec {
	var out []Spec
	for _, s := range p.specs {
		if s.Trainable {
			out = append(out, s)
		}
	}
	return out
}

// Get returns the current value of a parameter: what Set gave it last, else its
// value before the step. It is nil for a name nobody asked for.
func (p *Params) Get(name string) *op.Node { return p.current[name] }

// Set gives a parameter the value that it has from here on: for what is built
// later, and after the step.
func (p *Params) Set(name string, value *op.Node) {
	if value == nil {
		return // the cause is recorded in the graph
	}
	i, ok := p.index[name]
	if !ok {
		p.Graph.Fail("models: no parameter %q to set", name)
		return
	}
	if was := p.specs[i].Node; value.Shape.Size() != was.Shape.Size() {
		p.Graph.Fail("models: parameter %q is %v, cannot become %v", name, was.Type, value.Type)
		return
	}
	p.current[name] = value
}

// Changed returns the parameters that Set gave another value.
func (p *Params) Changed() []Spec {
	var out []Spec
	for _, s := range p.specs {
		if p.current[s.Name] != s.Node {
			out = append(out, s)
		}
	}
	return out
}

func (p *Params) add(name string, init Init, trainable bool, sizes []int) *op.Node {
	if _, ok := p.index[name]; ok {
		p.Graph.Param(name, op.Float32, op.Dims(sizes...)) // checks the shape
		return p.current[name]
	}
	n := p.Graph.Param(name, op.Float32, op.Dims(sizes...))
	if n == nil {
		return nil
	}
	p.index[name] = len(p.specs)
	p.specs = append(p.specs, Spec{Name: name, Node: n, Init: init, Trainable: trainable})
	p.current[name] = n
	return n
}

// Prefixes of the names of networks that follow another one and start with its
// weights.
const (
	TargetPrefix  = "target." // of a target network, such as "target.encoder" in BYOL and MoCo
	AveragePrefix = "ema."    // of moving averages that are kept beside the weights
)

// StartsAs returns the name of the parameter that the named one starts as: its own
// but for networks that follow another one.
func StartsAs(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(name, AveragePrefix), TargetPrefix)
}

// Init draws initial values for all parameters. Each parameter has a random stream
// of its own, from the seed and the name that it StartsAs, so that a network keeps
// its weights when another one is added beside it.
func (p *Params) Init(seed uint64) StateDict {
	state := StateDict{}
	for _, s := range p.specs {
		h := fnv.New64a()
		h.Write([]byte(StartsAs(s.Name)))
		data := make([]float32, s.Node.Size())
		s.Init(rand.New(rand.NewPCG(seed, h.Sum64())), data)
		state[s.Name] = tensor.New(tensor.WithShape(s.Node.Dims...), tensor.WithBacking(data))
	}
	return state
}

// Check reports the parameters that a state dict lacks or holds in another
// shape.
func (p *Params) Check(state StateDict) error {
	for _, s := range p.specs {
		v := state[s.Name]
		if v == nil {
			return fmt.Errorf("models: the weights lack %q, %v", s.Name, s.Node.Shape)
		}
		if !v.Shape().Eq(tensor.Shape(s.Node.Dims)) || v.Dtype() != tensor.Float32 {
			return fmt.Errorf("models: %q: got %v%v, want float32%v", s.Name, v.Dtype(), v.Shape(), s.Node.Dims)
		}
	}
	return nil
}

// Scope is where a network asks for its parameters: a prefix of their names, and
// whether normalisation uses the batch's statistics.
type Scope struct {
	*Params
	Train  bool
	prefix string
}

// NewScope returns the scope without prefix.
func NewScope(p *Params, train bool) Scope { return Scope{Params: p, Train: train} }

// Sub returns the scope of a part: its names start with name and a dot.
func (s Scope) Sub(name string) Scope {
	s.prefix += name + "."
	return s
}

// Weight returns a trainable parameter.
func (s Scope) Weight(name string, init Init, sizes ...int) *op.Node {
	return s.add(s.prefix+name, init, true, sizes)
}

// Buffer returns a parameter that is kept but not trained.
func (s Scope) Buffer(name string, init Init, sizes ...int) *op.Node {
	return s.add(s.prefix+name, init, false, sizes)
}

// SetBuffer gives a buffer its next value.
func (s Scope) SetBuffer(name string, value *op.Node) { s.Set(s.prefix+name, value) }
