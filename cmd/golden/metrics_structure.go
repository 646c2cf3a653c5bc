package main

import (
	"context"

	"github.com/sslrt/sslrt/finetune/anomaly"
	"github.com/sslrt/sslrt/finetune/cluster"
	"github.com/sslrt/sslrt/finetune/distance"
	"github.com/sslrt/sslrt/finetune/metrics"
)

func runKMeans(c *Case, a *arrays) (results, error) {
	var p struct {
		Tol       float64
		Algorithm string
	}
	if err := c.params(&p); err != nil {
		return nil, err
	}
	if p.Algorithm != "" && p.Algorithm != "lloyd" {
		return nil, uncovered("no algorithm %q", p.Algorithm)
	}
	x, dim, err := vectors(a, "x")
	if err != nil {
		return nil, err
	}
	start, err := a.floats("init_centroids")
	if err != nil {
		return nil, err
	}
	tolerance := p.Tol
	if tolerance == 0 {
		tolerance = -1
	}
	m, err := cluster.Lloyd(context.Background(), x, dim, start, cluster.KMeansOptions{Tolerance: tolerance})
	if err != nil {
		return nil, err
	}
	got := results{}
	got.set("labels", toFloats(m.Labels)...)
	got.set("centroids", m.Centroids...)
	got.set("inertia", m.Inertia)
	got.set("n_iter", float64(m.Iterations))
	got.judged("ari_vs_truth", impliedBy(m.Labels))
	return got, nil
}

// impliedBy judges a number that follows from labels and from classes which the case
// does not store: it is right when the labels are.
func impliedBy(labels []int) func(*arrays, string, []float64) error {
	return func(a *arrays, _ string, _ []float64) error { return renamed(a, "labels", toFloats(labels)) }
}

func runAgglomerative(c *Case, a *arrays) (results, error) {
	var p struct {
		Clusters int `json:"n_clusters"`
		Linkage  string
		Metric   string
	}
	if err := c.params(&p); err != nil {
		return nil, err
	}
	linkage, err := cluster.ParseLinkage(p.Linkage)
	if err != nil {
		return nil, uncovered("%v", err)
	}
	metric, err := distance.ParseMetric(p.Metric)
	if err != nil {
		return nil, uncovered("%v", err)
	}
	x, dim, err := vectors(a, "x")
	if err != nil {
		return nil, err
	}
	tree, err := cluster.Agglomerate(context.Background(), x, dim, linkage, metric)
	if err != nil {
		return nil, err
	}
	labels, err := tree.Cut(p.Clusters)
	if err != nil {
		return nil, err
	}
	got := results{}
	got.judged("labels", renamed, toFloats(labels)...)
	var heights []float64
	for _, m := range tree.Merges {
		heights = append(heights, m.Height)
	}
	got.set("merge_heights", heights...)
	got.judged("ari_vs_truth", impliedBy(labels))
	return got, nil
}

func runCoreset(c *Case, a *arrays) (results, error) {
	var p struct{ K, Start int }
	if err := c.params(&p); err != nil {
		return nil, err
	}
	x, dim, err := vectors(a, "x")
	if err != nil {
		return nil, err
	}
	cover, err := cluster.KCentre(context.Background(), x, dim, p.K, p.Start, nil)
	if err != nil {
		return nil, err
	}
	got := results{}
	got.set("indices", toFloats(cover.Indices)...)
	got.set("pick_distance", cover.Apart[1:]...)
	got.set("final_cover_radius", cover.Radius)
	return got, nil
}

