package anomaly

import (
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/sslrt/sslrt/finetune/distance"
)

// PaDiM is one Gaussian for each place of a feature map (Defard et al., "PaDiM: a
// Patch Distribution Modeling Framework", ICPR 2020).
type PaDiM struct {
	Channels, Places int         // Places is height * width
	At               []*Gaussian // [Places]
}

// FitPaDiM estimates the Gaussians; ridge is 0.01 in the paper.
//
//	x: [N, channels, places], feature maps of normal images, N at least 2
func FitPaDiM[F distance.Float](x []F, channels, places int, ridge float64) (*PaDiM, error) {
	if channels < 1 || places < 1 {
		return nil, fmt.Errorf("anomaly: padim: got maps of %d channels and %d places, want 1 or more of both", channels, places)
	}
	n, err := rows("padim", x, channels*places)
	if err != nil {
		return nil, err
	}
	p := &PaDiM{Channels: channels, Places: places, At: make([]*Gaussian, places)}
	errs := make([]error, places)
	eachPlace(places, func() func(int) {
		here := make([]float64, n*channels)
		return func(at int) {
			for i := range n {
				for c := range channels {
					here[i*channels+c] = float64(x[(i*channels+c)*places+at])
				}
			}
			p.At[at], errs[at] = FitGaussian(here, channels, ridge)
		}
	})
	for at, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("anomaly: padim: place %d: %w", at, err)
		}
	}
	return p, nil
}

// eachPlace calls what a worker makes for each place, in several goroutines.
func eachPlace(places int, worker func() func(at int)) {
	todo := make(chan int)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), places) {
		wg.Go(func() {
			do := worker()
			for at := range todo {
				do(at)
			}
		})
	}
	for at := range places {
		todo <- at
	}
	close(todo)
	wg.Wait()
}

// PaDiMScores returns the Mahalanobis distance of each place: [N, places]. The score of an
// image is the largest of its own.
//
//	x: [N, channels, places]
func PaDiMScores[F distance.Float](p *PaDiM, x []F) ([]float64, error) {
	n, err := rows("padim", x, p.Channels*p.Places)
	if err != nil {
		return nil, err
	}
	out := make([]float64, n*p.Places)
	eachPlace(p.Places, func() func(int) {
		here := make([]float64, p.Channels)
		return func(at int) {
			for i := range n {
				for c := range here {
					here[c] = float64(x[(i*p.Channels+c)*p.Places+at])
				}
				out[i*p.Places+at] = math.Sqrt(p.At[at].SquaredDistance(here))
			}
		}
	})
	return out, nil
}
