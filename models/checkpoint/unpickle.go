package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nlpodyssey/gopickle/pickle"
	"github.com/nlpodyssey/gopickle/types"
)

// unpickler builds the objects of a pickle that scanPickle has let through. Names
// of Python classes and functions become inert stubs, but for those few that build
// tensors: nothing is executed and nothing is imported.
type unpickler struct {
	size    int64 // of the file
	storage func(id *types.Tuple) (*storage, error)
	globals map[string]bool // names that became stubs
}

// load returns the object of a pickle as a tree of *Dict, []any, *Tensor, string,
// int, float64, bool, nil and, for all else, its class as a string in angle
// brackets.
func (u *unpickler) load(data []byte) (tree any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("pickle: it does not fit together: %v", shorten(fmt.Sprint(r)))
		}
	}()
	p := pickle.NewUnpickler(bytes.NewReader(data))
	p.FindClass = u.find
	p.PersistentLoad = u.persistent
	p.GetExtension = func(code int) (any, error) { return u.stub("copyreg", fmt.Sprintf("extension_%d", code)), nil }
	p.NextBuffer = func() (any, error) { return nil, errors.New("its values are in another file") }
	obj, err := p.Load()
	if err != nil {
		return nil, fmt.Errorf("pickle: %s", shorten(err.Error()))
	}
	c := converter{done: map[any]any{}}
	return c.convert(obj, 0)
}

// shorten keeps a message to one short line: the library prints whole objects.
func shorten(text string) string {
	const most = 200
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\n", " "), "?")
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

// persistent resolves what PyTorch keeps outside the pickle: the storages, and in
// old files the source text of modules, which is passed over.
func (u *unpickler) persistent(id any) (any, error) {
	t, ok := id.(*types.Tuple)
	if !ok || t.Len() < 2 {
		return nil, errors.New("an object outside the pickle is not a storage")
	}
	switch kind := t.Get(0); kind {
	case "storage":
		if t.Len() < 5 {
			return nil, errors.New("a storage lacks its type, key, place or size")
		}
		return u.storage(t)
	case "module":
		return t.Get(1), nil
	default:
		return nil, fmt.Errorf("an object outside the pickle is %v, want a storage", shorten(fmt.Sprint(kind)))
	}
}

// storageID reads the reference of a storage: its type, its key and its elements.
func storageID(id *types.Tuple) (dtype DType, key string, count int, err error) {
	c, ok1 := id.Get(1).(*class)
	key, ok2 := id.Get(2).(string)
	count, ok3 := id.Get(4).(int)
	if n, ok := id.Get(2).(int); ok { // very old files count storages
		key, ok2 = fmt.Sprint(n), true
	}
	if !ok1 || !ok2 || !ok3 || count < 0 {
		return "", "", 0, errors.New("a storage is not described by type, key and size")
	}
	if dtype, ok1 = storageTypes[c.name]; !ok1 {
		return "", "", 0, fmt.Errorf("storage %q: its type %s is not known", key, shorten(c.String()))
	}
	return dtype, key, count, nil
}

// storageTypes are PyTorch's classes of storages.
var storageTypes = map[string]DType{
	"DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
	"LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
	"ByteStorage": "uint8", "BoolStorage": "bool", "UntypedStorage": "uint8", "_UntypedStorage": "uint8",
	"ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
	"QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32",
}

// find stands in for the import of a Python name.
func (u *unpickler) find(module, name string) (any, error) {
	full := module + "." + name
	switch {
	case full == "torch._utils._rebuild_tensor", full == "torch._utils._rebuild_tensor_v2", full == "torch._utils._rebuild_tensor_v3":
		return &function{u.tensor}, nil
	case full == "torch._utils._rebuild_parameter", full == "torch._utils._rebuild_parameter_with_state":
		return &function{first}, nil
	case full == "torch._tensor._rebuild_from_type_v2":
		return &function{fromType}, nil
	case full == "torch.Size":
		return &function{first}, nil
	}
	_, isStorage := storageTypes[name]
	_, isDType := dtypes[DType(name)]
	if (isStorage || isDType) && (module == "torch" || strings.HasPrefix(module, "torch.")) {
		return &class{module, name}, nil
	}
	return u.stub(module, name), nil
}

func (u *unpickler) stub(module, name string) *class {
	c := &class{shorten(module), shorten(name)}
	u.globals[c.String()] = true
	return c
}

// tensor is PyTorch's _rebuild_tensor: storage, offset, sizes, strides. Version 3
// has the element type as a seventh argument and a storage of bytes.
func (u *unpickler) tensor(args []any) (any, error) {
	if len(args) < 4 {
		return nil, errors.New("a tensor lacks its storage, offset, sizes or strides")
	}
	s, ok1 := args[0].(*storage)
	offset, ok2 := args[1].(int)
	shape, ok3 := integers(args[2])
	stride, ok4 := integers(args[3])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return nil, errors.New("a tensor is not described by storage, offset, sizes and strides")
	}
	if len(args) > 6 {
		if c, ok := args[6].(*class); ok && dtypes[DType(c.name)].size > 0 {
			from, to := dtypes[s.dtype].size, dtypes[DType(c.name)].size
			retyped := *s
			retyped.dtype, retyped.count = DType(c.name), s.count*from/to
			s = &retyped
		}
	}
	t, err := newTensor(s, offset, shape, stride, u.size)
	if err != nil {
		return nil, err
	}
	return &built{t}, nil
}

func first(args []any) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("a parameter without a tensor")
	}
	return args[0], nil
}

