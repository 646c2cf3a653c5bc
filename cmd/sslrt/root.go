package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/runtime/ort"
)

// streams are where a command reads and writes: results go to out, progress and
// messages to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// Exit codes, part of the command line's contract.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitSkipped     = 3 // done, but some inputs were skipped
	exitInterrupted = 130
	exitTerminated  = 143
)

// usageError is an error in how the command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// skippedError says that a command did its work but for some inputs, which it has
// listed.
type skippedError struct{ count, of int }

func (e skippedError) Error() string {
	return fmt.Sprintf("%d of %d inputs were skipped (listed above)", e.count, e.of)
}

// global are the flags of all commands.
type global struct {
	json bool
	lib  string
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, s streams) int {
	cmd := newRoot(s)
	cmd.SetArgs(args)
	called, err := cmd.ExecuteContextC(ctx)
	return exitCode(ctx, called, err, s)
}

func newRoot(s streams) *cobra.Command {
	g := &global{}
	cmd := &cobra.Command{
		Use:   "sslrt",
		Short: "Pretrain image encoders without labels, export them as ONNX, run them",
		Long: `sslrt pretrains image encoders by self-supervision, exports them as ONNX files
and runs those on ONNX Runtime: embeddings, evaluation, search.

  sslrt setup                              install ONNX Runtime
  sslrt pretrain images/                   train an encoder on a folder of images
  sslrt export encoder.onnx                write it as one ONNX file
  sslrt embed encoder.onnx images/ -o embeddings.npy`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, args []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			if g.lib == "" {
				return nil // found when it is needed
			}
			_, err := ort.Init(ort.FindOptions{Path: g.lib})
			return err
		},
	}
	cmd.SetIn(s.in)
	cmd.SetOut(s.out)
	cmd.SetErr(s.err)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.PersistentFlags().BoolVar(&g.json, "json", false, "print one JSON object on standard output")
	cmd.PersistentFlags().StringVar(&g.lib, "ort-lib", "", "ONNX Runtime's library file (default: as sslrt setup finds it)")
	for _, c := range commands {
		cmd.AddCommand(c(s, g))
	}
	wrapArgs(cmd)
	return cmd
}

// commands are the subcommands, one per file.
var commands = []func(streams, *global) *cobra.Command{
	newSetup,
	newPretrain,
	newFinetune,
	newImport,
	newExport,
	newEmbed,
	newClassify,
	newEvaluate,
	newAnomaly,
	newCompare,
	newReport,
	newCluster,
	newProject,
	newSearch,
	newAugment,
	newInspect,
	newVerify,
	newBench,
	newVersion,
}

// wrapArgs makes errors in the number of arguments usage errors.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		wrapArgs(sub)
	}
}

// exitCode prints the error of the command that was called, and says what code it ends with.
func exitCode(ctx context.Context, called *cobra.Command, err error, s streams) int {
	var usage usageError
	var skipped skippedError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &skipped):
		fmt.Fprintln(s.err, "sslrt:", err)
		return exitSkipped
	case errors.As(err, &usage):
		fmt.Fprintf(s.err, "sslrt: %v\nsee: %s --help\n", err, called.CommandPath())
		return exitUsage
	case ctx.Err() != nil:
		fmt.Fprintln(s.err, "sslrt:", err)
		if errors.Is(context.Cause(ctx), errTerminated) {
			return exitTerminated
		}
		return exitInterrupted
	}
	fmt.Fprintln(s.err, "sslrt:", err)
	return exitFailed
}

// printJSON writes the result of a command under --json.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// version is the program's version: set by the build, else the module's.
var version = ""

func programVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}

func newVersion(s streams, g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if g.json {
				return printJSON(s.out, map[string]string{"version": programVersion()})
			}
			_, err := fmt.Fprintln(s.out, "sslrt", programVersion())
			return err
		},
	}
}
