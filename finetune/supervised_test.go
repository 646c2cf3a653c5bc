package finetune_test

import (
	"context"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/models"
)

// tune fine-tunes a fresh run with what change sets and returns the weights before and
// after.
func tune(t *testing.T, engine string, change func(c *finetune.Config)) (before, after models.StateDict, result *finetune.Result) {
	t.Helper()
	src := open(t, pictures(t, 40))
	base := begin(t, small(engine), src)
	base.Config.Epochs = 0
	if _, err := finetune.Pretrain(context.Background(), base, src, finetune.Events{}); err != nil {
		t.Fatal(err)
	}
	c, err := base.Start()
	if err != nil {
		t.Fatal(err)
	}
	c.Epochs, c.BatchSize, c.LR, c.Engine = 2, 8, 0.1, engine
	change(&c)
	run := begin(t, c, src)
	result, err = finetune.Pretrain(context.Background(), run, src, finetune.Events{})
	if err != nil {
		t.Fatal(err)
	}
	return checkpoint(t, base), checkpoint(t, run), result
}

// encoderOf keeps the encoder's tensors whose names start with a part.
func encoderOf(state models.StateDict, part string) models.StateDict {
	out := models.StateDict{}
	for name, v := range state {
		if strings.HasPrefix(name, "encoder."+part) {
			out[name] = v
		}
	}
	return out
}

// A frozen encoder has the same bits afterwards, its running statistics too, and the
// last layer has learnt.
func TestFrozenEncoderKeepsItsBits(t *testing.T) {
	for _, engine := range engines(t) {
		before, after, result := tune(t, engine, func(c *finetune.Config) { c.Freeze, c.Validation = []string{"encoder"}, 0.25 })
		sameBits(t, encoderOf(before, ""), encoderOf(after, ""))
		if result.Images != 60 {
			t.Errorf("trained on %d images, want 60 of 80", result.Images)
		}
		if result.Metrics["accuracy"] < 0.9 {
			t.Errorf("accuracy on held-back images is %g, want bright and dark told apart", result.Metrics["accuracy"])
		}
	}
}

func TestFrozenPartsKeepTheirWeights(t *testing.T) {
	before, after, _ := tune(t, "go", func(c *finetune.Config) { c.Freeze = []string{"conv1", "layer1.0"} })
	for _, part := range []string{"conv1.", "layer1.0.conv1."} {
		sameBits(t, encoderOf(before, part), encoderOf(after, part))
	}
	moved := encoderOf(after, "layer1.1.conv1.")
	for name, v := range encoderOf(before, "layer1.1.conv1.") {
		if v.Float32s()[0] == moved[name].Float32s()[0] {
			t.Errorf("%s did not move", name)
		}
	}
}

// What is trained on and what is held back are the same in every process, and no image
// is in both.
func TestPartsAreDisjoint(t *testing.T) {
	_, _, some := tune(t, "go", func(c *finetune.Config) { c.LabelShare, c.Validation, c.BatchSize = 0.5, 0.2, 4 })
	if some.Images != 32 { // of 40 of each class 20, less 4 of each
		t.Errorf("trained on %d images, want 32", some.Images)
	}
}

func TestSupervisedSettings(t *testing.T) {
	src := open(t, pictures(t, 8))
	for want, change := range map[string]func(c *finetune.Config){
		"label_share is 2":         func(c *finetune.Config) { c.LabelShare = 2 },
		"no part \"head\"":         func(c *finetune.Config) { c.Freeze = []string{"head"} },
		"exclude each other":       func(c *finetune.Config) { c.Mixup, c.CutMix = 1, 1 },
		"nothing to do":            func(c *finetune.Config) { c.Freeze, c.LayerDecay = []string{"encoder"}, 0.5 },
		"larger than the data":     func(c *finetune.Config) { c.LabelShare = 0.25 },
		"an epoch of this run has": func(c *finetune.Config) { c.BestBy = "accuracy" }, // nothing is held back
	} {
		c := small("go")
		c.Method = finetune.MethodSupervised
		change(&c)
		if err := c.Resolve(src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}
