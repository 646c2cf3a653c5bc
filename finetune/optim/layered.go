package optim

import (
	"math"
	"strings"

	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// Layered makes lower layers learn more slowly than higher ones (Clark et al., 2020;
// Bao et al., 2022, "BEiT"): a weight moves by Decay^d of the step that Next gives it,
// where d counts the blocks between it and the head, which moves by all of it. That is
// a learning rate for each block.
type Layered struct {
	Next  train.Optimizer
	Decay float64 // 0 to 1, such as 0.75
}

// Update adds the next optimiser's step and shortens it.
func (o Layered) Update(b *train.Builder, weights []models.Spec, grads []*op.Node) {
	o.Next.Update(b, weights, grads)
	depth := depths(b.Specs())
	for _, w := range weights {
		scale := math.Pow(o.Decay, float64(depth[w.Name]))
		if next := b.Get(w.Name); scale != 1 && next != w.Node {
			b.Set(w.Name, op.Add(w.Node, op.Scale(op.Sub(next, w.Node), scale)))
		}
	}
}

// depths returns how many blocks lie between each weight and the head. A block is what
// a number in the names counts, such as layer2.0 or blocks.3; what comes before the
// first of them is one block, what comes after the last, the head among it, another.
func depths(specs []models.Spec) map[string]int {
	place := map[string]int{}
	last, at := "", 0
	for _, s := range specs {
		if !s.Trainable {
			continue
		}
		if key := blockOf(s.Name); key != last {
			last, at = key, at+1
		}
		place[s.Name] = at
	}
	for name, p := range place {
		place[name] = at - p
	}
	return place
}

// blockOf is a weight's name up to the first number in it; without one it is what all
// such weights of a run of them share.
func blockOf(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		if p != "" && strings.Trim(p, "0123456789") == "" {
			return strings.Join(parts[:i+1], ".")
		}
	}
	return ""
}
