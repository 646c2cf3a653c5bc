package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/sslrt/sslrt/finetune"
)

// isONNX tells an ONNX file from one of PyTorch or safetensors: by its name, or by the
// field that nearly all of them begin with.
func isONNX(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if strings.EqualFold(filepath.Ext(path), ".onnx") {
		return true, nil
	}
	head := make([]byte, 9)
	n, _ := io.ReadFull(f, head)
	// ir_version, a small number; a header of safetensors has "{" behind its length.
	return n > 2 && head[0] == 0x08 && head[1] < 0x20 && !bytes.HasSuffix(head[:n], []byte("{")), nil
}

// onnxImport is what import prints of an ONNX file under --json.
type onnxImport struct {
	Run       string `json:"run"`
	Input     string `json:"input"`
	Output    string `json:"output"`
	ImageSize int    `json:"image_size"`
	Channels  int    `json:"channels"`
	Embedding int    `json:"embedding"`
	Tensors   int    `json:"tensors"`
	Values    int    `json:"values"`
}

// importONNX makes a run of an ONNX file.
func importONNX(s streams, g *global, path, run string, read *checkpointFlags) error {
	opt, _, err := read.options()
	if err != nil {
		return err
	}
	for _, flag := range read.given() {
		switch flag {
		case "--key", "--image-size", "--mean", "--std":
		default:
			return usagef("%s is of checkpoints, %s is an ONNX file: its network stands in it", flag, path)
		}
	}
	c := finetune.DefaultConfig()
	c.Encoder, c.ImageSize = "", opt.ImageSize
	if opt.Root != "" {
		c.Encoder = "#" + opt.Root
	}
	if opt.Norm != nil {
		c.Mean, c.Std = opt.Norm.Mean[:], opt.Norm.Std[:]
	}
	r, e, err := finetune.ImportONNX(path, run, c)
	if err != nil {
		return err
	}
	params := e.Params()
	result := onnxImport{Run: r.Dir, Input: e.Input, Output: e.Output, Channels: e.Image()[0], ImageSize: e.Image()[1],
		Embedding: e.Size(), Tensors: len(params)}
	for _, v := range params {
		result.Values += v.Shape().TotalSize()
	}
	if g.json {
		return printJSON(s.out, result)
	}
	fmt.Fprintf(s.out, "network: %q [N, %d, %d, %d] to %q [N, %d]\n", result.Input, result.Channels, result.ImageSize, result.ImageSize, result.Output, result.Embedding)
	fmt.Fprintf(s.out, "loaded       %4d tensors, %d values\n", result.Tensors, result.Values)
	if opt.Norm == nil && e.Preprocess()["mean"] == "" {
		fmt.Fprintln(s.out, "not in the file: the normalisation of the input: ImageNet's, change it by --mean and --std")
	}
	_, err = fmt.Fprintf(s.out, "wrote %s: go on with sslrt finetune %s DATA, or pretrain --init %s; sslrt export --run %s --part encoder writes the file back\n",
		r.Dir, shellWord(r.Dir), shellWord(path), shellWord(r.Dir))
	return err
}
