package checkpoint

import (
	"fmt"
	"strings"
)

// kinds are signs of networks by which a file can be described that no profile
// reads.
var kinds = []struct{ sign, what string }{
	{".attn.qkv.weight", "a vision transformer with timm's names"},
	{".attention.query.weight", "a transformer with the names of Hugging Face"},
	{".attention.attention.query.weight", "a vision transformer with the names of Hugging Face"},
	{".self_attn.in_proj_weight", "a transformer with PyTorch's own attention"},
	{".self_attention.in_proj_weight", "a vision transformer with torchvision's names"},
	{".dwconv.weight", "a ConvNeXt"},
	{".conv_dw.weight", "a MobileNet or EfficientNet with timm's names"},
	{"features.denseblock1.", "a DenseNet of torchvision"},
	{".squeeze.weight", "a SqueezeNet of torchvision"},
	{"layer1.0.conv1.weight", "a ResNet"},
	{".0.conv1.weight", "a ResNet in numbered parts"},
	{".bn1.weight", "a network with BatchNorm"},
	{"conv1.weight", "a plain convolutional network"},
}

// looks says what a file without a profile holds.
func (f *File) looks() string {
	if len(f.Tensors) == 0 {
		return "it holds no tensors"
	}
	what := "no network that is known by its names"
	for _, k := range kinds {
		if f.any(k.sign) {
			what = "it looks like " + k.what
			break
		}
	}
	var first []string
	for _, t := range f.Tensors[:min(4, len(f.Tensors))] {
		first = append(first, fmt.Sprintf("%s %v", t.Name, t.Shape))
	}
	return fmt.Sprintf("%s: %d tensors, the first %s", what, len(f.Tensors), strings.Join(first, ", "))
}

func (f *File) any(sign string) bool {
	for _, t := range f.Tensors {
		if strings.Contains("."+t.Name, sign) {
			return true
		}
	}
	return false
}
