package augment

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/sbinet/npyio/npz"
)

// shared returns the folder of reference data, or skips the test.
func shared(t testing.TB, elem ...string) string {
	t.Helper()
	dir := os.Getenv("SSLRT_SHARED")
	if dir == "" {
		dir = "../shared"
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join("..", dir) // relative to the module's root
	}
	dir = filepath.Join(append([]string{dir}, elem...)...)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no reference data: %v (set SSLRT_SHARED)", err)
	}
	return dir
}

type goldenCase struct {
	Name, File, Op string
	Params         json.RawMessage
	Outputs        []string
	SourceFile     string `json:"source_file"`
	Tolerance      struct {
		MaxAbs          *float64 `json:"max_abs"`
		PipelineMaxAbs  float64  `json:"pipeline_max_abs"`
		PipelineMeanAbs float64  `json:"pipeline_mean_abs"`
		DecoderMaxAbs   float64  `json:"decoder_max_abs"`
		DecoderMeanAbs  float64  `json:"decoder_mean_abs"`
		NormalizeOnly   float64  `json:"normalize_only"`
		EndToEnd        map[string]struct {
			MaxAbs  float64 `json:"max_abs"`
			MeanAbs float64 `json:"mean_abs"`
		} `json:"end_to_end"`
		Rtol, Atol float64
	}
}

