package finetune

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Names in a run directory.
const (
	fileConfig  = "config.yaml"
	fileMetrics = "metrics.jsonl"
	filePreview = "preview.png"
	fileCost    = "cost.json"
	fileCurves  = "curves.png"
	fileLast    = "checkpoints/last.safetensors"
	fileBefore  = "checkpoints/before.safetensors" // the one before the last
	fileBest    = "checkpoints/best.safetensors"
	fileLatest  = "latest" // beside the runs: names the newest
)

// RunsDir is where runs are kept that are not given a directory.
const RunsDir = "runs"

// Run is a run directory: config.yaml, metrics.jsonl, cost.json, TensorBoard events, preview.png,
// curves.png and checkpoints.
type Run struct {
	Dir    string
	Config Config
}

// CreateRun makes a run directory and writes its configuration. A directory that
// holds a run already is an error.
func CreateRun(dir string, c Config) (*Run, error) {
	r := &Run{Dir: dir, Config: c}
	if err := NoRun(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(r.path(fileLast)), 0o755); err != nil {
		return nil, fmt.Errorf("finetune: create run: %w", err)
	}
	data, err := c.Marshal()
	if err != nil {
		return nil, fmt.Errorf("finetune: create run %s: %w", dir, err)
	}
	if err := r.keepONNX(); err != nil {
		return nil, err
	}
	// What makes the directory a run comes last: one that failed can be tried again.
	if err := writeFile(r.path(fileConfig), data); err != nil {
		return nil, fmt.Errorf("finetune: create run: %w", err)
	}
	if filepath.Base(filepath.Dir(filepath.Clean(dir))) == RunsDir {
		latest := filepath.Join(filepath.Dir(filepath.Clean(dir)), fileLatest)
		if err := writeFile(latest, []byte(filepath.Base(dir)+"\n")); err != nil {
			return nil, fmt.Errorf("finetune: create run: %w", err)
		}
	}
	return r, nil
}

// NoRun is the error of a directory that holds a run already.
func NoRun(dir string) error {
	r := Run{Dir: dir}
	if _, err := os.Stat(r.path(fileConfig)); err == nil {
		return fmt.Errorf("finetune: %s holds a run already: choose another directory, or go on with it by --resume", dir)
	}
	return nil
}

// OpenRun opens the run in a directory, or the newest one in RunsDir for "".
func OpenRun(dir string) (*Run, error) {
	if dir == "" {
		name, err := os.ReadFile(filepath.Join(RunsDir, fileLatest))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("finetune: there is no run in %s: train one with sslrt pretrain, or name one with --run", RunsDir)
		}
		if err != nil {
			return nil, fmt.Errorf("finetune: open run: %w", err)
		}
		dir = filepath.Join(RunsDir, strings.TrimSpace(string(name)))
	}
	r := &Run{Dir: dir}
	data, err := os.ReadFile(r.path(fileConfig))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("finetune: %s is not a run: it has no %s", dir, fileConfig)
	}
	if err != nil {
		return nil, fmt.Errorf("finetune: open run: %w", err)
	}
	if r.Config, err = ParseConfig(data); err != nil {
		return nil, fmt.Errorf("%s: %w", r.path(fileConfig), err)
	}
	if r.Config.Method == MethodImported && r.Config.Imported == nil {
		return nil, fmt.Errorf("finetune: %s: the method is %s, and there is no network under imported: import it again", r.path(fileConfig), MethodImported)
	}
	if r.Config.ImageSize > 0 && r.Config.Augment.IsZero() && len(r.Config.Views) == 0 {
		// A run from before the key: it had the default.
		if err := r.Config.resolveAugment(1); err != nil {
			return nil, fmt.Errorf("%s: %w", r.path(fileConfig), err)
		}
	}
	r.findONNX()
	return r, nil
}

func (r *Run) path(name string) string { return filepath.Join(r.Dir, filepath.FromSlash(name)) }

// appendMetrics adds a line to metrics.jsonl.
func (r *Run) appendMetrics(values map[string]any) error {
	var line bytes.Buffer
	if err := json.NewEncoder(&line).Encode(values); err != nil {
		return fmt.Errorf("finetune: write metrics: %w", err)
	}
	f, err := os.OpenFile(r.path(fileMetrics), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("finetune: write metrics: %w", err)
	}
	_, err = f.Write(line.Bytes())
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("finetune: write metrics: %w", err)
	}
	return nil
}

// removeLeftovers removes the unfinished files of a process that was killed while it
// wrote. Only the process that holds the lock may call it.
func (r *Run) removeLeftovers() error {
	var left []string
	for _, pattern := range []string{fileLast + ".new*", fileBest + ".new", "checkpoints/.best.safetensors-*",
		"." + fileConfig + "-*", "." + fileCurves + "-*", "." + fileCost + "-*", "." + filePreview + ".*"} {
		found, err := r.glob(pattern)
		if err != nil {
			return err
		}
		left = append(left, found...)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("finetune: remove an unfinished file: %w", err)
		}
	}
	return nil
}

// glob returns the paths in the run directory that match a pattern; nothing in the
// directory's own name is one.
func (r *Run) glob(pattern string) ([]string, error) {
	names, err := fs.Glob(os.DirFS(r.Dir), pattern)
	if err != nil {
		return nil, fmt.Errorf("finetune: look for %s in %s: %w", pattern, r.Dir, err)
	}
	for i, name := range names {
		names[i] = r.path(name)
	}
	return names, nil
}

// writeFile writes a whole file at once: a reader sees the old one or the new one.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
