package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/finetune/project"
	"github.com/sslrt/sslrt/finetune/tensorboard"
	"github.com/sslrt/sslrt/runtime"
)

// projectFlags are the flags of sslrt project.
type projectFlags struct {
	vectorFlags
	method, start             string
	components                int
	opt                       project.TSNEOptions
	ownPerplexity             bool // it was not given
	plot, output, tensorboard string
	images, clusters          string
	thumbnails, force         bool
}

func newProject(s streams, g *global) *cobra.Command {
	var f projectFlags
	cmd := &cobra.Command{
		Use:   "project EMBEDDINGS | --model MODEL.onnx DATA...",
		Short: "Draw a map of images",
		Long: `Project brings embeddings down to a map on which similar images lie near each other,
draws it, and writes its coordinates.

` + vectorsHelp + `

  pca    principal components: straight directions of the largest variance; the share
         of it that the map shows is printed
  tsne   t-SNE (Barnes-Hut), which keeps neighbours together; distances between groups
         mean little. Up to 100,000 vectors

Points have the colour of their class, or with --clusters of their cluster.
--thumbnails draws images where there is room; those of EMBEDDINGS are found by name in
--images, or as files. --tensorboard writes the embeddings themselves for TensorBoard's
projector: tensors.tsv, metadata.tsv, sprite.png, projector_config.pbtxt.`,
		Example: `  sslrt project embeddings.npy --method tsne --plot map.png --output coords.csv
  sslrt project --model encoder.onnx photos/ --plot map.png --thumbnails
  sslrt project embeddings.csv --tensorboard runs/projector --images photos/`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.ownPerplexity = !cmd.Flags().Changed("perplexity")
			return f.run(cmd.Context(), s, g, args)
		},
	}
	f.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.method, "method", "pca", "pca or tsne")
	fl.IntVar(&f.components, "components", 2, "of pca: number of coordinates; the plot shows the first two")
	fl.Float64Var(&f.opt.Perplexity, "perplexity", 30, "of tsne: about how many neighbours count")
	fl.IntVar(&f.opt.Iterations, "iterations", 1000, "of tsne")
	fl.StringVar(&f.start, "start", "pca", "of tsne: start from pca or random places")
	fl.StringVar(&f.plot, "plot", "", "PNG file to draw")
	fl.StringVarP(&f.output, "output", "o", "", "file of coordinates to write, as sslrt embed does: .csv, .npy, .jsonl or .parquet")
	fl.StringVar(&f.tensorboard, "tensorboard", "", "folder to write for TensorBoard's projector")
	fl.StringVar(&f.images, "images", "", "DATA in which images of EMBEDDINGS are found by name")
	fl.StringVar(&f.clusters, "clusters", "", "clusters.csv of sslrt cluster on the same vectors: colours by cluster")
	fl.BoolVar(&f.thumbnails, "thumbnails", false, "draw images instead of dots where there is room")
	fl.BoolVar(&f.force, "force", false, "write over files that exist")
	return cmd
}

func (f *projectFlags) check() error {
	if f.method != "pca" && f.method != "tsne" {
		return usagef("unknown --method %q: choose pca or tsne", f.method)
	}
	if f.start != "pca" && f.start != "random" {
		return usagef("unknown --start %q: choose pca or random", f.start)
	}
	if f.plot == "" && f.output == "" && f.tensorboard == "" {
		return usagef("nothing to write: give --plot, --output or --tensorboard")
	}
	if !(f.opt.Perplexity >= 1) || f.opt.Iterations < 1 || f.components < 1 {
		return usagef("got --perplexity %g, --iterations %d, --components %d: want 1 or more", f.opt.Perplexity, f.opt.Iterations, f.components)
	}
	if err := errors.Join(wantSuffix("plot", f.plot, ".png"), wantSuffix("output", f.output, embeddingFiles...)); err != nil {
		return err
	}
	if err := checkFolders(f.tensorboard); err != nil {
		return err
	}
	paths := []string{f.plot, f.output}
	if _, err := os.Stat(f.tensorboard); err == nil {
		paths = append(paths, filepath.Join(f.tensorboard, "projector_config.pbtxt"))
	}
	return checkFree(f.force, paths...)
}

// projected is what a run found.
type projected struct {
	y   []float64 // [N, dim]
	dim int

	Method          string    `json:"method"`
	Vectors         int       `json:"vectors"`
	Size            int       `json:"embedding_size"`
	Variance        []float64 `json:"variance,omitempty"`   // pca: share of each coordinate
	Divergence      *float64  `json:"divergence,omitempty"` // tsne
	Trustworthiness *float64  `json:"trustworthiness,omitempty"`
	Protocol        string    `json:"protocol"`
	Paths           []string  `json:"paths"`
	Skipped         int       `json:"skipped"`
}

