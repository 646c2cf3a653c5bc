package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/models/checkpoint"
)

// checkpointFlags say how to read weights that others trained, where the file and
// its profile should not decide.
type checkpointFlags struct {
	opt                checkpoint.Options
	pad                int
	stride1x1          bool
	mean, std, classes string
	changed            func(flag string) bool
}

func (c *checkpointFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	c.changed = f.Changed
	f.StringVar(&c.opt.Profile, "profile", "", "project that wrote the checkpoint (default: found by its names)")
	f.StringVar(&c.opt.Root, "key", "", "dictionary in the checkpoint that holds the weights, such as state_dict (default: found)")
	f.IntVar(&c.pad, "stem-padding", 0, "padding of the first convolution (default: by the profile)")
	f.IntVar(&c.opt.StemStride, "stem-stride", 0, "stride of the first convolution (default: by the profile)")
	f.StringVar(&c.opt.StemPool, "stem-pool", "", "pooling behind the first convolution: max (3x3, stride 2) or none (default: by the profile)")
	f.BoolVar(&c.stride1x1, "stride-in-1x1", false, "bottlenecks stride in their first convolution, v1, or with =false in the 3x3 (default: by the profile)")
	f.StringVar(&c.opt.Tokens, "tokens", "", "embedding of a transformer: cls, its class token, or mean (default: by the profile)")
	f.IntVar(&c.opt.Heads, "heads", 0, "of a transformer's attention (default: by the profile)")
	f.StringVar(&c.mean, "mean", "", "of the input per channel, such as 0.485,0.456,0.406, for pixels from 0 to 1 (default: by the profile)")
	f.StringVar(&c.std, "std", "", "standard deviation of the input per channel (default: by the profile)")
	f.IntVar(&c.opt.ImageSize, "image-size", 0, "pixels of the input's side (default: by the profile)")
	f.StringVar(&c.classes, "classes", "", "class names of a classifier: joined by commas, or a file with one per line")
}

// given lists the flags that were given.
func (c *checkpointFlags) given() []string {
	var out []string
	for _, f := range []string{"profile", "key", "stem-padding", "stem-stride", "stem-pool", "stride-in-1x1", "tokens", "heads", "mean", "std", "image-size", "classes"} {
		if c.changed(f) {
			out = append(out, "--"+f)
		}
	}
	return out
}

// options returns what the flags say.
func (c *checkpointFlags) options() (checkpoint.Options, []string, error) {
	opt := c.opt
	if c.changed("stem-padding") {
		if opt.StemPad = &c.pad; c.pad < 0 || c.pad > 16 {
			return opt, nil, usagef("--stem-padding is %d: want 0 to 16 pixels", c.pad)
		}
	}
	if c.changed("stride-in-1x1") {
		opt.StrideIn1x1 = &c.stride1x1
	}
	if opt.StemStride < 0 || opt.StemStride > 16 {
		return opt, nil, usagef("--stem-stride is %d: want 1 to 16 pixels", opt.StemStride)
	}
	if opt.StemPool != "" && opt.StemPool != "max" && opt.StemPool != "none" {
		return opt, nil, usagef("--stem-pool is %q: choose max or none", opt.StemPool)
	}
	if opt.Tokens != "" && opt.Tokens != "cls" && opt.Tokens != "mean" {
		return opt, nil, usagef("--tokens is %q: choose cls or mean", opt.Tokens)
	}
	if opt.Heads < 0 {
		return opt, nil, usagef("--heads is %d: want 1 or more", opt.Heads)
	}
	if opt.ImageSize < 0 || opt.ImageSize > 4096 {
		return opt, nil, usagef("--image-size is %d: want 1 to 4096 pixels", opt.ImageSize)
	}
	if (c.mean == "") != (c.std == "") {
		return opt, nil, usagef("--mean and --std go together")
	}
	if c.mean != "" {
		opt.Norm = &checkpoint.Norm{}
		for _, f := range []struct {
			flag, text string
			to         *[3]float32
		}{{"mean", c.mean, &opt.Norm.Mean}, {"std", c.std, &opt.Norm.Std}} {
			if err := threeNumbers(f.text, f.to); err != nil {
				return opt, nil, usagef("--%s %s: %w", f.flag, f.text, err)
			}
		}
	}
	if opt.Profile != "" {
		if _, err := checkpoint.FindProfile(opt.Profile); err != nil {
			return opt, nil, usagef("--profile: %w", err)
		}
	}
	classes, err := classNames(c.classes)
	return opt, classes, err
}

// threeNumbers reads one number for all channels, or three.
func threeNumbers(text string, to *[3]float32) error {
	parts := strings.Split(text, ",")
	if len(parts) == 1 {
		parts = []string{text, text, text}
	}
	if len(parts) != 3 {
		return fmt.Errorf("got %d numbers, want one or three, joined by commas", len(parts))
	}
	for i, p := range parts {
		v, err := strconv.ParseFloat(strings.TrimSpace(p), 32)
		if err != nil {
			return fmt.Errorf("%q is not a number", p)
		}
		to[i] = float32(v)
	}
	return nil
}

