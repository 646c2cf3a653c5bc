package runtime

import (
	"archive/zip"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/augment/npy"
)

// Names of arrays in a .npz file, the better first.
var (
	npzVectors = []string{"embeddings", "embedding", "features", "x", "X", "arr_0"}
	npzLabels  = []string{"labels", "label", "y", "targets", "arr_1"}
)

// readNPZFile reads vectors of a .npz file: the array of a usual name, or the only one
// of two axes and more; and labels, an array of whole numbers [N] of a usual name.
func readNPZFile(f *os.File) (*Embeddings, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(f, info.Size())
	if err != nil {
		return nil, err
	}
	headers := map[string]npy.Header{}
	files := map[string]*zip.File{}
	var wide, all []string
	for _, member := range archive.File {
		name := strings.TrimSuffix(member.Name, ".npy")
		r, err := member.Open()
		if err != nil {
			return nil, fmt.Errorf("array %s: %w", name, err)
		}
		h, err := npy.ReadHeader(r)
		r.Close()
		if err != nil {
			return nil, fmt.Errorf("array %s: %w", name, err)
		}
		headers[name], files[name] = h, member
		all = append(all, fmt.Sprintf("%s %v", name, h.Shape))
		if len(h.Shape) >= 2 {
			wide = append(wide, name)
		}
	}
	vectors := ""
	for _, name := range npzVectors {
		if vectors == "" && slices.Contains(wide, name) {
			vectors = name
		}
	}
	if vectors == "" && len(wide) == 1 {
		vectors = wide[0]
	}
	if vectors == "" {
		return nil, fmt.Errorf("got arrays %s, want one of vectors [N, dim], or its name one of %s", strings.Join(all, ", "), strings.Join(npzVectors, ", "))
	}
	e := &Embeddings{}
	n, dim, err := vectorsOf(headers[vectors])
	if err != nil {
		return nil, fmt.Errorf("array %s: %w", vectors, err)
	}
	if e.X, err = readMember(files[vectors], n, dim); err != nil {
		return nil, fmt.Errorf("array %s: %w", vectors, err)
	}
	e.Dim = int(dim)
	for _, name := range npzLabels {
		h := headers[name]
		if len(h.Shape) != 1 || h.Shape[0] != n || !strings.ContainsAny(h.Type, "iu") {
			continue
		}
		values, err := readMember(files[name], n, 1)
		if err != nil {
			return nil, fmt.Errorf("array %s: %w", name, err)
		}
		for _, v := range values {
			e.Labels = append(e.Labels, strconv.FormatFloat(float64(v), 'f', -1, 32))
		}
		break
	}
	return e, nil
}

// readMember reads n rows of dim values of an array.
func readMember(f *zip.File, n, dim int64) ([]float32, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	h, err := npy.ReadHeader(r)
	if err != nil {
		return nil, err
	}
	if f.UncompressedSize64 > 1<<50 {
		return nil, errors.New("claims a size that no array has")
	}
	return npyRead(h, r, int64(f.UncompressedSize64), n, dim)
}
