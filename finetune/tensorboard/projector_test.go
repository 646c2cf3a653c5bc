package tensorboard

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment"
)

func ExampleProjector_Write() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	p := Projector{X: []float32{1, 2, 3, 4.5}, Dim: 2, Labels: []string{"cat", "dog"}, Files: []string{"a.png", "b.png"}}
	if err := p.Write(dir); err != nil {
		panic(err)
	}
	for _, name := range []string{"tensors.tsv", "metadata.tsv", "projector_config.pbtxt"} {
		data, _ := os.ReadFile(filepath.Join(dir, name))
		fmt.Print(string(data))
	}
	// Output:
	// 1	2
	// 3	4.5
	// label	file
	// cat	a.png
	// dog	b.png
	// embeddings {
	//   tensor_name: "embeddings"
	//   tensor_shape: 2
	//   tensor_shape: 2
	//   tensor_path: "tensors.tsv"
	//   metadata_path: "metadata.tsv"
	// }
}

// Five pictures make a square of three by three, each in its place, in the middle.
func TestSprite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	p := Projector{X: make([]float32, 5), Dim: 1, Files: []string{"a\tb", "c\nd", "", "", ""}, Image: func(i int) *augment.Image {
		if i == 1 {
			return nil
		}
		m := augment.NewImage(6, 3)
		for k := range m.Pix {
			m.Pix[k] = uint8(50 * (i + 1))
		}
		return m
	}}
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	m, err := augment.DecodeFile(filepath.Join(dir, "sprite.png"))
	if err != nil {
		t.Fatal(err)
	}
	at := func(x, y int) uint8 { return m.Pix[(y*m.W+x)*3] }
	if m.W != 18 || m.H != 18 || at(0, 2) != 50 || at(8, 2) != 0 || at(14, 2) != 150 || at(3, 9) != 200 || at(3, 6) != 0 || at(8, 9) != 250 {
		t.Errorf("got %dx%d pixels, others than the pictures in their places", m.W, m.H)
	}
	meta, _ := os.ReadFile(filepath.Join(dir, "metadata.tsv"))
	if string(meta) != "a b\nc d\n\n\n\n" {
		t.Errorf("got metadata %q, want five lines without a header", meta)
	}
	config, _ := os.ReadFile(filepath.Join(dir, "projector_config.pbtxt"))
	if !strings.Contains(string(config), "single_image_dim: 6") {
		t.Errorf("got %s", config)
	}
}

func TestProjectorRejects(t *testing.T) {
	for want, p := range map[string]*Projector{
		"0 numbers":   {Dim: 2},
		"rows of 2":   {Dim: 2, X: []float32{1}},
		"3 labels":    {Dim: 1, X: []float32{1}, Labels: make([]string, 3)},
		"2 files for": {Dim: 1, X: []float32{1}, Files: make([]string, 2)},
	} {
		if err := p.Write(t.TempDir()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
