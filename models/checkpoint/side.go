package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// side is what files beside a checkpoint say.
type side struct {
	facts         []string
	norm          *Norm
	size          int
	interpolation string
	crop          float64
	labels        []string // class names
}

const maxSide = 1 << 20 // bytes of such a file

// readSide reads the JSON files that projects write beside their weights: args.json
// of solo-learn, config.json of timm and transformers, preprocessor_config.json of
// transformers. None needs to be there.
func readSide(path string) (side, error) {
	var s side
	for _, name := range []string{"args", "config", "preprocessor_config"} {
		file := filepath.Join(filepath.Dir(path), name+".json")
		info, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() > maxSide {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return s, err
		}
		var v any
		if json.Unmarshal(text, &v) != nil {
			continue // some other file of that name
		}
		tree := treeOf(v)
		s.facts = append(s.facts, factsOf(&Dict{Keys: []string{name}, Values: []any{tree}})...)
		d, _ := tree.(*Dict)
		if timm, ok := d.Get("pretrained_cfg").(*Dict); ok {
			s.timm(timm)
		}
		if id2label, ok := d.Get("id2label").(*Dict); ok {
			s.labels = labelsOf(id2label)
		}
		if name == "preprocessor_config" && d != nil {
			s.transformers(d)
		}
	}
	return s, nil
}

// labelsOf reads class names by their numbers, which must be 0, 1, 2 and so on.
func labelsOf(d *Dict) []string {
	out := make([]string, len(d.Keys))
	for i := range out {
		out[i], _ = d.Get(fmt.Sprint(i)).(string)
		if out[i] == "" {
			return nil
		}
	}
	return out
}

// treeOf turns decoded JSON into a tree.
func treeOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		d := &Dict{}
		for k, x := range v {
			d.Keys, d.Values = append(d.Keys, k), append(d.Values, treeOf(x))
		}
		return d
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = treeOf(x)
		}
		return out
	}
	return v
}

func (s *side) timm(d *Dict) {
	s.norm = normOf(d.Get("mean"), d.Get("std"))
	if size, ok := d.Get("input_size").([]any); ok && len(size) == 3 {
		if n, ok := size[2].(float64); ok && n >= 1 && n <= 4096 {
			s.size = int(n)
		}
	}
	s.interpolation, _ = d.Get("interpolation").(string)
	if crop, ok := d.Get("crop_pct").(float64); ok && crop > 0 && crop <= 1 {
		s.crop = crop
	}
}

func (s *side) transformers(d *Dict) {
	if d.Get("do_normalize") != false {
		s.norm = normOf(d.Get("image_mean"), d.Get("image_std"))
	}
	n, _ := d.Get("size").(float64)
	if size, ok := d.Get("size").(*Dict); ok {
		for _, key := range []string{"height", "shortest_edge"} {
			if v, ok := size.Get(key).(float64); ok {
				n = v
			}
		}
	}
	if n >= 1 && n <= 4096 {
		s.size = int(n)
	}
	if crop, ok := d.Get("crop_pct").(float64); ok && crop > 0 && crop <= 1 {
		s.crop = crop
	}
	switch d.Get("resample") { // Pillow's numbers
	case 2.0:
		s.interpolation = "bilinear"
	case 3.0:
		s.interpolation = "bicubic"
	}
}

// normOf reads mean and standard deviation of three channels.
func normOf(mean, std any) *Norm {
	var n Norm
	for _, part := range []struct {
		from any
		to   *[3]float32
	}{{mean, &n.Mean}, {std, &n.Std}} {
		list, ok := part.from.([]any)
		if !ok || len(list) != 3 {
			return nil
		}
		for c, v := range list {
			x, ok := v.(float64)
			if !ok {
				return nil
			}
			part.to[c] = float32(x)
		}
	}
	return &n
}

// maxFacts bounds what is looked at besides tensors.
const maxFacts = 10_000

// factsOf lists the plain values of a tree as "path=value".
func factsOf(root any) []string {
	var out []string
	steps := 0
	var walk func(path string, v any, depth int)
	walk = func(path string, v any, depth int) {
		if steps++; len(out) >= maxFacts || steps > maxObjects || depth > 8 {
			return
		}
		switch v := v.(type) {
		case *Dict:
			for i, k := range v.Keys {
				sub := k
				if path != "" {
					sub = path + "." + k
				}
				walk(sub, v.Values[i], depth+1)
			}
		case string, bool, int, float64:
			text := fmt.Sprint(v)
			if len(text) < 200 && !strings.HasPrefix(text, "<") {
				out = append(out, path+"="+text)
			}
		}
	}
	walk("", root, 0)
	return out
}
