package runtime

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"sync"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime/ort"
)

// Options say how to load a model. The zero value takes everything from the file
// and runs on all processors.
type Options struct {
	// Library is the path of the ONNX Runtime library; "" finds it, see ort.Find.
	Library string
	// Device, Threads, Providers and the other settings of ONNX Runtime. Inputs
	// and Outputs are set by Load.
	Session ort.Options
	// Runs is the number of runs of the model that a batch job has beside each other,
	// each on its share of the threads: with one thread each no run waits for another,
	// which is a few percent faster for many images, and one image alone takes longer.
	// 0 is 1; on other devices than the CPU it stays 1.
	Runs int
	// Output names the output to take, for a model that has several and none of
	// the usual name.
	Output string
	// Threshold replaces the one in a detector's file.
	Threshold *float64
	// Preprocess replaces single entries of the preprocessing in the file's
	// metadata, and gives it for a foreign file, by the keys of
	// augment.Preprocess.Metadata: size, mean, std, resize and so on.
	Preprocess map[string]string
}

// runBatch is the number of images per run: large enough to keep the processors
// busy (16 and 64 measured no more than a fifth faster), small enough that
// padding and memory cost little.
const runBatch = 8

// network is a model of one image input and one float32 output per image.
type network struct {
	name    string
	session *ort.Session
	info    onnx.Info
	pre     augment.Preprocess
	output  string // name of the output taken
	bytes   bool   // input is uint8 [N, H, W, C], else float32 [N, C, H, W]
	row     []int  // shape of the output for one image
	dim     int    // elements of row

	runs int // of a batch job, beside each other

	// How images become runs; see settle.
	batch  int  // images that a run has room for
	filled int  // of these, those that are used
	alone  bool // a run of one image gives the same bits, so a remainder need not be padded

	slots, single sync.Pool // of *slot, for runs of batch images and of one
}

// slot is a set of buffers bound to the session.
type slot struct {
	n       int
	floats  []float32 // one of these two is the input, [n, pre.Len()]
	pixels  []uint8
	in, out []*ort.Tensor
	result  []float32 // [n, dim]
}

// load opens a model of one of the given kinds (or of no stated kind); usual is
// the name of its output if it has several.
func load(path string, opt Options, kinds []string, usual string) (*network, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("runtime: load model: %w", err)
	}
	return newNetwork(path, data, opt, kinds, usual, func(so ort.Options) (*ort.Session, error) {
		return ort.OpenFile(path, so) // which finds external data beside the file
	})
}

// loadBytes is load for the contents of a file.
func loadBytes(data []byte, opt Options, kinds []string, usual string) (*network, error) {
	return newNetwork("model", data, opt, kinds, usual, func(so ort.Options) (*ort.Session, error) {
		return ort.Open(data, so)
	})
}

func newNetwork(name string, data []byte, opt Options, kinds []string, usual string, open func(ort.Options) (*ort.Session, error)) (*network, error) {
	name = filepath.Base(name)
	fail := func(err error) error { return fmt.Errorf("runtime: load %s: %w", name, err) }
	model, err := onnx.Unmarshal(data)
	if err != nil {
		return nil, fail(err)
	}
	n := &network{name: name}
	if n.info, err = onnx.ReadInfo(model); err != nil {
		return nil, fail(err)
	}
	if k := n.info.Kind; k != "" && !slices.Contains(kinds, k) && opt.Output == "" {
		return nil, fail(fmt.Errorf("its kind is %s, want %s", k, kinds[0]))
	}
	in, err := ImageInput(model)
	if err != nil {
		return nil, fail(err)
	}
	out, err := pickOutput(model, opt.Output, usual)
	if err != nil {
		return nil, fail(err)
	}
	n.bytes, n.output = in.Type == onnx.Uint8, out.Name
	if n.pre, err = InputPreprocess(n.info, in, opt.Preprocess); err != nil {
		return nil, fail(err)
	}
	if _, err := ort.Init(ort.FindOptions{Path: opt.Library}); err != nil {
		return nil, err
	}
	so := opt.Session
	n.runs = opt.shareThreads(&so)
	so.Inputs = []ort.Info{{Name: in.Name, Type: ort.Float32, Shape: sizes(in)}}
	if n.bytes {
		so.Inputs[0].Type = ort.Uint8
	}
	so.Outputs = []ort.Info{{Name: out.Name, Type: ort.Float32, Shape: sizes(out)}}
	if n.session, err = open(so); err != nil {
		return nil, fail(err)
	}
	if err := n.settle(so.Inputs[0].Shape[0]); err != nil {
		n.session.Close()
		return nil, fail(err)
	}
	return n, nil
}

// shareThreads gives each of a job's runs its threads and returns the number of runs.
func (o Options) shareThreads(so *ort.Options) int {
	if d := so.Device; o.Runs <= 1 || d != "" && d != "cpu" || len(so.Providers) > 0 {
		return 1
	}
	if so.Threads == 0 {
		so.Threads = goruntime.GOMAXPROCS(0)
	}
	runs := min(o.Runs, so.Threads)
	so.Threads /= runs
	return runs
}

