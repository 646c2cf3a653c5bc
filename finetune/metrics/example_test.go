package metrics_test

import (
	"fmt"

	"github.com/sslrt/sslrt/finetune/metrics"
)

func ExampleNewDetection() {
	scores := []float32{0.1, 0.4, 0.35, 0.8}
	d, err := metrics.NewDetection(scores, []bool{false, false, true, true})
	if err != nil {
		panic(err)
	}
	f1, threshold := d.F1Max()
	fmt.Printf("AUROC %.2f, AUPR %.2f, best F1 %.2f at %.2f\n", d.AUROC(), d.AveragePrecision(), f1, threshold)
	// Output: AUROC 0.75, AUPR 0.83, best F1 0.80 at 0.35
}

func ExampleNewAgreement() {
	// Two clusters that hold two classes, one image strayed.
	m, err := metrics.NewAgreement([]int{0, 0, 0, 1, 1, 1}, []int{1, 1, 1, 0, 0, 1})
	if err != nil {
		panic(err)
	}
	fmt.Printf("accuracy %.3f, NMI %.3f, ARI %.3f\n", m.Accuracy(), m.NMI(metrics.Arithmetic), m.ARI())
	// Output: accuracy 0.833, NMI 0.479, ARI 0.324
}

func ExamplePixels() {
	// One image of 2x3 pixels with a defect on the left.
	var p metrics.Pixels
	if err := p.Add([]float32{0.9, 0.2, 0.1, 0.8, 0.3, 0.1}, []uint8{1, 0, 0, 1, 0, 0}, 3, 2); err != nil {
		panic(err)
	}
	aupro, err := p.AUPRO(0.3)
	fmt.Println(aupro, err)
	// Output: 1 <nil>
}
