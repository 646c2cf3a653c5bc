package finetune

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sslrt/sslrt/augment"
)

// resolveViews replaces presets by their policies and fills in what views leave out,
// for an objective that takes n views of an image. Afterwards either Augment is a
// policy for all views, or Views is set and complete.
func (c *Config) resolveViews(n int) error {
	if len(c.Views) == 0 {
		return c.resolveAugment(n)
	}
	used := false
	for i := range c.Views {
		v := &c.Views[i]
		if v.Size == 0 {
			v.Size = c.ImageSize
		}
		choice := v.Augment
		if choice.IsZero() {
			choice, used = c.Augment, true
		}
		if choice.IsZero() {
			choice.Preset = c.usualPreset()
		}
		policy, err := onePolicy(choice, v.Size)
		if err != nil {
			return fmt.Errorf("finetune: views: entry %d: %w", i+1, err)
		}
		v.Augment = augment.Choice{Policy: policy}
	}
	if !used && !c.Augment.IsZero() {
		return errors.New("finetune: augment is given, but every entry of views has its own: leave one of them out")
	}
	c.Augment = augment.Choice{}
	return c.tryViews(n)
}

func (c *Config) resolveAugment(n int) error {
	if c.Augment.Policy == nil {
		name := c.Augment.Preset
		if name == "" {
			name = c.usualPreset()
		}
		views, err := augment.Preset(name, c.ImageSize)
		if err != nil {
			return fmt.Errorf("finetune: %w", err)
		}
		c.Augment = augment.Choice{}
		if len(views) == 1 {
			c.Augment.Policy = views[0].Policy
		} else {
			c.setViews(views)
		}
	}
	return c.tryViews(n)
}

func (c *Config) setViews(views augment.Views) {
	c.Views = nil
	for _, v := range views {
		size := v.Size
		if size == 0 {
			size = c.ImageSize
		}
		c.Views = append(c.Views, augment.ViewChoice{Count: v.Count, Size: size, Augment: augment.Choice{Policy: v.Policy}})
	}
}

// PreviewViews returns the views of an image that the configuration describes, n of
// them where it does not say how many, without regard to what its method takes. The
// image size must be set.
func (c Config) PreviewViews(n int) (augment.Views, error) {
	c.Views = slices.Clone(c.Views)
	if err := c.resolveViews(n); err != nil {
		return nil, err
	}
	return c.ViewPlan(n), nil
}

// usualPreset is what a method augments by where nothing is said.
func (c *Config) usualPreset() string {
	if c.autoencodes() || c.Method == MethodSupervised { // flips and slight crops
		return "autoencoder"
	}
	return "simclr_cifar"
}

// onePolicy is the policy of a choice, for views of a size.
func onePolicy(choice augment.Choice, size int) (augment.Policy, error) {
	if choice.Policy != nil {
		return choice.Policy, nil
	}
	views, err := augment.Preset(choice.Preset, size)
	if err != nil {
		return nil, err
	}
	if len(views) > 1 {
		return nil, fmt.Errorf("the preset %s has several kinds of views: give it as augment, without views", choice.Preset)
	}
	return views[0].Policy, nil
}

// ViewPlan returns the random views of a resolved configuration, n of them where it
// does not say how many.
func (c *Config) ViewPlan(n int) augment.Views {
	if len(c.Views) == 0 {
		return augment.Alike(n, c.Augment.Policy)
	}
	var out augment.Views
	for _, v := range c.Views {
		out = append(out, augment.View{Count: v.Count, Size: v.Size, Policy: v.Augment.Policy})
	}
	return out
}

// tryViews checks that the policies make what they should.
func (c *Config) tryViews(n int) error {
	if err := c.ViewPlan(n).Check(c.ImageSize); err != nil {
		return fmt.Errorf("finetune: %w; image_size is %d, and augment=%s takes the default for it", err, c.ImageSize, c.usualPreset())
	}
	return nil
}

// checkViews checks that the views are those that the method takes, n of one size.
func (c *Config) checkViews(n int) error {
	plan := c.ViewPlan(n)
	if got := plan.Len(); got != n {
		return fmt.Errorf("finetune: method %s takes %d views of an image, augment and views make %d", c.Method, n, got)
	}
	for _, v := range plan {
		if v.Size != 0 && v.Size != c.ImageSize {
			return fmt.Errorf("finetune: method %s takes views of one size, image_size is %d and views have %d", c.Method, c.ImageSize, v.Size)
		}
	}
	return nil
}
