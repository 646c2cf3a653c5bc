package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/runtime"
)

func newClassify(s streams, g *global) *cobra.Command {
	var f encoderFlags
	var data dataFlags
	var output, classes string
	var top int
	cmd := &cobra.Command{
		Use:   "classify MODEL.onnx DATA...",
		Short: "Write the classes of images",
		Long: `Classify runs a classifier over images and writes the most probable classes of
each, in the order of the data, by the suffix of the output:

  .csv      columns file, class, index, probability; with --top K further columns
            class_2, index_2, probability_2 up to K
  .jsonl    one object per line: file, label, class, index, probability, top
  .parquet  the same as columns, top a list of class, index, probability
  -         as .jsonl, on standard output

MODEL.onnx is what sslrt export --part classifier wrote, or any ONNX model with one
output per class; its output goes through softmax unless it is called probability.
Where the data have labels (class subfolders) that are classes of the model, the
share of right ones is printed. Images that cannot be read are listed and left out
(exit code 3).`,
		Example: `  sslrt classify classifier.onnx photos/ --output classes.csv
  sslrt classify classifier.onnx photos/ --top 5 -o -`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkResults(output, g, tables...); err != nil {
				return err
			}
			if top < 1 {
				return usagef("--top is %d: want 1 class or more", top)
			}
			names, err := classNames(classes)
			if err != nil {
				return err
			}
			opt, err := f.options()
			if err != nil {
				return err
			}
			src, err := data.open(args[1:], "", s)
			if err != nil {
				return err
			}
			defer src.Close()
			opt.Runs = f.runs(src.Len())
			c, err := runtime.LoadClassifier(args[0], opt)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.Rename(names); err != nil {
				return usagef("--classes: %w", err)
			}
			out, err := runtime.CreatePredictions(output, min(top, len(c.Classes())))
			if err != nil {
				return err
			}
			defer out.Abort()
			score := &scored{to: out, classes: c.Classes()}
			sum, err := f.classify(cmd.Context(), s, c, src, top, score)
			if err := keep(cmd.Context(), out, output, sum, src.Len(), err); err != nil {
				return err
			}
			if err := reportClassify(s, g, output, sum, score); err != nil {
				return err
			}
			return f.inputs.err()
		},
	}
	f.register(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write: .csv, .jsonl or .parquet, or - for .jsonl on standard output")
	cmd.Flags().IntVar(&top, "top", 1, "classes of each image, the most probable first")
	cmd.Flags().StringVar(&classes, "classes", "", "class names in place of the model's: joined by commas, or a file with one per line")
	cmd.Flags().Lookup("layer").Usage = `output of the model to take (default "probability", "logits", or the only one)`
	data.register(cmd.Flags(), true)
	return cmd
}

// classify runs the job, showing its progress and listing the images that are
// skipped.
func (f *encoderFlags) classify(ctx context.Context, s streams, c *runtime.Classifier, src augment.Source, top int, sink runtime.PredictionSink) (runtime.Summary, error) {
	job, bar := f.watch(s, "classify", src.Len())
	defer bar.close()
	return runtime.ClassifyAll(ctx, c, src, top, sink, job)
}

// scored passes predictions on and counts the right ones among the images whose
// label is a class of the model.
type scored struct {
	to              runtime.PredictionSink
	classes         []string
	labelled, right int
}

func (c *scored) Write(file, label string, top []runtime.Class) error {
	if label != "" && slices.Contains(c.classes, label) {
		if c.labelled++; top[0].Name == label {
			c.right++
		}
	}
	return c.to.Write(file, label, top)
}

func reportClassify(s streams, g *global, output string, sum runtime.Summary, score *scored) error {
	accuracy := 0.0
	if score.labelled > 0 {
		accuracy = float64(score.right) / float64(score.labelled)
	}
	if g.json {
		return printJSON(s.out, struct {
			Path     string  `json:"path"`
			Images   int     `json:"images"`
			Skipped  int     `json:"skipped"`
			Classes  int     `json:"classes"`
			Labelled int     `json:"labelled"` // images whose label is a class of the model
			Right    int     `json:"right"`
			Accuracy float64 `json:"accuracy"` // 0 without labels
		}{output, sum.Done, len(sum.Skipped), len(score.classes), score.labelled, score.right, accuracy})
	}
	var w io.Writer = s.out
	if output == "-" {
		w, output = s.err, "standard output"
	}
	if _, err := fmt.Fprintf(w, "classified %d images, %d classes, to %s\n", sum.Done, len(score.classes), output); err != nil {
		return err
	}
	if score.labelled == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "accuracy: %.2f %%, %d of %d labelled images\n", 100*accuracy, score.right, score.labelled)
	return err
}
