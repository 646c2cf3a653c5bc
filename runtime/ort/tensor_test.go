package ort

import (
	"strings"
	"testing"
)

func TestNewTensorRejects(t *testing.T) {
	for _, c := range []struct {
		shape []int
		n     int
		want  string
	}{
		{[]int{2, 3}, 5, "got 5 elements, want 6"},
		{nil, 0, "got 0 elements, want 1"},
		{[]int{-1, 2}, 2, "negative"},
		{[]int{1 << 40, 1 << 40}, 0, "too large"},
	} {
		if _, err := NewTensor(c.shape, make([]float32, c.n)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want an error with %q", c.shape, err, c.want)
		}
	}
	if _, err := NewTensor([]int{0, 3}, []bool{}); err != nil {
		t.Errorf("an empty tensor: %v", err)
	}
}

func TestTypes(t *testing.T) {
	for typ := Float32; typ <= Bool; typ++ {
		x, err := newTensorOf(typ, []int{2, 1})
		if err != nil || x.Type() != typ {
			t.Errorf("%v: got %v, %v", typ, x, err)
		}
	}
	if _, err := newTensorOf(Invalid, nil); err == nil {
		t.Error("invalid type: got no error")
	}
	if got := Type(99).String(); got != "Type(99)" {
		t.Errorf("got %q", got)
	}
}
