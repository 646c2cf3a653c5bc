package main

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

func runOptim(c *Case, m engine.Machine) error {
	switch c.Op {
	case "lr_schedule":
		return runSchedule(c)
	case "ema":
		return runEMA(c, m)
	case "clip_grad_norm":
		return runClip(c, m)
	}
	return runOptimizer(c, m)
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

// optimizerParams are the hyper-parameters of all optimisers.
type optimizerParams struct {
	Rate        float64 `json:"lr"`
	Momentum    float64
	Dampening   float64
	Nesterov    bool
	WeightDecay float64 `json:"weight_decay"`
	Betas       [2]float64
	Eps         float64
	AMSGrad     bool
	Alpha       float64
	Eta         float64
	Form        string
	Exclude1D   bool     `json:"exclude_1d"`
	MaxNorm     float64  `json:"max_norm"`
	GradScale   *float64 `json:"grad_scale"` // how the stored gradients were made
	Steps       int
	Parameters  map[string][]int
}

// optimizer returns the optimiser that a kind of case names.
func (p optimizerParams) optimizer(kind string) (train.Optimizer, error) {
	decay := optim.Decay{Rate: p.WeightDecay}
	sgd := optim.SGD{Momentum: p.Momentum, Dampening: p.Dampening, Nesterov: p.Nesterov, Decay: decay}
	adam := optim.Adam{Beta1: p.Betas[0], Beta2: p.Betas[1], Eps: p.Eps, Decay: decay, AMSGrad: p.AMSGrad}
	switch kind {
	case "sgd":
		return sgd, nil
	case "adam":
		return adam, nil
	case "adamw":
		adam.Decoupled = true
		return adam, nil
	case "rmsprop":
		return optim.RMSprop{Alpha: p.Alpha, Eps: p.Eps, Momentum: p.Momentum, Decay: decay}, nil
	case "lars":
		return optim.LARS{Eta: p.Eta, Eps: p.Eps, Momentum: p.Momentum, Decay: p.WeightDecay,
			Joint: p.Form == "moco", Exclude1D: p.Exclude1D}, nil
	case "clip_grad_norm+sgd":
		return optim.Clip{Norm: p.MaxNorm, Next: sgd}, nil
	}
	return nil, uncovered("no such optimiser yet")
}

// momentumPrefix starts the names of momentum buffers in a state dict.
const momentumPrefix = "optim.momentum."

// stateNames says where an optimiser keeps the state that a case calls so.
var stateNames = map[string]string{
	"state_momentum_buffer_": momentumPrefix,
	"state_mu_":              momentumPrefix,
	"state_exp_avg_sq_":      "optim.exp_avg_sq.",
	"state_max_exp_avg_sq_":  "optim.max_exp_avg_sq.",
	"state_exp_avg_":         "optim.exp_avg.",
	"state_square_avg_":      "optim.square_avg.",
}

func runOptimizer(c *Case, m engine.Machine) error {
	var p optimizerParams
	if err := strict(c.Params, &p); err != nil {
		return err
	}
	optimizer, err := p.optimizer(c.Op)
	if err != nil {
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
	r := optimRun{c: c, a: a, p: p, names: parametersOf(c), results: map[string][]float64{}}
	step, err := train.Build(train.Config{
		Objective: given{c, a, r.names},
		Optimizer: optimizer,
		Rate: func(s train.Step) float64 {
			if extra.Rates != nil {
				return extra.Rates[s.Index]
			}
			return p.Rate
		},
		BatchSize: 1, Image: []int{1, 1, 1}, GradNorm: p.MaxNorm > 0,
	})
	if err != nil {
		return err
	}
	program, err := m.Compile(step.Function)
	if err != nil {
		return err
	}
	defer program.Close()
	if err := r.run(step, program); err != nil {
		return err
	}
	return r.compare()
}

// optimRun collects what an optimiser does, by the names of the outputs.
type optimRun struct {
	c       *Case
	a       *arrays
	p       optimizerParams
	names   []string
	results map[string][]float64
}

func (r *optimRun) add(output string, values ...float64) {
	r.results[output] = append(r.results[output], values...)
}

func (r *optimRun) run(step *train.Program, program engine.Program) error {
	state := engine.Tensors(step.Params.Init(0))
	for _, name := range r.names {
		v, err := r.a.dense("init_" + name)
		if err != nil {
			return err
		}
		state[name] = v
		r.add("traj_"+name, float64s(v)...)
	}
	if err := program.Load(state); err != nil {
		return err
	}
	for t := range r.p.Steps {
		out, err := program.Run(context.Background(), step.Inputs(train.Step{Index: t, Total: r.p.Steps}))
		if err != nil {
			return err
		}
		if norm := out[train.MetricGradNorm]; norm != nil {
			r.add("total_norm", float64s(norm)...)
		}
		next := program.State()
		for _, name := range r.names {
			r.add("traj_"+name, float64s(next[name])...)
			if r.p.Eta != 0 {
				trust, err := r.trust(name, t, state, next)
				if err != nil {
					return err
				}
				r.add("trust_"+name, trust)
			}
		}
		state = next
	}
	for _, name := range r.names {
		for output, key := range stateNames {
			if v := state[key+name]; v != nil {
				r.results[output+name] = float64s(v)
			}
		}
	}
	return nil
}

// trust returns the ratio that LARS took at a step, from what it did to its buffer:
// trust * d = buf' - momentum * buf.
func (r *optimRun) trust(name string, t int, before, after engine.Tensors) (float64, error) {
	grads, err := r.a.floats("grads_" + name)
	if err != nil {
		return 0, err
	}
	w, old, buf := float64s(before[name]), float64s(before[momentumPrefix+name]), float64s(after[momentumPrefix+name])
	decay := r.p.WeightDecay
	if r.p.Exclude1D && len(before[name].Shape()) < 2 {
		decay = 0
	}
	along, square := 0.0, 0.0
	for i := range w {
		d := grads[t*len(w)+i] + decay*w[i]
		along += (buf[i] - r.p.Momentum*old[i]) * d
		square += d * d
	}
	if square == 0 {
		return 1, nil
	}
	return along / square, nil
}

func (r *optimRun) compare() error {
	for _, out := range r.c.Outputs {
		got, ok := r.results[out]
		if !ok {
			return uncovered("nothing computes its output %q", out)
		}
		if err := r.c.check(r.a, out, got); err != nil {
			return err
		}
	}
	return nil
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
