// Command golden runs the cases of the golden reference data that the code
// covers, on both machines where a graph is involved, and prints what passed,
// what failed and what is not covered:
//
//	golden [-shared DIR] [-group ops,losses,...] [-machine go,tape,ort] [-v]
//	golden -docs docs/operators.md
//
// Machine tape is the machine go on gorgonia's own tape; go and ort are the default.
// It takes whatever cases the folder holds: it looks at a case's kind,
// hyper-parameters and arrays, never at its name. It exits with 1 when a case
// fails or nothing ran, and with 2 when it was called wrongly. -docs writes the
// page about operations from the cases of group ops and from the code.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/runtime/ort"
)

func main() {
	shared := flag.String("shared", os.Getenv("SSLRT_SHARED"), "folder of reference data; default $SSLRT_SHARED, else ../shared")
	only := flag.String("group", "", "comma-separated groups to run; default all")
	names := flag.String("machine", "go,ort", "comma-separated machines for graphs: go, tape, ort")
	docs := flag.String("docs", "", "run the group ops and write the page about operations to a file; call it in the root of the repository")
	verbose := flag.Bool("v", false, "name each case as it runs")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "golden: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if *shared == "" {
		*shared = filepath.Join("..", "shared")
	}
	machines, err := openMachines(split(*names))
	if err != nil {
		fmt.Fprintln(os.Stderr, "golden:", err)
		os.Exit(2)
	}
	chosen, err := choose(split(*only))
	if err != nil {
		fmt.Fprintln(os.Stderr, "golden:", err)
		os.Exit(2)
	}
	if *docs != "" {
		if chosen, err = choose([]string{"ops"}); err != nil {
			panic(err)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	t, err := runAll(ctx, filepath.Join(*shared, "golden"), chosen, machines, *verbose)
	if err != nil {
		fmt.Fprintln(os.Stderr, "golden:", err)
		os.Exit(1)
	}
	t.print(os.Stdout)
	if *docs != "" {
		if err := writeDocs(*docs, filepath.Join(*shared, "golden"), "models/op", t); err != nil {
			fmt.Fprintln(os.Stderr, "golden:", err)
			os.Exit(1)
		}
	}
	if t.failed() > 0 || t.passed() == 0 {
		os.Exit(1)
	}
}

// group is a folder of cases and how they are run.
type group struct {
	name string

	// run runs one case: on m where a graph is involved, else once with nil.
	run   func(c *Case, m engine.Machine) error
	graph func(kind string) bool
}

var groups = []group{
	{"ops", runOp, always},
	{"losses", runLoss, always},
	{"optim", runOptim, func(kind string) bool { return kind != "lr_schedule" }},
	{"train", runTrain, always},
	{"augment", runAugment, never},
	{"preprocess", runPreprocess, never},
	{"evalmetrics", runMetric, never},
}

func always(string) bool { return true }
func never(string) bool  { return false }

func choose(names []string) ([]group, error) {
	if len(names) == 0 {
		return groups, nil
	}
	var out []group
	for _, n := range names {
		i := slices.IndexFunc(groups, func(g group) bool { return g.name == n })
		if i < 0 {
			return nil, fmt.Errorf("there is no group %q", n)
		}
		out = append(out, groups[i])
	}
	return out, nil
}

func openMachines(names []string) ([]engine.Machine, error) {
	var out []engine.Machine
	for _, n := range names {
		switch n {
		case "go":
			out = append(out, engine.Go{})
		case "tape":
			out = append(out, engine.Go{Tape: true})
		case "ort":
			if _, err := ort.Init(ort.FindOptions{}); err != nil {
				return nil, fmt.Errorf("%w (or leave it out: -machine go)", err)
			}
			out = append(out, engine.ORT{})
		default:
			return nil, fmt.Errorf("there is no machine %q: choose from go, tape and ort", n)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no machine to run on")
	}
	return out, nil
}

func runAll(ctx context.Context, dir string, chosen []group, machines []engine.Machine, verbose bool) (*table, error) {
	t := &table{}
	for _, g := range chosen {
		cases, err := readCases(filepath.Join(dir, g.name))
		if errors.Is(err, fs.ErrNotExist) {
			t.note("%s: %v", g.name, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, c := range cases {
			on := machines
			if !g.graph(c.Op) {
				on = []engine.Machine{nil}
			}
			for _, m := range on {
				if err := ctx.Err(); err != nil {
					return nil, errors.New("interrupted")
				}
				err := runCase(g, c, m)
				t.add(g.name, c, m, err)
				if verbose {
					fmt.Fprintf(os.Stderr, "%s/%s %s: %s\n", g.name, c.Name, machineName(m), status(err))
				}
			}
		}
	}
	return t, nil
}

// runCase makes a panic a failure of the one case.
func runCase(g group, c *Case, m engine.Machine) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return g.run(c, m)
}

func machineName(m engine.Machine) string {
	if m == nil {
		return "plain"
	}
	if g, ok := m.(engine.Go); ok && g.Tape {
		return "tape"
	}
	return m.Name()
}

func status(err error) string {
	if err == nil {
		return "passed"
	}
	return err.Error()
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
