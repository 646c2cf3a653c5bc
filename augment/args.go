package augment

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// transforms holds a transform of each name, with torchvision's defaults.
var transforms = map[string]Transform{
	"RandomResizedCrop":     RandomResizedCrop{Scale: [2]float64{0.08, 1}, Ratio: [2]float64{3. / 4, 4. / 3}},
	"RandomCrop":            RandomCrop{PaddingMode: PadConstant},
	"CenterCrop":            CenterCrop{},
	"Resize":                Resized{},
	"Pad":                   Pad{PaddingMode: PadConstant},
	"RandomHorizontalFlip":  RandomHorizontalFlip{P: 0.5},
	"RandomVerticalFlip":    RandomVerticalFlip{P: 0.5},
	"RandomRotation":        RandomRotation{Interpolation: Nearest},
	"RandomAffine":          RandomAffine{Interpolation: Nearest},
	"RandomErasing":         RandomErasing{P: 0.5, Scale: [2]float64{0.02, 0.33}, Ratio: [2]float64{0.3, 3.3}},
	"ColorJitter":           ColorJitter{},
	"RandomGrayscale":       RandomGrayscale{P: 0.1},
	"GaussianBlur":          GaussianBlur{Sigma: Spreads{0.1, 2}},
	"PillowBlur":            PillowBlur{Radius: Spreads{0.1, 2}},
	"RandomSolarize":        RandomSolarize{P: 0.5},
	"RandomPosterize":       RandomPosterize{P: 0.5},
	"RandomInvert":          RandomInvert{P: 0.5},
	"RandomAutocontrast":    RandomAutocontrast{P: 0.5},
	"RandomEqualize":        RandomEqualize{P: 0.5},
	"RandomAdjustSharpness": RandomAdjustSharpness{P: 0.5},
	"RandAugment":           RandAugment{NumOps: 2, Magnitude: 9, Bins: 31, Interpolation: Nearest},
	"TrivialAugmentWide":    TrivialAugmentWide{Bins: 31, Interpolation: Nearest},
}

func init() { // these hold policies, whose parsing needs the table
	transforms["RandomApply"] = RandomApply{P: 0.5}
	transforms["RandomChoice"] = RandomChoice{}
	transforms["RandomOrder"] = RandomOrder{}
}

// TransformNames returns the names that a policy file may use, sorted.
func TransformNames() []string { return slices.Sorted(maps.Keys(transforms)) }

// argument is a field of a transform with its name in a policy file.
type argument struct {
	name     string
	required bool
	value    reflect.Value
}

func arguments(transform reflect.Value) []argument {
	var out []argument
	for i, f := range reflect.VisibleFields(transform.Type()) {
		name, option, _ := strings.Cut(f.Tag.Get("arg"), ",")
		out = append(out, argument{name, option == "required", transform.Field(i)})
	}
	return out
}

// nameOf is the name of a transform in a policy file, "" for one that has none.
func nameOf(t Transform) string {
	for name, d := range transforms {
		if reflect.TypeOf(d) == reflect.TypeOf(t) {
			return name
		}
	}
	return ""
}

// String lists the transforms as a policy file does, in one line.
func (p Policy) String() string {
	parts := make([]string, len(p))
	for i, t := range p {
		parts[i] = describe(t, false)
	}
	return strings.Join(parts, ", ")
}

// describe writes a transform in YAML's flow style, with the arguments that are not the default, or all.
func describe(t Transform, all bool) string {
	name := nameOf(t)
	if name == "" {
		return fmt.Sprintf("%T", t)
	}
	defaults := arguments(reflect.ValueOf(transforms[name]))
	var args []string
	for i, a := range arguments(reflect.ValueOf(t)) {
		isDefault := reflect.DeepEqual(a.value.Interface(), defaults[i].value.Interface())
		if a.value.Kind() == reflect.Slice && a.value.IsNil() || isDefault && !all && !a.required {
			continue
		}
		args = append(args, a.name+": "+formatArgument(a.value.Interface(), all))
	}
	if args == nil {
		return name
	}
	return name + ": {" + strings.Join(args, ", ") + "}"
}
