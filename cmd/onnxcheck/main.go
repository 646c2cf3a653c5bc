// Command onnxcheck holds the reading of ONNX files to data that others made:
//
//	onnxcheck conformance [-shared DIR] [-v]   ONNX's own tests of operators
//	onnxcheck models [-shared DIR] [-machine go,ort] [-python PYTHON] [MODEL...]
//	onnxcheck operators                        the list of what is supported, as Markdown
//
// It takes whatever tests and models the folder holds. It exits with 1 when one
// fails or none ran, and with 2 when it was called wrongly.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	if len(args) == 0 {
		return usage("want a command: conformance, models or operators")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	shared := flags.String("shared", os.Getenv("SSLRT_SHARED"), "folder of reference data; default $SSLRT_SHARED, else ../shared")
	verbose := flags.Bool("v", false, "name each test as it runs")
	machines := flags.String("machine", "go,ort", "comma-separated machines for models")
	python := flags.String("python", "", "a Python with onnx, which checks the files written")
	if err := flags.Parse(args[1:]); err != nil {
		return 2
	}
	if *shared == "" {
		*shared = filepath.Join("..", "shared")
	}
	var err error
	switch args[0] {
	case "conformance":
		if flags.NArg() > 0 {
			return usage(fmt.Sprintf("unexpected argument %q", flags.Arg(0)))
		}
		err = conformance(ctx, os.Stdout, filepath.Join(*shared, "onnx-conformance"), *verbose)
	case "models":
		err = checkModels(ctx, os.Stdout, modelOptions{shared: *shared, machines: *machines, python: *python, only: flags.Args()})
	case "operators":
		writeOperators(os.Stdout)
	default:
		return usage(fmt.Sprintf("there is no command %q: want conformance, models or operators", args[0]))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "onnxcheck:", err)
		return 1
	}
	return 0
}

func usage(what string) int {
	fmt.Fprintln(os.Stderr, "onnxcheck:", what)
	return 2
}