func runClustering(c *Case, a *arrays) (results, error) {
	truth, err := labelsOf(a, "labels_true")
	if err != nil {
		return nil, err
	}
	predicted, err := labelsOf(a, "labels_pred")
	if err != nil {
		return nil, err
	}
	m, err := metrics.NewAgreement(truth, predicted)
	if err != nil {
		return nil, err
	}
	got := results{}
	for name, v := range map[string]float64{
		"nmi_arithmetic": m.NMI(metrics.Arithmetic), "nmi_geometric": m.NMI(metrics.Geometric), "nmi_max": m.NMI(metrics.Max),
		"ami_arithmetic": m.AMI(metrics.Arithmetic), "ami_geometric": m.AMI(metrics.Geometric), "ami_max": m.AMI(metrics.Max),
		"ari": m.ARI(), "mutual_info_nats": m.MutualInformation(), "homogeneity": m.Homogeneity(), "completeness": m.Completeness(),
		"v_measure": m.VMeasure(), "fowlkes_mallows": m.FowlkesMallows(), "hungarian_accuracy": m.Accuracy(), "purity": m.Purity(),
	} {
		got.set(name, v)
	}
	x, dim, err := vectors(a, "x")
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	for _, metric := range []distance.Metric{distance.Euclidean, distance.Cosine} {
		name := "silhouette_" + metric.String()
		if !a.has(name) {
			continue
		}
		s, err := metrics.Silhouette(ctx, x, dim, predicted, metric)
		if err != nil {
			return nil, err
		}
		got.set(name, mean(s))
		if metric == distance.Euclidean {
			got.set("silhouette_samples", s...)
		}
	}
	for name, measure := range map[string]func([]float32, int, []int) (float64, error){
		"davies_bouldin": metrics.DaviesBouldin[float32], "calinski_harabasz": metrics.CalinskiHarabasz[float32],
	} {
		if a.has(name) {
			v, err := measure(x, dim, predicted)
			if err != nil {
				return nil, err
			}
			got.set(name, v)
		}
	}
	return got, nil
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

func runPaDiM(c *Case, a *arrays) (results, error) {
	var p struct{ Ridge float64 }
	if err := c.params(&p); err != nil {
		return nil, err
	}
	train, _, err := vectors(a, "train")
	if err != nil {
		return nil, err
	}
	test, _, err := vectors(a, "test")
	if err != nil {
		return nil, err
	}
	shape := a.shape("train")
	channels, places := shape[1], shape[2]*shape[3]
	m, err := anomaly.FitPaDiM(train, channels, places, p.Ridge)
	if err != nil {
		return nil, err
	}
	scores, err := anomaly.PaDiMScores(m, test)
	if err != nil {
		return nil, err
	}
	middle := make([]float64, channels*places)
	var covariance, images []float64
	for at, g := range m.At {
		for k, v := range g.Mean {
			middle[k*places+at] = v
		}
		covariance = append(covariance, g.Covariance...)
	}
	for lo := 0; lo < len(scores); lo += places {
		top := scores[lo]
		for _, v := range scores[lo : lo+places] {
			top = max(top, v)
		}
		images = append(images, top)
	}
	got := results{}
	got.set("mean", middle...)
	got.set("cov", covariance...)
	got.set("score_map", scores...)
	got.set("image_score", images...)
	return got, nil
}

func runMahalanobis(c *Case, a *arrays) (results, error) {
	var p struct{ Classes int }
	if err := c.params(&p); err != nil {
		return nil, err
	}
	s, err := readSplit(a)
	if err != nil {
		return nil, err
	}
	m, err := anomaly.FitClassGaussians(s.x[0], s.dim, s.y[0], p.Classes, 0)
	if err != nil {
		return nil, err
	}
	var all, least []float64
	for lo := 0; lo < len(s.x[1]); lo += s.dim {
		row := make([]float64, s.dim)
		for k := range row {
			row[k] = float64(s.x[1][lo+k])
		}
		d := m.SquaredDistances(row)
		best := d[0]
		for _, v := range d {
			best = min(best, v)
		}
		all, least = append(all, d...), append(least, best)
	}
	got := results{}
	got.set("class_means", m.Means...)
	got.set("tied_cov", m.Covariance...)
	got.set("sq_dist", all...)
	got.set("score", least...)
	return got, nil
}

func runPatchCore(c *Case, a *arrays) (results, error) {
	var p struct {
		B       int
		Include *bool `json:"neighbours_include_m_star"`
	}
	if err := c.params(&p); err != nil {
		return nil, err
	}
	if p.Include != nil && !*p.Include {
		return nil, uncovered("neighbours of m* without itself")
	}
	bank, dim, err := vectors(a, "memory_bank")
	if err != nil {
		return nil, err
	}
	query, size, err := vectors(a, "query_patches")
	if err != nil {
		return nil, err
	}
	var patches, star, weights, scores, argmax, near []float64
	for lo := 0; lo < len(query); lo += size {
		s, err := anomaly.PatchCore(context.Background(), bank, query[lo:lo+size], dim, p.B)
		if err != nil {
			return nil, err
		}
		patches = append(patches, s.Patches...)
		star = append(star, s.Patches[s.Patch])
		weights = append(weights, s.Weight)
		scores = append(scores, s.Score)
		argmax = append(argmax, float64(s.Patch))
		near = append(near, float64(s.Nearest[s.Patch]))
	}
	got := results{}
	for name, v := range map[string][]float64{"patch_scores": patches, "s_star": star, "weight": weights,
		"image_score": scores, "argmax_patch": argmax, "nearest": near} {
		got.set(name, v...)
	}
	return got, nil
}
