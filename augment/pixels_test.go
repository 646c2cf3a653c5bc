package augment

import (
	"bytes"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/google/go-cmp/cmp"
)

func TestResizeConstantStaysConstant(t *testing.T) {
	m := NewImage(13, 7)
	fill(m.Pix, 117)
	for _, f := range []Filter{Bilinear, Bicubic} {
		for _, size := range [][2]int{{1, 1}, {5, 40}, {40, 5}, {13, 7}, {100, 100}} {
			for i, v := range Resize(m, size[0], size[1], f).Pix {
				if v != 117 {
					t.Fatalf("%v to %v: sample %d is %d", f, size, i, v)
				}
			}
		}
	}
}

// Halving with the triangle filter weights four samples 1/8 3/8 3/8 1/8.
func TestResizeClosedForm(t *testing.T) {
	m := &Image{W: 6, H: 1, Pix: make([]uint8, 18)}
	for x, v := range []uint8{0, 0, 80, 160, 0, 0} {
		m.set(3*x, v, v, v)
	}
	got := Resize(m, 3, 1, Bilinear)
	if got.Pix[3] != (80*3+160*3+4)/8 {
		t.Errorf("middle pixel %d, want %d", got.Pix[3], (80*3+160*3+4)/8)
	}
}

// An independent implementation in floating point, which rounds once and not per pass.
func TestResizeAgainstImaging(t *testing.T) {
	m := gradient(61, 47, 3)
	for _, size := range [][2]int{{20, 20}, {61, 100}, {33, 47}, {122, 94}, {7, 90}} {
		for f, filter := range map[Filter]imaging.ResampleFilter{Bilinear: imaging.Linear, Bicubic: imaging.CatmullRom} {
			want := FromImage(imaging.Resize(m.ToImage(), size[0], size[1], filter))
			worst, mean := imageDiff(t, f.String(), Resize(m, size[0], size[1], f), want)
			// Bicubic overshoots; clipping it between the passes costs a few levels at hard edges.
			if limit := map[Filter]float64{Bilinear: 1, Bicubic: 12}[f]; worst > limit || mean > 0.35 {
				t.Errorf("%v to %v: max %g mean %.3f", f, size, worst, mean)
			}
		}
	}
}

func TestResizeBoxIsCropThenResize(t *testing.T) {
	m := gradient(31, 23, 4)
	want := Resize(m.Crop(3, 5, 20, 22), 9, 30, Bicubic)
	if diff := cmp.Diff(want, ResizeBox(m, 3, 5, 20, 22, 9, 30, Bicubic)); diff != "" {
		t.Error(diff)
	}
}

func TestGrayStaysGray(t *testing.T) {
	m := NewImage(16, 16)
	for i := range 256 {
		m.set(3*i, uint8(i), uint8(i), uint8(i))
	}
	want := m.Clone()
	m.Grayscale()
	m.AdjustSaturation(1.7)
	m.AdjustHue(0.3)
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
}

func TestBlurSmallImages(t *testing.T) {
	for w := 1; w < 8; w++ {
		m := NewImage(w, 1)
		fill(m.Pix, 77)
		for i, v := range m.GaussianBlur(23, 2).Pix {
			if v != 77 {
				t.Fatalf("width %d: sample %d is %d", w, i, v)
			}
		}
	}
}

func TestPolicyLeavesItsArgument(t *testing.T) {
	m := gradient(40, 40, 2)
	before := m.Clone()
	for _, p := range []Policy{SimCLR(32), {RandomHorizontalFlip{P: 1}, RandomGrayscale{P: 1}, RandomSolarize{P: 1, Threshold: 100}}, nil} {
		out := p.Apply(m, NewRand(1, 2, 3, 4))
		fill(out.Pix, 0)
		if !bytes.Equal(m.Pix, before.Pix) {
			t.Fatalf("%v changed the image", p)
		}
	}
}

func TestRandomProbabilities(t *testing.T) {
	const n = 4000
	m := gradient(8, 8, 1)
	flipped, gray := 0, 0
	for i := range n {
		if !bytes.Equal((Policy{RandomHorizontalFlip{P: 0.5}}).Apply(m, NewRand(9, 0, i, 0)).Pix, m.Pix) {
			flipped++
		}
		if !bytes.Equal((Policy{RandomGrayscale{P: 0.2}}).Apply(m, NewRand(9, 0, i, 1)).Pix, m.Pix) {
			gray++
		}
	}
	for name, c := range map[string]struct{ got, p float64 }{"flip": {float64(flipped), 0.5}, "gray": {float64(gray), 0.2}} {
		if sd := math.Sqrt(n * c.p * (1 - c.p)); math.Abs(c.got-n*c.p) > 4.5*sd {
			t.Errorf("%s: %g of %d, expected %g +- %.0f", name, c.got, n, n*c.p, sd)
		}
	}
}

