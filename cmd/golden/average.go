package main

import (
	"context"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// followed is an objective whose online network has the stored weights after each
// step, and whose target follows it.
type followed struct {
	ema    optim.EMA
	online []float32 // [steps, sizes...]
	sizes  []int
}

func (followed) Views() int { return 1 }

// Loss is the sum of the online weights: there must be one.
func (o followed) Loss(b *train.Builder) *op.Node {
	models.NewScope(b.Params, true).Weight("target", models.Constant(0), o.sizes...)
	return op.Sum(models.NewScope(b.Params, true).Weight("online", models.Constant(0), o.sizes...), false)
}

// Update puts the stored weights in place of what the optimiser made.
func (o followed) Update(b *train.Builder) {
	b.Set("online", b.Feed("stored", op.Dims(o.sizes...), func(s train.Step, data []float32) {
		copy(data, o.online[s.Index*len(data):])
	}))
	o.ema.Update(b, "target", "online")
}

func runEMA(c *Case, m engine.Machine) error {
	var p struct {
		Base     float64
		K        int
		Schedule string
	}
	if err := strict(c.Params, &p); err != nil {
		return err
	}
	if !slices.Contains([]string{"cosine", "constant"}, p.Schedule) {
		return uncovered("no schedule %q", p.Schedule)
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	o := followed{ema: optim.EMA{Base: p.Base, Cosine: p.Schedule == "cosine"}, sizes: a.shape("target_init")}
	if o.online, err = a.floats32("online"); err != nil {
		return err
	}
	start, err := a.dense("target_init")
	if err != nil {
		return err
	}
	step, err := train.Build(train.Config{Objective: o, Optimizer: optim.SGD{},
		Rate: optim.Constant(0).Rate, BatchSize: 1, Image: []int{1, 1, 1}})
	if err != nil {
		return err
	}
	program, err := m.Compile(step.Function)
	if err != nil {
		return err
	}
	defer program.Close()
	state := step.Params.Init(0)
	state["target"] = start
	if err := program.Load(engine.Tensors(state)); err != nil {
		return err
	}
	got := float64s(start)
	for t := range a.shape("online")[0] {
		if _, err := program.Run(context.Background(), step.Inputs(train.Step{Index: t, Total: p.K})); err != nil {
			return err
		}
		got = append(got, float64s(program.State()["target"])...)
	}
	return c.check(a, "traj_target", got)
}

// shown is an optimiser that only shows the gradients it is given.
type shown struct{}

func (shown) Update(b *train.Builder, weights []models.Spec, grads []*op.Node) {
	for i, w := range weights {
		b.Metric("clipped_"+w.Name, grads[i])
	}
}

// stored is an objective whose gradients are the arrays grad_X.
type stored struct {
	a     *arrays
	names []string
}

func (stored) Views() int { return 1 }

func (o stored) Loss(b *train.Builder) *op.Node {
	var loss *op.Node
	for _, name := range o.names {
		g, err := o.a.floats32("grad_" + name)
		if err != nil {
			return b.Graph.Fail("%w", err)
		}
		sizes := o.a.shape("grad_" + name)
		w := models.NewScope(b.Params, true).Weight(name, models.Constant(0), sizes...)
		term := op.Sum(op.Mul(w, b.Graph.Const(g, sizes...)), false)
		if loss != nil {
			term = op.Add(loss, term)
		}
		loss = term
	}
	return loss
}

func runClip(c *Case, m engine.Machine) error {
	var p struct {
		MaxNorm float64 `json:"max_norm"`
	}
	if err := strict(c.Params, &p); err != nil {
		return err
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	var names []string
	for _, in := range c.Inputs {
		if name, ok := strings.CutPrefix(in, "grad_"); ok {
			names = append(names, name)
		}
	}
	step, err := train.Build(train.Config{Objective: stored{a, names}, Optimizer: optim.Clip{Norm: p.MaxNorm, Next: shown{}},
		Rate: optim.Constant(0).Rate, BatchSize: 1, Image: []int{1, 1, 1}, GradNorm: true})
	if err != nil {
		return err
	}
	program, err := m.Compile(step.Function)
	if err != nil {
		return err
	}
	defer program.Close()
	if err := program.Load(engine.Tensors(step.Params.Init(0))); err != nil {
		return err
	}
	out, err := program.Run(context.Background(), step.Inputs(train.Step{Total: 1}))
	if err != nil {
		return err
	}
	for _, name := range c.Outputs {
		v := out[name]
		if name == "total_norm" {
			v = out[train.MetricGradNorm]
		}
		if v == nil {
			return uncovered("nothing computes its output %q", name)
		}
		if err := c.check(a, name, float64s(v)); err != nil {
			return err
		}
	}
	return nil
}
