package cluster_test

import (
	"context"
	"fmt"

	"github.com/sslrt/sslrt/finetune/cluster"
	"github.com/sslrt/sslrt/finetune/distance"
)

var points = []float32{ // [6, 2]
	0, 0, 0, 1, 1, 0,
	9, 9, 9, 8, 8, 9,
}

func ExampleKMeans() {
	m, err := cluster.KMeans(context.Background(), points, 2, cluster.KMeansOptions{K: 2})
	if err != nil {
		panic(err)
	}
	fmt.Println(m.Labels[0] == m.Labels[2], m.Labels[0] == m.Labels[3])
	fmt.Printf("inertia %.3f\n", m.Inertia)
	// Output:
	// true false
	// inertia 2.667
}

func ExampleAgglomerate() {
	tree, err := cluster.Agglomerate(context.Background(), points, 2, cluster.Average, distance.Euclidean)
	if err != nil {
		panic(err)
	}
	labels, _ := tree.Cut(2)
	fmt.Println(labels)
	// Output: [0 0 0 1 1 1]
}

func ExampleKCentre() {
	cover, err := cluster.KCentre(context.Background(), points, 2, 2, 0, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(cover.Indices)
	// Output: [0 3]
}
