package augment

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"runtime"
)

// Stage is one step on the way from an image's file to the tensors of its views, and the seconds of
// processor time that it takes per image, those of all views together. A stage is "decode", "tensor" or the
// name of a transform.
type Stage struct {
	Name    string
	Seconds float64
}

// MeasureViews measures what one processor spends on the first n images of src and all their views. It
// returns the seconds of processor time per image, and what they are made of: of both the least of several
// passes over the images, the stages from passes of their own, for looking at the clock takes time too.
// Where the system does not tell a thread's processor time it is wall time.
func MeasureViews(ctx context.Context, src Source, views Views, pre Preprocess, n, passes int) (float64, []Stage, error) {
	if n < 1 || n > src.Len() || passes < 1 {
		return 0, nil, fmt.Errorf("augment: measure: got %d of %d images, %d passes: want 1 or more", n, src.Len(), passes)
	}
	runtime.LockOSThread() // the clock is the thread's
	defer runtime.UnlockOSThread()
	m := measurement{src: src, views: views.each(), w: newWorker()}
	for _, v := range m.views {
		p := pre
		if v.Size > 0 {
			p.Width, p.Height = v.Size, v.Size
		}
		m.norms = append(m.norms, p.normalizer())
		m.dst = append(m.dst, make([]float32, p.Len()))
	}
	best := math.Inf(1)
	var stages []Stage
	for range passes {
		seconds, _, err := m.pass(ctx, n, false)
		if err != nil {
			return 0, nil, err
		}
		best = min(best, seconds)
		_, parts, err := m.pass(ctx, n, true)
		if err != nil {
			return 0, nil, err
		}
		if stages == nil {
			stages = parts
		}
		for i, p := range parts {
			stages[i].Seconds = min(stages[i].Seconds, p.Seconds)
		}
	}
	return best, stages, nil
}

// measurement is what one processor works with.
type measurement struct {
	src   Source
	views []View
	norms []*normalizer // by view
	dst   [][]float32   // by view
	w     *worker

	stages []Stage
	at     map[string]int
	last   float64 // thread time at the end of the last stage
}

// pass goes through the images once. With parts it takes the time of every stage.
func (m *measurement) pass(ctx context.Context, n int, parts bool) (float64, []Stage, error) {
	m.stages, m.at = nil, map[string]int{}
	start := threadSeconds()
	m.last = start
	for i := range n {
		if err := ctx.Err(); err != nil {
			return 0, nil, err
		}
		picture, err := imageInto(m.src, i, &m.w.pictures)
		if err != nil {
			return 0, nil, err
		}
		m.done(parts, "decode")
		for v, view := range m.views {
			m.view(picture, view, i, v, parts)
		}
		m.w.pictures.Release(picture)
	}
	for i := range m.stages {
		m.stages[i].Seconds /= float64(n)
	}
	return (threadSeconds() - start) / float64(n), m.stages, nil
}

func (m *measurement) view(picture *Image, view View, index, v int, parts bool) {
	x := picture
	switch {
	case view.Policy == nil:
		x = m.norms[v].p.apply(x, &m.w.Scratch)
		m.done(parts, "resize")
	case len(view.Policy) == 0 || !alwaysNew(view.Policy[0]):
		x = m.w.copyOf(x)
	}
	seedRand(&m.w.pcg, 0, 0, index, v)
	for k, t := range view.Policy {
		x = view.Policy[k:k+1].run(x, m.w.rand, &m.w.Scratch)
		m.done(parts, stageName(t))
	}
	m.norms[v].tensor(m.dst[v], x)
	m.done(parts, "tensor")
	m.w.Release(x)
}

// done ends a stage.
func (m *measurement) done(parts bool, name string) {
	if !parts {
		return
	}
	i, ok := m.at[name]
	if !ok {
		i = len(m.stages)
		m.at[name] = i
		m.stages = append(m.stages, Stage{Name: name})
	}
	now := threadSeconds()
	m.stages[i].Seconds += now - m.last
	m.last = threadSeconds()
}

// stageName is the name of a transform, of one that is applied at times that of what is applied.
func stageName(t Transform) string {
	if a, ok := t.(RandomApply); ok && len(a.Transforms) == 1 {
		return stageName(a.Transforms[0])
	}
	return reflect.TypeOf(t).Name()
}
