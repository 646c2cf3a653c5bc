package checkpoint

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// Network describes an imported network completely, as it stands in a run's
// configuration: one kind of encoder, and the heads that came with it.
type Network struct {
	Profile string `yaml:"profile,omitempty"` // by which it was read, see Profiles

	ResNet *ResNet         `yaml:"resnet,omitempty"`
	ViT    *ViT            `yaml:"vit,omitempty"`
	Layers models.Sequence `yaml:"layers,omitempty"`

	Projector  models.Sequence `yaml:"projector,omitempty"`
	Classifier models.Sequence `yaml:"classifier,omitempty"`
}

// ResNet describes a residual network, see models.ResNet.
type ResNet struct {
	Blocks      []int `yaml:"blocks"`
	Widths      []int `yaml:"widths"`
	Bottleneck  bool  `yaml:"bottleneck,omitempty"`
	Groups      int   `yaml:"groups,omitempty"`
	GroupWidth  int   `yaml:"group_width,omitempty"`
	StrideIn1x1 bool  `yaml:"stride_in_1x1,omitempty"`
	PadShortcut bool  `yaml:"pad_shortcut,omitempty"` // shortcuts without weights

	StemKernel int  `yaml:"stem_kernel"`
	StemStride int  `yaml:"stem_stride"`
	StemPad    int  `yaml:"stem_pad"`
	StemPool   bool `yaml:"stem_pool,omitempty"`   // a 3x3 max-pool of stride 2
	StemLinear bool `yaml:"stem_linear,omitempty"` // no ReLU behind the stem's BatchNorm

	InputNorm bool `yaml:"input_norm,omitempty"` // a BatchNorm of the image
	Last      int  `yaml:"last,omitempty"`       // channels of a 1x1 convolution behind the last stage
}

// Encoder returns the encoder for images of a size in pixels.
func (n *Network) Encoder(imageSize int) (models.Encoder, error) {
	switch {
	case n.ResNet != nil:
		return n.ResNet.encoder()
	case n.ViT != nil:
		return n.ViT.encoder()
	case n.Layers != nil:
		if err := n.Layers.Check(); err != nil {
			return nil, err
		}
		return n.Layers, nil
	}
	return nil, errors.New("checkpoint: the network has no encoder")
}

func (r *ResNet) encoder() (models.Encoder, error) {
	if len(r.Blocks) == 0 || len(r.Widths) != len(r.Blocks) || r.StemKernel < 1 || r.StemStride < 1 || r.StemPad < 0 {
		return nil, fmt.Errorf("checkpoint: a ResNet of blocks %v, widths %v and a stem of kernel %d, stride %d, pad %d",
			r.Blocks, r.Widths, r.StemKernel, r.StemStride, r.StemPad)
	}
	for i := range r.Blocks {
		if r.Blocks[i] < 1 || r.Widths[i] < 1 {
			return nil, fmt.Errorf("checkpoint: a ResNet of blocks %v and widths %v: all must be positive", r.Blocks, r.Widths)
		}
	}
	net := models.ResNet{Blocks: r.Blocks, Widths: r.Widths, Bottleneck: r.Bottleneck, Groups: r.Groups, GroupWidth: r.GroupWidth,
		StrideIn1x1: r.StrideIn1x1, Stem: models.Stem{Kernel: r.StemKernel, Stride: r.StemStride, Pad: r.StemPad, Linear: r.StemLinear}}
	if r.PadShortcut {
		net.Shortcut = models.ShortcutPad
	}
	if r.StemPool {
		net.Stem.MaxPool = models.StemImageNet.MaxPool
	}
	if !r.InputNorm && r.Last == 0 {
		return net, nil
	}
	return framed{net, r.InputNorm, r.Last}, nil
}

// ClassifierForward applies the classifier to x: [N, D]. A single layer is called fc,
// as in torchvision; several are numbered.
func (n *Network) ClassifierForward(s models.Scope, x *op.Node) *op.Node {
	if single(n.Classifier) {
		return models.Linear(s, x, n.Classifier[0].Out, !n.Classifier[0].NoBias)
	}
	return n.Classifier.Forward(s, x)
}

func single(q models.Sequence) bool { return len(q) == 1 && q[0].Kind == models.LayerLinear }

// String describes the network in a few words.
func (n *Network) String() string {
	switch {
	case n.ResNet != nil:
		return n.ResNet.String()
	case n.ViT != nil:
		return n.ViT.String()
	case n.Layers != nil:
		return fmt.Sprintf("a plain network of %d layers", len(n.Layers))
	}
	return "no network"
}

