package main

import (
	"encoding/json"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// opKinds builds the cases of group ops by kind.
var opKinds = map[string]func(b *build) (outputs, error){
	"conv2d":              buildConv2D,
	"conv_transpose2d":    buildConvTranspose2D,
	"upsample":            buildUpsample,
	"avg_pool2d":          buildAvgPool2D,
	"batch_norm_train":    buildBatchNormTrain,
	"batch_norm_eval":     buildBatchNormEval,
	"linear":              buildLinear,
	"gemm":                buildGemm,
	"matmul":              buildMatMul,
	"relu":                unary(op.ReLU),
	"silu":                unary(op.SiLU),
	"sigmoid":             unary(op.Sigmoid),
	"tanh":                unary(op.Tanh),
	"relu6":               unary(op.ReLU6),
	"hardsigmoid":         unary(op.HardSigmoid),
	"hardswish":           unary(op.HardSwish),
	"mish":                unary(op.Mish),
	"logsigmoid":          unary(op.LogSigmoid),
	"gelu_erf":            unary(op.GELU),
	"gelu_tanh":           unary(op.GELUTanh),
	"leaky_relu":          buildLeakyReLU,
	"leaky_relu_0.01":     buildLeakyReLU,
	"leaky_relu_alt":      buildLeakyReLU,
	"elu":                 buildELU,
	"softplus":            buildSoftplus,
	"softplus_beta1":      buildSoftplus,
	"softplus_beta_alt":   buildSoftplus,
	"layer_norm":          buildLayerNorm,
	"group_norm":          buildGroupNorm,
	"dropout_given_mask":  buildDropout,
	"softmax":             alongDim(op.Softmax),
	"log_softmax":         alongDim(op.LogSoftmax),
	"max_pool2d":          buildMaxPool2D,
	"global_avg_pool":     buildGlobalAvgPool,
	"adaptive_avg_pool2d": buildAdaptiveAvgPool2D,
	"global_max_pool":     buildGlobalMaxPool,
	"l2_normalize":        buildL2Normalize,
	"cross_entropy":       buildCrossEntropy,
	"reduce":              buildReduce,
	"elementwise":         buildElementwise,
	"chain":               buildChain,

	"pixel_shuffle":             pixels(op.PixelShuffle),
	"pixel_unshuffle":           pixels(op.PixelUnshuffle),
	"pad":                       buildPad,
	"embedding":                 buildEmbedding,
	"multi_head_self_attention": buildSelfAttention,
	"vit_block":                 buildViTBlock,
	"vit_patch_embed":           buildPatchEmbed,
	"mae_patchify":              pixels(op.Patchify),
	"mae_unpatchify":            buildUnpatchify,
	"mae_mask_restore":          buildMaskRestore,
}

func runOp(c *Case, m engine.Machine) error {
	f := opKinds[c.Op]
	if f == nil {
		return uncovered("no such operation yet")
	}
	return runGraph(c, m, f)
}

// pair is a size down and right; one number stands for both.
type pair [2]int

func (p *pair) UnmarshalJSON(data []byte) error {
	var both int
	if json.Unmarshal(data, &both) == nil {
		*p = pair{both, both}
		return nil
	}
	return json.Unmarshal(data, (*[2]int)(p))
}

// around returns padding p as top, left, bottom, right.
func (p pair) around() [4]int { return [4]int{p[0], p[1], p[0], p[1]} }

func unary(f func(x *op.Node) *op.Node) func(b *build) (outputs, error) {
	return func(b *build) (outputs, error) {
		x, err := b.x("x")
		return outputs{"y": f(x)}, err
	}
}

func alongDim(f func(x *op.Node, axis int) *op.Node) func(b *build) (outputs, error) {
	return func(b *build) (outputs, error) {
		var p struct{ Dim int }
		if err := b.params(&p); err != nil {
			return nil, err
		}
		return unary(func(x *op.Node) *op.Node { return f(x, p.Dim) })(b)
	}
}

func buildConv2D(b *build) (outputs, error) {
	var p struct {
		Stride, Padding, Dilation pair
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
	return outputs{"y": op.Conv2D(in[0], in[1], bias, op.Conv{
		Stride: p.Stride, Pad: p.Padding.around(), Dilation: p.Dilation, Groups: p.Groups,
	})}, err
}

// normInputs returns x, running mean and variance, weight and bias; the last two
// are constants where the case has none.
func normInputs(b *build) ([]*op.Node, error) {
	in, err := b.all("x", "running_mean", "running_var")
	if err != nil {
		return nil, err
	}
	affine, err := affineInputs(b, in[1].Dims)
	return append(in, affine...), err
}

// affineInputs returns weight and bias, ones and zeros where the case has none.
func affineInputs(b *build, sizes []int) ([]*op.Node, error) {
	var out []*op.Node
	for i, name := range []string{"weight", "bias"} {
		n, err := b.optional(name)
		if err != nil {
			return nil, err
		}
		if n == nil {
			v := make([]float32, op.Dims(sizes...).Size())
			for j := range v {
				v[j] = float32(1 - i)
			}
			n = b.g.Const(v, sizes...)
		}
		out = append(out, n)
	}
	return out, nil
}

func buildBatchNormTrain(b *build) (outputs, error) {
	var p struct{ Momentum, Eps float64 }
	if err := b.params(&p); err != nil {
		return nil, err
	}
	in, err := normInputs(b)
	if err != nil {
		return nil, err
	}
	y, mean, variance := op.BatchNormTrain(in[0], in[3], in[4], p.Eps)
	n := float64(in[0].Size() / in[0].Dims[1])
	follow := func(running, batch *op.Node, scale float64) *op.Node {
		return op.Add(op.Scale(running, 1-p.Momentum), op.Scale(batch, p.Momentum*scale))
	}
	return outputs{"y": y, "batch_mean": mean, "batch_var": variance,
		"new_running_mean": follow(in[1], mean, 1),
		"new_running_var":  follow(in[2], variance, n/(n-1)),
	}, nil
}

func buildBatchNormEval(b *build) (outputs, error) {
	var p struct{ Eps float64 }
	if err := b.params(&p); err != nil {
		return nil, err
	}
	in, err := normInputs(b)
	if err != nil {
		return nil, err
	}
	return outputs{"y": op.BatchNormEval(in[0], in[1], in[2], in[3], in[4], p.Eps)}, nil
}

// buildLinear folds all axes of x but the last into one, as nn.Linear does.
func buildLinear(b *build) (outputs, error) {
	in, err := b.all("x", "weight")
	if err != nil {
		return nil, err
	}
	bias, err := b.optional("bias")
	x, w := in[0], in[1]
	k, last := len(x.Dims)-1, w.Dims[0]
	y := op.Linear(op.Reshape(x, op.Dims(x.Size()/x.Dims[k], x.Dims[k])), w, bias)
	return outputs{"y": op.Reshape(y, op.Dims(append(append([]int(nil), x.Dims[:k]...), last)...))}, err
}

func buildGemm(b *build) (outputs, error) {
	var p struct {
		TransA, TransB int
		Alpha, Beta    float64
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	in, err := b.all("a", "b", "c")
	if err != nil {
		return nil, err
	}
	product := op.Gemm(in[0], in[1], p.TransA != 0, p.TransB != 0)
	return outputs{"y": op.Add(op.Scale(product, p.Alpha), op.Scale(in[2], p.Beta))}, nil
}

// buildMatMul treats a vector as a matrix of one row or column, as torch.matmul
// does.
func buildMatMul(b *build) (outputs, error) {
	in, err := b.all("a", "b")
	if err != nil {
		return nil, err
	}
	x, w := in[0], in[1]
	dims := append([]int(nil), b.a.shape("y")...)
	if len(x.Dims) == 1 {
		x = op.Reshape(x, op.Dims(1, x.Dims[0]))
	}
	if len(w.Dims) == 1 {
		w = op.Reshape(w, op.Dims(w.Dims[0], 1))
	}
	return outputs{"y": op.Reshape(op.MatMul(x, w), op.Dims(dims...))}, nil
}

func buildGlobalAvgPool(b *build) (outputs, error) {
	x, err := b.x("x")
	if err != nil {
		return nil, err
	}
	return outputs{"y": op.Reshape(op.GlobalAveragePool(x), op.Dims(b.a.shape("y")...))}, nil
}

func buildGlobalMaxPool(b *build) (outputs, error) {
	x, err := b.x("x")
	if err != nil {
		return nil, err
	}
	return outputs{"y": op.Reshape(op.Max(x, false, 2, 3), op.Dims(b.a.shape("y")...))}, nil
}

func buildL2Normalize(b *build) (outputs, error) {
	var p struct {
		Dim int
		Eps float64
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	x, err := b.x("x")
	return outputs{"y": op.L2Normalize(x, p.Dim, p.Eps)}, err
}
