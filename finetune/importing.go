package finetune

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/checkpoint"
)

// Imported is a network that others trained: what was read of a checkpoint, and the
// configuration of the run that it makes.
type Imported struct {
	Plan   *checkpoint.Plan
	Config Config
	State  models.StateDict // "encoder.", "projector.", "fc."
}

// ReadCheckpoint reads a network from a file of PyTorch or safetensors, whatever
// project wrote it; see package models/checkpoint. classes names the outputs of its
// classifier, if it has one; without names they are numbers. The encoder must be
// there completely.
func ReadCheckpoint(path string, opt checkpoint.Options, classes []string) (*Imported, error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	plan, err := checkpoint.NewPlan(f, opt)
	if err != nil {
		if errors.Is(err, checkpoint.ErrNoProfile) {
			err = fmt.Errorf("%w (sslrt inspect shows all of it; --profile and --key choose how to read it)", err)
		}
		return nil, err
	}
	state, err := plan.Load()
	if err != nil {
		return nil, err
	}
	i := &Imported{Plan: plan, State: state, Config: importedConfig(path, plan)}
	c := &i.Config
	if head := plan.Network.Classifier; head != nil {
		if classes == nil && len(plan.Labels) == head.Size() {
			classes = plan.Labels
		}
		if classes == nil {
			classes = numbers(head.Size())
		}
		if len(classes) != head.Size() {
			return nil, fmt.Errorf("finetune: import %s: got %d class names, its classifier has %d outputs", path, len(classes), head.Size())
		}
		c.Classes = classes
	} else if classes != nil {
		return nil, fmt.Errorf("finetune: import %s: it has no classifier whose classes could be named", path)
	}
	if err := c.Preprocess().Validate(); err != nil {
		return nil, err
	}
	return i, nil
}

func numbers(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = strconv.Itoa(i)
	}
	return out
}

// importedConfig is the configuration of a run of an imported network.
func importedConfig(path string, plan *checkpoint.Plan) Config {
	c := DefaultConfig()
	network := plan.Network
	in := plan.Input
	c.Method, c.Encoder, c.Stem, c.Init = MethodImported, MethodImported, "", path
	c.Imported, c.Epochs, c.NoProjector = &network, 0, true
	c.ImageSize, c.Channels, c.Interpolation, c.Crop = in.Size, in.Channels, in.Interpolation, in.Crop
	c.Mean, c.Std = slices.Clone(in.Norm.Mean[:in.Channels]), slices.Clone(in.Norm.Std[:in.Channels])
	return c
}

// Save makes a run directory of the network, which can be exported, and from which
// runs can start.
func (i *Imported) Save(dir string) (*Run, error) {
	r, err := CreateRun(dir, i.Config)
	if err != nil {
		return nil, err
	}
	return r, r.SaveCheckpoint(i.State, CheckpointInfo{})
}

// Export writes a part of the network as an ONNX file, without a run directory; see
// Export.
func (i *Imported) Export(ctx context.Context, path string, opt ExportOptions) (Exported, error) {
	r := &Run{Dir: i.Config.Init, Config: i.Config}
	return r.export(ctx, path, i.State, CheckpointInfo{}, opt)
}

// ExportWeights writes a part of the network as a safetensors file, see
// ExportWeights.
func (i *Imported) ExportWeights(path string, opt ExportOptions) (Exported, error) {
	r := &Run{Dir: i.Config.Init, Config: i.Config}
	return r.exportWeights(path, i.State, CheckpointInfo{}, opt)
}

// AdoptNetwork takes over the network of the checkpoint that c starts from, its
// channels and its normalisation: of a run, what its configuration says, else what a
// profile reads off the file. It changes nothing when no profile reads the file.
func (c *Config) AdoptNetwork() error {
	if c.adoptONNX() {
		return nil
	}
	path := weightsFile(c.Init)
	if of := runOf(path); of != nil {
		c.Imported, c.Encoder, c.Width, c.Stem, c.Channels = of.Imported, of.Encoder, of.Width, of.Stem, of.Channels
		c.Patch, c.Pool = of.Patch, of.Pool
		if c.Imported != nil {
			network := *of.Imported
			network.Projector, network.Classifier = nil, nil
			c.Imported = &network
		}
		if c.Mean == nil && c.Std == nil {
			c.Mean, c.Std = slices.Clone(of.Mean), slices.Clone(of.Std)
		}
		return nil
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		return fmt.Errorf("finetune: init: %w", err)
	}
	defer f.Close()
	plan, err := checkpoint.NewPlan(f, checkpoint.Options{ImageSize: c.ImageSize})
	if errors.Is(err, checkpoint.ErrNoProfile) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finetune: init: %w", err)
	}
	network := plan.Network
	network.Projector, network.Classifier = nil, nil
	c.Imported, c.Encoder, c.Stem, c.Channels = &network, MethodImported, "", plan.Input.Channels
	if c.Mean == nil && c.Std == nil {
		c.Mean = slices.Clone(plan.Input.Norm.Mean[:c.Channels])
		c.Std = slices.Clone(plan.Input.Norm.Std[:c.Channels])
	}
	return nil
}

// weightsFile is the newest checkpoint of a run, of which path is the directory, else
// path itself.
func weightsFile(path string) string {
	last := filepath.Join(path, filepath.FromSlash(fileLast))
	if _, err := os.Stat(last); err == nil {
		return last
	}
	return path
}

// runOf returns the configuration of the run that a checkpoint belongs to, nil if it
// lies in none.
func runOf(path string) *Config {
	dir, ok := strings.CutSuffix(filepath.ToSlash(filepath.Dir(path)), "checkpoints")
	if !ok {
		return nil
	}
	if dir == "" {
		dir = "."
	}
	r, err := OpenRun(filepath.FromSlash(dir))
	if err != nil {
		return nil
	}
	return &r.Config
}

// foreignWeights reads a checkpoint of others by the names that runs have, and what
// it holds besides.
func foreignWeights(path string) (state models.StateDict, ignored []string, err error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	plan, err := checkpoint.NewPlan(f, checkpoint.Options{})
	if err != nil {
		return nil, nil, err
	}
	if state, err = plan.Load(); err != nil {
		return nil, nil, err
	}
	for _, r := range plan.Coverage {
		if r.Status == checkpoint.Ignored {
			ignored = append(ignored, r.File)
		}
	}
	return state, ignored, nil
}
