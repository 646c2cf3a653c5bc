package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strings"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// trainRun is a compiled training step of a case with its batches.
type trainRun struct {
	c *Case
	p trainParams
	m engine.Machine
	a *arrays

	built   *train.Program
	program engine.Program
	views   [2][]float32 // [batches, N, C, H, W]
	image   []int        // batches, N, C, H, W
}

func newTrainRun(c *Case, p trainParams, m engine.Machine) (r *trainRun, err error) {
	r = &trainRun{c: c, p: p, m: m}
	if r.a, err = c.open(); err != nil {
		return nil, err
	}
	shared, err := c.openShared()
	if err != nil {
		return nil, err
	}
	defer shared.Close()
	for i, name := range []string{"x1", "x2"} {
		if r.views[i], err = shared.floats32(name); err != nil {
			return nil, err
		}
		r.image = shared.shape(name)
	}
	if r.built, err = train.Build(p.config(r.a, r.image)); err != nil {
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

// load sets the parameters to a stored state; momentum buffers are zeros where
// no prefix for them is given.
func (r *trainRun) load(prefix, momentum string) error {
	state := models.StateDict{}
	for _, s := range r.built.Params.Specs() {
		name, isBuffer := strings.CutPrefix(s.Name, momentumPrefix)
		var err error
		switch {
		case !isBuffer:
			state[s.Name], err = r.a.dense(prefix + s.Name)
		case momentum == "":
			state[s.Name] = engine.NewTensor(make([]float32, s.Node.Size()), s.Node.Dims...)
		default:
			state[s.Name], err = r.a.dense(momentum + name)
		}
		if err != nil {
			return err
		}
	}
	if err := r.built.Params.Check(state); err != nil {
		return err
	}
	return r.program.Load(engine.Tensors(state))
}

// batch returns both views of batch i: [2N, C, H, W].
func (r *trainRun) batch(i int) *tensor.Dense {
	n := op.Dims(r.image[1:]...).Size()
	data := append(append([]float32(nil), r.views[0][i*n:(i+1)*n]...), r.views[1][i*n:(i+1)*n]...)
	return engine.NewTensor(data, append([]int{2 * r.image[1]}, r.image[2:]...)...)
}

// result is what a step returns.
type result struct {
	loss  float64
	grads map[string][]float64
}

// step runs step number t, counted from 1.
func (r *trainRun) step(t int) (result, error) {
	in := r.built.Inputs(train.Step{Index: t - 1, Total: r.p.Steps})
	in[train.InputViews] = r.batch((t - 1) % r.p.Batches)
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
		if strings.HasPrefix(s.Name, momentumPrefix) {
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

// checkFeatures compares the embeddings of the test images in evaluation mode.
// Those images lie beside the cases; a folder without them is not checked here.
func (r *trainRun) checkFeatures(extra trainCase) error {
	limit := extra.Eval["eval_features"].MaxAbs
	images, err := openArrays(filepath.Join(r.c.dir, "shared_labelled.npz"))
	if limit == 0 || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer images.Close()
	test, err := images.dense("x_test")
	if err != nil {
		return err
	}
	params := models.NewParams(op.NewGraph())
	x := params.Graph.Input("x", op.Float32, op.Batched(test.Shape()...))
	encoder := r.p.config(r.a, r.image).Objective.(objective.SimCLR).Encoder
	h := encoder.Forward(models.NewScope(params, false).Sub(objective.NameEncoder), x)
	if err := params.Graph.Err(); err != nil {
		return err
	}
	program, err := r.m.Compile(engine.Function{Outputs: []export.Output{{Name: "h", Node: h}}})
	if err != nil {
		return err
	}
	defer program.Close()
	if err := program.Load(r.program.State()); err != nil {
		return err
	}
	out, err := program.Run(context.Background(), engine.Tensors{"x": test})
	if err != nil {
		return err
	}
	return checkWithin(r.a, "eval_features", float64s(out["h"]), limit, 0)
}