func goldenCases(t testing.TB, dir string) []goldenCase {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []goldenCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

type arrays struct {
	t *testing.T
	r *npz.Reader
}

func openArrays(t *testing.T, path string) arrays {
	t.Helper()
	r, err := npz.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return arrays{t, r}
}

func (a arrays) has(name string) bool {
	for _, k := range a.r.Keys() {
		if k == name+".npy" {
			return true
		}
	}
	return false
}

func read[T any](a arrays, name string) []T {
	a.t.Helper()
	var out []T
	if err := a.r.Read(name+".npy", &out); err != nil {
		a.t.Fatalf("%s: %v", name, err)
	}
	return out
}

// image reads a uint8 array [H, W, 3], or [H, W], which is repeated.
func (a arrays) image(name string) *Image {
	a.t.Helper()
	shape := a.r.Header(name + ".npy").Descr.Shape
	pix := read[uint8](a, name)
	m := &Image{H: shape[0], W: shape[1], Pix: pix}
	if len(pix) == m.W*m.H {
		m.Pix = nil
		for _, v := range pix {
			m.Pix = append(m.Pix, v, v, v)
		}
	}
	return m
}

func imageDiff(t *testing.T, what string, got, want *Image) (maxAbs, mean float64) {
	t.Helper()
	if got.W != want.W || got.H != want.H {
		t.Errorf("%s: got %dx%d pixels, want %dx%d", what, got.W, got.H, want.W, want.H)
		return math.Inf(1), math.Inf(1)
	}
	for i, v := range got.Pix {
		d := math.Abs(float64(v) - float64(want.Pix[i]))
		maxAbs = max(maxAbs, d)
		mean += d
	}
	return maxAbs, mean / float64(len(got.Pix))
}

func floatDiff[T float32 | float64](got []float32, want []T) (maxAbs, mean float64) {
	if len(got) != len(want) {
		return math.Inf(1), math.Inf(1)
	}
	for i, v := range got {
		d := math.Abs(float64(v) - float64(want[i]))
		maxAbs = max(maxAbs, d)
		mean += d
	}
	return maxAbs, mean / float64(len(got))
}

type goldenParams struct {
	Boxes         map[string][4]int `json:"boxes_top_left_height_width"`
	PipelineBoxes map[string][4]int `json:"boxes"`
	Size          [2]int
	Interpolation string
	Top, Left     int
	Height, Width int
	Factor        float64
	Angle         float64
	Expand        bool
	Border        [4]int `json:"left_top_right_bottom"`
	Mode          PadMode
	Fill          uint8
	I, J          int
	V             RGB
	Bits          int
	Radius        float64
	Threshold     int
	KernelSize    int `json:"kernel_size"`
	Sigma         float64
	Mean, Std     [3]float32
	Sequence      [][2]any
	H, W          int
	Scale, Ratio  [2]float64
	Brightness    float64
	Contrast      float64
	Saturation    float64
	Hue           float64
}

func jitterSequence(m *Image, seq [][2]any) error {
	for _, step := range seq {
		f := step[1].(float64)
		switch step[0] {
		case "brightness":
			m.AdjustBrightness(f)
		case "contrast":
			m.AdjustContrast(f)
		case "saturation":
			m.AdjustSaturation(f)
		case "hue":
			m.AdjustHue(f)
		default:
			return fmt.Errorf("unknown adjustment %v", step[0])
		}
	}
	return nil
}

// applyGolden runs the operation of a case on one image; nil when the operation is not built.
func applyGolden(t *testing.T, op, img string, m *Image, p goldenParams) *Image {
	filter := Bilinear
	if p.Interpolation != "" {
		f, err := ParseFilter(p.Interpolation)
		if err != nil {
			return nil
		}
		filter = f
	}
	switch op {
	case "resized_crop":
		b := p.Boxes[img]
		return ResizeBox(m, b[1], b[0], b[1]+b[3], b[0]+b[2], p.Size[1], p.Size[0], filter)
	case "resize":
		return Resize(m, p.Size[1], p.Size[0], filter)
	case "hflip":
		m.FlipHorizontal()
	case "vflip":
		m.FlipVertical()
	case "rotate":
		if p.Interpolation == "" {
			filter = Nearest
		}
		return m.Rotate(Rotation{Angle: p.Angle, Interpolation: filter, Expand: p.Expand, Fill: RGB{p.Fill, p.Fill, p.Fill}})
	case "pad":
		return m.Pad(p.Border[0], p.Border[1], p.Border[2], p.Border[3], p.Mode, RGB{p.Fill, p.Fill, p.Fill})
	case "erase":
		m.Erase(p.J, p.I, p.J+p.W, p.I+p.H, p.V)
	case "adjust_gamma":
		m.AdjustGamma(p.Factor)
	case "adjust_sharpness":
		m.AdjustSharpness(p.Factor)
	case "posterize":
		m.Posterize(p.Bits)
	case "invert":
		m.Invert()
	case "autocontrast":
		m.Autocontrast()
	case "equalize":
		m.Equalize()
	case "pil_gaussian_blur":
		return m.PillowBlur(p.Radius)
	case "center_crop":
		return m.CenterCrop(p.Size[1], p.Size[0])
	case "crop":
		return m.Crop(p.Left, p.Top, p.Left+p.Width, p.Top+p.Height)
	case "adjust_brightness":
		m.AdjustBrightness(p.Factor)
	case "adjust_contrast":
		m.AdjustContrast(p.Factor)
	case "adjust_saturation":
		m.AdjustSaturation(p.Factor)
	case "adjust_hue":
		m.AdjustHue(p.Factor)
	case "rgb_to_grayscale":
		m.Grayscale()
	case "solarize":
		m.Solarize(p.Threshold)
	case "gaussian_blur":
		return m.GaussianBlur(p.KernelSize, p.Sigma)
	case "color_jitter_sequence":
		if err := jitterSequence(m, p.Sequence); err != nil {
			t.Error(err)
		}
	case "pipeline":
		b := p.PipelineBoxes[img]
		m = ResizeBox(m, b[1], b[0], b[1]+b[3], b[0]+b[2], 48, 48, Bicubic)
		m.FlipHorizontal()
		if err := jitterSequence(m, p.Sequence); err != nil {
			t.Error(err)
		}
		m = m.GaussianBlur(5, 0.9)
		m.Solarize(200)
	default:
		return nil
	}
	return m
}

func TestGoldenAugment(t *testing.T) {
	dir := shared(t, "golden", "augment")
	passed, notBuilt := map[string]int{}, map[string]int{}
	for _, c := range goldenCases(t, dir) {
		var p goldenParams
		checked := false
		ok := t.Run(c.Name, func(t *testing.T) {
			_ = json.Unmarshal(c.Params, &p) // fields of other operations may have other types
			a := openArrays(t, filepath.Join(dir, c.File))
			switch c.Op {
			case "normalize":
				goldenNormalize(t, dir, a, c, p)
				checked = true
				return
			case "random_resized_crop_distribution":
				goldenCropDraws(t, a, p)
				checked = true
				return
			case "color_jitter_distribution":
				goldenJitterDraws(t, p)
				checked = true
				return
			}
			images := openArrays(t, filepath.Join(dir, "images.npz"))
			for _, out := range c.Outputs {
				img, isPIL := strings.CutPrefix(out, "pil_")
				if c.Op == "erase" { // torchvision erases tensors only
					img, isPIL = strings.CutPrefix(out, "tensor_")
				}
				if !isPIL {
					continue
				}
				got := applyGolden(t, c.Op, img, images.image(img), p)
				if got == nil {
					t.Skip("operation not built")
				}
				checked = true
				want := a.image(out)
				worst, mean := imageDiff(t, out, got, want)
				switch {
				case c.Tolerance.MaxAbs == nil: // pipeline: 95 % of the samples within 4 levels
					off := 0
					for i, v := range got.Pix {
						if d := int(v) - int(want.Pix[i]); d > 4 || d < -4 {
							off++
						}
					}
					if off*20 > len(got.Pix) {
						t.Errorf("%s: %d of %d samples differ by more than 4", out, off, len(got.Pix))
					}
				case worst > *c.Tolerance.MaxAbs:
					t.Errorf("%s: differs by up to %g, mean %.4f, allowed %g", out, worst, mean, *c.Tolerance.MaxAbs)
				}
				if worst > 0 {
					t.Logf("%s: max %g mean %.5f", out, worst, mean)
				}
			}
		})
		if !checked {
			notBuilt[c.Op]++
		} else if ok {
			passed[c.Op]++
		}
	}
	report(t, "passed", passed)
	report(t, "not built", notBuilt)
}

func report(t *testing.T, what string, counts map[string]int) {
	var kinds []string
	total := 0
	for k, n := range counts {
		kinds = append(kinds, fmt.Sprintf("%s %d", k, n))
		total += n
	}
	sort.Strings(kinds)
	t.Logf("%s %d: %s", what, total, strings.Join(kinds, ", "))
}

func goldenNormalize(t *testing.T, dir string, a arrays, c goldenCase, p goldenParams) {
	images := openArrays(t, filepath.Join(dir, "images.npz"))
	for _, out := range c.Outputs {
		m := images.image(strings.TrimSuffix(out, "_normalized"))
		pre := EvalPreprocess(32)
		pre.Width, pre.Height, pre.Mean, pre.Std = m.W, m.H, p.Mean, p.Std
		got := make([]float32, pre.Len())
		pre.Tensor(got, m)
		for i, want := range read[float64](a, out+"_f64") {
			if d := math.Abs(float64(got[i]) - want); d > c.Tolerance.Atol+c.Tolerance.Rtol*math.Abs(want) {
				t.Fatalf("%s[%d]: got %g, want %g", out, i, got[i], want)
			}
		}
	}
}

func TestGoldenPreprocess(t *testing.T) {
	dir := shared(t, "golden", "preprocess")
	for _, c := range goldenCases(t, dir) {
		t.Run(c.Name, func(t *testing.T) {
			a := openArrays(t, filepath.Join(dir, c.File))
			prefix, decoded := "", a.image("decoded_rgb_u8")
			if a.has("scaled8_out224") {
				// 16-bit grey: the high byte, see FromImage.
				prefix = "scaled8_"
				for i, v := range read[uint16](a, "raw_u16") {
					decoded.set(3*i, uint8(v>>8), uint8(v>>8), uint8(v>>8))
				}
			}
			got, err := DecodeFile(filepath.Join(dir, c.SourceFile))
			if err != nil {
				t.Fatal(err)
			}
			worst, mean := imageDiff(t, "decoded", got, decoded)
			if worst > c.Tolerance.DecoderMaxAbs || mean > c.Tolerance.DecoderMeanAbs {
				t.Errorf("decoder: max %g mean %.4f, allowed %g and %g", worst, mean, c.Tolerance.DecoderMaxAbs, c.Tolerance.DecoderMeanAbs)
			}
			line := fmt.Sprintf("decoder max %g mean %.4f", worst, mean)
			for _, size := range []string{"224", "32", "32sq"} {
				pre := EvalPreprocess(224)
				if size != "224" {
					pre = EvalPreprocess(32)
				}
				if size == "32" {
					pre.Resize, pre.ResizeTo, pre.Crop = ResizeShorter, 32, CropCenter
				}
				crop := map[string]string{"224": "crop224_u8", "32": "crop32_u8", "32sq": "crop32sq_u8"}[size]
				if d, _ := imageDiff(t, crop, pre.Apply(decoded), a.image(prefix+crop)); d != 0 {
					t.Errorf("%s: differs by up to %g from Pillow's pixels", crop, d)
				}
				want := read[float32](a, prefix+"out"+size)
				out := make([]float32, pre.Len())
				pre.Tensor(out, decoded)
				if d, _ := floatDiff(out, want); d > c.Tolerance.NormalizeOnly {
					t.Errorf("out%s: differs by up to %g, allowed %g", size, d, c.Tolerance.NormalizeOnly)
				}
				pre.Tensor(out, got)
				d, mean := floatDiff(out, want)
				limit, ok := c.Tolerance.EndToEnd[strings.TrimSuffix(size, "sq")]
				if ok && (d > limit.MaxAbs || mean > limit.MeanAbs) {
					t.Errorf("file to out%s: max %g mean %g, allowed %g and %g", size, d, mean, limit.MaxAbs, limit.MeanAbs)
				}
				line += fmt.Sprintf("; file to %s max %.4f mean %.5f", size, d, mean)
			}
			t.Log(line)
		})
	}
}
