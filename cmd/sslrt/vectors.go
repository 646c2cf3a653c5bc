package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/distance"
	"github.com/sslrt/sslrt/runtime"
)

// vectorFlags are the flags of the commands that work on embeddings: of a file, of
// images through a model, or of raw pixels.
type vectorFlags struct {
	encoderFlags
	model     string
	data      dataFlags
	sample    int
	seed      uint64
	normalize bool
}

func (f *vectorFlags) register(cmd *cobra.Command) {
	f.encoderFlags.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.model, "model", "", "encoder ONNX file; DATA are then images that it embeds")
	f.data.register(fl, true)
	fl.IntVar(&f.sample, "sample", 0, "take this many vectors at random (0: all)")
	fl.Uint64Var(&f.seed, "seed", 0, "of everything random")
	fl.BoolVar(&f.normalize, "normalize", false, "scale vectors to length 1 first, so that angles count")
	fl.Lookup("image-size").Usage = "pixels, 224 or HEIGHTxWIDTH: of a foreign model; of raw pixels (32)"
}

// vectorsHelp says what the argument of these commands is.
const vectorsHelp = `EMBEDDINGS is a file as sslrt embed writes: .npy, .npz, .jsonl, .csv or .parquet; file
names and labels travel with it where the format has them. With --model it is DATA,
images that the encoder embeds. DATA without --model are taken as raw pixels, resized
to --image-size, samples 0 to 1.`

// vectorSuffixes are those of files with embeddings.
var vectorSuffixes = []string{".npy", ".npz", ".jsonl", ".csv", ".parquet"}

// vectors are what these commands work on.
type vectors struct {
	runtime.Embeddings
	source augment.Source // of the images; nil if only their names are known
	enc    *runtime.Encoder
	what   string // "embeddings", "raw pixels": for people
}

func (v *vectors) close() {
	if v.enc != nil {
		v.enc.Close()
	}
	if v.source != nil {
		v.source.Close()
	}
}

// read opens what the arguments name. what is the command, for errors and progress.
func (f *vectorFlags) read(ctx context.Context, s streams, what string, args []string) (*vectors, error) {
	if f.sample < 0 {
		return nil, usagef("got --sample %d: want 0 or more", f.sample)
	}
	v := &vectors{}
	var err error
	if f.model == "" && len(args) == 1 && slices.Contains(vectorSuffixes, strings.ToLower(filepath.Ext(args[0]))) && !isDir(args[0]) {
		v.what = "embeddings"
		var e *runtime.Embeddings
		if e, err = runtime.ReadEmbeddings(args[0]); err == nil {
			v.Embeddings = *e
		}
	} else {
		err = f.embedImages(ctx, s, what, args, v)
	}
	if err == nil {
		err = v.check(what)
	}
	if err != nil {
		v.close()
		return nil, err
	}
	if f.sample > 0 && f.sample < v.Len() {
		v.keep(rand.New(rand.NewPCG(f.seed, 0)).Perm(v.Len())[:f.sample])
	}
	if f.normalize {
		for i, x := range distance.Unit(v.X, v.Dim) {
			v.X[i] = float32(x)
		}
	}
	return v, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// embedImages fills v from images: by the model, or as raw pixels.
func (f *vectorFlags) embedImages(ctx context.Context, s streams, what string, args []string, v *vectors) (err error) {
	if v.source, err = f.data.open(args, "", s); err != nil {
		return err
	}
	if f.model == "" {
		v.what = "raw pixels"
		return f.pixels(ctx, s, what, v)
	}
	v.what = "embeddings of " + filepath.Base(f.model)
	if v.enc, err = f.loadFor(f.model, v.source.Len()); err != nil {
		return err
	}
	_, err = f.embed(ctx, s, what, v.enc, v.source, &v.Embeddings)
	return err
}

// pixels fills v with the samples of images.
func (f *vectorFlags) pixels(ctx context.Context, s streams, what string, v *vectors) error {
	entries := map[string]string{"size": f.size, "mean": "0", "std": "1"}
	if f.size == "" {
		entries["size"] = "32"
	}
	pre, err := augment.ParsePreprocess(entries)
	if err != nil {
		return usageError{err}
	}
	loader, err := augment.NewLoader(v.source, augment.LoaderOptions{
		BatchSize: min(max(f.job.BatchSize, 1), v.source.Len()), Preprocess: pre, Workers: f.job.Workers, KeepFailed: true})
	if err != nil {
		return err
	}
	defer loader.Close()
	images := v.source.Len()
	job, bar := f.watch(s, what, images)
	defer bar.close()
	var first error
	for k := range loader.Batches() {
		b, err := loader.Next(ctx)
		if err != nil {
			return err
		}
		for _, skip := range b.Skipped {
			job.Skipped(skip)
			if first == nil {
				first = skip.Err
			}
		}
		for at, i := range b.Index {
			if b.Failed != nil && b.Failed[at] != nil {
				continue
			}
			label := ""
			if l := v.source.Label(i); l >= 0 {
				label = v.source.Classes()[l]
			}
			if err := v.Write(v.source.Name(i), label, b.Views[0][at*pre.Len():(at+1)*pre.Len()]); err != nil {
				return err
			}
		}
		loader.Release(b)
		job.Progress((k+1)*max(f.job.BatchSize, 1), images)
	}
	if v.Len() == 0 {
		return fmt.Errorf("%s: none of %d images could be read; the first: %w", what, images, first)
	}
	return nil
}

// openImages opens the images of vectors whose names alone are known, if they are given.
func (v *vectors) openImages(path string, data *dataFlags, s streams) (err error) {
	if path == "" || v.source != nil {
		return nil
	}
	v.source, err = data.open([]string{path}, "", s)
	return err
}

// check wants finite numbers.
func (v *vectors) check(what string) error {
	for i, x := range v.X {
		if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("%s: the vector of %s holds %g at place %d, want finite numbers: leave it out, or look for what made it", what, v.name(i/v.Dim), f, i%v.Dim)
		}
	}
	return nil
}