// fromType rebuilds a tensor of a subclass: function, type, arguments, state. Only
// the functions above are called.
func fromType(args []any) (any, error) {
	if len(args) >= 3 {
		f, ok1 := args[0].(*function)
		t, ok2 := args[2].(*types.Tuple)
		if ok1 && ok2 {
			return f.call(*t)
		}
	}
	return &object{class: &class{"torch", "Tensor"}}, nil
}

func integers(v any) ([]int, bool) {
	t, ok := v.(*types.Tuple)
	if !ok {
		return nil, false
	}
	out := make([]int, t.Len())
	for i := range out {
		if out[i], ok = t.Get(i).(int); !ok {
			return nil, false
		}
	}
	return out, true
}

// function is one of the functions of PyTorch that build tensors.
type function struct{ call func(args []any) (any, error) }

func (f *function) Call(args ...any) (any, error) { return f.call(args) }

// built is a tensor on the unpickler's stack. State that is set on it is dropped.
type built struct{ *Tensor }

func (*built) PySetState(any) error { return nil }

// class stands for a Python class or function. Calling it gives an object that
// keeps what is put into it.
type class struct{ module, name string }

func (c *class) String() string { return c.module + "." + c.name }

func (c *class) Call(args ...any) (any, error)  { return &object{class: c, args: args}, nil }
func (c *class) PyNew(args ...any) (any, error) { return c.Call(args...) }

// object stands for what calling a class gave: entries of a dictionary, items of a
// list, attributes.
type object struct {
	class *class
	args  []any
	dict  types.Dict
	items []any
}

func (o *object) Set(key, value any)                    { o.dict.Set(key, value) }
func (o *object) Append(v any)                          { o.items = append(o.items, v) }
func (o *object) Add(v any)                             { o.Append(v) }
func (o *object) Call(...any) (any, error)              { return &object{class: o.class}, nil }
func (o *object) PyNew(...any) (any, error)             { return &object{class: o.class}, nil }
func (o *object) PyDictSet(key, value any) error        { o.Set(key, value); return nil }
func (o *object) PySetAttr(key string, value any) error { o.Set(key, value); return nil }

func (o *object) PySetState(state any) error {
	switch s := state.(type) {
	case *types.Dict:
		o.dict = append(o.dict, *s...)
	case *types.Tuple: // of a class with slots: two dictionaries
		for _, part := range *s {
			if d, ok := part.(*types.Dict); ok {
				o.dict = append(o.dict, *d...)
			}
		}
	}
	return nil
}

// Dict is a dictionary, or an object with its attributes, in the order of the file.
type Dict struct {
	Class  string // of an object: "argparse.Namespace"
	Keys   []string
	Values []any
}

// Get returns the value of a key, nil if there is none.
func (d *Dict) Get(key string) any {
	if d == nil {
		return nil
	}
	if i := slices.Index(d.Keys, key); i >= 0 {
		return d.Values[i]
	}
	return nil
}

// converter turns the unpickler's objects into a tree. An object that several
// others hold is converted once; one that holds itself is cut off there.
type converter struct {
	done map[any]any
}

func (c *converter) convert(v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	switch v := v.(type) {
	case *types.Dict, *types.OrderedDict, *types.List, *types.Tuple, *object:
		if out, ok := c.done[v]; ok {
			return out, nil
		}
		c.done[v] = nil // within itself
		out, err := c.container(v, depth)
		c.done[v] = out
		return out, err
	case *built:
		return v.Tensor, nil
	case *class:
		return "<" + v.String() + ">", nil
	case nil, string, int, float64, bool:
		return v, nil
	case []byte:
		return fmt.Sprintf("<%d bytes>", len(v)), nil
	}
	return fmt.Sprintf("<%T>", v), nil
}

func (c *converter) container(v any, depth int) (any, error) {
	switch v := v.(type) {
	case *types.Dict:
		return c.dict("", *v, depth)
	case *types.OrderedDict:
		entries := make(types.Dict, 0, v.Len())
		for e := v.List.Front(); e != nil; e = e.Next() {
			entry := e.Value.(*types.OrderedDictEntry)
			entries.Set(entry.Key, entry.Value)
		}
		return c.dict("", entries, depth)
	case *types.List:
		return c.list(*v, depth)
	case *types.Tuple:
		return c.list(*v, depth)
	case *object:
		if len(v.dict) == 0 && len(v.items) > 0 {
			return c.list(v.items, depth)
		}
		// A dictionary of a special kind may be given its entries when it is made.
		entries := v.dict
		for _, a := range v.args {
			switch a := a.(type) {
			case *types.Dict:
				entries = append(entries, *a...)
			case *types.OrderedDict:
				for e := a.List.Front(); e != nil; e = e.Next() {
					entry := e.Value.(*types.OrderedDictEntry)
					entries = append(entries, types.DictEntry{Key: entry.Key, Value: entry.Value})
				}
			}
		}
		return c.dict(v.class.String(), entries, depth)
	}
	panic("unreachable")
}

func (c *converter) list(items []any, depth int) (any, error) {
	out := make([]any, len(items))
	var err error
	for i, item := range items {
		if out[i], err = c.convert(item, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *converter) dict(class string, entries types.Dict, depth int) (any, error) {
	d := &Dict{Class: class, Keys: make([]string, 0, len(entries)), Values: make([]any, 0, len(entries))}
	for _, e := range entries {
		value, err := c.convert(e.Value, depth+1)
		if err != nil {
			return nil, err
		}
		d.Keys = append(d.Keys, key(e.Key))
		d.Values = append(d.Values, value)
	}
	return d, nil
}

// key is the name of a dictionary's key.
func key(k any) string {
	switch k := k.(type) {
	case string:
		return k
	case int, bool, float64:
		return fmt.Sprint(k)
	case *class:
		return "<" + k.String() + ">"
	}
	return fmt.Sprintf("<%T>", k)
}