// settle runs the model on one random image to learn the shape of its output and
// which runs give the same bits: the image in every place of a batch, and alone.
// declared is the input's batch size in the file, -1 if open.
func (n *network) settle(declared int) error {
	n.batch = runBatch
	if declared > 0 {
		n.batch = declared
	}
	first := n.newSlot(n.batch)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n.pre.Len() {
		if n.bytes {
			first.pixels[i] = uint8(rng.Uint32())
		} else {
			first.floats[i] = float32(rng.NormFloat64())
		}
	}
	for k := 1; k < n.batch; k++ {
		first.copyImage(k, first, 0, n.pre.Len())
	}
	ctx := context.Background()
	if err := n.session.Run(ctx, first.in, first.out); err != nil {
		return err
	}
	shape := first.out[0].Shape()
	if len(shape) < 2 || shape[0] != n.batch {
		return fmt.Errorf("for %d images its output is %v, want one row per image", n.batch, shape)
	}
	n.row, n.dim = shape[1:], 1
	for _, d := range n.row {
		n.dim *= d
	}
	if n.dim == 0 {
		return fmt.Errorf("its output %v is empty", shape)
	}
	rows, err := ort.Data[float32](first.out[0])
	if err != nil {
		return err
	}
	n.filled = n.batch
	for k := 1; k < n.batch; k++ {
		if !sameBits(rows[:n.dim], rows[k*n.dim:(k+1)*n.dim]) {
			n.filled = 1 // the place matters: use the first one only
		}
	}
	if declared < 0 {
		if n.filled == 1 {
			n.batch = 1
		}
		one := n.newSlot(1)
		one.copyImage(0, first, 0, n.pre.Len())
		if err := n.session.Run(ctx, one.in, one.out); err != nil {
			return err
		}
		n.alone = sameBits(rows[:n.dim], one.result)
	}
	n.slots.New = func() any { return n.newSlot(n.batch) }
	n.single.New = func() any { return n.newSlot(1) }
	return nil
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// newSlot allocates the buffers of a run of k images. While the output's shape is
// not known the output is left to the library.
func (n *network) newSlot(k int) *slot {
	s := &slot{n: k, out: make([]*ort.Tensor, 1)}
	p := n.pre
	var err error
	var x *ort.Tensor
	if n.bytes {
		s.pixels = make([]uint8, k*p.Len())
		x, err = ort.NewTensor([]int{k, p.Height, p.Width, p.Channels}, s.pixels)
	} else {
		s.floats = make([]float32, k*p.Len())
		x, err = ort.NewTensor([]int{k, p.Channels, p.Height, p.Width}, s.floats)
	}
	if err != nil {
		panic(err) // the shape and the slice were made together
	}
	s.in = []*ort.Tensor{x}
	if n.dim > 0 {
		s.result = make([]float32, k*n.dim)
		if s.out[0], err = ort.NewTensor(append([]int{k}, n.row...), s.result); err != nil {
			panic(err)
		}
	}
	return s
}

// copyImage copies image j of src to place k of s; each has size values.
func (s *slot) copyImage(k int, src *slot, j, size int) {
	if s.floats != nil {
		copy(s.floats[k*size:(k+1)*size], src.floats[j*size:])
	} else {
		copy(s.pixels[k*size:(k+1)*size], src.pixels[j*size:])
	}
}

// images are prepared inputs: one of the two, [count, pre.Len()].
type images struct {
	count  int
	floats []float32
	pixels []uint8
}

// run computes the outputs of prepared images into dst: [x.count, dim].
func (n *network) run(ctx context.Context, dst []float32, x images) error {
	for lo := 0; lo < x.count; {
		pool, take := &n.slots, min(n.filled, x.count-lo)
		if take < n.filled && n.alone {
			pool, take = &n.single, 1
		}
		s := pool.Get().(*slot)
		s.fill(x, lo, take, n.pre.Len())
		if err := n.session.Run(ctx, s.in, s.out); err != nil {
			return fmt.Errorf("runtime: run %s: %w", n.name, err)
		}
		copy(dst[lo*n.dim:], s.result[:take*n.dim])
		pool.Put(s)
		lo += take
	}
	return nil
}

// fill copies images lo to lo+k into s and clears the places that are left.
func (s *slot) fill(x images, lo, k, size int) {
	if s.floats != nil {
		clear(s.floats[copy(s.floats, x.floats[lo*size:(lo+k)*size]):])
	} else {
		clear(s.pixels[copy(s.pixels, x.pixels[lo*size:(lo+k)*size]):])
	}
}

// prepare turns decoded images into inputs.
func (n *network) prepare(pictures []*augment.Image) images {
	size := n.pre.Len()
	x := images{count: len(pictures)}
	if n.bytes {
		x.pixels = make([]uint8, len(pictures)*size)
		for i, p := range pictures {
			n.pre.Bytes(x.pixels[i*size:(i+1)*size], p)
		}
	} else {
		x.floats = make([]float32, len(pictures)*size)
		for i, p := range pictures {
			n.pre.Tensor(x.floats[i*size:(i+1)*size], p)
		}
	}
	return x
}
