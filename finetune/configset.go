package finetune

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const keyVersion = "version"

// settings are the keys of the YAML form, one for each field of a Config.
var settings = func() []string {
	var keys []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		keys = append(keys, key)
	}
	return keys
}()

// Settings returns the keys that Set takes, in the order of config.yaml.
func Settings() []string {
	return slices.DeleteFunc(slices.Clone(settings), func(key string) bool { return key == keyVersion })
}

// field returns the field of a key, ok false if there is none.
func (c *Config) field(key string) (field reflect.Value, ok bool) {
	i := slices.Index(settings, key)
	if i < 0 {
		return reflect.Value{}, false
	}
	return reflect.ValueOf(c).Elem().Field(i), true
}

func unknownSetting(key string) error {
	return fmt.Errorf("unknown setting %q; there are %s", key, strings.Join(Settings(), ", "))
}

// Set gives one setting, by its key in config.yaml, the value that a text says:
// "0.1", "true", and for lists "512,128" or "[512, 128]". An empty text is an empty
// list. An unknown key or a text of the wrong type is an error and changes nothing.
func (c *Config) Set(key, value string) error {
	field, ok := c.field(key)
	if !ok || key == keyVersion {
		return fmt.Errorf("finetune: set: %w", unknownSetting(key))
	}
	if err := setText(field, value); err != nil {
		return fmt.Errorf("finetune: set %s: %w", key, err)
	}
	return nil
}

func setText(field reflect.Value, value string) error {
	if _, ok := field.Addr().Interface().(nodeSetter); ok || field.Kind() == reflect.Pointer {
		if value == "" {
			field.SetZero()
			return nil
		}
		root, err := parseYAML([]byte(value))
		if err != nil {
			return err
		}
		return assignNode(field, root)
	}
	if field.Kind() != reflect.Slice {
		return assign(field, scalar{text: value})
	}
	if strings.HasPrefix(strings.TrimSpace(value), "[") {
		root, err := parseYAML([]byte(value))
		if err != nil {
			return err
		}
		return assignNode(field, root)
	}
	var parts []scalar
	if value != "" {
		for part := range strings.SplitSeq(value, ",") {
			parts = append(parts, scalar{text: strings.TrimSpace(part)})
		}
	}
	return assignList(field, parts)
}

// Apply reads settings in YAML over those that are there; keys that the text does
// not have stay. Unknown keys, wrong types and texts of a newer version are errors
// with the line, and change nothing.
func (c *Config) Apply(data []byte) error {
	next := *c
	if err := next.apply(data); err != nil {
		return fmt.Errorf("finetune: read configuration: %w", err)
	}
	*c = next
	return nil
}

func (c *Config) apply(data []byte) error {
	root, err := parseYAML(data)
	if err != nil {
		return err
	}
	mapping, ok := root.(*ast.MappingNode)
	if !ok {
		return fmt.Errorf("%s: got %s, want lines such as \"epochs: 100\"", lineOf(root), root.Type())
	}
	// The version comes first: a newer one explains all other surprises.
	entries := mapping.Values
	if i := slices.IndexFunc(entries, isVersion); i >= 0 {
		entries = slices.Concat(entries[i:i+1], entries[:i], entries[i+1:])
	}
	for _, e := range entries {
		key, err := textOf(e.Key)
		if err != nil {
			return fmt.Errorf("%s: key: %w", lineOf(e.Key), err)
		}
		field, ok := c.field(key.text)
		if !ok {
			return fmt.Errorf("%s: %w", lineOf(e.Key), unknownSetting(key.text))
		}
		if _, ok := field.Addr().Interface().(nodeSetter); ok {
			if err := assignNode(field, e.Value); err != nil {
				return fmt.Errorf("%s: %w", key.text, err)
			}
			continue
		}
		if err := assignNode(field, e.Value); err != nil {
			return fmt.Errorf("%s: %s: %w", lineOf(e.Key), key.text, err)
		}
		if key.text == keyVersion {
			if err := c.checkVersion(); err != nil {
				return fmt.Errorf("%s: %w", lineOf(e.Key), err)
			}
		}
	}
	return nil
}

func isVersion(e *ast.MappingValueNode) bool {
	key, err := textOf(e.Key)
	return err == nil && key.text == keyVersion
}

func (c *Config) checkVersion() error {
	switch {
	case c.Version > configVersion:
		return fmt.Errorf("the configuration has version %d, this program reads up to %d: it was written by a newer sslrt, use that one", c.Version, configVersion)
	case c.Version < configVersion:
		return fmt.Errorf("the configuration has version %d, this program reads %d", c.Version, configVersion)
	}
	return nil
}

// maxConfig bounds the parser's time and depth on files that are no configuration.
const maxConfig = 1 << 20

