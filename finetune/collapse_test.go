package finetune

import "testing"

// TestCollapse has what was measured after the first epoch of SimCLR (33 to 50 steps,
// one thread): Fashion-MNIST at width 0.05, 14 pixels, 32 images a batch, CIFAR-10 at
// width 0.125, 32 pixels, Fashion-MNIST at width 0.125, 64 images a batch.
func TestCollapse(t *testing.T) {
	fashion := map[string]float64{"loss": 4.0545, "uniformity": -3.1729, "effective_rank": 14.95}
	cifar := map[string]float64{"loss": 4.1544, "uniformity": -3.5532, "effective_rank": 22.41}
	wide := map[string]float64{"loss": 4.6970, "uniformity": -3.5353, "effective_rank": 25.85}
	linear := map[string]float64{"loss": 3.4008, "uniformity": -0.7364, "effective_rank": 14.95} // a linear head, InfoNCE
	const chance32, chance64, chanceInfoNCE = 4.1431, 4.8442, 3.4657
	for name, c := range map[string]struct {
		start                  map[string]float64
		loss, uniformity, rank float64
		chance                 float64
		collapses              bool
	}{
		"fashion, temperature 0.5":     {fashion, 3.8217, -2.4989, 11.19, chance32, false},
		"fashion, temperature 1":       {fashion, 3.9205, -2.3567, 12.21, chance32, false},
		"fashion, temperature 0.15":    {fashion, 4.5278, -2.3643, 10.63, chance32, false},
		"fashion, temperature 0.07":    {fashion, 8.1263, -1.7486, 7.75, chance32, false},
		"the same, 187 steps":          {fashion, 5.2144, -1.1228, 9.03, chance32, false}, // its neighbours are the best of all
		"the same, 561 steps":          {fashion, 3.2366, -1.0897, 9.66, chance32, false},
		"cifar, temperature 0.5":       {cifar, 3.8812, -3.2011, 21.18, chance32, false},
		"wide, temperature 0.5":        {wide, 4.5512, -2.9386, 22.03, chance64, false},
		"wide, temperature 0.1":        {wide, 5.6143, -2.8060, 18.94, chance64, false},
		"wide, temperature 0.05":       {wide, 8.7524, -2.0348, 15.02, chance64, false},
		"wide, learning rate x 10":     {wide, 4.3839, -2.2852, 15.29, chance64, false},
		"wide, adam":                   {wide, 4.5542, -3.0473, 24.35, chance64, false},
		"linear head":                  {linear, 3.1606, -1.4165, 13.15, chanceInfoNCE, false},
		"fashion, learning rate 10":    {fashion, 3.7663, -1.7065, 3.64, chance32, true},
		"fashion, learning rate 100":   {fashion, 3.9790, -1.3902, 3.96, chance32, true},
		"fashion, learning rate 1000":  {fashion, 4.0900, -1.3413, 5.80, chance32, true},
		"cifar, learning rate 30":      {cifar, 3.9426, -1.5512, 6.33, chance32, true},
		"cifar, learning rate 300":     {cifar, 3.9875, -1.5568, 7.79, chance32, true},
		"wide, learning rate 30":       {wide, 4.4585, -1.8249, 6.68, chance64, true},
		"wide, learning rate 300":      {wide, 4.5753, -1.6253, 7.77, chance64, true},
		"wide, learning rate 3000":     {wide, 4.6872, -1.7001, 6.74, chance64, true},
		"wide, adam, learning rate 1":  {wide, 4.2907, -1.9609, 6.33, chance64, true},
		"linear, learning rate 100":    {linear, 3.3898, -0.4817, 2.82, chanceInfoNCE, true},
		"wide, temperature 0.0001":     {wide, 709.01, -0.3662, 5.60, chance64, true},
		"wide, temperature 0.001":      {wide, 150.01, -0.7146, 5.77, chance64, true},
		"wide, temperature 0.01":       {wide, 38.992, -1.6379, 10.45, chance64, true},
		"fashion, temperature 20":      {map[string]float64{"loss": 4.1366}, 4.1364, -3.0911, 15.03, chance32, true},
		"fashion, temperature 1000":    {map[string]float64{"loss": 4.1430}, 4.1430, -3.1492, 15.16, chance32, true},
		"wide, temperature 10":         {map[string]float64{"loss": 4.8340}, 4.8328, -3.4439, 25.17, chance64, true},
		"wide, learning rate 0.000001": {map[string]float64{"loss": 4.78}, 4.7806, -3.5244, 25.40, chance64, false}, // slow is no collapse
		"fashion, adam, 25 steps":      {fashion, 4.1211, -3.0, 14, chance32, false},
	} {
		why := collapse(1, map[string]float64{"loss": c.loss, "uniformity": c.uniformity, "effective_rank": c.rank}, c.start, c.chance)
		if (why != "") != c.collapses {
			t.Errorf("%s: %q", name, why)
		}
	}
}