func (f *projectFlags) run(ctx context.Context, s streams, g *global, args []string) error {
	if err := f.check(); err != nil {
		return err
	}
	v, err := f.read(ctx, s, "project", args)
	if err != nil {
		return err
	}
	defer v.close()
	if err := v.openImages(f.images, &f.data, s); err != nil {
		return err
	}
	m, err := f.picture(v)
	if err != nil {
		return err
	}
	p := &projected{Method: f.method, Vectors: v.Len(), Size: v.Dim, Skipped: f.inputs.skipped, Protocol: v.what}
	if f.plot != "" || f.output != "" {
		if err := f.project(ctx, s, v, p); err != nil {
			return err
		}
	}
	if f.output != "" {
		if err := f.writeCoordinates(v, p); err != nil {
			return err
		}
	}
	if f.plot != "" {
		if err := f.draw(m, p); err != nil {
			return err
		}
	}
	if f.tensorboard != "" {
		if err := f.writeProjector(v, p); err != nil {
			return err
		}
	}
	if err := p.report(s, g); err != nil {
		return err
	}
	return f.inputs.err()
}

// maxTrust is the number of vectors up to which the map is measured: all pairs are
// compared.
const maxTrust = 10_000

func (f *projectFlags) project(ctx context.Context, s streams, v *vectors, p *projected) (err error) {
	if f.method == "pca" {
		err = f.pca(ctx, v, p)
	} else {
		err = f.tsne(ctx, s, v, p)
	}
	const neighbours = 5
	if err != nil || v.Len() > maxTrust || 2*neighbours >= v.Len() {
		return err
	}
	trust, err := metrics.Trustworthiness(ctx, v.X, v.Dim, p.y, p.dim, neighbours)
	p.Trustworthiness = &trust
	return err
}

func (f *projectFlags) pca(ctx context.Context, v *vectors, p *projected) error {
	if most := min(v.Len(), v.Dim); f.components > most {
		return fmt.Errorf("project: got --components %d, but %d vectors of size %d have %d", f.components, v.Len(), v.Dim, most)
	}
	m, err := project.FitPCA(ctx, v.X, v.Dim, f.components)
	if err != nil {
		return err
	}
	p.y, err = project.Transform(m, v.X)
	p.dim, p.Variance = f.components, m.Share
	p.Protocol = fmt.Sprintf("principal components; %s", v.what)
	return err
}

func (f *projectFlags) tsne(ctx context.Context, s streams, v *vectors, p *projected) error {
	opt := f.opt
	opt.Seed, opt.Random = f.seed, f.start == "random"
	if usual := float64(v.Len()-1) / 3; f.ownPerplexity && opt.Perplexity > usual {
		opt.Perplexity = max(usual, 1)
	}
	bar := newProgress(s.err, "project", "iterations", opt.Iterations)
	defer bar.close()
	opt.Progress = func(it int, _ float64) { bar.set(it) }
	y, divergence, err := project.TSNE(ctx, v.X, v.Dim, opt)
	if err != nil {
		return err
	}
	p.y, p.dim, p.Divergence = y, 2, &divergence
	p.Protocol = fmt.Sprintf("t-SNE, perplexity %.4g, %d iterations at most, start %s, seed %d; %s", opt.Perplexity, opt.Iterations, f.start, f.seed, v.what)
	return nil
}

func (f *projectFlags) writeCoordinates(v *vectors, p *projected) error {
	out, err := runtime.Create(f.output, p.dim)
	if err != nil {
		return err
	}
	defer out.Abort()
	row := make([]float32, p.dim)
	for i := range v.Len() {
		for k := range row {
			row[k] = float32(p.y[i*p.dim+k])
		}
		if err := out.Write(v.tableName(i), v.label(i), row); err != nil {
			return err
		}
	}
	p.Paths = append(p.Paths, f.output)
	return out.Close()
}

// picture is the plot but for the places of its points, which are long to compute: what
// is wrong with --clusters and --thumbnails is found before them. It is nil without --plot.
func (f *projectFlags) picture(v *vectors) (*project.Picture, error) {
	if f.plot == "" {
		return nil, nil
	}
	m := &project.Picture{Title: fmt.Sprintf("%d images, %s", v.Len(), v.what)}
	if err := f.groups(v, m); err != nil {
		return nil, err
	}
	if f.thumbnails {
		pics := newPictures(v)
		if _, err := pics.image(0); err != nil {
			return nil, fmt.Errorf("project: --thumbnails: %w", err)
		}
		m.Thumbnail = func(i int) *augment.Image { return pics.thumbnail(i, 64) }
	}
	return m, nil
}

