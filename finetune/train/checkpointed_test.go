package train_test

import (
	"strings"
	"testing"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// Networks with blocks, in which activations are computed anew: the steps are the same,
// in chunks too, with one update of the running statistics.
func TestCheckpointedActivations(t *testing.T) {
	vit, err := models.NewEncoder("vit_tiny", models.EncoderOptions{ImageSize: 8, Width: 0.05})
	if err != nil {
		t.Fatal(err)
	}
	deep := smooth()
	deep.Blocks = []int{2, 2}
	const batch, pixels = 4, 3 * 8 * 8
	for _, m := range machines(t) {
		for name, encoder := range map[string]models.Encoder{"resnet": deep, "vit": vit} {
			for _, chunk := range []int{0, 2} {
				c := train.Config{Objective: objective.SimCLR{Encoder: encoder, Projector: models.NewProjector(6, 5), Temperature: 0.5},
					Optimizer: optim.SGD{Momentum: 0.9}, Rate: constant(0.1),
					BatchSize: batch, Chunk: chunk, Image: []int{3, 8, 8}, GradNorm: true}
				s, kept, _ := start(t, m, c)
				c.CheckpointActivations = true
				_, anew, _ := start(t, m, c)
				in := inputs(s, train.Step{Total: 1}, noise(1, 2*batch*pixels), 3, 8, 8)
				for _, p := range []engine.Program{kept, anew} {
					run(t, p, in)
				}
				tolerance := 0.0 // ONNX Runtime fuses other nodes
				if m.Name() == "ort" {
					tolerance = 1e-4
				}
				got := anew.State()
				for weight, want := range kept.State() {
					if d, size := largest(t, want.Float32s(), got[weight].Float32s()); d > tolerance*(size+1e-3) {
						t.Errorf("%s %s, chunks of %d: %s differs by %g, the largest is %g", m.Name(), name, chunk, weight, d, size)
					}
				}
			}
		}
	}
}

func TestCheckpointsNeedBlocks(t *testing.T) {
	_, err := train.Build(train.Config{Objective: contrast(""), Optimizer: optim.SGD{}, Rate: constant(0),
		BatchSize: 2, Image: []int{3, 6, 6}, CheckpointActivations: true})
	if err == nil || !strings.Contains(err.Error(), "no blocks") {
		t.Errorf("got %v", err)
	}
}

// A checkpointed step computes more.
func TestCheckpointedStepsComputeBlocksTwice(t *testing.T) {
	norms := func(checkpoint bool) (n int) {
		s, err := train.Build(train.Config{Objective: simclr(),
			Optimizer: optim.SGD{}, Rate: constant(0), BatchSize: 2, Image: []int{3, 8, 8}, CheckpointActivations: checkpoint})
		if err != nil {
			t.Fatal(err)
		}
		var roots []*op.Node
		for _, c := range s.Function.Carry {
			roots = append(roots, c.Next)
		}
		for _, node := range op.Reachable(roots...) {
			if node.Op != nil && strings.HasPrefix(node.Op.String(), "BatchMean") {
				n++
			}
		}
		return n
	}
	// One in the stem; two in one block, three in the other, of which these are computed twice.
	if kept, anew := norms(false), norms(true); kept != 6 || anew != 11 {
		t.Errorf("BatchNorm has %d and %d means, want 6 and 11", kept, anew)
	}
}
