package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// Every measure agrees with scikit-learn's and SciPy's numbers.
func TestMetricsOfReferenceData(t *testing.T) {
	shared := os.Getenv("SSLRT_SHARED")
	if shared == "" {
		shared = "../shared"
	}
	if !filepath.IsAbs(shared) {
		shared = filepath.Join("..", "..", shared) // relative to the module's root
	}
	dir := filepath.Join(shared, "golden")
	if _, err := os.Stat(filepath.Join(dir, "evalmetrics")); err != nil {
		t.Skipf("no reference data: %v (set SSLRT_SHARED)", err)
	}
	chosen, err := choose([]string{"evalmetrics"})
	if err != nil {
		t.Fatal(err)
	}
	table, err := runAll(context.Background(), dir, chosen, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if table.failed() > 0 || table.passed() == 0 {
		table.print(os.Stdout)
		t.Errorf("%d passed, %d failed", table.passed(), table.failed())
	}
}
