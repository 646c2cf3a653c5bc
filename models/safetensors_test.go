package models

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gorgonia.org/tensor"
)

// shared returns a path in the folder of reference data, or skips the test.
func shared(t *testing.T, elem ...string) string {
	t.Helper()
	dir := os.Getenv("SSLRT_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared")
	}
	path := filepath.Join(append([]string{dir}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no reference data: %v (set SSLRT_SHARED)", err)
	}
	return path
}

func dense[T float32 | int64](values []T, shape ...int) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(values))
}

func sample() StateDict {
	large := make([]float32, chunk) // more than one piece
	for i := range large {
		large[i] = float32(i) - 0.25
	}
	return StateDict{
		"conv.weight":             dense([]float32{1, -2, float32(math.Inf(1)), math.SmallestNonzeroFloat32}, 2, 1, 2),
		"a.large":                 dense(large, 4, chunk/4),
		"num_batches_tracked":     dense([]int64{math.MinInt64 + 1}),
		"names <with> \"quotes\"": dense([]int64{1, 2, 3}, 3),
		"scalar":                  dense([]float32{0.5}),
	}
}

func sameState(t *testing.T, got, want StateDict) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d tensors, want %d", len(got), len(want))
	}
	for name, w := range want {
		g := got[name]
		if g == nil {
			t.Fatalf("%q is missing", name)
		}
		if g.Dtype() != w.Dtype() || !g.Shape().Eq(w.Shape()) {
			t.Fatalf("%q: got %v%v, want %v%v", name, g.Dtype(), g.Shape(), w.Dtype(), w.Shape())
		}
		if fmt.Sprint(g.Data()) != fmt.Sprint(w.Data()) {
			t.Fatalf("%q: the values differ", name)
		}
	}
}

func TestSafetensorsRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.safetensors")
	meta := map[string]string{"format": "pt", "step": "12"}
	if err := WriteSafetensors(path, sample(), meta); err != nil {
		t.Fatal(err)
	}
	got, gotMeta, err := ReadSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	sameState(t, got, sample())
	if fmt.Sprint(gotMeta) != fmt.Sprint(meta) {
		t.Errorf("got metadata %v, want %v", gotMeta, meta)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteSafetensors(path, sample(), meta); err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("the same values gave two different files")
	}
	infos, _, err := ListSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(infos) != 5 || infos[0].Name != "a.large" || fmt.Sprint(infos[1].Shape) != "[2 1 2]" || infos[3].DType != "I64" {
		t.Errorf("got the list %v", infos)
	}
	for _, info := range infos {
		if info.offset%(info.size/int64(info.elems)) != 0 {
			t.Errorf("%q starts at %d: not aligned", info.Name, info.offset)
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("%d files are left, want 1", len(left))
	}
}

// A failed write leaves what was there before and nothing else.
func TestWriteSafetensorsFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.safetensors")
	if err := WriteSafetensors(path, sample(), nil); err != nil {
		t.Fatal(err)
	}
	bad := StateDict{"x": tensor.New(tensor.WithShape(1), tensor.WithBacking([]float64{1}))}
	err := WriteSafetensors(path, bad, nil)
	if err == nil || !strings.Contains(err.Error(), `tensor "x": got element type float64`) {
		t.Errorf("got %v", err)
	}
	got, meta, err := ReadSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	sameState(t, got, sample())
	if meta != nil {
		t.Errorf("got metadata %v, want none", meta)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%d files are left, want 1", len(left))
	}
	if err := WriteSafetensors(filepath.Join(dir, "no", "folder"), sample(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

// Files that PyTorch users have: the names and shapes are those the reference
// folder states, the trained weights are those of that network.
func TestSafetensorsOfOthers(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(shared(t, "checkpoints"), "*.safetensors.gz"))
	if err != nil || len(files) == 0 {
		t.Skip("no safetensors files among the reference data")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var about struct {
				Counts struct {
					Entries int `json:"state_dict_entries"`
					Floats  int `json:"float_elements"`
				}
				Probes []struct {
					Key, DType  string
					Shape       []int
					First, Last []float64
					Sum         float64
				} `json:"tensor_probes"`
			}
			text, err := os.ReadFile(strings.TrimSuffix(file, ".gz") + ".json")
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &about); err != nil {
				t.Fatal(err)
			}
			state, meta, err := ReadSafetensors(gunzip(t, file))
			if err != nil {
				t.Fatal(err)
			}
			if meta["format"] != "pt" {
				t.Errorf("got metadata %v", meta)
			}
			floats := 0
			for _, v := range state {
				if v.Dtype() == tensor.Float32 {
					floats += v.Shape().TotalSize()
				}
			}
			if len(state) != about.Counts.Entries || floats != about.Counts.Floats {
				t.Errorf("got %d tensors with %d floats, want %+v", len(state), floats, about.Counts)
			}
			for _, p := range about.Probes {
				v := state[p.Key]
				if v == nil || v.Dtype().String() != p.DType || !v.Shape().Eq(tensor.Shape(p.Shape)) {
					t.Errorf("%q: got %v, want %s%v", p.Key, v, p.DType, p.Shape)
					continue
				}
				x := float64s(v)
				sum := 0.0
				for _, f := range x {
					sum += f
				}
				if n := len(x); fmt.Sprint(x[:len(p.First)]) != fmt.Sprint(p.First) || fmt.Sprint(x[n-len(p.Last):]) != fmt.Sprint(p.Last) {
					t.Errorf("%q: got %v, want %v ... %v", p.Key, x, p.First, p.Last)
				}
				if math.Abs(sum-p.Sum) > 1e-9*math.Abs(p.Sum) {
					t.Errorf("%q: got the sum %v, want %v", p.Key, sum, p.Sum)
				}
			}
		})
	}
}

