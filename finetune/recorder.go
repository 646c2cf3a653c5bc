package finetune

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/tensorboard"
)

// recorder writes a run's metrics, as lines of metrics.jsonl and as TensorBoard
// events. Each start of a run has its own.
type recorder struct {
	run    *Run
	events *tensorboard.Writer
	begun  bool // an epoch was recorded
}

// newRecorder begins an event file in the run directory, of a run that has recorded
// metrics up to a step. The first file of a run gets the preview of augmented pairs,
// where there is one.
func newRecorder(run *Run, recorded int) (*recorder, error) {
	if err := run.mendMetrics(recorded); err != nil {
		return nil, err
	}
	earlier, err := run.glob(tensorboard.Prefix + "*")
	if err != nil {
		return nil, err
	}
	w, err := tensorboard.Create(run.Dir)
	if err != nil {
		return nil, fmt.Errorf("finetune: record metrics: %w", err)
	}
	r := &recorder{run: run, events: w}
	if len(earlier) == 0 {
		if err := r.preview(); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return r, nil
}

func (r *recorder) preview() error {
	m, err := augment.DecodeFile(r.run.path(filePreview))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finetune: record the preview: %w", err)
	}
	return r.image(0, "pairs", m)
}

// image records a picture.
func (r *recorder) image(step int, name string, m *augment.Image) error {
	if err := errors.Join(r.events.Image(step, name, m), r.events.Flush()); err != nil {
		return fmt.Errorf("finetune: record %s: %w", name, err)
	}
	return nil
}

// epoch records the metrics of an epoch (1-based) that ended with a step. JSON has
// neither NaN nor infinity: metrics.jsonl leaves such a value out, the events have it.
func (r *recorder) epoch(step, epoch int, metrics map[string]float64) error {
	line := map[string]any{"epoch": epoch, "step": step}
	for name, v := range metrics {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			line[name] = v
		}
	}
	if err := r.run.appendMetrics(line); err != nil {
		return err
	}
	var errs []error
	if !r.begun { // a killed run may have recorded this step, and its checkpoint be older
		errs = append(errs, r.events.Restart(step))
		r.begun = true
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		errs = append(errs, r.events.Scalar(step, name, metrics[name]))
	}
	if err := errors.Join(append(errs, r.events.Flush())...); err != nil {
		return fmt.Errorf("finetune: record metrics: %w", err)
	}
	return nil
}

// Close ends the event file.
func (r *recorder) Close() error {
	if err := r.events.Close(); err != nil {
		return fmt.Errorf("finetune: record metrics: %w", err)
	}
	return nil
}
