package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/knn"
	"github.com/sslrt/sslrt/runtime"
)

func newEvaluate(s streams, g *global) *cobra.Command {
	var f encoderFlags
	var data dataFlags
	var train, test []string
	var protocol string
	var opt knn.Options
	cmd := &cobra.Command{
		Use:   "evaluate MODEL.onnx --train DATA --test DATA",
		Short: "Measure an encoder by labelled images",
		Long: `Evaluate embeds labelled images and prints how well the classes of the test
images follow from the embeddings, with the protocol that gives the number.

Protocol knn (Wu et al., 2018): each of the k most similar training images, by
cosine, votes for its class with weight exp(similarity/temperature). Nothing is
trained. Of data that has parts, --train takes train and --test takes test.`,
		Example: `  sslrt evaluate encoder.onnx --train testdata/fashion-mnist --test testdata/fashion-mnist
  sslrt evaluate encoder.onnx --train photos/train --test photos/test --k 20 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch protocol {
			case "knn":
			case "linear", "finetune":
				return fmt.Errorf("evaluate: protocol %s is not built yet: choose knn", protocol)
			default:
				return usagef("unknown --protocol %q: choose knn", protocol)
			}
			if len(train) == 0 || len(test) == 0 {
				return usagef("evaluate needs labelled data by --train and --test")
			}
			if opt.K < 1 || !(opt.Temperature > 0) {
				return usagef("got --k %d, --temperature %g: want at least 1, more than 0", opt.K, opt.Temperature)
			}
			trainData, err := openLabelled(&data, train, "train", s)
			if err != nil {
				return err
			}
			defer trainData.Close()
			testData, err := openLabelled(&data, test, "test", s)
			if err != nil {
				return err
			}
			defer testData.Close()
			enc, err := f.load(args[0])
			if err != nil {
				return err
			}
			defer enc.Close()
			res, skipped, err := evaluateKNN(cmd.Context(), s, &f, enc, trainData, testData, opt)
			if err != nil {
				return err
			}
			if err := reportEvaluate(s, g, res, skipped); err != nil {
				return err
			}
			return f.skipped(skipped, trainData.Len()+testData.Len())
		},
	}
	f.register(cmd)
	fl := cmd.Flags()
	data.register(fl, false)
	fl.StringArrayVar(&train, "train", nil, "labelled images that vote; may be given several times")
	fl.StringArrayVar(&test, "test", nil, "labelled images that are classified; may be given several times")
	fl.StringVar(&protocol, "protocol", "knn", "how to measure: knn")
	fl.IntVar(&opt.K, "k", 200, "neighbours that vote")
	fl.Float64Var(&opt.Temperature, "temperature", 0.1, "of the votes' weights")
	return cmd
}

// openLabelled opens data of which every image has a class.
func openLabelled(data *dataFlags, paths []string, split string, s streams) (augment.Source, error) {
	src, err := data.open(paths, split, s)
	if err != nil {
		return nil, err
	}
	for i := range src.Len() {
		if src.Label(i) < 0 {
			name := src.Name(i)
			src.Close()
			return nil, fmt.Errorf("evaluate: --%s: %s has no class: put images into one folder per class", split, name)
		}
	}
	return src, nil
}

// evaluateKNN embeds both parts and classifies the test part. Classes are matched
// by name; skipped counts the images that could not be read.
func evaluateKNN(ctx context.Context, s streams, f *encoderFlags, enc *runtime.Encoder, train, test augment.Source, opt knn.Options) (res knn.Result, skipped int, err error) {
	var bank, queries runtime.Embeddings
	for _, part := range []struct {
		name string
		src  augment.Source
		to   *runtime.Embeddings
	}{{"embed training images", train, &bank}, {"embed test images", test, &queries}} {
		sum, err := f.embed(ctx, s, part.name, enc, part.src, part.to)
		if err != nil {
			return res, 0, err
		}
		skipped += len(sum.Skipped)
	}
	classes := slices.Clone(train.Classes())
	opt.Classes = len(classes)
	for _, name := range test.Classes() {
		if !slices.Contains(classes, name) {
			classes = append(classes, name) // never predicted: its images count as errors
		}
	}
	number := func(labels []string) []int {
		out := make([]int, len(labels))
		for i, name := range labels {
			out[i] = slices.Index(classes, name)
		}
		return out
	}
	classifier, err := knn.New(bank.X, number(bank.Labels), bank.Dim, opt)
	if err != nil {
		return res, 0, err
	}
	res, err = classifier.Evaluate(queries.X, number(queries.Labels))
	return res, skipped, err
}

func reportEvaluate(s streams, g *global, res knn.Result, skipped int) error {
	if g.json {
		return printJSON(s.out, struct {
			Accuracy float64 `json:"accuracy"`
			Top5     float64 `json:"top5"`
			Protocol string  `json:"protocol"`
			Images   int     `json:"images"`
			Skipped  int     `json:"skipped"`
		}{res.Accuracy, res.Top5, res.Protocol, res.Tested, skipped})
	}
	_, err := fmt.Fprintf(s.out, "accuracy: %.2f %% of %d test images\nprotocol: %s\n", 100*res.Accuracy, res.Tested, res.Protocol)
	return err
}
