package objective_test

import (
	"math"
	"testing"

	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/models/op"
)

// hadamard is the matrix of 8 rows without its first column: each column has mean 0 and
// variance 1, and no two are correlated.
func hadamard() []float32 {
	var out []float32
	for i := range 8 {
		for j := 1; j < 8; j++ {
			sign := float32(1)
			for b := i & j; b > 0; b >>= 1 {
				if b&1 == 1 {
					sign = -sign
				}
			}
			out = append(out, sign)
		}
	}
	return out
}

func constant(v float32, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func one(z *op.Node) *op.Node { return z.Graph().Scalar(1) }

// TestLossesAtKnownValues: values that follow on paper. The numbers of PyTorch are in
// the golden data.
func TestLossesAtKnownValues(t *testing.T) {
	barlow := objective.BarlowTwins{Lambda: 0.01}
	vicreg := objective.VICReg{Invariance: 25, Variance: 25, Covariance: 1, Gamma: 1, Eps: 1e-4}
	hot := func(z *op.Node, rows, classes int) *op.Node {
		data := make([]float32, rows*classes)
		for i := range rows {
			data[i*classes+i%classes] = 1
		}
		return z.Graph().Const(data, rows, classes)
	}
	for _, c := range []struct {
		name string
		z    []float32
		rows int
		loss func(z *op.Node) *op.Node
		want float64
	}{
		{"cosine with itself", hadamard(), 8, func(z *op.Node) *op.Node { return objective.NegativeCosine(z, op.Scale(z, 3)) }, -1},
		{"cosine with its opposite", hadamard(), 8, func(z *op.Node) *op.Node { return objective.SimSiamLoss(z, z, op.Neg(z), op.Neg(z)) }, 1},
		{"BYOL of agreement", hadamard(), 8, func(z *op.Node) *op.Node { return objective.BYOLLoss(z, z, z, z) }, 0},
		{"BYOL of opposites", hadamard(), 8, func(z *op.Node) *op.Node { return objective.BYOLLoss(z, z, op.Neg(z), op.Neg(z)) }, 8},
		{"Barlow Twins of white features", hadamard(), 8, func(z *op.Node) *op.Node { return barlow.Loss(z, z) }, 0},
		{"Barlow Twins of opposites", hadamard(), 8, func(z *op.Node) *op.Node { return barlow.Loss(z, op.Neg(z)) }, 4 * 7},
		{"VICReg of white features", hadamard(), 8, func(z *op.Node) *op.Node { return vicreg.Loss(z, z) }, 0},
		{"VICReg of a collapse", constant(2, 12), 4, func(z *op.Node) *op.Node { return vicreg.Loss(z, z) }, 25 * (1 - math.Sqrt(1e-4))},
		{"SupCon of a collapse", constant(1, 12), 6, func(z *op.Node) *op.Node { return objective.SupCon(z, hot(z, 6, 3), 0.5, 0.5) }, math.Log(5)},
		{"SupCon without positives", constant(1, 12), 6, func(z *op.Node) *op.Node { return objective.SupCon(z, hot(z, 6, 6), 0.5, 0.5) }, 0},
		{"MoCo of a collapse", constant(1, 8), 2, func(z *op.Node) *op.Node {
			return objective.MoCoLoss(objective.MoCoLogits(z, z, z.Graph().Const(constant(0.5, 12), 4, 3), 0.1))
		}, math.Log(4)},
		{"DINO of a student that knows nothing", constant(0, 10), 2, func(z *op.Node) *op.Node {
			return objective.DINO{StudentTemperature: 0.1, TeacherTemperature: 0.04}.Loss([]*op.Node{z, z}, []*op.Node{op.AddScalar(z, 1), z}, z.Graph().Const(constant(0, 5), 1, 5))
		}, math.Log(5)},
		{"SwAV of equal scores", constant(1, 8), 2, func(z *op.Node) *op.Node {
			s := z.Graph().Const(constant(0.3, 2*5), 2, 5)
			return op.Add(objective.SwAV{Temperature: 0.1, Epsilon: 0.05, Iterations: 3}.Loss(s, s), op.Scale(op.Sum(z, false), 0))
		}, math.Log(5)},
		{"Sinkhorn's rows", hadamard(), 8, func(z *op.Node) *op.Node {
			return op.Max(op.Abs(op.Sub(op.Sum(objective.Sinkhorn(z, 0.5, 2), false, 1), one(z))), false)
		}, 0},
		{"divergence of the standard normal", constant(0, 6), 2, func(z *op.Node) *op.Node { return objective.KLGaussian(z, z) }, 0},
		{"divergence of a shifted one", constant(2, 6), 2, func(z *op.Node) *op.Node { return objective.KLGaussian(z, op.Scale(z, 0)) }, 3 * 2},
		{"reparameterisation", constant(0, 4), 2, func(z *op.Node) *op.Node {
			v := op.AddScalar(z, 2*math.Ln2)
			return op.Mean(objective.Reparameterise(op.AddScalar(z, 3), v, op.AddScalar(z, 1)), false)
		}, 3 + 2},
		{"triplet of equal distances", hadamard(), 8, func(z *op.Node) *op.Node {
			return objective.TripletMargin(z, op.AddScalar(z, 1), op.AddScalar(z, -1), 0.25)
		}, 0.25},
		{"distillation of the same logits", hadamard(), 8, func(z *op.Node) *op.Node { return objective.Distillation(z, z, 4) }, 0},
		{"masked patches", constant(0, 8), 1, func(z *op.Node) *op.Node {
			g := z.Graph()
			target := g.Const([]float32{1, 1, 3, 3, 0, 0, 0, 0}, 1, 4, 2)
			rows := objective.MaskedPatches(op.Reshape(z, op.Dims(1, 4, 2)), target, false)
			return objective.MaskedMean(rows, g.Const([]float32{1, 1, 0, 0}, 1, 4))
		}, 5},
		{"hinge at zero logits", constant(0, 4), 4, func(z *op.Node) *op.Node { return objective.GANHinge.Discriminator(z, z) }, 2},
		{"non-saturating at zero logits", constant(0, 4), 4, func(z *op.Node) *op.Node {
			return op.Add(objective.GANNonSaturating.Discriminator(z, z), objective.GANNonSaturating.Generator(z))
		}, 3 * math.Ln2},
		{"least squares at zero logits", constant(0, 4), 4, func(z *op.Node) *op.Node {
			return op.Add(objective.GANLeastSquares.Discriminator(z, z), objective.GANLeastSquares.Generator(z))
		}, 1},
	} {
		if got := evaluate(t, c.z, c.rows, c.loss); !(math.Abs(got-c.want) < 2e-5*max(1, math.Abs(c.want))) {
			t.Errorf("%s: got %.9g, want %.9g", c.name, got, c.want)
		}
	}
}

// TestEnqueue: keys replace columns, normalised, and nothing else moves.
func TestEnqueue(t *testing.T) {
	for at := range 3 {
		got := evaluate(t, []float32{3, 4}, 1, func(z *op.Node) *op.Node {
			weights := z.Graph().Const([]float32{1, 10, 100, 1000, 1e4, 1e5}, 2, 3)
			queue := z.Graph().Const(constant(2, 6), 2, 3)
			return op.Sum(op.Mul(objective.Enqueue(queue, z, at), weights), false)
		})
		w := []float64{1, 10, 100, 1000, 1e4, 1e5}
		want := 2 * 111111.
		want += (0.6-2)*w[at] + (0.8-2)*w[at+3]
		if math.Abs(got-want) > 0.1 {
			t.Errorf("at %d: got %g, want %g", at, got, want)
		}
	}
	g := op.NewGraph()
	objective.Enqueue(g.Input("queue", op.Float32, op.Dims(2, 3)), g.Input("keys", op.Float32, op.Dims(2, 2)), 2)
	if g.Err() == nil {
		t.Error("keys beyond the end are taken")
	}
}
