package augment

import "math/rand/v2"

// NewRand returns the generator for one view of one image. It depends on the arguments alone, so what
// is drawn for a view does not depend on which worker draws it, or when.
func NewRand(seed uint64, epoch, index, view int) *rand.Rand {
	pcg := new(rand.PCG)
	seedRand(pcg, seed, epoch, index, view)
	return rand.New(pcg)
}

func seedRand(pcg *rand.PCG, seed uint64, epoch, index, view int) {
	h := mix(seed)
	for _, v := range [...]int{epoch, index, view} {
		h = mix(h ^ uint64(v))
	}
	pcg.Seed(h, mix(h))
}

// mix is the output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): neighbouring
// arguments give unrelated results.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// permutation returns the order of n images in an epoch. The view -1 belongs to no image, so the
// stream is none of NewRand's.
func permutation(seed uint64, epoch, n int) []int32 {
	r := NewRand(seed, epoch, n, -1)
	p := make([]int32, n)
	for i := range p {
		j := r.IntN(i + 1)
		p[i] = p[j]
		p[j] = int32(i)
	}
	return p
}
