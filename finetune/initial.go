package finetune

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/models"
)

// Coverage says what a file of weights gave a run to start from. Names are the
// run's, with "encoder." in front of the backbone's; those that are ignored are the
// file's.
type Coverage struct {
	File     string
	Loaded   []string
	Values   int             // of the loaded tensors
	Missing  []string        // in the file; they start at random
	Reshaped []ShapeConflict // they start at random too
	Resized  []ShapeConflict // position embeddings, interpolated to other images
	Ignored  []string        // what the run has no use for
	State    int             // tensors of an optimiser's state: never taken
}

// ShapeConflict is a tensor that the file holds in another shape.
type ShapeConflict struct {
	Name     string
	Has, Run []int
}

const (
	backbonePrefix  = objective.NameEncoder + "."
	optimizerPrefix = "optim."
)

// Initial reads the weights that c starts from, if it names a file, and says what
// the file gave. c must be resolved. See LoadInitial.
func (c *Config) Initial() (*Coverage, error) {
	if c.Init == "" {
		return nil, nil
	}
	step, err := c.Step(1)
	if err != nil {
		return nil, err
	}
	_, cov, err := c.initialState(step.Params)
	return cov, err
}

// initialState returns what a run starts from: random weights, and over them those
// of c.Init.
func (c *Config) initialState(p *models.Params) (models.StateDict, *Coverage, error) {
	state := p.Init(c.Seed)
	if c.Init == "" {
		return state, nil, nil
	}
	cov, err := LoadInitial(c.Init, p, state)
	return state, cov, err
}

// LoadInitial puts the weights and running statistics of a file over those of state,
// which holds the parameters p. The file is a checkpoint of a run, the state dict of
// an encoder in a safetensors file, with or without "encoder." in front of its names,
// or whatever ReadCheckpoint reads.
// The encoder must be there completely and in its shapes; the heads (projector,
// classifier) are taken where they fit. Where the file has moving averages of the
// weights these are taken. The state of an optimiser is left out.
func LoadInitial(path string, p *models.Params, state models.StateDict) (*Coverage, error) {
	fail := func(err error) (*Coverage, error) { return nil, fmt.Errorf("finetune: init: %w", err) }
	path = weightsFile(path)
	file, ignored, err := readWeights(path)
	if err != nil {
		return fail(err)
	}
	c := &Coverage{File: path, Ignored: ignored}
	prefix := backbonePrefix // what a plain state dict lacks
	for name := range file {
		if strings.HasPrefix(name, backbonePrefix) {
			prefix = ""
		}
	}
	used := map[string]bool{}
	for _, s := range p.Specs() {
		if strings.HasPrefix(s.Name, optimizerPrefix) {
			continue
		}
		// A target network starts as the one that it follows.
		name, ok := strings.CutPrefix(models.StartsAs(s.Name), prefix)
		if file[models.AveragePrefix+name] != nil {
			name = models.AveragePrefix + name
		}
		v := file[name]
		if !ok || v == nil {
			c.Missing = append(c.Missing, s.Name)
			continue
		}
		used[name] = true
		if strings.HasSuffix(name, models.NamePositions) {
			v = c.positions(s, v)
		}
		if v.Dtype() != tensor.Float32 || !v.Shape().Eq(tensor.Shape(s.Node.Dims)) {
			c.Reshaped = append(c.Reshaped, ShapeConflict{s.Name, v.Shape(), s.Node.Dims})
			continue
		}
		if i := slices.IndexFunc(v.Float32s(), notFinite); i >= 0 {
			return fail(fmt.Errorf("%s: tensor %q: value %d is %g", path, name, i, v.Float32s()[i]))
		}
		state[s.Name] = v
		c.Loaded = append(c.Loaded, s.Name)
		c.Values += v.Shape().TotalSize()
	}
	for _, name := range file.Names() {
		switch {
		case used[name], used[models.AveragePrefix+name]:
		case strings.HasPrefix(name, optimizerPrefix):
			c.State++
		default:
			c.Ignored = append(c.Ignored, name)
		}
	}
	return c, c.check()
}

