package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// benchPackages are those where time is spent.
var benchPackages = []string{"./models/op", "./finetune/engine/...", "./augment/...", "./runtime/...", "./finetune/knn", "./finetune/cluster", "./finetune/distance"}

// goBench is a line of go test -bench.
type goBench struct {
	name   string // package/Benchmark
	ns     float64
	bytes  int
	allocs int
}

var benchLine = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op.*?\s(\d+) B/op\s+(\d+) allocs/op`)

func goBenchmarks(ctx context.Context) ([]goBench, error) {
	fmt.Println("\nbenchmarks of the packages")
	p, err := runProgram(ctx, "go", append([]string{"test", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", "0.3s"}, benchPackages...)...)
	if err != nil {
		return nil, err
	}
	var out []goBench
	pkg := ""
	for s := bufio.NewScanner(bytes.NewReader(p.out)); s.Scan(); {
		line := s.Text()
		if name, ok := strings.CutPrefix(line, "pkg: github.com/sslrt/sslrt/"); ok {
			pkg = name
		}
		m := benchLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		fmt.Println("  " + line)
		b := goBench{name: pkg + " " + m[1]}
		b.ns, _ = strconv.ParseFloat(m[2], 64)
		b.bytes, _ = strconv.Atoi(m[3])
		b.allocs, _ = strconv.Atoi(m[4])
		out = append(out, b)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("go test -bench printed no benchmark")
	}
	return out, nil
}

// duration prints nanoseconds with three digits.
func duration(ns float64) string {
	for _, u := range []struct {
		name string
		size float64
	}{{"s", 1e9}, {"ms", 1e6}, {"µs", 1e3}} {
		if ns >= u.size {
			return fmt.Sprintf("%.3g %s", ns/u.size, u.name)
		}
	}
	return fmt.Sprintf("%.3g ns", ns)
}
