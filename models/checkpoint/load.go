package checkpoint

import (
	"fmt"
	"math"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models"
)

// Load reads the values: parameters whose names start with "encoder.",
// "projector." and "fc.", float32. A value that is not a number, or
// infinite, is an error that names the tensor.
func (p *Plan) Load() (models.StateDict, error) {
	state := models.StateDict{}
	for _, s := range p.specs {
		v, err := p.values(s)
		if err != nil {
			return nil, fmt.Errorf("checkpoint: %s: %w", p.File.Path, err)
		}
		if i := slices.IndexFunc(v, notFinite); i >= 0 {
			return nil, fmt.Errorf("checkpoint: %s: tensor %q: value %d is %g: the network has diverged, or the file is damaged",
				p.File.Path, p.sources[s.Name].name, i, v[i])
		}
		state[s.Name] = tensor.New(tensor.WithShape(s.Node.Dims...), tensor.WithBacking(v))
	}
	return state, nil
}

// NotFinite returns the tensors that the import would read and that hold a value
// that is not a number or infinite.
func (p *Plan) NotFinite() ([]string, error) {
	var out []string
	for _, s := range p.specs {
		v, err := p.values(s)
		if err != nil {
			return nil, fmt.Errorf("checkpoint: %s: %w", p.File.Path, err)
		}
		if slices.ContainsFunc(v, notFinite) {
			out = append(out, p.sources[s.Name].name)
		}
	}
	return out, nil
}

func notFinite(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }

// values reads one parameter.
func (p *Plan) values(s models.Spec) ([]float32, error) {
	src := p.sources[s.Name]
	n := s.Node.Size()
	if src.fixed {
		v := make([]float32, n)
		for i := range v {
			v[i] = src.value
		}
		return v, nil
	}
	t := p.set[src.name]
	v, err := t.Floats()
	if err != nil {
		return nil, err
	}
	for _, name := range src.more {
		more, err := p.set[name].Floats()
		if err != nil {
			return nil, err
		}
		v = append(v, more...)
	}
	if p.resizes(t, s) && !slices.Equal(t.Shape, s.Node.Dims) {
		return p.Network.ViT.resized(v, t.Shape, s.Node.Dims[1])
	}
	if k := p.split(t, s); k > 1 {
		v = meanOf(v, k)
	}
	if src.gain != "" {
		g, err := p.set[src.gain].Floats()
		if err != nil {
			return nil, err
		}
		if len(g) == 0 || n%len(g) != 0 {
			return nil, fmt.Errorf("tensor %q: %d lengths for %v", src.gain, len(g), s.Node.Dims)
		}
		scaleRows(v, g)
	}
	return v, nil
}

// meanOf averages k parts of equal length.
func meanOf(v []float32, k int) []float32 {
	out := make([]float32, len(v)/k)
	for i := range out {
		sum := 0.0
		for part := range k {
			sum += float64(v[part*len(out)+i])
		}
		out[i] = float32(sum / float64(k))
	}
	return out
}

// scaleRows gives each row of v the length in g: weight normalisation.
func scaleRows(v, g []float32) {
	d := len(v) / len(g)
	for i, length := range g {
		row := v[i*d : (i+1)*d]
		sum := 0.0
		for _, x := range row {
			sum += float64(x) * float64(x)
		}
		scale := float64(length) / math.Sqrt(sum)
		for j, x := range row {
			row[j] = float32(float64(x) * scale)
		}
	}
}
