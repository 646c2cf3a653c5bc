package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/runtime/ort"
)

func newSetup(s streams, g *global) *cobra.Command {
	var opt ort.SetupOptions
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Find or install the ONNX Runtime library",
		Long: `Setup makes sure that an ONNX Runtime library is there, and prints the one that
will be used. When none is found it takes version ` + ort.Version + ` from npm, else from pip,
into the user's cache; both check what they download, and no install script is run.
Without network, give a library file with --path.

Then it compiles the kernels that make training steps faster, for this processor, with
the C compiler that Go uses too (or CC). Without a compiler training works and is slower.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case opt.From != "auto" && opt.From != "npm" && opt.From != "pip":
				return usagef("--from is %q: choose auto, npm or pip", opt.From)
			case opt.Path != "" && opt.From != "auto":
				return usagef("--path and --from exclude each other")
			}
			opt.Progress = func(line string) { fmt.Fprintln(s.err, line) }
			if _, err := ort.Setup(cmd.Context(), opt); err != nil {
				return err
			}
			// What was installed need not be what is used: a set variable comes first.
			lib, err := ort.Find(ort.FindOptions{Path: g.lib})
			if err != nil {
				return err
			}
			kernels, err := buildKernels(cmd.Context(), lib, s)
			if err != nil {
				return err
			}
			if g.json {
				return printJSON(s.out, struct {
					Path    string `json:"path"`
					Version string `json:"version"`
					Origin  string `json:"origin"`
					Kernels string `json:"kernels"` // empty: none
				}{lib.Path, lib.Version, lib.Origin, kernels})
			}
			_, err = fmt.Fprintln(s.out, lib)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&opt.From, "from", "auto", "where to take it from: auto (npm, then pip), npm or pip")
	f.StringVar(&opt.Path, "path", "", "a library file to copy into the cache")
	f.BoolVar(&opt.Force, "force", false, "install even where one is found")
	return cmd
}

// buildKernels compiles the kernels of the training step. That it cannot is said, and
// is no failure.
func buildKernels(ctx context.Context, lib ort.Library, s streams) (string, error) {
	if _, err := ort.Init(ort.FindOptions{Path: lib.Path}); err != nil {
		return "", err
	}
	path, err := engine.BuildKernels(ctx)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		fmt.Fprintf(s.err, "no kernels for training, which works without them and is slower: %v\n", err)
	case path == "":
		fmt.Fprintln(s.err, "no kernels for training: ONNX Runtime has no layout for them on this processor")
	default:
		fmt.Fprintln(s.err, "kernels for training:", path)
	}
	return path, nil
}
