package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
)

// The formulas of warm-ups with a cosine, in the words of the cases.
const (
	warmupFrom0    = "t<W: base*t/W; else min+(base-min)/2*(1+cos(pi*(t-W)/(T-W)))"
	warmupFrom1    = "t<W: base*(t+1)/W; else min+(base-min)/2*(1+cos(pi*(t-W)/(T-W)))"
	warmupEndsLow  = "t<W: base*(t+1)/W; else min+(base-min)/2*(1+cos(pi*(t-W+1)/(T-W)))"
	scalingFormula = "base_per_256*batch/256 ; sqrt form 0.075*sqrt(batch)"
)

// scheduleParams are the hyper-parameters of all schedules.
type scheduleParams struct {
	Base        float64
	WarmupSteps int     `json:"warmup_steps"`
	Total       int     `json:"total_steps"`
	Min         float64 `json:"min_lr"`
	Formula     string
	Period      int     `json:"T_max"`
	AnnealedMin float64 `json:"eta_min"`
	StartFactor float64 `json:"start_factor"`
	Warmup      int
	Milestones  []int
	Gamma       float64
	StepSize    int `json:"step_size"`
	Batch       int
	BasePer256  float64 `json:"base_per_256"`
}

// schedule returns the schedule and the number of steps of the run it is for.
func (p scheduleParams) schedule() (optim.Schedule, int, error) {
	cosine := optim.Cosine{Base: p.Base, Min: p.Min}
	switch {
	case p.Formula == warmupFrom0:
		return optim.Ramp{Steps: p.WarmupSteps, Then: cosine}, p.Total, nil
	case p.Formula == warmupFrom1:
		return optim.Warmup{Steps: p.WarmupSteps, Then: cosine}, p.Total, nil
	case p.Formula == warmupEndsLow:
		cosine.Inclusive = true
		return optim.Warmup{Steps: p.WarmupSteps, Then: cosine}, p.Total, nil
	case p.Formula != "":
		return nil, 0, uncovered("no schedule %q", p.Formula)
	case p.Milestones != nil:
		return optim.Milestones{Base: p.Base, Gamma: p.Gamma, Steps: p.Milestones}, 0, nil
	case p.Gamma != 0: // torch's StepLR, ExponentialLR
		return optim.Exponential{Base: p.Base, Gamma: p.Gamma, Every: p.StepSize}, 0, nil
	case p.Period > 0: // torch's CosineAnnealingLR, behind a LinearLR or not
		cosine.Min = p.AnnealedMin
		if p.StartFactor == 0 {
			return cosine, p.Period, nil
		}
		return optim.Ramp{Steps: p.Warmup, From: p.StartFactor, Then: cosine}, p.Warmup + p.Period, nil
	}
	return nil, 0, uncovered("no schedule with these parameters")
}

func runSchedule(c *Case) error {
	var p scheduleParams
	if err := strict(c.Params, &p); err != nil {
		return err
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
	var got []float64
	if p.Formula == scalingFormula {
		got = []float64{optim.LinearScaling(p.BasePer256, p.Batch), optim.SqrtScaling(0.075, p.Batch)}
	} else {
		schedule, total, err := p.schedule()
		if err != nil {
			return err
		}
		for t := range want {
			got = append(got, schedule.Rate(train.Step{Index: t, Total: total}))
		}
	}
	// The rule says 1e-12 relative in float64, which the rate is computed in.
	if err := checkWithin(a, "lr", got, 1e-15, 1e-12); err != nil {
		return fmt.Errorf("schedule: %w", err)
	}
	return nil
}
