package checkpoint

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// Options say how to read a checkpoint where the file or its profile should not
// decide. The zero value leaves all to them.
type Options struct {
	Profile string // by name; "" finds it
	Root    string // the dictionary with the weights: "state_dict"; "" finds it

	StemPad     *int
	StemStride  int
	StemPool    string // "max" or "none"
	StrideIn1x1 *bool
	Tokens      string // "cls" or "mean"
	Heads       int    // of a transformer's attention
	Norm        *Norm
	ImageSize   int
}

// Parts of an imported network, by which the names of its parameters start.
const (
	PartEncoder    = "encoder"
	PartProjector  = "projector"
	PartClassifier = "fc" // as in torchvision, and in runs of this program
)

// Plan says what an import of a file takes from where. No value of a tensor has been
// read for it.
type Plan struct {
	File     *File
	Profile  *Profile
	Root     string // the dictionary with the weights
	Network  Network
	Input    Input
	Coverage Coverage

	Labels []string // class names, where a file beside it has them

	// Assumptions are what neither the file nor an option says: the profile does.
	Assumptions []string

	native  int               // side of the images that a transformer's positions are for
	sources map[string]source // by parameter
	specs   []models.Spec
	set     map[string]*Tensor // below the root, unwrapped
}

// Input is what the network wants to see.
type Input struct {
	Size          int // pixels of a side
	Channels      int
	Norm          Norm
	Interpolation string  // "bilinear" or "bicubic", "" where nothing says
	Crop          float64 // part of the resized image's side that is kept, 0 where nothing says
}

// ErrNoProfile says that a file holds no network of a known kind.
var ErrNoProfile = errors.New("no profile fits")

// NewPlan finds out which network a file holds. The error wraps ErrNoProfile when no
// profile fits; the plan then says what the file looks like. When parts of the
// encoder are missing or do not fit, there are both a plan, with its coverage, and
// an error.
func NewPlan(f *File, opt Options) (*Plan, error) {
	p := &Plan{File: f}
	fail := func(err error) (*Plan, error) { return p, fmt.Errorf("checkpoint: %s: %w", f.Path, err) }
	side, err := readSide(f.Path)
	if err != nil {
		return fail(err)
	}
	facts := append(factsOf(f.Root), side.facts...)
	if err := p.choose(facts, opt); err != nil {
		return fail(err)
	}
	set := p.settings(facts, opt)
	encoder, err := p.encoder(set)
	if err != nil {
		return fail(err)
	}
	p.input(set, side, opt)
	if err := p.heads(); err != nil {
		return fail(err)
	}
	if err := p.cover(encoder); err != nil {
		return fail(err)
	}
	if c := p.Input.Channels; c != 1 && c != 3 {
		return fail(fmt.Errorf("the encoder takes images of %d channels, want 1 or 3", c))
	}
	return p, nil
}

// choose finds the profile and the root.
func (p *Plan) choose(facts []string, opt Options) error {
	profiles := Profiles
	if opt.Profile != "" {
		one, err := FindProfile(opt.Profile)
		if err != nil {
			return err
		}
		profiles = []Profile{*one}
	}
	type named struct {
		names []string
		set   map[string]*Tensor
		err   error
	}
	below := map[string]named{}
	for i := range profiles {
		profile := &profiles[i]
		roots := profile.Roots
		if roots == nil {
			roots = usualRoots
		}
		if opt.Root != "" {
			roots = []string{opt.Root}
		}
		for _, root := range roots {
			n, ok := below[root]
			if !ok {
				n.names, n.set, n.err = p.File.under(root)
				below[root] = n
			}
			if len(n.names) == 0 {
				continue
			}
			if !profile.fits(n.names, facts) && (opt.Profile == "" || !profile.reads(n.names)) {
				continue
			}
			p.Profile, p.Root, p.set = profile, root, n.set
			p.Network.Profile = profile.Name
			return n.err
		}
	}
	if opt.Root != "" && len(below[opt.Root].names) == 0 {
		return fmt.Errorf("it holds no tensors under %q: it has %s", opt.Root, p.File.roots())
	}
	if opt.Profile != "" {
		return fmt.Errorf("%w: it has no encoder as profile %s (%s) writes it", ErrNoProfile, opt.Profile, profiles[0].About)
	}
	return fmt.Errorf("%w: %s", ErrNoProfile, p.File.looks())
}

// reads says whether the profile knows the first layers among the names.
func (p *Profile) reads(names []string) bool {
	rules := p.rules()
	for _, n := range names {
		if to, _, ok := translate(rules, n); ok && (strings.HasSuffix(to, "conv1.weight") || strings.HasPrefix(to, "patch_embed.")) {
			return true
		}
	}
	return p.Layers != ""
}

