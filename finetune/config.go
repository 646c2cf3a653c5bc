package finetune

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models/checkpoint"
)

// Methods of training.
const (
	MethodSimCLR      = "simclr"
	MethodSupervised  = "supervised"  // labels, cross-entropy
	MethodAutoencoder = "autoencoder" // reconstruction through the embedding
	MethodDenoise     = "denoise"     // the same from spoilt images
	MethodImported    = "imported"    // weights that others trained: nothing is trained
)

// Schedules of the learning rate.
const (
	ScheduleCosine   = "cosine"
	ScheduleConstant = "constant"
	ScheduleStep     = "step"
)

// configVersion is the version of the configuration's format.
const configVersion = 1

// Config describes a run completely: the same configuration, data, machine and
// number of threads give the same weights.
type Config struct {
	Version int `yaml:"version"`

	Method string   `yaml:"method"` // MethodSimCLR, the default, or another of the Method constants
	Data   []string `yaml:"data"`   // what augment.Open reads
	Split  string   `yaml:"split,omitempty"`
	Limit  int      `yaml:"limit,omitempty"` // use the first images only; 0: all

	// How the data are read: which labels of CIFAR-100, fine (default) or coarse;
	// images turned upright by their EXIF orientation; the largest images, 0:
	// augment.MaxPixels.
	CIFARLabels     string `yaml:"cifar_labels,omitempty"`
	ExifOrientation bool   `yaml:"exif_orientation,omitempty"`
	MaxPixels       int    `yaml:"max_pixels,omitempty"`

	Encoder     string    `yaml:"encoder"`           // resnet18 (default) or another of models.EncoderNames
	Width       float64   `yaml:"width"`             // factor on the encoder's channels; default 1
	Stem        string    `yaml:"stem"`              // of a ResNet: auto (default: by image size), cifar, imagenet
	Patch       int       `yaml:"patch,omitempty"`   // of a transformer, in pixels; default by image size
	Pool        string    `yaml:"pool,omitempty"`    // of a transformer: token (default) or mean
	Projector   []int     `yaml:"projector"`         // output widths; default: the encoder's scaled 512, then 128
	NoProjector bool      `yaml:"no_projector"`      // the loss compares embeddings
	Classes     []string  `yaml:"classes,omitempty"` // class names, of MethodSupervised
	ImageSize   int       `yaml:"image_size"`        // pixels; default: the first image's up to 64, else 128
	Channels    int       `yaml:"channels"`          // 3 (default) or 1
	Mean        []float32 `yaml:"mean"`              // per channel; default ImageNet's, 0 for autoencoders
	Std         []float32 `yaml:"std"`               // 1 for autoencoders

	// The random views of an image, see docs/augment.md. Augment is a preset's name or a
	// policy for all views; Views gives counts, sizes and policies of their own. Resolve
	// leaves one of them, complete. Default: simclr_cifar, autoencoder for autoencoders.
	Augment augment.Choice      `yaml:"augment,omitempty"`
	Views   augment.ViewChoices `yaml:"views,omitempty"`

	// Imported is the network that others trained and that the run has instead of
	// Encoder, Width and Stem; see ReadCheckpoint. Interpolation (bilinear, bicubic)
	// and Crop (the part of the resized image's side that is kept) are how its images
	// are prepared, where that is known.
	Imported      *checkpoint.Network `yaml:"imported,omitempty"`
	Interpolation string              `yaml:"interpolation,omitempty"`
	Crop          float64             `yaml:"crop,omitempty"`

	// Loss is ntxent (default) or infonce for simclr, mse (default), l1, ssim or bce for
	// autoencoders; supervised training has no choice.
	Loss        string  `yaml:"loss"`
	Temperature float64 `yaml:"temperature"` // of simclr's loss; default 0.5

	// Noise is what MethodDenoise adds to images: gaussian (default), masking or
	// saltpepper; see augment.Noise for the level.
	Noise      string  `yaml:"noise,omitempty"`
	NoiseLevel float64 `yaml:"noise_level,omitempty"` // default 0.2, 0.3 and 0.1

	// Of MethodSupervised. Freeze lists parts of the encoder whose weights stay, such
	// as conv1 or layer1; "encoder" is all of it, running statistics too. LayerDecay is
	// the factor of the learning rate from a block to the one below it, 0: none.
	// LabelShare is the share of the labelled images to train on, stratified, 0: all;
	// Validation the share of these that is held back and measured after each epoch, 0:
	// none. Mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019) are the parameter of
	// the beta distribution that mixes images and labels, 0: none.
	Freeze         []string `yaml:"freeze,omitempty"`
	LayerDecay     float64  `yaml:"layer_decay,omitempty"`
	LabelShare     float64  `yaml:"label_share,omitempty"`
	Validation     float64  `yaml:"validation,omitempty"`
	LabelSmoothing float64  `yaml:"label_smoothing,omitempty"`
	Mixup          float64  `yaml:"mixup,omitempty"`
	CutMix         float64  `yaml:"cutmix,omitempty"`

	Epochs       int     `yaml:"epochs"`          // default 200
	BatchSize    int     `yaml:"batch_size"`      // images; default 128
	Accumulate   int     `yaml:"accumulate"`      // batches whose gradients make one step; default 1
	Chunk        int     `yaml:"chunk,omitempty"` // images of a piece of a batch, which bound its memory; 0: all at once
	Optimizer    string  `yaml:"optimizer"`       // sgd (default; adam for autoencoders), adam, adamw, rmsprop, lars
	LR           float64 `yaml:"lr"`              // default by the optimiser, see Resolve
	Momentum     float64 `yaml:"momentum"`        // default 0.9
	Nesterov     bool    `yaml:"nesterov"`
	WeightDecay  float64 `yaml:"weight_decay"`  // negative, the default: by the optimiser
	ExcludeNorms bool    `yaml:"exclude_norms"` // no decay for norms and biases; lars never has
	ClipNorm     float64 `yaml:"clip_norm"`     // of all gradients together; 0: not clipped
	WarmupEpochs float64 `yaml:"warmup_epochs"`

	// The learning rate after the warm-up: cosine (default, to 0 per step), constant,
	// or step: times gamma at each milestone, an epoch of the run.
	Schedule   string  `yaml:"schedule"`
	Milestones []int   `yaml:"milestones,omitempty"`
	Gamma      float64 `yaml:"gamma"` // default 0.1

	// EMA is the rate of a moving average of the weights, such as 0.999, which is then
	// what is measured after each epoch and exported; 0, the default: none. The rate
	// is lower in the first steps, see optim.EMA.
	EMA float64 `yaml:"ema"`

	// BestBy is the metric of an epoch by which best.safetensors is chosen; default
	// loss. Of knn, psnr, effective_rank and accuracy the largest value is the best, of
	// others the smallest. Patience ends the run after so many epochs without a
	// better one; 0, the default: never.
	BestBy   string `yaml:"best_by"`
	Patience int    `yaml:"patience"`

	// Init is a file with weights to start from; see LoadInitial.
	Init string `yaml:"init,omitempty"`

	Seed    uint64 `yaml:"seed"`
	Engine  string `yaml:"engine"` // auto (default), ort, go
	Device  string `yaml:"device"` // cpu (default), cuda:0
	Threads int    `yaml:"threads"`
	Workers int    `yaml:"workers"` // they change no number
	// CheckpointActivations computes the encoder's blocks anew in the backward pass: less
	// memory, more time, the same numbers to rounding.
	CheckpointActivations bool `yaml:"checkpoint_activations,omitempty"`

	// FastDecode reads large JPEG files at a reduced scale, of which the shorter side has
	// twice the image size or more; see augment.Reduced. It changes pixels, in training
	// only.
	FastDecode bool           `yaml:"fast_decode,omitempty"`
	Cache      augment.Memory `yaml:"cache"` // of decoded images; default 512MiB, 0: none. It changes no number
}

