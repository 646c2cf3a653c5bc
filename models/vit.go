package models

import (
	"fmt"
	"math"
	"strconv"

	"github.com/sslrt/sslrt/models/op"
)

// TokenPooling says how a vision transformer makes one embedding of its tokens.
type TokenPooling string

const (
	PoolToken TokenPooling = "token" // the class token
	PoolMean  TokenPooling = "mean"  // the mean of the patches' tokens, the class token left out
)

// ViT is the vision transformer of Dosovitskiy et al., 2021 ("An image is worth
// 16x16 words") with timm's names, which DINO, DeiT and MAE share: cls_token,
// pos_embed, patch_embed.proj, blocks.0.norm1, blocks.0.attn.qkv, ... It maps
// x: [N, C, H, W], whose sides are multiples of the patch, to [N, Width].
type ViT struct {
	Patch         int // pixels of a patch's side
	Width         int // of a token and of the embedding
	Depth         int // blocks
	Heads         int // of attention; Width is a multiple of them
	Hidden        int // width inside the MLPs; 0 is 4 * Width
	NoClassToken  bool
	Pool          TokenPooling // PoolToken, the default, needs a class token
	NormAfterPool bool         // parameters fc_norm behind the pooling instead of norm before it
	NoInputBias   bool         // attn.qkv without bias
	Eps           float64      // of the layer norms; 0 is 1e-6
}

var _ Encoder = ViT{}

// NamePositions is the name of a transformer's position embeddings, the one
// parameter whose shape depends on the size of the images.
const NamePositions = "pos_embed"

// vits are the sizes of DeiT (Touvron et al., 2021) and the paper's.
var vits = map[string]ViT{
	"vit_tiny":  {Width: 192, Depth: 12, Heads: 3},
	"vit_small": {Width: 384, Depth: 12, Heads: 6},
	"vit_base":  {Width: 768, Depth: 12, Heads: 12},
	"vit_large": {Width: 1024, Depth: 24, Heads: 16},
}

// NewViT returns the transformer called name with patches of patch x patch pixels.
// width scales its tokens, to a multiple of the heads.
func NewViT(name string, patch int, width float64) (ViT, error) {
	v, ok := vits[name]
	if !ok {
		return ViT{}, unknownEncoder(name)
	}
	if err := checkWidth(width); err != nil {
		return ViT{}, err
	}
	if patch < 1 {
		return ViT{}, fmt.Errorf("models: the patch of %s is %d pixels, want 1 or more", name, patch)
	}
	v.Patch = patch
	v.Width = v.Heads * scaled(v.Width/v.Heads, width)
	return v, nil
}

// Size returns the size of the embedding.
func (v ViT) Size() int { return v.Width }

func (v ViT) eps() float64 {
	if v.Eps == 0 {
		return 1e-6
	}
	return v.Eps
}

func (v ViT) check(x *op.Node) error {
	switch {
	case len(x.Dims) != 4 || v.Patch < 1 || x.Dims[2]%v.Patch != 0 || x.Dims[3]%v.Patch != 0:
		return fmt.Errorf("models: ViT: images %v do not split into patches of %d pixels: choose another patch or image size", x.Shape, v.Patch)
	case v.Heads < 1 || v.Width%v.Heads != 0:
		return fmt.Errorf("models: ViT: a width of %d does not split into %d heads", v.Width, v.Heads)
	case v.Pool != "" && v.Pool != PoolToken && v.Pool != PoolMean:
		return fmt.Errorf("models: ViT: unknown pooling %q: choose %s or %s", v.Pool, PoolToken, PoolMean)
	case v.NoClassToken && v.Pool != PoolMean:
		return fmt.Errorf("models: ViT: without a class token the pooling is %s", PoolMean)
	}
	return nil
}

