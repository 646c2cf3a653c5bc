package detector

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime/ort"
)

// Layer is a feature map inside an encoder: a value [N, C, H, W], or the tokens of
// a transformer [N, T, C], of which the last H*W are a map.
type Layer struct {
	Name    string // of the value in the file
	C, H, W int
	Tokens  int // 0 for a map
}

func (l Layer) String() string { return fmt.Sprintf("%s [%d, %d, %d]", l.Name, l.C, l.H, l.W) }

// stageCount is the number of resolutions that count as stages, from the last back:
// of a ResNet they are layer1 to layer4.
const stageCount = 4

// probe asks ONNX Runtime for the shape of every value in a model whose images are
// of a size, and returns the maps in the order in which they are computed.
func probe(m *onnx.Model, image *onnx.ValueInfo) ([]Layer, error) {
	g := *m.Graph
	g.Inputs = slices.Clone(g.Inputs)
	g.Inputs[slices.IndexFunc(g.Inputs, func(i *onnx.ValueInfo) bool { return i.Name == image.Name })] = image
	g.Outputs, g.ValueInfo = nil, nil
	for _, n := range g.Nodes {
		for _, out := range n.Outputs {
			if out != "" {
				g.Outputs = append(g.Outputs, &onnx.ValueInfo{Name: out}) // the library finds the type
			}
		}
	}
	all := *m
	all.Graph = &g
	data, err := all.Marshal()
	if err != nil {
		return nil, err
	}
	s, err := ort.Open(data, ort.Options{OptLevel: ort.OptNone})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var layers []Layer
	for _, o := range s.Outputs() {
		if o.Type != ort.Float32 {
			continue
		}
		switch d := o.Shape; {
		case len(d) == 4 && d[1] > 0 && d[2] > 1 && d[3] > 1:
			layers = append(layers, Layer{Name: o.Name, C: d[1], H: d[2], W: d[3]})
		case len(d) == 3 && d[1] > 3 && d[2] > 1:
			// Square grids, behind a class token or without one.
			side := int(math.Sqrt(float64(d[1])))
			if rest := d[1] - side*side; rest <= 1 {
				layers = append(layers, Layer{Name: o.Name, C: d[2], H: side, W: side, Tokens: d[1]})
			}
		}
	}
	return layers, nil
}

// stages picks the maps that stand for the network's stages: the last map at each
// of the last four resolutions, largest first; of a transformer four layers of its
// tokens, evenly spaced.
func stages(g *onnx.Graph, layers []Layer) []Layer {
	var maps []Layer
	for _, l := range layers {
		if l.Tokens > 0 {
			continue
		}
		switch last := len(maps) - 1; {
		case last >= 0 && maps[last].H == l.H && maps[last].W == l.W:
			maps[last] = l
		case last < 0 || l.H < maps[last].H:
			maps = append(maps, l)
		}
	}
	if tokens := residualTokens(g, layers); len(maps) < 2 && len(tokens) > 0 {
		maps = maps[:0]
		n := min(stageCount, len(tokens))
		for k := range n {
			maps = append(maps, tokens[(k+1)*len(tokens)/n-1])
		}
	}
	return maps[max(0, len(maps)-stageCount):]
}

// residualTokens are the sums along a transformer's residual stream.
func residualTokens(g *onnx.Graph, layers []Layer) []Layer {
	sums := map[string]bool{}
	for _, n := range g.Nodes {
		if n.OpType == "Add" {
			sums[n.Outputs[0]] = true
		}
	}
	var out []Layer
	for _, l := range layers {
		if l.Tokens > 0 && sums[l.Name] {
			out = append(out, l)
		}
	}
	if len(out) > 0 { // those as wide as the stream, not those inside the blocks' MLPs
		width := out[len(out)-1].C
		out = slices.DeleteFunc(out, func(l Layer) bool { return l.C != width })
	}
	return out
}

// chooseLayers resolves names of layers: a value of the file; a module by the names
// of its weights, such as layer2, whose output is meant; or stage1 to stage4. Without
// names it takes the stages called usual, as far as the network has them.
func chooseLayers(m *onnx.Model, image *onnx.ValueInfo, names []string, usual []string) ([]Layer, error) {
	layers, err := probe(m, image)
	if err != nil {
		return nil, err
	}
	found := stages(m.Graph, layers)
	if len(found) == 0 {
		return nil, fmt.Errorf("it has no feature maps of more than one position: only knn and mahalanobis work on its embedding")
	}
	var chosen []Layer
	for _, name := range names {
		value := name
		if stage, ok := stageNumber(name); ok {
			if stage > len(found) {
				return nil, fmt.Errorf("it has no %s: its stages are %v", name, found)
			}
			value = found[stage-1].Name
		} else if out, ok := moduleOutput(m.Graph, name); ok {
			value = out
		}
		i := slices.IndexFunc(layers, func(l Layer) bool { return l.Name == value })
		if i < 0 {
			return nil, fmt.Errorf("it has no layer %q: give stage1 to stage%d, a module such as layer2, or a value of the file that is [N, C, H, W]; its stages are %v",
				name, len(found), found)
		}
		chosen = append(chosen, layers[i])
	}
	if len(names) == 0 {
		for _, name := range usual {
			// A network with fewer stages gives those before its last.
			if stage, _ := stageNumber(name); stage < max(len(found), 2) {
				chosen = append(chosen, found[stage-1])
			}
		}
		if len(chosen) == 0 {
			chosen = found[:1]
		}
	}
	slices.SortStableFunc(chosen, func(a, b Layer) int { return b.H*b.W - a.H*a.W })
	return chosen, nil
}

func stageNumber(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, "stage")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n > 0
}

// moduleOutput returns what a module gives: the value behind its last node with
// weights and the elementwise nodes that follow it alone.
func moduleOutput(g *onnx.Graph, module string) (string, bool) {
	weights := map[string]bool{}
	for _, t := range g.Initializers {
		weights[t.Name] = true
	}
	consumers := map[string][]*onnx.Node{}
	value := ""
	for _, n := range g.Nodes {
		for _, in := range n.Inputs {
			consumers[in] = append(consumers[in], n)
			if weights[in] && (strings.HasPrefix(in, module+".") || strings.Contains(in, "."+module+".")) {
				value = n.Outputs[0]
			}
		}
	}
	if value == "" {
		return "", false
	}
	for {
		next := consumers[value]
		if len(next) != 1 || !elementwise[next[0].OpType] || slices.ContainsFunc(next[0].Inputs, func(in string) bool { return weights[in] && strings.Contains(in, ".") }) {
			return value, true
		}
		value = next[0].Outputs[0]
	}
}

var elementwise = map[string]bool{"Relu": true, "Add": true, "Clip": true, "Sigmoid": true, "HardSwish": true,
	"HardSigmoid": true, "LeakyRelu": true, "Elu": true, "Mul": true, "BatchNormalization": true}

// imageInfo is the image input of a model whose images have the size of pre.
func imageInfo(in *onnx.ValueInfo, pre augment.Preprocess) *onnx.ValueInfo {
	c, h, w := onnx.Fixed(int64(pre.Channels)), onnx.Fixed(int64(pre.Height)), onnx.Fixed(int64(pre.Width))
	batch := in.Dims[0]
	if batch.Param == "" && batch.Value < 0 {
		batch = onnx.Symbol("N")
	}
	if in.Type == onnx.Uint8 {
		return onnx.TensorInfo(in.Name, in.Type, batch, h, w, c)
	}
	return onnx.TensorInfo(in.Name, in.Type, batch, c, h, w)
}