// DefaultConfig returns the default recipe: lightly's for CIFAR-10, the published
// one of this scale. Sizes that depend on the data are left 0 until Resolve.
func DefaultConfig() Config {
	return Config{
		Version: configVersion, Method: MethodSimCLR,
		Encoder: "resnet18", Width: 1, Stem: "auto", Channels: 3,
		Temperature: 0.5,
		Epochs:      200, BatchSize: 128, Accumulate: 1, BestBy: train.OutputLoss,
		Momentum: 0.9, WeightDecay: -1,
		Schedule: ScheduleCosine, Gamma: 0.1,
		Engine: "auto", Device: "cpu", Cache: 512 << 20,
	}
}

// ParseConfig reads a configuration over the defaults. Unknown keys, wrong types and
// newer versions are errors with the key and the line.
func ParseConfig(data []byte) (Config, error) {
	c := DefaultConfig()
	if err := c.Apply(data); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Marshal writes the configuration as YAML that ParseConfig reads back.
func (c Config) Marshal() ([]byte, error) {
	return yaml.MarshalWithOptions(c, yaml.CustomMarshaler(quoteText))
}

// plainText are texts that YAML takes for nothing else.
var plainText = regexp.MustCompile(`^[a-zA-Z/][a-zA-Z0-9/_.-]*$`)

// quoteText writes a text in quotes unless it is plain: the library leaves out those
// that "? k" and ".nan" need.
func quoteText(s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("finetune: write configuration: %q is not UTF-8: rename the file", s)
	}
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
	default:
		if plainText.MatchString(s) {
			return []byte(s), nil
		}
	}
	return json.Marshal(s)
}
