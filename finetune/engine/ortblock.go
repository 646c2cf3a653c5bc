package engine

import (
	"context"
	"sync"

	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime/ort"
)

// BlockedChannels returns how many channels a block of ONNX Runtime's layout NCHWc
// has on this processor, 0 where it has no such layout or there is no library.
func BlockedChannels() int { return blockedChannels() }

// blockedChannels asks the library, since
// a wrong answer would make wrong numbers: it reorders a tensor whose values are
// their positions, [1, 16, 1, 2], and looks how far apart the two values of the
// first channel come to lie.
var blockedChannels = sync.OnceValue(func() int {
	const channels = 16
	b := onnx.NewBuilder(17)
	b.Input(onnx.TensorInfo("x", onnx.Float, onnx.Fixed(1), onnx.Fixed(channels), onnx.Fixed(1), onnx.Fixed(2)))
	b.Output(onnx.TensorInfo("y", onnx.Float, onnx.Fixed(1), onnx.Fixed(channels), onnx.Fixed(1), onnx.Fixed(2)))
	b.NodeTo("com.microsoft.nchwc::ReorderInput", []string{"x"}, []string{"y"}, onnx.IntAttr("channels_last", 0))
	m, err := b.Model("blocked", onnx.Info{})
	if err != nil {
		return 0
	}
	data, err := m.Marshal()
	if err != nil {
		return 0
	}
	s, err := ort.Open(data, ort.Options{Threads: 1})
	if err != nil {
		return 0
	}
	defer s.Close()
	x := make([]float32, 2*channels)
	for i := range x {
		x[i] = float32(i)
	}
	y := make([]float32, 2*channels)
	shape := []int{1, channels, 1, 2}
	if err := s.Run(context.Background(), []*ort.Tensor{bound(shape, x)}, []*ort.Tensor{bound(shape, y)}); err != nil {
		return 0
	}
	for i, v := range y {
		if v == 1 {
			return i
		}
	}
	return 0
})
