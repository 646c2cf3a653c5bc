package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/detector"
	"github.com/sslrt/sslrt/runtime"
)

func newAnomalyEvaluate(s streams, g *global) *cobra.Command {
	var f encoderFlags
	var data dataFlags
	var normal, table string
	cmd := &cobra.Command{
		Use:   "evaluate DETECTOR.onnx CATEGORY_DIR",
		Short: "Measure a detector by labelled images",
		Long: `Evaluate scores labelled images and prints how well anomalous ones stand out, with
the protocol. CATEGORY_DIR is in MVTec's layout: test/good and test/DEFECT, masks in
ground_truth/DEFECT (NAME_mask.png), boxes in boxes.csv; or a plain folder with good/
and folders of others. With a folder of detectors, as anomaly fit makes it for several
categories, CATEGORY_DIR is the folder of those, and their mean is printed too.`,
		Example: `  sslrt anomaly evaluate detector.onnx parts/
  sslrt anomaly evaluate detectors/ mvtec/ --csv results.csv`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFree(true, table); err != nil {
				return err
			}
			opt, err := f.options()
			if err != nil {
				return err
			}
			reading, err := data.options()
			if err != nil {
				return err
			}
			pairs, err := evaluationPairs(args[0], args[1])
			if err != nil {
				return err
			}
			var results []categoryResult
			for _, p := range pairs {
				e, err := evaluateDetector(cmd.Context(), s, &f, p, opt, normal, reading)
				if err != nil {
					if len(pairs) > 1 {
						err = fmt.Errorf("category %s: %w", p.name, err)
					}
					return err
				}
				results = append(results, categoryResult{p.name, e})
			}
			if table != "" {
				if err := writeEvaluations(table, results); err != nil {
					return err
				}
			}
			if err := reportEvaluations(s, g, results); err != nil {
				return err
			}
			return f.inputs.err()
		},
	}
	f.register(cmd)
	data.register(cmd.Flags(), false)
	leaveOut(cmd, "layer")
	cmd.Flags().StringVar(&normal, "normal", "good", "class of the normal images")
	cmd.Flags().StringVar(&table, "csv", "", "write the numbers as a table too")
	return cmd
}

// evaluationPair is a detector and the category that it is measured by.
type evaluationPair struct{ name, detector, category string }

type categoryResult struct {
	name string
	*detector.Evaluation
}

// evaluationPairs matches detectors and categories by name when both are folders of
// several.
func evaluationPairs(model, dir string) ([]evaluationPair, error) {
	info, err := os.Stat(model)
	if err != nil {
		return nil, fmt.Errorf("anomaly evaluate: %w", err)
	}
	if !info.IsDir() {
		return []evaluationPair{{filepath.Base(dir), model, dir}}, nil
	}
	categories, err := detector.Categories([]string{dir})
	if err != nil {
		return nil, err
	}
	var pairs []evaluationPair
	for _, c := range categories {
		file := filepath.Join(model, filepath.Base(c)+".onnx")
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("anomaly evaluate: category %s has no detector: %w", filepath.Base(c), err)
		}
		pairs = append(pairs, evaluationPair{filepath.Base(c), file, c})
	}
	if len(pairs) == 0 {
		return nil, fmt.Errorf("anomaly evaluate: %s holds no category: want folders with train/good and test", dir)
	}
	return pairs, nil
}

func evaluateDetector(ctx context.Context, s streams, f *encoderFlags, p evaluationPair, opt runtime.Options, normal string, reading augment.SourceOptions) (*detector.Evaluation, error) {
	c, err := detector.OpenCategory(p.category, normal, reading)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	d, err := runtime.LoadDetector(p.detector, opt)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	job, bar := f.watch(s, "evaluate "+p.name, c.Source.Len())
	defer bar.close()
	return detector.Evaluate(ctx, d, c, job)
}

