package finetune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"time"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
)

const (
	// saveEvery is the longest time between two checkpoints.
	saveEvery = 60 * time.Second

	// rankEvery is the time between two measurements of the effective rank within
	// an epoch: one takes as long as some steps of a small network.
	rankEvery = 30 * time.Second
)

// trainer trains a run. All that decides how it goes on is in at and in the
// program's state, which a checkpoint holds.
type trainer struct {
	*Run
	src     augment.Source // to be measured on
	learn   augment.Source // the same images as they are trained on
	valid   augment.Source // labelled images held back; may be nil
	ev      Events
	step    *train.Program
	program engine.Program
	monitor *monitor // nil without labels
	record  *recorder
	unlock  func()
	perEp   int // steps
	from    int // the step where this process began
	at      CheckpointInfo

	pace          *pace
	saved, ranked time.Duration  // when, by the clock of pace
	counted       time.Duration  // the same, of the cost
	rank          float64        // as it was measured last
	last          engine.Tensors // outputs of the last batch
	views         *tensor.Dense  // of that batch
	reported      map[int]bool   // images that could not be read
}

func newTrainer(run *Run, src augment.Source, ev Events) (*trainer, error) {
	c := &run.Config
	src, learn, valid, err := c.sources(src)
	if err != nil {
		return nil, err
	}
	t := &trainer{Run: run, src: src, learn: learn, valid: valid, ev: ev, perEp: c.stepsPerEpoch(src.Len()), rank: math.NaN(), reported: map[int]bool{}}
	unlock, err := run.lock()
	if err != nil {
		return nil, err
	}
	t.unlock = unlock
	if err := errors.Join(run.removeLeftovers(), t.prepare()); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// prepare compiles the step, finds where the run stands and begins its records.
func (t *trainer) prepare() error {
	c := &t.Config
	machine, why, err := c.Machine()
	if err != nil {
		return err
	}
	if t.step, err = c.Step(t.perEp); err != nil {
		return err
	}
	if t.program, err = t.step.Compile(machine); err != nil {
		return err
	}
	state, info, damage, err := t.loadCheckpoint()
	if damage != nil {
		t.warn("warning: the newest checkpoint cannot be used, going on from the one before it, step %d: %v", info.Step, damage)
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
	if err != nil {
		return err
	}
	if len(t.src.Classes()) > 1 && c.Epochs > 0 {
		if t.monitor, err = newMonitor(machine, c, t.src, t.valid); err != nil {
			return err
		}
	}
	t.at, t.from = info, info.Step
	if n := t.src.Len(); info.Images > 0 && info.Images != n {
		t.warn("warning: the data hold %d images, when the run was stopped there were %d: it goes on, and is no longer the run that it would have been", n, info.Images)
	}
	t.at.Images = t.src.Len()
	t.at.Total = c.Epochs * t.perEp
	t.at.best.Metric = c.BestBy
	if !t.finished() {
		if t.record, err = newRecorder(t.Run, t.at.recorded(t.perEp)); err != nil {
			return err
		}
	}
	if chunked, ok := t.program.(*train.ChunkedStep); ok {
		chunked.Progress = t.ev.Chunk
	}
	weights := 0
	for _, s := range t.step.Params.Trainable() {
		weights += s.Node.Size()
	}
	if t.ev.Started != nil {
		t.ev.Started(Plan{Dir: t.Dir, Engine: machine.Name(), EngineWhy: why, Weights: weights,
			Images: t.src.Len(), StepsPerEpoch: t.perEp, Statistics: len(t.step.Statistics) > 0, Start: info})
	}
	return nil
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

func (t *trainer) warn(format string, args ...any) {
	if t.ev.Warn != nil {
		t.ev.Warn(fmt.Sprintf(format, args...))
	}
}

// finished says whether nothing is left to do: the steps are done, or the epochs
// that Patience allows have brought nothing better.
func (t *trainer) finished() bool {
	return !t.at.endsEpoch(t.perEp) && (t.at.Step >= t.at.Total || t.stale())
}

// stale says whether a plateau ends the run. It is known after an epoch alone.
func (t *trainer) stale() bool {
	p := t.Config.Patience
	return p > 0 && t.at.Step%t.perEp == 0 && t.at.Epoch-t.at.best.Epoch >= p && t.at.Epoch > 0
}

func (t *trainer) train(ctx context.Context) (*Result, error) {
	t.pace = newPace(sinceStart)
	t.saved, t.ranked, t.counted = t.pace.started, t.pace.started, t.pace.started
	var metrics map[string]float64
	for !t.finished() {
		if !t.at.endsEpoch(t.perEp) { // else only its end was cut off
			if err := t.epoch(ctx); err != nil {
				return nil, t.stopped(ctx, err)
			}
		}
		var err error
		if metrics, err = t.endEpoch(ctx); err != nil {
			return nil, t.stopped(ctx, err)
		}
	}
	if t.at.Step == 0 { // no epochs: the initial weights are the run's
		if err := t.save(false); err != nil {
			return nil, err
		}
	} else if err := t.PlotMetrics(); err != nil {
		return nil, err
	}
	return t.result(metrics)
}

func (t *trainer) result(metrics map[string]float64) (*Result, error) {
	if metrics == nil && t.at.Step > 0 { // finished before
		var err error
		if metrics, err = t.LastMetrics(); err != nil {
			return nil, err
		}
		delete(metrics, "epoch")
		delete(metrics, "step")
	}
	p := t.progress(0)
	return &Result{Dir: t.Dir, Steps: t.at.Step, Trained: t.at.Step - t.from, Epochs: t.at.Epoch, Metrics: metrics,
		Best: t.at.best, Stopped: t.at.Step < t.at.Total, Images: t.src.Len(), Skipped: len(t.reported),
		Seconds: (t.pace.now() - t.pace.started).Seconds(), ImagesPerS: p.ImagesPerS, DataWait: p.DataWait}, nil
}

// badLoss is a loss that is NaN or infinite: the state behind it is not worth saving.
type badLoss struct{ error }

// stopped saves what is done when a run ends early.
func (t *trainer) stopped(ctx context.Context, err error) error {
	var bad badLoss
	if errors.As(err, &bad) {
		return err // the newest checkpoint is the last good one
	}
	saveErr := t.save(false)
	if saveErr == nil {
		saveErr = t.addCost()
	}
	if saveErr != nil {
		if ctx.Err() == nil {
			return err // perhaps the same full disk
		}
		return saveErr
	}
	if ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("finetune: stopped at step %d of %d, the checkpoint is written: %w", t.at.Step, t.at.Total, context.Cause(ctx))
}

// epoch trains to the end of the epoch that the next step belongs to, and adds up its
// metrics.
func (t *trainer) epoch(ctx context.Context) error {
	done := t.at.Step / t.perEp
	t.at.Epoch = done + 1
	loader, err := t.Config.loader(t.learn, t.step, done, t.at.Step%t.perEp*t.Config.Accumulate+t.at.Batch)
	if err != nil {
		return err
	}
	defer loader.Close()
	for {
		var b *augment.Batch
		if err := t.pace.wait(func() (err error) { b, err = loader.Next(ctx); return err }); err != nil {
			return err
		}
		t.reportSkipped(b.Skipped)
		in, err := t.inputs(b)
		if err != nil {
			return err
		}
		if err := t.batch(ctx, in); err != nil {
			return err
		}
		// The end of the epoch comes before everything that may stop the run. Its last
		// views are shown, and stay.
		if t.at.endsEpoch(t.perEp) {
			t.measureRank()
			if !math.IsNaN(t.rank) {
				t.at.sums.add(metricRank, t.rank)
			}
			return nil
		}
		loader.Release(b)
		if t.pace.now()-t.saved > saveEvery {
			if err := t.save(false); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// batch runs the step's program once.
func (t *trainer) batch(ctx context.Context, in engine.Tensors) error {
	c := &t.Config
	// A run of the program is not interrupted: ctx ends training between two. A step in
	// chunks takes long, and leaves the state alone when it is interrupted.
	running := context.WithoutCancel(ctx)
	if t.step.Chunked() {
		running = ctx
	}
	out, err := t.program.Run(running, in)
	if err != nil {
		return err
	}
	loss := float64(out[train.OutputLoss].Float32s()[0])
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return badLoss{fmt.Errorf("finetune: the loss is %g at step %d: %s; what is saved is from before; try a lower learning rate (it is %g)",
			loss, t.at.Step+1, t.diagnose(ctx, in), c.LR)}
	}
	t.last, t.views = out, in[train.InputViews]
	t.at.Batch++
	complete := t.at.Batch == c.Accumulate
	if complete {
		t.at.Step, t.at.Batch = t.at.Step+1, 0
	}
	if t.at.sums == nil {
		t.at.sums = sums{}
	}
	for name, v := range out {
		// The norm of the gradients is that of a step: of all its batches.
		if v.Shape().TotalSize() == 1 && (complete || name != train.MetricGradNorm) {
			t.at.sums.add(name, float64(v.Float32s()[0]))
		}
	}
	if t.at.start == nil {
		t.measureRank()
		t.at.start = maps.Clone(t.at.sums)
		if !math.IsNaN(t.rank) {
			t.at.start.add(metricRank, t.rank)
		}
	}
	t.pace.batches++
	if t.ev.Step != nil {
		if t.pace.now()-t.ranked > rankEvery {
			t.measureRank()
		}
		t.ev.Step(t.progress(loss))
	}
	return nil
}

// measureRank measures the effective rank of the last batch's embeddings.
func (t *trainer) measureRank() {
	if h := t.last[train.MetricEmbedding]; h != nil {
		t.rank = EffectiveRank(h.Float32s(), h.Shape()[1])
	}
	t.ranked = t.pace.now()
}

// endEpoch measures, records and saves what an epoch brought.
func (t *trainer) endEpoch(ctx context.Context) (map[string]float64, error) {
	if t.monitor != nil && t.at.sums[t.monitor.metric()].n == 0 {
		accuracy, err := t.monitor.measure(ctx, engine.Tensors(trained(models.StateDict(t.program.State()))))
		if err != nil {
			return nil, err
		}
		t.at.sums.add(t.monitor.metric(), accuracy)
	}
	metrics := t.at.sums.means()
	// In this order a run killed between the two records an epoch twice, the second
	// time over the first, and never loses it.
	if err := t.record.epoch(t.at.Step, t.at.Epoch, metrics); err != nil {
		return nil, err
	}
	if err := t.addCost(); err != nil {
		return nil, err
	}
	if err := t.show(); err != nil {
		return nil, err
	}
	before := t.at
	best := t.at.best.update(t.at.Epoch, metrics)
	t.at.sums = nil
	if err := t.save(best); err != nil {
		t.at = before // what is saved after all has this end still before it
		return nil, err
	}
	t.checkHealth(metrics)
	if t.ev.Epoch != nil {
		t.ev.Epoch(EpochReport{Epoch: t.at.Epoch, Metrics: metrics})
	}
	return metrics, nil
}

// inputs returns what the next batch takes.
func (t *trainer) inputs(b *augment.Batch) (engine.Tensors, error) {
	in := t.step.Inputs(train.Step{Index: t.at.Step, Total: t.at.Total, Batch: t.at.Batch, Seed: t.Config.Seed})
	return in, addBatch(in, t.step, b, &t.Config)
}

func (t *trainer) progress(loss float64) Progress {
	c := &t.Config
	p := Progress{Step: t.at.Step, Total: t.at.Total, Epoch: t.at.Epoch, Loss: loss, Metrics: t.at.sums.means()}
	if !math.IsNaN(t.rank) {
		p.Metrics[metricRank] = t.rank
	}
	p.ImagesPerS, p.DataWait, p.Left = t.pace.report(c.BatchSize, (t.at.Total-t.at.Step)*c.Accumulate-t.at.Batch)
	return p
}

// save writes a checkpoint, which may be the best one.
func (t *trainer) save(best bool) error {
	t.saved = t.pace.now()
	return t.saveCheckpoint(models.StateDict(t.program.State()), t.at, best)
}

// reportSkipped warns once of each image that could not be read.
func (t *trainer) reportSkipped(skipped []augment.SkippedImage) {
	for _, s := range skipped {
		if !t.reported[s.Index] {
			t.warn("skipped: %v", s.Err)
		}
		t.reported[s.Index] = true
	}
}
