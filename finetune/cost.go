package finetune

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Cost is what a run took so far, over all its starts. It is kept apart from the
// metrics, which are the same bits however often a run was interrupted.
type Cost struct {
	Seconds   float64 `json:"seconds"`    // of training, what is measured after epochs included; 0: unknown
	PeakBytes int64   `json:"peak_bytes"` // largest resident size of a process that trained it; 0: unknown
}

// Cost returns what the run took, zeros if that was not recorded. After a kill, what
// followed the last whole epoch is missing.
func (r *Run) Cost() (Cost, error) {
	var c Cost
	data, err := os.ReadFile(r.path(fileCost))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("finetune: read cost: %w", err)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return Cost{}, fmt.Errorf("finetune: read cost %s: %w (remove the file: what training took is unknown then)", r.path(fileCost), err)
	}
	return c, nil
}

// addCost records what the run took since it was called last, or since the training
// began.
func (t *trainer) addCost() error {
	c, err := t.Cost()
	if err != nil {
		t.warn("warning: what training took is counted anew: %v", err)
	}
	now := t.pace.now()
	c.Seconds += (now - t.counted).Seconds()
	c.PeakBytes = max(c.PeakBytes, peakMemory())
	data, err := json.Marshal(c)
	if err == nil {
		err = writeFile(t.path(fileCost), append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("finetune: record cost: %w", err)
	}
	t.counted = now
	return nil
}
