package finetune

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models"
)

// No flipped bit changes what is read: neither one in a value nor one in what the
// file says about itself, such as the step.
func TestEveryFlippedBitIsFound(t *testing.T) {
	run := &Run{Dir: t.TempDir(), Config: DefaultConfig()}
	if err := os.Mkdir(filepath.Join(run.Dir, "checkpoints"), 0o755); err != nil {
		t.Fatal(err)
	}
	state := models.StateDict{
		"encoder.weight": tensor.New(tensor.WithShape(2, 3), tensor.WithBacking([]float32{1, 2, 3, 4, 5, 0})),
		"encoder.bias":   tensor.New(tensor.WithShape(1), tensor.WithBacking([]float32{7})),
	}
	info := CheckpointInfo{Step: 12, Total: 30, Epoch: 2, sums: sums{"loss": {12.5, 2}}, best: Best{"loss", 3.5, 1}}
	if err := run.SaveCheckpoint(state, info); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(run.CheckpointPath())
	if err != nil {
		t.Fatal(err)
	}
	if _, got, err := run.LoadCheckpoint(); err != nil || got.Step != 12 || got.sums["loss"] != info.sums["loss"] || got.best != info.best {
		t.Fatalf("read back: %+v, %v", got, err)
	}
	for i := range good {
		data := append([]byte(nil), good...)
		data[i] ^= 1 << rand.IntN(8)
		if err := os.WriteFile(run.CheckpointPath(), data, 0o644); err != nil {
			t.Fatal(err)
		}
		got, at, err := run.LoadCheckpoint()
		if err == nil && !(reflect.DeepEqual(at, info) && maps.EqualFunc(got, state, func(a, b *tensor.Dense) bool { return a.Eq(b) })) {
			t.Errorf("byte %d: %q became %q and nobody noticed", i, good[i], data[i])
		}
	}
	for n := range len(good) {
		if err := os.WriteFile(run.CheckpointPath(), good[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, err := run.LoadCheckpoint(); err == nil {
			t.Errorf("cut to %d bytes, and nobody noticed", n)
		}
	}
}

// A configuration that says that the network was imported, and not which one it is.
func TestImportedRunWithoutNetwork(t *testing.T) {
	c := DefaultConfig()
	c.Method = MethodImported
	run, err := CreateRun(filepath.Join(t.TempDir(), "run"), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRun(run.Dir); err == nil || !strings.Contains(err.Error(), "config.yaml: the method is imported, and there is no network") {
		t.Errorf("got %v", err)
	}
}
