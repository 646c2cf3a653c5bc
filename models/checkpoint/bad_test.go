package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// torchZip packs a pickle and its storages as PyTorch does.
func torchZip(t *testing.T, pickle string, records ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, r := range append([][2]string{{"data.pkl", pickle}}, records...) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: "archive/" + r[0], Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(r[1]))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// text is a string in a pickle, number an integer.
func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}
func number(n int32) string {
	return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n)))
}

// tensorOf is the pickle of a dictionary with one tensor of two axes.
func tensorOf(count, offset int32, shape, stride [2]int32) string {
	pair := func(p [2]int32) string { return number(p[0]) + number(p[1]) + "\x86" }
	id := "(" + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(count) + "tQ"
	return "\x80\x02}" + text("w") + "ctorch._utils\n_rebuild_tensor_v2\n(" + id + number(offset) + pair(shape) + pair(stride) + "\x89}tRs."
}

func floats(v ...float32) string {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return string(b)
}

func TestTensorView(t *testing.T) {
	f, err := readBytes(torchZip(t, tensorOf(6, 1, [2]int32{2, 2}, [2]int32{1, 2}), [2]string{"data/0", floats(0, 1, 2, 3, 4, 5)}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Tensors[0].Floats()
	if want := []float32{1, 3, 2, 4}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	big, err := readBytes(torchZip(t, tensorOf(2, 0, [2]int32{1, 2}, [2]int32{2, 1}),
		[2]string{"byteorder", "big"}, [2]string{"data/0", "\x3f\x80\x00\x00\x40\x00\x00\x00"}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := big.Tensors[0].Floats(); err != nil || !slices.Equal(got, []float32{1, 2}) {
		t.Errorf("big endian: got %v, %v", got, err)
	}
}

// TestNothingIsExecuted opens pickles that run commands where they are trusted.
func TestNothingIsExecuted(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "executed")
	command := "touch " + marker
	for name, pickle := range map[string]string{
		"reduce":       "\x80\x02}" + text("a") + "cposix\nsystem\n" + text(command) + "\x85Rs.",
		"inst":         "(" + "S'" + command + "'\nios\nsystem\n.",
		"obj":          "(cos\nsystem\n" + text(command) + "o.",
		"new object":   "\x80\x02csubprocess\nPopen\n" + text(command) + "\x85\x81.",
		"stack":        "\x80\x04" + text("builtins") + text("eval") + "\x93" + text("__import__('os').system('"+command+"')") + "\x85R.",
		"build":        "\x80\x02cos\nsystem\n)R}" + text("__setstate__") + "cos\nsystem\nsb.",
		"called twice": "\x80\x02c__builtin__\ngetattr\ncos\nsystem\n" + text("x") + "\x86R" + text(command) + "\x85R.",
	} {
		f, err := readBytes(torchZip(t, pickle))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(f.Foreign) == 0 {
			t.Errorf("%s: no name is listed", name)
		}
		if _, err := os.Stat(marker); err == nil {
			t.Fatalf("%s: the command was executed", name)
		}
	}
}

func TestMalformed(t *testing.T) {
	one := [2]string{"data/0", floats(1)}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":                 {nil, "empty"},
		"text":                  {[]byte("not a checkpoint at all"), "neither a file of PyTorch"},
		"tar":                   {append(make([]byte, 257), "ustar  "...), "tar archive"},
		"gzip":                  {[]byte("\x1f\x8b\x08 and so on"), "gunzip"},
		"hdf5":                  {[]byte("\x89HDF\r\n and so on"), "HDF5"},
		"lfs":                   {[]byte("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"},
		"tensorflow":            {append(make([]byte, 600), 0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb), "TensorFlow checkpoint"},
		"zip of something":      {torchZip(t, "x")[:60], "damaged zip"},
		"torchscript":           {torchZip(t, "}.", [2]string{"constants.pkl", "."}), "TorchScript"},
		"two records of a name": {torchZip(t, "}.", one, one), `two records called "archive/data/0"`},
		"byte order":            {torchZip(t, "}.", [2]string{"byteorder", "middle"}), "byte order"},
		"deep":                  {torchZip(t, strings.Repeat("(", 1001)+"t."), "nested more than 1000 deep"},
		"deep lists":            {torchZip(t, strings.Repeat("]", 1100)+strings.Repeat("a", 1099)+"."), "nested more than 1000 deep"},
		"memo":                  {torchZip(t, "]"+strings.Repeat("q\x00", maxMemo+1)+"."), "remembers more than"},
		"objects":               {torchZip(t, "("+strings.Repeat("]", maxObjects+1)+"t."), "builds more than"},
		"long text":             {torchZip(t, "X\xff\xff\xff\x7f."), "a text of"},
		"long bytes":            {torchZip(t, "\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f."), "a text of"},
		"frame":                 {torchZip(t, "\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f."), "a frame of"},
		"frame behind the end":  {torchZip(t, "\x80\x04\x95\x04\x00\x00\x00\x00\x00\x00\x00N.  "), "a frame ends"},
		"opcode":                {torchZip(t, "\xfe."), "unknown operation"},
		"no end":                {torchZip(t, "}"), "cut short"},
		"empty stack":           {torchZip(t, "."), "pickle"},
		"odd pairs":             {torchZip(t, "}(Nu."), "pickle"},
		"long of no bytes":      {torchZip(t, "\x80\x02\x8a\x00."), "pickle"},
		"no storage":            {torchZip(t, tensorOf(1, 0, [2]int32{1, 1}, [2]int32{1, 1})), "not in the archive"},
		"storage too small":     {torchZip(t, tensorOf(2, 0, [2]int32{1, 2}, [2]int32{2, 1}), one), "more than the 4 bytes"},
		"storage negative":      {torchZip(t, tensorOf(-1, 0, [2]int32{1, 1}, [2]int32{1, 1}), one), "not described"},
		"beyond the storage":    {torchZip(t, tensorOf(1, 0, [2]int32{1, 2}, [2]int32{2, 1}), one), "needs 2 elements"},
		"offset":                {torchZip(t, tensorOf(1, 1, [2]int32{1, 1}, [2]int32{1, 1}), one), "needs 2 elements"},
		"negative stride":       {torchZip(t, tensorOf(1, 0, [2]int32{1, 1}, [2]int32{1, -1}), one), "must not be negative"},
		"negative size":         {torchZip(t, tensorOf(1, 0, [2]int32{-1, 1}, [2]int32{1, 1}), one), "must not be negative"},
		"much of nothing":       {torchZip(t, tensorOf(1, 0, [2]int32{math.MaxInt32, math.MaxInt32}, [2]int32{0, 0}), one), "more memory than its file"},
		"legacy, other pickle":  {[]byte("\x80\x02}."), "not one of torch.save"},
		"legacy, cut":           {[]byte("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."), "cut short"},
	} {
		_, err := readBytes(c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// TestTruncated cuts real files short, everywhere.
func TestTruncated(t *testing.T) {
	for _, name := range []string{"sthalles2020_model.pth", "mae_checkpoint-9.pth"} { // legacy and zip
		data, err := os.ReadFile(filepath.Join("testdata", "projects", name))
		if err != nil {
			t.Fatal(err)
		}
		for cut := 0; cut < len(data); cut += 997 {
			if _, err := readBytes(data[:cut]); err == nil {
				t.Errorf("%s: %d of %d bytes were taken for the whole", name, cut, len(data))
			}
		}
	}
}

func TestDamagedValues(t *testing.T) {
	data := torchZip(t, tensorOf(2, 0, [2]int32{1, 2}, [2]int32{2, 1}), [2]string{"data/0", floats(1, 2)})
	at := bytes.Index(data, []byte(floats(1, 2)))
	data[at] ^= 1
	f, err := readBytes(data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Tensors[0].Floats(); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v, want an error about damage", err)
	}
}

// change opens a checkpoint of the test data with one tensor changed.
func change(t *testing.T, name string, edit func(f *File)) (*Plan, error) {
	t.Helper()
	f, err := Open(filepath.Join("testdata", "projects", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	edit(f)
	return NewPlan(f, Options{})
}

func drop(name string) func(*File) {
	return func(f *File) {
		f.Tensors = slices.DeleteFunc(f.Tensors, func(t *Tensor) bool { return t.Name == name })
	}
}

func TestCoverageErrors(t *testing.T) {
	const file, key = "simsiam_checkpoint_0099.pth.tar", "state_dict.module.encoder."
	for name, c := range map[string]struct {
		edit func(*File)
		want string
	}{
		"missing":  {drop(key + "layer2.0.bn2.running_var"), "1 tensors of the encoder are missing: encoder.layer2.0.bn2.running_var"},
		"no stem":  {drop(key + "conv1.weight"), "conv1.weight, is missing"},
		"shape":    {func(f *File) { f.find(key + "layer2.0.bn2.bias").Shape = []int{1} }, "encoder.layer2.0.bn2.bias is [1], want [4]"},
		"surplus":  {func(f *File) { f.find(key+"bn1.bias").clone(f, key+"layer1.0.se.fc.bias") }, "has 1 tensors that ResNet"},
		"channels": {func(f *File) { f.find(key + "conv1.weight").Shape[1] = 4 }, "takes images of 4 channels, want 1 or 3"},
		"integers": {func(f *File) { f.find(key + "bn1.bias").DType = "int32" }, "is int32, want floating point"},
	} {
		_, err := change(t, file, c.edit)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	// A head that does not fit is left out, and said so.
	plan, err := change(t, file, drop(key+"fc.4.bias"))
	if err != nil || plan.Network.Projector != nil {
		t.Errorf("a head with a missing tensor: got %v, %v", plan.Network.Projector, err)
	}
	if !slices.ContainsFunc(plan.Coverage, func(r Row) bool {
		return r.Status == Ignored && strings.Contains(r.Why, "a part of the projector that does not fit: projector.4.bias")
	}) {
		t.Errorf("the coverage does not say why the projector is left out")
	}
}

func (f *File) find(name string) *Tensor {
	return f.Tensors[slices.IndexFunc(f.Tensors, func(t *Tensor) bool { return t.Name == name })]
}

func (t *Tensor) clone(f *File, name string) {
	c := *t
	c.Name = name
	f.Tensors = append(f.Tensors, &c)
}

func TestNotFinite(t *testing.T) {
	plan, err := change(t, "vicreg_model.pth", func(f *File) {
		bias := f.find("model.module.backbone.bn1.bias")
		bias.storage.read = func() ([]byte, error) { return []byte(floats(1, float32(math.NaN()))), nil }
		bias.offset = 0
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Load(); err == nil || !strings.Contains(err.Error(), `"backbone.bn1.bias": value 1 is NaN`) {
		t.Errorf("got %v, want an error about NaN", err)
	}
	if got, err := plan.NotFinite(); err != nil || !slices.Equal(got, []string{"backbone.bn1.bias"}) {
		t.Errorf("NotFinite: got %v, %v", got, err)
	}
}

// A value that holds itself, or is held by many, does not take forever.
func TestSharing(t *testing.T) {
	if _, err := readBytes(torchZip(t, "]q\x00h\x00a.")); err != nil {
		t.Errorf("a list in itself: %v", err)
	}
	laughs := "]q\x00"
	for i := range 40 { // each list holds the one before twice: 2^40 paths
		laughs += "](h" + string(rune(i)) + "h" + string(rune(i)) + "eq" + string(rune(i+1))
	}
	if _, err := readBytes(torchZip(t, laughs+".")); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("2^40 paths: got %v", err)
	}
}
