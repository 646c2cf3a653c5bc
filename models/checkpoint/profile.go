package checkpoint

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Profile says how a project writes its networks: where the weights lie in the file,
// how they are called, and what the file does not say but the network needs.
//
// Patterns are regular expressions on the names of tensors below Root, without the
// wrappers "module." and "_orig_mod." that parallel training and compilation add.
type Profile struct {
	Name  string
	About string // the project, in words

	// A file is of this profile when each pattern of Match finds a tensor, none of
	// Not does, and each of Facts finds a text "path=value" of what else the file
	// holds. The first profile of Profiles that fits is taken.
	Match, Not, Facts []string

	// First and then are two tensors of which the first must come earlier: how a
	// network is written tells who wrote it.
	First, Then string

	Roots []string // dictionaries in which the weights may lie, default usualRoots

	Prefix string // pattern of what stands before the encoder's names
	Names  string // the names behind it, one of namings
	Layers string // of a plain network instead of Names, as in Projector

	// Projector and Classifier are the heads, as layers: "fc" is the layer of that
	// name, whose tensors say what it is; "head.*" the numbered layers of a PyTorch
	// Sequential, with ReLU where numbers are left out, or with another activation,
	// "head.*(gelu)"; "heads.#.clf.*" several of them with ReLU between; relu, gelu,
	// tanh, l2norm, mean, flatten and maxpool2 are themselves. Alternatives are
	// separated by "|": the first whose tensors are there is taken.
	Projector, Classifier string

	Ignore [][2]string // pattern, and why what it finds is not needed

	Settings          // whatever the network
	Small    Settings // over these: of a network with a stem of 3x3
	Hints    []Hint   // over these: what other values in the file decide
}

// Settings are what the tensors of a network do not say.
type Settings struct {
	Pad         int     // of the stem's convolution; 0 is half its kernel
	Stride      int     // of the stem's convolution; 0 is 2 for kernels above 3, else 1
	Pool        string  // behind the stem: "max", 3x3 of stride 2, or "none"; "" is max behind a stem of stride 2
	Linear      bool    // the stem's BatchNorm has no ReLU behind it
	StrideIn1x1 bool    // bottlenecks stride in their first convolution, not in the 3x3
	Tokens      string  // embedding of a transformer: "cls", the default, or "mean"
	Heads       int     // of its attention; 0 is one for each 64 values of a token
	Eps         float64 // of its layer norms; 0 is 1e-6
	Norm        string  // of the input, one of Norms
	Size        int     // pixels of the input's side
}

// Hint is a value in the file that decides a setting.
type Hint struct {
	Fact string // pattern of "path=value"
	Set  Settings
}

// over returns s with the settings of t that say something in place of its own.
func (s Settings) over(t Settings) Settings {
	if t.Pad != 0 {
		s.Pad = t.Pad
	}
	if t.Stride != 0 {
		s.Stride = t.Stride
	}
	if t.Pool != "" {
		s.Pool = t.Pool
	}
	s.Linear = s.Linear || t.Linear
	s.StrideIn1x1 = s.StrideIn1x1 || t.StrideIn1x1
	if t.Tokens != "" {
		s.Tokens = t.Tokens
	}
	if t.Heads != 0 {
		s.Heads = t.Heads
	}
	if t.Eps != 0 {
		s.Eps = t.Eps
	}
	if t.Norm != "" {
		s.Norm = t.Norm
	}
	if t.Size != 0 {
		s.Size = t.Size
	}
	return s
}

// Norm is the mean and standard deviation that a network's input is normalised by,
// per channel, for samples in [0, 1].
type Norm struct{ Mean, Std [3]float32 }

