package finetune

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// OpTime is the time that a step spends in one kind of operator.
type OpTime struct {
	Op      string  `json:"op"`
	Seconds float64 `json:"seconds"`
	Nodes   int     `json:"nodes"`
}

// readTrace reads the profile that ONNX Runtime left in dir and sums up, by kind of
// operator, each node's best run: a mean would show whatever else the machine did.
func readTrace(dir string) ([]OpTime, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err == nil && len(files) != 1 {
		err = fmt.Errorf("got %d profiles of ONNX Runtime, want 1", len(files))
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(files[0])
	}
	if err != nil {
		return nil, fmt.Errorf("finetune: trace: %w", err)
	}
	ops, err := parseTrace(data)
	if err != nil {
		return nil, fmt.Errorf("finetune: trace: %w", err)
	}
	return ops, nil
}

// parseTrace reads a profile: a list of events, of which those of category Node
// whose name ends in _kernel_time hold a node's time in microseconds.
func parseTrace(data []byte) ([]OpTime, error) {
	var events []struct {
		Cat  string `json:"cat"`
		Name string `json:"name"`
		Dur  int64  `json:"dur"`
		Args struct {
			Op string `json:"op_name"`
		} `json:"args"`
	}
	if err := json.Unmarshal(data, &events); err != nil {
		return nil, err
	}
	type node struct{ op, name string }
	best := map[node]int64{}
	for _, e := range events {
		name, ok := strings.CutSuffix(e.Name, "_kernel_time")
		if e.Cat != "Node" || !ok {
			continue
		}
		n := node{e.Args.Op, name}
		if t, seen := best[n]; !seen || e.Dur < t {
			best[n] = e.Dur
		}
	}
	if len(best) == 0 {
		return nil, errors.New("the profile holds no times of nodes")
	}
	sums := map[string]OpTime{}
	for n, t := range best {
		s := sums[n.op]
		sums[n.op] = OpTime{n.op, s.Seconds + float64(t)/1e6, s.Nodes + 1}
	}
	var ops []OpTime
	for _, s := range sums {
		ops = append(ops, s)
	}
	slices.SortFunc(ops, func(a, b OpTime) int {
		return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), strings.Compare(a.Op, b.Op))
	})
	return ops, nil
}
