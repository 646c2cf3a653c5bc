package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/finetune/knn"
	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/finetune/probe"
	"github.com/sslrt/sslrt/finetune/project"
	"github.com/sslrt/sslrt/finetune/report"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
)

const (
	reportQueries = 8 // sample images with their neighbours
	reportNear    = 7
	reportFewest  = 100 // embeddings that t-SNE makes a map of
)

// embeddings embeds a part of the data with the run's encoder and shows what lies where.
func (f *reportFlags) embeddings(ctx context.Context, s streams, run *finetune.Run, src augment.Source) ([]report.Section, error) {
	dir, err := os.MkdirTemp("", "sslrt-report-*")
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "encoder.onnx")
	if _, err := finetune.Export(ctx, run, file, finetune.ExportOptions{Part: onnx.KindEncoder, NoVerify: true}); err != nil {
		return nil, err
	}
	enc, err := f.load(file)
	if err != nil {
		return nil, err
	}
	defer enc.Close()
	kept := rand.New(rand.NewPCG(f.seed, 4)).Perm(src.Len())
	kept = kept[:min(f.limit, len(kept))]
	slices.Sort(kept)
	part := augment.Subset(src, kept)
	var e runtime.Embeddings
	if _, err := f.embed(ctx, s, "embed images", enc, part, &e); err != nil {
		return nil, err
	}
	var sections []report.Section
	if e.Len() >= reportFewest {
		section, err := f.embeddingMap(ctx, s, &e)
		if err != nil {
			return nil, err
		}
		sections = append(sections, section)
	}
	if e.Len() > reportNear {
		section, err := neighbourSheet(&e, part)
		if err != nil {
			return nil, err
		}
		sections = append(sections, section)
	}
	return sections, nil
}

// embeddingMap draws a t-SNE of embeddings, coloured by class where there are any.
func (f *reportFlags) embeddingMap(ctx context.Context, s streams, e *runtime.Embeddings) (report.Section, error) {
	bar := newProgress(s.err, "map", "iterations", 1000)
	defer bar.close()
	y, _, err := project.TSNE(ctx, e.X, e.Dim, project.TSNEOptions{Seed: f.seed, Perplexity: min(30, float64(e.Len()-1)/3),
		Progress: func(i int, _ float64) { bar.set(i) }})
	if err != nil {
		return report.Section{}, err
	}
	names := slices.Compact(slices.Sorted(slices.Values(e.Labels)))
	names = slices.DeleteFunc(names, func(n string) bool { return n == "" })
	m := &project.Picture{Title: fmt.Sprintf("t-SNE of %d embeddings", e.Len()), Y: y, Names: names}
	if len(names) > 0 {
		m.Group = make([]int, e.Len())
		for i, l := range e.Labels {
			m.Group[i] = slices.Index(names, l)
		}
	}
	var b bytes.Buffer
	if err := m.WritePNG(&b); err != nil {
		return report.Section{}, err
	}
	return report.Section{Title: "Map of the embeddings",
		Text:   "Each point is an image; what the encoder takes for alike lies together. Distances between groups mean little.",
		Images: []report.Image{{Caption: fmt.Sprintf("t-SNE, seed %d", f.seed), PNG: b.Bytes()}}}, nil
}

// neighbourSheet shows images beside those that are nearest by cosine.
func neighbourSheet(e *runtime.Embeddings, src augment.Source) (report.Section, error) {
	at := map[string]int{}
	for i := range src.Len() {
		at[src.Name(i)] = i
	}
	index, err := knn.NewIndex(e.X, e.Dim)
	if err != nil {
		return report.Section{}, err
	}
	var pictures []*augment.Image
	for q := range min(reportQueries, e.Len()) {
		i := q * e.Len() / min(reportQueries, e.Len())
		found, err := index.Nearest(e.X[i*e.Dim:(i+1)*e.Dim], reportNear+1)
		if err != nil {
			return report.Section{}, err
		}
		row := []int{i}
		for _, n := range found[0] {
			if n.Index != i && len(row) <= reportNear {
				row = append(row, n.Index)
			}
		}
		for _, k := range row {
			m, err := src.Image(at[e.Files[k]])
			if err != nil {
				return report.Section{}, err
			}
			pictures = append(pictures, thumbnail(m))
		}
	}
	side := 0
	for _, m := range pictures {
		side = max(side, m.W, m.H)
	}
	sheet, err := report.Picture("the first image of a row, and its nearest by cosine", augment.Sheet(pictures, reportNear+1, max(1, 96/side)).ToImage())
	if err != nil {
		return report.Section{}, err
	}
	return report.Section{Title: "Nearest neighbours", Images: []report.Image{sheet}}, nil
}

// confusion measures a run that classifies.
func (f *reportFlags) confusion(ctx context.Context, s streams, run *finetune.Run, test augment.Source) (report.Section, error) {
	l, err := classifyTest(ctx, s, &f.encoderFlags, run, test, finetune.WeightsLast)
	if err != nil {
		return report.Section{}, err
	}
	n := len(l.classes)
	c, err := metrics.NewConfusion(l.testLabels, metrics.Argmax(l.logits, n), n)
	if err != nil {
		return report.Section{}, err
	}
	m, err := probe.DrawConfusion(c, l.classes)
	if err != nil {
		return report.Section{}, err
	}
	picture, err := report.Picture("a row for each true class, a column for each predicted one", m)
	if err != nil {
		return report.Section{}, err
	}
	r := c.Report()
	table := [][]string{{"class", "precision", "recall", "F1", "images"}}
	for k, class := range c.PerClass() {
		table = append(table, []string{l.classes[k], fmt.Sprintf("%.4f", class.Precision), fmt.Sprintf("%.4f", class.Recall), fmt.Sprintf("%.4f", class.F1), fmt.Sprint(class.Support)})
	}
	return report.Section{Title: "Classification", Text: fmt.Sprintf("Accuracy %.2f %% of %d test images, weights of the last epoch.", 100*r.Accuracy, r.Images),
		Table: table, Images: []report.Image{picture}}, nil
}
