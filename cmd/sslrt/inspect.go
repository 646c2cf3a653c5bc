package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/checkpoint"
	"github.com/sslrt/sslrt/models/onnx"
)

func newInspect(s streams, g *global) *cobra.Command {
	var c checkpointFlags
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show what a model, a checkpoint or a run holds",
		Long: `Inspect tells what a file is and shows what is in it:

  an ONNX file        metadata, inputs, outputs, tensors and nodes
  a safetensors file  metadata and tensors
  a PyTorch file      its tensors and how sslrt import would read it: which tensor
                      becomes which, what is missing, what the profile assumes
  a run directory     configuration, checkpoint and last metrics

The flags of sslrt import change how a checkpoint is read.`,
		Example: `  sslrt inspect encoder.onnx
  sslrt inspect runs/first/checkpoints/last.safetensors
  sslrt inspect checkpoint_0199.pth.tar
  sslrt inspect runs/first`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			inspect, err := inspector(args[0], &c)
			if err != nil {
				return fmt.Errorf("inspect: %w", err)
			}
			return inspect(s, g, args[0])
		},
	}
	c.register(cmd)
	return cmd
}

// inspector returns what shows a file, by its contents.
func inspector(path string, c *checkpointFlags) (func(streams, *global, string) error, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		if _, err := os.Stat(filepath.Join(path, "config.yaml")); err != nil {
			if f, err := checkpoint.Open(path); err == nil {
				f.Close()
				return c.inspect, nil
			}
		}
		return inspectRun, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 9)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	head = head[:n]
	switch {
	case strings.HasSuffix(path, ".safetensors") || n == 9 && head[8] == '{' && head[7] == 0:
		return func(s streams, g *global, path string) error { return c.inspectSafetensors(s, g, path) }, nil
	case bytes.HasPrefix(head, []byte("PK")), n > 0 && head[0] == 0x80, bytes.HasPrefix(head, []byte("L1195470370")),
		strings.HasSuffix(path, ".index.json"), bytes.HasPrefix(head, []byte{0x1f, 0x8b}), isCheckpointName(path):
		return c.inspect, nil
	}
	return inspectONNX, nil
}

type inspectedValue struct {
	Name  string   `json:"name"`
	DType string   `json:"dtype"`
	Shape []string `json:"shape"`
}

func inspectONNX(s streams, g *global, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := onnx.Read(f)
	if err != nil {
		return fmt.Errorf("inspect %s: neither a safetensors file nor a run, and as ONNX: %w", path, err)
	}
	var values int64
	for _, t := range m.Graph.Initializers {
		n, err := t.Elems()
		if err != nil {
			return fmt.Errorf("inspect %s: tensor %q: %w", path, t.Name, err)
		}
		values += n
	}
	if !g.json {
		fmt.Fprintf(s.out, "ONNX model: %d values in %d tensors, %d nodes\n", values, len(m.Graph.Initializers), len(m.Graph.Nodes))
		return onnx.Dump(s.out, m)
	}
	ports := func(infos []*onnx.ValueInfo) []inspectedValue {
		out := []inspectedValue{}
		for _, i := range infos {
			v := inspectedValue{Name: i.Name, DType: i.Type.String(), Shape: []string{}}
			for _, d := range i.Dims {
				v.Shape = append(v.Shape, d.String())
			}
			out = append(out, v)
		}
		return out
	}
	meta := map[string]string{}
	for _, e := range m.Metadata {
		meta[e.Key] = e.Value
	}
	return printJSON(s.out, struct {
		Path     string            `json:"path"`
		Type     string            `json:"type"`
		Opset    int64             `json:"opset"`
		Inputs   []inspectedValue  `json:"inputs"`
		Outputs  []inspectedValue  `json:"outputs"`
		Metadata map[string]string `json:"metadata"`
		Nodes    int               `json:"nodes"`
		Values   int64             `json:"values"`
	}{path, "onnx", m.Opset(""), ports(m.Graph.Inputs), ports(m.Graph.Outputs), meta, len(m.Graph.Nodes), values})
}

// inspectSafetensors shows what is in the file, and for weights of others how they
// would be imported.
func (c *checkpointFlags) inspectSafetensors(s streams, g *global, path string) error {
	infos, meta, err := models.ListSafetensors(path)
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	if len(c.given()) > 0 {
		return c.inspect(s, g, path)
	}
	values := 0
	tensors := []inspectedValue{}
	for _, t := range infos {
		v := inspectedValue{Name: t.Name, DType: t.DType, Shape: []string{}}
		n := 1
		for _, d := range t.Shape {
			v.Shape = append(v.Shape, fmt.Sprint(d))
			n *= d
		}
		values += n
		tensors = append(tensors, v)
	}
	if g.json {
		return printJSON(s.out, struct {
			Path     string            `json:"path"`
			Type     string            `json:"type"`
			Tensors  []inspectedValue  `json:"tensors"`
			Metadata map[string]string `json:"metadata"`
			Values   int               `json:"values"`
		}{path, "safetensors", tensors, meta, values})
	}
	fmt.Fprintf(s.out, "safetensors: %d values in %d tensors\n", values, len(infos))
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		fmt.Fprintf(s.out, "metadata %s = %q\n", key, meta[key])
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, t := range tensors {
		fmt.Fprintf(w, "%s\t%s\t[%s]\n", t.Name, t.DType, strings.Join(t.Shape, ", "))
	}
	if err := w.Flush(); err != nil || meta["format"] == "sslrt" {
		return err
	}
	fmt.Fprintln(s.out, "\nsslrt import would read it so:")
	return c.inspect(s, g, path)
}

func inspectRun(s streams, g *global, path string) error {
	r, err := finetune.OpenRun(path)
	if err != nil {
		return err
	}
	metrics, err := r.LastMetrics()
	if err != nil {
		return err
	}
	tensors, meta, err := models.ListSafetensors(r.CheckpointPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if g.json {
		return printJSON(s.out, struct {
			Path       string             `json:"path"`
			Type       string             `json:"type"`
			Method     string             `json:"method"`
			Encoder    string             `json:"encoder"`
			Checkpoint map[string]string  `json:"checkpoint"` // its metadata
			Metrics    map[string]float64 `json:"metrics"`
		}{path, "run", r.Config.Method, r.Config.Encoder, meta, metrics})
	}
	config, err := r.Config.Marshal()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "run: %s of %s\n%s", r.Config.Method, r.Config.Encoder, config)
	if tensors == nil {
		fmt.Fprintln(s.out, "no checkpoint yet")
	} else {
		fmt.Fprintf(s.out, "checkpoint: step %s of %s, %d tensors\n", meta["sslrt.step"], meta["sslrt.total"], len(tensors))
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		fmt.Fprintf(s.out, "%s: %g\n", name, metrics[name])
	}
	return nil
}
