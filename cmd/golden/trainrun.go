package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// trainRun is a compiled training step of a case with its batches.
type trainRun struct {
	c      *Case
	p      trainParams
	method trainMethod
	m      engine.Machine
	a      *arrays

	built   *train.Program
	program engine.Program
	views   [][]float32 // of each view [batches, N, C, H, W]
	labels  []int64     // [batches, N], nil without
	image   []int       // batches, N, C, H, W
}

func newTrainRun(c *Case, p trainParams, method trainMethod, m engine.Machine) (r *trainRun, err error) {
	r = &trainRun{c: c, p: p, method: method, m: m}
	if r.a, err = c.open(); err != nil {
		return nil, err
	}
	shared, err := c.openShared()
	if err != nil {
		return nil, err
	}
	defer shared.Close()
	for _, name := range method.views {
		v, err := shared.floats32(name)
		if err != nil {
			return nil, err
		}
		r.views, r.image = append(r.views, v), shared.shape(name)
	}
	if method.labels != "" {
		if r.labels, err = shared.ints(method.labels); err != nil {
			return nil, err
		}
	}
	config, err := r.config()
	if err != nil {
		return nil, err
	}
	if r.built, err = train.Build(config); err != nil {
		return nil, err
	}
	if r.program, err = m.Compile(r.built.Function); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *trainRun) close() {
	r.program.Close()
	r.a.Close()
}

// torchStateNames are torch.optim's names of an optimiser's state by ours.
var torchStateNames = map[string]string{"momentum": "momentum_buffer"}

// optimizerState splits the name of a piece of the optimiser's state, such as
// "optim.momentum.fc.weight", into torch.optim's and the weight's.
func optimizerState(name string) (state, weight string, ok bool) {
	rest, ok := strings.CutPrefix(name, "optim.")
	if !ok {
		return "", "", false
	}
	state, weight, ok = strings.Cut(rest, ".")
	if usual := torchStateNames[state]; usual != "" {
		state = usual
	}
	return state, weight, ok
}

// load sets the parameters to a stored state; the optimiser's state is zeros where no
// prefix for it is given.
func (r *trainRun) load(prefix, optimizer string) error {
	values := models.StateDict{}
	for _, s := range r.built.Params.Specs() {
		state, weight, ok := optimizerState(s.Name)
		var err error
		switch {
		case !ok:
			values[s.Name], err = r.a.dense(prefix + s.Name)
		case optimizer == "":
			values[s.Name] = engine.NewTensor(make([]float32, s.Node.Size()), s.Node.Dims...)
		default:
			values[s.Name], err = r.a.dense(optimizer + state + "/" + weight)
		}
		if err != nil {
			return err
		}
	}
	if err := r.built.Params.Check(values); err != nil {
		return err
	}
	return r.program.Load(engine.Tensors(values))
}

// batch returns all views of batch i: [V*N, C, H, W].
func (r *trainRun) batch(i int) *tensor.Dense {
	n := op.Dims(r.image[1:]...).Size()
	var data []float32
	for _, v := range r.views {
		data = append(data, v[i*n:(i+1)*n]...)
	}
	return engine.NewTensor(data, append([]int{len(r.views) * r.image[1]}, r.image[2:]...)...)
}

// result is what a step returns.
type result struct {
	loss  float64
	grads map[string][]float64
}

// step runs step number t, counted from 1.
func (r *trainRun) step(t int) (result, error) {
	in := r.built.Inputs(train.Step{Index: t - 1, Total: r.p.Steps})
	batch, n := (t-1)%r.p.Batches, r.image[1]
	in[train.InputViews] = r.batch(batch)
	if r.labels != nil {
		in[train.InputLabels] = engine.NewTensor(slices.Clone(r.labels[batch*n:(batch+1)*n]), n)
	}
	out, err := r.program.Run(context.Background(), in)
	if err != nil {
		return result{}, err
	}
	res := result{loss: float64s(out[train.OutputLoss])[0], grads: map[string][]float64{}}
	for name, v := range out {
		if weight, ok := strings.CutPrefix(name, train.GradPrefix); ok {
			res.grads[weight] = float64s(v)
		}
	}
	return res, nil
}

