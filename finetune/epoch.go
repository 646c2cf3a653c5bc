package finetune

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/finetune/train"
)

// Metrics that the trainer itself measures; others are the objective's.
const (
	metricKNN      = "knn"            // accuracy of nearest neighbours, after an epoch
	metricAccuracy = "accuracy"       // of the classifier on images held back, after an epoch
	metricRank     = "effective_rank" // of the embeddings of an epoch's last batch
)

// largerIsBetter are the metrics of which that is true; of others the smaller value
// is the better one.
var largerIsBetter = []string{metricKNN, metricRank, metricAccuracy, "psnr"}

// sum is a sum of numbers and how many they are.
type sum struct {
	total float64
	n     int
}

// sums add up the metrics of an epoch. They travel in the checkpoint, so that an
// epoch that was interrupted has the same means as any other.
type sums map[string]sum

func (s sums) add(name string, v float64) { s[name] = sum{s[name].total + v, s[name].n + 1} }

func (s sums) means() map[string]float64 {
	out := make(map[string]float64, len(s))
	for name, v := range s {
		out[name] = v.total / float64(v.n)
	}
	return out
}

// MarshalText writes a sum so that it is read back exactly, infinities too, which
// JSON has not.
func (s sum) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%s %d", strconv.FormatFloat(s.total, 'g', -1, 64), s.n), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *sum) UnmarshalText(text []byte) error {
	total, n, _ := strings.Cut(string(text), " ")
	var err error
	if s.total, err = strconv.ParseFloat(total, 64); err == nil {
		s.n, err = strconv.Atoi(n)
	}
	if err == nil && s.n < 1 {
		err = fmt.Errorf("a sum of %d numbers", s.n)
	}
	return err
}

// Best is the best epoch of a run so far.
type Best struct {
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
	Epoch  int     `json:"epoch"` // 1-based; 0: none yet
}

// update takes an epoch's value of the metric if it is better. A value that is no
// number never is.
func (b *Best) update(epoch int, metrics map[string]float64) bool {
	v, ok := metrics[b.Metric]
	if !ok || math.IsNaN(v) || math.IsInf(v, 0) {
		return false
	}
	better := v < b.Value
	if slices.Contains(largerIsBetter, b.Metric) {
		better = v > b.Value
	}
	if b.Epoch > 0 && !better {
		return false
	}
	b.Value, b.Epoch = v, epoch
	return true
}

// bestOf reads what a checkpoint says about the best epoch, nothing for "".
func bestOf(text string) (b Best, err error) {
	if text != "" {
		err = json.Unmarshal([]byte(text), &b)
	}
	return b, err
}

// sumsOf reads the sums of a checkpoint, none for "".
func sumsOf(text string) (s sums, err error) {
	if text != "" {
		err = json.Unmarshal([]byte(text), &s)
	}
	return s, err
}

// epochMetrics returns the names of the metrics that an epoch of the run has, which
// either holds images back for validation or does not.
func epochMetrics(step *train.Program, labelled, validated bool) []string {
	names := map[string]bool{train.OutputLoss: true, metricKNN: labelled && !validated, metricAccuracy: validated}
	for _, o := range step.Outputs {
		switch {
		case o.Node.Size() == 1:
			names[o.Name] = true
		case o.Name == train.MetricEmbedding:
			names[metricRank] = true
		}
	}
	maps.DeleteFunc(names, func(_ string, has bool) bool { return !has })
	return slices.Sorted(maps.Keys(names))
}
