package optim

import (
	"math"

	"github.com/sslrt/sslrt/finetune/train"
)

// Schedule gives the learning rate of each step.
type Schedule interface {
	Rate(s train.Step) float64

	// Start is the rate that the schedule sets out from, and a warm-up rises to.
	Start() float64
}

// Constant is a learning rate that stays.
type Constant float64

// Rate returns the constant.
func (c Constant) Rate(train.Step) float64 { return float64(c) }

// Start returns the constant.
func (c Constant) Start() float64 { return float64(c) }

// Cosine is a learning rate that falls from Base to Min along half a cosine, per
// step (Loshchilov and Hutter, 2017, "SGDR").
type Cosine struct {
	Base, Min float64
	Inclusive bool // reach Min at the last step, not after it
}

// Start returns Base.
func (c Cosine) Start() float64 { return c.Base }

// Rate returns the learning rate of a step.
func (c Cosine) Rate(s train.Step) float64 {
	at := s.Index
	if c.Inclusive {
		at++
	}
	along := float64(at) / float64(max(1, s.Total))
	return c.Min + (c.Base-c.Min)/2*(1+math.Cos(math.Pi*along))
}

// Milestones is a learning rate that is multiplied by Gamma at each of some steps.
type Milestones struct {
	Base, Gamma float64
	Steps       []int
}

// Start returns Base.
func (c Milestones) Start() float64 { return c.Base }

// Rate returns Base times Gamma for each milestone that the step has reached.
func (c Milestones) Rate(s train.Step) float64 {
	rate := c.Base
	for _, m := range c.Steps {
		if s.Index >= m {
			rate *= c.Gamma
		}
	}
	return rate
}

// Exponential is a learning rate that is multiplied by Gamma every so many steps.
type Exponential struct {
	Base, Gamma float64
	Every       int // default 1
}

// Start returns Base.
func (c Exponential) Start() float64 { return c.Base }

// Rate returns Base * Gamma^(t / Every), the division rounded down.
func (c Exponential) Rate(s train.Step) float64 {
	return c.Base * math.Pow(c.Gamma, float64(s.Index/max(1, c.Every)))
}

// Warmup lets the learning rate rise linearly for a number of steps, as SimCLR
// does: (t+1)/Steps of Then's start at step t. Then it follows Then, which
// does not see the steps of the warm-up.
type Warmup struct {
	Steps int
	Then  Schedule
}

// Start returns the rate behind the warm-up.
func (w Warmup) Start() float64 { return w.Then.Start() }

// Rate returns the learning rate of a step.
func (w Warmup) Rate(s train.Step) float64 {
	return afterwards(w.Then, w.Steps, s, func(t int) float64 { return float64(t+1) / float64(w.Steps) })
}

// Ramp is a warm-up that begins at the share From of Then's start and reaches it
// after Steps steps, as torch's LinearLR does.
type Ramp struct {
	Steps int
	From  float64
	Then  Schedule
}

// Start returns the rate behind the warm-up.
func (r Ramp) Start() float64 { return r.Then.Start() }

// Rate returns the learning rate of a step.
func (r Ramp) Rate(s train.Step) float64 {
	return afterwards(r.Then, r.Steps, s, func(t int) float64 {
		return r.From + (1-r.From)*float64(t)/float64(r.Steps)
	})
}

// afterwards follows a schedule after a number of steps, and has a share of its
// start before.
func afterwards(then Schedule, steps int, s train.Step, share func(t int) float64) float64 {
	if s.Index < steps {
		return then.Start() * share(s.Index)
	}
	s.Index -= steps
	s.Total -= steps
	return then.Rate(s)
}

// LinearScaling is SimCLR's learning rate for a batch size: base * batch / 256.
func LinearScaling(base float64, batch int) float64 { return base * float64(batch) / 256 }

// SqrtScaling is SimCLR's other rule, for longer training with small batches:
// base * sqrt(batch).
func SqrtScaling(base float64, batch int) float64 { return base * math.Sqrt(float64(batch)) }
