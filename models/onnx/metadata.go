package onnx

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Keys of a model's metadata_props, by which a file carries all that its user
// needs. Each is optional: a file of another program has none.
const (
	KeyPrefix = "sslrt."

	KeyKind          = KeyPrefix + "kind"            // one of the Kind constants
	KeyVersion       = KeyPrefix + "version"         // of the program that wrote the file
	KeyMethod        = KeyPrefix + "method"          // what it was trained by: "simclr", "padim"
	KeyLayer         = KeyPrefix + "layer"           // where in the network the embedding is taken
	KeyEmbeddingSize = KeyPrefix + "embedding_size"  // decimal
	KeyClasses       = KeyPrefix + "classes"         // JSON list of names, in index order
	KeyThreshold     = KeyPrefix + "threshold"       // decimal; a detector's decision
	KeyPixelThresh   = KeyPrefix + "pixel_threshold" // decimal; of a heatmap's values
	KeyTile          = KeyPrefix + "tile"            // decimal; pixels of the tiles that a detector looks at
	KeyScoreRange    = KeyPrefix + "score_range"     // JSON [low, high]; usual scores of a detector
	KeyInput         = KeyPrefix + "input"           // InputFloat or InputUint8
	KeyBatch         = KeyPrefix + "batch"           // decimal; the fixed batch of a train-step
	KeyTraining      = KeyPrefix + "training"        // JSON object, a summary of the run

	// KeyPreprocess starts the keys of the evaluation preprocessing, which package
	// augment writes and reads: "sslrt.preprocess.size" and so on.
	KeyPreprocess = KeyPrefix + "preprocess."
)

// Kinds of model, the values of KeyKind.
const (
	KindEncoder     = "encoder"     // image to embedding
	KindProjector   = "projector"   // image to projection
	KindDecoder     = "decoder"     // code to reconstruction
	KindClassifier  = "classifier"  // image to logits and probability
	KindDetector    = "detector"    // image to score, heatmap and decision
	KindAutoencoder = "autoencoder" // image to reconstruction
	KindClusters    = "clusters"    // image or embedding to cluster and distances
	KindTrainStep   = "train-step"  // one step of training, with a fixed batch
)

// Values of KeyInput.
const (
	InputFloat = "float" // image is float32 [N, 3, H, W], normalised
	InputUint8 = "uint8" // image is uint8 [N, H, W, 3]
)

// Info is the metadata of a model. A zero field is not in the file.
type Info struct {
	Kind          string
	Version       string
	Method        string
	Layer         string
	EmbeddingSize int
	Classes       []string
	Threshold     *float64
	PixelThresh   *float64
	ScoreRange    *[2]float64 // low, high
	Input         string
	Batch         int
	Tile          int
	Training      json.RawMessage
	Preprocess    map[string]string // keys without KeyPreprocess
}

// ReadInfo returns the metadata of a model. Keys that are absent leave zero fields;
// a value that cannot be read is an error that names its key.
func ReadInfo(m *Model) (Info, error) {
	var info Info
	for _, e := range m.Metadata {
		if err := info.set(e.Key, e.Value); err != nil {
			return Info{}, fmt.Errorf("onnx: metadata %s = %q: %w", e.Key, e.Value, err)
		}
	}
	return info, nil
}

