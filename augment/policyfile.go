package augment

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxNesting bounds policies within policies.
const maxNesting = 8

// ParsePolicy reads a policy in YAML: a list of transforms by torchvision's names, with torchvision's
// arguments and defaults.
//
//   - RandomResizedCrop: {size: 32, scale: [0.2, 1]}
//   - RandomHorizontalFlip
//   - RandomApply: {p: 0.8, transforms: [ColorJitter: {brightness: 0.4, hue: 0.1}]}
//
// Unknown names and arguments that do not fit are errors with the line.
func ParsePolicy(text []byte) (Policy, error) {
	n, err := parseNode(text)
	if err != nil {
		return nil, fmt.Errorf("augment: policy: %w", err)
	}
	p, err := policyOf(n, 0)
	if err != nil {
		return nil, fmt.Errorf("augment: policy: %w", err)
	}
	return p, nil
}

func parseNode(text []byte) (ast.Node, error) {
	if len(text) > 1<<20 {
		return nil, fmt.Errorf("%d bytes are more than a policy has", len(text))
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, err
	}
	var root ast.Node
	for _, d := range file.Docs {
		if d.Body == nil || d.Body.Type() == ast.CommentType {
			continue
		}
		if root != nil {
			return nil, errors.New("a second document: want one")
		}
		root = d.Body
	}
	if root == nil {
		return nil, errors.New("it is empty")
	}
	return root, nil
}

// at adds the line of a node to an error that has none yet.
func at(n ast.Node, format string, args ...any) error {
	line := "line ?"
	if n != nil {
		if t := n.GetToken(); t != nil && t.Position != nil {
			line = fmt.Sprintf("line %d", t.Position.Line)
		}
	}
	return fmt.Errorf(line+": "+format, args...)
}

func policyOf(n ast.Node, depth int) (Policy, error) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return nil, at(n, "got %s, want a list of transforms, such as [RandomHorizontalFlip]", kindOf(n))
	}
	if depth > maxNesting {
		return nil, at(n, "transforms within transforms more than %d deep", maxNesting)
	}
	p := make(Policy, 0, len(list.Values))
	for _, v := range list.Values {
		t, err := transformOf(v, depth)
		if err != nil {
			return nil, err
		}
		p = append(p, t)
	}
	return p, nil
}

func transformOf(n ast.Node, depth int) (Transform, error) {
	key, args := n, ast.Node(nil)
	if entries, ok := entriesOf(n); ok {
		if len(entries) != 1 {
			return nil, at(n, "got %d names in one entry of the list, want one transform each", len(entries))
		}
		key, args = entries[0].Key, entries[0].Value
	}
	name, ok := textOf(key)
	if !ok {
		return nil, at(n, "got %s, want the name of a transform", kindOf(n))
	}
	d, ok := transforms[name]
	if !ok {
		return nil, at(key, "unknown transform %q; there are %s", name, strings.Join(TransformNames(), ", "))
	}
	v := reflect.New(reflect.TypeOf(d)).Elem()
	v.Set(reflect.ValueOf(d))
	known := arguments(v)
	seen := map[string]bool{}
	switch entries, ok := entriesOf(args); {
	case ok:
		for _, e := range entries {
			arg, _ := textOf(e.Key)
			i := slices.IndexFunc(known, func(a argument) bool { return a.name == arg })
			if i < 0 {
				return nil, at(e.Key, "%s: unknown argument %q; there are %s", name, e.Key.String(), argumentNames(known))
			}
			if seen[arg] {
				return nil, at(e.Key, "%s: %s is given twice", name, arg)
			}
			seen[arg] = true
			if err := setArgument(known[i].value, e.Value, depth); err != nil {
				if _, isPolicy := known[i].value.Interface().(Policy); isPolicy {
					return nil, err // it has its own line
				}
				return nil, at(e.Key, "%s: %s: %w", name, arg, err)
			}
		}
	case args == nil || args.Type() == ast.NullType:
	default:
		return nil, at(n, "%s: got %s, want arguments as {name: value}", name, kindOf(args))
	}
	for _, a := range known {
		if a.required && !seen[a.name] {
			return nil, at(n, "%s: needs the argument %s", name, a.name)
		}
	}
	t := v.Interface().(Transform)
	if err := checkTransform(t); err != nil {
		return nil, at(n, "%s: %w", name, err)
	}
	return t, nil
}

