package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// report is all that was measured.
type report struct {
	machine []string
	suite   *suite
	started time.Time
	load    float64 // of the machine before
	gobench []goBench
	results []*result
}

// machine describes where and with what is measured, a line each.
func (s *suite) machine(ctx context.Context) []string {
	model := "unknown processor"
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`model name\s*:\s*(.*)`).FindSubmatch(data); m != nil {
			model = string(m[1])
		}
		for _, feature := range []string{"avx512f", "avx2"} {
			if bytes.Contains(data, []byte(" "+feature)) {
				model += ", " + strings.ToUpper(strings.TrimSuffix(feature, "f"))
				break
			}
		}
	}
	memory := ""
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kb int64
		if _, err := fmt.Sscanf(string(data), "MemTotal: %d kB", &kb); err == nil {
			memory = fmt.Sprintf(", %.0f GB", float64(kb)/1e6)
		}
	}
	lines := []string{fmt.Sprintf("%s, %d processors%s, %s/%s", model, runtime.NumCPU(), memory, runtime.GOOS, runtime.GOARCH),
		fmt.Sprintf("%d threads and %d workers on both sides, float32", s.threads, s.threads)}
	version := "unknown version"
	if p, err := runProgram(ctx, s.sslrt, "version"); err == nil {
		version = strings.TrimSpace(string(p.out))
	}
	var lib struct {
		Version string `json:"version"`
		Kernels string `json:"kernels"`
	}
	if _, err := runJSON(ctx, &lib, s.sslrt, "setup", "--json"); err == nil {
		version += ", ONNX Runtime " + lib.Version
		if lib.Kernels != "" {
			version += " with the kernels for training"
		}
	}
	lines = append(lines, version+", "+runtime.Version())
	for i, p := range s.pythons {
		lines = append(lines, fmt.Sprintf("Python %d: %v", i+1, p))
	}
	return lines
}

// markdown is the generated part of the page.
func (r *report) markdown() string {
	var out strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&out, format, args...) }
	for _, line := range r.machine {
		p("- %s\n", line)
	}
	p("- load before %.2f; %d pairs of short cases; %s\n", r.load, r.suite.pairs, r.started.Format("2006-01-02"))
	p("\nRatio: how many times faster sslrt is, the median of the pairs and between what the middle half lies; beside\nit that of the fastest runs of both sides.\n")
	p("\n| case | sslrt | Python | ratio | fastest | wanted | pairs |\n|---|---|---|---|---|---|---|\n")
	for _, res := range r.results {
		out.WriteString(res.rows())
	}
	if memory := r.memoryRows(); memory != "" {
		p("\nPeak memory of the process after ten steps, and how many times more the other side takes:\n")
		p("\n| case | sslrt | Python | ratio | wanted |\n|---|---|---|---|---|\n%s", memory)
	}
	if len(r.gobench) > 0 {
		p("\nBenchmarks of the packages:\n\n| benchmark | time | bytes | allocations |\n|---|---|---|---|\n")
		for _, b := range r.gobench {
			p("| %s | %s | %d | %d |\n", b.name, duration(b.ns), b.bytes, b.allocs)
		}
	}
	p("\nWhat was run, one pair after the other:\n\n")
	for _, res := range r.results {
		p("    # %s\n    %s\n", res.title, res.command[0])
		if res.command[1] != "" && len(res.series) > 0 {
			p("    %s\n", res.command[1])
		}
	}
	return out.String()
}

// rows are the lines of a case in the table.
func (r *result) rows() string {
	var out strings.Builder
	wanted := ""
	if r.target > 0 {
		wanted = fmt.Sprintf("%.2f", r.target)
	}
	switch {
	case r.err != nil:
		fmt.Fprintf(&out, "| %s | failed | | | | %s | |\n", r.title, wanted)
	case len(r.series) == 0:
		low, median, high := quartiles(r.values)
		value := fmt.Sprintf("%s %s", number(median), r.unit)
		if len(r.values) > 1 {
			value += fmt.Sprintf(" (%s–%s)", number(low), number(high))
		}
		fmt.Fprintf(&out, "| %s | %s | | | | %s | %d |\n", r.title, value, wanted, len(r.values))
	}
	for i, s := range r.series {
		title := r.title
		if i > 0 {
			title, wanted = "", ""
		}
		value := func(of []sample, f func(sample) float64) string { return number(medianOf(of, f)) + " " + r.unit }
		main := func(x sample) float64 { return x.value }
		fmt.Fprintf(&out, "| %s | %s | %s: %s | %s | %.2f | %s | %d |\n", title, value(s.ours, main), r.against(s.python), value(s.theirs, main),
			spread(s.ratios(r.ratio)), r.ratio(r.fastest(s.ours), r.fastest(s.theirs)), wanted, len(s.ours))
		if r.benchCase.alone != "" {
			alone := func(x sample) float64 { return x.alone }
			fmt.Fprintf(&out, "| %s | %s | %s: %s | %s | | | |\n", r.benchCase.alone, value(s.ours, alone), r.against(s.python), value(s.theirs, alone),
				spread(s.ratios(r.aloneRatio)))
		}
	}
	return out.String()
}

// memoryRows compares the peaks of the first pairs.
func (r *report) memoryRows() string {
	var out strings.Builder
	for _, res := range r.results {
		for i, s := range res.series {
			if res.memory == 0 || len(s.ours) == 0 || s.ours[0].peak == 0 || s.theirs[0].peak == 0 {
				continue
			}
			title, wanted := res.title, fmt.Sprintf("%.2f", res.memory)
			if i > 0 {
				title, wanted = "", ""
			}
			a, b := float64(s.ours[0].peak), float64(s.theirs[0].peak)
			fmt.Fprintf(&out, "| %s | %.0f MB | %s: %.0f MB | %.2f | %s |\n", title, a/1e6, res.against(s.python), b/1e6, b/a, wanted)
		}
	}
	return out.String()
}

func spread(ratios []float64) string {
	low, median, high := quartiles(ratios)
	if len(ratios) == 1 {
		return fmt.Sprintf("%.2f", median)
	}
	return fmt.Sprintf("**%.2f** (%.2f–%.2f)", median, low, high)
}

// number prints three digits.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// loadAverage is that of the last minute, 0 where it is unknown.
func loadAverage() float64 {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	var one float64
	if _, err := fmt.Sscan(string(data), &one); err != nil {
		return 0
	}
	return one
}

const (
	generatedFrom = "<!-- from here on written by make bench -->"
	generatedTo   = "<!-- to here -->"
)

// writeTo replaces the generated part of a page.
func (r *report) writeTo(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), generatedFrom)
	_, after, ok2 := strings.Cut(rest, generatedTo)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no generated part: want the lines %q and %q", path, generatedFrom, generatedTo)
	}
	page := before + generatedFrom + "\n\n" + r.markdown() + "\n" + generatedTo + after
	tmp := path + ".part"
	if err := os.WriteFile(tmp, []byte(page), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
