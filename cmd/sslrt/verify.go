package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
)

func newVerify(s streams, g *global) *cobra.Command {
	var run, split string
	var data []string
	var limit int
	opt := finetune.CheckOptions{Slow: sayChecking(s)}
	cmd := &cobra.Command{
		Use:   "verify MODEL.onnx",
		Short: "Compare an exported file with the run it came from",
		Long: `Verify runs an ONNX file that sslrt export wrote on ONNX Runtime and the graph of
its run, with the weights of the newest checkpoint, on the machine in Go. On random
and real images, the largest difference beside the largest value must be at most
1e-5. Real images are those of --images, else those the run was trained on.`,
		Example: `  sslrt verify encoder.onnx
  sslrt verify encoder.onnx --run runs/first --images photos/`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 0 {
				return usagef("--limit is %d, want 0 or more", limit)
			}
			if opt.BatchSize < 1 {
				return usagef("--batch-size is %d, want 1 or more", opt.BatchSize)
			}
			r, err := finetune.OpenRun(run)
			if err != nil {
				return err
			}
			images, err := verifyImages(s, r, data, split, limit)
			if err != nil {
				return err
			}
			if images != nil {
				defer images.Close()
				opt.Images = images
			}
			found, err := finetune.VerifyExported(cmd.Context(), r, args[0], opt)
			if err != nil {
				return err
			}
			for _, reason := range found.Skipped {
				fmt.Fprintln(s.err, "skipped:", reason)
			}
			if g.json {
				err = printJSON(s.out, newExportResult(r, found))
			} else {
				fmt.Fprintf(s.out, "%s: %s of %s at step %d\n", found.Path, found.Kind, r.Dir, found.Step)
				err = reportVerified(s, found)
			}
			if err == nil && len(found.Skipped) > 0 {
				err = skippedError{len(found.Skipped), images.Len()}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&run, "run", "", "run directory (default: the latest in "+finetune.RunsDir+")")
	f.StringSliceVar(&data, "images", nil, "images to compare on (default: those of the run)")
	f.StringVar(&split, "split", "", "part of --images that has parts: train or test")
	f.IntVar(&limit, "limit", 32, "compare on the first images only; 0: all")
	f.IntVar(&opt.BatchSize, "batch-size", 3, "images per run, beside runs of one")
	return cmd
}

// verifyImages opens the images to verify on. That those of the run are gone is no
// error: nil is returned.
func verifyImages(s streams, r *finetune.Run, data []string, split string, limit int) (augment.Source, error) {
	if len(data) > 0 {
		src, err := augment.Open(data, augment.SourceOptions{Split: split, DefaultSplit: "train", Stdin: s.in})
		if err != nil {
			return nil, err
		}
		return augment.First(src, limit), nil
	}
	src, err := r.Config.Open(s.in)
	if err != nil {
		fmt.Fprintln(s.err, "the images of the run cannot be read, random ones must do:", err)
		return nil, nil
	}
	return augment.First(src, limit), nil
}
