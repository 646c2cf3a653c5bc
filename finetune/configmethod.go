package finetune

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/objective"
)

// method is what a way of training takes where nothing is said, and what it allows.
type method struct {
	name      string
	optimizer string
	losses    []objective.Loss // the first is the default; nil: no choice
}

var pixelLosses = []objective.Loss{objective.LossMSE, objective.LossL1, objective.LossSSIM, objective.LossBCE}

var methods = []method{
	{MethodSimCLR, "sgd", []objective.Loss{objective.LossNTXent, objective.LossInfoNCE}},
	{MethodSupervised, "sgd", nil},
	{MethodAutoencoder, "adam", pixelLosses},
	{MethodDenoise, "adam", pixelLosses},
}

// Methods lists the names of the methods.
func Methods() []string {
	var names []string
	for _, m := range methods {
		names = append(names, m.name)
	}
	return names
}

// autoencodes says whether the run learns to give images back.
func (c *Config) autoencodes() bool {
	return c.Method == MethodAutoencoder || c.Method == MethodDenoise
}

func (c *Config) method() (method, error) {
	i := slices.IndexFunc(methods, func(m method) bool { return m.name == c.Method })
	if i < 0 {
		return method{}, fmt.Errorf("finetune: unknown method %q: choose %s", c.Method, strings.Join(Methods(), ", "))
	}
	return methods[i], nil
}

// resolveMethod fills in what depends on the method.
func (c *Config) resolveMethod() error {
	m, err := c.method()
	if err != nil {
		return err
	}
	if c.Optimizer == "" {
		c.Optimizer = m.optimizer
	}
	if c.Loss == "" && m.losses != nil {
		c.Loss = string(m.losses[0])
	}
	if c.Method == MethodDenoise {
		if c.Noise == "" {
			c.Noise = string(augment.NoiseGaussian)
		}
		if c.NoiseLevel == 0 {
			c.NoiseLevel = augment.NoiseKind(c.Noise).DefaultLevel()
		}
	}
	return nil
}

// validateMethod refuses settings that the method does not have.
func (c *Config) validateMethod() error {
	m, err := c.method()
	if err != nil {
		return err
	}
	if m.losses == nil && c.Loss != "" {
		return fmt.Errorf("finetune: method %s has no choice of losses: leave out the loss %s", m.name, c.Loss)
	}
	if m.losses != nil && !slices.Contains(m.losses, objective.Loss(c.Loss)) {
		var names []string
		for _, l := range m.losses {
			names = append(names, string(l))
		}
		return fmt.Errorf("finetune: unknown loss %q for method %s: choose %s", c.Loss, m.name, strings.Join(names, ", "))
	}
	if c.Method != MethodDenoise && (c.Noise != "" || c.NoiseLevel != 0) {
		return fmt.Errorf("finetune: noise goes with method %s, this is %s", MethodDenoise, c.Method)
	}
	if c.Method != MethodSupervised && c.supervised() {
		return fmt.Errorf("finetune: freeze, layer_decay, label_share, validation, label_smoothing, mixup and cutmix go with method %s, this is %s", MethodSupervised, c.Method)
	}
	if c.autoencodes() && len(c.Projector) > 0 {
		return fmt.Errorf("finetune: method %s has no projector: leave out %v", c.Method, c.Projector)
	}
	return c.noise().Validate()
}

// noise is what the run spoils images with.
func (c *Config) noise() augment.Noise {
	return augment.Noise{Kind: augment.NoiseKind(c.Noise), Level: c.NoiseLevel}
}
