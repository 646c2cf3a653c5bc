package finetune

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models"
)

// CheckpointInfo says when a checkpoint was written.
type CheckpointInfo struct {
	Step, Total int // steps done, and of the whole run
	Epoch       int // epochs begun
	Batch       int // batches done of the step under way, where gradients accumulate
	Images      int // that the run trains on; 0: unknown

	start   sums // metrics of the run's first batch, to compare with
	sums    sums // of the epoch under way, or of one whose end was cut off
	best    Best
	weights string // WeightsBest of that checkpoint
}

// endsEpoch says whether an epoch's steps are done and its end, measuring and
// recording, is not.
func (i CheckpointInfo) endsEpoch(stepsPerEpoch int) bool {
	return i.Step > 0 && i.Batch == 0 && i.Step%stepsPerEpoch == 0 && len(i.sums) > 0
}

// recorded is the last step that metrics may have been recorded of.
func (i CheckpointInfo) recorded(stepsPerEpoch int) int {
	if i.endsEpoch(stepsPerEpoch) {
		return i.Step - 1
	}
	return i.Step
}

// Keys of a checkpoint's metadata.
const (
	keyStep   = "sslrt.step"
	keyTotal  = "sslrt.total"
	keyEpoch  = "sslrt.epoch"
	keyBatch  = "sslrt.batch"
	keyImages = "sslrt.images"
	keyStart  = "sslrt.start"      // JSON: metric to "sum count"
	keySums   = "sslrt.epoch_sums" // the same
	keyBest   = "sslrt.best"       // JSON of a Best
	keyMethod = "sslrt.method"
	keyDigest = "sslrt.sha256" // of all else in the file, see digest
)

// CheckpointPath returns the path of the newest checkpoint.
func (r *Run) CheckpointPath() string { return r.path(fileLast) }

// SaveCheckpoint writes all parameters, the optimiser's state included. The
// checkpoint that was the newest stays as the one before.
func (r *Run) SaveCheckpoint(state models.StateDict, info CheckpointInfo) error {
	return r.saveCheckpoint(state, info, false)
}

// saveCheckpoint is SaveCheckpoint; best makes it the best one too.
func (r *Run) saveCheckpoint(state models.StateDict, info CheckpointInfo, best bool) error {
	temp := r.path(fileLast) + ".new"
	defer os.Remove(temp)
	err := r.writeCheckpoint(temp, state, info)
	if err == nil && best {
		err = r.linkBest(temp)
	}
	// Killed between the two renames, a run has no last checkpoint but the one
	// before, which LoadCheckpoint takes.
	if err == nil {
		if err = os.Rename(r.path(fileLast), r.path(fileBefore)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil {
		err = os.Rename(temp, r.path(fileLast))
	}
	if err != nil {
		return fmt.Errorf("finetune: save checkpoint: %w (the checkpoint before it is untouched)", err)
	}
	return nil
}

func (r *Run) writeCheckpoint(path string, state models.StateDict, info CheckpointInfo) error {
	start, err := json.Marshal(info.start)
	if err != nil {
		return err
	}
	epochSums, err := json.Marshal(info.sums)
	if err != nil {
		return err
	}
	best, err := json.Marshal(info.best)
	if err != nil {
		return err
	}
	meta := map[string]string{
		"format":  "sslrt",
		keyStep:   strconv.Itoa(info.Step),
		keyTotal:  strconv.Itoa(info.Total),
		keyEpoch:  strconv.Itoa(info.Epoch),
		keyBatch:  strconv.Itoa(info.Batch),
		keyImages: strconv.Itoa(info.Images),
		keyStart:  string(start),
		keySums:   string(epochSums),
		keyBest:   string(best),
		keyMethod: r.Config.Method,
	}
	meta[keyDigest] = digest(state, meta)
	return models.WriteSafetensors(path, state, meta)
}

// linkBest makes a checkpoint that was just written the best one. It is the same
// file under two names, where the file system can do that: no second copy.
func (r *Run) linkBest(path string) error {
	temp := r.path(fileBest) + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(path, temp); err != nil {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return writeFile(r.path(fileBest), data)
	}
	return os.Rename(temp, r.path(fileBest))
}

// Weights of a run.
const (
	WeightsLast = "last" // of the newest checkpoint
	WeightsBest = "best" // of the epoch that was best by Config.BestBy
)

// LoadWeights reads the checkpoint that weights name, WeightsLast for "". When there
// is none err wraps fs.ErrNotExist.
func (r *Run) LoadWeights(weights string) (models.StateDict, CheckpointInfo, error) {
	switch weights {
	case "", WeightsLast:
		return r.LoadCheckpoint()
	case WeightsBest:
		state, info, err := readCheckpoint(r.path(fileBest))
		if err != nil {
			return nil, info, fmt.Errorf("finetune: load the best checkpoint: %w", err)
		}
		info.weights = WeightsBest
		return state, info, nil
	}
	return nil, CheckpointInfo{}, fmt.Errorf("finetune: unknown weights %q: choose %s or %s", weights, WeightsLast, WeightsBest)
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
		if errors.Is(damage, fs.ErrNotExist) { // killed between the two renames of a save
			damage = nil
		}
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
	info, err := checkpointInfo(meta)
	if err != nil {
		return nil, CheckpointInfo{}, fmt.Errorf("%s: %w", path, err)
	}
	for name, v := range state {
		if v.Dtype() != tensor.Float32 {
			return nil, CheckpointInfo{}, fmt.Errorf("%s: %q is %v, want float32", path, name, v.Dtype())
		}
	}
	if meta[keyDigest] != digest(state, meta) {
		return nil, CheckpointInfo{}, fmt.Errorf("%s: its values are not those that were written: the file is damaged", path)
	}
	return state, info, nil
}

// checkpointInfo reads a checkpoint's metadata. Where gradients do not accumulate
// and no epoch is under way, their keys may be missing.
func checkpointInfo(meta map[string]string) (info CheckpointInfo, err error) {
	fail := func(key, want string) (CheckpointInfo, error) {
		return CheckpointInfo{}, fmt.Errorf("metadata %s is %q, want %s", key, meta[key], want)
	}
	for key, to := range map[string]*int{keyStep: &info.Step, keyTotal: &info.Total, keyEpoch: &info.Epoch,
		keyBatch: &info.Batch, keyImages: &info.Images} {
		if (key == keyBatch || key == keyImages) && meta[key] == "" {
			continue
		}
		if *to, err = strconv.Atoi(meta[key]); err != nil || *to < 0 {
			return fail(key, "a number from 0 up")
		}
	}
	for key, to := range map[string]*sums{keyStart: &info.start, keySums: &info.sums} {
		if *to, err = sumsOf(meta[key]); err != nil {
			return fail(key, `sums, such as {"loss":"12.5 3"}`)
		}
	}
	if info.best, err = bestOf(meta[keyBest]); err != nil {
		return fail(keyBest, "a JSON object")
	}
	return info, nil
}

// digest is the SHA-256 of a checkpoint: its metadata but for the digest itself, and
// the names, shapes and values of its tensors, each in the order of the names.
func digest(state models.StateDict, meta map[string]string) string {
	h := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		if key != keyDigest {
			fmt.Fprintf(h, "%q%q", key, meta[key])
		}
	}
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
