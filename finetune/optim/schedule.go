package optim

import (
	"math"

	"github.com/sslrt/sslrt/finetune/train"
)

// Cosine is a learning rate that falls from Base to Min along half a cosine, per
// step (Loshchilov and Hutter, 2017, "SGDR"), after Warmup steps in which it rises
// linearly: Base*(t+1)/Warmup at step t.
type Cosine struct {
	Base, Min float64
	Warmup    int // steps
}

// Rate returns the learning rate of a step.
func (c Cosine) Rate(s train.Step) float64 {
	if s.Index < c.Warmup {
		return c.Base * float64(s.Index+1) / float64(c.Warmup)
	}
	along := float64(s.Index-c.Warmup) / float64(max(1, s.Total-c.Warmup))
	return c.Min + (c.Base-c.Min)/2*(1+math.Cos(math.Pi*along))
}
