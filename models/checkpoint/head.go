package checkpoint

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/models"
)

// chain is a network of plain layers that a profile describes, and where its
// parameters lie in the file.
type chain struct {
	layers models.Sequence
	params map[string]source // by their names in the layers: "0.weight"
}

// source is where the values of a parameter come from.
type source struct {
	name  string   // of the tensor, below the root
	more  []string // of those that follow it along the first axis
	gain  string   // of the lengths of its rows, of a layer with weight normalisation
	fixed bool     // it has no tensor: all values are value
	value float32
	shape []int
}

// chainOf builds the first alternative of a description, see Profile.Projector, of
// which there are tensors. It is nil if there is none.
func chainOf(description string, set map[string]*Tensor) (*chain, error) {
	for _, alternative := range strings.Split(description, "|") {
		b := chainBuilder{set: set, chain: chain{params: map[string]source{}}}
		found := false
		for _, token := range strings.Fields(alternative) {
			any, err := b.add(token)
			if err != nil {
				return nil, err
			}
			found = found || any
		}
		if found && b.lacks == "" {
			return &b.chain, nil
		}
	}
	return nil, nil
}

type chainBuilder struct {
	set   map[string]*Tensor
	chain chain
	lacks string // a layer that was named and has no tensors
}

var (
	pooled  = regexp.MustCompile(`^maxpool(\d)$`)
	options = regexp.MustCompile(`^([^/()]+)((?:/\w+)*)(?:\((\w+)\))?$`)
	plain   = map[string]models.Layer{
		"relu": activated("relu"), "gelu": activated("gelu"), "tanh": activated("tanh"),
		"mean": {Kind: models.LayerGlobalMean}, "flatten": {Kind: models.LayerFlatten}, "l2norm": {Kind: models.LayerNormalize},
	}
	settings = regexp.MustCompile(`/(pad|stride)(\d+)`)
)

func activated(name string) models.Layer {
	return models.Layer{Kind: models.LayerActivation, Activation: models.Activation(name)}
}

// add appends what a token stands for, and says whether it has tensors.
func (b *chainBuilder) add(token string) (bool, error) {
	if l, ok := plain[token]; ok {
		b.append(l)
		return false, nil
	}
	if m := pooled.FindStringSubmatch(token); m != nil {
		k, _ := strconv.Atoi(m[1])
		b.append(models.Layer{Kind: models.LayerMaxPool, Kernel: k})
		return false, nil
	}
	m := options.FindStringSubmatch(token)
	if m == nil {
		panic("checkpoint: profile: layer " + token)
	}
	name, activation := m[1], m[3]
	if activation == "" {
		activation = "relu"
	}
	var err error
	found := false
	if before, after, several := strings.Cut(name, "#"); several {
		for i := 0; ; i++ {
			one := before + strconv.Itoa(i) + after
			if !b.has(strings.TrimSuffix(one, "*")) {
				break
			}
			if i > 0 {
				b.append(activated(activation))
			}
			if _, err = b.layers(one, activation); err != nil {
				return false, err
			}
			found = true
		}
	} else {
		found, err = b.layers(name, activation)
	}
	if !found {
		b.lacks = name
	}
	if found && m[2] != "" {
		last := &b.chain.layers[len(b.chain.layers)-1]
		for _, s := range settings.FindAllStringSubmatch(m[2], -1) {
			n, _ := strconv.Atoi(s[2])
			if s[1] == "pad" {
				last.Pad = n
			} else {
				last.Stride = n
			}
		}
	}
	return found, err
}

func (b *chainBuilder) append(l models.Layer) { b.chain.layers = append(b.chain.layers, l) }

// has says whether a tensor's name starts so.
func (b *chainBuilder) has(prefix string) bool {
	for name := range b.set {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// layers appends one layer, or the numbered ones of "prefix.*".
func (b *chainBuilder) layers(name, activation string) (bool, error) {
	prefix, many := strings.CutSuffix(name, "*")
	if !many {
		return b.layer(name)
	}
	if found, err := b.layer(strings.TrimSuffix(prefix, ".")); found || err != nil {
		return found, err
	}
	var numbers []int
	for tensor := range b.set {
		rest, ok := strings.CutPrefix(tensor, prefix)
		number, _, dot := strings.Cut(rest, ".")
		if n, err := strconv.Atoi(number); ok && dot && err == nil && n >= 0 && !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for i, n := range numbers {
		if i > 0 && n > numbers[i-1]+1 {
			b.append(activated(activation))
		}
		found, err := b.layer(prefix + strconv.Itoa(n))
		if err != nil {
			return false, err
		}
		if !found {
			return false, fmt.Errorf("%s%d is not a layer that is known", prefix, n)
		}
	}
	return len(numbers) > 0, nil
}

// layer appends the layer of a name by the tensors that it has.
func (b *chainBuilder) layer(name string) (bool, error) {
	get := func(param string) *Tensor { return b.set[name+"."+param] }
	at := strconv.Itoa(len(b.chain.layers)) + "."
	weight, mean, bias := get("weight"), get("running_mean"), get("bias")
	take := func(params ...string) {
		for _, p := range params {
			b.chain.params[at+p] = source{name: name + "." + p}
		}
	}
	for _, norm := range [][2]string{{"weight_g", "weight_v"}, {"parametrizations.weight.original0", "parametrizations.weight.original1"}} {
		if g, v := get(norm[0]), get(norm[1]); g != nil && v != nil && len(v.Shape) == 2 {
			b.chain.params[at+"weight"] = source{name: name + "." + norm[1], gain: name + "." + norm[0]}
			l := models.Layer{Kind: models.LayerLinear, Out: v.Shape[0], NoBias: bias == nil}
			if !l.NoBias {
				take("bias")
			}
			b.append(l)
			return true, nil
		}
	}
	switch {
	case weight == nil && mean == nil:
		return false, nil
	case weight == nil: // without weights: BatchNorm with affine=False
		if len(mean.Shape) != 1 {
			return false, fmt.Errorf("%s.running_mean is %v", name, mean.Shape)
		}
		b.chain.params[at+"weight"] = source{fixed: true, value: 1, shape: mean.Shape}
		b.chain.params[at+"bias"] = source{fixed: true, shape: mean.Shape}
		take("running_mean", "running_var")
		b.append(models.Layer{Kind: models.LayerNorm})
	case len(weight.Shape) == 1 && mean != nil:
		take("weight", "bias", "running_mean", "running_var")
		b.append(models.Layer{Kind: models.LayerNorm})
	case len(weight.Shape) == 1:
		take("weight", "bias")
		b.append(models.Layer{Kind: models.LayerLayerNorm})
	case len(weight.Shape) == 2 || len(weight.Shape) == 4 && weight.Shape[2] == weight.Shape[3]:
		l := models.Layer{Kind: models.LayerLinear, Out: weight.Shape[0], NoBias: bias == nil}
		if len(weight.Shape) == 4 {
			l.Kind, l.Kernel = models.LayerConv, weight.Shape[2]
		}
		take("weight")
		if !l.NoBias {
			take("bias")
		}
		b.append(l)
	default:
		return false, fmt.Errorf("%s.weight is %v: not a layer that is known", name, weight.Shape)
	}
	return true, nil
}
