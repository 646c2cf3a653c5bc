package finetune

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
)

// ExportWeights writes the weights of a part of a run as a safetensors file with
// torchvision's names and shapes, see export.Part.StateDict, so that
// load_state_dict of PyTorch takes it with strict=True. The file is read back and
// compared. The part train-step has none: Export writes its parameters.
func ExportWeights(run *Run, path string, opt ExportOptions) (Exported, error) {
	if _, err := run.kind(opt.Part); err != nil {
		return Exported{}, err
	}
	state, info, err := run.weightsToExport(opt.Weights)
	if err != nil {
		return Exported{}, err
	}
	return run.exportWeights(path, state, info, opt)
}

// exportWeights is ExportWeights with the weights of a checkpoint.
func (r *Run) exportWeights(path string, state models.StateDict, info CheckpointInfo, opt ExportOptions) (Exported, error) {
	kind, err := r.kind(opt.Part)
	if err != nil {
		return Exported{}, err
	}
	if kind == onnx.KindTrainStep {
		return Exported{}, errors.New("finetune: export: a training step is no state dict: choose another part, or the format onnx")
	}
	if _, err := os.Stat(path); err == nil && !opt.Force {
		return Exported{}, fmt.Errorf("finetune: export: %s exists: choose another name, or replace it by --force", path)
	}
	part, err := r.Part(kind, info)
	if err != nil {
		return Exported{}, err
	}
	part.Version = opt.Version
	weights, about, err := part.StateDict(trained(state), info.Step)
	if err != nil {
		return Exported{}, err
	}
	meta := map[string]string{"format": "pt"} // the layout: PyTorch's
	entries, err := about.Entries()
	if err != nil {
		return Exported{}, err
	}
	for _, e := range entries {
		meta[e.Key] = e.Value
	}
	if err := models.WriteSafetensors(path, weights, meta); err != nil {
		return Exported{}, err
	}
	out := Exported{Path: path, Kind: kind, Step: info.Step, Info: about}
	if opt.NoVerify {
		return out, nil
	}
	back, _, err := models.ReadSafetensors(path)
	if err != nil {
		return out, err
	}
	if !sameWeights(back, weights) {
		return out, fmt.Errorf("finetune: export: %s does not hold what was written: is the disk damaged?", path)
	}
	out.Checked = true
	return out, nil
}

// sameWeights compares bits, so that a NaN is itself.
func sameWeights(a, b models.StateDict) bool {
	return maps.EqualFunc(a, b, func(x, y *tensor.Dense) bool {
		if x.Dtype() != y.Dtype() || !x.Shape().Eq(y.Shape()) {
			return false
		}
		if x.Dtype() == tensor.Float32 {
			return slices.EqualFunc(x.Float32s(), y.Float32s(), func(v, w float32) bool {
				return math.Float32bits(v) == math.Float32bits(w)
			})
		}
		return reflect.DeepEqual(x.Data(), y.Data())
	})
}

// weightsToExport loads a checkpoint, last or best.
func (r *Run) weightsToExport(which string) (models.StateDict, CheckpointInfo, error) {
	state, info, err := r.LoadWeights(which)
	if errors.Is(err, fs.ErrNotExist) {
		if which == WeightsBest {
			which = "best "
		} else {
			which = ""
		}
		err = fmt.Errorf("finetune: export: %s has no %scheckpoint yet: train it first (sslrt pretrain --resume --run %s)", r.Dir, which, r.Dir)
	}
	return state, info, err
}