// Forward maps x: [N, C, H, W] to embeddings [N, Width].
func (v ViT) Forward(s Scope, x *op.Node) *op.Node {
	x = v.Tokens(s, x)
	if x == nil {
		return nil
	}
	if !v.NormAfterPool {
		x = layerNorm(s.Sub("norm"), x, v.eps())
	}
	if v.Pool == PoolMean {
		x = op.Mean(op.Slice(x, 1, v.prefix(), x.Dims[1]), false, 1)
	} else {
		x = op.Reshape(op.Slice(x, 1, 0, 1), op.Shape{Dims: []int{x.Dims[0], v.Width}, Batch: x.Batch})
	}
	if v.NormAfterPool {
		x = layerNorm(s.Sub("fc_norm"), x, v.eps())
	}
	return x
}

// prefix returns the number of tokens before those of the patches.
func (v ViT) prefix() int {
	if v.NoClassToken {
		return 0
	}
	return 1
}

// Tokens returns what the last block makes of x: [N, C, H, W]: the class token, if
// there is one, and a token for each patch, row by row: [N, 1 + H/p*W/p, Width].
func (v ViT) Tokens(s Scope, x *op.Node) *op.Node {
	if x == nil {
		return nil
	}
	if err := v.check(x); err != nil {
		return s.Graph.Fail("%w", err)
	}
	c, p := x.Dims[1], v.Patch
	proj := s.Sub("patch_embed.proj")
	bound := Uniform(1 / math.Sqrt(float64(c*p*p)))
	x = op.PatchEmbed(x, proj.Weight("weight", bound, v.Width, c, p, p), proj.Weight("bias", bound, v.Width))
	if !v.NoClassToken {
		x = op.PrependToken(x, s.Weight("cls_token", Normal(1e-6), 1, 1, v.Width))
	}
	if x == nil {
		return nil
	}
	x = op.Add(x, s.Weight(NamePositions, Normal(0.02), 1, x.Dims[1], v.Width))
	for i := range v.Depth {
		x = s.Graph.Block(func() *op.Node { return v.block(s.Sub("blocks."+strconv.Itoa(i)), x) })
	}
	return x
}

// block adds self-attention and then an MLP, each behind a layer norm.
func (v ViT) block(s Scope, x *op.Node) *op.Node {
	attn, d := s.Sub("attn"), v.Width
	a := op.SelfAttention{Heads: v.Heads}
	a.InWeight = attn.Weight("qkv.weight", Normal(0.02), 3*d, d)
	if !v.NoInputBias {
		a.InBias = attn.Weight("qkv.bias", Constant(0), 3*d)
	}
	a.OutWeight = attn.Weight("proj.weight", Normal(0.02), d, d)
	a.OutBias = attn.Weight("proj.bias", Constant(0), d)
	y, _ := a.Apply(layerNorm(s.Sub("norm1"), x, v.eps()), nil)
	x = op.Add(x, y)

	hidden := v.Hidden
	if hidden == 0 {
		hidden = 4 * d
	}
	y = tokenLinear(s.Sub("mlp.fc1"), layerNorm(s.Sub("norm2"), x, v.eps()), hidden)
	return op.Add(x, tokenLinear(s.Sub("mlp.fc2"), op.GELU(y), d))
}

// layerNorm normalises the last axis of x: parameters weight and bias.
func layerNorm(s Scope, x *op.Node, eps float64) *op.Node {
	if x == nil {
		return nil
	}
	d := x.Dims[len(x.Dims)-1]
	return op.LayerNorm(x, s.Weight("weight", Constant(1), d), s.Weight("bias", Constant(0), d), eps)
}

// tokenLinear is a linear layer on tokens x: [N, L, D] as timm starts it: parameters
// weight and bias.
func tokenLinear(s Scope, x *op.Node, out int) *op.Node {
	if x == nil {
		return nil
	}
	w := s.Weight("weight", Normal(0.02), out, x.Dims[len(x.Dims)-1])
	return op.LinearTokens(x, w, s.Weight("bias", Constant(0), out))
}
