package finetune

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
)

// Methods of training.
const (
	MethodSimCLR     = "simclr"
	MethodSupervised = "supervised" // labels, cross-entropy
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

	Method string   `yaml:"method"` // MethodSimCLR, the default, or MethodSupervised
	Data   []string `yaml:"data"`   // what augment.Open reads
	Split  string   `yaml:"split,omitempty"`
	Limit  int      `yaml:"limit,omitempty"` // use the first images only; 0: all

	Encoder     string    `yaml:"encoder"`           // resnet18 (default), resnet34, resnet50
	Width       float64   `yaml:"width"`             // factor on the encoder's channels; default 1
	Stem        string    `yaml:"stem"`              // auto (default: by image size), cifar, imagenet
	Projector   []int     `yaml:"projector"`         // output widths; default: the encoder's scaled 512, then 128
	NoProjector bool      `yaml:"no_projector"`      // the loss compares embeddings
	Classes     []string  `yaml:"classes,omitempty"` // class names, of MethodSupervised
	ImageSize   int       `yaml:"image_size"`        // pixels; default: the first image's up to 64, else 128
	Channels    int       `yaml:"channels"`          // 3 (default) or 1
	Mean        []float32 `yaml:"mean"`              // per channel; default ImageNet's
	Std         []float32 `yaml:"std"`

	Loss        string  `yaml:"loss"`        // ntxent (default) or infonce
	Temperature float64 `yaml:"temperature"` // default 0.5

	Epochs       int     `yaml:"epochs"`     // default 200
	BatchSize    int     `yaml:"batch_size"` // images; default 128
	Optimizer    string  `yaml:"optimizer"`  // sgd (default), adam, adamw, rmsprop, lars
	LR           float64 `yaml:"lr"`         // default by the optimiser, see Resolve
	Momentum     float64 `yaml:"momentum"`   // default 0.9
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

	// Init is a safetensors file with weights to start from; see LoadInitial.
	Init string `yaml:"init,omitempty"`

	Seed    uint64 `yaml:"seed"`
	Engine  string `yaml:"engine"` // auto (default), ort, go
	Device  string `yaml:"device"` // cpu (default), cuda:0
	Threads int    `yaml:"threads"`
	Workers int    `yaml:"workers"` // they change no number
}

// DefaultConfig returns the default recipe: lightly's for CIFAR-10, the published
// one of this scale. Sizes that depend on the data are left 0 until Resolve.
func DefaultConfig() Config {
	return Config{
		Version: configVersion, Method: MethodSimCLR,
		Encoder: "resnet18", Width: 1, Stem: "auto", Channels: 3,
		Loss: string(objective.LossNTXent), Temperature: 0.5,
		Epochs: 200, BatchSize: 128,
		Optimizer: "sgd", Momentum: 0.9, WeightDecay: -1,
		Schedule: ScheduleCosine, Gamma: 0.1,
		Engine: "auto", Device: "cpu",
	}
}

// Resolve fills in what depends on the data and on other settings, and checks the
// whole. The learning rate is 0.06 * batch size / 128 for sgd, 0.3 * batch size /
// 256 for lars, 1e-3 for adam and adamw, 1e-2 for rmsprop; the weight decay 5e-4,
// 1e-6, 0, 1e-2 (adamw) and 0.
func (c *Config) Resolve(src augment.Source) error {
	if src.Len() == 0 {
		return errors.New("finetune: the data hold no image")
	}
	if c.ImageSize == 0 {
		size, err := UsualSize(src)
		if err != nil {
			return err
		}
		c.ImageSize = size
	}
	if c.Stem == "auto" || c.Stem == "" {
		c.Stem = string(models.StemFor(c.ImageSize))
	}
	usual, ok := optimizers[c.Optimizer]
	if !ok {
		return fmt.Errorf("finetune: unknown optimizer %q: choose %s", c.Optimizer, strings.Join(slices.Sorted(maps.Keys(optimizers)), ", "))
	}
	if c.LR == 0 {
		c.LR = usual.rate(c.BatchSize)
	}
	if c.WeightDecay < 0 {
		c.WeightDecay = usual.decay
	}
	if c.Channels != 1 && c.Channels != 3 {
		return fmt.Errorf("finetune: channels is %d: choose 1 or 3", c.Channels)
	}
	pre := augment.EvalPreprocess(c.ImageSize)
	if c.Channels == 1 {
		pre = pre.Gray()
	}
	if c.Mean == nil {
		c.Mean = slices.Clone(pre.Mean[:c.Channels])
	}
	if c.Std == nil {
		c.Std = slices.Clone(pre.Std[:c.Channels])
	}
	encoder, err := c.encoder()
	if err != nil {
		return err
	}
	if c.Projector == nil && !c.NoProjector && c.Method == MethodSimCLR {
		c.Projector = []int{encoder.Size(), 128}
	}
	if c.Method == MethodSupervised {
		if c.Classes = src.Classes(); len(c.Classes) < 2 {
			return fmt.Errorf("finetune: method %s needs images of two classes or more (class subfolders)", c.Method)
		}
	}
	return c.validate(src.Len())
}

