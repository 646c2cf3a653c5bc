package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/cluster"
	"github.com/sslrt/sslrt/finetune/distance"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
)

// write writes the clusters as a table or as a model.
func (f *clusterFlags) write(ctx context.Context, s streams, c *clustering) error {
	if strings.EqualFold(filepath.Ext(f.output), ".onnx") {
		return f.writeModel(ctx, s, c)
	}
	return writeTable(f.output, clusterColumns, func(row func(...string) error) error {
		m := c.means
		for i, l := range m.Labels {
			d := distance.Squared(c.v.X[i*m.Dim:(i+1)*m.Dim], m.Centroids[l*m.Dim:(l+1)*m.Dim])
			if err := row(clusterRow(c.v.tableName(i), c.v.label(i), l, float32(math.Sqrt(d)))...); err != nil {
				return err
			}
		}
		return nil
	})
}

var clusterColumns = []string{"file", "label", "cluster", "distance"}

func clusterRow(file, label string, cluster int, distance float32) []string {
	return []string{file, label, strconv.Itoa(cluster), strconv.FormatFloat(float64(distance), 'g', -1, 32)}
}

// tableName is the file of a vector in a table; of vectors without files the row.
func (v *vectors) tableName(i int) string {
	if v.Files != nil {
		return v.Files[i]
	}
	return strconv.Itoa(i)
}

// writeTable writes a .csv file that appears when it is complete.
func writeTable(path string, columns []string, fill func(row func(...string) error) error) error {
	return writeWhole(path, func(w io.Writer) error { return writeRows(w, columns, fill) })
}

func writeRows(w io.Writer, columns []string, fill func(row func(...string) error) error) error {
	t := csv.NewWriter(w)
	t.Write(columns) // errors are kept until Flush
	if err := fill(func(fields ...string) error { return t.Write(fields) }); err != nil {
		return err
	}
	t.Flush()
	return t.Error()
}

// writeModel writes a file that assigns clusters, after comparing what it says with the
// clustering.
func (f *clusterFlags) writeModel(ctx context.Context, s streams, c *clustering) error {
	a := &cluster.Assigner{Means: c.means, Normalize: f.normalize, Method: c.Method, Summary: c.summary(), Version: programVersion()}
	var m *onnx.Model
	var err error
	if c.v.enc == nil {
		if m, err = a.Model(); err != nil {
			return err
		}
	} else {
		if m, err = onnx.ReadFile(f.model); err != nil {
			return err
		}
		if err = a.Attach(m, c.v.enc.Output()); err != nil {
			return err
		}
		f.keepPreprocess(m, c.v.enc)
	}
	return engine.WriteVerified(f.output, m, f.force, func(file string) error {
		if err := f.verify(ctx, s, c, file); err != nil {
			return fmt.Errorf("compare it with the clustering: %w", err)
		}
		return nil
	})
}

// keepPreprocess writes how pixels become the input into the file, which flags may have
// said.
func (f *clusterFlags) keepPreprocess(m *onnx.Model, enc *runtime.Encoder) {
	for key, value := range enc.Preprocess().Metadata() {
		m.SetMeta(onnx.KeyPreprocess+key, value)
	}
}

// verified is the number of vectors with which a written file is compared.
const verified = 64

// verify runs the written file on some of the vectors or images.
func (f *clusterFlags) verify(ctx context.Context, s streams, c *clustering, path string) error {
	opt := runtime.Options{}
	opt.Session.Device, opt.Session.Threads = f.device, f.threads
	written, err := runtime.LoadClusterer(path, opt)
	if err != nil {
		if c.v.enc != nil {
			return err
		}
		fmt.Fprintf(s.err, "not verified: %v\n", err) // embeddings need no library until here
		return nil
	}
	defer written.Close()
	n, pics := min(verified, c.v.Len()), newPictures(c.v)
	want, err := cluster.Assign(ctx, c.means, c.v.X[:n*c.v.Dim])
	if err != nil {
		return err
	}
	var got []runtime.Assignment
	if c.v.enc != nil {
		var images []*augment.Image
		for i := range n {
			m, err := pics.image(i)
			if err != nil {
				return err
			}
			images = append(images, m)
		}
		got, err = written.AssignBatch(ctx, images)
	} else {
		got, err = written.AssignEmbeddings(ctx, c.v.X[:n*c.v.Dim])
	}
	if err != nil {
		return err
	}
	for i, a := range got {
		row := c.v.X[i*c.v.Dim : (i+1)*c.v.Dim]
		own := math.Sqrt(distance.Squared(row, c.means.Centroids[want[i]*c.v.Dim:(want[i]+1)*c.v.Dim]))
		// Another cluster may be as near, to float32's digits.
		if off := math.Abs(float64(a.Distance) - own); off > 1e-3*(own+length(row)) {
			return fmt.Errorf("%s: it says cluster %d at %g, want %d at %g", c.v.name(i), a.Cluster, a.Distance, want[i], own)
		}
	}
	fmt.Fprintf(s.err, "verified on %d vectors: the file and the clustering agree\n", n)
	return nil
}

