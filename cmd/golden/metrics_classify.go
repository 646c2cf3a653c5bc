package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/finetune/knn"
	"github.com/sslrt/sslrt/finetune/linear"
	"github.com/sslrt/sslrt/finetune/metrics"
)

// split2 holds the two parts of a case that classifies.
type split2 struct {
	x   [2][]float32
	y   [2][]int
	dim int
}

func readSplit(a *arrays) (s split2, err error) {
	for i, part := range []string{"train", "test"} {
		if s.x[i], s.dim, err = vectors(a, part+"_x"); err != nil {
			return s, err
		}
		if !a.has(part + "_y") {
			continue
		}
		if s.y[i], err = labelsOf(a, part+"_y"); err != nil {
			return s, err
		}
	}
	return s, nil
}

func runKNN(c *Case, a *arrays) (results, error) {
	var p struct {
		K, Classes int
		T          float64
		Similarity string
	}
	if err := c.params(&p); err != nil {
		return nil, err
	}
	if p.Similarity != "" && p.Similarity != "cosine" {
		return nil, uncovered("no similarity %q", p.Similarity)
	}
	s, err := readSplit(a)
	if err != nil {
		return nil, err
	}
	classifier, err := knn.New(s.x[0], s.y[0], s.dim, knn.Options{K: p.K, Temperature: p.T, Classes: p.Classes})
	if err != nil {
		return nil, err
	}
	measured, err := classifier.Evaluate(s.x[1], s.y[1])
	if err != nil {
		return nil, err
	}
	votes, err := classifier.Votes(s.x[1])
	if err != nil {
		return nil, err
	}
	predicted, err := classifier.Predict(s.x[1])
	if err != nil {
		return nil, err
	}
	got := results{}
	if a.has("neighbours") {
		near, err := nearest(a, s)
		if err != nil {
			return nil, err
		}
		got.set("neighbours", near...)
	}
	got.set("pred", toFloats(predicted)...)
	got.set("votes_normalized", votes...)
	got.set("top1", measured.Accuracy)
	got.set("top5", measured.Top5)
	return got, nil
}

// nearest returns as many neighbours of each test vector as the case lists.
func nearest(a *arrays, s split2) ([]float64, error) {
	index, err := knn.NewIndex(s.x[0], s.dim)
	if err != nil {
		return nil, err
	}
	k := a.shape("neighbours")[1]
	lists, err := index.Nearest(s.x[1], k)
	if err != nil {
		return nil, err
	}
	var out []float64
	for i, list := range lists {
		if len(list) != k {
			return nil, fmt.Errorf("neighbours: got %d of vector %d, want %d", len(list), i, k)
		}
		for _, n := range list {
			out = append(out, float64(n.Index))
		}
	}
	return out, nil
}

func runLogistic(c *Case, a *arrays) (results, error) {
	var p struct {
		C       float64
		Penalty string
	}
	if err := c.params(&p); err != nil {
		return nil, err
	}
	if p.Penalty != "" && p.Penalty != "l2" {
		return nil, uncovered("no penalty %q", p.Penalty)
	}
	s, err := readSplit(a)
	if err != nil {
		return nil, err
	}
	m, err := linear.Fit(context.Background(), s.x[0], s.y[0], s.dim, linear.Options{C: p.C, Tolerance: 1e-10, MaxIterations: 10_000})
	if err != nil {
		return nil, err
	}
	got := results{}
	coefficients := byTolerance(c.extra("coef_atol", 1e-3), 0)
	got.judged("coef", coefficients, m.W...)
	got.judged("intercept", coefficients, m.B...)
	got.judged("objective", byTolerance(0, 1e-6), m.Objective)
	for i, part := range []string{"train", "test"} {
		logits, err := linear.Logits(m, s.x[i])
		if err != nil {
			return nil, err
		}
		right := 0
		predicted := metrics.Argmax(logits, m.Classes)
		for k, l := range s.y[i] {
			if predicted[k] == l {
				right++
			}
		}
		got.set(part+"_acc", float64(right)/float64(len(predicted)))
		got.set(part+"_pred", toFloats(predicted)...)
		got.judged(part+"_proba", coefficients, metrics.Softmax(logits, m.Classes, 1)...)
	}
	return got, nil
}

