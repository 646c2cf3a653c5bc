package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
)

func newEmbed(s streams, g *global) *cobra.Command {
	var f encoderFlags
	var data dataFlags
	var output string
	cmd := &cobra.Command{
		Use:   "embed MODEL.onnx DATA...",
		Short: "Write the embeddings of images",
		Long: `Embed runs an encoder over images and writes one embedding per image, in the
order of the data, by the suffix of the output:

  .parquet  columns file, label, embedding (a list of float32)
  .npy      float32 [N, D] for NumPy, with FILE.files.csv beside it: file, label
  .jsonl    one object per line: file, label, embedding
  .csv      columns file, label, e0, e1, ...
  -         as .jsonl, on standard output

DATA is a folder (class subfolders are labels), an image, a zip or tar of images,
WebDataset shards, CIFAR batches, MNIST-style IDX files, .npz or .npy arrays, a text
file of paths, a pattern, or - for paths on standard input. Images that cannot be read
are listed and left out (exit code 3).`,
		Example: `  sslrt embed encoder.onnx photos/ --output photos.npy
  sslrt embed encoder.onnx testdata/fashion-mnist --split test -o test.csv
  find photos -name '*.jpg' | sslrt embed encoder.onnx - -o -`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkResults(output, g, embeddingFiles...); err != nil {
				return err
			}
			src, err := data.open(args[1:], "", s)
			if err != nil {
				return err
			}
			defer src.Close()
			enc, err := f.loadFor(args[0], src.Len())
			if err != nil {
				return err
			}
			defer enc.Close()
			out, err := runtime.CreateAbout(output, enc.Dim(), aboutEmbeddings(args[0], enc))
			if err != nil {
				return err
			}
			defer out.Abort()
			sum, err := f.embed(cmd.Context(), s, "embed", enc, src, out)
			if err := keep(cmd.Context(), out, output, sum, src.Len(), err); err != nil {
				return err
			}
			if err := reportEmbed(s, g, output, sum, enc.Dim()); err != nil {
				return err
			}
			return f.inputs.err()
		},
	}
	f.register(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write: .parquet, .npy, .jsonl, .csv, or - for standard output")
	data.register(cmd.Flags(), true)
	return cmd
}

// keep closes the results of a batch job. One that was stopped keeps the images that
// are done, and its error says so; one that failed leaves no file.
func keep(ctx context.Context, out io.Closer, path string, sum runtime.Summary, images int, err error) error {
	stopped := err != nil && ctx.Err() != nil && sum.Done > 0
	if err != nil && !stopped {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if stopped {
		return fmt.Errorf("stopped: %s holds the first %d of %d images; run the command again for all", path, sum.Done, images)
	}
	return nil
}

// aboutEmbeddings is what a file of embeddings says about them.
func aboutEmbeddings(model string, enc *runtime.Encoder) map[string]string {
	info := enc.Info()
	about := map[string]string{
		"sslrt.model":         filepath.Base(model),
		onnx.KeyEmbeddingSize: strconv.Itoa(enc.Dim()),
		onnx.KeyVersion:       programVersion(),
	}
	if info.Method != "" {
		about[onnx.KeyMethod] = info.Method
	}
	return about
}

func reportEmbed(s streams, g *global, output string, sum runtime.Summary, dim int) error {
	if g.json {
		return printJSON(s.out, struct {
			Path          string `json:"path"`
			Images        int    `json:"images"`
			Skipped       int    `json:"skipped"`
			EmbeddingSize int    `json:"embedding_size"`
		}{output, sum.Done, len(sum.Skipped), dim})
	}
	w := s.out
	if output == "-" {
		w = s.err
		output = "standard output"
	}
	_, err := fmt.Fprintf(w, "embedded %d images, %d values each, to %s\n", sum.Done, dim, output)
	return err
}