func (f *projectFlags) draw(m *project.Picture, p *projected) error {
	for i := range p.Vectors {
		y := 0.0
		if p.dim > 1 {
			y = p.y[i*p.dim+1]
		}
		m.Y = append(m.Y, p.y[i*p.dim], y)
	}
	m.XLabel, m.YLabel = "t-SNE 1", "t-SNE 2"
	if f.method == "pca" {
		m.XLabel = fmt.Sprintf("first component, %.1f %% of the variance", 100*p.Variance[0])
		if m.YLabel = ""; p.dim > 1 {
			m.YLabel = fmt.Sprintf("second component, %.1f %%", 100*p.Variance[1])
		}
	}
	p.Paths = append(p.Paths, f.plot)
	return writeWhole(f.plot, m.WritePNG)
}

// groups sets the colours: by cluster, else by class.
func (f *projectFlags) groups(v *vectors, m *project.Picture) error {
	if f.clusters != "" {
		labels, err := readClusters(f.clusters, v)
		if err != nil {
			return fmt.Errorf("project: --clusters %s: %w", f.clusters, err)
		}
		m.Group = labels
		for k := range slices.Max(labels) + 1 {
			m.Names = append(m.Names, fmt.Sprint("cluster ", k))
		}
		return nil
	}
	names, labelled, class := v.classes()
	if len(names) == 0 {
		return nil
	}
	m.Names, m.Group = names, slices.Repeat([]int{-1}, v.Len())
	for k, i := range labelled {
		m.Group[i] = class[k]
	}
	return nil
}

// readClusters reads the clusters of the vectors from a table of sslrt cluster: by file,
// or by row where there are no files.
func readClusters(path string, v *vectors) ([]int, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r := csv.NewReader(file)
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	name, column := slices.Index(head, "file"), slices.Index(head, "cluster")
	if name < 0 || column < 0 {
		return nil, fmt.Errorf("got columns %.80q, want file and cluster among them", head)
	}
	byFile := map[string]int{}
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		k, err := strconv.Atoi(fields[column])
		if err != nil || k < 0 || k > 1_000_000 {
			line, _ := r.FieldPos(column)
			return nil, fmt.Errorf("line %d: got cluster %.40q, want a number from 0", line, fields[column])
		}
		byFile[fields[name]] = k
	}
	out := make([]int, v.Len())
	for i := range out {
		k, ok := byFile[v.tableName(i)]
		if !ok {
			return nil, fmt.Errorf("it has no line for %s", v.name(i))
		}
		out[i] = k
	}
	return out, nil
}

func (f *projectFlags) writeProjector(v *vectors, p *projected) error {
	t := &tensorboard.Projector{X: v.X, Dim: v.Dim, Files: v.Files}
	if names, _, _ := v.classes(); len(names) > 0 {
		t.Labels = v.Labels
	}
	pics := newPictures(v)
	if _, err := pics.image(0); err == nil {
		t.Image = func(i int) *augment.Image {
			m, err := pics.image(i)
			if err != nil {
				return nil
			}
			return m
		}
	}
	p.Paths = append(p.Paths, f.tensorboard)
	return t.Write(f.tensorboard)
}

func (p *projected) report(s streams, g *global) error {
	if g.json {
		return printJSON(s.out, p)
	}
	fmt.Fprintf(s.out, "%d vectors of size %d\n", p.Vectors, p.Size)
	if p.Variance != nil {
		sum := 0.0
		for _, v := range p.Variance {
			sum += v
		}
		fmt.Fprintf(s.out, "variance: %.2f %% in %d coordinates\n", 100*sum, p.dim)
	}
	if p.Divergence != nil {
		fmt.Fprintf(s.out, "divergence: %.4f\n", *p.Divergence)
	}
	if p.Trustworthiness != nil {
		fmt.Fprintf(s.out, "trustworthiness: %.4f (of 5 neighbours; 1 is perfect)\n", *p.Trustworthiness)
	}
	fmt.Fprintf(s.out, "protocol: %s\n", p.Protocol)
	for _, path := range p.Paths {
		fmt.Fprintln(s.out, "wrote", path)
	}
	return nil
}