func runClassification(c *Case, a *arrays) (results, error) {
	logits, classes, err := vectors(a, "logits")
	if err != nil {
		return nil, err
	}
	labels, err := labelsOf(a, "labels")
	if err != nil {
		return nil, err
	}
	confusion, err := metrics.NewConfusion(labels, metrics.Argmax(logits, classes), classes)
	if err != nil {
		return nil, err
	}
	probability := metrics.Softmax(logits, classes, 1)
	got, r := results{}, confusion.Report()
	got.set("confusion_matrix", toFloats(confusion.Counts)...)
	for name, v := range map[string]float64{
		"top1": r.Accuracy, "balanced_accuracy": r.BalancedAccuracy, "f1_macro": r.MacroF1, "f1_weighted": r.WeightedF1,
		"precision_macro": r.MacroPrecision, "recall_macro": r.MacroRecall, "cohen_kappa": r.CohenKappa, "matthews": r.Matthews,
	} {
		got.set(name, v)
	}
	for name, measure := range map[string]func() (float64, error){
		"nll":               func() (float64, error) { return metrics.NLL(logits, classes, labels, 1) },
		"brier_sum":         func() (float64, error) { return metrics.Brier(probability, classes, labels) },
		"roc_auc_ovr_macro": func() (float64, error) { return metrics.AUROCOneVsRest(probability, classes, labels) },
	} {
		v, err := measure()
		if err != nil {
			return nil, err
		}
		got.set(name, v)
	}
	for name, k := range numbered(c, "top") {
		v, err := metrics.TopK(logits, classes, labels, int(k))
		if err != nil {
			return nil, err
		}
		got.set(name, v)
	}
	for _, bins := range numbered(c, "ece_") {
		cal, err := metrics.Calibrate(probability, classes, labels, int(bins))
		if err != nil {
			return nil, err
		}
		n := fmt.Sprint(int(bins))
		got.set("ece_"+n, cal.ECE)
		got.set("mce_"+n, cal.MCE)
		var table []float64
		for _, b := range cal.Bins {
			table = append(table, float64(b.Count), b.Accuracy, b.Confidence)
		}
		got.set("bins_"+n+"_count_acc_conf", table...)
	}
	return got, nil
}

func runTemperature(c *Case, a *arrays) (results, error) {
	logits, classes, err := vectors(a, "logits")
	if err != nil {
		return nil, err
	}
	labels, err := labelsOf(a, "labels")
	if err != nil {
		return nil, err
	}
	best, loss, err := metrics.FitTemperature(logits, classes, labels)
	if err != nil {
		return nil, err
	}
	at1, err := metrics.NLL(logits, classes, labels, 1)
	if err != nil {
		return nil, err
	}
	got := results{}
	// The truth is the best of a grid of step 0.01.
	got.judged("best_temperature", byTolerance(0.02, 0), best)
	got.judged("best_nll", func(a *arrays, name string, v []float64) error {
		want, err := a.floats(name + "_f64")
		if err == nil && (v[0] > want[0]+1e-9 || v[0] < want[0]-1e-3) {
			err = fmt.Errorf("%s: got %.9g, want %.9g or just below", name, v[0], want[0])
		}
		return err
	}, loss)
	got.judged("nll_at_1", byTolerance(1e-6, 1e-5), at1)
	return got, nil
}

func runPSNR(c *Case, a *arrays) (results, error) {
	var p struct {
		DataRange float64 `json:"data_range"`
	}
	if err := c.params(&p); err != nil {
		return nil, err
	}
	x, size, err := vectors(a, "x")
	if err != nil {
		return nil, err
	}
	y, _, err := vectors(a, "y")
	if err != nil {
		return nil, err
	}
	var db, mse []float64
	for lo := 0; lo < len(x); lo += size {
		d, m, err := metrics.PSNR(x[lo:lo+size], y[lo:lo+size], p.DataRange)
		if err != nil {
			return nil, err
		}
		db, mse = append(db, d), append(mse, m)
	}
	if !finite(mse) {
		return nil, fmt.Errorf("mse: got %v", mse)
	}
	got := results{}
	got.set("psnr", db...)
	got.set("mse", mse...)
	return got, nil
}

func runAlignmentUniformity(c *Case, a *arrays) (results, error) {
	var p struct{ T float64 }
	if err := c.params(&p); err != nil {
		return nil, err
	}
	x, dim, err := vectors(a, "x")
	if err != nil {
		return nil, err
	}
	y, _, err := vectors(a, "y")
	if err != nil {
		return nil, err
	}
	got := results{}
	for name, alpha := range numbered(c, "alignment_") {
		v, err := metrics.Alignment(x, y, dim, alpha)
		if err != nil {
			return nil, err
		}
		got.set(name, v)
	}
	for name, z := range map[string][]float32{"uniformity_x": x, "uniformity_y": y} {
		v, err := metrics.Uniformity(z, dim, p.T)
		if err != nil {
			return nil, err
		}
		got.set(name, v)
	}
	return got, nil
}

