package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestQuartiles(t *testing.T) {
	for _, c := range []struct{ x, want []float64 }{
		{[]float64{3}, []float64{3, 3, 3}},
		{[]float64{4, 1, 2, 3, 5}, []float64{2, 3, 4}},
		{[]float64{1, 2}, []float64{1.25, 1.5, 1.75}},
	} {
		low, median, high := quartiles(c.x)
		if low != c.want[0] || median != c.want[1] || high != c.want[2] {
			t.Errorf("%v: got %g, %g, %g, want %v", c.x, low, median, high, c.want)
		}
	}
}

func TestBenchLine(t *testing.T) {
	for line, want := range map[string][]string{
		"BenchmarkPair/224/jpeg-2  \t     488\t   2513934 ns/op\t         2.616 cpu-ms/op\t  744958 B/op\t       9 allocs/op": {"Pair/224/jpeg", "2513934", "744958", "9"},
		"BenchmarkIDCT \t 15738369 \t 15.14 ns/op\t 0 B/op\t 0 allocs/op":                                                     {"IDCT", "15.14", "0", "0"},
		"ok  \tgithub.com/sslrt/sslrt/augment\t7.707s":                                                                        nil,
	} {
		got := benchLine.FindStringSubmatch(line)
		if want == nil && got != nil || want != nil && (got == nil || strings.Join(got[1:], " ") != strings.Join(want, " ")) {
			t.Errorf("%q: got %v, want %v", line, got, want)
		}
	}
}

// fake is a case with given values; the second side fails after some.
func fake(rate bool, ours, theirs []float64) *benchCase {
	next := func(x []float64) func() (sample, error) {
		i := -1
		return func() (sample, error) {
			if i++; i == len(x) {
				return sample{}, errors.New("no more")
			}
			return sample{value: x[i], peak: int64(1e6 * (i + 1))}, nil
		}
	}
	a, b := next(ours), next(theirs)
	return &benchCase{name: "fake", title: "a fake", unit: "s", rate: rate, target: 1.5, memory: 0.9,
		against: python.training,
		ours:    func(context.Context, bool) (sample, error) { return a() },
		theirs:  func(context.Context, python, bool) (sample, error) { return b() },
		command: [2]string{"sslrt fake", "python3 fake.py"}}
}

func TestPairs(t *testing.T) {
	s := &suite{pairs: 3, pythons: []python{{torch: "2.15.0+cpu", torchvision: "0.30"}, {torch: "2.15.0"}, {torch: "1.13", torchvision: "0.14"}}}
	r := s.measure(context.Background(), fake(false, []float64{1, 2, 4, 1}, []float64{2, 2, 2, 3}))
	if r.err != nil {
		t.Fatal(r.err)
	}
	rows := r.rows()
	for _, want := range []string{"| a fake | 2.00 s | PyTorch 2.15.0: 2.00 s | **1.00** (0.75–1.50) | 2.00 | 1.50 | 3 |", "|  | 1.00 s | PyTorch 1.13: 3.00 s | 3.00 | 3.00 |  | 1 |"} {
		if !strings.Contains(rows, want) {
			t.Errorf("got\n%swant %s", rows, want)
		}
	}
	// Rates are turned over; nothing to compare with; a failure.
	r = s.measure(context.Background(), fake(true, []float64{4, 4, 4, 4}, []float64{2, 2, 2, 2}))
	if got := r.rows(); !strings.Contains(got, "**2.00** (2.00–2.00)") {
		t.Errorf("a rate: got %s", got)
	}
	alone := &suite{pairs: 2}
	r = alone.measure(context.Background(), fake(false, []float64{3, 5}, nil))
	if got := r.rows(); !strings.Contains(got, "| a fake | 4.00 s (3.50–4.50) | | | | 1.50 | 2 |") {
		t.Errorf("alone: got %s", got)
	}
	r = s.measure(context.Background(), fake(false, []float64{1}, []float64{2}))
	if r.err == nil || !strings.Contains(r.rows(), "failed") {
		t.Errorf("a failure: got %v, %s", r.err, r.rows())
	}
}

func TestWrite(t *testing.T) {
	s := &suite{pairs: 1, pythons: []python{{torch: "2.0", torchvision: "0.15"}}}
	r := &report{machine: []string{"a machine"}, suite: s, started: time.Now(),
		gobench: []goBench{{"augment Pair", 1234567, 10, 2}},
		results: []*result{s.measure(context.Background(), fake(false, []float64{1}, []float64{2}))}}
	path := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(path, []byte("# Page\n\n"+generatedFrom+"\nold\n"+generatedTo+"\n\nend\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second time in place of the first
		if err := r.writeTo(path); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, want := range []string{"# Page\n\n" + generatedFrom, "- a machine\n", "| a fake | 1.00 s |", "| a fake | 1 MB | PyTorch 2.0: 1 MB | 1.00 | 0.90 |",
		"| augment Pair | 1.23 ms | 10 | 2 |", "    python3 fake.py\n", generatedTo + "\n\nend\n"} {
		if strings.Count(page, want) != 1 {
			t.Errorf("%q stands %d times in\n%s", want, strings.Count(page, want), page)
		}
	}
	if strings.Contains(page, "old") {
		t.Error("the old part is still there")
	}
	if err := os.WriteFile(path, []byte("# Page\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.writeTo(path); err == nil {
		t.Error("a page without the generated part: got no error")
	}
	// The page of the project has that part.
	page2, err := os.ReadFile("../../docs/performance.md")
	if err != nil || !strings.Contains(string(page2), generatedFrom) || !strings.Contains(string(page2), generatedTo) {
		t.Errorf("docs/performance.md: %v", err)
	}
}

func TestSidesAreNamedByWhatRuns(t *testing.T) {
	all := python{torch: "2.15.0+cpu", torchvision: "0.30.0+cpu", onnx: "1.32.0"}
	noONNX, noVision := all, all
	noONNX.onnx, noVision.torchvision = "", ""
	s := &suite{threads: 1, pairs: 1, images: 300}
	for _, c := range s.cases() {
		if c.theirs == nil {
			continue
		}
		kind, _, _ := strings.Cut(c.name, "/")
		want := map[string]string{"embed": "ONNX Runtime 1.32.0", "augment": "torchvision 0.30.0", "prepare": "torchvision 0.30.0"}[kind]
		if want == "" {
			want = "PyTorch 2.15.0"
		}
		if got := c.against(all); got != want {
			t.Errorf("%s: got %q, want %q", c.name, got, want)
		}
		if got := c.against(noVision); got != "" {
			t.Errorf("%s without torchvision: got %q", c.name, got)
		}
		if got := c.against(noONNX); (got == "") != (kind == "embed" || kind == "prepare") {
			t.Errorf("%s without ONNX Runtime: got %q", c.name, got)
		}
	}
}

func TestCasesHaveNamesAndCommands(t *testing.T) {
	s := &suite{sslrt: "sslrt", threads: 2, pairs: 1, images: 300}
	seen := map[string]bool{}
	for _, c := range s.cases() {
		if seen[c.name] || c.title == "" || c.command[0] == "" || (c.theirs == nil) != (c.command[1] == "") {
			t.Errorf("%+v", c)
		}
		seen[c.name] = true
	}
}
