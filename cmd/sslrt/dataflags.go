package main

import (
	"github.com/spf13/pflag"

	"github.com/sslrt/sslrt/augment"
)

// dataFlags are the flags of the commands that read images.
type dataFlags struct {
	split     string
	labels    string
	orient    bool
	maxPixels int64
}

// register adds the flags; split says whether the command has a --split.
func (d *dataFlags) register(fl *pflag.FlagSet, split bool) {
	if split {
		fl.StringVar(&d.split, "split", d.split, "part of data that has parts: train or test")
	}
	fl.StringVar(&d.labels, "cifar-labels", d.labels, "of CIFAR-100: fine (default) or coarse")
	fl.BoolVar(&d.orient, "exif-orientation", d.orient, "turn images upright by their EXIF orientation, which is ignored otherwise, as torchvision does")
	fl.Int64Var(&d.maxPixels, "max-pixels", d.maxPixels, "refuse larger images (default 134217728)")
}

// open opens data; of data that has parts defaultSplit is taken where --split says nothing.
func (d *dataFlags) open(paths []string, defaultSplit string, s streams) (augment.Source, error) {
	opt, err := d.options()
	if err != nil {
		return nil, err
	}
	opt.DefaultSplit, opt.Stdin = defaultSplit, s.in
	return augment.Open(paths, opt)
}

// options are what the flags say about reading.
func (d *dataFlags) options() (augment.SourceOptions, error) {
	switch {
	case d.labels != "" && d.labels != augment.LabelsFine && d.labels != augment.LabelsCoarse:
		return augment.SourceOptions{}, usagef("--cifar-labels is %q: choose %s or %s", d.labels, augment.LabelsFine, augment.LabelsCoarse)
	case d.maxPixels < 0:
		return augment.SourceOptions{}, usagef("--max-pixels is %d: want 1 or more", d.maxPixels)
	}
	return augment.SourceOptions{Split: d.split, Labels: d.labels,
		Decode: augment.DecodeOptions{Orient: d.orient, MaxPixels: d.maxPixels}}, nil
}
