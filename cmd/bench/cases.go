package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cases lists all that is measured.
func (s *suite) cases() []*benchCase {
	out := s.stepCases()
	out = append(out,
		s.pretrainCase("pretrain/32", "sslrt pretrain from files of 32 px, decoded once: ResNet-18 of width 0.25", 0.3, small, 2000,
			[]string{"--image-size", "32", "--batch-size", "128", "--epochs", "2"},
			[]string{"--size", "32", "--images", "128", "--epochs", "2", "--cached"}),
		s.pretrainCase("pretrain/224", "sslrt pretrain from JPEG of 500x375 at 224 px: ResNet-18 of width 0.25", 0.3, photos, 512,
			[]string{"--image-size", "224", "--batch-size", "32", "--epochs", "1", "--cache", "0", "--limit", "512"},
			[]string{"--size", "224", "--images", "32", "--limit", "512"}))
	out = append(out, s.augmentCase("32", 3), s.augmentCase("224", 1.5))
	full := network{"resnet18-224", "ResNet-18, 224 px", "1", "224"}
	narrow := network{"narrow-64", "ResNet-18 of width 0.25, 64 px", "0.25", "64"}
	out = append(out, s.embedCase(full, 1, 0.2), s.embedCase(narrow, 1.5, 0.5), s.shareCase(full, 0.95),
		s.prepareCase(full), s.prepareCase(narrow), s.coldCase(full))
	return out
}

// pretrainCase trains from files on both sides.
func (s *suite) pretrainCase(name, title string, weight float64, images kind, count int, flags, script []string) *benchCase {
	threads := strconv.Itoa(s.threads)
	var folder string
	layouts, runs := map[string]string{}, 0
	flags = append([]string{"--encoder", "resnet18", "--width", "0.25", "--engine", "ort", "--threads", threads, "--workers", threads, "--json"}, flags...)
	script = append([]string{"--width", "0.25", "--threads", threads, "--workers", threads}, script...)
	command := func(p python, layout string) []string {
		return append([]string{"testdata/pytorch/train_speed.py", "files", folder, "--layout", layout}, script...)
	}
	return &benchCase{
		name: name, title: title, unit: "images/s", rate: true, target: 1.25, weight: weight,
		against: python.training,
		prepare: func(ctx context.Context) (err error) { folder, err = s.pictures(ctx, images, count); return err },
		ours: func(ctx context.Context, _ bool) (sample, error) {
			var r struct {
				Rate float64 `json:"images_per_s"`
			}
			run := filepath.Join(s.scratch, fmt.Sprintf("%s-%d", strings.ReplaceAll(name, "/", "-"), runs))
			runs++
			defer os.RemoveAll(run)
			_, err := runJSON(ctx, &r, s.sslrt, append([]string{"pretrain", folder, "--run", run}, flags...)...)
			return sample{value: r.Rate}, err
		},
		theirs: func(ctx context.Context, p python, first bool) (sample, error) {
			if first {
				layout, err := fasterLayout(ctx, p, append(command(p, "both"), "--limit", "256", "--epochs", "1"))
				if err != nil {
					return sample{}, err
				}
				layouts[p.path] = layout
			}
			layout := layouts[p.path]
			var r map[string]any
			if _, err := runJSON(ctx, &r, p.path, command(p, layout)...); err != nil {
				return sample{}, err
			}
			return layoutSample(r, layout, "images_per_s")
		},
		command: [2]string{"sslrt pretrain FOLDER " + strings.Join(flags, " "),
			"python3 testdata/pytorch/train_speed.py files FOLDER " + strings.Join(script, " ")},
	}
}