// readWeights reads a checkpoint of a run, a plain state dict in a safetensors file or
// a checkpoint of another project; ignored is what of the last was not read.
func readWeights(path string) (state models.StateDict, ignored []string, err error) {
	native, err := isSafetensors(path)
	if err != nil {
		return nil, nil, err
	}
	if native {
		state, meta, err := models.ReadSafetensors(path)
		if err != nil {
			return nil, nil, err
		}
		if damaged(state, meta) {
			return nil, nil, fmt.Errorf("%s: its values are not those that were written: the file is damaged", path)
		}
		if meta[keyDigest] != "" {
			return state, nil, nil
		}
		if foreign, ignored, err := foreignWeights(path); err == nil {
			return foreign, ignored, nil
		}
		return state, nil, nil
	}
	return foreignWeights(path)
}

// damaged says whether the tensors are not those of the checkpoint that meta is of.
func damaged(state models.StateDict, meta map[string]string) bool {
	if _, ok := meta[keyDigest]; !ok {
		return false
	}
	for _, v := range state {
		if v.Dtype() != tensor.Float32 { // no checkpoint has others
			return true
		}
	}
	return meta[keyDigest] != digest(state, meta)
}

// positions fits the position embeddings of a vision transformer to the size of the
// run's images.
func (c *Coverage) positions(s models.Spec, v *tensor.Dense) *tensor.Dense {
	if v.Shape().Eq(tensor.Shape(s.Node.Dims)) || len(s.Node.Dims) != 3 {
		return v
	}
	fitted, ok := models.FitPositions(v, s.Node.Dims[1])
	if !ok || !fitted.Shape().Eq(tensor.Shape(s.Node.Dims)) {
		return v // the report says that the shapes differ
	}
	c.Resized = append(c.Resized, ShapeConflict{s.Name, v.Shape(), s.Node.Dims})
	return fitted
}

func notFinite(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }

// check refuses a file that leaves a part of the encoder at random.
func (c *Coverage) check() error {
	backbone := func(name string) bool {
		return strings.HasPrefix(models.StartsAs(name), backbonePrefix)
	}
	var missing []string
	for _, name := range c.Missing {
		if backbone(name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("finetune: init: %s lacks %d of the encoder's tensors: %s; is it a checkpoint of this --encoder?", c.File, len(missing), shortList(missing))
	}
	for _, r := range c.Reshaped {
		if backbone(r.Name) {
			return fmt.Errorf("finetune: init: %s: tensor %q is %v, the encoder's is %v: choose the --encoder, --width, --stem and --channels that it was trained with", c.File, r.Name, r.Has, r.Run)
		}
	}
	return nil
}

// isSafetensors says whether a file is one of safetensors, by its contents.
func isSafetensors(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	if info.IsDir() {
		return false, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	// Eight bytes with the length of the header, which is a JSON object.
	head := make([]byte, 9)
	if _, err := io.ReadFull(f, head); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false, err
	}
	return head[8] == '{' || strings.HasSuffix(path, ".safetensors"), nil
}

// Table returns the coverage as lines for a reader.
func (c *Coverage) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "start from %s\n", c.File)
	fmt.Fprintf(&b, "  %-12s %4d tensors, %d values\n", "loaded", len(c.Loaded), c.Values)
	row := func(what string, names []string) {
		if len(names) > 0 {
			fmt.Fprintf(&b, "  %-12s %4d tensors: %s\n", what, len(names), shortList(names))
		}
	}
	row("missing", c.Missing)
	conflicts := make([]string, len(c.Reshaped))
	for i, r := range c.Reshaped {
		conflicts[i] = fmt.Sprintf("%s is %v, want %v", r.Name, r.Has, r.Run)
	}
	row("wrong shape", conflicts)
	resized := make([]string, len(c.Resized))
	for i, r := range c.Resized {
		resized[i] = fmt.Sprintf("%s from %v to %v", r.Name, r.Has, r.Run)
	}
	row("interpolated", resized)
	row("ignored", c.Ignored)
	if c.State > 0 {
		fmt.Fprintf(&b, "  %-12s %4d tensors of the optimiser's state\n", "ignored", c.State)
	}
	if len(c.Missing)+len(c.Reshaped) > 0 {
		b.WriteString("  what is missing or of wrong shape starts at random\n")
	}
	return b.String()
}

// shortList joins the first names.
func shortList(names []string) string {
	const most = 6
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s, ... (%d more)", strings.Join(names[:most], ", "), len(names)-most)
}
