package optim

import (
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// Decay is a weight decay.
type Decay struct {
	Rate float64

	// Exclude1D leaves out parameters with one axis: the weights of norms and all
	// biases.
	Exclude1D bool
}

// of returns the rate for one weight.
func (d Decay) of(w models.Spec) float64 {
	if d.Exclude1D && len(w.Node.Dims) < 2 {
		return 0
	}
	return d.Rate
}

// addTo returns the gradient of a weight with the decay added to it (L2
// regularisation).
func (d Decay) addTo(grad *op.Node, w models.Spec) *op.Node {
	rate := d.of(w)
	if rate == 0 {
		return grad
	}
	return op.Add(grad, op.Scale(w.Node, rate))
}

// statePrefix starts the names of an optimiser's state in a checkpoint.
const statePrefix = "optim"

// slot is one kind of buffer that an optimiser keeps for each weight, zero at
// first: "optim.", its name, "." and the weight's name.
type slot struct{ models.Scope }

func newSlot(b *train.Builder, name string) slot {
	return slot{models.NewScope(b.Params, true).Sub(statePrefix).Sub(name)}
}

func (s slot) get(w models.Spec) *op.Node {
	return s.Buffer(w.Name, models.Constant(0), w.Node.Dims...)
}

// set gives the buffer its next value and returns it.
func (s slot) set(w models.Spec, value *op.Node) *op.Node {
	s.SetBuffer(w.Name, value)
	return value
}

// average is the exponential moving average rate*old + (1-rate)*value.
func average(old, value *op.Node, rate float64) *op.Node {
	return op.Add(op.Scale(old, rate), op.Scale(value, 1-rate))
}
