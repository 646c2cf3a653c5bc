package checkpoint_test

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sbinet/npyio/npz"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/checkpoint"
	"github.com/sslrt/sslrt/models/op"
)

// TestProjects imports small checkpoints as projects write them and compares with
// PyTorch's outputs; testdata/pytorch/checkpoints.py wrote both.
func TestProjects(t *testing.T) {
	found, err := filepath.Glob("testdata/projects/*.npz")
	if err != nil || len(found) == 0 {
		t.Fatal("no checkpoints", err)
	}
	for _, arrays := range found {
		path := strings.TrimSuffix(arrays, ".npz")
		t.Run(filepath.Base(path), func(t *testing.T) {
			r, err := npz.Open(arrays)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			shape := r.Header("input.npy").Descr.Shape
			f, err := checkpoint.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			plan, err := checkpoint.NewPlan(f, checkpoint.Options{ImageSize: shape[2]})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("profile %s: %s", plan.Profile.Name, plan.Network.String())
			got := outputs(t, plan, read(t, r, "input"), shape)
			for array, output := range map[string]string{"features": "h", "projector": "z", "classifier_logits": "c"} {
				if r.Header(array+".npy") == nil {
					continue
				}
				want := read(t, r, array)
				if len(got[output]) != len(want) {
					t.Errorf("%s: got %d values, want %d", array, len(got[output]), len(want))
					continue
				}
				worst, largest := 0.0, 0.0
				for i := range want {
					worst = max(worst, math.Abs(float64(got[output][i]-want[i])))
					largest = max(largest, math.Abs(float64(want[i])))
				}
				if !(worst <= 1e-5*largest) {
					t.Errorf("%s differ by %g, the largest is %g", array, worst, largest)
				}
			}
		})
	}
}

func read(t *testing.T, r *npz.Reader, name string) []float32 {
	t.Helper()
	var v []float32
	if err := r.Read(name+".npy", &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// outputs runs an imported network on the machine in Go.
func outputs(t *testing.T, plan *checkpoint.Plan, x []float32, shape []int) map[string][]float32 {
	t.Helper()
	state, err := plan.Load()
	if err != nil {
		t.Fatal(err)
	}
	encoder, err := plan.Network.Encoder(plan.Input.Size)
	if err != nil {
		t.Fatal(err)
	}
	g := op.NewGraph()
	scope := models.NewScope(models.NewParams(g), false)
	h := encoder.Forward(scope.Sub(checkpoint.PartEncoder), g.Input("x", op.Float32, op.Batched(shape...)))
	out := []export.Output{{Name: "h", Node: h}}
	if plan.Network.Projector != nil {
		out = append(out, export.Output{Name: "z", Node: plan.Network.Projector.Forward(scope.Sub(checkpoint.PartProjector), h)})
	}
	if plan.Network.Classifier != nil {
		out = append(out, export.Output{Name: "c", Node: plan.Network.ClassifierForward(scope.Sub(checkpoint.PartClassifier), h)})
	}
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	p, err := engine.Go{}.Compile(engine.Function{Outputs: out})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Load(engine.Tensors(state)); err != nil {
		t.Fatal(err)
	}
	values, err := p.Run(context.Background(), engine.Tensors{"x": engine.NewTensor(x, shape...)})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]float32{}
	for name, v := range values {
		got[name] = v.Float32s()
	}
	return got
}

// A checkpoint is opened, and what an import would do with it is shown.
func Example() {
	f, err := checkpoint.Open("testdata/projects/simsiam_checkpoint_0099.pth.tar")
	if err != nil {
		panic(err)
	}
	defer f.Close()
	plan, err := checkpoint.NewPlan(f, checkpoint.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println(f.Format, plan.Profile.Name, plan.Root)
	fmt.Println(plan.Network.Projector)
	fmt.Println(plan.Coverage.Count(checkpoint.Renamed), plan.Coverage.Count(checkpoint.Missing))
	// Output:
	// PyTorch zip simsiam state_dict
	// linear 8, norm, relu, linear 8, norm, relu, linear 8, norm
	// 99 0
}
