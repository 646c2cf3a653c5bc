package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/finetune/compare"
	"github.com/sslrt/sslrt/finetune/probe"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
)

// compareFlags are the flags of compare.
type compareFlags struct {
	encoderFlags
	data        dataFlags
	train, test []string
	csv         string
	seed        uint64
	limit       int
	baselines   bool
}

func newCompare(s streams, g *global) *cobra.Command {
	var f compareFlags
	cmd := &cobra.Command{
		Use:   "compare RUN|MODEL.onnx...",
		Short: "One table of several encoders by task, one protocol",
		Long: `Compare embeds the same labelled images with several encoders, of runs or ONNX
files, and prints one table: nearest neighbours, a linear probe with all labels and
with 1 % of them, clusters, one class against the others, the time to embed an image,
and the time and memory that training a run took ("-" where unknown). Beside them stand
the network of the first run with random weights, and the raw pixels. All are measured
alike; the protocol is printed.`,
		Example: `  sslrt compare runs/first runs/second --train photos/train --test photos/test --csv table.csv`,
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), s, g, args) },
	}
	f.register(cmd)
	fl := cmd.Flags()
	f.data.register(fl, false)
	fl.StringArrayVar(&f.train, "train", nil, "labelled images to learn from; may be given several times")
	fl.StringArrayVar(&f.test, "test", nil, "labelled images to measure by; may be given several times")
	fl.StringVar(&f.csv, "csv", "", "write the table too")
	fl.IntVar(&f.limit, "limit", 0, "use so many training images, drawn by class; 0: all")
	fl.Uint64Var(&f.seed, "seed", 0, "of what is drawn, and of the random weights")
	fl.BoolVar(&f.baselines, "baselines", true, "random weights and raw pixels too")
	return cmd
}

// compared is a row of the table.
type compared struct {
	name string
	compare.Scores
	cost   finetune.Cost // of the training
	embed  time.Duration // an image, decoding included
	weight int           // embedding size
}

func (f *compareFlags) run(ctx context.Context, s streams, g *global, args []string) error {
	if len(f.train) == 0 || len(f.test) == 0 {
		return usagef("compare needs labelled data by --train and --test")
	}
	if f.limit < 0 {
		return usagef("got --limit %d: want 0 or more", f.limit)
	}
	if err := checkFree(true, f.csv); err != nil {
		return err
	}
	train, test, err := openSets(&f.data, f.train, f.test, s)
	if err != nil {
		return err
	}
	defer train.Close()
	defer test.Close()
	if f.limit > 0 && f.limit < train.Len() {
		if train, err = someOf(train, f.limit, f.seed); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "sslrt-compare-*")
	if err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	defer os.RemoveAll(dir)
	models, err := f.models(ctx, dir, args)
	if err != nil {
		return err
	}
	for _, m := range models { // before the work, which takes long
		enc, err := f.load(m)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		enc.Close()
	}
	var rows []compared
	skipped := 0
	for _, m := range models {
		row, n, err := f.measure(ctx, s, m, train, test)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		rows, skipped = append(rows, row), max(skipped, n)
	}
	if f.csv != "" {
		if err := writeCSV(f.csv, comparedTable(rows, 6)); err != nil {
			return err
		}
	}
	if err := reportCompared(s, g, rows, train.Len(), test.Len()); err != nil {
		return err
	}
	f.inputs.add(train.Len()+test.Len(), skipped) // the same images for each encoder
	return f.inputs.err()
}

// namedModel is an encoder's file, or the raw pixels.
type namedModel struct {
	name, path string
	size       string        // of pixels
	cost       finetune.Cost // of a run
}

// models exports the encoders of runs, and adds the baselines.
func (f *compareFlags) models(ctx context.Context, dir string, args []string) ([]namedModel, error) {
	var out []namedModel
	var first *finetune.Run
	for k, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, fmt.Errorf("compare: %w", err)
		}
		if !info.IsDir() {
			out = append(out, namedModel{name: arg, path: arg})
			continue
		}
		run, err := finetune.OpenRun(arg)
		if err != nil {
			return nil, err
		}
		path := filepath.Join(dir, strconv.Itoa(k)+".onnx")
		if _, err := finetune.Export(ctx, run, path, finetune.ExportOptions{Part: onnx.KindEncoder, NoVerify: true}); err != nil {
			return nil, err
		}
		cost, err := run.Cost()
		if err != nil {
			return nil, err
		}
		out = append(out, namedModel{name: arg, path: path, cost: cost})
		if first == nil {
			first = run
		}
	}
	if !f.baselines {
		return out, nil
	}
	size := 32
	if first != nil {
		size = first.Config.ImageSize
		path := filepath.Join(dir, "random.onnx")
		if err := finetune.ExportRandom(first, path, f.seed); err != nil {
			return nil, err
		}
		out = append(out, namedModel{name: "random weights", path: path})
	}
	return append(out, namedModel{name: "raw pixels", path: pixels, size: strconv.Itoa(size)}), nil
}

