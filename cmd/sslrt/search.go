package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/cluster"
	"github.com/sslrt/sslrt/finetune/distance"
	"github.com/sslrt/sslrt/finetune/search"
)

// searchFlags are the flags of sslrt search.
type searchFlags struct {
	vectorFlags
	queries       []string
	top, spread   int
	duplicates    float64
	output, sheet string
	images        string
	force         bool
}

func newSearch(s streams, g *global) *cobra.Command {
	var f searchFlags
	cmd := &cobra.Command{
		Use:   "search EMBEDDINGS | MODEL.onnx DATA...",
		Short: "Find similar images, near-duplicates, or a subset to label first",
		Long: `Search looks among embeddings, those of a file or those that a model gives of images,
for one of three things:

  --query FILE      the --top images most similar to it. FILE is a name among the
                    embeddings, or an image, which needs a model; may be given often
  --duplicates S    groups of images that are connected by pairs of similarity S or more
  --spread N        N images that lie far apart, to label first: each is the one farthest
                    from those before it (greedy k-centre; Euclidean distance of
                    embeddings of length 1)

Similarity is the cosine, -1 to 1. All vectors are compared up to 100,000; above, for more
than 1,000 queries and for duplicates, inverted lists look at a part of them. What was done
is printed.

EMBEDDINGS is a file as sslrt embed writes: .npy, .npz, .jsonl, .csv or .parquet.
--output writes a table (.csv), --sheet a contact sheet (.png); images of EMBEDDINGS are
found by name in --images, or as files.`,
		Example: `  sslrt search encoder.onnx photos/ --query cat.jpg --sheet similar.png
  sslrt search embeddings.npy --duplicates 0.98 --output duplicates.csv
  sslrt search embeddings.npy --spread 200 --output label-first.csv`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), s, g, args) },
	}
	f.register(cmd)
	fl := cmd.Flags()
	leaveOut(cmd, "normalize") // similarity knows no length
	fl.StringArrayVar(&f.queries, "query", nil, "an image, or the name of one among the embeddings")
	fl.IntVar(&f.top, "top", 10, "similar images of each query")
	fl.Float64Var(&f.duplicates, "duplicates", 0, "least similarity of near-duplicates, such as 0.98")
	fl.IntVar(&f.spread, "spread", 0, "images of a spread-out subset")
	fl.StringVarP(&f.output, "output", "o", "", "table to write: .csv (default: on standard output)")
	fl.StringVar(&f.sheet, "sheet", "", "contact sheet to write: .png")
	fl.StringVar(&f.images, "images", "", "DATA in which images of EMBEDDINGS are found by name")
	fl.BoolVar(&f.force, "force", false, "write over files that exist")
	return cmd
}

func (f *searchFlags) check() error {
	modes := 0
	for _, on := range []bool{len(f.queries) > 0, f.duplicates != 0, f.spread != 0} {
		if on {
			modes++
		}
	}
	if modes != 1 {
		return usagef("give one of --query, --duplicates and --spread")
	}
	if f.top < 1 || f.spread < 0 || f.duplicates != 0 && !(f.duplicates > 0 && f.duplicates <= 1) {
		return usagef("got --top %d, --spread %d, --duplicates %g: want 1 or more, 1 or more, more than 0 and at most 1", f.top, f.spread, f.duplicates)
	}
	if err := errors.Join(wantSuffix("output", f.output, ".csv"), wantSuffix("sheet", f.sheet, ".png")); err != nil {
		return err
	}
	return checkFree(f.force, f.output, f.sheet)
}

// finding is what a search gave: a table, and pictures of it.
type finding struct {
	columns []string
	rows    [][]string
	cells   []func() *augment.Image // of the sheet; nil leaves one empty
	wide    int                     // cells in a row of the sheet
	summary string
	result  map[string]any // for --json
}

func (f *searchFlags) run(ctx context.Context, s streams, g *global, args []string) error {
	if err := f.check(); err != nil {
		return err
	}
	if g.json && f.output == "" && f.sheet == "" {
		return usagef("--json needs --output or --sheet: the table would be on standard output too")
	}
	if strings.EqualFold(suffix(args[0]), ".onnx") {
		if len(args) < 2 {
			return usagef("search MODEL.onnx needs DATA: the images to search among")
		}
		if f.model != "" {
			return usagef("two models: %s and --model %s", args[0], f.model)
		}
		f.model, args = args[0], args[1:]
	} else if f.model != "" && len(f.queries) > 0 && len(args) == 1 && slices.Contains(vectorSuffixes, strings.ToLower(suffix(args[0]))) {
		return f.queryFile(ctx, s, g, args)
	}
	v, err := f.read(ctx, s, "search", args)
	if err != nil {
		return err
	}
	defer v.close()
	return f.find(ctx, s, g, v)
}