// augmentCase makes SimCLR's two views of an image on one core.
func (s *suite) augmentCase(size string, target float64) *benchCase {
	title := "two SimCLR views at " + size + " px, from memory, one core"
	if size == "224" {
		title = "two SimCLR views at 224 px, from a JPEG of 500x375, one core"
	}
	flags := []string{"bench", "augment", "--image-size", size, "--workers", "1", "--json"}
	return &benchCase{
		name: "augment/" + size, title: title, unit: "ms", target: target, weight: 0.5,
		against: python.transforms,
		ours: func(ctx context.Context, _ bool) (sample, error) {
			var r struct {
				Cases []struct {
					CPU float64 `json:"cpu_ms"`
				} `json:"cases"`
			}
			_, err := runJSON(ctx, &r, s.sslrt, flags...)
			if err == nil && len(r.Cases) != 1 {
				err = fmt.Errorf("sslrt bench augment: got %d cases, want 1", len(r.Cases))
			}
			if err != nil {
				return sample{}, err
			}
			return sample{value: r.Cases[0].CPU}, nil
		},
		theirs: func(ctx context.Context, p python, _ bool) (sample, error) {
			var r map[string]float64
			_, err := runJSON(ctx, &r, p.path, "testdata/pytorch/augment_speed.py", "3")
			return sample{value: r["pair_"+size+"_ms"]}, err
		},
		command: [2]string{"sslrt " + strings.Join(flags, " "), "python3 testdata/pytorch/augment_speed.py 3"},
	}
}

// network is an encoder with random weights.
type network struct{ name, title, width, size string }

// file returns the encoder as an ONNX file, exported once.
func (s *suite) file(ctx context.Context, n network) (string, error) {
	path := filepath.Join(s.scratch, n.name+".onnx")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	folder, err := s.pictures(ctx, small, 256)
	if err != nil {
		return "", err
	}
	run := filepath.Join(s.scratch, n.name)
	if _, err := runProgram(ctx, s.sslrt, "pretrain", folder, "--encoder", "resnet18", "--width", n.width, "--image-size", n.size,
		"--epochs", "0", "--run", run); err != nil {
		return "", err
	}
	_, err = runProgram(ctx, s.sslrt, "export", path, "--run", run)
	return path, err
}

// job prepares the model and the images of an embedding job.
func (s *suite) job(ctx context.Context, n network, images int) (model, folder string, err error) {
	if model, err = s.file(ctx, n); err == nil {
		folder, err = s.pictures(ctx, photos, images)
	}
	return model, folder, err
}

// embedCase embeds a folder of JPEG files, whole processes.
func (s *suite) embedCase(n network, target, weight float64) *benchCase {
	threads := strconv.Itoa(s.threads)
	var model, folder string
	out := filepath.Join(s.scratch, "embeddings.npy")
	return &benchCase{
		name: "embed/" + n.name, title: fmt.Sprintf("sslrt embed of %d JPEG of 500x375: %s", s.images, n.title),
		unit: "s", target: target, weight: weight, alone: "the same, Python's start left out",
		against: python.embedding,
		prepare: func(ctx context.Context) (err error) { model, folder, err = s.job(ctx, n, s.images); return err },
		ours: func(ctx context.Context, _ bool) (sample, error) {
			p, err := runProgram(ctx, s.sslrt, "embed", model, folder, "--output", out, "--threads", threads, "--workers", threads)
			return sample{value: p.seconds, alone: p.seconds}, err
		},
		theirs: func(ctx context.Context, p python, _ bool) (sample, error) {
			var r struct {
				Seconds float64 `json:"seconds"`
			}
			whole, err := runJSON(ctx, &r, p.path, "testdata/pytorch/embed_speed.py", model, folder, out, "--size", n.size,
				"--threads", threads, "--workers", threads)
			return sample{value: whole.seconds, alone: r.Seconds}, err
		},
		command: [2]string{fmt.Sprintf("sslrt embed MODEL.onnx FOLDER --output x.npy --threads %s --workers %s", threads, threads),
			fmt.Sprintf("python3 testdata/pytorch/embed_speed.py MODEL.onnx FOLDER x.npy --size %s --threads %s --workers %s", n.size, threads, threads)},
	}
}

