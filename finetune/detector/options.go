package detector

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/runtime/ort"
)

// The methods of detectors.
const (
	MethodKNN         = "knn"
	MethodMahalanobis = "mahalanobis"
	MethodPaDiM       = "padim"
	MethodPatchCore   = "patchcore"
	MethodAutoencoder = "autoencoder"
)

// Methods lists them.
func Methods() []string {
	return []string{MethodPaDiM, MethodPatchCore, MethodKNN, MethodMahalanobis, MethodAutoencoder}
}

// Errors of a reconstruction.
const (
	ErrorMSE  = "mse"
	ErrorSSIM = "ssim"
)

// Options say how a detector is fitted. The zero value of a field is its default.
type Options struct {
	Method string // default MethodPaDiM

	// Layers are feature layers of padim and patchcore, by the names that
	// chooseLayers takes; default stage1 to stage3, for patchcore stage2 and
	// stage3. For knn and mahalanobis a single one is the output with the embedding.
	Layers []string

	Channels  int     // padim: random channels kept; default 100, -1 for all
	Ridge     float64 // padim: added to the variances; default 0.01
	Coreset   float64 // patchcore: share of the patches kept; default 0.1, 1 for all
	Memory    int     // patchcore: bytes that the patches seen may take; default 1 GiB
	Neighbors int     // knn: default 1; patchcore: in the score's weight, which 1 leaves out, default 9 or, in a smaller memory, all
	Error     string  // autoencoder: ErrorMSE, the default, or ErrorSSIM
	Sigma     float64 // of the heatmap's smoothing, in pixels; default 4 at 224 pixels, in proportion; -1 for none

	Tile int // cut images into tiles of so many pixels and look at each; 0: not

	HoldOut    float64        // share of the images that set the threshold; default 0.2
	Quantile   float64        // of their scores that is the threshold; default 0.99
	Validation augment.Source // labelled images, normal ones of class Normal: the threshold is the one of the best F1; may be nil
	Normal     string         // default "good"

	Seed uint64

	// Preprocess replaces entries of the encoder's, by the keys of
	// augment.Preprocess.Metadata. Unless they are among them, resize is exact and
	// crop none: what is not looked at has no defect.
	Preprocess map[string]string

	BatchSize int // images per run; changes no number worth speaking of; default 8
	Workers   int // goroutines that decode; 0 is one per processor
	Session   ort.Options
	Version   string // of the program, for the metadata

	// Progress is told what is done, and how much of it; Skipped of images that
	// cannot be read. They may be nil.
	Progress func(what string, done, total int)
	Skipped  func(augment.SkippedImage)
}

// Validate is the error of options that no encoder and no images could make a detector
// with.
func (o Options) Validate() error {
	if _, err := o.resolve(); err != nil {
		return fmt.Errorf("detector: %w", err)
	}
	return nil
}

// resolve fills in the defaults and checks the options.
func (o Options) resolve() (Options, error) {
	setText(&o.Method, MethodPaDiM)
	setText(&o.Error, ErrorMSE)
	setText(&o.Normal, "good")
	set(&o.Channels, 100)
	set(&o.Ridge, 0.01)
	set(&o.Coreset, 0.1)
	set(&o.Memory, 1<<30)
	set(&o.HoldOut, 0.2)
	set(&o.Quantile, 0.99)
	set(&o.BatchSize, 8)
	if o.Method != MethodPatchCore { // whose default depends on the patches that are kept
		set(&o.Neighbors, 1)
	}
	if !slices.Contains(Methods(), o.Method) {
		return o, fmt.Errorf("unknown method %q: choose %s", o.Method, strings.Join(Methods(), ", "))
	}
	if o.Error != ErrorMSE && o.Error != ErrorSSIM {
		return o, fmt.Errorf("unknown error %q: choose %s or %s", o.Error, ErrorMSE, ErrorSSIM)
	}
	for _, c := range []struct {
		name  string
		value float64
		ok    bool
	}{
		{"number of channels", float64(o.Channels), o.Channels >= -1},
		{"size of tiles", float64(o.Tile), o.Tile >= 0},
		{"sigma", o.Sigma, o.Sigma == -1 || o.Sigma >= 0 && !math.IsInf(o.Sigma, 1)},
		{"ridge", o.Ridge, o.Ridge > 0},
		{"coreset", o.Coreset, o.Coreset > 0 && o.Coreset <= 1},
		{"memory", float64(o.Memory), o.Memory > 0},
		{"number of neighbours", float64(o.Neighbors), o.Neighbors >= 0},
		{"share held back", o.HoldOut, o.HoldOut > 0 && o.HoldOut < 1},
		{"quantile", o.Quantile, o.Quantile > 0 && o.Quantile <= 1},
		{"batch size", float64(o.BatchSize), o.BatchSize > 0},
	} {
		if !c.ok {
			return o, fmt.Errorf("the %s %g is out of range", c.name, c.value)
		}
	}
	if o.Channels < 0 {
		o.Channels = 0 // all
	}
	return o, nil
}

func set[T int | float64](v *T, usual T) {
	if *v == 0 {
		*v = usual
	}
}

func setText(v *string, usual string) {
	if *v == "" {
		*v = usual
	}
}

func (o *Options) progress(what string, done, total int) {
	if o.Progress != nil {
		o.Progress(what, done, total)
	}
}
