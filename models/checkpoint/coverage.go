package checkpoint

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/models"
)

// Status is what became of a tensor.
type Status string

const (
	Loaded     Status = "loaded"      // under its own name
	Renamed    Status = "renamed"     // under the name of this program
	Ignored    Status = "ignored"     // not needed
	Missing    Status = "missing"     // a parameter that the file does not have
	WrongShape Status = "wrong shape" // a parameter that the file has in another shape
)

// Row is one tensor of a coverage: of the file, of the network or of both.
type Row struct {
	File   string // its name in the file
	Name   string // of the parameter: "encoder.layer1.0.conv1.weight"
	Status Status
	Shape  []int
	Why    string
}

// Coverage says what became of each tensor of the file and of each parameter of the
// network.
type Coverage []Row

// Count returns the number of rows of a status.
func (c Coverage) Count(s Status) int {
	n := 0
	for _, r := range c {
		if r.Status == s {
			n++
		}
	}
	return n
}

// cover compares the network's parameters with the file, leaves out heads that do
// not fit and refuses an encoder that is not there completely.
func (p *Plan) cover(encoder models.Encoder) error {
	specs, err := p.graph(encoder)
	if err != nil {
		return fmt.Errorf("the network that its tensors describe (%s) does not fit together: %w", p.Network.String(), err)
	}
	dropped := map[string]string{} // heads, and why
	for {
		bad := ""
		for _, s := range specs {
			part, _, _ := strings.Cut(s.Name, ".")
			if part == PartEncoder || dropped[part] != "" {
				continue
			}
			if r := p.row(s); r.Status == Missing || r.Status == WrongShape {
				dropped[part] = fmt.Sprintf("a part of the %s that does not fit: %s %s", part, s.Name, r.Why)
				bad = part
			}
		}
		if bad == "" {
			break
		}
	}
	used := map[string]bool{}
	var missing, reshaped []string
	for _, s := range specs {
		part, _, _ := strings.Cut(s.Name, ".")
		if dropped[part] != "" {
			continue
		}
		r := p.row(s)
		p.Coverage = append(p.Coverage, r)
		src := p.sources[s.Name]
		for _, name := range append([]string{src.name, src.gain}, src.more...) {
			if t := p.set[name]; t != nil {
				used[t.Name] = true
			}
		}
		switch r.Status {
		case Missing:
			missing = append(missing, s.Name)
		case WrongShape:
			reshaped = append(reshaped, s.Name+" "+r.Why)
		default:
			p.specs = append(p.specs, s)
		}
	}
	for part := range dropped {
		if part == PartProjector {
			p.Network.Projector = nil
		} else {
			p.Network.Classifier = nil
		}
	}
	extra := p.rest(used, dropped)
	var errs []string
	if len(missing) > 0 {
		errs = append(errs, fmt.Sprintf("%d tensors of the encoder are missing: %s", len(missing), short(missing)))
	}
	if len(reshaped) > 0 {
		errs = append(errs, fmt.Sprintf("%d tensors of the encoder have another shape: %s", len(reshaped), short(reshaped)))
	}
	if len(extra) > 0 {
		errs = append(errs, fmt.Sprintf("the encoder in the file has %d tensors that %s has not: %s", len(extra), p.Network.String(), short(extra)))
	}
	if errs != nil {
		return errors.New(strings.Join(errs, "; "))
	}
	return nil
}

// row says where a parameter comes from.
func (p *Plan) row(s models.Spec) Row {
	r := Row{Name: s.Name, Shape: s.Node.Dims, Status: Missing}
	src, ok := p.sources[s.Name]
	if !ok {
		return r
	}
	if src.fixed {
		r.Status, r.Why = Loaded, fmt.Sprintf("all %g: the layer has none in the file", src.value)
		return r
	}
	t := p.set[src.name]
	if t == nil {
		return r
	}
	r.File = t.Name
	_, plain, _ := strings.Cut(s.Name, ".")
	if r.Status = Renamed; plain == t.Name {
		r.Status = Loaded
	}
	shape := slices.Clone(t.Shape)
	for _, name := range src.more {
		m := p.set[name]
		if m == nil || !slices.Equal(m.Shape, t.Shape) || len(shape) == 0 {
			r.Status, r.Why = Missing, "a part of it is missing in the file, or of another shape"
			return r
		}
		shape[0] += m.Shape[0]
	}
	switch {
	case !t.DType.Float():
		r.Status, r.Why = WrongShape, fmt.Sprintf("is %s, want floating point", t.DType)
	case slices.Equal(shape, s.Node.Dims):
	case p.resizes(t, s):
		r.Why = fmt.Sprintf("interpolated from images of %d pixels to %d", p.native, p.Input.Size)
	case p.split(t, s) > 1:
		r.Why = fmt.Sprintf("the mean of %d parts of the batch", p.split(t, s))
	default:
		r.Status, r.Why = WrongShape, fmt.Sprintf("is %v, want %v", shape, s.Node.Dims)
	}
	return r
}

// resizes says whether the tensor are the positions of a transformer for images of
// another size.
func (p *Plan) resizes(t *Tensor, s models.Spec) bool {
	return p.Network.ViT != nil && s.Name == "encoder.pos_embed" && len(t.Shape) == 3 && t.Shape[0] == 1 && t.Shape[2] == s.Node.Dims[2]
}

// split returns in how many parts of the batch running statistics were kept.
func (p *Plan) split(t *Tensor, s models.Spec) int {
	stat := strings.HasSuffix(s.Name, ".running_mean") || strings.HasSuffix(s.Name, ".running_var")
	if !stat || len(t.Shape) != 1 || len(s.Node.Dims) != 1 || t.Shape[0] == 0 || t.Shape[0]%s.Node.Dims[0] != 0 {
		return 0
	}
	return t.Shape[0] / s.Node.Dims[0]
}

// rest lists the tensors that were not used, and returns those that the encoder
// should have used.
func (p *Plan) rest(used map[string]bool, dropped map[string]string) (extra []string) {
	below := map[string]string{} // full name to name below the root
	for name, t := range p.set {
		below[t.Name] = name
	}
	encoder, head := map[string]bool{}, map[string]string{}
	for param, src := range p.sources {
		part, _, _ := strings.Cut(param, ".")
		if part == PartEncoder {
			for _, name := range append([]string{src.name}, src.more...) {
				encoder[name] = true
			}
		} else {
			head[src.name], head[src.gain] = dropped[part], dropped[part]
		}
	}
	for _, t := range p.File.Tensors {
		if used[t.Name] {
			continue
		}
		r := Row{File: t.Name, Shape: t.Shape, Status: Ignored}
		name, in := below[t.Name]
		switch {
		case strings.HasSuffix(t.Name, "num_batches_tracked"):
			r.Why = "a counter of BatchNorm"
		case !in:
			r.Why = "outside the weights that are read"
			if p.Root != "" {
				r.Why = fmt.Sprintf("not under %q", p.Root)
			}
			if strings.Contains(t.Name, "optimizer") {
				r.Why = "the optimiser's state"
			}
		case p.Profile.ignored(name) != "":
			r.Why = p.Profile.ignored(name)
		case encoder[name]:
			r.Why = "the network has no such tensor"
			extra = append(extra, name)
		case head[name] != "":
			r.Why = head[name]
		default:
			r.Why = "not a part that is read"
		}
		p.Coverage = append(p.Coverage, r)
	}
	return extra
}

// short joins the first names.
func short(names []string) string {
	const most = 6
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s, ... (%d more)", strings.Join(names[:most], ", "), len(names)-most)
}
