package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/finetune/report"
)

// reportFlags are the flags of report.
type reportFlags struct {
	encoderFlags
	data   dataFlags
	output string
	images []string // DATA
	test   []string
	limit  int
	seed   uint64
	force  bool
	given  func(flag string) bool
}

func newReport(s streams, g *global) *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use:   "report RUN|DETECTOR.onnx [DATA...]",
		Short: "One page about a run or a detector",
		Long: `Report writes one HTML file that opens without a network.

Of a run it shows the curves, augmented pairs, reconstructions, the last metrics and the
configuration; with DATA also a map of the embeddings, and sample images beside their
nearest neighbours; with --test, labelled images that a classifier is measured by, the
confusion matrix.

Of a detector it shows what it is; with DATA the scores, and the worst and the
borderline images beside their heatmaps; with a category in MVTec's layout how well it
does.`,
		Example: `  sslrt report runs/first photos/ --output first.html
  sslrt report detector.onnx parts/`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.images, f.given = args[1:], cmd.Flags().Changed
			return f.run(cmd.Context(), s, g, args[0])
		},
	}
	f.register(cmd)
	fl := cmd.Flags()
	f.data.register(fl, true)
	fl.StringVarP(&f.output, "output", "o", "report.html", "file to write")
	fl.StringArrayVar(&f.test, "test", nil, "of a run that classifies: labelled images to measure it by")
	fl.IntVar(&f.limit, "limit", 2000, "images of the map, drawn at random")
	fl.Uint64Var(&f.seed, "seed", 0, "of what is drawn")
	fl.BoolVar(&f.force, "force", false, "replace a file that exists")
	return cmd
}

func (f *reportFlags) run(ctx context.Context, s streams, g *global, of string) error {
	if f.limit < 1 {
		return usagef("got --limit %d: want 1 or more", f.limit)
	}
	if err := checkFree(f.force, f.output); err != nil {
		return err
	}
	info, err := os.Stat(of)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, flag := range []string{"test", "limit", "seed", "layer"} {
		if !info.IsDir() && f.given(flag) {
			return usagef("--%s is for runs, %s is a file: leave it out", flag, of)
		}
	}
	var src augment.Source
	if len(f.images) > 0 {
		if src, err = f.data.open(f.images, "test", s); err != nil {
			return err
		}
		defer src.Close()
	}
	var p *report.Page
	if info.IsDir() {
		p, err = f.ofRun(ctx, s, of, src)
	} else {
		p, err = f.ofDetector(ctx, s, of, src)
	}
	if err != nil {
		return err
	}
	if err := writeWhole(f.output, func(w io.Writer) error { _, err := p.WriteTo(w); return err }); err != nil {
		return err
	}
	if g.json {
		err = printJSON(s.out, map[string]any{"path": f.output, "sections": len(p.Sections), "skipped": f.inputs.skipped})
	} else {
		_, err = fmt.Fprintf(s.out, "wrote %s: %d sections about %s\n", f.output, len(p.Sections), of)
	}
	if err != nil {
		return err
	}
	return f.inputs.err()
}

// ofRun makes the page of a run.
func (f *reportFlags) ofRun(ctx context.Context, s streams, dir string, src augment.Source) (*report.Page, error) {
	run, err := finetune.OpenRun(dir)
	if err != nil {
		return nil, err
	}
	c := &run.Config
	var test augment.Source
	if len(f.test) > 0 {
		if c.Method != finetune.MethodSupervised {
			return nil, usagef("--test measures a classifier; %s is a run of method %s", dir, c.Method)
		}
		if test, err = openLabelled(&f.data, f.test, "test", s); err != nil {
			return nil, err
		}
		defer test.Close()
	}
	p := &report.Page{Title: dir, Summary: fmt.Sprintf("%s, %s, %d px, %d epochs", c.Method, c.EncoderText(), c.ImageSize, c.Epochs)}
	add := func(sections ...report.Section) { p.Sections = append(p.Sections, sections...) }
	metrics, err := run.LastMetrics()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(metrics) > 0 {
		table := [][]string{{"metric", "last epoch"}}
		for _, name := range slices.Sorted(maps.Keys(metrics)) {
			table = append(table, []string{name, strconv.FormatFloat(metrics[name], 'g', 6, 64)})
		}
		add(report.Section{Title: "Last metrics", Text: "Means over the last epoch, and what was measured after it. knn is measured among the training images.", Table: table})
	}
	cost, err := run.Cost()
	if err != nil {
		return nil, err
	}
	if cost.Seconds > 0 {
		add(report.Section{Title: "Cost", Text: "What training took, over all starts of the run.",
			Table: [][]string{{"seconds", "peak memory, MB"}, {known(cost.Seconds, 1), known(float64(cost.PeakBytes)/1e6, 0)}}})
	}
	pictures, err := runPictures(dir)
	if err != nil {
		return nil, err
	}
	add(pictures...)
	if src != nil {
		sections, err := f.embeddings(ctx, s, run, src)
		if err != nil {
			return nil, err
		}
		add(sections...)
	}
	if test != nil {
		section, err := f.confusion(ctx, s, run, test)
		if err != nil {
			return nil, err
		}
		add(section)
	}
	settings, err := configTable(c)
	if err != nil {
		return nil, err
	}
	add(report.Section{Title: "Configuration", Table: settings})
	return p, nil
}

// runPictures are those that a run keeps.
func runPictures(dir string) ([]report.Section, error) {
	var out []report.Section
	for _, picture := range []struct{ file, title, caption string }{
		{"curves.png", "Curves", "each metric over the epochs"},
		{"preview.png", "Augmented views", "images, each followed by random views of it, as training sees them"},
		{"reconstruction.png", "Reconstructions", "images, what the network was given, and what it made of it, after the last epoch"},
	} {
		data, err := os.ReadFile(filepath.Join(dir, picture.file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		out = append(out, report.Section{Title: picture.title, Images: []report.Image{{Caption: picture.caption, PNG: data}}})
	}
	return out, nil
}

// configTable lists the settings as config.yaml has them, one a row.
func configTable(c *finetune.Config) ([][]string, error) {
	text, err := c.Marshal()
	if err != nil {
		return nil, err
	}
	table := [][]string{{"setting", "value"}}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		key, value, ok := strings.Cut(line, ":")
		if last := table[len(table)-1]; !ok || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "-") {
			last[1] = strings.TrimSpace(last[1] + " " + strings.TrimSpace(line))
			continue
		}
		table = append(table, []string{key, strings.TrimSpace(value)})
	}
	return table, nil
}
