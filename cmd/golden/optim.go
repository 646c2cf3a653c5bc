package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

func runOptim(c *Case, m engine.Machine) error {
	switch c.Op {
	case "sgd":
		return runSGD(c, m)
	case "lr_schedule":
		return runSchedule(c)
	}
	return uncovered("no such optimiser yet")
}

// given is an objective whose gradients are those stored with a case:
// L = sum(w * g), with the g of the step.
type given struct {
	c     *Case
	a     *arrays
	names []string
}

func (given) Views() int { return 1 }

func (o given) Loss(b *train.Builder) *op.Node {
	weights := models.NewScope(b.Params, true)
	var loss *op.Node
	for _, name := range o.names {
		sizes := o.a.shape("init_" + name)
		grads, err := o.a.floats32("grads_" + name)
		if err != nil {
			return b.Graph.Fail("%w", err)
		}
		w := weights.Weight(name, models.Constant(0), sizes...)
		g := b.Feed("grads_"+name, op.Dims(sizes...), func(s train.Step, data []float32) {
			copy(data, grads[s.Index*len(data):])
		})
		term := op.Sum(op.Mul(w, g), false)
		if loss == nil {
			loss = term
		} else {
			loss = op.Add(loss, term)
		}
	}
	return loss
}

// momentumPrefix starts the names of SGD's buffers in a state dict.
const momentumPrefix = "optim.momentum."

func runSGD(c *Case, m engine.Machine) error {
	var p struct {
		Rate        float64 `json:"lr"`
		Momentum    float64
		Dampening   float64
		Nesterov    bool
		WeightDecay float64 `json:"weight_decay"`
		Steps       int
		Parameters  map[string][]int
	}
	if err := strict(c.Params, &p); err != nil {
		return err
	}
	var extra struct {
		Rates []float64 `json:"lr_per_step"`
	}
	if err := json.Unmarshal(c.raw, &extra); err != nil {
		return err
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	names := parametersOf(c)
	step, err := train.Build(train.Config{
		Objective: given{c, a, names},
		Optimizer: optim.SGD{Momentum: p.Momentum, Dampening: p.Dampening, Nesterov: p.Nesterov, WeightDecay: p.WeightDecay},
		Rate: func(s train.Step) float64 {
			if extra.Rates != nil {
				return extra.Rates[s.Index]
			}
			return p.Rate
		},
		BatchSize: 1, Image: []int{1, 1, 1},
	})
	if err != nil {
		return err
	}
	program, err := m.Compile(step.Function)
	if err != nil {
		return err
	}
	defer program.Close()
	state := step.Params.Init(0)
	traj := map[string][]float64{}
	for _, name := range names {
		if state[name], err = a.dense("init_" + name); err != nil {
			return err
		}
		traj[name] = float64s(state[name])
	}
	if err := program.Load(engine.Tensors(state)); err != nil {
		return err
	}
	var last engine.Tensors
	for t := range p.Steps {
		if _, err := program.Run(context.Background(), step.Inputs(train.Step{Index: t, Total: p.Steps})); err != nil {
			return err
		}
		last = program.State()
		for _, name := range names {
			traj[name] = append(traj[name], float64s(last[name])...)
		}
	}
	return compareRun(c, a, traj, last)
}

// parametersOf returns the names X of the case's inputs init_X.
func parametersOf(c *Case) []string {
	var names []string
	for _, in := range c.Inputs {
		if name, ok := strings.CutPrefix(in, "init_"); ok {
			names = append(names, name)
		}
	}
	return names
}

// compareRun compares the trajectories and the buffers at their end.
func compareRun(c *Case, a *arrays, traj map[string][]float64, last engine.Tensors) error {
	for _, out := range c.Outputs {
		var got []float64
		if name, ok := strings.CutPrefix(out, "traj_"); ok {
			got = traj[name]
		} else if name, ok := strings.CutPrefix(out, "state_momentum_buffer_"); ok && last[momentumPrefix+name] != nil {
			got = float64s(last[momentumPrefix+name])
		} else {
			return uncovered("nothing computes its output %q", out)
		}
		if err := c.check(a, out, got); err != nil {
			return err
		}
	}
	return nil
}

// cosineFormula is what optim.Cosine computes, in the words of the cases.
const cosineFormula = "t<W: base*(t+1)/W; else min+(base-min)/2*(1+cos(pi*(t-W)/(T-W)))"

func runSchedule(c *Case) error {
	var p struct {
		Base        *float64
		Warmup      int     `json:"warmup_steps"`
		Total       int     `json:"total_steps"`
		Min         float64 `json:"min_lr"`
		Formula     string
		Period      int     `json:"T_max"`
		AnnealedMin float64 `json:"eta_min"`
	}
	if err := strict(c.Params, &p); err != nil {
		return err
	}
	switch {
	case p.Base == nil:
		return uncovered("no schedule with these parameters")
	case p.Period > 0 && p.Formula == "": // torch's CosineAnnealingLR
		p.Total, p.Min = p.Period, p.AnnealedMin
	case p.Formula != cosineFormula:
		return uncovered("no schedule %q", p.Formula)
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	if !slices.Contains(a.names(), "lr_f64") {
		return errors.New("the case has no array lr_f64")
	}
	want, err := a.floats("lr_f64")
	if err != nil {
		return err
	}
	schedule := optim.Cosine{Base: *p.Base, Min: p.Min, Warmup: p.Warmup}
	var got []float64
	for t := range want {
		got = append(got, schedule.Rate(train.Step{Index: t, Total: p.Total}))
	}
	// The rule says 1e-12 relative in float64, which the rate is computed in.
	if err := checkWithin(a, "lr", got, 1e-15, 1e-12); err != nil {
		return fmt.Errorf("schedule: %w", err)
	}
	return nil
}