// shareCase compares an embedding job with the session alone.
func (s *suite) shareCase(n network, target float64) *benchCase {
	threads := strconv.Itoa(s.threads)
	var model, folder string
	flags := []string{"--rounds", "2", "--cold", "0", "--threads", threads, "--workers", threads, "--json"}
	return &benchCase{
		name: "embed/share", title: "share of the session's own rate that the job reaches: " + n.title, unit: "of the session's rate",
		rate: true, target: target, weight: 0.3,
		prepare: func(ctx context.Context) (err error) { model, folder, err = s.job(ctx, n, s.images); return err },
		ours: func(ctx context.Context, _ bool) (sample, error) {
			var r struct {
				Share float64 `json:"share"`
			}
			_, err := runJSON(ctx, &r, s.sslrt, append([]string{"bench", "embed", model, folder}, flags...)...)
			return sample{value: r.Share}, err
		},
		command: [2]string{"sslrt bench embed MODEL.onnx FOLDER " + strings.Join(flags, " "), ""},
	}
}

// prepareCase reads and prepares images on one core.
func (s *suite) prepareCase(n network) *benchCase {
	var model, folder string
	return &benchCase{
		name: "prepare/" + n.size, title: "a JPEG of 500x375 prepared for an encoder of " + n.size + " px, one core", unit: "ms", target: 1.5, weight: 0.5,
		against: python.preparation,
		prepare: func(ctx context.Context) (err error) { model, folder, err = s.job(ctx, n, s.images); return err },
		ours: func(ctx context.Context, _ bool) (sample, error) {
			var r struct {
				CPU float64 `json:"prepare_cpu_ms"`
			}
			_, err := runJSON(ctx, &r, s.sslrt, "bench", "embed", model, folder, "--images", "128", "--rounds", "1", "--cold", "0", "--json")
			return sample{value: r.CPU}, err
		},
		theirs: func(ctx context.Context, p python, _ bool) (sample, error) {
			var r struct {
				CPU float64 `json:"prepare_cpu_ms"`
			}
			_, err := runJSON(ctx, &r, p.path, "testdata/pytorch/embed_speed.py", model, folder, "-", "--size", n.size, "--prepare", "128")
			return sample{value: r.CPU}, err
		},
		command: [2]string{"sslrt bench embed MODEL.onnx FOLDER --images 128 --rounds 1 --cold 0 --json",
			"python3 testdata/pytorch/embed_speed.py MODEL.onnx FOLDER - --size " + n.size + " --prepare 128"},
	}
}

// coldCase embeds one image, from the start of the process.
func (s *suite) coldCase(n network) *benchCase {
	threads := strconv.Itoa(s.threads)
	var model, folder, image string
	out := filepath.Join(s.scratch, "one.npy")
	return &benchCase{
		name: "embed/cold", title: "sslrt embed of one image, from the start of the process: " + n.title, unit: "s", weight: 1,
		against: python.embedding,
		prepare: func(ctx context.Context) (err error) {
			if model, folder, err = s.job(ctx, n, s.images); err != nil {
				return err
			}
			image = filepath.Join(s.scratch, "one", "0.jpg")
			if err := os.MkdirAll(filepath.Dir(image), 0o755); err != nil {
				return err
			}
			data, err := os.ReadFile(filepath.Join(folder, fileName(photos, 0)))
			if err != nil {
				return err
			}
			return os.WriteFile(image, data, 0o644)
		},
		ours: func(ctx context.Context, _ bool) (sample, error) {
			p, err := runProgram(ctx, s.sslrt, "embed", model, image, "--output", out, "--threads", threads)
			return sample{value: p.seconds}, err
		},
		theirs: func(ctx context.Context, p python, _ bool) (sample, error) {
			whole, err := runProgram(ctx, p.path, "testdata/pytorch/embed_speed.py", model, filepath.Dir(image), out, "--size", n.size, "--threads", threads)
			return sample{value: whole.seconds}, err
		},
		command: [2]string{"sslrt embed MODEL.onnx IMAGE --output x.npy --threads " + threads,
			"python3 testdata/pytorch/embed_speed.py MODEL.onnx FOLDER x.npy --size " + n.size + " --threads " + threads},
	}
}
