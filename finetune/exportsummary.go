package finetune

import (
	"encoding/json"
	"path/filepath"
)

// summary is what a file says about how it was trained.
func (r *Run) summary(info CheckpointInfo) (json.RawMessage, error) {
	c := &r.Config
	if c.Method == MethodImported {
		return json.Marshal(struct {
			Encoder string `json:"encoder"`
			Profile string `json:"profile"`
			File    string `json:"file"`
		}{c.Imported.String(), c.Imported.Profile, filepath.Base(c.Init)})
	}
	encoder := c.Encoder
	if path, _, ok := c.onnxFile(); ok { // where the file lay is nothing to pass on
		encoder = onnxPrefix + filepath.Base(path)
	}
	s := struct {
		Encoder     string  `json:"encoder"`
		Width       float64 `json:"width"`
		Stem        string  `json:"stem,omitempty"`
		Patch       int     `json:"patch,omitempty"`
		Pool        string  `json:"pool,omitempty"`
		Projector   []int   `json:"projector,omitempty"`
		Loss        string  `json:"loss,omitempty"`
		Temperature float64 `json:"temperature,omitempty"`
		Noise       string  `json:"noise,omitempty"`
		NoiseLevel  float64 `json:"noise_level,omitempty"`
		BatchSize   int     `json:"batch_size"`
		Accumulate  int     `json:"accumulate,omitempty"` // batches a step, where it is not 1
		Chunk       int     `json:"chunk,omitempty"`      // images of a piece of a batch
		LR          float64 `json:"lr"`
		WeightDecay float64 `json:"weight_decay"`
		Epochs      int     `json:"epochs"`
		Epoch       int     `json:"epoch"` // begun at the checkpoint
		Step        int     `json:"step"`
		Weights     string  `json:"weights,omitempty"` // WeightsBest, where it is not the last
		EMA         float64 `json:"ema,omitempty"`     // rate of the average that the weights are
		Seed        uint64  `json:"seed"`
	}{encoder, c.Width, c.Stem, c.Patch, c.Pool, c.Projector, c.Loss, c.Temperature, c.Noise, c.NoiseLevel, c.BatchSize, c.Accumulate, c.Chunk, c.LR, c.WeightDecay,
		c.Epochs, info.Epoch, info.Step, info.weights, c.EMA, c.Seed}
	if c.Accumulate == 1 {
		s.Accumulate = 0
	}
	if c.Method != MethodSimCLR {
		s.Temperature = 0
	}
	return json.Marshal(s)
}
