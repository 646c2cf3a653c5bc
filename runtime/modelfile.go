package runtime

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
)

// ImageInput returns the model's one input without a default, a batch of images:
// float32 [N, C, H, W] or uint8 [N, H, W, C].
func ImageInput(m *onnx.Model) (*onnx.ValueInfo, error) {
	var inputs []*onnx.ValueInfo
	for _, in := range m.Graph.Inputs {
		if m.Graph.Initializer(in.Name) == nil { // others have a default
			inputs = append(inputs, in)
		}
	}
	if len(inputs) != 1 {
		return nil, fmt.Errorf("got %d inputs (%s), want one, the image", len(inputs), valueNames(inputs))
	}
	in := inputs[0]
	if in.Type != onnx.Float && in.Type != onnx.Uint8 || len(in.Dims) != 4 {
		return nil, fmt.Errorf("input %q: got %v %v, want float32 [N, C, H, W] or uint8 [N, H, W, C]", in.Name, in.Type, in.Dims)
	}
	return in, nil
}

// pickOutput returns the output called name, or else the usual one, or else the
// only one.
func pickOutput(m *onnx.Model, name, usual string) (*onnx.ValueInfo, error) {
	outs := m.Graph.Outputs
	find := func(name string) *onnx.ValueInfo {
		if i := slices.IndexFunc(outs, func(o *onnx.ValueInfo) bool { return o.Name == name }); i >= 0 {
			return outs[i]
		}
		return nil
	}
	var out *onnx.ValueInfo
	switch {
	case name != "":
		if out = find(name); out == nil {
			return nil, fmt.Errorf("it has no output %q, only %s", name, valueNames(outs))
		}
	case find(usual) != nil:
		out = find(usual)
	case len(outs) == 1:
		out = outs[0]
	default:
		return nil, fmt.Errorf("it has %d outputs and none is called %q: choose one of %s by --layer", len(outs), usual, valueNames(outs))
	}
	if out.Type != onnx.Float {
		return nil, fmt.Errorf("output %q: got %v, want float32", out.Name, out.Type)
	}
	return out, nil
}

func valueNames(values []*onnx.ValueInfo) string {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = v.Name
	}
	return strings.Join(names, ", ")
}

// sizes translates a shape; -1 is a size that is open.
func sizes(v *onnx.ValueInfo) []int {
	out := make([]int, len(v.Dims))
	for i, d := range v.Dims {
		if out[i] = int(d.Value); d.Param != "" || d.Value < 0 {
			out[i] = -1
		}
	}
	return out
}

// InputPreprocess puts together how an image becomes a model's input: the file's
// metadata, the caller's entries over it, and what the input's shape fixes.
func InputPreprocess(info onnx.Info, in *onnx.ValueInfo, override map[string]string) (augment.Preprocess, error) {
	entries := map[string]string{}
	for k, v := range info.Preprocess {
		entries[k] = v
	}
	shape := sizes(in)
	channels, height, width := shape[1], shape[2], shape[3]
	if in.Type == onnx.Uint8 {
		height, width, channels = shape[1], shape[2], shape[3]
	}
	if entries["size"] == "" && height > 0 && width > 0 {
		entries["size"] = fmt.Sprintf("%dx%d", height, width)
	}
	if entries["channels"] == "" && channels > 0 {
		entries["channels"] = strconv.Itoa(channels)
	}
	if in.Type == onnx.Uint8 && entries["mean"] == "" {
		entries["mean"], entries["std"] = "0", "1" // the model normalises by itself
	}
	for k, v := range override {
		entries[k] = v
	}
	for _, need := range []struct{ key, flag string }{{"size", "--image-size"}, {"mean", "--mean"}, {"std", "--std"}} {
		if entries[need.key] == "" {
			return augment.Preprocess{}, fmt.Errorf("its metadata does not say the %s of its images: give it by %s", need.key, need.flag)
		}
	}
	p, err := augment.ParsePreprocess(entries)
	if err != nil {
		return augment.Preprocess{}, err
	}
	fits := func(want, got int) bool { return want < 0 || want == got }
	if !fits(height, p.Height) || !fits(width, p.Width) || !fits(channels, p.Channels) {
		return augment.Preprocess{}, fmt.Errorf("input %q is %v, but the preprocessing gives %d channels of %dx%d pixels: see --image-size",
			in.Name, shape, p.Channels, p.Height, p.Width)
	}
	return p, nil
}
