package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/finetune/cluster"
	"github.com/sslrt/sslrt/finetune/distance"
	"github.com/sslrt/sslrt/finetune/metrics"
)

// clusterFlags are the flags of sslrt cluster.
type clusterFlags struct {
	vectorFlags
	method, linkage, metric string
	opt                     cluster.KMeansOptions
	output, sheet, images   string
	force                   bool
}

func newCluster(s streams, g *global) *cobra.Command {
	var f clusterFlags
	cmd := &cobra.Command{
		Use:   "cluster EMBEDDINGS | --model MODEL.onnx DATA...",
		Short: "Group images without labels",
		Long: `Cluster groups embeddings and prints how well the groups hold together, and how far
they agree with classes where there are labels.

` + vectorsHelp + `

  kmeans         the best of several runs of Lloyd's algorithm from k-means++; with
                 --mini-batch N in small steps, for many vectors
  agglomerative  merges the two nearest groups, by --linkage and --distance, until --k
                 are left; up to 20,000 vectors

--output writes, by its suffix:

  .csv   file, label, cluster, distance (Euclidean, to the cluster's mean)
  .onnx  a file that assigns new images (with --model: the encoder is inside), or new
         embeddings: outputs cluster and distance. It takes the nearest mean, which for
         kmeans is the clustering itself and for agglomerative close to it.

sslrt cluster assign runs such a file.`,
		Example: `  sslrt cluster embeddings.npy --k 10 --output clusters.csv
  sslrt cluster --model encoder.onnx photos/ --k 20 --output clusters.onnx --sheet clusters.png
  sslrt cluster testdata/fashion-mnist --split test --method agglomerative --linkage average`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), s, g, args) },
	}
	f.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.method, "method", "kmeans", "kmeans or agglomerative")
	fl.IntVar(&f.opt.K, "k", 10, "clusters")
	fl.IntVar(&f.opt.Restarts, "restarts", 0, "of kmeans: runs, of which the best counts (0: 10, of mini-batches 3)")
	fl.IntVar(&f.opt.MaxIterations, "iterations", 300, "of kmeans: most passes over the vectors in a run")
	fl.IntVar(&f.opt.BatchSize, "mini-batch", 0, "of kmeans: vectors of a step (0: all of them)")
	fl.StringVar(&f.linkage, "linkage", "ward", "of agglomerative: ward, average, complete or single")
	fl.StringVar(&f.metric, "distance", "euclidean", "of agglomerative: euclidean or cosine")
	fl.StringVarP(&f.output, "output", "o", "", "file to write: .csv or .onnx")
	fl.StringVar(&f.sheet, "sheet", "", "PNG to write: a row for each cluster, the images nearest to its mean")
	fl.StringVar(&f.images, "images", "", "DATA in which --sheet finds the images of EMBEDDINGS by name")
	fl.BoolVar(&f.force, "force", false, "write over files that exist")
	cmd.AddCommand(newClusterAssign(s, g))
	return cmd
}

// clustering is what a run found.
type clustering struct {
	v     *vectors
	means *cluster.Means

	Method     string   `json:"method"`
	K          int      `json:"k"`
	Vectors    int      `json:"vectors"`
	Size       int      `json:"embedding_size"`
	Sizes      []int    `json:"cluster_sizes"`
	Inertia    float64  `json:"inertia"`
	Silhouette *float64 `json:"silhouette,omitempty"` // none of a single cluster
	Protocol   string   `json:"protocol"`
	Labelled   int      `json:"labelled"`
	Classes    int      `json:"classes,omitempty"`
	NMI        *float64 `json:"nmi,omitempty"`
	ARI        *float64 `json:"ari,omitempty"`
	Accuracy   *float64 `json:"accuracy,omitempty"`
	Path       string   `json:"path,omitempty"`
	Sheet      string   `json:"sheet,omitempty"`
	Skipped    int      `json:"skipped"`
}

