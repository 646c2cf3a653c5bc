package finetune

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"time"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
)

// saveEvery is the longest time between two checkpoints.
const saveEvery = 60 * time.Second

// Plan says what a run will do.
type Plan struct {
	Dir           string
	Engine        string // name of the machine
	EngineWhy     string
	Weights       int // trainable values
	Images        int
	StepsPerEpoch int
	Start         CheckpointInfo // where it begins; zero without --resume
}

// Progress is one step's report.
type Progress struct {
	Step, Total int
	Epoch       int // 1-based
	Loss        float64
	ImagesPerS  float64 // since the start of this process
	DataWait    float64 // share of the time spent waiting for data
	Left        time.Duration
}

// EpochReport sums up an epoch.
type EpochReport struct {
	Epoch   int                // 1-based
	Metrics map[string]float64 // means over the epoch's steps, and what was measured after it
}

// Events tell how a run goes. A nil function is not called.
type Events struct {
	Started func(Plan)
	Step    func(Progress)
	Epoch   func(EpochReport)
	Warn    func(string)
}

// Result is what a finished run leaves.
type Result struct {
	Dir        string
	Steps      int
	Metrics    map[string]float64 // of the last epoch
	Seconds    float64
	ImagesPerS float64
	DataWait   float64
}

// Pretrain trains until the run's epochs are done, from its newest checkpoint if
// there is one. When ctx ends, the step under way is finished, a checkpoint is
// written, and the error wraps the context's.
func Pretrain(ctx context.Context, run *Run, src augment.Source, ev Events) (*Result, error) {
	t, err := newTrainer(run, src, ev)
	if err != nil {
		return nil, err
	}
	defer t.close()
	return t.train(ctx)
}

type trainer struct {
	*Run
	src     augment.Source
	ev      Events
	step    *train.Program
	program engine.Program
	monitor *monitor // nil without labels
	record  *recorder
	unlock  func()
	perEp   int
	at      CheckpointInfo

	started, saved time.Time
	done           int // steps of this process
	waited         time.Duration
	reported       map[int]bool // images that could not be read
}

func newTrainer(run *Run, src augment.Source, ev Events) (*trainer, error) {
	c := &run.Config
	t := &trainer{Run: run, src: src, ev: ev, perEp: src.Len() / c.BatchSize, reported: map[int]bool{}}
	unlock, err := run.lock()
	if err != nil {
		return nil, err
	}
	t.unlock = unlock
	if t.step, err = c.Step(t.perEp); err != nil {
		return nil, errors.Join(err, t.close())
	}
	machine, why, err := c.Machine()
	if err == nil {
		t.program, err = machine.Compile(t.step.Function)
	}
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	state, info, damage, err := run.loadCheckpoint()
	if damage != nil && ev.Warn != nil {
		ev.Warn(fmt.Sprintf("warning: the newest checkpoint cannot be used, going on from the one before it, step %d: %v", info.Step, damage))
	}
	if errors.Is(err, fs.ErrNotExist) {
		state, _, err = c.initialState(t.step.Params)
	}
	if err == nil {
		err = t.step.Params.Check(state)
	}
	if err == nil {
		err = t.program.Load(engine.Tensors(state))
	}
	if err == nil && len(src.Classes()) > 1 && c.Epochs > 0 {
		t.monitor, err = newMonitor(machine, c, src)
	}
	if err == nil && info.Step < c.Epochs*t.perEp {
		t.record, err = newRecorder(run)
	}
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	t.at = info
	t.at.Total = c.Epochs * t.perEp
	weights := 0
	for _, s := range t.step.Params.Trainable() {
		weights += s.Node.Size()
	}
	if ev.Started != nil {
		ev.Started(Plan{Dir: run.Dir, Engine: machine.Name(), EngineWhy: why, Weights: weights,
			Images: src.Len(), StepsPerEpoch: t.perEp, Start: info})
	}
	return t, nil
}

// close ends what the trainer holds, the last first.
func (t *trainer) close() error {
	var errs []error
	if t.record != nil {
		errs = append(errs, t.record.Close())
	}
	if t.monitor != nil {
		errs = append(errs, t.monitor.Close())
	}
	if t.program != nil {
		errs = append(errs, t.program.Close())
	}
	t.unlock()
	return errors.Join(errs...)
}

func (t *trainer) train(ctx context.Context) (*Result, error) {
	t.started = time.Now()
	t.saved = t.started
	res := &Result{Dir: t.Dir}
	for t.at.Step < t.at.Total {
		metrics, err := t.epoch(ctx)
		if err != nil {
			return nil, t.stopped(ctx, err)
		}
		if t.monitor != nil {
			accuracy, err := t.monitor.measure(ctx, t.program.State())
			if err != nil {
				return nil, t.stopped(ctx, err)
			}
			metrics["knn"] = accuracy
		}
		// In this order a run killed between the two records an epoch twice, which
		// readers allow for, and never loses it.
		if err := t.record.epoch(t.at.Step, t.at.Epoch, metrics); err != nil {
			return nil, err
		}
		if err := t.save(); err != nil {
			return nil, err
		}
		t.checkHealth(metrics)
		if t.ev.Epoch != nil {
			t.ev.Epoch(EpochReport{Epoch: t.at.Epoch, Metrics: metrics})
		}
		res.Metrics = metrics
	}
	if t.at.Step == 0 { // no epochs: the initial weights are the run's
		if err := t.save(); err != nil {
			return nil, err
		}
	}
	if t.at.Step > 0 {
		if err := t.PlotMetrics(); err != nil {
			return nil, err
		}
	}
	res.Steps = t.at.Step
	p := t.progress(0)
	res.Seconds, res.ImagesPerS, res.DataWait = time.Since(t.started).Seconds(), p.ImagesPerS, p.DataWait
	return res, nil
}