// classNames reads --classes: a file of names, one per line, or names joined by
// commas.
func classNames(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	data, err := os.ReadFile(text)
	if err != nil {
		if !strings.Contains(text, ",") {
			return nil, fmt.Errorf("--classes: %w (or give two names or more, joined by commas)", err)
		}
		return strings.Split(text, ","), nil
	}
	return strings.Split(strings.TrimRight(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n"), "\n"), nil
}

// printPlan writes what an import does, in lines for a reader; all is each tensor.
func printPlan(w io.Writer, p *checkpoint.Plan, all bool) error {
	fmt.Fprintf(w, "profile: %s, %s\n", p.Profile.Name, p.Profile.About)
	if p.Root != "" {
		fmt.Fprintf(w, "weights under: %s\n", p.Root)
	}
	if p.Network.ResNet != nil || p.Network.ViT != nil || p.Network.Layers != nil {
		fmt.Fprintf(w, "network: %s\n", p.Network.String())
	}
	if p.Network.Projector != nil {
		fmt.Fprintf(w, "projector: %s\n", p.Network.Projector)
	}
	if p.Network.Classifier != nil {
		fmt.Fprintf(w, "classifier: %s\n", p.Network.Classifier)
	}
	for _, a := range p.Assumptions {
		fmt.Fprintf(w, "not in the file: %s\n", a)
	}
	for _, status := range []checkpoint.Status{checkpoint.Loaded, checkpoint.Renamed, checkpoint.Missing, checkpoint.WrongShape} {
		if n := p.Coverage.Count(status); n > 0 {
			fmt.Fprintf(w, "%-12s %4d tensors\n", status, n)
		}
	}
	why := map[string]int{}
	var order []string
	for _, r := range p.Coverage {
		if r.Status == checkpoint.Ignored {
			if why[r.Why]++; why[r.Why] == 1 {
				order = append(order, r.Why)
			}
		}
	}
	for _, reason := range order {
		fmt.Fprintf(w, "%-12s %4d tensors: %s\n", checkpoint.Ignored, why[reason], reason)
	}
	if !all {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range p.Coverage {
		from, to := r.File, r.Name
		if from == "" {
			from = "-"
		}
		if to == "" {
			to = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%v\t%s\n", r.Status, from, to, r.Shape, r.Why)
	}
	return t.Flush()
}

// isCheckpointName says whether a file is called as checkpoints of PyTorch are.
func isCheckpointName(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".pt", ".pth", ".ckpt", ".tar", ".bin", ".th", ".torch", ".pkl":
		return true
	}
	return false
}

// inspect shows what a checkpoint holds and how it would be imported. A file that no
// profile reads is described.
func (c *checkpointFlags) inspect(s streams, g *global, path string) error {
	opt, _, err := c.options()
	if err != nil {
		return err
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	values := 0
	for _, t := range f.Tensors {
		values += t.Len()
	}
	plan, planErr := checkpoint.NewPlan(f, opt)
	var damaged []string
	if planErr == nil {
		if damaged, err = plan.NotFinite(); err != nil {
			return err
		}
	}
	if g.json {
		return c.inspectJSON(s, f, plan, planErr, damaged, values)
	}
	fmt.Fprintf(s.out, "%s: %d values in %d tensors, %d bytes\n", f.Format, values, len(f.Tensors), f.Size)
	if len(f.Foreign) > 0 {
		fmt.Fprintf(s.out, "names of Python that are not executed: %s\n", strings.Join(f.Foreign, ", "))
	}
	if plan.Profile != nil {
		if err := printPlan(s.out, plan, true); err != nil {
			return err
		}
		for _, name := range damaged {
			fmt.Fprintf(s.out, "holds values that are not finite: %s\n", name)
		}
	} else {
		w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		for _, t := range f.Tensors {
			fmt.Fprintf(w, "%s\t%s\t%v\n", t.Name, t.DType, t.Shape)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if planErr != nil {
		fmt.Fprintf(s.out, "cannot be imported: %v\n", planErr)
	}
	return nil
}

type inspectedRow struct {
	File   string `json:"file,omitempty"`
	Name   string `json:"name,omitempty"`
	Status string `json:"status"`
	Shape  []int  `json:"shape"`
	Why    string `json:"why,omitempty"`
}

func (c *checkpointFlags) inspectJSON(s streams, f *checkpoint.File, plan *checkpoint.Plan, planErr error, damaged []string, values int) error {
	out := struct {
		Path      string           `json:"path"`
		Type      string           `json:"type"`
		Format    string           `json:"format"`
		Tensors   []inspectedValue `json:"tensors"`
		Values    int              `json:"values"`
		Foreign   []string         `json:"foreign"` // names of Python that are not executed
		Import    *importResult    `json:"import"`  // null if no profile reads the file
		Coverage  []inspectedRow   `json:"coverage"`
		NotFinite []string         `json:"not_finite"`
		Error     string           `json:"error,omitempty"` // why it cannot be imported
	}{Path: f.Path, Type: "checkpoint", Format: f.Format, Tensors: []inspectedValue{}, Values: values,
		Foreign: append([]string{}, f.Foreign...), Coverage: []inspectedRow{}, NotFinite: append([]string{}, damaged...)}
	for _, t := range f.Tensors {
		v := inspectedValue{Name: t.Name, DType: string(t.DType), Shape: []string{}}
		for _, d := range t.Shape {
			v.Shape = append(v.Shape, strconv.Itoa(d))
		}
		out.Tensors = append(out.Tensors, v)
	}
	if plan.Profile != nil {
		r := newImportResult("", plan)
		out.Import = &r
		for _, row := range plan.Coverage {
			out.Coverage = append(out.Coverage, inspectedRow{row.File, row.Name, string(row.Status), append([]int{}, row.Shape...), row.Why})
		}
	}
	if planErr != nil {
		out.Error = planErr.Error()
	}
	return printJSON(s.out, out)
}