func (f *clusterFlags) run(ctx context.Context, s streams, g *global, args []string) error {
	linkage, metric, err := f.parse()
	if err != nil {
		return err
	}
	v, err := f.read(ctx, s, "cluster", args)
	if err != nil {
		return err
	}
	defer v.close()
	if err := v.openImages(f.images, &f.data, s); err != nil {
		return err
	}
	c := &clustering{v: v, K: f.opt.K, Vectors: v.Len(), Size: v.Dim, Skipped: f.inputs.skipped}
	if f.opt.K > v.Len() {
		return fmt.Errorf("cluster: got --k %d, but there are only %d vectors", f.opt.K, v.Len())
	}
	if f.method == "kmeans" {
		err = f.kMeans(ctx, s, c)
	} else {
		err = f.agglomerate(ctx, c, linkage, metric)
	}
	if err != nil {
		return err
	}
	if err := c.measure(ctx, f.seed); err != nil {
		return err
	}
	if f.output != "" {
		if err := f.write(ctx, s, c); err != nil {
			return err
		}
		c.Path = f.output
	}
	if f.sheet != "" {
		if err := c.drawSheet(f.sheet); err != nil {
			return err
		}
		c.Sheet = f.sheet
	}
	if err := c.report(s, g); err != nil {
		return err
	}
	return f.inputs.err()
}

// parse checks the flags before anything is read.
func (f *clusterFlags) parse() (linkage cluster.Linkage, metric distance.Metric, err error) {
	if f.method != "kmeans" && f.method != "agglomerative" {
		return 0, 0, usagef("unknown --method %q: choose kmeans or agglomerative", f.method)
	}
	if f.opt.K < 1 || f.opt.Restarts < 0 || f.opt.MaxIterations < 1 || f.opt.BatchSize < 0 {
		return 0, 0, usagef("got --k %d, --restarts %d, --iterations %d, --mini-batch %d: want 1, 0, 1, 0 or more",
			f.opt.K, f.opt.Restarts, f.opt.MaxIterations, f.opt.BatchSize)
	}
	if linkage, err = cluster.ParseLinkage(f.linkage); err != nil {
		return 0, 0, usagef("unknown --linkage %q: choose ward, average, complete or single", f.linkage)
	}
	if metric, err = distance.ParseMetric(f.metric); err != nil {
		return 0, 0, usagef("unknown --distance %q: choose euclidean or cosine", f.metric)
	}
	if f.method == "agglomerative" && linkage == cluster.Ward && metric == distance.Cosine {
		return 0, 0, usagef("--linkage ward needs --distance euclidean: choose average or complete for cosine, or --normalize")
	}
	if err := errors.Join(wantSuffix("output", f.output, ".csv", ".onnx"), wantSuffix("sheet", f.sheet, ".png")); err != nil {
		return 0, 0, err
	}
	return linkage, metric, checkFree(f.force, f.output, f.sheet)
}

func (f *clusterFlags) kMeans(ctx context.Context, s streams, c *clustering) (err error) {
	opt := f.opt
	opt.Seed = f.seed
	if opt.Restarts == 0 {
		if opt.Restarts = 10; opt.BatchSize > 0 {
			opt.Restarts = 3
		}
	}
	bar := newProgress(s.err, "cluster", "runs", opt.Restarts)
	defer bar.close()
	opt.Progress = func(run int, _ float64) { bar.set(run) }
	c.means, err = cluster.KMeans(ctx, c.v.X, c.v.Dim, opt)
	if err != nil {
		return err
	}
	c.Method = "kmeans"
	how := "Lloyd from k-means++"
	if opt.BatchSize > 0 {
		how = fmt.Sprintf("mini-batches of %d", opt.BatchSize)
	}
	c.Protocol = fmt.Sprintf("k-means, %s, best of %d runs, seed %d", how, opt.Restarts, f.seed)
	return nil
}

func (f *clusterFlags) agglomerate(ctx context.Context, c *clustering, linkage cluster.Linkage, metric distance.Metric) error {
	tree, err := cluster.Agglomerate(ctx, c.v.X, c.v.Dim, linkage, metric)
	if err != nil {
		return err
	}
	labels, err := tree.Cut(f.opt.K)
	if err != nil {
		return err
	}
	c.Method = "agglomerative"
	c.Protocol = fmt.Sprintf("agglomerative, %v linkage, %v distance", linkage, metric)
	c.means, err = cluster.MeansOf(ctx, c.v.X, c.v.Dim, labels, f.opt.K)
	return err
}

