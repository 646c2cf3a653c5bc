package project

import "math"

// quadtree sums over groups of points on a plane. Cells lie in the order of a walk
// through the tree, so that it needs no stack: from a cell either into it, which is the
// next, or past it.
type quadtree struct {
	cells []cell
	order []int32 // points, those of a cell together
}

type cell struct {
	x, y  float64 // mean of its points
	count float64
	width float64 // of its longer side, squared; of a leaf 0
	past  int32
	leaf  bool
}

// maxDepth ends the division of cells: points that are still together coincide.
const maxDepth = 64

// build makes the tree of y: [N, 2], reusing its memory.
func (t *quadtree) build(y []float64) {
	n := len(y) / 2
	if len(t.order) != n {
		t.order = make([]int32, n)
		for i := range t.order {
			t.order[i] = int32(i)
		}
	}
	lo, hi := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	for i, v := range y {
		lo[i%2], hi[i%2] = min(lo[i%2], v), max(hi[i%2], v)
	}
	t.cells = t.cells[:0]
	t.divide(y, t.order, lo, hi, 0)
}

func (t *quadtree) divide(y []float64, points []int32, lo, hi [2]float64, depth int) {
	at := len(t.cells)
	t.cells = append(t.cells, cell{count: float64(len(points))})
	first := points[0]
	same := true
	for _, p := range points[1:] {
		if y[2*p] != y[2*first] || y[2*p+1] != y[2*first+1] {
			same = false
			break
		}
	}
	if same || depth == maxDepth {
		t.cells[at] = cell{y[2*first], y[2*first+1], float64(len(points)), 0, int32(at + 1), true}
		return
	}
	mid := [2]float64{(lo[0] + hi[0]) / 2, (lo[1] + hi[1]) / 2}
	// Four parts: below and above the middle, each left and right of it.
	half := partition(y, points, 1, mid[1])
	var sum [2]float64
	rows := [2][]int32{points[:half], points[half:]}
	for row, part := range rows {
		at := partition(y, part, 0, mid[0])
		for column, quarter := range [2][]int32{part[:at], part[at:]} {
			if len(quarter) == 0 {
				continue
			}
			l, h := lo, mid
			if column == 1 {
				l[0], h[0] = mid[0], hi[0]
			}
			if row == 1 {
				l[1], h[1] = mid[1], hi[1]
			}
			child := len(t.cells)
			t.divide(y, quarter, l, h, depth+1)
			c := t.cells[child]
			sum[0] += c.x * c.count
			sum[1] += c.y * c.count
		}
	}
	width := max(hi[0]-lo[0], hi[1]-lo[1])
	n := float64(len(points))
	t.cells[at] = cell{sum[0] / n, sum[1] / n, n, width * width, int32(len(t.cells)), false}
}

// partition puts the points whose coordinate is at most mid first and returns how many.
func partition(y []float64, points []int32, axis int32, mid float64) int {
	at := 0
	for i, p := range points {
		if y[2*p+axis] <= mid {
			points[at], points[i] = points[i], points[at]
			at++
		}
	}
	return at
}

// repulsion returns, for point i, the sum over the others of w = 1/(1 + d^2) and of
// w^2 (yi - yj). A cell counts as one point when its width is less than theta times its
// distance; theta is below 0.7, so that the cells around i never do.
func (t *quadtree) repulsion(y []float64, i int, theta float64) (z, fx, fy float64) {
	yx, yy := y[2*i], y[2*i+1]
	theta *= theta
	cells := t.cells
	for at := 0; at < len(cells); {
		c := &cells[at]
		dx, dy := yx-c.x, yy-c.y
		d := dx*dx + dy*dy
		if !c.leaf && c.width >= theta*d {
			at++
			continue
		}
		at = int(c.past)
		w := 1 / (1 + d)
		if c.leaf && d == 0 {
			z += c.count - 1 // those at the same place, without i
			continue
		}
		z += c.count * w
		f := c.count * w * w
		fx += f * dx
		fy += f * dy
	}
	return z, fx, fy
}
