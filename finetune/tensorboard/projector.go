package tensorboard

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/augment"
)

// Projector is a set of vectors for TensorBoard's projector: open its log directory, or
// load the two .tsv files at projector.tensorflow.org.
type Projector struct {
	X      []float32 // [N, Dim]
	Dim    int
	Labels []string // [N], or nil
	Files  []string // [N], or nil
	// Image, if set, gives the picture of a vector, nil for none.
	Image func(i int) *augment.Image
}

const (
	maxSprite = 8192 // pixels on a side: what browsers draw
	maxThumb  = 64
)

// Write writes tensors.tsv, metadata.tsv where there are labels or files, sprite.png
// where there are images, and projector_config.pbtxt, into a folder that it makes.
func (p *Projector) Write(dir string) error {
	if p.Dim < 1 || len(p.X) == 0 || len(p.X)%p.Dim != 0 {
		return fmt.Errorf("tensorboard: projector: got %d numbers, want rows of %d", len(p.X), p.Dim)
	}
	n := len(p.X) / p.Dim
	for what, names := range map[string][]string{"labels": p.Labels, "files": p.Files} {
		if names != nil && len(names) != n {
			return fmt.Errorf("tensorboard: projector: got %d %s for %d vectors", len(names), what, n)
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("tensorboard: projector: %w", err)
	}
	config := fmt.Sprintf("embeddings {\n  tensor_name: \"embeddings\"\n  tensor_shape: %d\n  tensor_shape: %d\n  tensor_path: \"tensors.tsv\"\n", n, p.Dim)
	if err := writeText(dir, "tensors.tsv", p.tensors); err != nil {
		return err
	}
	if p.Labels != nil || p.Files != nil {
		if err := writeText(dir, "metadata.tsv", p.metadata); err != nil {
			return err
		}
		config += "  metadata_path: \"metadata.tsv\"\n"
	}
	if sprite, side := p.sprite(n); sprite != nil {
		if err := sprite.WritePNG(filepath.Join(dir, "sprite.png")); err != nil {
			return fmt.Errorf("tensorboard: projector: %w", err)
		}
		config += fmt.Sprintf("  sprite {\n    image_path: \"sprite.png\"\n    single_image_dim: %d\n    single_image_dim: %d\n  }\n", side, side)
	}
	return writeText(dir, "projector_config.pbtxt", func(w *bufio.Writer) { w.WriteString(config + "}\n") })
}

// writeText writes a file under a temporary name first. Errors of w are kept until its
// flush.
func writeText(dir, name string, write func(w *bufio.Writer)) error {
	f, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return fmt.Errorf("tensorboard: projector: %w", err)
	}
	defer os.Remove(f.Name()) // which does nothing once it has its name
	w := bufio.NewWriter(io.Writer(f))
	write(w)
	err = w.Flush()
	if err == nil {
		err = f.Chmod(0o644)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return fmt.Errorf("tensorboard: projector: write %s: %w", name, err)
	}
	return nil
}

func (p *Projector) tensors(w *bufio.Writer) {
	for i, v := range p.X {
		w.WriteString(strconv.FormatFloat(float64(v), 'g', -1, 32))
		if (i+1)%p.Dim == 0 {
			w.WriteByte('\n')
		} else {
			w.WriteByte('\t')
		}
	}
}

// metadata has a header only when it has two columns: that is the projector's rule.
func (p *Projector) metadata(w *bufio.Writer) {
	clean := strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")
	switch {
	case p.Labels == nil:
		for _, f := range p.Files {
			w.WriteString(clean.Replace(f) + "\n")
		}
	case p.Files == nil:
		for _, l := range p.Labels {
			w.WriteString(clean.Replace(l) + "\n")
		}
	default:
		w.WriteString("label\tfile\n")
		for i, l := range p.Labels {
			w.WriteString(clean.Replace(l) + "\t" + clean.Replace(p.Files[i]) + "\n")
		}
	}
}

// sprite lays the pictures out row by row on a square; nil if there is none. Side is the
// width and height of each.
func (p *Projector) sprite(n int) (sheet *augment.Image, side int) {
	if p.Image == nil {
		return nil, 0
	}
	columns := int(math.Ceil(math.Sqrt(float64(n))))
	for i := range n {
		m := p.Image(i)
		if m == nil {
			continue
		}
		if sheet == nil {
			if side = min(maxThumb, maxSprite/columns, max(m.W, m.H)); side < 1 {
				return nil, 0
			}
			sheet = augment.NewImage(columns*side, columns*side)
		}
		w, h := max(m.W*side/max(m.W, m.H), 1), max(m.H*side/max(m.W, m.H), 1)
		m = augment.Resize(m, w, h, augment.Bilinear)
		left, top := i%columns*side+(side-w)/2, i/columns*side+(side-h)/2
		for y := range h {
			copy(sheet.Pix[((top+y)*sheet.W+left)*3:], m.Pix[y*w*3:(y+1)*w*3])
		}
	}
	return sheet, side
}