func runRankMe(c *Case, a *arrays) (results, error) {
	z, dim, err := vectors(a, "z")
	if err != nil {
		return nil, err
	}
	got := results{}
	rank, err := metrics.RankMe(z, dim)
	if err != nil {
		return nil, err
	}
	sigma, err := metrics.SingularValues(z, dim)
	if err != nil {
		return nil, err
	}
	plain, err := metrics.EntropyRank(sigma)
	if err != nil {
		return nil, err
	}
	spectrum, err := metrics.CovarianceSpectrum(z, dim)
	if err != nil {
		return nil, err
	}
	effective, err := metrics.EntropyRank(spectrum)
	if err != nil {
		return nil, err
	}
	got.set("rankme", rank)
	got.set("rankme_no_eps", plain)
	got.set("singular_values", sigma...)
	got.set("effective_rank_of_covariance", effective)
	got.set("participation_ratio", metrics.ParticipationRatio(spectrum))
	return got, nil
}

func runDetection(c *Case, a *arrays) (results, error) {
	scores, err := a.floats32("scores")
	if err != nil {
		return nil, err
	}
	labels, err := labelsOf(a, "labels")
	if err != nil {
		return nil, err
	}
	positive := make([]bool, len(labels))
	for i, l := range labels {
		positive[i] = l != 0
	}
	d, err := metrics.NewDetection(scores, positive)
	if err != nil {
		return nil, err
	}
	got := results{}
	got.set("roc_auc", d.AUROC())
	got.set("average_precision", d.AveragePrecision())
	got.set("pr_auc_trapezoid", d.PRTrapezoid())
	f1, threshold := d.F1Max()
	got.set("f1_max", f1)
	got.set("f1_threshold", threshold)
	fpr, tpr := d.ROC()
	got.set("roc_fpr", fpr...)
	got.set("roc_tpr", tpr...)
	for name, limit := range numbered(c, "partial_auc_") {
		v, err := d.PartialAUROC(limit)
		if err != nil {
			return nil, err
		}
		got.set(name, v)
	}
	for _, name := range c.Outputs {
		between, ok := strings.CutPrefix(name, "fpr_at_")
		if !ok {
			continue
		}
		if percent, err := strconv.ParseFloat(strings.TrimSuffix(between, "_tpr"), 64); err == nil {
			v, err := d.FPRAtTPR(percent / 100)
			if err != nil {
				return nil, err
			}
			got.set(name, v)
		}
	}
	return got, nil
}

func runAUPRO(c *Case, a *arrays) (results, error) {
	var p struct{ Connectivity int }
	if err := c.params(&p); err != nil {
		return nil, err
	}
	if p.Connectivity != 0 && p.Connectivity != 8 {
		return nil, uncovered("no connectivity %d", p.Connectivity)
	}
	maps, size, err := vectors(a, "maps")
	if err != nil {
		return nil, err
	}
	values, err := a.floats("masks")
	if err != nil {
		return nil, err
	}
	shape := a.shape("maps")
	var pixels metrics.Pixels
	var best []float64
	for lo := 0; lo < len(maps); lo += size {
		mask, top := make([]uint8, size), math.Inf(-1)
		for i := range mask {
			if values[lo+i] != 0 {
				mask[i] = 1
			}
			top = max(top, float64(maps[lo+i]))
		}
		best = append(best, top)
		if err := pixels.Add(maps[lo:lo+size], mask, shape[2], shape[1]); err != nil {
			return nil, err
		}
	}
	got := results{}
	for name, limit := range numbered(c, "aupro_") {
		v, err := pixels.AUPRO(limit)
		if err != nil {
			return nil, err
		}
		got.set(name, v)
	}
	fpr, pro, err := pixels.PROCurve()
	if err != nil {
		return nil, err
	}
	d, err := pixels.Detection()
	if err != nil {
		return nil, err
	}
	got.set("curve_fpr", fpr...)
	got.set("curve_pro", pro...)
	got.set("n_regions", float64(pixels.RegionCount()))
	got.set("pixel_roc_auc", d.AUROC())
	got.set("pixel_average_precision", d.AveragePrecision())
	got.set("image_scores_max", best...)
	return got, nil
}