func (c *Config) validate(images int) error {
	if err := c.checkVersion(); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	switch c.Method {
	case MethodSimCLR, MethodSupervised:
	default:
		return fmt.Errorf("finetune: unknown method %q: choose %s or %s", c.Method, MethodSimCLR, MethodSupervised)
	}
	if l := objective.Loss(c.Loss); l != objective.LossNTXent && l != objective.LossInfoNCE {
		return fmt.Errorf("finetune: unknown loss %q: choose %s or %s", c.Loss, objective.LossNTXent, objective.LossInfoNCE)
	}
	for _, w := range c.Projector {
		if w < 1 {
			return fmt.Errorf("finetune: projector widths must be positive, got %v", c.Projector)
		}
	}
	if c.NoProjector && len(c.Projector) > 0 {
		return fmt.Errorf("finetune: no_projector contradicts the projector %v: set one of them", c.Projector)
	}
	if len(c.Mean) != 3 && len(c.Mean) != c.Channels || len(c.Std) != len(c.Mean) {
		return fmt.Errorf("finetune: got %d mean and %d std for %d channels: want one of each per channel", len(c.Mean), len(c.Std), c.Channels)
	}
	if err := c.validateSchedule(); err != nil {
		return err
	}
	if smallest := 2; c.BatchSize < smallest {
		return fmt.Errorf("finetune: the batch size is %d, want %d or more", c.BatchSize, smallest)
	}
	if c.BatchSize > images {
		return fmt.Errorf("finetune: the batch size %d is larger than the data: %d images; choose %d or less", c.BatchSize, images, images)
	}
	for _, s := range []struct {
		name  string
		value float64
		ok    bool
	}{
		{"image size", float64(c.ImageSize), c.ImageSize >= 8 && c.ImageSize <= 1024},
		{"epochs", float64(c.Epochs), c.Epochs >= 0},
		{"temperature", c.Temperature, c.Temperature > 0},
		{"learning rate", c.LR, c.LR > 0},
		{"momentum", c.Momentum, c.Momentum >= 0 && c.Momentum < 1},
		{"weight decay", c.WeightDecay, c.WeightDecay >= 0},
		{"clip norm", c.ClipNorm, c.ClipNorm >= 0},
		{"warmup epochs", c.WarmupEpochs, c.WarmupEpochs >= 0 && c.WarmupEpochs <= float64(c.Epochs)},
		{"number of threads", float64(c.Threads), c.Threads >= 0},
		{"number of workers", float64(c.Workers), c.Workers >= 0},
		{"limit", float64(c.Limit), c.Limit >= 0},
	} {
		if !s.ok {
			return fmt.Errorf("finetune: the %s %g is out of range", s.name, s.value)
		}
	}
	if c.Nesterov && c.Momentum == 0 {
		return errors.New("finetune: nesterov needs a momentum")
	}
	return c.Preprocess().Validate()
}

func (c *Config) validateSchedule() error {
	switch c.Schedule {
	case ScheduleCosine, ScheduleConstant:
		if len(c.Milestones) > 0 {
			return fmt.Errorf("finetune: milestones go with the schedule %s, it is %s", ScheduleStep, c.Schedule)
		}
		return nil
	case ScheduleStep:
	default:
		return fmt.Errorf("finetune: unknown schedule %q: choose %s, %s or %s", c.Schedule, ScheduleCosine, ScheduleConstant, ScheduleStep)
	}
	last := 0
	for _, m := range c.Milestones {
		if m <= last {
			return fmt.Errorf("finetune: milestones are %v: want epochs from 1 up, each later than the one before", c.Milestones)
		}
		last = m
	}
	if last == 0 {
		return fmt.Errorf("finetune: the schedule %s needs milestones, such as milestones=60,80", ScheduleStep)
	}
	if !(c.Gamma > 0 && c.Gamma <= 1) {
		return fmt.Errorf("finetune: gamma is %g, want more than 0 and at most 1", c.Gamma)
	}
	return nil
}

