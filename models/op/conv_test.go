package op_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// reference is the definition of a convolution and of its gradients, written as
// the sum that it is: every product x*w*y once.
type reference struct {
	op.Conv
	n, c, h, w, k, kh, kw, ho, wo int
}

func (r reference) each(f func(x, w, y int)) {
	cg, kg := r.c/r.Groups, r.k/r.Groups
	for n := range r.n {
		for k := range r.k {
			for i := range r.ho {
				for j := range r.wo {
					for c := range cg {
						for u := range r.kh {
							for v := range r.kw {
								row := i*r.Stride[0] + u*r.Dilation[0] - r.Pad[0]
								col := j*r.Stride[1] + v*r.Dilation[1] - r.Pad[1]
								if row < 0 || row >= r.h || col < 0 || col >= r.w {
									continue
								}
								f(((n*r.c+k/kg*cg+c)*r.h+row)*r.w+col,
									((k*cg+c)*r.kh+u)*r.kw+v,
									((n*r.k+k)*r.ho+i)*r.wo+j)
							}
						}
					}
				}
			}
		}
	}
}

func sum64(n int, add func(out []float64)) *tensor.Dense {
	sums := make([]float64, n)
	add(sums)
	out := make([]float32, n)
	for i, s := range sums {
		out[i] = float32(s)
	}
	return engine.NewTensor(out, n)
}

// TestConvReference compares the kernels with the definition, over random sizes
// and both ways to lay out the columns.
func TestConvReference(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	upTo := func(n int) int { return r.IntN(n) + 1 }
	for range 60 {
		groups := upTo(3)
		d := reference{Conv: op.Conv{Stride: [2]int{upTo(3), upTo(3)}, Pad: [4]int{r.IntN(3), r.IntN(3), r.IntN(3), r.IntN(3)},
			Dilation: [2]int{upTo(2), upTo(2)}, Groups: groups},
			n: upTo(3), c: groups * upTo(3), h: 4 + upTo(6), w: 4 + upTo(6), k: groups * upTo(3), kh: upTo(3), kw: upTo(3)}
		t.Run(fmt.Sprintf("%+v", d), func(t *testing.T) {
			g := op.NewGraph()
			x := g.Input("x", op.Float32, op.Batched(d.n, d.c, d.h, d.w))
			w := g.Input("w", op.Float32, op.Dims(d.k, d.c/groups, d.kh, d.kw))
			y := op.Conv2D(x, w, nil, d.Conv)
			if err := g.Err(); err != nil {
				t.Fatal(err)
			}
			d.ho, d.wo = y.Dims[2], y.Dims[3]
			dy := g.Input("dy", op.Float32, y.Shape)
			grads := y.Op.Grad(y.Inputs, y, dy)
			vx, vw, vdy := random(r, x.Dims), random(r, w.Dims), random(r, y.Dims)
			fx, fw, fdy := vx.Float32s(), vw.Float32s(), vdy.Float32s()
			compare := func(what string, n *op.Node, in []*tensor.Dense, add func(out []float64)) {
				got, err := n.Op.Run(in)
				if err != nil {
					t.Fatal(err)
				}
				want := sum64(n.Size(), add)
				if err := want.Reshape(n.Dims...); err != nil {
					t.Fatal(err)
				}
				if e := distance(t, got, want); e > 1e-6 {
					t.Errorf("%s: off by %.3g of the largest value", what, e)
				}
			}
			compare("result", y, []*tensor.Dense{vx, vw}, func(out []float64) {
				d.each(func(x, w, y int) { out[y] += float64(fx[x]) * float64(fw[w]) })
			})
			compare("gradient by x", grads[0], []*tensor.Dense{vdy, vw}, func(out []float64) {
				d.each(func(x, w, y int) { out[x] += float64(fdy[y]) * float64(fw[w]) })
			})
			compare("gradient by w", grads[1], []*tensor.Dense{vx, vdy}, func(out []float64) {
				d.each(func(x, w, y int) { out[w] += float64(fx[x]) * float64(fdy[y]) })
			})
		})
	}
}

func random(r *rand.Rand, sizes []int) *tensor.Dense {
	data := make([]float32, op.Dims(sizes...).Size())
	for i := range data {
		data[i] = float32(r.NormFloat64())
	}
	return engine.NewTensor(data, sizes...)
}

// BenchmarkConv times the kernels of a layer of ResNet-18 at 32 pixels: 64 images
// in steps of 32, 64 channels, 3x3.
func BenchmarkConv(b *testing.B) {
	const n, channels, size = 32, 64, 32
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Batched(n, channels, size, size))
	w := g.Input("w", op.Float32, op.Dims(channels, channels, 3, 3))
	y := op.Conv2D(x, w, nil, op.Conv{Pad: [4]int{1, 1, 1, 1}})
	dy := g.Input("dy", op.Float32, y.Shape)
	grads := y.Op.Grad(y.Inputs, y, dy)
	r := rand.New(rand.NewPCG(1, 2))
	vx, vw, vdy := random(r, x.Dims), random(r, w.Dims), random(r, y.Dims)
	for _, c := range []struct {
		name string
		node *op.Node
		in   []*tensor.Dense
	}{
		{"result", y, []*tensor.Dense{vx, vw}},
		{"by x", grads[0], []*tensor.Dense{vdy, vw}},
		{"by w", grads[1], []*tensor.Dense{vx, vdy}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.node.Op.Run(c.in); err != nil {
					b.Fatal(err)
				}
			}
			flops := 2 * float64(n*size*size) * channels * channels * 9
			b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
