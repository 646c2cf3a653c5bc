package trace

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/engine/ortpass"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// Kernel is the time in one kind of ONNX Runtime's kernels, the best run of each
// node.
type Kernel struct {
	Op      string  `json:"op"`
	Seconds float64 `json:"seconds"`
	Nodes   int     `json:"nodes"`
	FLOP    float64 `json:"flop,omitempty"` // as the kernels do it
	Bytes   int64   `json:"bytes"`          // read and written
}

// Part is the time of one operation of one layer in one phase: all the nodes that
// compute it, those that only move values too.
type Part struct {
	Layer     string  `json:"layer,omitempty"`
	Operation string  `json:"operation,omitempty"`
	Phase     string  `json:"phase"`
	Seconds   float64 `json:"seconds"`
	Nodes     int     `json:"nodes"`
	FLOP      float64 `json:"flop,omitempty"` // that the operation asks for
	Bytes     int64   `json:"bytes"`
}

// Report says where the time of a run goes.
type Report struct {
	Kernels    []Kernel // longest first
	Operations []Part   // of all layers together, longest first
	Layers     []Part   // in the order of the network
	Seconds    float64  // sum of all nodes
	FLOP       float64  // of convolutions and matrix products, as the graph asks for them
	InUse      int64    // the largest number of bytes that values took at a time, 0 if unknown
	Arena      int64    // what ONNX Runtime's allocator held for them
}

// Files are what a session leaves for a report.
type Files struct {
	Profile   string // ort.Options.Profile: a prefix
	Optimized string // ort.Options.Optimized
}

// NewFiles names files in a folder.
func NewFiles(dir string) Files {
	return Files{Profile: filepath.Join(dir, "profile"), Optimized: filepath.Join(dir, "model.onnx")}
}

// Read makes the report of a closed session that ran f.
func Read(f engine.Function, files Files) (*Report, error) {
	r, err := read(f, files)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	return r, nil
}

func read(f engine.Function, files Files) (*Report, error) {
	found, err := filepath.Glob(files.Profile + "*.json")
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("got %d profiles of ONNX Runtime, want 1", len(found))
	}
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		return nil, err
	}
	p, err := parseProfile(data)
	if err != nil {
		return nil, err
	}
	model, err := onnx.ReadFile(files.Optimized)
	if err != nil {
		return nil, err
	}
	origins := map[string]*op.Node{}
	if _, err := (engine.ORT{}).Lower(f, export.Options{Origins: origins}); err != nil {
		return nil, err
	}
	return newReport(f, p, attribute(model.Graph, origins)), nil
}

// attribute returns the node of the graph that each node of the model that ran works
// for, by name: the one whose value it computes, else that of the first node that
// reads what it computes.
func attribute(g *onnx.Graph, origins map[string]*op.Node) map[string]*op.Node {
	reader := map[string]*onnx.Node{}
	for _, n := range g.Nodes {
		for _, in := range n.Inputs {
			if reader[in] == nil {
				reader[in] = n
			}
		}
	}
	done := map[*onnx.Node]bool{}
	out := map[string]*op.Node{}
	var find func(n *onnx.Node) *op.Node
	find = func(n *onnx.Node) *op.Node {
		if done[n] {
			return out[n.Name]
		}
		done[n] = true
		o := computed(n, origins)
		for _, name := range n.Outputs {
			if r := reader[name]; o == nil && r != nil {
				o = find(r)
			}
		}
		if o != nil {
			out[n.Name] = o
		}
		return o
	}
	for _, n := range g.Nodes {
		find(n)
	}
	return out
}

// computed returns the node of the graph whose value a node computes, nil if there is
// none. A fused node has several: the one that it is named after counts, else the
// first.
func computed(n *onnx.Node, origins map[string]*op.Node) *op.Node {
	var first *op.Node
	for _, name := range n.Outputs {
		o := origins[ortpass.PlainName(name)]
		if o == nil {
			continue
		}
		forward := o
		if o.Of != nil {
			forward = o.Of
		}
		if strings.HasPrefix(n.OpType, operation(forward)) {
			return o
		}
		if first == nil {
			first = o
		}
	}
	return first
}

