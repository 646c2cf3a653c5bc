package checkpoint

import (
	"errors"
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models"
)

// ViT describes a vision transformer, see models.ViT.
type ViT struct {
	Patch         int     `yaml:"patch"`
	Width         int     `yaml:"width"`
	Depth         int     `yaml:"depth"`
	Heads         int     `yaml:"heads"`
	Hidden        int     `yaml:"hidden"`
	NoClassToken  bool    `yaml:"no_class_token,omitempty"`
	Mean          bool    `yaml:"mean,omitempty"` // the embedding is the mean of the patches' tokens
	NormAfterPool bool    `yaml:"norm_after_pool,omitempty"`
	NoInputBias   bool    `yaml:"no_input_bias,omitempty"`
	Eps           float64 `yaml:"eps,omitempty"`
}

func (v *ViT) encoder() (models.Encoder, error) {
	if v.Patch < 1 || v.Width < 1 || v.Depth < 1 || v.Heads < 1 || v.Width%v.Heads != 0 {
		return nil, fmt.Errorf("checkpoint: a transformer of patch %d, width %d, depth %d and %d heads", v.Patch, v.Width, v.Depth, v.Heads)
	}
	net := models.ViT{Patch: v.Patch, Width: v.Width, Depth: v.Depth, Heads: v.Heads, Hidden: v.Hidden, NoClassToken: v.NoClassToken,
		NormAfterPool: v.NormAfterPool, NoInputBias: v.NoInputBias, Eps: v.Eps}
	if v.Mean {
		net.Pool = models.PoolMean
	}
	return net, nil
}

func (v *ViT) String() string {
	pool := "class token"
	if v.Mean {
		pool = "mean of the patches"
	}
	return fmt.Sprintf("vision transformer, patch %d, width %d, %d blocks, %d heads, embedding: %s", v.Patch, v.Width, v.Depth, v.Heads, pool)
}

// prefix is the number of tokens that stand for no patch.
func (v *ViT) prefix() int {
	if v.NoClassToken {
		return 0
	}
	return 1
}

// vitOf reads a vision transformer off the sizes of its tensors, by timm's names, and
// what the file does not say off the settings. size is the side of the images that its
// positions were made for.
func vitOf(shapes map[string][]int, set Settings) (v *ViT, size int, err error) {
	proj, pos := shapes["patch_embed.proj.weight"], shapes["pos_embed"]
	if len(proj) != 4 || proj[2] != proj[3] || proj[0] < 1 || proj[2] < 1 {
		return nil, 0, errors.New("patch_embed.proj.weight is missing or is not [width, channels, patch, patch]")
	}
	if len(pos) != 3 {
		return nil, 0, errors.New("pos_embed is missing or is not [1, tokens, width]: relative and rotary positions are not known")
	}
	v = &ViT{Patch: proj[2], Width: proj[0], Heads: set.Heads, Hidden: 4 * proj[0], Eps: set.Eps}
	for shapes[fmt.Sprintf("blocks.%d.norm1.weight", v.Depth)] != nil {
		v.Depth++
	}
	if v.Depth == 0 {
		return nil, 0, errors.New("blocks.0.norm1.weight is missing")
	}
	if v.Heads == 0 {
		if v.Heads = max(1, v.Width/64); v.Width == 1280 {
			v.Heads = 16
		}
	}
	if v.Width%v.Heads != 0 {
		return nil, 0, fmt.Errorf("%d values of a token do not divide into %d heads: give the number by --heads", v.Width, v.Heads)
	}
	if fc := shapes["blocks.0.mlp.fc1.weight"]; len(fc) == 2 {
		v.Hidden = fc[0]
	}
	v.NoInputBias = shapes["blocks.0.attn.qkv.bias"] == nil
	v.NoClassToken = shapes["cls_token"] == nil
	v.NormAfterPool = shapes["norm.weight"] == nil && shapes["fc_norm.weight"] != nil
	v.Mean = set.Tokens == "mean" || v.NoClassToken || set.Tokens == "" && v.NormAfterPool
	side := int(math.Round(math.Sqrt(float64(pos[1] - v.prefix()))))
	if side < 1 || side*side != pos[1]-v.prefix() {
		return nil, 0, fmt.Errorf("pos_embed has %d tokens, which are no square of patches", pos[1])
	}
	return v, side * v.Patch, nil
}

// resized interpolates position embeddings to the network's tokens.
func (v *ViT) resized(values []float32, from []int, tokens int) ([]float32, error) {
	side := int(math.Round(math.Sqrt(float64(tokens - v.prefix()))))
	t, err := models.ResizePositions(tensor.New(tensor.WithShape(from...), tensor.WithBacking(values)), [2]int{}, [2]int{side, side}, v.prefix())
	if err != nil {
		return nil, err
	}
	return t.Float32s(), nil
}
