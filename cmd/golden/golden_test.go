package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sbinet/npyio/npz"
	"gonum.org/v1/gonum/mat"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// entry is a case as the folder stores it, with its arrays.
type entry struct {
	Name     string            `json:"name"`
	File     string            `json:"file"`
	Op       string            `json:"op"`
	Params   map[string]any    `json:"params"`
	Inputs   []string          `json:"inputs"`
	Upstream []string          `json:"upstream"`
	Of       map[string]string `json:"upstream_of"`
	Outputs  []string          `json:"outputs"`
	Tol      map[string]any    `json:"tolerance"`

	arrays map[string]any
}

func writeGroup(t *testing.T, dir, group string, entries ...entry) {
	t.Helper()
	dir = filepath.Join(dir, group)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		e := &entries[i]
		e.File = e.Name + ".npz"
		e.Tol = map[string]any{"rtol": 1e-6, "atol": 1e-6}
		f, err := os.Create(filepath.Join(dir, e.File))
		if err != nil {
			t.Fatal(err)
		}
		w := npz.NewWriter(f)
		for name, v := range e.arrays {
			if err := w.Write(name+".npy", v); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	data, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cases.json"), data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// square is y = x^2 with L = sum(y * up).
func square(name string, y, grad []float64) entry {
	return entry{Name: name, Op: "elementwise", Params: map[string]any{"variant": "square"},
		Inputs: []string{"x"}, Upstream: []string{"up_y"}, Of: map[string]string{"up_y": "y"},
		Outputs: []string{"y", "grad_x"},
		arrays: map[string]any{"x": []float32{1, -2, 3}, "up_y": []float32{1, 10, 100},
			"y": []float32{1, 4, 9}, "y_f64": y, "grad_x_f64": grad, "grad_x": []float32{2, -40, 600}},
	}
}

func TestRunnerJudges(t *testing.T) {
	dir := t.TempDir()
	chain := entry{Name: "any name", Op: "chain", Params: map[string]any{"steps": []string{"t=x[1:]", "y=relu(t-2)*3"}},
		Inputs: []string{"x"}, Upstream: []string{"up_y"}, Of: map[string]string{"up_y": "y"}, Outputs: []string{"y", "grad_x"},
		arrays: map[string]any{"x": []float32{5, 1, 4}, "up_y": []float32{1, 2}, "y": []float32{0, 6}, "grad_x": []float32{0, 0, 6}}}
	writeGroup(t, dir, "ops",
		square("right", []float64{1, 4, 9}, []float64{2, -40, 600}),
		square("wrong value", []float64{1, 4, 9.1}, []float64{2, -40, 600}),
		square("wrong gradient", []float64{1, 4, 9}, []float64{2, -40, 601}),
		square("not a number", []float64{1, 4, 9}, []float64{2, -40, nan()}),
		entry{Name: "unheard of", Op: "quantum_gate"},
		chain,
	)
	cases, err := choose([]string{"ops"})
	if err != nil {
		t.Fatal(err)
	}
	table, err := runAll(context.Background(), dir, cases, []engine.Machine{engine.Go{}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := table.passed(); got != 2 {
		t.Errorf("passed: got %d, want 2: %v", got, table.failures)
	}
	if got := table.failed(); got != 3 {
		t.Errorf("failed: got %d, want 3: %v", got, table.failures)
	}
	var out strings.Builder
	table.print(&out)
	for _, want := range []string{"ops/wrong value go: y[2]: got 9, want 9.1", "ops/wrong gradient go: grad_x[2]",
		"quantum_gate: no such operation yet: 1 case(s) [unheard of]"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, &out)
		}
	}
}

func nan() float64 { zero := 0.0; return zero / zero }

func TestMissingArrayFails(t *testing.T) {
	dir := t.TempDir()
	e := square("incomplete", []float64{1, 4, 9}, []float64{2, -40, 600})
	delete(e.arrays, "x")
	writeGroup(t, dir, "ops", e)
	cases, _ := choose([]string{"ops"})
	table, err := runAll(context.Background(), dir, cases, []engine.Machine{engine.Go{}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(table.failures) != 1 || !strings.Contains(table.failures[0], `no array "x"`) {
		t.Errorf("failures: %v", table.failures)
	}
}

func TestMissingFolderIsNoted(t *testing.T) {
	table, err := runAll(context.Background(), t.TempDir(), groups, nil, false)
	if err != nil || table.passed() != 0 || len(table.notes) != len(groups) {
		t.Errorf("got %+v, %v", table, err)
	}
}

// FuzzExpression: whatever a chain says, it is read or it is not covered.
func FuzzExpression(f *testing.F) {
	for _, s := range []string{"x@x^T/sqrt(D)", "cat([x[:,2:],x[:,:2]],1)", "x[:,None].expand(-1,3,-1)*2",
		"-x.flip(1).sum(1,keepdim=True)", "where(x>0,x,-2*x)", "x.chunk(2,1)", "((", "x[", "x.reshape(N,-1).t()"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 60 {
			return
		}
		g := op.NewGraph()
		x := g.Input("x", op.Float32, op.Dims(3, 4))
		defer func() {
			if r := recover(); r != nil {
				if _, ok := r.(notCovered); !ok {
					panic(r)
				}
			}
		}()
		evaluate(map[string]any{"x": x, "N": 3., "D": 4., "True": 1.}, s)
	})
}

// TestEmbeddingPadding: the row of padding_idx is looked up and stays untrained.
func TestEmbeddingPadding(t *testing.T) {
	dir := t.TempDir()
	writeGroup(t, dir, "ops", entry{Name: "padding", Op: "embedding", Params: map[string]any{"padding_idx": -2},
		Inputs: []string{"weight", "index"}, Upstream: []string{"up_y"}, Of: map[string]string{"up_y": "y"},
		Outputs: []string{"y", "grad_weight"},
		arrays: map[string]any{"weight": matrix(3, 1, 4, 5, 6), "index": []int64{2, 1, 2}, "up_y": matrix(3, 1, 1, 10, 100),
			"y": matrix(3, 1, 6, 5, 6), "grad_weight": matrix(3, 1, 0, 0, 101)}})
	cases, err := choose([]string{"ops"})
	if err != nil {
		t.Fatal(err)
	}
	table, err := runAll(context.Background(), dir, cases, []engine.Machine{engine.Go{}}, false)
	if err != nil || table.passed() != 1 {
		t.Errorf("passed: got %d, want 1: %v, %v", table.passed(), table.failures, err)
	}
}

// matrix is an array of two axes for a case.
func matrix(rows, columns int, values ...float64) *mat.Dense {
	return mat.NewDense(rows, columns, values)
}