func newReport(f engine.Function, p *profile, works map[string]*op.Node) *Report {
	r := &Report{InUse: p.inUse, Arena: p.held}
	nodes, where := places(f)
	kernels := map[string]*Kernel{}
	operations, layers := newParts(), newParts()
	add := func(at place, n Part) {
		operations.add(Part{Operation: at.operation, Phase: at.phase}, n)
		layers.add(Part{Layer: at.layer, Operation: at.operation, Phase: at.phase}, n)
	}
	for _, n := range nodes {
		flop := float64(n.FLOP())
		r.FLOP += flop
		add(where[n], Part{FLOP: flop})
	}
	for _, n := range p.nodes {
		k := kernels[n.op]
		if k == nil {
			k = &Kernel{Op: n.op}
			kernels[n.op] = k
		}
		k.Seconds, k.Nodes, k.FLOP, k.Bytes = k.Seconds+n.seconds, k.Nodes+1, k.FLOP+n.flop, k.Bytes+n.bytes
		r.Seconds += n.seconds
		at, ok := where[works[n.name]]
		if !ok {
			at = place{"other", "other", Forward}
		}
		add(at, Part{Seconds: n.seconds, Nodes: 1, Bytes: n.bytes})
	}
	for _, k := range kernels {
		r.Kernels = append(r.Kernels, *k)
	}
	slices.SortFunc(r.Kernels, func(a, b Kernel) int {
		return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), strings.Compare(a.Op, b.Op))
	})
	r.Operations, r.Layers = operations.timed(), layers.timed()
	slices.SortStableFunc(r.Operations, func(a, b Part) int { return cmp.Compare(b.Seconds, a.Seconds) })
	order := map[string]int{}
	for i, p := range layers.all {
		if _, ok := order[p.Layer]; !ok {
			order[p.Layer] = i
		}
	}
	slices.SortStableFunc(r.Layers, func(a, b Part) int { return order[a.Layer] - order[b.Layer] })
	return r
}

// parts sums up by layer, operation and phase, in the order of the graph.
type parts struct {
	index map[[3]string]int
	all   []Part
}

func newParts() *parts { return &parts{index: map[[3]string]int{}} }

// add adds to the part of the place at.
func (s *parts) add(at, n Part) {
	key := [3]string{at.Layer, at.Operation, at.Phase}
	i, ok := s.index[key]
	if !ok {
		i = len(s.all)
		s.index[key] = i
		s.all = append(s.all, at)
	}
	s.all[i] = plus(s.all[i], n)
}

// timed returns the parts that took time or should have: not those whose nodes ONNX
// Runtime found to be nothing.
func (s *parts) timed() []Part {
	return slices.DeleteFunc(slices.Clone(s.all), func(p Part) bool { return p.Nodes == 0 && p.FLOP == 0 })
}

// Layer is the time of one layer by phase.
type Layer struct {
	Name   string
	Phases map[string]Part
	Total  Part
}

// ByLayer sums the parts of each layer over its operations.
func (r *Report) ByLayer() []Layer {
	var out []Layer
	for _, p := range r.Layers {
		if len(out) == 0 || out[len(out)-1].Name != p.Layer {
			out = append(out, Layer{Name: p.Layer, Phases: map[string]Part{}})
		}
		l := &out[len(out)-1]
		l.Phases[p.Phase] = plus(l.Phases[p.Phase], p)
		l.Total = plus(l.Total, p)
	}
	return out
}

func plus(a, b Part) Part {
	a.Seconds, a.Nodes, a.FLOP, a.Bytes = a.Seconds+b.Seconds, a.Nodes+b.Nodes, a.FLOP+b.FLOP, a.Bytes+b.Bytes
	return a
}
