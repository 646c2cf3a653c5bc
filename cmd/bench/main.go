// Command bench measures sslrt beside PyTorch, torchvision and Python's ONNX Runtime on the same machine, and
// writes the table of docs/performance.md. It runs the benchmarks of the Go packages too.
//
//	go run ./cmd/bench -python python3                        all cases, printed
//	go run ./cmd/bench -python python3 -write docs/performance.md
//	go run ./cmd/bench -case step/resnet18 -pairs 3           some cases
//	go run ./cmd/bench -list
//
// Programs take turns in pairs: sslrt, Python; Python, sslrt; and so on. A pair gives a ratio, and the median of
// the ratios counts. Both sides have -threads threads and as many workers. -python may list several: all pairs
// go to the first, a fifth of them to each of the others. What needs a package that a Python has not is left out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// suite is what all cases share.
type suite struct {
	sslrt   string // the program
	threads int
	pairs   int
	images  int    // of an embedding job
	data    string // generated images, kept
	scratch string // runs and outputs, thrown away
	pythons []python
}

func run(ctx context.Context) error {
	s := &suite{}
	pythons := flag.String("python", "python3", "Python programs, separated by commas; empty: none")
	only := flag.String("case", "", "run the cases whose names match this regular expression")
	list := flag.Bool("list", false, "list the cases")
	gobench := flag.Bool("go", true, "run the benchmarks of the Go packages, unless -case is given")
	write := flag.String("write", "", "write the results into the generated part of this page; needs all cases")
	flag.StringVar(&s.sslrt, "sslrt", "bin/sslrt", "the program to measure")
	flag.StringVar(&s.data, "data", filepath.Join(os.TempDir(), "sslrt-bench-data"), "folder for generated images, which are kept")
	flag.IntVar(&s.threads, "threads", 2, "of both sides, and as many workers")
	flag.IntVar(&s.pairs, "pairs", 10, "interleaved pairs of a short case; long ones take fewer")
	flag.IntVar(&s.images, "images", 5000, "of an embedding job")
	flag.Parse()
	if flag.NArg() > 0 || s.threads < 1 || s.pairs < 1 || s.images < 300 {
		return errors.New("want no arguments, -threads and -pairs of 1 or more, -images of 300 or more")
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-case: %w", err)
	}
	var chosen []*benchCase
	for _, c := range s.cases() {
		if match.MatchString(c.name) {
			chosen = append(chosen, c)
		}
	}
	if *list {
		for _, c := range chosen {
			fmt.Printf("%-24s %s\n", c.name, c.title)
		}
		return nil
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no case matches %q: see -list", *only)
	}
	if *write != "" && *only != "" {
		return errors.New("-write needs all cases: leave out -case")
	}
	if s.sslrt, err = filepath.Abs(s.sslrt); err != nil {
		return err
	}
	if _, err := os.Stat(s.sslrt); err != nil {
		return fmt.Errorf("%w: run make build", err)
	}
	if s.scratch, err = os.MkdirTemp("", "sslrt-bench-run-"); err != nil {
		return err
	}
	defer os.RemoveAll(s.scratch)
	if *pythons != "" {
		for path := range strings.SplitSeq(*pythons, ",") {
			s.pythons = append(s.pythons, findPython(ctx, path))
		}
	}
	started := time.Now()
	r := &report{machine: s.machine(ctx), suite: s, started: started, load: loadAverage()}
	fmt.Println(strings.Join(r.machine, "\n"))
	if r.load > 0.3 {
		fmt.Printf("warning: the load is %.2f before anything has begun: other work on this machine spoils times, PyTorch's most\n", r.load)
	}
	if *gobench && *only == "" {
		if r.gobench, err = goBenchmarks(ctx); err != nil {
			return err
		}
	}
	failed := 0
	for _, c := range chosen {
		res := s.measure(ctx, c)
		if err := ctx.Err(); err != nil {
			return err
		}
		if res.err != nil {
			failed++
		}
		r.results = append(r.results, res)
	}
	fmt.Printf("\n%s\n", r.markdown())
	fmt.Printf("took %s on %d processors\n", time.Since(started).Round(time.Second), runtime.NumCPU())
	if *write != "" {
		if err := r.writeTo(*write); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d cases failed", failed, len(chosen))
	}
	return nil
}
