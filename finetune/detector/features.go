package detector

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/models/onnx"
)

// grid is the shape of patch features: C values at each of H x W places.
type grid struct{ C, H, W int }

func (g grid) places() int { return g.H * g.W }

// patches joins the maps of layers into one, [N, C, H, W], at the size of the
// largest: smaller ones are scaled up by mode ("nearest" as in PaDiM, "linear" as in
// PatchCore). With pool each map is averaged over 3 x 3 places first.
func patches(w writer, layers []Layer, mode string, pool bool) (string, grid) {
	out := grid{H: layers[0].H, W: layers[0].W}
	var joined []string
	for _, l := range layers {
		x := l.Name
		if l.Tokens > 0 { // [N, T, C]: the class token stands first
			x = w.slice(x, 1, int64(l.Tokens-l.H*l.W), int64(l.Tokens))
			x = w.reshape(w.transpose(x, 0, 2, 1), 0, 0, int64(l.H), int64(l.W))
		}
		if pool {
			x = w.Node("AveragePool", []string{x}, onnx.IntsAttr("kernel_shape", 3, 3),
				onnx.IntsAttr("pads", 1, 1, 1, 1), onnx.IntAttr("count_include_pad", 1))
		}
		if l.H != out.H || l.W != out.W {
			x = w.resize(x, int64(out.H), int64(out.W), mode)
		}
		joined = append(joined, x)
		out.C += l.C
	}
	if len(joined) == 1 {
		return joined[0], out
	}
	return w.Node("Concat", joined, onnx.IntAttr("axis", 1)), out
}

// keep leaves n of the channels of x: [N, C, H, W], drawn from seed, all when n is 0
// or more than there are.
func keep(w writer, x string, g grid, n int, seed uint64) (string, grid) {
	if n == 0 || n >= g.C {
		return x, g
	}
	index := rand.New(rand.NewPCG(seed, 0)).Perm(g.C)[:n]
	slices.Sort(index)
	kept := make([]int64, n)
	for i, c := range index {
		kept[i] = int64(c)
	}
	g.C = n
	return w.Node("Gather", []string{x, w.Ints(kept...)}, onnx.IntAttr("axis", 1)), g
}

// heatmap brings a map of scores, [N, 1, h, w], to the size of the images and
// smooths it.
func heatmap(w writer, scores string, height, width int, sigma float64) string {
	return w.blur(w.resize(scores, int64(height), int64(width), "linear"), height, width, sigma)
}

// imageScore is the largest value of a heatmap [N, 1, H, W]: [N].
func imageScore(w writer, heat string) string {
	return w.reduce("ReduceMax", heat, false, 1, 2, 3)
}

func layerNames(layers []Layer) string {
	names := make([]string, len(layers))
	for i, l := range layers {
		names[i] = l.String()
	}
	return strings.Join(names, ", ")
}

// embeddingOutput is the value that holds one row for each image.
func embeddingOutput(m *onnx.Model, name string) (string, error) {
	outs := m.Graph.Outputs
	var names []string
	for _, o := range outs {
		if o.Name == name || name == "" && (o.Name == "embedding" || len(outs) == 1) {
			return o.Name, nil
		}
		names = append(names, o.Name)
	}
	if name == "" {
		return "", fmt.Errorf("it has %d outputs and none is called embedding: choose one of %s by --layers", len(outs), strings.Join(names, ", "))
	}
	return "", fmt.Errorf("it has no output %q, only %s", name, strings.Join(names, ", "))
}
