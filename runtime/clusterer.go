package runtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime/ort"
)

// Clusterer assigns images, or embeddings, to the clusters of a file that sslrt cluster
// wrote. It must be closed. All methods are safe for concurrent use.
type Clusterer struct {
	images  *Encoder     // gives distances; nil if the file takes embeddings
	session *ort.Session // nil if it takes images
	info    onnx.Info
}

// Assignment is the cluster of an image.
type Assignment struct {
	Cluster  int     // the nearest, from 0
	Distance float32 // to its mean, Euclidean
}

// distanceOutput is the output that has a distance for each cluster, [N, K].
const distanceOutput = "distance"

// LoadClusterer opens a file of clusters.
func LoadClusterer(path string, opt Options) (*Clusterer, error) {
	fail := func(err error) (*Clusterer, error) {
		return nil, fmt.Errorf("runtime: load %s: %w", filepath.Base(path), err)
	}
	m, err := onnx.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("runtime: load clusters: %w", err)
	}
	info, err := onnx.ReadInfo(m)
	if err != nil {
		return fail(err)
	}
	if info.Kind != onnx.KindClusters {
		kind := info.Kind
		if kind == "" {
			kind = "none"
		}
		return fail(fmt.Errorf("its kind is %s, want clusters, as sslrt cluster writes", kind))
	}
	c := &Clusterer{info: info}
	if len(m.Graph.Inputs) != 1 || len(m.Graph.Inputs[0].Dims) != 2 {
		opt.Output = distanceOutput
		if c.images, err = Load(path, opt); err != nil {
			return nil, err
		}
		return c, c.check()
	}
	in := m.Graph.Inputs[0]
	if in.Type != onnx.Float || sizes(in)[1] != info.EmbeddingSize {
		return fail(fmt.Errorf("input %q: got %v %v, want float32 [N, %d]", in.Name, in.Type, in.Dims, info.EmbeddingSize))
	}
	if _, err := ort.Init(ort.FindOptions{Path: opt.Library}); err != nil {
		return nil, err
	}
	so := opt.Session
	so.Inputs = []ort.Info{{Name: in.Name, Type: ort.Float32, Shape: []int{-1, info.EmbeddingSize}}}
	so.Outputs = []ort.Info{{Name: distanceOutput, Type: ort.Float32, Shape: []int{-1, len(info.Classes)}}}
	if c.session, err = ort.OpenFile(path, so); err != nil {
		return fail(err)
	}
	return c, c.check()
}

// check wants the metadata to agree with the network.
func (c *Clusterer) check() error {
	if c.images != nil && c.images.Dim() != len(c.info.Classes) || len(c.info.Classes) == 0 {
		c.Close()
		return errors.New("runtime: load clusters: the metadata and the network have different numbers of clusters")
	}
	return nil
}

// K returns the number of clusters.
func (c *Clusterer) K() int { return len(c.info.Classes) }

// Dim returns the size of an embedding.
func (c *Clusterer) Dim() int { return c.info.EmbeddingSize }

// Info returns the metadata of the file.
func (c *Clusterer) Info() onnx.Info { return c.info }

// Distances returns an encoder whose embedding of an image are its distances to the
// clusters, [K], for [EmbedAll]; nil if the file takes embeddings. It is closed with c.
func (c *Clusterer) Distances() *Encoder { return c.images }

// Close frees the model. A second Close does nothing.
func (c *Clusterer) Close() error {
	if c.images != nil {
		return c.images.Close()
	}
	return c.session.Close()
}

// NearestCluster returns the assignment for distances to all clusters, the first of
// equals.
func NearestCluster(distances []float32) Assignment {
	a := Assignment{0, distances[0]}
	for k, d := range distances {
		if d < a.Distance {
			a = Assignment{k, d}
		}
	}
	return a
}

// AssignFile returns the cluster of the image in a file.
func (c *Clusterer) AssignFile(ctx context.Context, path string) (Assignment, error) {
	if c.images == nil {
		return Assignment{}, errTakesEmbeddings
	}
	d, err := c.images.EmbedFile(ctx, path)
	if err != nil {
		return Assignment{}, err
	}
	return NearestCluster(d), nil
}

var errTakesEmbeddings = errors.New("runtime: assign: the file takes embeddings, not images: make it with sslrt cluster --model")

// AssignBatch returns the clusters of decoded images.
func (c *Clusterer) AssignBatch(ctx context.Context, images []*augment.Image) ([]Assignment, error) {
	if c.images == nil {
		return nil, errTakesEmbeddings
	}
	d, err := c.images.EmbedBatch(ctx, images)
	if err != nil {
		return nil, err
	}
	return c.nearest(d), nil
}

// AssignEmbeddings returns the clusters of embeddings, x: [N, Dim], by a file that takes
// them.
func (c *Clusterer) AssignEmbeddings(ctx context.Context, x []float32) ([]Assignment, error) {
	if c.session == nil {
		return nil, errors.New("runtime: assign: the file takes images, not embeddings")
	}
	if len(x)%c.Dim() != 0 {
		return nil, fmt.Errorf("runtime: assign: got %d numbers, want rows of %d", len(x), c.Dim())
	}
	var out []Assignment
	const block = 4096 // bounds the memory of a run
	for lo := 0; lo < len(x); lo += block * c.Dim() {
		rows := x[lo:min(lo+block*c.Dim(), len(x))]
		in, err := ort.NewTensor([]int{len(rows) / c.Dim(), c.Dim()}, rows)
		if err != nil {
			return nil, fmt.Errorf("runtime: assign: %w", err)
		}
		result := make([]*ort.Tensor, 1)
		if err := c.session.Run(ctx, []*ort.Tensor{in}, result); err != nil {
			return nil, fmt.Errorf("runtime: assign: %w", err)
		}
		d, err := ort.Data[float32](result[0])
		if err != nil {
			return nil, fmt.Errorf("runtime: assign: %w", err)
		}
		out = append(out, c.nearest(d)...)
	}
	return out, nil
}

func (c *Clusterer) nearest(distances []float32) []Assignment {
	out := make([]Assignment, len(distances)/c.K())
	for i := range out {
		out[i] = NearestCluster(distances[i*c.K() : (i+1)*c.K()])
	}
	return out
}
