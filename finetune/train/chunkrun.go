package train

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// ChunkedStep is a compiled step in chunks. A run of it takes the whole batch, and
// leaves the state as it was if it fails or its context ends.
type ChunkedStep struct {
	engine.Program // the backward pass, which holds the parameters

	// Progress, if set, is called after each of a step's passes of a chunk.
	Progress func(done, total int)

	embed, compare engine.Program
	step           *Program
	rows           engine.Tensors // what embed gave, of the whole batch
	views, seed    *tensor.Dense  // of a chunk
}

func (p *Program) compileChunks(m engine.Machine) (_ engine.Program, err error) {
	s := &ChunkedStep{step: p, rows: engine.Tensors{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.embed, err = m.Compile(p.chunks.embed); err != nil {
		return nil, err
	}
	if s.compare, err = m.Compile(p.chunks.compare); err != nil {
		return nil, err
	}
	if s.Program, err = m.Compile(p.Function); err != nil {
		return nil, err
	}
	return s, nil
}

// Run makes a step of the views [V*N, C, H, W] of a whole batch.
func (s *ChunkedStep) Run(ctx context.Context, in engine.Tensors) (engine.Tensors, error) {
	ch := s.step.chunks
	views, err := ch.whole(in)
	if err != nil {
		return nil, err
	}
	if err := s.embed.Load(s.Values()); err != nil {
		return nil, err
	}
	in = maps.Clone(in)
	for k := range ch.count() {
		s.views = ch.take(s.views, views, k)
		in[InputViews] = s.views
		out, err := s.embed.Run(ctx, in)
		if err != nil {
			return nil, err
		}
		ch.gather(s.rows, out, k)
		s.report(k)
	}
	in[rowsName] = s.rows[rowsName]
	result, err := s.compare.Run(ctx, in)
	if err != nil {
		return nil, err
	}
	for name, v := range s.rows {
		if name != rowsName {
			result[name] = v
		}
	}
	norm, err := s.backward(ctx, in, views, result[seedName])
	if err != nil {
		return nil, err
	}
	maps.Copy(result, norm)
	delete(result, seedName)
	return result, nil
}

// backward runs the second pass over all chunks.
func (s *ChunkedStep) backward(ctx context.Context, in engine.Tensors, views, seed *tensor.Dense) (out engine.Tensors, err error) {
	ch := s.step.chunks
	before := engine.Tensors{}
	for name, v := range s.Values() {
		if slices.Contains(ch.undo, name) {
			before[name] = v.Clone().(*tensor.Dense)
		}
	}
	defer func() {
		if err != nil {
			state := s.Values()
			maps.Copy(state, before)
			err = errors.Join(err, s.Load(state))
		}
	}()
	keep, apply := in[InputKeep], in[InputApply]
	for k := range ch.count() {
		s.views, s.seed = ch.take(s.views, views, k), ch.take(s.seed, seed, k)
		in[InputViews], in[seedName] = s.views, s.seed
		in[InputKeep], in[InputApply] = keep, engine.NewTensor([]float32{0})
		if k > 0 {
			in[InputKeep] = engine.NewTensor([]float32{1})
		}
		if k == ch.count()-1 {
			in[InputApply] = apply
		}
		if out, err = s.Program.Run(ctx, in); err != nil {
			return nil, err
		}
		s.report(ch.count() + k)
	}
	return out, nil
}

func (s *ChunkedStep) report(pass int) {
	if s.Progress != nil {
		s.Progress(pass+1, 2*s.step.chunks.count())
	}
}

// Close ends all three programs.
func (s *ChunkedStep) Close() error {
	var errs []error
	for _, p := range []engine.Program{s.embed, s.compare, s.Program} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}

// count is the number of chunks.
func (ch *chunks) count() int { return ch.batch / ch.size }

// whole returns the views of a whole batch.
func (ch *chunks) whole(in engine.Tensors) (*tensor.Dense, error) {
	views := in[InputViews]
	if views == nil || views.Dtype() != tensor.Float32 || len(views.Shape()) != 4 || views.Shape()[0]%ch.batch != 0 {
		return nil, fmt.Errorf("train: chunks: got views %v, want those of %d images", views, ch.batch)
	}
	return views, nil
}

// take copies the rows of chunk k out of a whole batch, into to where it has the size.
func (ch *chunks) take(to, whole *tensor.Dense, k int) *tensor.Dense {
	if to == nil {
		shape := slices.Clone([]int(whole.Shape()))
		shape[0] /= ch.count()
		to = tensor.New(tensor.WithShape(shape...), tensor.Of(tensor.Float32))
	}
	ch.each(to.Float32s(), whole.Float32s(), k, func(chunk, whole []float32) { copy(chunk, whole) })
	return to
}

// gather copies what chunk k gave into its place among the rows of the whole batch.
func (ch *chunks) gather(whole, out engine.Tensors, k int) {
	for _, o := range ch.embed.Outputs {
		v := out[o.Name]
		if whole[o.Name] == nil {
			whole[o.Name] = tensor.New(tensor.WithShape(v.Shape()[0]*ch.count(), v.Shape()[1]), tensor.Of(tensor.Float32))
		}
		ch.each(v.Float32s(), whole[o.Name].Float32s(), k, func(chunk, whole []float32) { copy(whole, chunk) })
	}
}

// each calls f with the rows of each view, where they lie in chunk k and in the whole
// batch: both have those of the first view first.
func (ch *chunks) each(chunk, whole []float32, k int, f func(chunk, whole []float32)) {
	n := len(chunk) / ch.views
	for v := range ch.views {
		at := (v*ch.count() + k) * n
		f(chunk[v*n:(v+1)*n], whole[at:at+n])
	}
}

// firstNonFiniteChunk is FirstNonFinite of a step in chunks.
func (p *Program) firstNonFiniteChunk(ctx context.Context, params, in engine.Tensors) (*op.Node, error) {
	ch := p.chunks
	views, err := ch.whole(in)
	if err != nil {
		return nil, err
	}
	embed, err := engine.Go{}.Compile(ch.embed)
	if err != nil {
		return nil, err
	}
	defer embed.Close()
	if err := embed.Load(params); err != nil {
		return nil, err
	}
	in = maps.Clone(in)
	rows := engine.Tensors{}
	for k := range ch.count() {
		in[InputViews] = ch.take(nil, views, k)
		out, err := embed.Run(ctx, in)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out[rowsName].Float32s(), notFinite) {
			return engine.FirstNonFinite(ctx, ch.embed, params, in)
		}
		ch.gather(rows, out, k)
	}
	in[rowsName] = rows[rowsName]
	return engine.FirstNonFinite(ctx, ch.compare, params, in)
}

func notFinite(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }
