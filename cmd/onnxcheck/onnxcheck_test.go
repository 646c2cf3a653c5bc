package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/runtime/ort"
)

// shared is the folder of reference data. A relative one counts from the root of the
// module.
func shared(t *testing.T, folder string) string {
	t.Helper()
	dir := os.Getenv("SSLRT_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "shared")
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join("..", "..", dir)
	}
	if _, err := os.Stat(filepath.Join(dir, folder)); err != nil {
		t.Skipf("no reference data: %v (set SSLRT_SHARED)", err)
	}
	return dir
}

// TestConformance: of ONNX's own tests none fails that is not refused.
func TestConformance(t *testing.T) {
	var out bytes.Buffer
	if err := conformance(t.Context(), &out, filepath.Join(shared(t, "onnx-conformance"), "onnx-conformance"), false); err != nil {
		_, failures, _ := strings.Cut(out.String(), "\nfailed:\n")
		t.Fatalf("%v\n%.2000s", err, failures)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	t.Log(lines[len(lines)-1])
}

// TestModels: the small models give PyTorch's results and gradients, train, and are
// written back.
func TestModels(t *testing.T) {
	machines := "go,ort"
	if _, err := ort.Init(ort.FindOptions{}); err != nil {
		machines = "go"
	}
	var out bytes.Buffer
	err := checkModels(t.Context(), &out, modelOptions{shared: shared(t, "onnx"), machines: machines, only: []string{"autoencoder", "resnet10", "mnist-8"}})
	if err != nil {
		for line := range strings.Lines(out.String()) {
			if strings.HasPrefix(line, "FAILED") {
				t.Log(line)
			}
		}
		t.Fatal(err)
	}
}

// TestDamagedData: a result that differs is found, and so is a model that is missing.
func TestDamagedData(t *testing.T) {
	dir := shared(t, "onnx-conformance")
	from := filepath.Join(dir, "onnx-conformance", "node", "test_relu")
	to := filepath.Join(t.TempDir(), "node", "test_relu")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(to, "test_data_set_0", "output_0.pb")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 0x40 // the exponent of the last number
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	root := filepath.Dir(filepath.Dir(to))
	if err := conformance(t.Context(), &out, root, false); err == nil || !strings.Contains(out.String(), "test_relu: output") {
		t.Errorf("got %v, want the test to fail\n%s", err, out.String())
	}
	if err := conformance(t.Context(), &out, t.TempDir(), false); err == nil {
		t.Error("an empty folder: no error")
	}
}

// TestOperatorsPage: the page of the documentation is what the program writes.
func TestOperatorsPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "onnx-operators.md"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	writeOperators(&out)
	if !bytes.Equal(page, out.Bytes()) {
		t.Error("docs/onnx-operators.md is not up to date: go run ./cmd/onnxcheck operators > docs/onnx-operators.md")
	}
	if n := len(export.Operators()); n < 100 {
		t.Errorf("%d operators, want 100 or more", n)
	}
}
