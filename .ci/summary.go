//go:build ignore

// Command summary reads what "go test -json" writes and prints what a person wants
// to know: each package, the output of what failed, the reasons of what was
// skipped, and the counts. It exits with 1 if anything failed or no test ran.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// event is one line of test2json; see "go doc test2json".
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of a build's output
	Elapsed                       float64
}

type test struct{ pkg, name string }

type slow struct {
	test
	seconds float64
}

func main() {
	started := time.Now()
	output := map[test][]string{}
	var failed, failedPackages []test
	var slowest []slow
	skipped := map[string][]string{} // reason: tests
	passed, packages := 0, 0
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		var e event
		if json.Unmarshal(in.Bytes(), &e) != nil || e.Action == "" {
			fmt.Println(in.Text())
			continue
		}
		t := test{e.Package, e.Test}
		switch e.Action {
		case "output":
			output[t] = append(output[t], e.Output)
		case "build-output":
			fmt.Print(e.Output)
		case "fail":
			if e.Test == "" {
				failedPackages = append(failedPackages, t)
			} else {
				failed = append(failed, t)
			}
			fmt.Printf("FAIL %s %s (%.1f s)\n%s", e.Package, e.Test, e.Elapsed, strings.Join(output[t], ""))
			delete(output, t)
		case "pass":
			delete(output, t)
			if e.Test == "" {
				packages++
				fmt.Printf("ok   %s (%.1f s)\n", e.Package, e.Elapsed)
				break
			}
			passed++
			slowest = append(slowest, slow{t, e.Elapsed})
		case "skip":
			if e.Test != "" {
				r := reason(output[t])
				skipped[r] = append(skipped[r], e.Test)
			}
			delete(output, t)
		}
	}
	if err := in.Err(); err != nil {
		fmt.Println("summary: read the tests' output:", err)
		os.Exit(1)
	}

	slices.SortFunc(slowest, func(a, b slow) int { return cmp.Compare(b.seconds, a.seconds) })
	fmt.Println("\nslowest:")
	for _, s := range slowest[:min(5, len(slowest))] {
		fmt.Printf("  %6.1f s  %s %s\n", s.seconds, s.pkg, s.name)
	}
	nskipped := 0
	for _, r := range slices.Sorted(maps.Keys(skipped)) {
		tests := skipped[r]
		fmt.Printf("skipped %d (%s, ...): %s\n", len(tests), tests[0], r)
		nskipped += len(tests)
	}
	for _, t := range append(failedPackages, failed...) {
		fmt.Println("failed:", t.pkg, t.name)
	}
	fmt.Printf("tests: %d passed, %d failed, %d skipped; packages: %d ok, %d failed; %s\n",
		passed, len(failed), nskipped, packages, len(failedPackages), time.Since(started).Round(time.Second))
	if len(failed)+len(failedPackages) > 0 || passed == 0 {
		os.Exit(1)
	}
}

// reason returns what a test said when it skipped itself.
func reason(output []string) string {
	for _, line := range output {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			return line
		}
	}
	return "no reason given"
}
