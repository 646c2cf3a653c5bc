package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/probe"
	"github.com/sslrt/sslrt/runtime"
)

// evaluateFlags are the flags of evaluate.
type evaluateFlags struct {
	encoderFlags
	data        dataFlags
	train, test []string
	protocol    string
	labels      string
	seed        uint64
	k           []int
	temperature []float64
	penalties   []float64
	results     resultFlags
}

func newEvaluate(s streams, g *global) *cobra.Command {
	var f evaluateFlags
	var rec reconstructFlags
	cmd := &cobra.Command{
		Use:   "evaluate MODEL.onnx --train DATA --test DATA",
		Short: "Measure an encoder by labelled images, an autoencoder by what it gives back",
		Long: `Evaluate embeds labelled images and prints how well the classes of the test
images follow from the embeddings, with the protocol that gives the number. The
encoder is frozen; MODEL.onnx may be "pixels", for the raw pixels as a baseline.

Protocol knn (Wu et al., 2018): each of the k most similar training images, by
cosine, votes for its class with weight exp(similarity/temperature). Several --k and
--temperature are all printed; the first is the result.

Protocol linear: logistic regression on standardised embeddings, the penalty chosen on
a part of the training images that is held back, never on the test images.

Protocol reconstruction gives the images of --test, which need no labels, to an
autoencoder and prints the peak signal-to-noise ratio of what comes back: 10
log10(1/MSE) for values in 0..1, the mean over the images. A model that was trained to
remove noise gets images spoilt by that noise, and the ratio of those is printed too.

Protocol finetune trains the encoder too, by the defaults of sslrt finetune, which has
more settings and keeps the run. MODEL.onnx may be a run. Of data that has parts,
--train takes train and --test takes test.`,
		Example: `  sslrt evaluate encoder.onnx --train testdata/fashion-mnist --test testdata/fashion-mnist
  sslrt evaluate encoder.onnx --protocol linear --train photos/train --test photos/test --labels 10%
  sslrt evaluate encoder.onnx --protocol linear --train a --test b --output classifier.onnx --confusion c.png
  sslrt evaluate autoencoder.onnx --protocol reconstruction --test photos/ --sheet sheet.png`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkProtocol(cmd, f.protocol); err != nil {
				return err
			}
			if f.protocol == protocolReconstruction {
				return rec.run(cmd.Context(), args[0], f.test, &f.data, &f.encoderFlags, s, g)
			}
			return f.run(cmd.Context(), s, g, args[0])
		},
	}
	f.register(cmd)
	rec.register(cmd)
	fl := cmd.Flags()
	f.data.register(fl, false)
	fl.StringArrayVar(&f.train, "train", nil, "labelled images to learn from; may be given several times")
	fl.StringArrayVar(&f.test, "test", nil, "labelled images that are classified; may be given several times")
	fl.StringVar(&f.protocol, "protocol", protocolKNN, "how to measure: knn, linear, finetune or reconstruction")
	fl.StringVar(&f.labels, "labels", "100%", "share of the training images to use, stratified by class: 1%, 0.1")
	fl.Uint64Var(&f.seed, "seed", 0, "of the shares that are drawn")
	fl.IntSliceVar(&f.k, "k", []int{200}, "knn: neighbours that vote; several are all printed")
	fl.Float64SliceVar(&f.temperature, "temperature", []float64{0.1}, "knn: of the votes' weights; several are all printed")
	fl.Float64SliceVar(&f.penalties, "C", nil, "linear: inverse penalties to choose from (default 1e-4 to 1e3)")
	f.results.register(cmd)
	return cmd
}

func (f *evaluateFlags) run(ctx context.Context, s streams, g *global, model string) error {
	share, err := f.check(model)
	if err != nil {
		return err
	}
	if f.protocol == protocolFinetune {
		return f.finetune(ctx, s, g, model)
	}
	train, test, err := openSets(&f.data, f.train, f.test, s)
	if err != nil {
		return err
	}
	defer train.Close()
	defer test.Close()
	source := augment.Source(train)
	if share < 1 {
		kept, err := probe.Fraction(sourceLabels(train), share, f.seed)
		if err != nil {
			return err
		}
		source = augment.Subset(train, kept)
	}
	enc, err := f.loadFor(model, source.Len())
	if err != nil {
		return err
	}
	defer enc.Close()
	sets, err := f.embedSets(ctx, s, enc, source, test)
	if err != nil {
		return err
	}
	sets.model = model
	classify := f.knn
	if f.protocol == protocolLinear {
		classify = f.linear
	}
	out, err := classify(ctx, s, sets)
	if err != nil {
		return err
	}
	if share < 1 {
		out.protocol += fmt.Sprintf("; %d of %d training images (%s of the labels, stratified, seed %d)", source.Len(), train.Len(), f.labels, f.seed)
	}
	if err := f.results.write(s, g, out, sets); err != nil {
		return err
	}
	return f.inputs.err()
}

