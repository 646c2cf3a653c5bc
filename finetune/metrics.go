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
	lines, err := r.readMetrics()
	if err != nil || len(lines) == 0 {
		return nil, err
	}
	return lines[len(lines)-1], nil
}

// readMetrics reads the lines of metrics.jsonl, none when the file is not there.
func (r *Run) readMetrics() ([]map[string]float64, error) {
	data, err := os.ReadFile(r.path(fileMetrics))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("finetune: read metrics: %w", err)
	}
	lines, err := parseMetrics(data)
	if err != nil {
		return nil, fmt.Errorf("finetune: read metrics %s:%w", r.path(fileMetrics), err)
	}
	return lines, nil
}

// parseMetrics reads one JSON object a line. A last line without its end is left
// out: the run was killed while it wrote. The error begins with the line's number.
func parseMetrics(data []byte) ([]map[string]float64, error) {
	var lines []map[string]float64
	for i, line := range bytes.Split(data[:wholeLines(data)], []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var m map[string]float64
		if err := json.Unmarshal(line, &m); err != nil {
			return nil, fmt.Errorf("%d: %w", i+1, err)
		}
		lines = append(lines, m)
	}
	return lines, nil
}

// wholeLines returns the number of bytes up to the end of the last whole line.
func wholeLines(data []byte) int { return bytes.LastIndexByte(data, '\n') + 1 }

// mendMetrics cuts off what a killed run left behind its checkpoint: half a line, and
// epochs that ended after step recorded, which come again.
func (r *Run) mendMetrics(recorded int) error {
	path := r.path(fileMetrics)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finetune: mend metrics: %w", err)
	}
	keep := 0
	for line := range bytes.Lines(data[:wholeLines(data)]) {
		var m struct {
			Step int `json:"step"`
		}
		if json.Unmarshal(line, &m) == nil && m.Step > recorded {
			break
		}
		keep += len(line)
	}
	if keep < len(data) {
		if err := os.Truncate(path, int64(keep)); err != nil {
			return fmt.Errorf("finetune: mend metrics: %w", err)
		}
	}
	return nil
}