func (info *Info) set(key, value string) (err error) {
	switch key {
	case KeyKind:
		info.Kind = value
	case KeyVersion:
		info.Version = value
	case KeyMethod:
		info.Method = value
	case KeyLayer:
		info.Layer = value
	case KeyInput:
		if value != InputFloat && value != InputUint8 {
			return fmt.Errorf("want %s or %s", InputFloat, InputUint8)
		}
		info.Input = value
	case KeyEmbeddingSize:
		info.EmbeddingSize, err = positive(value)
	case KeyBatch:
		info.Batch, err = positive(value)
	case KeyTile:
		info.Tile, err = positive(value)
	case KeyClasses:
		err = json.Unmarshal([]byte(value), &info.Classes)
	case KeyThreshold:
		info.Threshold, err = decimal(value)
	case KeyPixelThresh:
		info.PixelThresh, err = decimal(value)
	case KeyScoreRange:
		var r []float64
		if err = json.Unmarshal([]byte(value), &r); err == nil && len(r) != 2 {
			return fmt.Errorf("has %d numbers, want 2", len(r))
		}
		if err == nil {
			info.ScoreRange = &[2]float64{r[0], r[1]}
		}
	case KeyTraining:
		if !json.Valid([]byte(value)) {
			return errNotJSON
		}
		info.Training = json.RawMessage(value)
	default:
		if name, ok := strings.CutPrefix(key, KeyPreprocess); ok {
			if info.Preprocess == nil {
				info.Preprocess = map[string]string{}
			}
			info.Preprocess[name] = value
		}
	}
	return err
}

var (
	errNaN     = errors.New("is not a number")
	errNotJSON = errors.New("is not JSON")
)

func decimal(s string) (*float64, error) {
	x, err := strconv.ParseFloat(s, 64)
	if err == nil && math.IsNaN(x) {
		err = errNaN
	}
	return &x, err
}

func positive(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err == nil && n <= 0 {
		err = errors.New("want a positive number")
	}
	return n, err
}

// WriteTo replaces the metadata of this project in m by info, in a fixed order, and
// leaves other keys alone.
func (info Info) WriteTo(m *Model) error {
	entries, err := info.Entries()
	if err != nil {
		return err
	}
	m.Metadata = slices.DeleteFunc(m.Metadata, func(e StringEntry) bool {
		return strings.HasPrefix(e.Key, KeyPrefix)
	})
	m.Metadata = append(m.Metadata, entries...)
	return nil
}

// Entries returns the metadata as keys and values, in a fixed order.
func (info Info) Entries() ([]StringEntry, error) {
	var out []StringEntry
	put := func(key, value string) {
		if value != "" {
			out = append(out, StringEntry{Key: key, Value: value})
		}
	}
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	put(KeyKind, info.Kind)
	put(KeyVersion, info.Version)
	put(KeyMethod, info.Method)
	put(KeyLayer, info.Layer)
	put(KeyEmbeddingSize, number(info.EmbeddingSize))
	if info.Classes != nil {
		b, err := json.Marshal(info.Classes)
		if err != nil {
			return nil, fmt.Errorf("onnx: metadata %s: %w", KeyClasses, err)
		}
		put(KeyClasses, string(b))
	}
	for _, t := range []struct {
		key   string
		value *float64
	}{{KeyThreshold, info.Threshold}, {KeyPixelThresh, info.PixelThresh}} {
		if t.value == nil {
			continue
		}
		if math.IsNaN(*t.value) {
			return nil, fmt.Errorf("onnx: metadata %s: %w", t.key, errNaN)
		}
		put(t.key, strconv.FormatFloat(*t.value, 'g', -1, 64))
	}
	if info.ScoreRange != nil {
		b, err := json.Marshal(info.ScoreRange)
		if err != nil {
			return nil, fmt.Errorf("onnx: metadata %s: %w", KeyScoreRange, err)
		}
		put(KeyScoreRange, string(b))
	}
	put(KeyInput, info.Input)
	put(KeyBatch, number(info.Batch))
	put(KeyTile, number(info.Tile))
	if len(info.Training) > 0 {
		if !json.Valid(info.Training) {
			return nil, fmt.Errorf("onnx: metadata %s: %w", KeyTraining, errNotJSON)
		}
		put(KeyTraining, string(info.Training))
	}
	for _, name := range slices.Sorted(maps.Keys(info.Preprocess)) {
		out = append(out, StringEntry{Key: KeyPreprocess + name, Value: info.Preprocess[name]})
	}
	return out, nil
}
