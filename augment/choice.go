package augment

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Choice is what "augment" says in a configuration: the name of a preset, or a policy for all views.
// The zero value leaves the choice to others.
type Choice struct {
	Preset string
	Policy Policy
}

// SetNode reads a name or a list of transforms.
func (c *Choice) SetNode(n ast.Node) error {
	if name, ok := textOf(n); ok {
		if !slices.Contains(Presets(), name) {
			return at(n, "unknown preset %q; there are %s, or a list of transforms", name, strings.Join(Presets(), ", "))
		}
		*c = Choice{Preset: name}
		return nil
	}
	p, err := policyOf(n, 0)
	if err != nil {
		return err
	}
	*c = Choice{Policy: p}
	return nil
}

// IsZero reports whether nothing is chosen.
func (c Choice) IsZero() bool { return c.Preset == "" && c.Policy == nil }

// String is the preset's name or the policy in one line.
func (c Choice) String() string {
	if c.Policy != nil {
		return "[" + c.Policy.String() + "]"
	}
	return c.Preset
}

// MarshalYAML writes what SetNode reads.
func (c Choice) MarshalYAML() ([]byte, error) {
	if c.Policy == nil {
		return []byte(c.Preset), nil
	}
	return c.Policy.MarshalYAML()
}

// MarshalYAML writes one transform a line, with all arguments.
func (p Policy) MarshalYAML() ([]byte, error) {
	if len(p) == 0 {
		return []byte("[]"), nil
	}
	var b strings.Builder
	for _, t := range p {
		if nameOf(t) == "" {
			return nil, fmt.Errorf("augment: write policy: %T has no name in a policy file", t)
		}
		fmt.Fprintf(&b, "- %s\n", describe(t, true))
	}
	return []byte(b.String()), nil
}

// ViewChoice is an entry of "views" in a configuration; what it leaves out is chosen elsewhere.
type ViewChoice struct {
	Count   int
	Size    int
	Augment Choice
}

// ViewChoices is what "views" says in a configuration.
type ViewChoices []ViewChoice

// SetNode reads a list such as [{count: 2}, {count: 6, size: 96, augment: [...]}].
func (v *ViewChoices) SetNode(n ast.Node) error {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return at(n, "got %s, want a list, such as [{count: 2}, {count: 6, size: 96}]", kindOf(n))
	}
	var out ViewChoices
	for _, e := range list.Values {
		entries, ok := entriesOf(e)
		if !ok {
			return at(e, "got %s, want {count, size, augment}", kindOf(e))
		}
		k := ViewChoice{Count: 1}
		var seen []string
		for _, f := range entries {
			key, _ := textOf(f.Key)
			if slices.Contains(seen, key) {
				return at(f.Key, "%s is given twice", key)
			}
			seen = append(seen, key)
			switch key {
			case "augment":
				if err := k.Augment.SetNode(f.Value); err != nil {
					return err
				}
			case "count", "size":
				nums, single, err := numbersOf(f.Value)
				limit := map[string]int{"count": maxViews, "size": maxSide}[key]
				if err != nil || !single || nums[0] != float64(int(nums[0])) || nums[0] < 1 || nums[0] > float64(limit) {
					return at(f.Key, "%s: got %s, want a whole number, 1 to %d", key, kindOf(f.Value), limit)
				}
				if key == "count" {
					k.Count = int(nums[0])
				} else {
					k.Size = int(nums[0])
				}
			default:
				return at(f.Key, "unknown key %q; there are count, size, augment", f.Key.String())
			}
		}
		out = append(out, k)
	}
	*v = out
	return nil
}

// MarshalYAML writes what SetNode reads.
func (v ViewChoices) MarshalYAML() ([]byte, error) {
	var b strings.Builder
	for _, k := range v {
		fmt.Fprintf(&b, "- count: %d\n", k.Count)
		if k.Size > 0 {
			fmt.Fprintf(&b, "  size: %d\n", k.Size)
		}
		switch policy := k.Augment.Policy; {
		case len(policy) > 0:
			text, err := policy.MarshalYAML()
			if err != nil {
				return nil, err
			}
			b.WriteString("  augment:\n")
			for line := range strings.Lines(string(text)) {
				b.WriteString("  " + line)
			}
		case policy != nil:
			b.WriteString("  augment: []\n")
		case k.Augment.Preset != "":
			fmt.Fprintf(&b, "  augment: %s\n", k.Augment.Preset)
		}
	}
	return []byte(b.String()), nil
}