// name is the file of a vector, or its row if that is not known.
func (v *vectors) name(i int) string {
	if v.Files != nil && v.Files[i] != "" {
		return v.Files[i]
	}
	return "row " + strconv.Itoa(i)
}

// label is the class name of a vector, "" for none.
func (v *vectors) label(i int) string {
	if v.Labels == nil {
		return ""
	}
	return v.Labels[i]
}

// keep keeps the vectors at the given places, in their order.
func (v *vectors) keep(rows []int) {
	slices.Sort(rows)
	pick := func(names []string) []string {
		if names == nil {
			return nil
		}
		var out []string
		for _, i := range rows {
			out = append(out, names[i])
		}
		return out
	}
	v.Files, v.Labels = pick(v.Files), pick(v.Labels)
	x := make([]float32, 0, len(rows)*v.Dim)
	for _, i := range rows {
		x = append(x, v.X[i*v.Dim:(i+1)*v.Dim]...)
	}
	v.X = x
}

// classes numbers the labels by name. Labelled are the places of the vectors that have
// one, and class their numbers.
func (v *vectors) classes() (names []string, labelled, class []int) {
	for i := range v.Len() {
		if l := v.label(i); l != "" {
			labelled = append(labelled, i)
			names = append(names, l)
		}
	}
	slices.SortFunc(names, compareNames)
	names = slices.Compact(names)
	number := map[string]int{}
	for k, n := range names {
		number[n] = k
	}
	for _, i := range labelled {
		class = append(class, number[v.label(i)])
	}
	return names, labelled, class
}

// compareNames puts numbers in their order before other names.
func compareNames(a, b string) int {
	x, errA := strconv.ParseFloat(a, 64)
	y, errB := strconv.ParseFloat(b, 64)
	switch {
	case errA == nil && errB == nil && x != y:
		if x < y {
			return -1
		}
		return 1
	case (errA == nil) != (errB == nil):
		if errA == nil {
			return -1
		}
		return 1
	}
	return strings.Compare(a, b)
}

// pictures finds the images of vectors: in the source they came from, or by their names.
type pictures struct {
	v     *vectors
	index map[string]int // names in the source
}

func newPictures(v *vectors) *pictures {
	p := &pictures{v: v, index: map[string]int{}}
	if v.source != nil {
		for i := range v.source.Len() {
			p.index[v.source.Name(i)] = i
		}
	}
	return p
}

// image decodes the image of vector i.
func (p *pictures) image(i int) (*augment.Image, error) {
	name := p.v.name(i)
	if at, ok := p.index[name]; ok {
		return p.v.source.Image(at)
	}
	m, err := augment.DecodeFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w (its name is looked up in --images, then as a file)", err)
	}
	return m, nil
}

// thumbnail is the image of vector i, at most size pixels on its longer side; nil if it
// cannot be read.
func (p *pictures) thumbnail(i, size int) *augment.Image {
	m, err := p.image(i)
	if err != nil {
		return nil
	}
	return shrink(m, size)
}

// shrink makes an image at most size pixels on its longer side.
func shrink(m *augment.Image, size int) *augment.Image {
	if longer := max(m.W, m.H); longer > size {
		return augment.Resize(m, max(m.W*size/longer, 1), max(m.H*size/longer, 1), augment.Bilinear)
	}
	return m
}
