package augment

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/sslrt/sslrt/augment/internal/kernel"
)

// Results are the same bytes with and without AVX2, at any size, to the last pixel of the memory.
func TestKernelsAgree(t *testing.T) {
	if !kernel.HaveAVX2 {
		t.Skip("this processor has no AVX2")
	}
	defer func() { kernel.HaveAVX2 = true }()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 600 {
		m := NewImage(1+r.IntN(60), 1+r.IntN(60))
		for k := range m.Pix {
			if m.Pix[k] = uint8(r.Uint32()); i%3 == 0 {
				m.Pix[k] = uint8(r.IntN(2)) * 255
			}
		}
		m.Pix = m.Pix[:len(m.Pix):len(m.Pix)]
		x0, y0 := r.IntN(m.W), r.IntN(m.H)
		x1, y1 := x0+1+r.IntN(m.W-x0), y0+1+r.IntN(m.H-y0)
		w, h, f := 1+r.IntN(70), 1+r.IntN(70), Filter(r.IntN(2))
		size, sigma := 1+2*r.IntN(12), 0.1+3*r.Float64()
		var got [2][]*Image
		for k := range got {
			kernel.HaveAVX2 = k == 0
			got[k] = []*Image{ResizeBox(m, x0, y0, x1, y1, w, h, f), m.GaussianBlur(size, sigma), m.PillowBlur(sigma * 3)}
		}
		for k, what := range []string{"resize", "blur", "Pillow's blur"} {
			if !bytes.Equal(got[0][k].Pix, got[1][k].Pix) {
				t.Fatalf("case %d, %s of %dx%d: the bytes differ", i, what, m.W, m.H)
			}
		}
	}
}