func suffix(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[i:]
	}
	return ""
}

// queryFile searches a file of embeddings for images, which the model embeds.
func (f *searchFlags) queryFile(ctx context.Context, s streams, g *global, args []string) error {
	model := f.model
	f.model = ""
	v, err := f.read(ctx, s, "search", args)
	if err != nil {
		return err
	}
	defer v.close()
	if v.enc, err = f.load(model); err != nil {
		return err
	}
	if v.enc.Dim() != v.Dim {
		return fmt.Errorf("search: %s holds embeddings of size %d, but %s gives size %d", args[0], v.Dim, model, v.enc.Dim())
	}
	return f.find(ctx, s, g, v)
}

func (f *searchFlags) find(ctx context.Context, s streams, g *global, v *vectors) error {
	if err := v.openImages(f.images, &f.data, s); err != nil {
		return err
	}
	var found *finding
	var err error
	switch {
	case len(f.queries) > 0:
		found, err = f.nearest(ctx, v)
	case f.spread > 0:
		found, err = f.spreadOut(ctx, s, v)
	default:
		found, err = f.groups(ctx, v)
	}
	if err != nil {
		return err
	}
	if err := f.write(s, g, v, found); err != nil {
		return err
	}
	return f.inputs.err()
}

// nearest answers the queries.
func (f *searchFlags) nearest(ctx context.Context, v *vectors) (*finding, error) {
	x, names, err := f.queryVectors(ctx, v)
	if err != nil {
		return nil, err
	}
	ix, what, err := search.New(ctx, v.X, v.Dim, len(names), f.seed)
	if err != nil {
		return nil, err
	}
	top := min(f.top, v.Len()) // which bounds the sheet too
	// A query that is among the vectors finds itself: one more, and without it.
	lists, err := ix.Nearest(x, top+1)
	if err != nil {
		return nil, err
	}
	found := &finding{columns: []string{"query", "rank", "file", "label", "similarity"}, wide: top + 1}
	pics := newPictures(v)
	for q, list := range lists {
		found.cells = append(found.cells, func() *augment.Image { return queryPicture(pics, v, names[q]) })
		rank := 0
		for _, n := range list {
			if rank == top || v.tableName(n.Index) == names[q] {
				continue
			}
			rank++
			found.rows = append(found.rows, []string{names[q], strconv.Itoa(rank), v.tableName(n.Index), v.label(n.Index), number(n.Similarity)})
			found.cells = append(found.cells, func() *augment.Image { return pics.thumbnail(n.Index, sheetThumb) })
		}
		for ; rank < top; rank++ {
			found.cells = append(found.cells, nil)
		}
	}
	found.summary = fmt.Sprintf("%d most similar of %d vectors to %d queries (cosine, %s)", top, v.Len(), len(names), what)
	found.result = map[string]any{"queries": len(names), "top": top, "index": what}
	return found, nil
}