// Norms are the usual normalisations by name.
var Norms = map[string]Norm{
	"none":          {[3]float32{}, [3]float32{1, 1, 1}},
	"imagenet":      {[3]float32{0.485, 0.456, 0.406}, [3]float32{0.229, 0.224, 0.225}},
	"half":          {[3]float32{0.5, 0.5, 0.5}, [3]float32{0.5, 0.5, 0.5}},
	"cifar10":       {[3]float32{0.4914, 0.4822, 0.4465}, [3]float32{0.2023, 0.1994, 0.2010}},
	"cifar10-2470":  {[3]float32{0.4914, 0.4822, 0.4465}, [3]float32{0.2470, 0.2435, 0.2616}},
	"cifar10-bolts": {[3]float32{125.3 / 255, 123.0 / 255, 113.9 / 255}, [3]float32{63.0 / 255, 62.1 / 255, 66.7 / 255}},
	"cifar100":      {[3]float32{0.5071, 0.4867, 0.4408}, [3]float32{0.2675, 0.2565, 0.2761}},
	"cifar100-solo": {[3]float32{0.5071, 0.4865, 0.4409}, [3]float32{0.2673, 0.2564, 0.2762}},
	"stl10-bolts":   {[3]float32{0.43, 0.42, 0.39}, [3]float32{0.27, 0.26, 0.27}},
	"mnist":         {[3]float32{0.1307, 0.1307, 0.1307}, [3]float32{0.3081, 0.3081, 0.3081}},
}

// usualRoots are the dictionaries in which weights lie, in the order in which they
// are looked for: averaged weights first, as timm does.
var usualRoots = []string{"state_dict_ema", "model_ema", "ema_state_dict", "state_dict", "model_state_dict", "model_state", "simclr_state",
	"model", "teacher", "net", "network", "weights", "params", "student", ""}

// wrapper are the parts of names that parallel training and compilation add.
var wrapper = regexp.MustCompile(`(^|\.)(module|_orig_mod|_fsdp_wrapped_module|_forward_module)\.`)

// unwrap removes them, wherever they stand.
func unwrap(name string) string {
	for wrapper.MatchString(name) {
		name = wrapper.ReplaceAllString(name, "$1")
	}
	return name
}

// rule translates a name.
type rule struct{ from, to string }

// namings translate the names of a kind of network to those of this program, which
// are torchvision's for ResNets and timm's for transformers.
var namings = map[string][]rule{
	"torchvision": {{`((?:conv1|bn1|layer\d+)\..+)`, "$1"}},

	// The children of a ResNet in a Sequential, by number: with ReLU and max-pool
	// (2 and 3) among them, with ReLU only, with neither.
	"sequential":         numbered("0 conv1 1 bn1 4 layer1 5 layer2 6 layer3 7 layer4"),
	"sequential-no-pool": numbered("0 conv1 1 bn1 3 layer1 4 layer2 5 layer3 6 layer4"),
	"sequential-bare":    numbered("0 conv1 1 bn1 2 layer1 3 layer2 4 layer3 5 layer4"),
	// Behind a BatchNorm of the input; a 1x1 convolution follows.
	"sequential-input-norm": numbered("0 norm 1 conv1 2 bn1 3 layer1 4 layer2 5 layer3 6 layer4 7 last"),

	"vit": {{`(cls_token|pos_embed|patch_embed\.proj\.\w+|blocks\.\d+\..+|norm\.\w+|fc_norm\.\w+)`, "$1"}},
	"vit-torchvision": {
		{`class_token`, "cls_token"},
		{`encoder\.pos_embedding`, "pos_embed"},
		{`conv_proj\.(.+)`, "patch_embed.proj.$1"},
		{`encoder\.layers\.encoder_layer_(\d+)\.ln_(\d)\.(.+)`, "blocks.$1.norm$2.$3"},
		{`encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_(.+)`, "blocks.$1.attn.qkv.$2"},
		{`encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.(.+)`, "blocks.$1.attn.proj.$2"},
		{`encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:0|linear_1)\.(.+)`, "blocks.$1.mlp.fc1.$2"},
		{`encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:3|linear_2)\.(.+)`, "blocks.$1.mlp.fc2.$2"},
		{`encoder\.ln\.(.+)`, "norm.$1"},
	},
	// Queries, keys and values are layers of their own there, one here: parts 0 to 2.
	"vit-transformers": {
		{`embeddings\.cls_token`, "cls_token"},
		{`embeddings\.position_embeddings`, "pos_embed"},
		{`embeddings\.patch_embeddings\.projection\.(.+)`, "patch_embed.proj.$1"},
		{`encoder\.layer\.(\d+)\.layernorm_before\.(.+)`, "blocks.$1.norm1.$2"},
		{`encoder\.layer\.(\d+)\.layernorm_after\.(.+)`, "blocks.$1.norm2.$2"},
		{`encoder\.layer\.(\d+)\.attention\.attention\.query\.(.+)`, "blocks.$1.attn.qkv.$2#0"},
		{`encoder\.layer\.(\d+)\.attention\.attention\.key\.(.+)`, "blocks.$1.attn.qkv.$2#1"},
		{`encoder\.layer\.(\d+)\.attention\.attention\.value\.(.+)`, "blocks.$1.attn.qkv.$2#2"},
		{`encoder\.layer\.(\d+)\.attention\.output\.dense\.(.+)`, "blocks.$1.attn.proj.$2"},
		{`encoder\.layer\.(\d+)\.intermediate\.dense\.(.+)`, "blocks.$1.mlp.fc1.$2"},
		{`encoder\.layer\.(\d+)\.output\.dense\.(.+)`, "blocks.$1.mlp.fc2.$2"},
		{`layernorm\.(.+)`, "norm.$1"},
	},

	"transformers": {
		{`embedder\.embedder\.convolution\.(.+)`, "conv1.$1"},
		{`embedder\.embedder\.normalization\.(.+)`, "bn1.$1"},
		{`encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.convolution\.(.+)`, "layer${1}+1.$2.conv${3}+1.$4"},
		{`encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.normalization\.(.+)`, "layer${1}+1.$2.bn${3}+1.$4"},
		{`encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.convolution\.(.+)`, "layer${1}+1.$2.downsample.0.$3"},
		{`encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.normalization\.(.+)`, "layer${1}+1.$2.downsample.1.$3"},
	},
}