// parseYAML returns the root of the only document in a text.
func parseYAML(data []byte) (ast.Node, error) {
	if len(data) > maxConfig {
		return nil, fmt.Errorf("%d bytes are more than a configuration has (%d)", len(data), maxConfig)
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, err
	}
	var root ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil, doc.Body.Type() == ast.CommentType:
		case root != nil:
			return nil, fmt.Errorf("%s: a second document: want one", lineOf(doc.Body))
		default:
			root = doc.Body
		}
	}
	switch r := root.(type) {
	case nil:
		return nil, errors.New("it is empty")
	case *ast.MappingValueNode:
		return ast.Mapping(r.GetToken(), false, r), nil
	}
	return root, nil
}

func lineOf(n ast.Node) string {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return fmt.Sprintf("line %d", t.Position.Line)
	}
	return "line ?"
}

// scalar is a value as it is written.
type scalar struct {
	text   string
	quoted bool // a text, whatever it looks like
}

func textOf(n ast.Node) (scalar, error) {
	switch v := n.(type) {
	case nil, *ast.NullNode:
		return scalar{}, errors.New("there is no value")
	case *ast.LiteralNode: // a text over several lines
		return scalar{v.Value.Value, true}, nil
	case *ast.StringNode:
		t := v.Token.Type
		return scalar{v.Value, t == token.SingleQuoteType || t == token.DoubleQuoteType}, nil
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return scalar{text: n.GetToken().Value}, nil
	}
	return scalar{}, fmt.Errorf("got %s, want a single value", n.Type())
}

// nodeSetter is a setting that reads YAML by itself; its errors name the line.
type nodeSetter interface{ SetNode(ast.Node) error }

func assignNode(field reflect.Value, n ast.Node) error {
	if s, ok := field.Addr().Interface().(nodeSetter); ok {
		return s.SetNode(n)
	}
	if field.Kind() == reflect.Pointer { // a description with keys of its own
		to := reflect.New(field.Type().Elem())
		if err := yaml.NodeToValue(n, to.Interface(), yaml.Strict()); err != nil {
			return err
		}
		field.Set(to)
		return nil
	}
	if field.Kind() != reflect.Slice {
		s, err := textOf(n)
		if err != nil {
			return err
		}
		return assign(field, s)
	}
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return errors.New("want a list, such as [a, b]")
	}
	parts := make([]scalar, len(list.Values))
	for i, v := range list.Values {
		var err error
		if parts[i], err = textOf(v); err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	return assignList(field, parts)
}

// assignList sets a list; one without entries is nil, which asks for the default.
func assignList(field reflect.Value, parts []scalar) error {
	list := reflect.Zero(field.Type())
	for i, p := range parts {
		entry := reflect.New(field.Type().Elem()).Elem()
		if err := assign(entry, p); err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
		list = reflect.Append(list, entry)
	}
	field.Set(list)
	return nil
}

// assign sets a field to a scalar of its type.
func assign(field reflect.Value, s scalar) error {
	wrong := func(want string) error { return fmt.Errorf("got %q, want %s", s.text, want) }
	kind := field.Kind()
	if s.quoted && kind != reflect.String {
		return fmt.Errorf("got the text %q in quotes, want none", s.text)
	}
	switch kind {
	case reflect.String:
		field.SetString(s.text)
	case reflect.Bool:
		if s.text != "true" && s.text != "false" {
			return wrong("true or false")
		}
		field.SetBool(s.text == "true")
	case reflect.Int:
		v, err := strconv.ParseInt(s.text, 10, strconv.IntSize)
		if err != nil {
			return wrong("a whole number")
		}
		field.SetInt(v)
	case reflect.Uint64:
		v, err := strconv.ParseUint(s.text, 10, 64)
		if err != nil {
			return wrong("a whole number from 0 up")
		}
		field.SetUint(v)
	case reflect.Float32, reflect.Float64:
		v, err := strconv.ParseFloat(s.text, field.Type().Bits())
		if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
			return wrong("a number")
		}
		field.SetFloat(v)
	default:
		panic("finetune: no way to set a " + kind.String())
	}
	return nil
}

// Difference is a setting that two configurations do not share.
type Difference struct{ Key, Given, Stored string }

// Differences lists the settings in which c is not like stored, in the order of the
// file.
func (c Config) Differences(stored Config) []Difference {
	var out []Difference
	given, kept := reflect.ValueOf(c), reflect.ValueOf(stored)
	for i, key := range settings {
		a, b := given.Field(i), kept.Field(i)
		if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 { // nil is empty
			continue
		}
		if key == "encoder" && c.sameEncoder(stored) {
			continue
		}
		if !reflect.DeepEqual(a.Interface(), b.Interface()) {
			out = append(out, Difference{key, settingText(a), settingText(b)})
		}
	}
	return out
}

func settingText(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = fmt.Sprint(v.Index(i).Interface())
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	if v.Kind() == reflect.String && (v.String() == "" || slices.Contains([]string{"true", "false"}, v.String())) {
		return strconv.Quote(v.String())
	}
	return fmt.Sprint(v.Interface())
}