// figures are the numbers of an evaluation by their names in JSON and CSV; those that
// the data do not give are NaN.
func figures(e *detector.Evaluation) []struct {
	name  string
	value float64
} {
	boxes := math.NaN()
	if e.Boxes > 0 {
		boxes = e.BoxRecall()
	}
	return []struct {
		name  string
		value float64
	}{
		{"auroc", e.AUROC}, {"aupr", e.AUPR}, {"f1_max", e.F1Max}, {"pixel_auroc", e.PixelAUROC}, {"aupro", e.AUPRO},
		{"box_recall", boxes}, {"threshold", e.Threshold}, {"precision", e.Precision}, {"recall", e.Recall},
		{"f1", e.F1}, {"false_positive_rate", e.FalsePositives},
	}
}

func reportEvaluations(s streams, g *global, results []categoryResult) error {
	if g.json {
		return printJSON(s.out, evaluationsJSON(results))
	}
	for _, r := range results {
		if len(results) > 1 {
			fmt.Fprintf(s.out, "%s\n", r.name)
		}
		printEvaluation(s.out, r.Evaluation)
	}
	if len(results) > 1 {
		fmt.Fprintf(s.out, "mean of %d categories\n", len(results))
		means := means(results)
		for i, f := range figures(results[0].Evaluation)[:5] {
			if !math.IsNaN(means[i]) {
				fmt.Fprintf(s.out, "  %-12s %.4f\n", f.name, means[i])
			}
		}
	}
	_, err := fmt.Fprintf(s.out, "protocol: %s\n", results[0].Protocol())
	return err
}

func printEvaluation(w io.Writer, e *detector.Evaluation) {
	fmt.Fprintf(w, "images       %d normal, %d anomalous\n", e.Normal, e.Anomalous)
	fmt.Fprintf(w, "image        AUROC %.4f  AUPR %.4f  F1-max %.4f (at %.6g)\n", e.AUROC, e.AUPR, e.F1Max, e.F1Threshold)
	if !math.IsNaN(e.PixelAUROC) {
		fmt.Fprintf(w, "pixel        AUROC %.4f  AUPRO at 0.3 %.4f\n", e.PixelAUROC, e.AUPRO)
	}
	if e.Boxes > 0 {
		fmt.Fprintf(w, "boxes        %d of %d found (%.4f); %.4f of the normal images have a pixel above the threshold\n",
			e.BoxesFound, e.Boxes, e.BoxRecall(), e.BoxFalsePositiveRate)
	}
	fmt.Fprintf(w, "at threshold %.6g: precision %.4f  recall %.4f  F1 %.4f  false alarms %.4f of the normal images\n",
		e.Threshold, e.Precision, e.Recall, e.F1, e.FalsePositives)
}

func means(results []categoryResult) []float64 {
	out := make([]float64, len(figures(results[0].Evaluation)))
	for _, r := range results {
		for i, f := range figures(r.Evaluation) {
			out[i] += f.value / float64(len(results))
		}
	}
	return out
}

func evaluationsJSON(results []categoryResult) any {
	object := func(e *detector.Evaluation) map[string]any {
		out := map[string]any{"images": e.Normal + e.Anomalous, "anomalous": e.Anomalous, "skipped": len(e.Skipped), "protocol": e.Protocol()}
		for _, f := range figures(e) {
			if !math.IsNaN(f.value) {
				out[f.name] = f.value
			}
		}
		return out
	}
	if len(results) == 1 {
		return object(results[0].Evaluation)
	}
	categories, mean := map[string]any{}, map[string]any{}
	for _, r := range results {
		categories[r.name] = object(r.Evaluation)
	}
	for i, v := range means(results) {
		if !math.IsNaN(v) {
			mean[figures(results[0].Evaluation)[i].name] = v
		}
	}
	return map[string]any{"categories": categories, "mean": mean}
}

// writeEvaluations writes a table with one row for each category.
func writeEvaluations(path string, results []categoryResult) error {
	header := []string{"category", "normal", "anomalous"}
	for _, f := range figures(results[0].Evaluation) {
		header = append(header, f.name)
	}
	rows := [][]string{header}
	for _, r := range results {
		row := []string{r.name, strconv.Itoa(r.Normal), strconv.Itoa(r.Anomalous)}
		for _, f := range figures(r.Evaluation) {
			text := ""
			if !math.IsNaN(f.value) {
				text = strconv.FormatFloat(f.value, 'g', -1, 64)
			}
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	return writeCSV(path, rows)
}
