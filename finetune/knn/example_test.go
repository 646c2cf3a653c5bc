package knn_test

import (
	"fmt"
	"log"

	"github.com/sslrt/sslrt/finetune/knn"
)

func Example() {
	train := []float32{ // [4, 2]
		1, 0.1,
		1, -0.1,
		-0.1, 1,
		0.1, 1,
	}
	labels := []int{0, 0, 1, 1}
	c, err := knn.New(train, labels, 2, knn.Options{K: 3})
	if err != nil {
		log.Fatal(err)
	}
	res, err := c.Evaluate([]float32{2, 0.5, 0.3, 0.4}, []int{0, 1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Accuracy)
	fmt.Println(res.Protocol)
	// Output:
	// 1
	// k-nearest neighbours, cosine, k 3, weights exp(s/0.1), 4 training images, 2 classes
}
