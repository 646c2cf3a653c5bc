package main

import (
	"fmt"

	"github.com/spf13/cobra"

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
Without network, give a library file with --path.`,
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
			if g.json {
				return printJSON(s.out, struct {
					Path    string `json:"path"`
					Version string `json:"version"`
					Origin  string `json:"origin"`
				}{lib.Path, lib.Version, lib.Origin})
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