// load opens an encoder as all of them are.
func (f *compareFlags) load(m namedModel) (*runtime.Encoder, error) {
	flags := f.encoderFlags
	if m.size != "" && flags.size == "" {
		flags.size = m.size
	}
	return flags.load(m.path)
}

func (f *compareFlags) measure(ctx context.Context, s streams, m namedModel, train, test augment.Source) (compared, int, error) {
	row := compared{name: m.name, cost: m.cost}
	enc, err := f.load(m)
	if err != nil {
		return row, 0, err
	}
	defer enc.Close()
	started := time.Now()
	e := evaluateFlags{encoderFlags: f.encoderFlags}
	sets, err := e.embedSets(ctx, s, enc, train, test)
	if err != nil {
		return row, 0, err
	}
	row.embed = time.Since(started) / time.Duration(train.Len()+test.Len())
	row.weight = enc.Dim()
	set := func(e runtime.Embeddings, labels []int) compare.Set {
		return compare.Set{X: e.X, Labels: labels, Dim: e.Dim}
	}
	bar := newProgress(s.err, m.name, "tasks", len(compare.Tasks))
	defer bar.close()
	done := 0
	row.Scores, err = compare.Measure(ctx, set(sets.train, sets.trainLabels), set(sets.test, sets.testLabels), len(sets.classes), f.seed,
		func(string) { bar.set(done); done++ })
	return row, sets.skipped, err
}

// comparedTable is the table as texts, the scores with so many digits; an empty one is
// what the data do not allow.
func comparedTable(rows []compared, digits int) [][]string {
	table := [][]string{append(append([]string{"encoder"}, compare.Tasks...), "embed_ms", "embedding_size", "train_s", "peak_mb")}
	for _, r := range rows {
		line := []string{r.name}
		for _, v := range r.Values() {
			text := ""
			if !math.IsNaN(v) {
				text = strconv.FormatFloat(v, 'f', digits, 64)
			}
			line = append(line, text)
		}
		table = append(table, append(line, strconv.FormatFloat(r.embed.Seconds()*1000, 'f', 3, 64), strconv.Itoa(r.weight),
			known(r.cost.Seconds, 1), known(float64(r.cost.PeakBytes)/1e6, 0)))
	}
	return table
}

// known writes a number with so many decimals, and 0, which stands for what was not
// recorded, as "-".
func known(v float64, decimals int) string {
	if v == 0 {
		return "-"
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

func reportCompared(s streams, g *global, rows []compared, train, test int) error {
	protocol := fmt.Sprintf("%d training and %d test images; %s; embed_ms, one image, decoding included; train_s and peak_mb, what training a run took", train, test, compare.Protocol)
	if g.json {
		var list []map[string]any
		for _, r := range rows {
			row := map[string]any{"encoder": r.name, "embed_ms": r.embed.Seconds() * 1000, "embedding_size": r.weight}
			if r.cost.Seconds > 0 {
				row["train_s"] = r.cost.Seconds
			}
			if r.cost.PeakBytes > 0 {
				row["peak_mb"] = float64(r.cost.PeakBytes) / 1e6
			}
			for i, v := range r.Values() {
				if !math.IsNaN(v) {
					row[compare.Tasks[i]] = v
				}
			}
			list = append(list, row)
		}
		return printJSON(s.out, map[string]any{"encoders": list, "protocol": protocol})
	}
	printTable(s.out, comparedTable(rows, 4))
	_, err := fmt.Fprintf(s.out, "protocol: %s\n", protocol)
	return err
}

func printTable(w io.Writer, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	t.Flush()
}

// someOf draws about n images of a source, of each class its share.
func someOf(src augment.Source, n int, seed uint64) (augment.Source, error) {
	kept, err := probe.Fraction(sourceLabels(src), float64(n)/float64(src.Len()), seed)
	if err != nil {
		return nil, err
	}
	return augment.Subset(src, kept), nil
}