// check refuses what would be found wrong after the work only, and reads --labels.
func (f *evaluateFlags) check(model string) (share float64, err error) {
	if len(f.train) == 0 || len(f.test) == 0 {
		return 0, usagef("evaluate needs labelled data by --train and --test")
	}
	for _, k := range f.k {
		if k < 1 {
			return 0, usagef("got --k %d: want at least 1", k)
		}
	}
	for _, t := range f.temperature {
		if !(t > 0) {
			return 0, usagef("got --temperature %g: want more than 0", t)
		}
	}
	for _, c := range f.penalties {
		if !(c > 0) {
			return 0, usagef("got --C %g: want more than 0", c)
		}
	}
	if isPixels(model) && f.protocol == protocolFinetune {
		return 0, usagef("--protocol %s trains an encoder: %s is none", protocolFinetune, pixels)
	}
	if isPixels(model) && f.results.output != "" {
		return 0, usagef("--output writes the encoder with a classifier behind it: %s is no encoder, leave it out", pixels)
	}
	if share, err = parseShare(f.labels); err != nil {
		return 0, usagef("--labels: %v", err)
	}
	return share, f.results.check()
}

func sourceLabels(src augment.Source) []int {
	labels := make([]int, src.Len())
	for i := range labels {
		labels[i] = src.Label(i)
	}
	return labels
}

// openSets opens the labelled images of --train and --test.
func openSets(data *dataFlags, trainPaths, testPaths []string, s streams) (train, test augment.Source, err error) {
	if train, err = openLabelled(data, trainPaths, "train", s); err != nil {
		return nil, nil, err
	}
	if test, err = openLabelled(data, testPaths, "test", s); err != nil {
		train.Close()
		return nil, nil, err
	}
	return train, test, nil
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
			return nil, fmt.Errorf("--%s: %s has no class: put images into one folder per class", split, name)
		}
	}
	return src, nil
}

// labelledSets are the embeddings of the two parts. Classes are matched by name: those
// of the training part come first, and one that only the test part has is never
// predicted, so that its images count as errors.
type labelledSets struct {
	model                  string
	train, test            runtime.Embeddings
	trainLabels            []int
	testLabels             []int
	classes, learned       []string // all, and those of the training part
	skipped, trained, dims int
}

func (f *evaluateFlags) embedSets(ctx context.Context, s streams, enc *runtime.Encoder, train, test augment.Source) (*labelledSets, error) {
	l := &labelledSets{dims: enc.Dim()}
	for _, part := range []struct {
		name string
		src  augment.Source
		to   *runtime.Embeddings
	}{{"embed training images", train, &l.train}, {"embed test images", test, &l.test}} {
		sum, err := f.embed(ctx, s, part.name, enc, part.src, part.to)
		if err != nil {
			return nil, err
		}
		l.skipped += len(sum.Skipped)
	}
	l.learned = slices.Clone(train.Classes())
	l.match(test.Classes())
	l.trained = len(l.trainLabels)
	if !slices.ContainsFunc(l.trainLabels, func(c int) bool { return c != l.trainLabels[0] }) {
		return nil, fmt.Errorf("evaluate: all %d training images are of class %q: want two classes or more", l.trained, l.classes[l.trainLabels[0]])
	}
	return l, nil
}

// match numbers the classes by name, those of the test images behind those learned.
func (l *labelledSets) match(test []string) {
	l.classes = slices.Clone(l.learned)
	for _, name := range test {
		if !slices.Contains(l.classes, name) {
			l.classes = append(l.classes, name)
		}
	}
	number := func(labels []string) []int {
		out := make([]int, len(labels))
		for i, name := range labels {
			out[i] = slices.Index(l.classes, name)
		}
		return out
	}
	l.trainLabels, l.testLabels = number(l.train.Labels), number(l.test.Labels)
}