func TestSimCLRBlursOnlyAbove64(t *testing.T) {
	if n := len(SimCLR(64)); n != 4 {
		t.Errorf("64 px: %d transforms", n)
	}
	p := SimCLR(224)
	if b := p[len(p)-1].(RandomApply).Transforms[0].(GaussianBlur); b.Kernel != 23 {
		t.Errorf("224 px: kernel %d, want 23", b.Kernel)
	}
	if s := SimCLR(32).String(); !strings.HasPrefix(s, "RandomResizedCrop: {size: 32}, RandomHorizontalFlip, RandomApply: {transforms: [ColorJitter: {brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1}], p: 0.8}, RandomGrayscale: {p: 0.2}") {
		t.Error(s)
	}
}

func TestDrawFallback(t *testing.T) {
	// No box of the image's own area and a square ratio fits into a strip: the centre is taken.
	crop := RandomResizedCrop{Size: Size{H: 8}, Scale: [2]float64{1, 1}, Ratio: [2]float64{1, 1}}
	if got := crop.Draw(NewRand(0, 0, 0, 0), 100, 10); got.Min.X != 45 || got.Dx() != 10 || got.Dy() != 10 {
		t.Errorf("wide: %v", got)
	}
	if got := crop.Draw(NewRand(0, 0, 0, 0), 10, 100); got.Min.Y != 45 || got.Dx() != 10 || got.Dy() != 10 {
		t.Errorf("tall: %v", got)
	}
}

func TestPreprocessRules(t *testing.T) {
	m := gradient(401, 300, 1)
	p := EvalPreprocess(224)
	if p.ResizeTo != 256 || p.Apply(m).W != 224 {
		t.Errorf("%+v", p)
	}
	if p := EvalPreprocess(32); p.Resize != ResizeExact {
		t.Errorf("%+v", p)
	}
	// A strip a million times as long as high must not be scaled whole.
	strip := NewImage(1<<20, 1)
	fill(strip.Pix, 9)
	if got := p.Apply(strip); got.W != 224 || got.H != 224 || got.Pix[0] != 9 {
		t.Errorf("strip: %dx%d %d", got.W, got.H, got.Pix[0])
	}
}

func TestPreprocessChannels(t *testing.T) {
	m := gradient(32, 32, 3)
	p := EvalPreprocess(32)
	rgb, bgr := make([]float32, p.Len()), make([]float32, p.Len())
	p.Tensor(rgb, m)
	if diff := cmp.Diff(m, p.Image(rgb)); diff != "" {
		t.Errorf("Image is not the inverse of Tensor: %s", diff)
	}
	q := p
	q.ChannelOrder = "BGR"
	q.Mean = [3]float32{p.Mean[2], p.Mean[1], p.Mean[0]}
	q.Std = [3]float32{p.Std[2], p.Std[1], p.Std[0]}
	q.Tensor(bgr, m)
	if diff := cmp.Diff(rgb[:1024], bgr[2048:]); diff != "" {
		t.Errorf("red plane: %s", diff)
	}
	if diff := cmp.Diff(m, q.Image(bgr)); diff != "" {
		t.Errorf("BGR: %s", diff)
	}
	raw := make([]uint8, p.Len())
	if q.Bytes(raw, m); raw[0] != m.Pix[2] || raw[2] != m.Pix[0] {
		t.Errorf("BGR bytes %v, pixel %v", raw[:3], m.Pix[:3])
	}
	g := p.Gray()
	if g.Len() != 1024 || g.Validate() != nil {
		t.Fatalf("gray: %d values, %v", g.Len(), g.Validate())
	}
	raw = raw[:g.Len()]
	g.Bytes(raw, m)
	m.Grayscale()
	if raw[500] != m.Pix[1500] {
		t.Errorf("luma %d, want %d", raw[500], m.Pix[1500])
	}
}