// checkTransform checks what any transform may have, then what is its own.
func checkTransform(t Transform) error {
	for _, a := range arguments(reflect.ValueOf(t)) {
		switch v := a.value.Interface().(type) {
		case Size:
			if err := v.check(); err != nil {
				return err
			}
		case Filter:
			if err := checkOneOf(a.name, v, Nearest, Bilinear, Bicubic); err != nil {
				return err
			}
		}
	}
	if c, ok := t.(interface{ check() error }); ok {
		return c.check()
	}
	return nil
}

func argumentNames(args []argument) string {
	if len(args) == 0 {
		return "none"
	}
	names := make([]string, len(args))
	for i, a := range args {
		names[i] = a.name
	}
	return strings.Join(names, ", ")
}

// setArgument reads a value into a field, by the field's type.
func setArgument(field reflect.Value, n ast.Node, depth int) error {
	switch v := field.Addr().Interface().(type) {
	case *Policy:
		p, err := policyOf(n, depth+1)
		*v = p
		return err
	case *bool:
		text, ok := plainText(n)
		if !ok || text != "true" && text != "false" {
			return wrong(n, "true or false")
		}
		*v = text == "true"
	case *Filter:
		text, _ := textOf(n)
		f, err := ParseFilter(text)
		if err != nil {
			return wrong(n, "nearest, bilinear or bicubic")
		}
		*v = f
	case *PadMode:
		text, ok := textOf(n)
		if !ok {
			return wrong(n, "constant, edge, reflect or symmetric")
		}
		*v = PadMode(text)
	case *Value:
		if text, _ := textOf(n); text == "random" {
			*v = Value{Random: true}
			return nil
		}
		if setNumbers(reflect.ValueOf(&v.Color).Elem(), n) != nil {
			return wrong(n, "0 to 255, three of them, or random")
		}
		v.Random = false
	default:
		return setNumbers(field, n)
	}
	return nil
}

// setNumbers reads what consists of numbers. A single number stands for several where torchvision says so.
func setNumbers(field reflect.Value, n ast.Node) error {
	nums, single, err := numbersOf(n)
	if err != nil {
		return err
	}
	one := single || len(nums) == 1
	want, whole, low, high := "", false, -1e9, 1e9
	switch v := field.Addr().Interface().(type) {
	case *float64:
		if !single {
			return wrong(n, "one number")
		}
		*v = nums[0]
	case *[]float64:
		if single { // only a shear may be one number: it is along x, either way
			nums = []float64{-nums[0], nums[0]}
		}
		*v = nums
	case *[2]float64:
		if single || len(nums) != 2 {
			return wrong(n, "two numbers, such as [0.2, 1]")
		}
		*v = [2]float64(nums)
	case *Factors:
		switch {
		case single && nums[0] >= 0:
			*v = Around(nums[0])
		case !single && len(nums) == 2:
			*v = Factors(nums)
		default:
			return wrong(n, "a strength of 0 or more, or the smallest and the largest factor")
		}
	case *Turns:
		return setSpread((*[2]float64)(v), n, nums, single, -1, "a share of the circle, 0 to 0.5, or two from -0.5 to 0.5")
	case *Degrees:
		return setSpread((*[2]float64)(v), n, nums, single, -1, "an angle of 0 or more, or two")
	case *Spreads:
		return setSpread((*[2]float64)(v), n, nums, single, 1, "a number of pixels, or two")
	case *int:
		if want = "a whole number"; !single {
			return wrong(n, want)
		}
		whole = true
	case *Size:
		want, whole = "a number of pixels, or [height, width]", true
		if len(nums) > 2 || len(nums) == 2 && nums[1] == 0 {
			return wrong(n, want)
		}
	case *Padding:
		want, whole = "1, 2 or 4 numbers of pixels", true
		if len(nums) == 3 || len(nums) > 4 {
			return wrong(n, want)
		}
	case *RGB:
		want, whole, low, high = "0 to 255, or three of them", true, 0, 255
		if len(nums) != 1 && len(nums) != 3 {
			return wrong(n, want)
		}
	default:
		panic(fmt.Sprintf("augment: no way to read a %T", v))
	}
	if !whole {
		return nil
	}
	for _, x := range nums {
		if x != math.Trunc(x) || x < low || x > high {
			return wrong(n, want)
		}
	}
	switch v := field.Addr().Interface().(type) {
	case *int:
		*v = int(nums[0])
	case *Size:
		*v = Size{H: int(nums[0])}
		if !one {
			v.W = int(nums[1])
		}
	case *Padding:
		for i := range v {
			v[i] = int(nums[i%len(nums)])
		}
	case *RGB:
		for i := range v {
			v[i] = uint8(nums[i%len(nums)])
		}
	}
	return nil
}

