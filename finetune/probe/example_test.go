package probe_test

import (
	"context"
	"fmt"

	"github.com/sslrt/sslrt/finetune/linear"
	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/finetune/probe"
)

// Embeddings of two classes, which the first of two values tells apart.
func Example() {
	var x []float32
	var labels []int
	for i := range 20 {
		x = append(x, float32(i%2)*4+float32(i)/20, float32(i%5))
		labels = append(labels, i%2)
	}
	p, err := probe.FitLinear(context.Background(), x, labels, 2, probe.LinearOptions{})
	if err != nil {
		panic(err)
	}
	logits, err := linear.Logits(p.Model, []float32{0.2, 3, 4.4, 3})
	if err != nil {
		panic(err)
	}
	fmt.Println(metrics.Argmax(logits, 2))
	// Output: [0 1]
}