func (r *ResNet) String() string {
	layers := 2
	for _, b := range r.Blocks {
		if layers += 2 * b; r.Bottleneck {
			layers += b
		}
	}
	s := fmt.Sprintf("ResNet-%d", layers)
	if len(r.Blocks) == 3 {
		s += " for CIFAR"
	}
	if r.Groups > 1 {
		s = fmt.Sprintf("ResNeXt-%d %dx%dd", layers, r.Groups, r.GroupWidth)
	} else if r.GroupWidth != 0 {
		s += fmt.Sprintf(" wide x%g", float64(r.GroupWidth)/64)
	}
	if usual := map[int]int{3: 16, 4: 64}[len(r.Blocks)]; usual != 0 && r.Widths[0] != usual {
		s += fmt.Sprintf(" width x%g", float64(r.Widths[0])/float64(usual))
	}
	s += fmt.Sprintf(", stem %dx%d stride %d padding %d", r.StemKernel, r.StemKernel, r.StemStride, r.StemPad)
	if r.StemLinear {
		s += " without ReLU"
	}
	if r.StemPool {
		s += ", max-pool"
	} else {
		s += ", no max-pool"
	}
	if r.PadShortcut {
		s += ", shortcuts without weights"
	}
	if r.Bottleneck && r.StrideIn1x1 {
		s += ", stride in the 1x1 (v1)"
	} else if r.Bottleneck {
		s += ", stride in the 3x3 (v1.5)"
	}
	return s
}

// framed is a ResNet as lightly's command builds it: behind a BatchNorm of the
// image, and with a 1x1 convolution in front of the pooling.
type framed struct {
	models.ResNet
	norm bool
	last int
}

func (f framed) Size() int {
	if f.last > 0 {
		return f.last
	}
	return f.ResNet.Size()
}

func (f framed) Forward(s models.Scope, x *op.Node) *op.Node {
	if f.norm {
		x = models.BatchNorm(s.Sub("norm"), x)
	}
	stages := f.Stages(s, x)
	x = op.GlobalAveragePool(stages[len(stages)-1])
	if f.last > 0 && x != nil {
		// A 1x1 convolution and the mean over positions can change places.
		w := s.Weight("last.weight", models.KaimingNormal(f.last), f.last, x.Dims[1], 1, 1)
		return op.Linear(x, op.Reshape(w, op.Dims(f.last, x.Dims[1])), s.Weight("last.bias", models.Constant(0), f.last))
	}
	return x
}

// resNetOf reads a ResNet off the sizes of its tensors, by torchvision's names, and
// what the file does not say off the settings.
func resNetOf(shapes map[string][]int, set Settings) (*ResNet, error) {
	conv := func(format string, args ...any) []int {
		if s := shapes[fmt.Sprintf(format, args...)+".weight"]; len(s) == 4 {
			return s
		}
		return nil
	}
	stem := conv("conv1")
	if stem == nil {
		return nil, errors.New("the first convolution, conv1.weight, is missing or is not [out, in, k, k]: other stems are not known")
	}
	r := &ResNet{StemKernel: stem[2], StemStride: 1, StemPad: stem[2] / 2, StemLinear: set.Linear}
	if r.StemKernel > 3 {
		r.StemStride = 2
	}
	if set.Stride > 0 {
		r.StemStride = set.Stride
	}
	if set.Pad != 0 {
		r.StemPad = max(0, set.Pad)
	}
	r.StemPool = set.Pool == "max" || set.Pool == "" && r.StemStride == 2
	r.Bottleneck = conv("layer1.0.conv3") != nil
	r.StrideIn1x1 = r.Bottleneck && set.StrideIn1x1
	for stage := 1; conv("layer%d.0.conv1", stage) != nil; stage++ {
		blocks := 1
		for conv("layer%d.%d.conv1", stage, blocks) != nil {
			blocks++
		}
		width := conv("layer%d.0.conv1", stage)[0]
		if r.Bottleneck {
			inner, mid, out := width, conv("layer%d.0.conv2", stage), conv("layer%d.0.conv3", stage)
			if mid == nil || out == nil || mid[1] == 0 || out[0]%4 != 0 {
				return nil, fmt.Errorf("the first block of layer%d is not a bottleneck of 1x1, 3x3 and 1x1", stage)
			}
			width = out[0] / 4
			groups := inner / mid[1]
			if stage == 1 && width > 0 && groups > 0 && (inner != width || groups > 1) {
				r.GroupWidth = inner / groups * 64 / width
				if groups > 1 {
					r.Groups = groups
				}
			}
		}
		if len(r.Widths) > 0 && width > r.Widths[len(r.Widths)-1] && shapes["layer"+strconv.Itoa(stage)+".0.downsample.0.weight"] == nil {
			r.PadShortcut = true
		}
		r.Blocks, r.Widths = append(r.Blocks, blocks), append(r.Widths, width)
	}
	if len(r.Blocks) == 0 {
		return nil, errors.New("layer1.0.conv1.weight is missing")
	}
	for name := range shapes {
		if strings.Contains(name, ".downsample.") {
			r.PadShortcut = false // where there are some, others are missing
		}
	}
	if norm := shapes["norm.running_mean"]; norm != nil {
		r.InputNorm = true
	}
	if last := shapes["last.weight"]; len(last) == 4 {
		r.Last = last[0]
	}
	return r, nil
}
