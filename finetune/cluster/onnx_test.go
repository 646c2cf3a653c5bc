package cluster_test

import (
	"context"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/cluster"
	"github.com/sslrt/sslrt/finetune/distance"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
	"github.com/sslrt/sslrt/runtime/ort"
)

func needLibrary(t *testing.T) {
	t.Helper()
	if _, err := ort.Init(ort.FindOptions{}); err != nil {
		t.Skip(err)
	}
}

// The written file gives the distances that the definition gives, far from the origin
// too, and after scaling to length 1.
func TestModelAgainstDefinition(t *testing.T) {
	needLibrary(t)
	rng := rand.New(rand.NewPCG(1, 5))
	const n, dim, k = 100, 16, 5
	x := make([]float32, n*dim)
	for i := range x {
		x[i] = float32(rng.NormFloat64() + 20)
	}
	for _, normalize := range []bool{false, true} {
		data := x
		if normalize {
			data = make([]float32, len(x))
			for i, v := range distance.Unit(x, dim) {
				data[i] = float32(v)
			}
		}
		means, err := cluster.KMeans(context.Background(), data, dim, cluster.KMeansOptions{K: k})
		if err != nil {
			t.Fatal(err)
		}
		a := cluster.Assigner{Means: means, Normalize: normalize, Method: "kmeans"}
		m, err := a.Model()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "clusters.onnx")
		if err := onnx.WriteFile(path, m); err != nil {
			t.Fatal(err)
		}
		c, err := runtime.LoadClusterer(path, runtime.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.K() != k || c.Dim() != dim || c.Distances() != nil {
			t.Errorf("got %d clusters of size %d", c.K(), c.Dim())
		}
		got, err := c.AssignEmbeddings(context.Background(), x)
		if err != nil {
			t.Fatal(err)
		}
		for i, g := range got {
			row := data[i*dim : (i+1)*dim]
			want := math.Sqrt(distance.Squared(row, means.Centroids[g.Cluster*dim:(g.Cluster+1)*dim]))
			best := math.Sqrt(distance.Squared(row, means.Centroids[means.Labels[i]*dim:(means.Labels[i]+1)*dim]))
			if math.Abs(float64(g.Distance)-want) > 1e-4 || want > best+1e-5 {
				t.Errorf("normalize %v: vector %d: got cluster %d at %v, that is at %v, the nearest at %v", normalize, i, g.Cluster, g.Distance, want, best)
			}
		}
		if _, err := c.AssignFile(context.Background(), "x.png"); err == nil || !strings.Contains(err.Error(), "takes embeddings") {
			t.Errorf("an image: got %v", err)
		}
		if _, err := c.AssignEmbeddings(context.Background(), x[:3]); err == nil || !strings.Contains(err.Error(), "rows of 16") {
			t.Errorf("a short row: got %v", err)
		}
		// The graph's own decision is the nearest of its distances.
		s, err := ort.OpenFile(path, ort.Options{})
		if err != nil {
			t.Fatal(err)
		}
		in, _ := ort.NewTensor([]int{n, dim}, x)
		out, err := s.RunMap(context.Background(), map[string]*ort.Tensor{"embedding": in})
		if err != nil {
			t.Fatal(err)
		}
		decided, err := ort.Data[int64](out["cluster"])
		if err != nil {
			t.Fatal(err)
		}
		for i, g := range got {
			if int(decided[i]) != g.Cluster {
				t.Errorf("vector %d: the graph says cluster %d, its distances %d", i, decided[i], g.Cluster)
			}
		}
		s.Close()
	}
}

// encoder averages over each channel of an 8x8 image: [N, 3, 8, 8] to [N, 3, 1, 1].
func encoder(t *testing.T, output string) *onnx.Model {
	t.Helper()
	b := onnx.NewBuilder(11)
	n := onnx.Symbol("N")
	x := b.Input(onnx.TensorInfo("image", onnx.Float, n, onnx.Fixed(3), onnx.Fixed(8), onnx.Fixed(8)))
	b.NodeTo("GlobalAveragePool", []string{x}, []string{output})
	b.Output(onnx.TensorInfo(output, onnx.Float, n, onnx.Fixed(3), onnx.Fixed(1), onnx.Fixed(1)))
	m, err := b.Model("mean", onnx.Info{Kind: onnx.KindEncoder, Preprocess: augment.EvalPreprocess(8).Metadata()})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAttachToEncoder(t *testing.T) {
	needLibrary(t)
	means := &cluster.Means{K: 2, Dim: 3, Centroids: []float64{-2, -2, -2, 2, 2, 2}}
	a := cluster.Assigner{Means: means}
	m := encoder(t, "features")
	if err := a.Attach(m, "features"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "c.onnx")
	if err := onnx.WriteFile(path, m); err != nil {
		t.Fatal(err)
	}
	c, err := runtime.LoadClusterer(path, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	black, white := augment.NewImage(8, 8), augment.NewImage(8, 8)
	for i := range white.Pix {
		white.Pix[i] = 255
	}
	got, err := c.AssignBatch(context.Background(), []*augment.Image{white, black, white})
	if err != nil || len(got) != 3 || got[0].Cluster != 1 || got[1].Cluster != 0 || got[2] != got[0] {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := c.AssignEmbeddings(context.Background(), []float32{1, 2, 3}); err == nil {
		t.Error("embeddings: got no error")
	}

	if err := a.Attach(encoder(t, "features"), "embedding"); err == nil || !strings.Contains(err.Error(), `no output "embedding"`) {
		t.Errorf("another output: got %v", err)
	}
	if err := a.Attach(encoder(t, "cluster"), "cluster"); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a name that is taken: got %v", err)
	}
	means.Centroids[0] = 1e39
	if _, err := a.Model(); err == nil || !strings.Contains(err.Error(), "1e+39") {
		t.Errorf("too large: got %v", err)
	}
}

// A file of another kind, or damaged metadata, are errors.
func TestLoadClustererRejects(t *testing.T) {
	needLibrary(t)
	dir := t.TempDir()
	for name, c := range map[string]struct {
		change func(*onnx.Model)
		want   string
	}{
		"kind.onnx":    {func(m *onnx.Model) { m.SetMeta(onnx.KeyKind, "encoder") }, "its kind is encoder, want clusters"},
		"classes.onnx": {func(m *onnx.Model) { m.SetMeta(onnx.KeyClasses, "[]") }, "clusters"},
		"size.onnx":    {func(m *onnx.Model) { m.SetMeta(onnx.KeyEmbeddingSize, "7") }, "want float32 [N, 7]"},
	} {
		a := cluster.Assigner{Means: &cluster.Means{K: 1, Dim: 2, Centroids: []float64{0, 0}}}
		m, err := a.Model()
		if err != nil {
			t.Fatal(err)
		}
		c.change(m)
		path := filepath.Join(dir, name)
		if err := onnx.WriteFile(path, m); err != nil {
			t.Fatal(err)
		}
		if _, err := runtime.LoadClusterer(path, runtime.Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}