// silhouetteSample is the number of vectors of which the silhouette is computed: it
// compares all pairs.
const silhouetteSample = 5000

func (c *clustering) measure(ctx context.Context, seed uint64) error {
	c.Inertia = c.means.Inertia
	c.Sizes = make([]int, c.K)
	for _, l := range c.means.Labels {
		c.Sizes[l]++
	}
	c.Protocol += "; " + c.v.what
	if err := c.silhouette(ctx, seed); err != nil {
		return err
	}
	names, labelled, class := c.v.classes()
	if c.Labelled, c.Classes = len(labelled), len(names); len(labelled) == 0 {
		return nil
	}
	clusters := make([]int, len(labelled))
	for k, i := range labelled {
		clusters[k] = c.means.Labels[i]
	}
	a, err := metrics.NewAgreement(class, clusters)
	if err != nil {
		return err
	}
	nmi, ari, accuracy := a.NMI(metrics.Arithmetic), a.ARI(), a.Accuracy()
	c.NMI, c.ARI, c.Accuracy = &nmi, &ari, &accuracy
	return nil
}

func (c *clustering) silhouette(ctx context.Context, seed uint64) error {
	x, labels := c.v.X, c.means.Labels
	if c.Vectors > silhouetteSample {
		x, labels = nil, nil
		rows := rand.New(rand.NewPCG(seed, 1)).Perm(c.Vectors)[:silhouetteSample]
		slices.Sort(rows)
		for _, i := range rows {
			x = append(x, c.v.X[i*c.v.Dim:(i+1)*c.v.Dim]...)
			labels = append(labels, c.means.Labels[i])
		}
		c.Protocol += fmt.Sprintf("; silhouette of %d vectors at random", silhouetteSample)
	}
	different := slices.Clone(labels)
	slices.Sort(different)
	if k := len(slices.Compact(different)); k < 2 || k >= len(labels) {
		return nil // not defined
	}
	s, err := metrics.Silhouette(ctx, x, c.v.Dim, labels, distance.Euclidean)
	if err != nil {
		return err
	}
	mean := 0.0
	for _, v := range s {
		mean += v / float64(len(s))
	}
	c.Silhouette = &mean
	return nil
}

func (c *clustering) report(s streams, g *global) error {
	if g.json {
		return printJSON(s.out, c)
	}
	fmt.Fprintf(s.out, "%d clusters of %d vectors of size %d, %d to %d in each, inertia %.6g\n",
		c.K, c.Vectors, c.Size, slices.Min(c.Sizes), slices.Max(c.Sizes), c.Inertia)
	if c.Silhouette != nil {
		fmt.Fprintf(s.out, "silhouette: %.4f (euclidean; -1 to 1)\n", *c.Silhouette)
	} else {
		fmt.Fprintln(s.out, "silhouette: not defined for one cluster, or for as many as vectors")
	}
	if c.Accuracy != nil {
		fmt.Fprintf(s.out, "NMI: %.4f (arithmetic mean)\nARI: %.4f\naccuracy: %.2f %% (each cluster matched to one class, each class to one cluster)\n",
			*c.NMI, *c.ARI, 100**c.Accuracy)
		fmt.Fprintf(s.out, "labels: %d classes, of %d vectors\n", c.Classes, c.Labelled)
	} else {
		fmt.Fprintln(s.out, "labels: none, so there is no NMI, ARI and accuracy")
	}
	fmt.Fprintf(s.out, "protocol: %s\n", c.Protocol)
	for _, path := range []string{c.Path, c.Sheet} {
		if path != "" {
			fmt.Fprintln(s.out, "wrote", path)
		}
	}
	return nil
}

// summary is what a file of clusters says about where they come from.
func (c *clustering) summary() json.RawMessage {
	data, err := json.Marshal(c)
	if err != nil {
		panic(err) // numbers and strings
	}
	return data
}