func float64s(v *tensor.Dense) []float64 {
	out := make([]float64, v.Shape().TotalSize())
	for i := range out {
		if v.Dtype() == tensor.Int64 {
			out[i] = float64(v.Int64s()[i])
		} else {
			out[i] = float64(v.Float32s()[i])
		}
	}
	return out
}

// A trained network written by another program: 20 tensors, three convolutions of
// 8, 16 and 24 channels.
func TestSafetensorsMNIST(t *testing.T) {
	state, _, err := ReadSafetensors(shared(t, "models", "torch-safetensors-mnist", "mnist.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if len(state) != 20 || !state["conv1.weight"].Shape().Eq(tensor.Shape{8, 1, 3, 3}) {
		t.Errorf("got %v", state.Names())
	}
	path := filepath.Join(t.TempDir(), "copy.safetensors")
	if err := WriteSafetensors(path, state, nil); err != nil {
		t.Fatal(err)
	}
	again, _, err := ReadSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	sameState(t, again, state)
}

func gunzip(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "model"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, z); err != nil {
		t.Fatal(err)
	}
	return out.Name()
}

// file returns a safetensors file with this header and n bytes of data, counting
// up from 0.
func file(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	for i := range n {
		b = append(b, byte(i))
	}
	return b
}

func parse(data []byte) (StateDict, error) {
	r := bytes.NewReader(data)
	infos, _, err := readHeader(r, int64(len(data)))
	if err != nil {
		return nil, err
	}
	state := StateDict{}
	for _, info := range infos {
		if state[info.Name], err = info.read(r); err != nil {
			return nil, err
		}
	}
	return state, nil
}

func TestSafetensorsTypes(t *testing.T) {
	raw := []byte{0x00, 0x3c, 0x00, 0xc0} // float16: 1 and -2
	raw = append(raw, 0x80, 0x3f, 0x00, 0xc0)
	raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(1.0/3))
	raw = append(raw, 0xfe, 0xff, 0xff, 0xff, 0x80, 1)
	header := `{"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},
		"b":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},
		"d":{"dtype":"F64","shape":[1],"data_offsets":[8,16]},
		"i":{"dtype":"I32","shape":[],"data_offsets":[16,20]},
		"u":{"dtype":"U8","shape":[1],"data_offsets":[20,21]},
		"t":{"dtype":"BOOL","shape":[1,1],"data_offsets":[21,22]}}  `
	got, err := parse(append(file(header, 0), raw...))
	if err != nil {
		t.Fatal(err)
	}
	sameState(t, got, StateDict{
		"h": dense([]float32{1, -2}, 2),
		"b": dense([]float32{1, -2}, 2),
		"d": dense([]float32{1.0 / 3}, 1),
		"i": dense([]int64{-2}),
		"u": dense([]int64{128}, 1),
		"t": dense([]int64{1}, 1, 1),
	})
}

// malformed files and a part of the error each must give.
var malformed = []struct{ name, header, want string }{
	{"not JSON", `[]`, "is not a JSON object"},
	{"cut short", `{"a":`, "EOF"},
	{"text behind", `{} x`, "text behind"},
	{"hole", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, "start at 4, want 0"},
	{"overlap", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, `"b": its 4 bytes start at 4, want 8`},
	{"left over", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, "4 bytes behind"},
	{"beyond the file", `{"a":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}`, "there are 8"},
	{"overflow", `{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}`, "fit memory"},
	{"negative size", `{"a":{"dtype":"F32","shape":[-1,-2],"data_offsets":[0,8]}}`, "must not be negative"},
	{"negative offset", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}`, "want begin and end"},
	{"offsets reversed", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}`, "want begin and end"},
	{"one offset", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}`, "want begin and end"},
	{"shape and size", `{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, "takes 12 bytes, got 8"},
	{"type", `{"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}`, `"F8_E4M3" cannot be read`},
	{"twice", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, "comes twice"},
	{"metadata", `{"__metadata__":{"a":1},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, "metadata"},
}

func TestSafetensorsMalformed(t *testing.T) {
	for _, c := range malformed {
		_, err := parse(file(c.header, 8))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	for _, data := range [][]byte{nil, []byte("short"), bytes.Repeat([]byte{0xff}, 100), file("{}", 0)[:9]} {
		if _, err := parse(data); err == nil || !strings.Contains(err.Error(), "not a safetensors file") {
			t.Errorf("%x: got %v", data, err)
		}
	}
	if _, _, err := ReadSafetensors(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: got %v", err)
	}
}

func FuzzSafetensors(f *testing.F) {
	var b bytes.Buffer
	if err := encodeSafetensors(&b, StateDict{"a": dense([]float32{1, 2}, 2), "b": dense([]int64{3})}, map[string]string{"k": "v"}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	for _, c := range malformed {
		f.Add(file(c.header, 8))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		state, err := parse(data)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := encodeSafetensors(&again, state, nil); err != nil {
			t.Fatal(err)
		}
		got, err := parse(again.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		sameState(t, got, state)
	})
}
