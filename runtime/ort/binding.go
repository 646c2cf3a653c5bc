package ort

import (
	"context"
	"fmt"

	ortgo "github.com/yalue/onnxruntime_go"
)

// binding is one run's view of its tensors.
type binding struct {
	in, out []ortgo.Value
	scalars []*Tensor // per output: the tensor whose value out[i] is copied from, or nil
	owned   []ortgo.Value
}

// bind makes the library's values of all tensors. Values that it makes for this
// run only are freed by release.
func (b *binding) bind(s *Session, in, out []*Tensor) error {
	b.in = make([]ortgo.Value, len(in))
	b.out = make([]ortgo.Value, len(out))
	b.scalars = make([]*Tensor, len(out))
	for i, t := range in {
		v, owned, err := t.bind()
		if err != nil {
			return fmt.Errorf("ort: run: input %q: %w", s.inputs[i].Name, err)
		}
		b.in[i] = v
		if owned {
			b.owned = append(b.owned, v)
		}
	}
	for i, t := range out {
		info := s.outputs[i]
		if info.Type == Invalid {
			return fmt.Errorf("ort: run: output %q: its element type is not supported (want numbers of 8 bits or more, no float16); "+
				"leave it out by Options.Outputs", info.Name)
		}
		if t == nil && len(info.Shape) == 0 {
			// The bindings cannot return a scalar that the library allocated.
			var err error
			if t, err = newTensorOf(info.Type, nil); err != nil {
				return fmt.Errorf("ort: run: output %q: %w", info.Name, err)
			}
		}
		if t == nil {
			continue
		}
		if t.Type() != info.Type {
			return fmt.Errorf("ort: run: output %q: got a %v tensor, want %v", info.Name, t.Type(), info.Type)
		}
		v, owned, err := t.bind()
		if err != nil {
			return fmt.Errorf("ort: run: output %q: %w", info.Name, err)
		}
		b.out[i] = v
		if owned {
			b.owned = append(b.owned, v)
			b.scalars[i] = t
		}
	}
	return nil
}

// finish hands the results over to out.
func (b *binding) finish(s *Session, out []*Tensor) error {
	for i := range out {
		switch {
		case b.scalars[i] != nil:
			b.scalars[i].data.readScalar(b.out[i])
			out[i] = b.scalars[i]
		case out[i] == nil:
			t, err := fromValue(b.out[i])
			if err != nil {
				return fmt.Errorf("ort: run: output %q: %w", s.outputs[i].Name, err)
			}
			out[i] = t
		}
	}
	return nil
}

func (b *binding) release() {
	for _, v := range b.owned {
		v.Destroy()
	}
}

// runNative runs the session until it is done or ctx ends.
func runNative(ctx context.Context, native *ortgo.DynamicAdvancedSession, in, out []ortgo.Value) error {
	var opts *ortgo.RunOptions
	if ctx.Done() != nil {
		var err error
		if opts, err = ortgo.NewRunOptions(); err != nil {
			return fmt.Errorf("ort: run: %w", err)
		}
		defer opts.Destroy()
		terminated := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(terminated)
			opts.Terminate()
		})
		defer func() {
			if !stop() {
				<-terminated // opts is in use until then
			}
		}()
	}
	if err := native.RunWithOptions(in, out, opts); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("ort: run: %w", ctx.Err())
		}
		return fmt.Errorf("ort: run: %w", err)
	}
	return nil
}