// queryVectors returns the embeddings of the queries, and their names.
func (f *searchFlags) queryVectors(ctx context.Context, v *vectors) (x []float32, names []string, err error) {
	place := map[string]int{}
	for i := range v.Len() {
		place[v.tableName(i)] = i
	}
	for _, q := range f.queries {
		if i, ok := place[q]; ok {
			x = append(x, v.X[i*v.Dim:(i+1)*v.Dim]...)
			names = append(names, q)
			continue
		}
		if v.enc == nil {
			if _, err := os.Stat(q); err == nil {
				return nil, nil, fmt.Errorf("search: --query %s is not among the embeddings, and embedding it needs the model: give it by --model", q)
			}
			return nil, nil, fmt.Errorf("search: --query %s: no vector has that name (the first is called %s)", q, v.tableName(0))
		}
		row, err := v.enc.EmbedFile(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		if f.normalize {
			for i, u := range distance.Unit(row, v.Dim) {
				row[i] = float32(u)
			}
		}
		x = append(x, row...)
		names = append(names, q)
	}
	return x, names, nil
}

// queryPicture is the image of a query: one of the vectors', or a file.
func queryPicture(pics *pictures, v *vectors, name string) *augment.Image {
	if at, ok := pics.index[name]; ok {
		if m, err := v.source.Image(at); err == nil {
			return shrink(m, sheetThumb)
		}
		return nil
	}
	m, err := augment.DecodeFile(name)
	if err != nil {
		return nil
	}
	return shrink(m, sheetThumb)
}

// spreadOut picks a subset.
func (f *searchFlags) spreadOut(ctx context.Context, s streams, v *vectors) (*finding, error) {
	if f.spread > v.Len() {
		return nil, fmt.Errorf("search: got --spread %d, but there are only %d vectors", f.spread, v.Len())
	}
	unit := make([]float32, len(v.X))
	for i, u := range distance.Unit(v.X, v.Dim) {
		unit[i] = float32(u)
	}
	bar := newProgress(s.err, "search", "images", f.spread)
	defer bar.close()
	cover, err := cluster.KCentre(ctx, unit, v.Dim, f.spread, nearestToMean(unit, v.Dim), bar.set)
	if err != nil {
		return nil, err
	}
	found := &finding{columns: []string{"rank", "file", "label", "distance"}, wide: 12}
	pics := newPictures(v)
	for k, i := range cover.Indices {
		apart := ""
		if !math.IsInf(cover.Apart[k], 0) {
			apart = number(cover.Apart[k])
		}
		found.rows = append(found.rows, []string{strconv.Itoa(k + 1), v.tableName(i), v.label(i), apart})
		found.cells = append(found.cells, func() *augment.Image { return pics.thumbnail(i, sheetThumb) })
	}
	found.summary = fmt.Sprintf("%d of %d vectors, spread out; every vector is within %.4f of one of them (greedy k-centre, length 1)", f.spread, v.Len(), cover.Radius)
	found.result = map[string]any{"picked": f.spread, "radius": cover.Radius}
	return found, nil
}

// nearestToMean is where the spread-out subset starts: the most usual vector.
func nearestToMean(x []float32, dim int) int {
	mean := distance.Mean(x, dim)
	best, least := 0, math.Inf(1)
	for i := range len(x) / dim {
		if d := distance.Squared(x[i*dim:(i+1)*dim], mean); d < least {
			best, least = i, d
		}
	}
	return best
}

// maxGroupsOnSheet bounds a sheet of near-duplicates.
const maxGroupsOnSheet = 100

// groups finds near-duplicates.
func (f *searchFlags) groups(ctx context.Context, v *vectors) (*finding, error) {
	groups, what, err := search.Duplicates(ctx, v.X, v.Dim, f.duplicates, f.seed)
	if err != nil {
		return nil, err
	}
	found := &finding{columns: []string{"group", "file", "label", "similarity"}, wide: 12}
	pics := newPictures(v)
	members := 0
	for k, g := range groups {
		members += len(g)
		for _, m := range g {
			found.rows = append(found.rows, []string{strconv.Itoa(k), v.tableName(m.Index), v.label(m.Index), number(m.Similarity)})
		}
		if k >= maxGroupsOnSheet {
			continue
		}
		for place := range found.wide {
			var cell func() *augment.Image
			if place < len(g) {
				cell = func() *augment.Image { return pics.thumbnail(g[place].Index, sheetThumb) }
			}
			found.cells = append(found.cells, cell)
		}
	}
	found.summary = fmt.Sprintf("%d groups of near-duplicates, %d of %d vectors (cosine %g or more, %s)", len(groups), members, v.Len(), f.duplicates, what)
	found.result = map[string]any{"groups": len(groups), "members": members, "pairs": what}
	return found, nil
}

// number is a similarity or distance in a table.
func number(x float64) string { return strconv.FormatFloat(x, 'f', 6, 64) }

// sheetThumb is the longer side of a picture on a sheet, in pixels.
const sheetThumb = 96

func (f *searchFlags) write(s streams, g *global, v *vectors, found *finding) error {
	rows := func(row func(...string) error) error {
		for _, r := range found.rows {
			if err := row(r...); err != nil {
				return err
			}
		}
		return nil
	}
	paths := []string{}
	if f.output != "" {
		if err := writeTable(f.output, found.columns, rows); err != nil {
			return err
		}
		paths = append(paths, f.output)
	}
	if f.sheet != "" && len(found.cells) > 0 {
		if err := found.draw(v, f.sheet); err != nil {
			return err
		}
		paths = append(paths, f.sheet)
	}
	if g.json {
		found.result["vectors"], found.result["paths"], found.result["skipped"] = v.Len(), paths, f.inputs.skipped
		return printJSON(s.out, found.result)
	}
	if f.output == "" && f.sheet == "" {
		fmt.Fprintln(s.err, found.summary)
		return writeRows(s.out, found.columns, rows)
	}
	fmt.Fprintln(s.out, found.summary)
	for _, path := range paths {
		fmt.Fprintln(s.out, "wrote", path)
	}
	if f.sheet != "" && len(found.cells) == 0 {
		fmt.Fprintf(s.out, "%s was not written: there is no image to show\n", f.sheet)
	}
	return nil
}

func (found *finding) draw(v *vectors, path string) error {
	cells, drawn := make([]*augment.Image, len(found.cells)), false
	for i, picture := range found.cells {
		if picture != nil {
			cells[i] = picture()
			drawn = drawn || cells[i] != nil
		}
	}
	if !drawn {
		return fmt.Errorf("search: --sheet: none of the images was found, %s for one: give their DATA by --images", v.name(0))
	}
	return writePNG(path, sheetOf(cells, found.wide, sheetThumb).ToImage())
}