// under returns the tensors of a dictionary by their unwrapped names, which are also
// given in the file's order.
func (f *File) under(root string) (names []string, set map[string]*Tensor, err error) {
	set = map[string]*Tensor{}
	for _, t := range f.Tensors {
		name := t.Name
		if root != "" {
			var ok bool
			if name, ok = strings.CutPrefix(name, root+"."); !ok {
				continue
			}
		}
		name = unwrap(name)
		if set[name] != nil {
			err = fmt.Errorf("two tensors are called %q: %s and %s", name, set[name].Name, t.Name)
		}
		set[name] = t
		names = append(names, name)
	}
	return names, set, err
}

// roots lists the dictionaries at the top.
func (f *File) roots() string {
	var out []string
	for _, t := range f.Tensors {
		if root, _, ok := strings.Cut(t.Name, "."); ok && !slices.Contains(out, root) && len(out) < 20 {
			out = append(out, root)
		}
	}
	if out == nil {
		return "no dictionaries"
	}
	return strings.Join(out, ", ")
}

// settings are those of the profile, of its hints and of the options.
func (p *Plan) settings(facts []string, opt Options) Settings {
	set := p.Profile.Settings
	rules := p.Profile.rules()
	for name, t := range p.set {
		if to, _, ok := translate(rules, name); ok && to == "conv1.weight" && len(t.Shape) == 4 && t.Shape[2] <= 3 {
			set = set.over(p.Profile.Small)
		}
	}
	for _, h := range p.Profile.Hints {
		if slices.ContainsFunc(facts, regexp.MustCompile(h.Fact).MatchString) {
			set = set.over(h.Set)
		}
	}
	if opt.StemPad != nil {
		if set.Pad = *opt.StemPad; set.Pad == 0 {
			set.Pad = -1 // none, as against half the kernel
		}
	}
	if opt.StrideIn1x1 != nil {
		set.StrideIn1x1 = *opt.StrideIn1x1
	}
	for _, f := range facts { // of transformers' config.json
		if n, ok := strings.CutPrefix(f, "config.num_attention_heads="); ok {
			set.Heads, _ = strconv.Atoi(n)
		}
		if e, ok := strings.CutPrefix(f, "config.layer_norm_eps="); ok {
			set.Eps, _ = strconv.ParseFloat(e, 64)
		}
	}
	return set.over(Settings{Stride: opt.StemStride, Pool: opt.StemPool, Tokens: opt.Tokens, Heads: opt.Heads, Size: opt.ImageSize})
}

// encoder reads the network off the tensors and notes where its parameters lie.
func (p *Plan) encoder(set Settings) (models.Encoder, error) {
	p.sources = map[string]source{}
	if p.Profile.Layers != "" {
		c, err := chainOf(p.Profile.Layers, p.set)
		if err != nil {
			return nil, err
		}
		if c == nil {
			return nil, fmt.Errorf("%w: layers of profile %s are missing: %s", ErrNoProfile, p.Profile.Name, p.Profile.Layers)
		}
		p.Network.Layers = c.layers
		p.take(PartEncoder, c.params)
		return c.layers, nil
	}
	shapes := map[string][]int{}
	prefix := ""
	rules := p.Profile.rules()
	for _, name := range slices.Sorted(maps.Keys(p.set)) {
		to, before, ok := translate(rules, name)
		if !ok || p.Profile.ignored(name) != "" {
			continue
		}
		// A file with several networks gives the first that has all its beginning.
		if prefix == "" && len(p.sources) == 0 {
			prefix = p.firstPrefix(rules)
		}
		if before != prefix {
			continue
		}
		to, part, _ := strings.Cut(to, "#")
		param := PartEncoder + "." + to
		src := p.sources[param]
		switch {
		case part == "" && src.name != "":
			return nil, fmt.Errorf("%q and %q would both become %q", src.name, name, to)
		case part == "", part == "0":
			src.name = name
		case src.more == nil:
			src.more = make([]string, 2)
			fallthrough
		default:
			src.more[part[0]-'1'] = name
		}
		p.sources[param] = src
		shapes[to] = p.set[name].Shape
	}
	if shapes["patch_embed.proj.weight"] != nil || shapes["pos_embed"] != nil {
		v, size, err := vitOf(shapes, set)
		if err != nil {
			return nil, err
		}
		p.Network.ViT, p.native = v, size
		return p.Network.Encoder(set.Size)
	}
	r, err := resNetOf(shapes, set)
	if err != nil {
		return nil, err
	}
	p.Network.ResNet = r
	return p.Network.Encoder(set.Size)
}

// firstPrefix is what stands before the names of the first network in the file.
func (p *Plan) firstPrefix(rules []compiled) string {
	for _, t := range p.File.Tensors {
		name := t.Name
		if p.Root != "" {
			name = strings.TrimPrefix(name, p.Root+".")
		}
		name = unwrap(name)
		if p.set[name] != t || p.Profile.ignored(name) != "" {
			continue
		}
		if to, before, ok := translate(rules, name); ok && (strings.HasSuffix(to, "conv1.weight") || strings.HasPrefix(to, "patch_embed.")) {
			return before
		}
	}
	return ""
}

