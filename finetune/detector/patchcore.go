package detector

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/sslrt/sslrt/finetune/cluster"
	"github.com/sslrt/sslrt/models/onnx"
)

// patchcore is PatchCore (Roth et al., 2022, "Towards total recall in industrial
// anomaly detection"): a memory of patches of normal images, thinned out by greedy
// k-centre; a patch scores by its distance to the nearest one.
type patchcore struct {
	grid   grid
	memory int     // bytes that the patches seen may take
	share  float64 // of the patches that the coreset keeps, 1 for all
	seed   uint64

	rows []float32 // [K, C]
	seen int
	rng  *rand.Rand
}

// usualNeighbours is the number of patches in the weight of a score, where the memory
// has as many.
const usualNeighbours = 9

// newPatchcore takes room for the patches of so many images at once: a slice that
// grows is held twice while it does.
func newPatchcore(g grid, images int, opt Options) (*patchcore, error) {
	p := &patchcore{grid: g, memory: opt.Memory, share: opt.Coreset, seed: opt.Seed, rng: rand.New(rand.NewPCG(opt.Seed, 2))}
	held := min(p.capacity(), images*g.places())
	if _, err := neighbours(opt.Neighbors, p.kept(held)); err != nil {
		return nil, err
	}
	p.rows = make([]float32, 0, held*g.C)
	return p, nil
}

// neighbours is the number of neighbours to take of a memory of k patches: what was
// asked for, 0 for the default.
func neighbours(asked, k int) (int, error) {
	switch {
	case asked == 0:
		return min(usualNeighbours, k), nil
	case asked > k:
		return 0, fmt.Errorf("patchcore: %d neighbours of %d patches in the memory: choose fewer, or a larger coreset", asked, k)
	}
	return asked, nil
}

// kept is the number of patches that the coreset keeps of so many.
func (p *patchcore) kept(held int) int { return min(held, max(1, int(p.share*float64(held)+0.5))) }

// capacity is the number of patches that the bound on memory allows.
func (p *patchcore) capacity() int { return max(1, p.memory/(4*p.grid.C)) }

// add takes the features of images, [n, C, H, W]. Beyond the bound on memory what is
// held is a sample in which every patch seen so far has the same chance.
func (p *patchcore) add(x []float32) error {
	c, places := p.grid.C, p.grid.places()
	row := make([]float32, c)
	for ; len(x) > 0; x = x[c*places:] {
		for at := range places {
			for i := range c {
				row[i] = x[i*places+at]
			}
			p.seen++
			if held := len(p.rows) / c; held < p.capacity() {
				p.rows = append(p.rows, row...)
			} else if k := p.rng.IntN(p.seen); k < held {
				copy(p.rows[k*c:], row)
			}
		}
	}
	return nil
}

// fit returns the memory bank [K, C].
func (p *patchcore) fit(ctx context.Context, progress func(done, total int)) ([]float32, error) {
	c := p.grid.C
	n := len(p.rows) / c
	k := p.kept(n)
	if k == n {
		return p.rows, nil
	}
	small, width := project(p.rows, n, c, p.seed)
	cover, err := cluster.KCentre(ctx, small, width, k, p.rng.IntN(n), func(picked int) {
		if progress != nil {
			progress(picked, k)
		}
	})
	if err != nil {
		return nil, err
	}
	bank := make([]float32, 0, k*c)
	for _, i := range cover.Indices {
		bank = append(bank, p.rows[i*c:(i+1)*c]...)
	}
	p.rows = nil
	return bank, nil
}

// piece is the number of rows of a bank whose distances are held at a time.
const piece = 4096

// nodes writes the scores of x: [N, C, H, W]: of the places, as a map [N, 1, H, W],
// and of the images, [N], weighed by how usual the neighbourhood in the bank is.
func (p *patchcore) nodes(w writer, x string, bank []float32, neighbours int) (scores, image string) {
	c, places := int64(p.grid.C), int64(p.grid.places())
	k := int64(len(bank)) / c
	// Distances are taken from the bank's mean: smaller numbers lose fewer digits.
	mean := centre(bank, int(c))
	rows := w.reshape(w.transpose(x, 0, 2, 3, 1), -1, c) // [N*P, C]
	rows = w.Node("Sub", []string{rows, w.matrix("detector.mean", mean, c)})
	b := newBank(w, bank, k, c)
	distances := w.reshape(w.root(b.nearest(w, rows)), -1, places) // [N, P]
	scores = w.reshape(distances, -1, 1, int64(p.grid.H), int64(p.grid.W))

	// The patch p* that scores highest, its nearest m* in the bank, and N_b(m*), the
	// b nearest to m*, itself included.
	furthest := w.Node("ArgMax", []string{distances}, onnx.IntAttr("axis", 1), onnx.IntAttr("keepdims", 0)) // [N]
	star := w.Node("Gather", []string{rows, flatIndex(w, furthest, places)}, onnx.IntAttr("axis", 0))       // [N, C]
	own := w.reshape(b.closest(w, star, 1), -1)
	around := b.closest(w, w.Node("Gather", []string{b.rows, own}, onnx.IntAttr("axis", 0)), min(int64(neighbours), k)) // [N, b]
	near := w.Node("Gather", []string{b.rows, around}, onnx.IntAttr("axis", 0))                                         // [N, b, C]
	to := w.root(w.squareSum(w.Node("Sub", []string{near, w.reshape(star, -1, 1, c)}), 2))                              // [N, b]
	score := w.reduce("ReduceMax", distances, false, 1)
	if min(k, int64(neighbours)) < 2 { // m* alone tells nothing: its share would be 1, the weight 0
		return scores, score
	}
	// w = 1 - exp(|p*-m*|) / sum exp(|p*-m|), the softmax's entry of m*, which is
	// the nearest to itself and so the first.
	share := w.reshape(w.slice(w.Node("Softmax", []string{to}, onnx.IntAttr("axis", 1)), 1, 0, 1), -1)
	weight := w.Node("Sub", []string{w.Float(1), share})
	return scores, w.Node("Mul", []string{score, weight})
}

