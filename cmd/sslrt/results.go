package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/finetune/probe"
	"github.com/sslrt/sslrt/models/onnx"
)

// resultFlags say what is written about a classification beside its accuracy.
type resultFlags struct {
	output    string // ONNX file
	confusion []string
	report    bool
	force     bool
}

func (f *resultFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "write the classifier, the encoder inside, as one ONNX file")
	fl.StringArrayVar(&f.confusion, "confusion", nil, "write the confusion matrix, .png or .csv; may be given several times")
	fl.BoolVar(&f.report, "report", false, "print precision, recall and F1 of each class")
	fl.BoolVar(&f.force, "force", false, "replace the classifier's file if it exists")
}

// check refuses what would be found wrong when the results are there.
func (f *resultFlags) check() error {
	for _, path := range f.confusion {
		if path == "" {
			return usagef("--confusion has no file: want a .png or .csv file")
		}
		if err := wantSuffix("confusion", path, ".png", ".csv"); err != nil {
			return err
		}
	}
	return errors.Join(checkFree(true, f.confusion...), checkFree(f.force, f.output))
}

// calibrationBins is the usual number.
const calibrationBins = 15

// results are the numbers of a classification, by their names in JSON.
type results struct {
	Accuracy    float64       `json:"accuracy"`
	Top5        float64       `json:"top5"`
	Balanced    float64       `json:"balanced_accuracy"`
	MacroF1     float64       `json:"macro_f1"`
	ECE         float64       `json:"ece"`
	Uncalibrate *float64      `json:"ece_before_scaling,omitempty"`
	Temperature float64       `json:"temperature"`
	Protocol    string        `json:"protocol"`
	Images      int           `json:"images"`
	Skipped     int           `json:"skipped"`
	Variants    []variant     `json:"variants,omitempty"`
	Classes     []classResult `json:"classes,omitempty"`
	Path        string        `json:"path,omitempty"`
}

type classResult struct {
	Name      string  `json:"class"`
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
	Images    int     `json:"images"`
}

func (f *resultFlags) write(s streams, g *global, out *outcome, l *labelledSets) error {
	r, confusion, err := measure(out, l)
	if err != nil {
		return err
	}
	if f.output != "" {
		if err := f.writeClassifier(out, l); err != nil {
			return err
		}
		r.Path = f.output
	}
	return f.print(s, g, r, confusion, l.classes)
}

// print writes the confusion matrix where it is asked for, and prints the numbers.
func (f *resultFlags) print(s streams, g *global, r *results, confusion *metrics.Confusion, classes []string) error {
	if !f.report {
		r.Classes = nil
	}
	for _, path := range f.confusion {
		if err := writeConfusion(path, confusion, classes); err != nil {
			return err
		}
	}
	if g.json {
		return printJSON(s.out, r)
	}
	return r.print(s.out)
}

func measure(out *outcome, l *labelledSets) (*results, *metrics.Confusion, error) {
	n := len(l.classes)
	predicted := metrics.Argmax(out.logits, n)
	confusion, err := metrics.NewConfusion(l.testLabels, predicted, n)
	if err != nil {
		return nil, nil, err
	}
	report := confusion.Report()
	r := &results{Accuracy: report.Accuracy, Balanced: report.BalancedAccuracy, MacroF1: report.MacroF1,
		Temperature: out.temperature, Protocol: out.protocol, Images: len(l.testLabels), Skipped: l.skipped, Variants: out.variants}
	if r.Top5, err = metrics.TopK(out.logits, n, l.testLabels, min(5, n)); err != nil {
		return nil, nil, err
	}
	c, err := metrics.Calibrate(out.probability, n, l.testLabels, calibrationBins)
	if err != nil {
		return nil, nil, err
	}
	r.ECE = c.ECE
	if out.temperature != 1 {
		plain, err := metrics.Calibrate(metrics.Softmax(out.logits, n, 1), n, l.testLabels, calibrationBins)
		if err != nil {
			return nil, nil, err
		}
		r.Uncalibrate = &plain.ECE
	}
	for k, class := range confusion.PerClass() {
		r.Classes = append(r.Classes, classResult{l.classes[k], class.Precision, class.Recall, class.F1, class.Support})
	}
	return r, confusion, nil
}

func (r *results) print(w io.Writer) error {
	fmt.Fprintf(w, "accuracy: %.2f %% of %d test images\n", 100*r.Accuracy, r.Images)
	fmt.Fprintf(w, "top-5 %.2f %%, balanced accuracy %.2f %%, macro F1 %.4f\n", 100*r.Top5, 100*r.Balanced, r.MacroF1)
	if r.Uncalibrate != nil {
		fmt.Fprintf(w, "calibration error (ECE, %d bins) %.4f with temperature %.3f, %.4f without\n", calibrationBins, r.ECE, r.Temperature, *r.Uncalibrate)
	} else {
		fmt.Fprintf(w, "calibration error (ECE, %d bins) %.4f\n", calibrationBins, r.ECE)
	}
	for _, v := range r.Variants {
		fmt.Fprintf(w, "  %.2f %%  %s\n", 100*v.Accuracy, v.Name)
	}
	if len(r.Classes) > 0 {
		wide := len("class")
		for _, c := range r.Classes {
			wide = max(wide, len(c.Name))
		}
		fmt.Fprintf(w, "%-*s  precision  recall      F1  images\n", wide, "class")
		for _, c := range r.Classes {
			fmt.Fprintf(w, "%-*s     %6.4f  %6.4f  %6.4f  %6d\n", wide, c.Name, c.Precision, c.Recall, c.F1, c.Images)
		}
	}
	if r.Path != "" {
		fmt.Fprintf(w, "wrote %s: sslrt classify %s IMAGES\n", r.Path, shellWord(r.Path))
	}
	_, err := fmt.Fprintf(w, "protocol: %s\n", r.Protocol)
	return err
}

func (f *resultFlags) writeClassifier(out *outcome, l *labelledSets) error {
	encoder, err := onnx.ReadFile(l.model)
	if err != nil {
		return err
	}
	m, err := out.file(encoder, probe.File{Classes: l.learned, Method: out.method, Protocol: out.protocol, Version: programVersion()})
	if err != nil {
		return err
	}
	return engine.WriteVerified(f.output, m, f.force, nil)
}

// writeConfusion writes a confusion matrix by the suffix of its name.
func writeConfusion(path string, c *metrics.Confusion, classes []string) error {
	if strings.EqualFold(filepath.Ext(path), ".png") {
		m, err := probe.DrawConfusion(c, classes)
		if err != nil {
			return err
		}
		return writePNG(path, m)
	}
	rows := [][]string{append([]string{"true class"}, classes...)}
	for k, name := range classes {
		row := []string{name}
		for _, n := range c.Counts[k*c.Classes : (k+1)*c.Classes] {
			row = append(row, strconv.Itoa(n))
		}
		rows = append(rows, row)
	}
	return writeCSV(path, rows)
}

// parseShare reads a share: 10%, 0.1.
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v > 0 && v <= 1) {
		return 0, fmt.Errorf("%q: want a share such as 1%%, 10%% or 0.1", text)
	}
	return v, nil
}