// setSpread reads a range, or one number x that stands for sign*x to x.
func setSpread(v *[2]float64, n ast.Node, nums []float64, single bool, sign float64, want string) error {
	switch {
	case single && nums[0] >= 0:
		*v = [2]float64{sign * nums[0], nums[0]}
		if nums[0] == 0 {
			*v = [2]float64{}
		}
	case !single && len(nums) == 2:
		*v = [2]float64(nums)
	default:
		return wrong(n, want)
	}
	return nil
}

func wrong(n ast.Node, want string) error { return fmt.Errorf("got %s, want %s", kindOf(n), want) }

// kindOf shows a value in a message, shortened.
func kindOf(n ast.Node) string {
	if n == nil || n.Type() == ast.NullType {
		return "nothing"
	}
	s := strings.Join(strings.Fields(n.String()), " ")
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "..."
	}
	return s
}

func entriesOf(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	return nil, false
}

// textOf returns a text, quoted or not.
func textOf(n ast.Node) (string, bool) {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value, true
	}
	return "", false
}

// plainText returns a scalar as it is written, unless it is quoted.
func plainText(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		t := v.Token.Type
		return v.Value, t != token.SingleQuoteType && t != token.DoubleQuoteType
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// numbersOf reads one number, or a list.
func numbersOf(n ast.Node) (v []float64, single bool, err error) {
	list, ok := n.(*ast.SequenceNode)
	nodes := []ast.Node{n}
	if ok {
		nodes = list.Values
	}
	for _, e := range nodes {
		text, ok := plainText(e)
		x, err := strconv.ParseFloat(text, 64)
		if !ok || err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
			return nil, false, wrong(e, "a number")
		}
		v = append(v, x)
	}
	if len(v) == 0 {
		return nil, false, errors.New("got an empty list, want numbers")
	}
	return v, !ok, nil
}

// formatArgument is the inverse of setArgument; all goes to the transforms of a policy.
func formatArgument(v any, all bool) string {
	number := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	list := func(x ...float64) string {
		parts := make([]string, len(x))
		for i := range x {
			parts[i] = number(x[i])
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	switch v := v.(type) {
	case Policy:
		parts := make([]string, len(v))
		for i, t := range v {
			if parts[i] = describe(t, all); all && strings.Contains(parts[i], ":") {
				parts[i] = "{" + parts[i] + "}" // the library prints a bare pair in a list with a gap
			}
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case float64:
		return number(v)
	case []float64:
		return list(v...)
	case [2]float64:
		return list(v[:]...)
	case Factors:
		if v == (Factors{}) {
			return "0"
		}
		if x := math.Round((v[1]-1)*1e9) / 1e9; x >= 0 && Around(x) == v {
			return number(x)
		}
		return list(v[:]...)
	case Turns:
		return spread(v, number, list)
	case Degrees:
		return spread(v, number, list)
	case Spreads:
		return list(v[:]...)
	case Padding:
		if v[0] == v[1] && v[1] == v[2] && v[2] == v[3] {
			return fmt.Sprint(v[0])
		}
		return fmt.Sprintf("[%d, %d, %d, %d]", v[0], v[1], v[2], v[3])
	case RGB:
		if v[0] == v[1] && v[1] == v[2] {
			return fmt.Sprint(v[0])
		}
		return fmt.Sprintf("[%d, %d, %d]", v[0], v[1], v[2])
	case Value:
		if v.Random {
			return "random"
		}
		return formatArgument(v.Color, all)
	}
	return fmt.Sprint(v) // Size, Filter, PadMode, int, bool
}

func spread(v [2]float64, number func(float64) string, list func(...float64) string) string {
	if v[0] == -v[1] && v[1] >= 0 {
		return number(v[1])
	}
	return list(v[:]...)
}