// UsualSize is the image size that suits a source: the shorter side of its first
// readable image up to 64 pixels, else 128.
func UsualSize(src augment.Source) (int, error) {
	var first error
	for i := range src.Len() {
		m, err := src.Image(i)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		if side := min(m.W, m.H); side <= 64 {
			return max(side, 8), nil
		}
		return 128, nil
	}
	return 0, fmt.Errorf("finetune: none of the %d images can be read; the first: %w", src.Len(), first)
}

// Preprocess returns the evaluation preprocessing that goes with the run.
func (c *Config) Preprocess() augment.Preprocess {
	p := augment.EvalPreprocess(c.ImageSize)
	if c.Channels == 1 {
		p = p.Gray()
	}
	copy(p.Mean[:], c.Mean)
	copy(p.Std[:], c.Std)
	return p
}

// Policy returns the random augmentation of the run.
func (c *Config) Policy() augment.Policy { return augment.SimCLR(c.ImageSize) }

func (c *Config) encoder() (models.Encoder, error) {
	return models.NewResNet(c.Encoder, models.Stem(c.Stem), c.Width)
}

// Network returns the encoder and the projector, which has no widths for a method
// without one.
func (c *Config) Network() (models.Encoder, models.Projector, error) {
	e, err := c.encoder()
	return e, models.NewProjector(c.Projector...), err
}

// Objective returns what the run minimises.
func (c *Config) Objective() (train.Objective, error) {
	encoder, projector, err := c.Network()
	if err != nil {
		return nil, err
	}
	if c.Method == MethodSupervised {
		return objective.Supervised{Encoder: encoder, Classes: len(c.Classes)}, nil
	}
	return objective.SimCLR{Encoder: encoder, Projector: projector,
		Temperature: c.Temperature, Contrast: objective.Loss(c.Loss)}, nil
}

// Step builds the training step of the run, of which an epoch has a number.
func (c *Config) Step(stepsPerEpoch int) (*train.Program, error) {
	o, err := c.Objective()
	if err != nil {
		return nil, err
	}
	return train.Build(train.Config{
		Objective: o,
		Optimizer: c.optimizer(),
		Rate:      c.schedule(stepsPerEpoch).Rate,
		BatchSize: c.BatchSize,
		Image:     []int{c.Channels, c.ImageSize, c.ImageSize},
		GradNorm:  true,
	})
}

// schedule returns the learning rate of each step.
func (c *Config) schedule(stepsPerEpoch int) optim.Schedule {
	w := optim.Warmup{Steps: int(c.WarmupEpochs * float64(stepsPerEpoch))}
	switch c.Schedule {
	case ScheduleConstant:
		w.Then = optim.Constant(c.LR)
	case ScheduleStep:
		m := optim.Milestones{Base: c.LR, Gamma: c.Gamma}
		for _, epoch := range c.Milestones {
			// Epochs count from the run's start; the schedule sees no step of the warm-up.
			m.Steps = append(m.Steps, epoch*stepsPerEpoch-w.Steps)
		}
		w.Then = m
	default:
		w.Then = optim.Cosine{Base: c.LR}
	}
	return w
}

// optimizers are the optimisers by name, with what they start from where nothing is
// said: sgd the default recipe's, lars SimCLR's, the others PyTorch's.
var optimizers = map[string]struct {
	rate  func(batch int) float64
	decay float64
}{
	"sgd":     {func(batch int) float64 { return 0.06 * float64(batch) / 128 }, 5e-4},
	"lars":    {func(batch int) float64 { return optim.LinearScaling(0.3, batch) }, 1e-6},
	"adam":    {func(int) float64 { return 1e-3 }, 0},
	"adamw":   {func(int) float64 { return 1e-3 }, 1e-2},
	"rmsprop": {func(int) float64 { return 1e-2 }, 0},
}

func (c *Config) optimizer() train.Optimizer {
	decay := optim.Decay{Rate: c.WeightDecay, Exclude1D: c.ExcludeNorms}
	var o train.Optimizer
	switch c.Optimizer {
	case "adam", "adamw":
		o = optim.Adam{Decay: decay, Decoupled: c.Optimizer == "adamw"}
	case "rmsprop":
		o = optim.RMSprop{Momentum: c.Momentum, Decay: decay}
	case "lars":
		o = optim.LARS{Momentum: c.Momentum, Decay: c.WeightDecay, Exclude1D: true}
	default:
		o = optim.SGD{Momentum: c.Momentum, Nesterov: c.Nesterov, Decay: decay}
	}
	if c.ClipNorm > 0 {
		o = optim.Clip{Norm: c.ClipNorm, Next: o}
	}
	return o
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
