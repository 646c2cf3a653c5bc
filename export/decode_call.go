package export

import (
	"errors"
	"fmt"
	"math"

	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// call is one node of the file while it is turned into operations.
type call struct {
	*decoder
	n   *onnx.Node
	err error // the first
}

func (c *call) fail(format string, args ...any) value {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
	return value{}
}

// arg returns input i as data: nil when it is left out, or wrong, which c.err
// tells.
func (c *call) arg(i int) *op.Node {
	if i >= len(c.n.Inputs) || c.n.Inputs[i] == "" {
		return nil
	}
	n, err := c.data(c.n.Inputs[i])
	if err != nil {
		c.fail("input %w", err)
	}
	return n
}

func (c *call) integer(name string, otherwise int64) int64 {
	if a := c.n.Attr(name); a != nil {
		return a.I
	}
	return otherwise
}

func (c *call) float(name string, otherwise float32) float64 {
	if a := c.n.Attr(name); a != nil {
		return float64(a.F)
	}
	return float64(otherwise)
}

// only fails unless an attribute has the one value that is supported.
func (c *call) only(name string, want int64) {
	if got := c.integer(name, want); got != want {
		c.fail("%s %d is not supported: want %d", name, got, want)
	}
}

// axis returns an axis of x as a number of 0 to rank-1, or rank where end is set.
func (c *call) axis(x *op.Node, otherwise int64, end int) int {
	a, rank := c.integer("axis", otherwise), int64(len(x.Dims))
	if a < -rank || a >= rank+int64(end) {
		c.fail("axis %d is outside the axes of %v", a, x.Shape)
		return 0
	}
	if a < 0 {
		a += rank
	}
	return int(a)
}

// sizes fills a list of sizes from an attribute; what is not there stays as it is.
func (c *call) sizes(name string, to []int, least int64) {
	a := c.n.Attr(name)
	if a == nil {
		return
	}
	if len(a.Ints) != len(to) {
		c.fail("%s %v: want %d numbers: only two-dimensional windows are supported", name, a.Ints, len(to))
		return
	}
	for i, v := range a.Ints {
		if v < least || v > math.MaxInt32 {
			c.fail("%s %v: want numbers of %d to %d", name, a.Ints, least, math.MaxInt32)
			return
		}
		to[i] = int(v)
	}
}

// window is what convolution and pooling have in common.
type window struct {
	kernel, stride, dilation [2]int
	pad                      [4]int
}

func (c *call) window() window {
	w := window{stride: [2]int{1, 1}, dilation: [2]int{1, 1}}
	c.sizes("kernel_shape", w.kernel[:], 1)
	c.sizes("strides", w.stride[:], 1)
	c.sizes("dilations", w.dilation[:], 1)
	c.sizes("pads", w.pad[:], 0)
	if a := c.n.Attr("auto_pad"); a != nil {
		switch string(a.S) {
		case "", "NOTSET":
		case "VALID":
			w.pad = [4]int{}
		default:
			c.fail("auto_pad %s is not supported: write pads", a.S)
		}
	}
	return w
}

// constantInts returns the numbers of an input that must be known before the
// model runs.
func (c *call) constantInts(i int) ([]int64, error) {
	t := c.values[c.n.Inputs[i]].constant
	switch {
	case t == nil:
		return nil, errors.New("is computed while the model runs, which is not supported")
	case t.Type != onnx.Int64 || len(t.Dims) != 1:
		return nil, fmt.Errorf("is %v%v, want int64 with one axis", t.Type, t.Dims)
	}
	return t.Int64s()
}

// reshape gives x other sizes and finds the batch among those that are open: the
// file does not fix them.
func (c *call) reshape(x *op.Node, sizes []int, open []bool) value {
	to := op.Dims(sizes...)
	if x.Batch >= 0 {
		outer, at := op.Dims(x.Dims[:x.Batch]...).Size(), 1
		for i, n := range sizes {
			if open[i] && at == outer && n == x.Dims[x.Batch] {
				to.Batch = i
				break
			}
			at *= n
		}
		if to.Batch < 0 {
			return c.fail("%v to %v fixes the batch or merges it with another axis: give the model's inputs shapes without a batch axis", x.Shape, to)
		}
	}
	return value{node: op.Reshape(x, to)}
}
