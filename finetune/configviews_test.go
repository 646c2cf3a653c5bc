package finetune

import (
	"bytes"
	"strings"
	"testing"
)

func viewConfig(t *testing.T, text string) (Config, error) {
	t.Helper()
	c, err := ParseConfig([]byte(text))
	if err != nil {
		return c, err
	}
	if c.ImageSize == 0 {
		c.ImageSize = 32
	}
	c.Mean, c.Std = []float32{0.5, 0.5, 0.5}, []float32{0.25, 0.25, 0.25}
	if err := c.resolveViews(2); err != nil {
		return c, err
	}
	return c, c.checkViews(2)
}

// What is written is complete: read again it resolves to itself, byte for byte.
func TestConfigViews(t *testing.T) {
	for text, want := range map[string]string{
		"seed: 1":          "2 x RandomResizedCrop: {size: 32}, RandomHorizontalFlip, RandomApply:",
		"augment: moco_v1": "2 x RandomResizedCrop: {size: 32, scale: [0.2, 1]}, RandomGrayscale: {p: 0.2}, ColorJitter:",
		"augment: byol":    "1 x 32 px: RandomResizedCrop: {size: 32, interpolation: bicubic}",
		"augment: none":    "2 x Resize: {size: [32, 32]}",
		"augment: []":      "",
		"image_size: 224":  "2 x RandomResizedCrop: {size: 224}",
		"augment:\n- RandomCrop: {size: 32, padding: 4}\n- RandomApply:\n    p: 0.25\n    transforms: [RandomInvert, RandomOrder: {transforms: [RandomVerticalFlip]}]\n": "2 x RandomCrop: {size: 32, padding: 4}, RandomApply: {transforms: [RandomInvert, RandomOrder: {transforms: [RandomVerticalFlip]}], p: 0.25}",
		"views: [{}, {augment: none}]":                                   "1 x 32 px: RandomResizedCrop: {size: 32}, RandomHorizontalFlip",
		"views:\n- augment: supcon\n- augment: [RandomCrop: {size: 32}]": "RandomGrayscale: {p: 0.2}; 1 x 32 px: RandomCrop: {size: 32}",
		"augment: mae\nviews: [{count: 2}]":                              "2 x 32 px: RandomResizedCrop: {size: 32, scale: [0.2, 1], interpolation: bicubic}, RandomHorizontalFlip",
	} {
		c, err := viewConfig(t, text)
		if text == "augment: []" { // no policy at all makes the image's own size
			if err == nil || !strings.Contains(err.Error(), "the policy makes 64x33 pixels") {
				t.Errorf("%s: got %v", text, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.ViewPlan(2).String(); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
		written, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := viewConfig(t, string(written))
		if err != nil {
			t.Errorf("%s: %v in\n%s", text, err, written)
			continue
		}
		second, err := again.Marshal()
		if err != nil || !bytes.Equal(written, second) {
			t.Errorf("%s: written\n%s\nthen\n%s, %v", text, written, second, err)
		}
		if d := again.Differences(c); len(d) > 0 {
			t.Errorf("%s: %v", text, d)
		}
	}
}

func TestConfigViewsErrors(t *testing.T) {
	for text, want := range map[string]string{
		"augment: foo":                                        `augment: line 1: unknown preset "foo"; there are autoencoder, barlow, byol`,
		"seed: 1\naugment:\n- RandomFlip":                     `augment: line 3: unknown transform "RandomFlip"`,
		"seed: 1\naugment:\n- CenterCrop:\n    sise: 3":       `augment: line 4: CenterCrop: unknown argument "sise"`,
		"augment: dino":                                       "method simclr takes 2 views of an image, augment and views make 10",
		"augment: byol\nviews: [{count: 2}]":                  "the preset byol has several kinds of views",
		"augment: simclr\nviews: [{count: 2, augment: none}]": "every entry of views has its own",
		"views: [{count: 3}]":                                 "takes 2 views of an image, augment and views make 3",
		"views: [{count: 1}, {size: 16}]":                     "takes views of one size, image_size is 32 and views have 16",
		"views: 3":                                            "views: line 1: got 3, want a list",
		"views: [3]":                                          "got 3, want {count, size, augment}",
		"views:\n- {count: 2}\n- {number: 2}":                 `views: line 3: unknown key "number"`,
		"views: [{count: 0}]":                                 "count: got 0, want a whole number, 1 to 1000",
		"views: [{size: big}]":                                "size: got big",
		"augment: [CenterCrop: {size: 28}]":                   "the policy makes 28x28 pixels of an image of 32x32, want 32x32",
		"image_size: 64\naugment: [RandomCrop: {size: 32}]":   "image_size is 64, and augment=simclr_cifar takes the default for it",
	} {
		if _, err := viewConfig(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestSetAugment(t *testing.T) {
	c := DefaultConfig()
	for value, want := range map[string]string{
		"byol":                     "byol",
		"[CenterCrop: {size: 32}]": "[CenterCrop: {size: 32}]",
		"- CenterCrop: {size: 32}\n- RandomInvert": "[CenterCrop: {size: 32}, RandomInvert]",
		"": "",
	} {
		if err := c.Set("augment", value); err != nil || c.Augment.String() != want {
			t.Errorf("%q: got %q, %v", value, c.Augment, err)
		}
	}
	if err := c.Set("augment", "[CenterCrop]"); err == nil || !strings.Contains(err.Error(), "set augment: line 1: CenterCrop: needs the argument size") {
		t.Errorf("got %v", err)
	}
	if err := c.Set("views", "[{count: 2, size: 48}]"); err != nil || len(c.Views) != 1 || c.Views[0].Count != 2 || c.Views[0].Size != 48 || !c.Views[0].Augment.IsZero() {
		t.Errorf("got %v, %v", c.Views, err)
	}
}
