package finetune

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models"
)

// CheckpointInfo says when a checkpoint was written.
type CheckpointInfo struct {
	Step, Total int // steps done, and of the whole run
	Epoch       int // epochs begun
}

// Keys of a checkpoint's metadata.
const (
	keyStep   = "sslrt.step"
	keyTotal  = "sslrt.total"
	keyEpoch  = "sslrt.epoch"
	keyMethod = "sslrt.method"
	keyDigest = "sslrt.sha256" // of names and values, see digest
)

// CheckpointPath returns the path of the newest checkpoint.
func (r *Run) CheckpointPath() string { return r.path(fileLast) }

// SaveCheckpoint writes all parameters, the optimiser's state included. The
// checkpoint that was the newest stays as the one before.
func (r *Run) SaveCheckpoint(state models.StateDict, info CheckpointInfo) error {
	fail := func(err error) error {
		return fmt.Errorf("finetune: save checkpoint: %w (the checkpoint before it is untouched)", err)
	}
	temp := r.path(fileLast) + ".new"
	defer os.Remove(temp)
	err := models.WriteSafetensors(temp, state, map[string]string{
		"format":  "sslrt",
		keyStep:   strconv.Itoa(info.Step),
		keyTotal:  strconv.Itoa(info.Total),
		keyEpoch:  strconv.Itoa(info.Epoch),
		keyMethod: r.Config.Method,
		keyDigest: digest(state),
	})
	if err != nil {
		return fail(err)
	}
	// Killed between the two renames, a run has no last checkpoint but the one
	// before, which LoadCheckpoint takes.
	if err := os.Rename(r.path(fileLast), r.path(fileBefore)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	if err := os.Rename(temp, r.path(fileLast)); err != nil {
		return fail(err)
	}
	return nil
}

// LoadCheckpoint reads the newest checkpoint that is whole: the last one, else the
// one before it. Without a checkpoint err wraps fs.ErrNotExist.
func (r *Run) LoadCheckpoint() (state models.StateDict, info CheckpointInfo, err error) {
	state, info, _, err = r.loadCheckpoint()
	return state, info, err
}

// loadCheckpoint is LoadCheckpoint; damage says why the last one was not taken.
func (r *Run) loadCheckpoint() (state models.StateDict, info CheckpointInfo, damage, err error) {
	state, info, damage = readCheckpoint(r.path(fileLast))
	if damage == nil {
		return state, info, nil, nil
	}
	state, info, err = readCheckpoint(r.path(fileBefore))
	if err == nil {
		return state, info, damage, nil
	}
	// A file that is there and damaged must not pass for a run without checkpoint,
	// which starts anew.
	switch lacksLast, lacksBefore := errors.Is(damage, fs.ErrNotExist), errors.Is(err, fs.ErrNotExist); {
	case lacksBefore:
		err = damage
	case !lacksLast:
		err = errors.Join(damage, err)
	}
	return nil, CheckpointInfo{}, nil, fmt.Errorf("finetune: load checkpoint: %w", err)
}

func readCheckpoint(path string) (models.StateDict, CheckpointInfo, error) {
	state, meta, err := models.ReadSafetensors(path)
	if err != nil {
		return nil, CheckpointInfo{}, err
	}
	var info CheckpointInfo
	for key, to := range map[string]*int{keyStep: &info.Step, keyTotal: &info.Total, keyEpoch: &info.Epoch} {
		if *to, err = strconv.Atoi(meta[key]); err != nil {
			return nil, CheckpointInfo{}, fmt.Errorf("%s: metadata %s is %q, want a number", path, key, meta[key])
		}
	}
	for name, v := range state {
		if v.Dtype() != tensor.Float32 {
			return nil, CheckpointInfo{}, fmt.Errorf("%s: %q is %v, want float32", path, name, v.Dtype())
		}
	}
	if want := meta[keyDigest]; want != digest(state) {
		return nil, CheckpointInfo{}, fmt.Errorf("%s: its values are not those that were written: the file is damaged", path)
	}
	return state, info, nil
}

// digest is the SHA-256 of a state dict: names, shapes and values in the order of
// the names.
func digest(state models.StateDict) string {
	h := sha256.New()
	buf := make([]byte, 0, 1<<16)
	flush := func() {
		h.Write(buf)
		buf = buf[:0]
	}
	for _, name := range state.Names() {
		t := state[name]
		fmt.Fprintf(h, "%q%v", name, []int(t.Shape()))
		for _, v := range t.Float32s() {
			if buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v)); len(buf) == cap(buf) {
				flush()
			}
		}
		flush()
	}
	return hex.EncodeToString(h.Sum(nil))
}
