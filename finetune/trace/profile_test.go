package trace

import (
	"testing"
)

func TestParseProfile(t *testing.T) {
	p, err := parseProfile([]byte(`[
		{"cat":"Session","name":"model_run","dur":9000,"args":{}},
		{"cat":"Node","name":"a_fence_before","dur":1,"args":{"op_name":"Conv"}},
		{"cat":"Node","name":"a_kernel_time","dur":3000,"args":{"op_name":"Conv","activation_size":"100","parameter_size":"20","output_size":"3","mem_in_use_peak":"7","mem_arena_held":"9",
			"input_type_shape":[{"float":[8,3,32,32]},{"float":[64,3,5,5]}],"output_type_shape":[{"float":[8,64,28,28]}]}},
		{"cat":"Node","name":"a_kernel_time","dur":2000,"args":{"op_name":"Conv","mem_in_use_peak":"6"}},
		{"cat":"Node","name":"c_kernel_time","dur":4000,"args":{"op_name":"Relu"}},
		{"cat":"Node","name":"c_kernel_time","dur":4500,"args":{"op_name":"Relu"}}]`))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.nodes) != 2 || p.inUse != 7 || p.held != 9 {
		t.Fatalf("got %+v", p)
	}
	want := []node{{"a", "Conv", 0.002, 2 * 8 * 64 * 28 * 28 * 3 * 25, 123}, {"c", "Relu", 0.004, 0, 0}}
	for i, n := range p.nodes {
		if *n != want[i] {
			t.Errorf("got %+v, want %+v", *n, want[i])
		}
	}
	for _, bad := range []string{"", "[", "[]", `{"cat":"Node"}`, `[{"cat":"Node","name":"a_kernel_time","dur":"long"}]`,
		`[{"cat":"Node","name":"a_kernel_time","dur":1,"args":{"output_size":"many"}}]`} {
		if _, err := parseProfile([]byte(bad)); err == nil {
			t.Errorf("%q is read without an error", bad)
		}
	}
}

func TestKernelFLOP(t *testing.T) {
	s := func(dims ...[]int) shapes {
		var out shapes
		for _, d := range dims {
			out = append(out, map[string][]int{"float": d})
		}
		return out
	}
	for _, c := range []struct {
		op      string
		in, out shapes
		want    float64
	}{
		{"ConvTranspose", s([]int{2, 8, 4, 4}, []int{8, 3, 2, 2}), s([]int{2, 3, 8, 8}), 2 * 2 * 8 * 16 * 3 * 4},
		{"Gemm", s([]int{5, 7}, []int{5, 11}), s([]int{7, 11}), 2 * 5 * 7 * 11},                    // transA
		{"MatMul", s([]int{4, 3, 5, 7}, []int{7, 11}), s([]int{4, 3, 5, 11}), 2 * 12 * 5 * 7 * 11}, // broadcast
		{"MatMul", s([]int{0, 7}, []int{7, 11}), s([]int{0, 11}), 0},
		{"Conv", s([]int{1, 1, 1, 1}), nil, 0},
		{"Add", s([]int{2, 2}, []int{2, 2}), s([]int{2, 2}), 0},
	} {
		if got := kernelFLOP(c.op, c.in, c.out); got < c.want*(1-1e-9) || got > c.want*(1+1e-9) {
			t.Errorf("%s %v: got %g, want %g", c.op, c.in, got, c.want)
		}
	}
}

func FuzzParseProfile(f *testing.F) {
	f.Add([]byte(`[{"cat":"Node","name":"a_kernel_time","dur":3000,"args":{"op_name":"Conv","input_type_shape":[{"float":[1,1]},{"float":[1,1]}],"output_type_shape":[{"float":[1,1]}]}}]`))
	f.Add([]byte(`[{"cat":"Session"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseProfile(data)
		if err == nil && len(p.nodes) == 0 {
			t.Error("no times and no error")
		}
	})
}
