package finetune

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/probe"
	"github.com/sslrt/sslrt/models"
)

// freezeAll is the entry of Freeze that stands for the whole encoder.
const freezeAll = "encoder"

// supervised says whether a setting of MethodSupervised is given.
func (c *Config) supervised() bool {
	return len(c.Freeze) > 0 || c.LayerDecay != 0 || c.LabelShare != 0 || c.Validation != 0 ||
		c.LabelSmoothing != 0 || c.Mixup != 0 || c.CutMix != 0
}

// validateShares refuses numbers out of range.
func (c *Config) validateShares() error {
	for _, s := range []struct {
		name  string
		value float64
		ok    bool
	}{
		{"layer_decay", c.LayerDecay, c.LayerDecay >= 0 && c.LayerDecay <= 1},
		{"label_share", c.LabelShare, c.LabelShare >= 0 && c.LabelShare <= 1},
		{"validation", c.Validation, c.Validation >= 0 && c.Validation < 1},
		{"label_smoothing", c.LabelSmoothing, c.LabelSmoothing >= 0 && c.LabelSmoothing < 1},
		{"mixup", c.Mixup, c.Mixup >= 0},
		{"cutmix", c.CutMix, c.CutMix >= 0},
	} {
		if !s.ok {
			return fmt.Errorf("finetune: %s is %g, which is out of range", s.name, s.value)
		}
	}
	return nil
}

func (c *Config) validateSupervised() error {
	if err := c.validateShares(); err != nil {
		return err
	}
	if c.Mixup > 0 && c.CutMix > 0 {
		return errors.New("finetune: mixup and cutmix exclude each other: set one to 0")
	}
	if c.frozenEncoder() && c.LayerDecay > 0 {
		return errors.New("finetune: layer_decay has nothing to do when the whole encoder is frozen")
	}
	return c.validateFreeze()
}

// validateFreeze refuses parts that the encoder does not have.
func (c *Config) validateFreeze() error {
	if len(c.Freeze) == 0 {
		return nil
	}
	step, err := c.Step(1)
	if err != nil {
		return err
	}
	var parts []string
	for _, s := range step.Params.Trainable() {
		name, ok := strings.CutPrefix(s.Name, backbonePrefix)
		if part, _, _ := strings.Cut(name, "."); ok && !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	for _, f := range c.Freeze {
		known := f == freezeAll || slices.ContainsFunc(step.Params.Trainable(), func(s models.Spec) bool { return within(s.Name, f) })
		if !known {
			return fmt.Errorf("finetune: freeze: the encoder %s has no part %q: choose %s for all, or among %s", c.Encoder, f, freezeAll, strings.Join(parts, ", "))
		}
	}
	return nil
}

// frozenEncoder says whether nothing of the encoder is trained.
func (c *Config) frozenEncoder() bool { return slices.Contains(c.Freeze, freezeAll) }

// frozen says whether a weight stays as it is.
func (c *Config) frozen(weight string) bool {
	return slices.ContainsFunc(c.Freeze, func(part string) bool { return part != freezeAll && within(weight, part) })
}

// within says whether a weight belongs to a part of the encoder, such as layer1 or
// layer1.0.
func within(weight, part string) bool {
	return strings.HasPrefix(weight, objective.NameEncoder+"."+part+".")
}

// TrainingImages returns how many images of src a run trains on: all, or of a supervised
// run those that LabelShare and Validation leave.
func (c *Config) TrainingImages(src augment.Source) (int, error) {
	if err := c.validateShares(); err != nil {
		return 0, err
	}
	train, _, err := c.parts(src)
	if err != nil {
		return 0, err
	}
	return train.Len(), nil
}

// parts divides labelled data for supervised training: what is trained on, and what is
// held back for validation, nil for nothing. Other methods train on all.
func (c *Config) parts(src augment.Source) (train, valid augment.Source, err error) {
	if c.Method != MethodSupervised || c.LabelShare == 0 && c.Validation == 0 {
		return src, nil, nil
	}
	labels := make([]int, src.Len())
	for i := range labels {
		labels[i] = src.Label(i)
	}
	kept := make([]int, len(labels))
	for i := range kept {
		kept[i] = i
	}
	if c.LabelShare > 0 {
		if kept, err = probe.Fraction(labels, c.LabelShare, c.Seed); err != nil {
			return nil, nil, fmt.Errorf("finetune: %w", err)
		}
	}
	if c.Validation == 0 {
		return augment.Subset(src, kept), nil, nil
	}
	of := make([]int, len(kept))
	for k, i := range kept {
		of[k] = labels[i]
	}
	learn, held, err := probe.Split(of, c.Validation, c.Seed)
	if err != nil {
		return nil, nil, fmt.Errorf("finetune: validation: %w; set it to 0", err)
	}
	pick := func(places []int) augment.Source {
		index := make([]int, len(places))
		for k, p := range places {
			index[k] = kept[p]
		}
		return augment.Subset(src, index)
	}
	return pick(learn), pick(held), nil
}

// networkSettings are the settings that say what an encoder is and what images it
// takes: what a run that starts from another one's weights shares with it.
var networkSettings = []string{"encoder", "width", "stem", "patch", "pool", "imported",
	"image_size", "channels", "mean", "std", "interpolation", "crop"}

// Start returns the configuration of a supervised run that begins with this run's
// encoder: its network and images, and the weights of its newest checkpoint.
func (r *Run) Start() (Config, error) {
	c := DefaultConfig()
	for _, key := range networkSettings {
		to, ok := c.field(key)
		from, _ := r.Config.field(key)
		if !ok {
			return Config{}, fmt.Errorf("finetune: there is no setting %q", key)
		}
		to.Set(from)
	}
	c.Method, c.Init = MethodSupervised, r.path(fileLast)
	if _, err := os.Stat(c.Init); err != nil {
		return Config{}, fmt.Errorf("finetune: %s has no checkpoint to start from: %w", r.Dir, err)
	}
	return c, nil
}
