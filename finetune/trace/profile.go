package trace

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
)

// node is one node of the model that ran.
type node struct {
	name, op string
	seconds  float64 // of its best run: a mean would show whatever else the machine did
	flop     float64 // of a convolution or matrix product, as the kernel does it
	bytes    int64   // read and written
}

// profile is what ONNX Runtime says about the runs of a session.
type profile struct {
	nodes []*node // in the order in which they first ran
	inUse int64   // the largest number of bytes in use at a time
	held  int64   // by the arena at the end
}

// size is a number that the profile writes as a string.
type size int64

func (s *size) UnmarshalJSON(data []byte) error {
	n, err := strconv.ParseInt(strings.Trim(string(data), `"`), 10, 64)
	*s = size(n)
	return err
}

// shapes are sizes by the name of the element type, a list with one entry each.
type shapes []map[string][]int

// at returns the sizes of value i.
func (s shapes) at(i int) []int {
	if i < len(s) {
		for _, dims := range s[i] {
			return dims
		}
	}
	return nil
}

// parseProfile reads a list of events, of which those of category Node whose name
// ends in _kernel_time hold a node's time in microseconds.
func parseProfile(data []byte) (*profile, error) {
	var events []struct {
		Cat  string `json:"cat"`
		Name string `json:"name"`
		Dur  int64  `json:"dur"`
		Args struct {
			Op         string `json:"op_name"`
			Inputs     shapes `json:"input_type_shape"`
			Outputs    shapes `json:"output_type_shape"`
			Activation size   `json:"activation_size"`
			Parameter  size   `json:"parameter_size"`
			Output     size   `json:"output_size"`
			Peak       size   `json:"mem_in_use_peak"`
			Held       size   `json:"mem_arena_held"`
		} `json:"args"`
	}
	if err := json.Unmarshal(data, &events); err != nil {
		return nil, err
	}
	p := &profile{}
	known := map[string]*node{}
	for _, e := range events {
		name, ok := strings.CutSuffix(e.Name, "_kernel_time")
		if e.Cat != "Node" || !ok {
			continue
		}
		p.inUse, p.held = max(p.inUse, int64(e.Args.Peak)), max(p.held, int64(e.Args.Held))
		seconds := float64(e.Dur) / 1e6
		if n := known[name]; n != nil {
			n.seconds = min(n.seconds, seconds)
			continue
		}
		n := &node{name: name, op: e.Args.Op, seconds: seconds,
			flop:  kernelFLOP(e.Args.Op, e.Args.Inputs, e.Args.Outputs),
			bytes: int64(e.Args.Activation + e.Args.Parameter + e.Args.Output)}
		known[name] = n
		p.nodes = append(p.nodes, n)
	}
	if len(p.nodes) == 0 {
		return nil, errors.New("the profile holds no times of nodes")
	}
	return p, nil
}

// kernelFLOP returns the floating-point operations of a kernel by the shapes that it
// ran on, two for each multiplication; 0 for kernels that are neither convolution
// nor matrix product.
func kernelFLOP(op string, in, out shapes) float64 {
	x, w, y := in.at(0), in.at(1), out.at(0)
	if len(x) < 2 || len(w) < 2 || len(y) < 2 {
		return 0
	}
	switch op {
	case "Conv", "FusedConv", "NhwcFusedConv":
		return 2 * product(y) * product(w[1:])
	case "ConvTranspose":
		return 2 * product(x) * product(w[1:])
	case "Gemm", "MatMul", "FusedMatMul", "FusedGemm":
		// [M, K], [K, N] and [M, N], transposed or not.
		last := func(d []int) float64 { return product(d[len(d)-2:]) }
		if last(y) == 0 {
			return 0
		}
		return 2 * product(y) * math.Sqrt(last(x)*last(w)/last(y))
	}
	return 0
}

func product(dims []int) float64 {
	p := 1.0
	for _, d := range dims {
		p *= float64(d)
	}
	return p
}
