package finetune

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// LastMetrics returns the last line of the run's metrics, nil when it has none yet.
func (r *Run) LastMetrics() (map[string]float64, error) {
	path := r.path(fileMetrics)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("finetune: read metrics: %w", err)
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	last := lines[len(lines)-1]
	if len(last) == 0 {
		return nil, nil
	}
	var m map[string]float64
	if err := json.Unmarshal(last, &m); err != nil {
		return nil, fmt.Errorf("finetune: read metrics %s:%d: %w", path, len(lines), err)
	}
	return m, nil
}
