package main

import (
	"encoding/json"

	"github.com/sslrt/sslrt/models/op"
)

// Kinds that change the size of images.

func buildConvTranspose2D(b *build) (outputs, error) {
	var p struct {
		Stride, Padding, Dilation pair
		OutputPadding             pair `json:"output_padding"`
		Groups                    int
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	in, err := b.all("x", "weight")
	if err != nil {
		return nil, err
	}
	bias, err := b.optional("bias")
	return outputs{"y": op.ConvTranspose2D(in[0], in[1], bias, op.Conv{
		Stride: p.Stride, Pad: p.Padding.around(), Dilation: p.Dilation, Groups: p.Groups,
	}, p.OutputPadding)}, err
}

func buildUpsample(b *build) (outputs, error) {
	var p struct {
		Mode         string
		AlignCorners bool    `json:"align_corners"`
		Scale        *scales `json:"scale_factor"`
		Size         *pair
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	how := op.Resampling{}
	switch p.Mode {
	case "nearest":
	case "nearest-exact":
		how = op.Resampling{Coordinates: op.HalfPixel, Rounding: op.RoundPreferUp}
	case "bilinear":
		how.Interpolation = op.Bilinear
	case "bicubic":
		how.Interpolation = op.Bicubic
	default:
		return nil, uncovered("no mode %q", p.Mode)
	}
	if p.AlignCorners {
		how.Coordinates = op.AlignCorners
	}
	x, err := b.x("x")
	if err != nil {
		return nil, err
	}
	switch {
	case len(x.Dims) != 4:
		return nil, uncovered("no images with %d axes", len(x.Dims))
	case p.Size != nil:
		return outputs{"y": op.Resize(x, p.Size[0], p.Size[1], how)}, nil
	case p.Scale == nil:
		return nil, uncovered("neither size nor scale_factor")
	}
	if !p.AlignCorners {
		how.Scale = *p.Scale
	}
	h, w := float64(x.Dims[2])*p.Scale[0], float64(x.Dims[3])*p.Scale[1]
	return outputs{"y": op.Resize(x, int(h), int(w), how)}, nil
}

// scales are factors down and right; one number stands for both.
type scales [2]float64

func (s *scales) UnmarshalJSON(data []byte) error {
	var both float64
	if json.Unmarshal(data, &both) == nil {
		*s = scales{both, both}
		return nil
	}
	return json.Unmarshal(data, (*[2]float64)(s))
}

// windows are the hyper-parameters of a pooling.
type windows struct {
	Kernel, Padding  pair
	Stride, Dilation *pair
	Ceil             bool `json:"ceil_mode"`
}

func (w windows) pool() op.Pool {
	p := op.Pool{Kernel: w.Kernel, Pad: w.Padding.around(), Ceil: w.Ceil}
	if w.Stride != nil {
		p.Stride = *w.Stride
	}
	if w.Dilation != nil {
		p.Dilation = *w.Dilation
	}
	return p
}

func buildMaxPool2D(b *build) (outputs, error) {
	var p windows
	if err := b.params(&p); err != nil {
		return nil, err
	}
	x, err := b.x("x")
	return outputs{"y": op.MaxPool2D(x, p.pool()), "indices": op.MaxPool2DIndices(x, p.pool())}, err
}

func buildAvgPool2D(b *build) (outputs, error) {
	var p struct {
		windows
		CountPad *bool `json:"count_include_pad"`
		Divisor  *int  `json:"divisor_override"`
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	if p.Divisor != nil {
		return nil, uncovered("no divisor_override")
	}
	x, err := b.x("x")
	return outputs{"y": op.AvgPool2D(x, p.pool(), p.CountPad == nil || *p.CountPad)}, err
}

func buildAdaptiveAvgPool2D(b *build) (outputs, error) {
	var p struct {
		Size pair `json:"output_size"`
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	x, err := b.x("x")
	return outputs{"y": op.AdaptiveAvgPool2D(x, p.Size[0], p.Size[1])}, err
}
