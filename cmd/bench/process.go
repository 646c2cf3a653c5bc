package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// process is a finished program.
type process struct {
	seconds float64 // from its start to its end
	out     []byte
}

// runProgram runs a program and wants it to succeed.
func runProgram(ctx context.Context, name string, args ...string) (process, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	started := time.Now()
	err := cmd.Run()
	p := process{time.Since(started).Seconds(), stdout.Bytes()}
	if err != nil {
		text := strings.TrimSpace(stderr.String())
		if lines := strings.Split(text, "\n"); len(lines) > 5 {
			text = strings.Join(lines[len(lines)-5:], "\n")
		}
		return p, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, text)
	}
	return p, nil
}

// runJSON runs a program whose output's last line is a JSON object.
func runJSON(ctx context.Context, into any, name string, args ...string) (process, error) {
	p, err := runProgram(ctx, name, args...)
	if err != nil {
		return p, err
	}
	lines := bytes.Split(bytes.TrimSpace(p.out), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], into); err != nil {
		return p, fmt.Errorf("%s %s: its last line is not the JSON that was expected: %w", name, strings.Join(args, " "), err)
	}
	return p, nil
}

// python is a Python program and the packages that it has.
type python struct {
	path                                  string
	torch, torchvision, pillow, onnx, why string // versions, "" without; why there is none
}

func findPython(ctx context.Context, path string) python {
	const script = `
import importlib, json
out = {}
for name in ("torch", "torchvision", "PIL", "onnxruntime"):
    try:
        out[name] = importlib.import_module(name).__version__
    except Exception:
        out[name] = ""
print(json.dumps(out))`
	var v map[string]string
	if _, err := runJSON(ctx, &v, path, "-c", script); err != nil {
		return python{path: path, why: err.Error()}
	}
	return python{path: path, torch: v["torch"], torchvision: v["torchvision"], pillow: v["PIL"], onnx: v["onnxruntime"]}
}

// training names PyTorch, if p has all that training needs.
func (p python) training() string { return p.with("PyTorch", p.torch, p.torchvision) }

// transforms names torchvision.
func (p python) transforms() string { return p.with("torchvision", p.torchvision, p.torch) }

// embedding names ONNX Runtime, if p can read images for it too.
func (p python) embedding() string { return p.with("ONNX Runtime", p.onnx, p.torchvision) }

// preparation names torchvision, if p can do what embedding needs, of which it is a part.
func (p python) preparation() string { return p.with("torchvision", p.torchvision, p.onnx) }

// with returns a package's name and version, "" if it or the other package is missing.
func (python) with(name, version, other string) string {
	if version == "" || other == "" {
		return ""
	}
	version, _, _ = strings.Cut(version, "+")
	return name + " " + version
}

func (p python) String() string {
	if p.why != "" {
		return "cannot be run: " + p.why
	}
	var parts []string
	for _, x := range []struct{ name, version string }{
		{"PyTorch", p.torch}, {"torchvision", p.torchvision}, {"Pillow", p.pillow}, {"ONNX Runtime", p.onnx}} {
		if x.version != "" {
			parts = append(parts, x.name+" "+x.version)
		}
	}
	if parts == nil {
		return "has none of PyTorch, torchvision, Pillow and ONNX Runtime"
	}
	return strings.Join(parts, ", ")
}