// checkGradients holds each gradient within 1e-4 of its own largest entry. Where
// that entry is below 1e-6 of the largest of all, the true gradient is 0 (a bias
// in front of a BatchNorm) and what may be left is 1e-5 of the largest of all.
func (r *trainRun) checkGradients(prefix string, got map[string][]float64) error {
	want := map[string][]float64{}
	overall := 0.0
	for _, key := range r.a.names() {
		name, ok := strings.CutPrefix(key, prefix)
		if !ok || !strings.HasSuffix(name, "_f64") {
			continue
		}
		v, err := r.a.floats(key)
		if err != nil {
			return err
		}
		name = strings.TrimSuffix(name, "_f64")
		want[name] = v
		overall = max(overall, largest(v))
	}
	if len(want) == 0 || len(want) != len(got) {
		return fmt.Errorf("%s: got %d gradients, want %d", prefix, len(got), len(want))
	}
	for name, w := range want {
		if len(got[name]) != len(w) {
			return fmt.Errorf("%s%s: got %d values, want %d", prefix, name, len(got[name]), len(w))
		}
		tolerance := 1e-4 * largest(w)
		if largest(w) < 1e-6*overall {
			tolerance = 1e-5 * overall
		}
		for i := range w {
			if err := within(fmt.Sprintf("%s%s[%d]", prefix, name, i), got[name][i], w[i], tolerance); err != nil {
				return err
			}
		}
	}
	return nil
}

func largest(v []float64) float64 {
	out := 0.0
	for _, x := range v {
		out = max(out, math.Abs(x))
	}
	return out
}

// checkState holds the parameters after a step against a stored state.
func (r *trainRun) checkState(name string, extra trainCase) error {
	limit := extra.States[name].Recommended
	if limit.Params == 0 {
		return fmt.Errorf("the case has no tolerance for state %s", name)
	}
	state := r.program.State()
	var difference, size float64
	for _, s := range r.built.Params.Specs() {
		if _, _, ok := optimizerState(s.Name); ok {
			continue
		}
		want, err := r.a.floats(name + "/" + s.Name + "_f64")
		if err != nil {
			return err
		}
		tolerance := limit.Buffers
		if s.Trainable {
			tolerance = limit.Params
		}
		for i, v := range float64s(state[s.Name]) {
			if err := within(fmt.Sprintf("%s/%s[%d]", name, s.Name, i), v, want[i], tolerance); err != nil {
				return err
			}
			if s.Trainable {
				difference += (v - want[i]) * (v - want[i])
				size += want[i] * want[i]
			}
		}
	}
	return within(name+": relative distance of all weights", math.Sqrt(difference/size), 0, limit.RelL2)
}

// checkEvaluation compares what the network gives in evaluation mode after the last
// step. A folder without the images is not checked here.
func (r *trainRun) checkEvaluation(extra trainCase) error {
	e := r.method.eval
	limit := extra.Eval[e.output].MaxAbs
	images, err := e.images(r)
	if limit == 0 || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	params := models.NewParams(op.NewGraph())
	x := params.Graph.Input("x", op.Float32, op.Batched(images.Shape()...))
	o, err := r.method.objective(r)
	if err != nil {
		return err
	}
	y := e.forward(o, models.NewScope(params, false), x)
	if err := params.Graph.Err(); err != nil {
		return err
	}
	program, err := r.m.Compile(engine.Function{Outputs: []export.Output{{Name: "y", Node: y}}})
	if err != nil {
		return err
	}
	defer program.Close()
	if err := program.Load(r.program.State()); err != nil {
		return err
	}
	out, err := program.Run(context.Background(), engine.Tensors{"x": images})
	if err != nil {
		return err
	}
	return checkWithin(r.a, e.output, float64s(out["y"]), limit, 0)
}