// ignored says why a tensor is not needed, "" if the profile does not know it.
func (p *Profile) ignored(name string) string {
	for _, i := range p.Ignore {
		if regexp.MustCompile(i[0]).MatchString(name) {
			return i[1]
		}
	}
	return ""
}

func (p *Plan) take(part string, params map[string]source) {
	for name, s := range params {
		p.sources[part+"."+name] = s
	}
}

// heads finds the projector and the classifier.
func (p *Plan) heads() error {
	for part, description := range map[string]string{PartProjector: p.Profile.Projector, PartClassifier: p.Profile.Classifier} {
		if description == "" {
			continue
		}
		c, err := chainOf(description, p.set)
		if err != nil {
			return fmt.Errorf("the %s: %w", part, err)
		}
		if c == nil {
			continue
		}
		if part == PartProjector {
			p.Network.Projector = c.layers
		} else {
			p.Network.Classifier = c.layers
			if single(c.layers) {
				for name, s := range c.params {
					p.sources[part+"."+strings.TrimPrefix(name, "0.")] = s
				}
				continue
			}
		}
		p.take(part, c.params)
	}
	return nil
}

// input says what the network wants to see, and what of it nobody but the profile
// has said.
func (p *Plan) input(set Settings, side side, opt Options) {
	in := Input{Channels: 3, Size: set.Size, Norm: Norms[set.Norm], Interpolation: side.interpolation, Crop: side.crop}
	for _, name := range []string{"encoder.conv1.weight", "encoder.0.weight", "encoder.patch_embed.proj.weight"} {
		if s, ok := p.sources[name]; ok && len(p.set[s.name].Shape) == 4 {
			in.Channels = p.set[s.name].Shape[1]
		}
	}
	assume := func(format string, args ...any) { p.Assumptions = append(p.Assumptions, fmt.Sprintf(format, args...)) }
	switch {
	case opt.Norm != nil:
		in.Norm = *opt.Norm
	case side.norm != nil:
		in.Norm = *side.norm
	default:
		assume("input normalisation: %s, mean %v, std %v (change it by --mean and --std)", set.Norm, in.Norm.Mean, in.Norm.Std)
	}
	if in.Size == 0 {
		in.Size = side.size
	}
	if in.Size == 0 {
		in.Size = p.native
	}
	r := p.Network.ResNet
	if in.Size == 0 {
		if in.Size = 224; r != nil && r.StemStride == 1 {
			in.Size = 32
		}
	}
	if opt.ImageSize == 0 && side.size == 0 && p.native == 0 {
		assume("image size: %d pixels (change it by --image-size)", in.Size)
	}
	if v := p.Network.ViT; v != nil && opt.Heads == 0 {
		assume("attention: %d heads (change it by --heads)", v.Heads)
	}
	if v := p.Network.ViT; v != nil && opt.Tokens == "" && !v.NoClassToken {
		tokens := "the class token"
		if v.Mean {
			tokens = "the mean of the patches' tokens"
		}
		assume("embedding: %s (change it by --tokens cls|mean)", tokens)
	}
	if r != nil && opt.StemPad == nil {
		assume("padding of the stem: %d (change it by --stem-padding)", r.StemPad)
	}
	if r != nil && opt.StemPool == "" {
		pool := "none"
		if r.StemPool {
			pool = "a 3x3 max-pool of stride 2"
		}
		assume("pooling behind the stem: %s (change it by --stem-pool max|none)", pool)
	}
	if r != nil && r.Bottleneck && opt.StrideIn1x1 == nil {
		where := "the 3x3 convolutions (v1.5)"
		if r.StrideIn1x1 {
			where = "the 1x1 convolutions (v1)"
		}
		assume("strides of bottlenecks: in %s (change it by --stride-in-1x1)", where)
	}
	p.Input, p.Labels = in, side.labels
}

// graph builds the network and returns its parameters.
func (p *Plan) graph(encoder models.Encoder) ([]models.Spec, error) {
	g := op.NewGraph()
	params := models.NewParams(g)
	scope := models.NewScope(params, false)
	h := encoder.Forward(scope.Sub(PartEncoder), g.Input("image", op.Float32, op.Batched(2, p.Input.Channels, p.Input.Size, p.Input.Size)))
	if p.Network.Projector != nil {
		p.Network.Projector.Forward(scope.Sub(PartProjector), h)
	}
	if p.Network.Classifier != nil {
		p.Network.ClassifierForward(scope.Sub(PartClassifier), h)
	}
	return params.Specs(), g.Err()
}