// flatIndex turns indices of places, int64 [N], into indices of rows of all images
// together: i + n*places.
func flatIndex(w writer, index string, places int64) string {
	ones := w.Node("Add", []string{w.Node("Mul", []string{index, w.Int(0)}), w.Int(1)})
	image := w.Node("CumSum", []string{ones, w.Int(0)}, onnx.IntAttr("exclusive", 1))
	return w.Node("Add", []string{index, w.Node("Mul", []string{image, w.Int(places)})})
}

// centre subtracts the mean of the rows of x, [n, c], in place, and returns it.
func centre(x []float32, c int) []float32 {
	sums := make([]float64, c)
	for i, v := range x {
		sums[i%c] += float64(v)
	}
	mean := make([]float32, c)
	for i, s := range sums {
		mean[i] = float32(s / float64(len(x)/c))
	}
	for i := range x {
		x[i] -= mean[i%c]
	}
	return mean
}

// bank is a memory of rows inside a model.
type bank struct {
	rows, norms string // [K, C]; squared lengths [K, 1]
	k           int64
}

func newBank(w writer, rows []float32, k, c int64) bank {
	norms := make([]float32, k)
	for i := range norms {
		s := 0.0
		for _, v := range rows[int64(i)*c : (int64(i)+1)*c] {
			s += float64(v) * float64(v)
		}
		norms[i] = float32(s)
	}
	return bank{w.matrix("detector.bank", rows, k, c), w.matrix("detector.bank_norms", norms, k, 1), k}
}

// nearest writes the squared distance of each row of x, [R, C], to the nearest row
// of the bank: [R, 1]. A loop takes the bank in pieces, so that no more than R *
// piece distances are held.
func (b bank) nearest(w writer, x string) string {
	own := w.reduce("ReduceSum", w.Node("Mul", []string{x, x}), true, 1) // [R, 1]
	if b.k <= piece {
		return w.Node("Add", []string{own, w.reduce("ReduceMin", b.relative(w, x, b.rows, b.norms), true, 1)})
	}
	// The body is a graph of its own, which sees the names of this one.
	body := writer{w.Inner(), w.opset}
	i := body.Input(onnx.TensorInfo(w.Name("piece"), onnx.Int64))
	going := body.Input(onnx.TensorInfo(w.Name("going"), onnx.Bool))
	best := body.Input(onnx.TensorInfo(w.Name("best"), onnx.Float, onnx.Symbol("R"), onnx.Fixed(1)))
	one := body.Ints(1)
	start := body.Node("Mul", []string{body.Node("Reshape", []string{i, one}), body.Ints(piece)})
	end := body.Node("Add", []string{start, body.Ints(piece)})
	cut := func(value string) string { return body.Node("Slice", []string{value, start, end, body.Ints(0)}) }
	least := body.reduce("ReduceMin", b.relative(body, x, cut(b.rows), cut(b.norms)), true, 1)
	still, next := w.Name("still"), w.Name("least")
	body.NodeTo("Identity", []string{going}, []string{still})
	body.NodeTo("Min", []string{best, least}, []string{next})
	body.Output(onnx.TensorInfo(still, onnx.Bool))
	body.Output(onnx.TensorInfo(next, onnx.Float, onnx.Symbol("R"), onnx.Fixed(1)))

	far := w.Node("Add", []string{w.Node("Mul", []string{own, w.Float(0)}), w.Float(3e38)})
	always := w.Const(onnx.BoolTensor("", nil, []bool{true}))
	relative := w.Node("Loop", []string{w.Int((b.k + piece - 1) / piece), always, far}, onnx.GraphAttr("body", body.Graph("nearest")))
	return w.Node("Add", []string{own, relative})
}

// relative is the squared distance of rows x: [R, C] to rows y: [K, C] less the
// squared length of x: [R, K].
func (bank) relative(w writer, x, y, norms string) string {
	product := w.Node("Gemm", []string{x, y}, onnx.IntAttr("transB", 1), onnx.FloatAttr("alpha", -2))
	return w.Node("Add", []string{product, w.Node("Reshape", []string{norms, w.Ints(1, -1)})})
}

// closest writes the indices of the n rows of the bank nearest to each row of x,
// [R, C] with few rows: int64 [R, n], the nearest first.
func (b bank) closest(w writer, x string, n int64) string {
	// The bank stands first: ONNX Runtime keeps a second copy of a constant that does
	// not.
	product := w.Node("Gemm", []string{b.rows, x}, onnx.IntAttr("transB", 1), onnx.FloatAttr("alpha", -2)) // [K, R]
	d := w.transpose(w.Node("Add", []string{product, b.norms}), 1, 0)
	out := w.NodeN("TopK", []string{d, w.Ints(n)}, 2, onnx.IntAttr("axis", 1), onnx.IntAttr("largest", 0))
	return out[1]
}

// summary says what the bank of kept rows is made of.
func (p *patchcore) summary(kept int) string {
	if held := p.capacity(); p.seen > held {
		return fmt.Sprintf("%d of %d patches, themselves a random part of %d within the bound on memory", kept, held, p.seen)
	}
	return fmt.Sprintf("%d of %d patches", kept, p.seen)
}