// numbered makes the rules of a Sequential from pairs of number and name.
func numbered(pairs string) []rule {
	var rules []rule
	for pair := range slices.Chunk(strings.Fields(pairs), 2) {
		rules = append(rules, rule{pair[0] + `\.(.+)`, pair[1] + ".$1"})
	}
	return rules
}

// plusOne are the numbers of a translation that count from 0 in the file.
var plusOne = regexp.MustCompile(`(\d+)\+1`)

// translate returns the name in this program and what stood before the name, if a
// rule knows it.
func translate(rules []compiled, name string) (to, prefix string, ok bool) {
	for _, r := range rules {
		if m := r.re.FindStringSubmatchIndex(name); m != nil {
			to := string(r.re.ExpandString(nil, r.to, name, m))
			to = plusOne.ReplaceAllStringFunc(to, func(s string) string {
				n, _ := strconv.Atoi(strings.TrimSuffix(s, "+1"))
				return strconv.Itoa(n + 1)
			})
			return strings.Replace(to, ".shortcut.", ".downsample.", 1), name[:m[3]], true
		}
	}
	return "", "", false
}

// group is a part of what a rule makes.
var group = regexp.MustCompile(`\$\{?(\d)\}?`)

type compiled struct {
	re *regexp.Regexp
	to string
}

// rules compiles a naming behind a prefix.
func (p *Profile) rules() []compiled {
	var out []compiled
	for _, r := range namings[p.Names] {
		// The prefix is the first group, so that those of the rule come one later.
		to := group.ReplaceAllStringFunc(r.to, func(s string) string {
			n, _ := strconv.Atoi(strings.Trim(s, "${}"))
			return fmt.Sprintf("${%d}", n+1)
		})
		out = append(out, compiled{regexp.MustCompile("^(" + p.Prefix + ")" + r.from + "$"), to})
	}
	return out
}

// fits says whether names, in the order of the file, and facts are those of the
// profile.
func (p *Profile) fits(names, facts []string) bool {
	any := func(pattern string, texts []string) bool {
		return slices.ContainsFunc(texts, regexp.MustCompile(pattern).MatchString)
	}
	for _, m := range p.Match {
		if !any(m, names) {
			return false
		}
	}
	for _, n := range p.Not {
		if any(n, names) {
			return false
		}
	}
	for _, f := range p.Facts {
		if !any(f, facts) {
			return false
		}
	}
	if p.First != "" {
		first, then := slices.Index(names, p.First), slices.Index(names, p.Then)
		return first >= 0 && first < then
	}
	return true
}

// FindProfile returns the profile of a name.
func FindProfile(name string) (*Profile, error) {
	var names []string
	for i := range Profiles {
		if Profiles[i].Name == name {
			return &Profiles[i], nil
		}
		names = append(names, Profiles[i].Name)
	}
	return nil, fmt.Errorf("checkpoint: there is no profile %q: choose one of %s", name, strings.Join(names, ", "))
}
