package objective

import (
	"context"
	"testing"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// nothing is an optimiser that leaves the weights alone.
type nothing struct{}

func (nothing) Update(*train.Builder, []models.Spec, []*op.Node) {}

// runStep runs a step on the Go machine and returns its loss and the classifier's
// weights.
func runStep(t *testing.T, step *train.Program, in engine.Tensors, images []float32, labels []int64) (loss float64, weight, bias []float32) {
	t.Helper()
	p, err := engine.Go{}.Compile(step.Function)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Load(engine.Tensors(step.Params.Init(3))); err != nil {
		t.Fatal(err)
	}
	in[train.InputViews] = engine.NewTensor(images, len(labels), len(images)/len(labels), 1, 1)
	in[train.InputLabels] = engine.NewTensor(labels, len(labels))
	out, err := p.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	state := p.State()
	return float64(out[train.OutputLoss].Float32s()[0]), state[NameClassifier+".weight"].Float32s(), state[NameClassifier+".bias"].Float32s()
}
