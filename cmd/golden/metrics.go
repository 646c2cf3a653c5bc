package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/metrics"
)

// metricKinds compute the outputs of a case of group evalmetrics.
var metricKinds = map[string]func(c *Case, a *arrays) (results, error){
	"knn":                    runKNN,
	"logistic_regression":    runLogistic,
	"kmeans":                 runKMeans,
	"agglomerative":          runAgglomerative,
	"coreset":                runCoreset,
	"pca":                    runPCA,
	"tsne_exact":             runTSNEExact,
	"tsne":                   runTSNE,
	"trustworthiness":        runTrustworthiness,
	"clustering_metrics":     runClustering,
	"detection_metrics":      runDetection,
	"aupro":                  runAUPRO,
	"rankme":                 runRankMe,
	"alignment_uniformity":   runAlignmentUniformity,
	"padim":                  runPaDiM,
	"mahalanobis_ood":        runMahalanobis,
	"patchcore":              runPatchCore,
	"classification_metrics": runClassification,
	"temperature_scaling":    runTemperature,
	"psnr":                   runPSNR,
}

// results are computed outputs by name.
type results map[string]judgedResult

// judgedResult is an output, and how it is judged if not by the case's tolerance.
type judgedResult struct {
	values []float64
	judge  func(a *arrays, name string, got []float64) error
}

func (r results) set(name string, values ...float64) { r[name] = judgedResult{values: values} }

func (r results) judged(name string, judge func(*arrays, string, []float64) error, values ...float64) {
	r[name] = judgedResult{values, judge}
}

// byTolerance judges by a tolerance of its own.
func byTolerance(atol, rtol float64) func(*arrays, string, []float64) error {
	return func(a *arrays, name string, got []float64) error { return checkWithin(a, name, got, atol, rtol) }
}

func runMetric(c *Case, _ engine.Machine) error {
	run := metricKinds[c.Op]
	if run == nil {
		return uncovered("nothing measures that")
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	got, err := run(c, a)
	if err != nil {
		return err
	}
	for _, name := range c.Outputs {
		r, ok := got[name]
		switch {
		case !ok:
			return uncovered("nothing computes its output %q", name)
		case r.judge != nil:
			err = r.judge(a, name, r.values)
		case a.integer(name):
			err = checkWithin(a, name, r.values, 0.5, 0)
		default:
			err = c.check(a, name, r.values)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// vectors reads an array [N, dim]; of more dimensions all but the first are one.
func vectors(a *arrays, name string) (x []float32, dim int, err error) {
	if x, err = a.floats32(name); err != nil {
		return nil, 0, err
	}
	shape := a.shape(name)
	if len(shape) < 2 || shape[0] == 0 {
		return nil, 0, fmt.Errorf("%s has shape %v, want at least two dimensions", name, shape)
	}
	return x, len(x) / shape[0], nil
}

func labelsOf(a *arrays, name string) ([]int, error) {
	v, err := a.ints(name)
	out := make([]int, len(v))
	for i, l := range v {
		out[i] = int(l)
	}
	return out, err
}

func toFloats(v []int) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// numbered returns the outputs called prefix and a number, "0_3" being 0.3, and those
// numbers.
func numbered(c *Case, prefix string) map[string]float64 {
	out := map[string]float64{}
	for _, name := range c.Outputs {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			if v, err := strconv.ParseFloat(strings.Replace(rest, "_", ".", 1), 64); err == nil {
				out[name] = v
			}
		}
	}
	return out
}

// extra reads a key of the case's tolerance that only some kinds have.
func (c *Case) extra(key string, otherwise float64) float64 {
	var raw struct{ Tolerance map[string]any }
	if json.Unmarshal(c.raw, &raw) == nil {
		if v, ok := raw.Tolerance[key].(float64); ok {
			return v
		}
	}
	return otherwise
}

// renamed judges clusters, whose numbers mean nothing.
func renamed(a *arrays, name string, got []float64) error {
	want, err := labelsOf(a, name)
	if err != nil {
		return err
	}
	clusters := make([]int, len(got))
	for i, v := range got {
		clusters[i] = int(v)
	}
	agreement, err := metrics.NewAgreement(want, clusters)
	if err != nil {
		return err
	}
	if ari := agreement.ARI(); ari != 1 {
		return fmt.Errorf("%s: other clusters: adjusted Rand index %.6g, want 1", name, ari)
	}
	return nil
}

// atLeast and atMost judge a single number by a bound.
func atLeast(bound float64) func(*arrays, string, []float64) error {
	return func(_ *arrays, name string, got []float64) error {
		if !(got[0] >= bound) {
			return fmt.Errorf("%s: got %.6g, want at least %.6g", name, got[0], bound)
		}
		return nil
	}
}

func finite(v []float64) bool {
	for _, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return false
		}
	}
	return true
}
