// Command checkpoints imports the checkpoints of the reference data by the command
// line, exports them, runs the exported models on the stored inputs and compares
// what comes out with what PyTorch gave:
//
//	checkpoints [-shared DIR] [-sslrt BIN] [-only PATTERN] [-v]
//
// It takes whatever the folders hold: in DIR/checkpoints each NAME or NAME.gz with
// NAME.npz beside it (input, features; projector, projector_l2, classifier_logits
// and image_u8 where there are any), in DIR/models each file with a folder NAME.pairs
// beside it (input.npy; h.npy, z.npy or output.npy). It exits with 1 when a case fails
// or nothing ran, and with 2 when it was called wrongly.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/sslrt/sslrt/runtime/ort"
)

// tolerance is the largest difference over the largest value.
const tolerance = 1e-4

func main() {
	shared := flag.String("shared", os.Getenv("SSLRT_SHARED"), "folder of reference data; default $SSLRT_SHARED, else ../shared")
	bin := flag.String("sslrt", filepath.Join("bin", "sslrt"), "the command to test")
	only := flag.String("only", "", "regular expression on the names of files; default all")
	verbose := flag.Bool("v", false, "print what the command says")
	flag.Parse()
	pattern, err := regexp.Compile(*only)
	if err != nil || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "checkpoints: wrong call:", err, flag.Args())
		os.Exit(2)
	}
	if *shared == "" {
		*shared = filepath.Join("..", "shared")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := &runner{bin: *bin, out: os.Stdout}
	if *verbose {
		r.log = os.Stderr
	}
	if err := r.runAll(ctx, *shared, pattern); err != nil {
		fmt.Fprintln(os.Stderr, "checkpoints:", err)
		os.Exit(1)
	}
}

// runner runs cases and keeps their outcomes.
type runner struct {
	bin    string
	out    io.Writer
	log    io.Writer // nil: silent
	failed []string
	passed int
}

func (r *runner) runAll(ctx context.Context, shared string, only *regexp.Regexp) error {
	if _, err := ort.Init(ort.FindOptions{}); err != nil {
		return err
	}
	cases, err := find(shared)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "file\tprofile\tfeatures\tprojector\tclassifier\tinput\toutcome")
	for _, c := range cases {
		if !only.MatchString(c.name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return errors.New("interrupted")
		}
		got, err := r.run(ctx, c)
		outcome := "passed"
		if err != nil {
			outcome = "FAILED"
			r.failed = append(r.failed, fmt.Sprintf("%s: %v", c.name, err))
		} else {
			r.passed++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.name, got.profile,
			got.cell("features"), got.cell("projector"), got.cell("classifier"), got.cell("input"), outcome)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range r.failed {
		fmt.Fprintln(r.out, "failed:", f)
	}
	fmt.Fprintf(r.out, "%d of %d checkpoints give PyTorch's outputs within %g of the largest value\n", r.passed, r.passed+len(r.failed), tolerance)
	switch {
	case len(r.failed) > 0:
		return fmt.Errorf("%d failed", len(r.failed))
	case r.passed == 0:
		return errors.New("nothing ran")
	}
	return nil
}

// outcome is what a case gave: differences over the largest value.
type outcome struct {
	profile string
	worst   map[string]float64
}

func (o outcome) cell(name string) string {
	if v, ok := o.worst[name]; ok {
		return fmt.Sprintf("%.1e", v)
	}
	return "-"
}

// run exports the parts that a case has outputs of and compares them.
func (r *runner) run(ctx context.Context, c testCase) (outcome, error) {
	o := outcome{worst: map[string]float64{}}
	dir, err := os.MkdirTemp("", "checkpoints-*")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(dir)
	file, err := c.unpack(dir)
	if err != nil {
		return o, err
	}
	data, err := c.load()
	if err != nil {
		return o, err
	}
	defer data.close()
	input, shape, err := data.floats("input")
	if err != nil {
		return o, err
	}
	if len(shape) != 4 || shape[2] != shape[3] {
		return o, fmt.Errorf("the input is %v, want [N, C, S, S]", shape)
	}
	var errs []error
	for _, want := range c.outputs(data) {
		model := filepath.Join(dir, want.part+".onnx")
		if _, err := os.Stat(model); err != nil {
			if o.profile, err = r.export(ctx, file, model, want.part, shape[2]); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", want.part, err))
				continue
			}
		}
		worst, err := compareOutput(ctx, model, input, shape, data, want)
		if err == nil && worst > tolerance {
			err = fmt.Errorf("differs by %.2e of the largest value", worst)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", want.array, err))
		}
		o.worst[want.column] = max(o.worst[want.column], worst)
		if want.part == "encoder" && data.has("image_u8") {
			worst, err := compareInput(model, input, shape, data)
			if err == nil && worst > 1e-5 {
				err = fmt.Errorf("the file's mean and std give an input that differs by %.2e", worst)
			}
			if err != nil {
				errs = append(errs, err)
			}
			o.worst["input"] = worst
		}
	}
	for _, name := range data.names() {
		if !slices.Contains(compared, name) && r.log != nil {
			fmt.Fprintf(r.log, "%s: not compared: %s\n", c.name, name)
		}
	}
	return o, errors.Join(errs...)
}

// compared are the arrays that mean something here.
var compared = strings.Fields("input image_u8 features projector projector_l2 classifier_logits h z output")
