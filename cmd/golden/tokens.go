package main

import "github.com/sslrt/sslrt/models/op"

// Kinds that move pixels and rows about, and those of transformers.

func pixels(f func(x *op.Node, r int) *op.Node) func(b *build) (outputs, error) {
	return func(b *build) (outputs, error) {
		var p struct{ R, Patch int }
		if err := b.params(&p); err != nil {
			return nil, err
		}
		return unary(func(x *op.Node) *op.Node { return f(x, max(p.R, p.Patch)) })(b)
	}
}

func buildUnpatchify(b *build) (outputs, error) {
	var p struct{ Patch, H, W int }
	if err := b.params(&p); err != nil {
		return nil, err
	}
	return unary(func(x *op.Node) *op.Node { return op.Unpatchify(x, p.Patch, p.H, p.W) })(b)
}

var padModes = map[string]op.PadMode{
	"constant": op.PadConstant, "reflect": op.PadReflect, "replicate": op.PadEdge, "edge": op.PadEdge,
	"circular": op.PadWrap, "wrap": op.PadWrap,
}

func buildPad(b *build) (outputs, error) {
	var p struct {
		Pads  []int `json:"pad_left_right_top_bottom"`
		Mode  string
		Value *float64
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	mode, ok := padModes[p.Mode]
	if !ok {
		return nil, uncovered("no mode %q", p.Mode)
	}
	x, err := b.x("x")
	if err != nil {
		return nil, err
	}
	if len(p.Pads)%2 != 0 || len(p.Pads) > 2*len(x.Dims) {
		return nil, uncovered("no pads %v", p.Pads)
	}
	value := 0.0
	if p.Value != nil {
		value = *p.Value
	}
	y := x
	for i := 0; i < len(p.Pads); i += 2 { // the last axis first
		y = op.PadWith(y, len(x.Dims)-1-i/2, p.Pads[i], p.Pads[i+1], mode, value)
	}
	return outputs{"y": y}, nil
}

// buildEmbedding looks rows up; the one of padding_idx gets no gradient.
func buildEmbedding(b *build) (outputs, error) {
	var p struct {
		Padding *int `json:"padding_idx"`
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	w, err := b.x("weight")
	if err != nil {
		return nil, err
	}
	if p.Padding != nil && len(w.Dims) == 2 {
		trained := make([]float32, w.Dims[0])
		for i := range trained {
			if i != (*p.Padding+len(trained))%len(trained) {
				trained[i] = 1
			}
		}
		mask := b.g.Const(trained, len(trained), 1)
		w = op.Where(mask, w, op.StopGradient(w))
	}
	index, err := b.labels("index")
	return outputs{"y": op.Gather(w, index, 0)}, err
}

func buildMaskRestore(b *build) (outputs, error) {
	var p struct{ Keep int }
	if err := b.params(&p); err != nil {
		return nil, err
	}
	in, err := b.all("x", "mask_token")
	if err != nil {
		return nil, err
	}
	shuffle, err := b.labels("ids_shuffle")
	if err != nil {
		return nil, err
	}
	x, token := in[0], in[1]
	if len(x.Dims) != 3 || p.Keep < 1 || p.Keep > x.Dims[1] {
		return nil, uncovered("no %d of the rows of %v", p.Keep, x)
	}
	visible := op.TakeRows(x, op.Slice(shuffle, 1, 0, p.Keep))
	restore := op.ArgSort(shuffle)
	y := visible
	if hidden := x.Dims[1] - p.Keep; hidden > 0 {
		y = op.Concat(1, visible, op.Expand(token, op.Dims(x.Dims[0], hidden, x.Dims[2]), nil))
	}
	return outputs{"y": op.TakeRows(y, restore), "visible": visible, "ids_restore": restore}, nil
}

func buildSelfAttention(b *build) (outputs, error) {
	var p struct{ Causal bool }
	if err := b.params(&p); err != nil {
		return nil, err
	}
	x, err := b.x("x")
	if err != nil {
		return nil, err
	}
	attention, err := selfAttention(b)
	if err != nil {
		return nil, err
	}
	var mask *op.Node
	if p.Causal && len(x.Dims) == 3 {
		mask = op.CausalMask(b.g, x.Dims[1])
	}
	y, weights := attention.Apply(x, mask)
	return outputs{"y": y, "attn": weights}, nil
}

func selfAttention(b *build) (op.SelfAttention, error) {
	var p struct{ Heads int }
	if err := b.params(&p); err != nil {
		return op.SelfAttention{}, err
	}
	in, err := b.all("in_proj_weight", "out_proj_weight")
	if err != nil {
		return op.SelfAttention{}, err
	}
	a := op.SelfAttention{InWeight: in[0], OutWeight: in[1], Heads: p.Heads}
	if a.InBias, err = b.optional("in_proj_bias"); err == nil {
		a.OutBias, err = b.optional("out_proj_bias")
	}
	return a, err
}

func buildViTBlock(b *build) (outputs, error) {
	var p struct {
		Eps float64 `json:"ln_eps"`
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	in, err := b.all("x", "ln1_weight", "ln1_bias", "ln2_weight", "ln2_bias", "fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias")
	if err != nil {
		return nil, err
	}
	attention, err := selfAttention(b)
	if err != nil {
		return nil, err
	}
	x := in[0]
	y, _ := attention.Apply(op.LayerNorm(x, in[1], in[2], p.Eps), nil)
	x = op.Add(x, y)
	y = op.GELU(op.LinearTokens(op.LayerNorm(x, in[3], in[4], p.Eps), in[5], in[6]))
	return outputs{"y": op.Add(x, op.LinearTokens(y, in[7], in[8]))}, nil
}

func buildPatchEmbed(b *build) (outputs, error) {
	in, err := b.all("x", "weight", "bias", "cls_token", "pos_embed")
	if err != nil {
		return nil, err
	}
	tokens := op.PatchEmbed(in[0], in[1], in[2])
	return outputs{"y": op.Add(op.PrependToken(tokens, in[3]), in[4])}, nil
}
