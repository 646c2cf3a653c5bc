package main

import (
	"flag"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "renew the part of docs/operators.md that the code gives")

var kindRow = regexp.MustCompile(`(?m)^\| (\S+) \| (\d+)/(\d+) \| (\d+)/(\d+) \|`)

// TestOperatorsPage: docs/operators.md names every kind of case that there is a
// builder for, all of their cases passed, and its list of functions is the code's.
func TestOperatorsPage(t *testing.T) {
	const path = "../../docs/operators.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	code, err := codeDocs("../../models/op")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, []byte(renewDocs(string(page), code)), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	var kinds []string
	for _, m := range kindRow.FindAllStringSubmatch(string(page), -1) {
		kinds = append(kinds, m[1])
		if m[2] != m[3] || m[4] != m[5] || m[2] != m[4] {
			t.Errorf("%s: %s/%s cases pass on go, %s/%s on ort", m[1], m[2], m[3], m[4], m[5])
		}
	}
	if want := slices.Sorted(maps.Keys(opKinds)); !slices.Equal(kinds, want) {
		t.Errorf("the page has the kinds %v, the code %v: run go run ./cmd/golden -docs docs/operators.md", kinds, want)
	}
	if renewDocs(string(page), code) != string(page) {
		t.Error("the list of functions is not the code's: run go test ./cmd/golden -run TestOperatorsPage -update")
	}
}
