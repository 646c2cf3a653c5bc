package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// stepCase is a training step: sslrt's flags and those of train_speed.py.
type stepCase struct {
	name, title    string
	target, weight float64
	steps          int // that are timed in a pair, after one that is not
	flags, script  []string
}

func (s *suite) stepCases() []*benchCase {
	var out []*benchCase
	for _, c := range []stepCase{
		{"step/resnet18-64", "ResNet-18, 32 px, 64 views", 0.9, 1, 4,
			[]string{"--encoder", "resnet18", "--batch-size", "32"}, []string{"--model", "resnet18", "--images", "32"}},
		{"step/resnet18-128", "ResNet-18, 32 px, 128 views", 0.9, 1, 2,
			[]string{"--encoder", "resnet18", "--batch-size", "64"}, []string{"--model", "resnet18", "--images", "64"}},
		{"step/resnet50-224", "ResNet-50, 224 px, 16 images, 32 views", 0.9, 0.3, 2,
			[]string{"--encoder", "resnet50", "--image-size", "224", "--batch-size", "16"}, []string{"--model", "resnet50", "--size", "224", "--images", "16"}},
		{"step/resnet18-narrow", "ResNet-18 of width 0.25, 32 px, 128 views", 1.2, 1, 8,
			[]string{"--encoder", "resnet18", "--width", "0.25", "--batch-size", "64"}, []string{"--model", "resnet18", "--width", "0.25", "--images", "64"}},
		{"step/autoencoder", "convolutional autoencoder, 32 px, 128 images", 1.1, 1, 40,
			[]string{"--method", "autoencoder", "--encoder", "conv", "--batch-size", "128"}, []string{"--model", "conv", "--images", "128"}},
		{"step/vit-tiny", "ViT-tiny, 32 px, 128 views", 0.9, 0.7, 2,
			[]string{"--encoder", "vit_tiny", "--batch-size", "64"}, []string{"--model", "vit_tiny", "--images", "64"}},
	} {
		out = append(out, s.stepCase(c))
	}
	return out
}

// memorySteps are the steps of the first pair, after which the peaks are compared.
const memorySteps = 10

func (s *suite) stepCase(c stepCase) *benchCase {
	threads := strconv.Itoa(s.threads)
	count := func(long bool) string {
		if long {
			return strconv.Itoa(max(memorySteps, c.steps))
		}
		return strconv.Itoa(c.steps)
	}
	flags := append([]string{"bench", "step", "--engine", "ort", "--threads", threads, "--json"}, c.flags...)
	script := append([]string{"testdata/pytorch/train_speed.py", "step", "--threads", threads}, c.script...)
	layouts := map[string]string{}
	return &benchCase{
		name: c.name, title: c.title, unit: "s", target: c.target, weight: c.weight, memory: 1 / 1.1,
		against: python.training,
		ours: func(ctx context.Context, first bool) (sample, error) {
			var r struct {
				Median float64 `json:"median_s"`
				Peak   int64   `json:"peak_bytes"`
			}
			_, err := runJSON(ctx, &r, s.sslrt, append(flags, "--steps", count(first))...)
			return sample{value: r.Median, peak: r.Peak}, err
		},
		theirs: func(ctx context.Context, p python, first bool) (sample, error) {
			if first {
				layout, err := fasterLayout(ctx, p, append(script, "--steps", "2"))
				if err != nil {
					return sample{}, err
				}
				layouts[p.path] = layout
			}
			layout := layouts[p.path]
			var r map[string]any
			if _, err := runJSON(ctx, &r, p.path, append(script, "--layout", layout, "--steps", count(first))...); err != nil {
				return sample{}, err
			}
			return layoutSample(r, layout, "median_s")
		},
		command: [2]string{"sslrt " + strings.Join(flags, " "), "python3 " + strings.Join(script, " ")},
	}
}

var memoryLayouts = []string{"contiguous", "channels_last"}

// fasterLayout runs a script in both memory layouts of PyTorch and returns the faster
// one.
func fasterLayout(ctx context.Context, p python, script []string) (string, error) {
	var r map[string]any
	if _, err := runJSON(ctx, &r, p.path, append(script, "--layout", "both")...); err != nil {
		return "", err
	}
	best, fastest := "", 0.0
	for _, layout := range memoryLayouts {
		m, _ := r[layout].(map[string]any)
		speed, _ := m["images_per_s"].(float64)
		if seconds, ok := m["median_s"].(float64); ok && seconds > 0 {
			speed = 1 / seconds
		}
		if speed > fastest {
			best, fastest = layout, speed
		}
	}
	if best == "" {
		return "", fmt.Errorf("%s: no time of either memory layout", script[0])
	}
	return best, nil
}

// layoutSample reads a value of a layout, and the peak.
func layoutSample(r map[string]any, layout, key string) (sample, error) {
	m, _ := r[layout].(map[string]any)
	v, ok := m[key].(float64)
	if !ok {
		return sample{}, fmt.Errorf("no %s of layout %s in the script's result", key, layout)
	}
	peak, _ := r["peak_bytes"].(float64)
	return sample{value: v, peak: int64(peak)}, nil
}
