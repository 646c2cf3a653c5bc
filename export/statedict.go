package export

import (
	"fmt"
	"strings"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
)

// StateDict returns the weights of the part under the names that its first network
// has by itself, torchvision's: "layer1.0.conv1.weight". The networks behind it
// keep theirs in front: "projector.0.weight", "fc.weight", which is torchvision's
// name of the classifier. Every BatchNorm gets the counter num_batches_tracked,
// which PyTorch keeps with its statistics: steps. The metadata are those of the
// part's ONNX file.
func (p Part) StateDict(weights models.StateDict, steps int) (models.StateDict, onnx.Info, error) {
	outputs, params, err := p.Outputs(1)
	if err != nil {
		return nil, onnx.Info{}, err
	}
	if err := params.Check(weights); err != nil {
		return nil, onnx.Info{}, fmt.Errorf("export: the %s: %w", p.Kind, err)
	}
	out := models.StateDict{}
	put := func(name string, v *tensor.Dense) error {
		if out[name] != nil {
			return fmt.Errorf("export: two tensors of the %s would be called %q", p.Kind, name)
		}
		out[name] = v
		return nil
	}
	for _, s := range params.Specs() {
		name := strings.TrimPrefix(s.Name, p.Stages[0].Name+".")
		if err := put(name, weights[s.Name]); err != nil {
			return nil, onnx.Info{}, err
		}
		if norm, ok := strings.CutSuffix(name, ".running_mean"); ok {
			if err := put(norm+".num_batches_tracked", tensor.New(tensor.FromScalar(int64(steps)))); err != nil {
				return nil, onnx.Info{}, err
			}
		}
	}
	return out, p.info(outputs[0].Node.Dims[1]), nil
}
