package trace

import (
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/engine/ortpass"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// step is a training step of a small ResNet.
func step(t *testing.T) *train.Program { return stepOf(t, 0.0625, 2) }

func stepOf(t *testing.T, width float64, batch int) *train.Program {
	t.Helper()
	encoder, err := models.NewEncoder("resnet18", models.EncoderOptions{ImageSize: 8, Channels: 3, Width: width})
	if err != nil {
		t.Fatal(err)
	}
	p, err := train.Build(train.Config{
		Objective: objective.SimCLR{Encoder: encoder, Projector: models.NewProjector(8, 4), Temperature: 0.5, Contrast: objective.LossNTXent},
		Optimizer: optim.SGD{Momentum: 0.9, Decay: optim.Decay{Rate: 1e-4}},
		Rate:      func(train.Step) float64 { return 0.1 },
		BatchSize: batch, Image: []int{3, 8, 8}, GradNorm: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlaces(t *testing.T) {
	nodes, where := places(step(t).Function)
	counts := map[place]int{}
	for _, n := range nodes {
		counts[where[n]]++
	}
	for _, c := range []struct {
		at   place
		want int
	}{
		{place{"encoder.conv1", "Conv2D", Forward}, 1},
		{place{"encoder.conv1", "Conv2D", InputGradient}, 0}, // nobody asks for it
		{place{"encoder.conv1", "Conv2D", WeightGradient}, 1},
		{place{"encoder.layer1.0.conv1", "Conv2D", InputGradient}, 1},
		{place{"encoder.layer1.0.conv1", "Conv2D", WeightGradient}, 1},
		{place{"encoder.bn1", "BatchNorm", Forward}, 3}, // mean, variance, result,
		{place{"encoder.bn1", "BatchNorm", InputGradient}, 1},
		{place{"encoder.bn1", "BatchNorm", WeightGradient}, 2},
		{place{"encoder.bn1", "Relu", Forward}, 1},
		{place{"encoder.layer2.0.downsample.0", "Conv2D", Forward}, 1},
		{place{"encoder.layer4.1.bn2", "Relu", Forward}, 1},
		{place{"projector.3", "Gemm", WeightGradient}, 1},
		{place{layerLoss, "LogSoftmax", Forward}, 1},
		{place{layerLoss, "MatMul", Forward}, 2},
		{place{layerOptimizer, "Sqrt", Update}, 1}, // the norm of the gradients
	} {
		if counts[c.at] != c.want {
			t.Errorf("%+v: got %d nodes, want %d", c.at, counts[c.at], c.want)
		}
	}
	for at, n := range counts {
		if at.layer == layerInput && at.operation != "Reshape" {
			t.Errorf("%d nodes of %+v before the first layer", n, at)
		}
		if (at.layer == layerOptimizer) != (at.phase == Update) {
			t.Errorf("%+v", at)
		}
	}
}

// TestEveryNodeHasAPlace lowers the step: each node of the model works for a node of
// the graph, and nodes that a rewrite puts in between work for who reads them.
func TestEveryNodeHasAPlace(t *testing.T) {
	f := step(t).Function
	origins := map[string]*op.Node{}
	m, err := engine.ORT{}.Lower(f, export.Options{Origins: origins})
	if err != nil {
		t.Fatal(err)
	}
	conv := slices.IndexFunc(m.Graph.Nodes, func(n *onnx.Node) bool { return n.OpType == "Conv" })
	n := m.Graph.Nodes[conv]
	between := &onnx.Node{Name: "between", OpType: "Identity", Inputs: []string{n.Inputs[0]}, Outputs: []string{"copy"}}
	first := &onnx.Node{Name: "first", OpType: "Identity", Inputs: []string{n.Inputs[0]}, Outputs: []string{"first"}}
	between.Inputs[0], n.Inputs[0] = "first", "copy"
	m.Graph.Nodes = slices.Insert(m.Graph.Nodes, conv, first, between)
	works := attribute(m.Graph, origins)
	_, where := places(f)
	for _, n := range m.Graph.Nodes {
		if _, ok := where[works[n.Name]]; !ok {
			t.Errorf("%s %s %v works for %v", n.OpType, n.Name, n.Outputs, works[n.Name])
		}
	}
	for _, name := range []string{"first", "between"} {
		if works[name] != works[n.Name] {
			t.Errorf("%s works for %v, want %v", name, works[name], works[n.Name])
		}
	}
	// One node of ONNX gives mean, variance and result: it is the result's.
	for _, n := range m.Graph.Nodes {
		if n.OpType == "BatchNormalization" && works[n.Name].OpName() != "BatchNorm" {
			t.Errorf("%s works for %v", n.Name, works[n.Name])
		}
	}
}

// TestPassesKeepPlaces applies the passes that rewrite most: convolutions and what is
// fused around them stay with their layers.
func TestPassesKeepPlaces(t *testing.T) {
	const block = 8
	f := stepOf(t, 0.25, 8).Function
	for name, passes := range map[string][]ortpass.Pass{"default": ortpass.Default(block), "kernels": ortpass.WithKernels(block)} {
		origins := map[string]*op.Node{}
		m, err := engine.ORT{}.Lower(f, export.Options{Origins: origins, Shapes: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := ortpass.Apply(m, passes...); err != nil {
			t.Fatal(err)
		}
		works := attribute(m.Graph, origins)
		_, where := places(f)
		counts := map[place]int{}
		for _, n := range m.Graph.Nodes {
			at, ok := where[works[n.Name]]
			if !ok {
				t.Errorf("%s: %s %s %v has no place", name, n.OpType, n.Name, n.Outputs)
			}
			if n.OpType == "Conv" || n.OpType == "ConvWeightGrad" {
				if at.operation != "Conv2D" {
					t.Errorf("%s: %s %v works for %+v", name, n.OpType, n.Outputs, at)
				}
				counts[at]++
			}
			if strings.HasPrefix(n.OpType, "BatchNorm") && at.operation != "BatchNorm" {
				t.Errorf("%s: %s %v works for %+v", name, n.OpType, n.Outputs, at)
			}
		}
		for _, layer := range []string{"encoder.layer1.0.conv1", "encoder.layer1.1.conv2", "encoder.layer4.1.conv2"} {
			for _, phase := range []string{Forward, InputGradient} {
				if got := counts[place{layer, "Conv2D", phase}]; got != 1 {
					t.Errorf("%s: %s %s: got %d convolutions, want 1", name, layer, phase, got)
				}
			}
		}
	}
}

func TestReport(t *testing.T) {
	f := step(t).Function
	origins := map[string]*op.Node{}
	m, err := engine.ORT{}.Lower(f, export.Options{Origins: origins})
	if err != nil {
		t.Fatal(err)
	}
	p := &profile{}
	for _, n := range m.Graph.Nodes {
		p.nodes = append(p.nodes, &node{name: n.Name, op: n.OpType, seconds: 1, bytes: 10})
	}
	p.nodes = append(p.nodes, &node{name: "unknown", op: "Conv", seconds: 1})
	r := newReport(f, p, attribute(m.Graph, origins))
	all := float64(len(p.nodes))
	sums := map[string]float64{"all": r.Seconds}
	flop := map[string]float64{}
	for _, k := range r.Kernels {
		sums["kernels"] += k.Seconds
	}
	for _, o := range r.Operations {
		sums["operations"] += o.Seconds
		flop["operations"] += o.FLOP
	}
	for _, o := range r.Layers {
		sums["layers"] += o.Seconds
		flop["layers"] += o.FLOP
	}
	names := map[string]bool{}
	for _, l := range r.ByLayer() {
		if names[l.Name] {
			t.Errorf("layer %s stands twice", l.Name)
		}
		names[l.Name] = true
		sums["by layer"] += l.Total.Seconds
	}
	for what, s := range sums {
		if s != all {
			t.Errorf("%s: %g s, want %g", what, s, all)
		}
	}
	for what, v := range flop {
		if v != r.FLOP {
			t.Errorf("%s: %g FLOP, want %g", what, v, r.FLOP)
		}
	}
	if first := r.Layers[0].Layer; first != "encoder.conv1" && first != layerInput {
		t.Errorf("the first layer is %s", first)
	}
	if last := r.Layers[len(r.Layers)-1].Layer; last != "other" {
		t.Errorf("the last layer is %s, want other, of the unknown node", last)
	}
}