// stopped saves what is done when a run ends early.
func (t *trainer) stopped(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err // the newest checkpoint is the last good one
	}
	if err := t.save(); err != nil {
		return err
	}
	return fmt.Errorf("finetune: stopped at step %d of %d, the checkpoint is written: %w", t.at.Step, t.at.Total, context.Cause(ctx))
}

// epoch trains to the end of the epoch that the next step belongs to, and returns
// the means of its metrics.
func (t *trainer) epoch(ctx context.Context) (map[string]float64, error) {
	c := &t.Config
	epoch := t.at.Step / t.perEp
	t.at.Epoch = epoch + 1
	opt := augment.LoaderOptions{
		BatchSize: c.BatchSize, Views: 1, Policy: c.Policy(), Preprocess: c.Preprocess(),
		Seed: c.Seed, Epoch: epoch, StartBatch: t.at.Step % t.perEp,
		Shuffle: true, DropLast: true, Workers: c.Workers,
	}
	if o, err := c.Objective(); err == nil {
		opt.Views = o.Views()
	}
	loader, err := augment.NewLoader(t.src, opt)
	if err != nil {
		return nil, err
	}
	defer loader.Close()
	sums, n := map[string]float64{}, 0.0
	var last engine.Tensors
	for {
		asked := time.Now()
		b, err := loader.Next(ctx)
		t.waited += time.Since(asked)
		if errors.Is(err, io.EOF) {
			for k := range sums {
				sums[k] /= n
			}
			if h := last["embedding"]; h != nil {
				sums[metricRank] = EffectiveRank(h.Float32s(), h.Shape()[1])
			}
			return sums, nil
		}
		if err != nil {
			return nil, err
		}
		t.reportSkipped(b.Skipped)
		in, err := t.inputs(b)
		loader.Release(b)
		if err != nil {
			return nil, err
		}
		// A step is not interrupted: ctx ends training between steps.
		out, err := t.program.Run(context.WithoutCancel(ctx), in)
		if err != nil {
			return nil, err
		}
		last = out
		loss := float64(out[train.OutputLoss].Float32s()[0])
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return nil, fmt.Errorf("finetune: the loss is %g at step %d: %s; the newest checkpoint is from before; try a lower learning rate (it is %g)",
				loss, t.at.Step+1, t.diagnose(ctx, in), c.LR)
		}
		for name, v := range out {
			if v.Shape().TotalSize() == 1 {
				sums[name] += float64(v.Float32s()[0])
			}
		}
		n++
		t.at.Step++
		t.done++
		if t.ev.Step != nil {
			t.ev.Step(t.progress(loss))
		}
		if time.Since(t.saved) > saveEvery {
			if err := t.save(); err != nil {
				return nil, err
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// inputs returns what the next step takes for a batch.
func (t *trainer) inputs(b *augment.Batch) (engine.Tensors, error) {
	in := t.step.Inputs(train.Step{Index: t.at.Step, Total: t.at.Total, Seed: t.Config.Seed})
	return in, addBatch(in, t.step, b, &t.Config)
}

// addBatch adds the views, and the labels where the step takes them, to its inputs.
func addBatch(in engine.Tensors, step *train.Program, b *augment.Batch, c *Config) error {
	n := len(b.Index)
	views := make([]float32, 0, len(b.Views)*n*c.Channels*c.ImageSize*c.ImageSize)
	for _, v := range b.Views {
		views = append(views, v...)
	}
	in[train.InputViews] = engine.NewTensor(views, len(b.Views)*n, c.Channels, c.ImageSize, c.ImageSize)
	if step.Labels {
		labels := make([]int64, n)
		for i, l := range b.Labels {
			if l < 0 {
				return fmt.Errorf("finetune: method %s needs labels, image number %d has none", c.Method, b.Index[i])
			}
			labels[i] = int64(l)
		}
		in[train.InputLabels] = engine.NewTensor(labels, n)
	}
	return nil
}

func (t *trainer) progress(loss float64) Progress {
	spent := time.Since(t.started)
	p := Progress{Step: t.at.Step, Total: t.at.Total, Epoch: t.at.Epoch, Loss: loss}
	if t.done > 0 && spent > 0 {
		p.ImagesPerS = float64(t.done*t.Config.BatchSize) / spent.Seconds()
		p.DataWait = t.waited.Seconds() / spent.Seconds()
		p.Left = spent / time.Duration(t.done) * time.Duration(t.at.Total-t.at.Step)
	}
	return p
}

func (t *trainer) save() error {
	t.saved = time.Now()
	return t.SaveCheckpoint(models.StateDict(t.program.State()), t.at)
}

// reportSkipped warns once of each image that could not be read.
func (t *trainer) reportSkipped(skipped []augment.SkippedImage) {
	for _, s := range skipped {
		if !t.reported[s.Index] && t.ev.Warn != nil {
			t.ev.Warn(fmt.Sprintf("skipped: %v", s.Err))
		}
		t.reported[s.Index] = true
	}
}