func length(x []float32) float64 {
	return math.Sqrt(distance.Squared(x, make([]float32, len(x))))
}

// drawSheet draws a row for each cluster: the images nearest to its mean.
func (c *clustering) drawSheet(path string) error {
	const columns, size = 12, 64
	pics := newPictures(c.v)
	m := c.means
	members := make([][]int, c.K)
	apart := make([]float64, c.v.Len())
	for i, l := range m.Labels {
		members[l] = append(members[l], i)
		apart[i] = distance.Squared(c.v.X[i*m.Dim:(i+1)*m.Dim], m.Centroids[l*m.Dim:(l+1)*m.Dim])
	}
	var cells []*augment.Image
	found := false
	for _, list := range members {
		slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(apart[a], apart[b]) })
		for k := range columns {
			var cell *augment.Image
			if k < len(list) {
				cell = pics.thumbnail(list[k], size)
			}
			found = found || cell != nil
			cells = append(cells, cell)
		}
	}
	if !found {
		return fmt.Errorf("cluster: --sheet: none of the images was found, %s for one: give their DATA by --images", c.v.name(0))
	}
	return writePNG(path, sheetOf(cells, columns, size).ToImage())
}

// sheetOf is a contact sheet whose pictures are enlarged if they are far below size.
func sheetOf(cells []*augment.Image, columns, size int) *augment.Image {
	largest := 1
	for _, m := range cells {
		if m != nil {
			largest = max(largest, m.W, m.H)
		}
	}
	return augment.Sheet(cells, columns, max(size/largest, 1))
}

func newClusterAssign(s streams, g *global) *cobra.Command {
	var f vectorFlags
	var output string
	var force bool
	cmd := &cobra.Command{
		Use:   "assign CLUSTERS.onnx DATA... | EMBEDDINGS",
		Short: "Assign new images to clusters",
		Long: `Assign runs a file that sslrt cluster wrote and writes file, label, cluster, distance
for each image, or for each embedding if the file has no encoder inside.`,
		Example: `  sslrt cluster assign clusters.onnx new-photos/ --output assigned.csv`,
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := wantSuffix("output", output, ".csv"); err != nil {
				return err
			}
			if err := checkFree(force, output); err != nil {
				return err
			}
			opt, err := f.options()
			if err != nil {
				return err
			}
			c, err := runtime.LoadClusterer(args[0], opt)
			if err != nil {
				return err
			}
			defer c.Close()
			v, got, err := assignAll(cmd.Context(), s, &f, c, args[1:])
			if err != nil {
				return err
			}
			defer v.close()
			sizes := make([]int, c.K())
			err = writeTable(output, clusterColumns, func(row func(...string) error) error {
				for i, a := range got {
					sizes[a.Cluster]++
					if err := row(clusterRow(v.tableName(i), v.label(i), a.Cluster, a.Distance)...); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			if g.json {
				err = printJSON(s.out, map[string]any{"path": output, "vectors": len(got), "cluster_sizes": sizes, "skipped": f.inputs.skipped})
			} else {
				_, err = fmt.Fprintf(s.out, "assigned %d to %d clusters, sizes %v, to %s\n", len(got), c.K(), sizes, output)
			}
			if err != nil {
				return err
			}
			return f.inputs.err()
		},
	}
	f.register(cmd)
	leaveOut(cmd, "model", "sample", "seed", "normalize", "layer") // the file says these
	cmd.Flags().StringVarP(&output, "output", "o", "clusters.csv", "file to write: .csv")
	cmd.Flags().BoolVar(&force, "force", false, "write over a file that exists")
	return cmd
}

// assignAll assigns the images or embeddings of args.
func assignAll(ctx context.Context, s streams, f *vectorFlags, c *runtime.Clusterer, args []string) (*vectors, []runtime.Assignment, error) {
	if c.Distances() == nil {
		v, err := f.read(ctx, s, "assign", args)
		if err != nil {
			return nil, nil, err
		}
		if v.Dim != c.Dim() {
			return nil, nil, fmt.Errorf("cluster assign: the clusters are of embeddings of size %d, got size %d", c.Dim(), v.Dim)
		}
		got, err := c.AssignEmbeddings(ctx, v.X)
		return v, got, err
	}
	v := &vectors{what: "images"}
	var err error
	if v.source, err = f.data.open(args, "", s); err != nil {
		return nil, nil, err
	}
	if _, err := f.embed(ctx, s, "assign", c.Distances(), v.source, &v.Embeddings); err != nil {
		v.close()
		return nil, nil, err
	}
	got := make([]runtime.Assignment, v.Len())
	for i := range got {
		got[i] = runtime.NearestCluster(v.X[i*v.Dim : (i+1)*v.Dim])
	}
	return v, got, nil
}