func TestPreprocessMetadata(t *testing.T) {
	odd := EvalPreprocess(64)
	odd.Width, odd.Interpolation, odd.ChannelOrder = 48, Bicubic, "BGR"
	odd.Mean = [3]float32{1. / 3, 0.1, 0}
	for _, p := range []Preprocess{EvalPreprocess(224), EvalPreprocess(32), odd, EvalPreprocess(96).Gray()} {
		got, err := ParsePreprocess(p.Metadata())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, got); diff != "" {
			t.Error(diff)
		}
	}
	want := map[string]string{
		"size": "224", "resize": "shorter", "resize_to": "256", "interpolation": "bilinear", "crop": "center",
		"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225", "channel_order": "RGB", "channels": "3",
	}
	if diff := cmp.Diff(want, EvalPreprocess(224).Metadata()); diff != "" {
		t.Error(diff)
	}
	for key, bad := range map[string]string{
		"size": "big", "resize": "longest", "resize_to": "-1", "interpolation": "lanczos", "crop": "none",
		"mean": "1,2", "std": "0,1,1", "channel_order": "RBG", "channels": "2",
	} {
		md := EvalPreprocess(224).Metadata()
		md[key] = bad
		if _, err := ParsePreprocess(md); err == nil || !strings.Contains(err.Error(), key) && !strings.Contains(err.Error(), bad) {
			t.Errorf("%s = %s: %v", key, bad, err)
		}
	}
	for _, key := range []string{"size", "mean", "std"} {
		md := EvalPreprocess(224).Metadata()
		delete(md, key)
		if _, err := ParsePreprocess(md); err == nil || !strings.Contains(err.Error(), "no "+key) {
			t.Errorf("without %s: %v", key, err)
		}
	}
}

func FuzzParsePreprocess(f *testing.F) {
	f.Add("224", "shorter", "256", "bicubic", "center", "0.5", "0.25,0.25,0.25", "BGR", "3")
	f.Add("32x48", "none", "0", "bilinear", "none", "NaN", "1e999", "RGB", "1")
	f.Fuzz(func(t *testing.T, size, resize, to, filter, crop, mean, std, order, channels string) {
		p, err := ParsePreprocess(map[string]string{
			"size": size, "resize": resize, "resize_to": to, "interpolation": filter, "crop": crop,
			"mean": mean, "std": std, "channel_order": order, "channels": channels,
		})
		if err != nil || p.Width*p.Height > 1<<16 || p.ResizeTo > 1<<8 {
			return
		}
		p.Tensor(make([]float32, p.Len()), gradient(5, 3, 1))
		if q, err := ParsePreprocess(p.Metadata()); err != nil || q != p {
			t.Errorf("%+v became %+v, %v", p, q, err)
		}
	})
}

func TestSheet(t *testing.T) {
	a, b := NewImage(4, 3), NewImage(2, 2)
	s := Sheet([]*Image{a, b, nil}, 2, 2)
	if s.W != 2*(8+sheetGap)+sheetGap || s.H != 2*(6+sheetGap)+sheetGap {
		t.Errorf("%dx%d pixels", s.W, s.H)
	}
	black := 0
	for i := 0; i < len(s.Pix); i += 3 {
		if s.Pix[i] == 0 {
			black++
		}
	}
	if black != 4*3*4+2*2*4 {
		t.Errorf("%d black pixels, want %d", black, 4*3*4+2*2*4)
	}
	path := filepath.Join(t.TempDir(), "sheet.png")
	for range 2 { // the second time it is replaced
		if err := s.WritePNG(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := DecodeFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, got); diff != "" {
		t.Error(diff)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
		t.Errorf("files left: %v", left)
	}
	if err := s.WritePNG(filepath.Join(path, "x.png")); err == nil {
		t.Error("no error for a folder that is a file")
	}
}

// A part of a resized image is that part of the whole, in every filter and direction.
func TestResizePart(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		m := gradient(1+r.IntN(50), 1+r.IntN(50), r.IntN(9))
		w, h, f := 1+r.IntN(60), 1+r.IntN(60), Filter(r.IntN(3))
		switch r.IntN(4) {
		case 0:
			w = m.W
		case 1:
			h = m.H
		}
		whole := Resize(m, w, h, f)
		x, y := r.IntN(w), r.IntN(h)
		part := NewImage(1+r.IntN(w-x), 1+r.IntN(h-y))
		m.resizePart(part, 0, 0, m.W, m.H, w, h, x, y, f)
		if !bytes.Equal(part.Pix, whole.Crop(x, y, x+part.W, y+part.H).Pix) {
			t.Fatalf("%dx%d of %dx%d at (%d, %d), %v: the part differs", part.W, part.H, w, h, x, y, f)
		}
	}
}
