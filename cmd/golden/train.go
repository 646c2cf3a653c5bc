package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
)

// trainCase holds the keys that only training cases have.
type trainCase struct {
	LossTolerance []float64 `json:"loss_tolerance_per_step"`
	Binding       int       `json:"binding_steps"`
	Restarts      map[string]struct {
		Start     string    `json:"start_state"`
		First     int       `json:"first_step"`
		Steps     int       `json:"steps"`
		Loss      []float64 `json:"loss_f64"`
		Tolerance []float64 `json:"loss_tolerance"`
	}
	States map[string]struct {
		Recommended stateTolerance
	} `json:"state_tolerance"`
	Eval map[string]struct {
		MaxAbs float64 `json:"recommended_max_abs"`
	} `json:"eval_tolerance"`
}

type stateTolerance struct {
	Params  float64 `json:"params_max_abs"`
	RelL2   float64 `json:"params_rel_l2"`
	Buffers float64 `json:"buffers_max_abs"`
}

// trainParams are the parameters of a training case.
type trainParams struct {
	Steps   int
	Batches int `json:"distinct_batches"`
	Sizes   struct {
		Widths, Blocks []int
		ProjHidden     int   `json:"proj_hidden"`
		ProjOut        int   `json:"proj_out"`
		AEChannels     []int `json:"ae_channels"`
		Act            string
	}
	Hyper struct {
		T       float64
		Classes int
	}
	Optimizer json.RawMessage
}

// optimizer reads the optimiser of the case and its learning rate.
func (p trainParams) optimizer() (train.Optimizer, float64, error) {
	var o struct {
		Type        string
		Rate        float64 `json:"lr"`
		Momentum    float64
		Dampening   float64
		Nesterov    bool
		Betas       [2]float64
		Eps         float64
		WeightDecay float64 `json:"weight_decay"`
	}
	if err := strict(p.Optimizer, &o); err != nil {
		return nil, 0, err
	}
	decay := optim.Decay{Rate: o.WeightDecay}
	switch o.Type {
	case "sgd":
		return optim.SGD{Momentum: o.Momentum, Dampening: o.Dampening, Nesterov: o.Nesterov, Decay: decay}, o.Rate, nil
	case "adam":
		return optim.Adam{Beta1: o.Betas[0], Beta2: o.Betas[1], Eps: o.Eps, Decay: decay}, o.Rate, nil
	}
	return nil, 0, uncovered("no optimiser %q", o.Type)
}

func runTrain(c *Case, m engine.Machine) error {
	method, ok := trainMethods[c.Op]
	if !ok {
		return uncovered("no such method yet")
	}
	var p trainParams
	if err := c.params(&p); err != nil {
		return err
	}
	var extra trainCase
	if err := json.Unmarshal(c.raw, &extra); err != nil {
		return err
	}
	r, err := newTrainRun(c, p, method, m)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.firstStep(extra); err != nil {
		return fmt.Errorf("step 1: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(extra.Restarts)) {
		if err := r.restart(name, extra); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := r.free(extra); err != nil {
		return fmt.Errorf("free run: %w", err)
	}
	return nil
}

// config returns the training step that the case describes, from the parts that
// `sslrt pretrain` uses.
func (r *trainRun) config() (train.Config, error) {
	optimizer, rate, err := r.p.optimizer()
	if err != nil {
		return train.Config{}, err
	}
	o, err := r.method.objective(r)
	return train.Config{Objective: o, Optimizer: optimizer, Rate: func(train.Step) float64 { return rate },
		BatchSize: r.image[1], Image: r.image[2:], Gradients: true}, err
}

// firstStep checks loss, gradients and new state of one step from the initial
// weights.
func (r *trainRun) firstStep(extra trainCase) error {
	if err := r.load("step00/", ""); err != nil {
		return err
	}
	out, err := r.step(1)
	if err != nil {
		return err
	}
	losses, err := r.a.floats("loss_f64")
	if err != nil {
		return err
	}
	if err := within("loss", out.loss, losses[0], extra.LossTolerance[0]); err != nil {
		return err
	}
	if err := r.checkGradients("grad_step1/", out.grads); err != nil {
		return err
	}
	return r.checkState("step01", extra)
}

// restart runs on from a stored state and the optimiser's.
func (r *trainRun) restart(name string, extra trainCase) error {
	s := extra.Restarts[name]
	if err := r.load(strings.TrimSuffix(s.Start, "*"), name+"/opt_"); err != nil {
		return err
	}
	for i := range s.Steps {
		out, err := r.step(s.First + i)
		if err != nil {
			return err
		}
		if err := within(fmt.Sprintf("loss of step %d", s.First+i), out.loss, s.Loss[i], s.Tolerance[i]); err != nil {
			return err
		}
		if i == 0 {
			if err := r.checkGradients(name+"/grad_first/", out.grads); err != nil {
				return err
			}
		}
	}
	return nil
}

// free runs the binding steps from the initial weights.
func (r *trainRun) free(extra trainCase) error {
	if err := r.load("step00/", ""); err != nil {
		return err
	}
	want, err := r.a.floats("loss_f64")
	if err != nil {
		return err
	}
	for t := 1; t <= extra.Binding; t++ {
		out, err := r.step(t)
		if err != nil {
			return err
		}
		if err := within(fmt.Sprintf("loss of step %d", t), out.loss, want[t-1], extra.LossTolerance[t-1]); err != nil {
			return err
		}
		if name := fmt.Sprintf("step%02d", t); extra.States[name].Recommended.Params > 0 {
			if err := r.checkState(name, extra); err != nil {
				return err
			}
		}
	}
	if extra.Binding == r.p.Steps {
		return r.checkEvaluation(extra)
	}
	return nil
}

func within(what string, got, want, tolerance float64) error {
	if d := math.Abs(got - want); !(d <= tolerance) {
		return fmt.Errorf("%s: got %.9g, want %.9g (%.3g times the tolerance)", what, got, want, d/tolerance)
	}
	return nil
}
