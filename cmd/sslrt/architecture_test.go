package main

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sslrt/sslrt/"

// layers says what each package may import of this module: what stands in its
// line, and what those may import. A package that is not here is an error, so that
// a new one gets its place first. The table is that of CONTRIBUTING.md.
var layers = map[string][]string{
	"cmd/sslrt":       {"finetune"},
	"cmd/bench":       {"augment", "finetune/metrics"},
	"cmd/golden":      {"finetune"},
	"cmd/checkpoints": {"finetune"},

	"cmd/onnxcheck": {"finetune"},

	"finetune":                {"finetune/trace", "finetune/objective", "finetune/optim", "finetune/knn", "finetune/metrics", "finetune/linear", "finetune/cluster", "finetune/project", "finetune/search", "finetune/anomaly", "finetune/probe", "finetune/compare", "finetune/report", "finetune/detector", "finetune/tensorboard", "models/checkpoint", "runtime"},
	"finetune/objective":      {"finetune/train"},
	"finetune/optim":          {"finetune/train"},
	"finetune/train":          {"finetune/engine"},
	"finetune/engine":         {"finetune/engine/ortpass", "finetune/engine/ortkernel", "export", "runtime/ort"},
	"finetune/trace":          {"finetune/engine"},
	"finetune/engine/ortpass": {"models/onnx"},

	"finetune/engine/ortkernel": {},

	"finetune/knn":         {"finetune/distance"},
	"finetune/distance":    {},
	"finetune/metrics":     {"finetune/distance"},
	"finetune/linear":      {"finetune/distance"},
	"finetune/cluster":     {"finetune/distance", "models/onnx"},
	"finetune/search":      {"finetune/knn", "finetune/cluster", "finetune/distance"},
	"finetune/project":     {"finetune/distance", "augment"},
	"finetune/anomaly":     {"finetune/distance"},
	"finetune/probe":       {"finetune/linear", "finetune/metrics", "models/onnx"},
	"finetune/report":      {},
	"finetune/compare":     {"finetune/probe", "finetune/knn", "finetune/cluster", "finetune/metrics"},
	"finetune/detector":    {"finetune/metrics", "finetune/cluster", "runtime"},
	"finetune/tensorboard": {"augment"},

	"export":            {"models", "augment"},
	"models/checkpoint": {"models"},
	"models":            {"models/op"},
	"models/op":         {"models/onnx"},
	"models/onnx":       {},

	"runtime":     {"runtime/ort", "augment", "models/onnx"},
	"runtime/ort": {},
	"augment":     {"augment/internal/jpeg", "augment/internal/libjpeg", "augment/npy"},

	"augment/internal/jpeg":    {"augment/internal/kernel"},
	"augment/internal/libjpeg": {},
	"augment/internal/kernel":  {},
	"augment/npy":              {},
}

// deployed packages stay small: nothing of the training stack is below them.
func deployed(pkg string) bool {
	return pkg == "augment" || strings.HasPrefix(pkg, "augment/") || pkg == "models/onnx" || pkg == "runtime" || strings.HasPrefix(pkg, "runtime/")
}

// topLevel are the folders that may hold Go packages.
var topLevel = []string{"cmd", "finetune", "export", "models", "runtime", "augment"}

// listed is a package of this module as "go list" sees it, with paths relative to
// the module.
type listed struct{ imports, deps []string }

func listPackages(t *testing.T) map[string]listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", "{{.ImportPath}}|{{join .Imports \" \"}}|{{join .Deps \" \"}}", module+"...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	found := map[string]listed{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(line, "|")
		found[strings.TrimPrefix(fields[0], module)] = listed{strings.Fields(fields[1]), strings.Fields(fields[2])}
	}
	if len(found) == 0 {
		t.Fatal("go list found no package")
	}
	return found
}

// below returns all that pkg may import by the table.
func below(pkg string) map[string]bool {
	all := map[string]bool{}
	var add func(string)
	add = func(p string) {
		for _, q := range layers[p] {
			if !all[q] {
				all[q] = true
				add(q)
			}
		}
	}
	add(pkg)
	return all
}

func TestImportRules(t *testing.T) {
	packages := listPackages(t)
	for _, pkg := range slices.Sorted(maps.Keys(packages)) {
		if _, ok := layers[pkg]; !ok {
			t.Errorf("%s has no place in the table of layers", pkg)
			continue
		}
		if top, _, _ := strings.Cut(pkg, "/"); !slices.Contains(topLevel, top) {
			t.Errorf("%s: packages stand in one of %v", pkg, topLevel)
		}
		allowed := below(pkg)
		for _, imp := range packages[pkg].imports {
			own, ok := strings.CutPrefix(imp, module)
			if ok && !allowed[own] {
				t.Errorf("%s imports %s, which does not stand below it", pkg, own)
			}
			if imp == "github.com/yalue/onnxruntime_go" && pkg != "runtime/ort" {
				t.Errorf("%s imports %s: only runtime/ort does", pkg, imp)
			}
			if strings.HasPrefix(imp, "github.com/owulveryck/onnx-go") && pkg != "export" {
				t.Errorf("%s imports %s: only export does", pkg, imp)
			}
			if imp == "github.com/spf13/cobra" && pkg != "cmd/sslrt" {
				t.Errorf("%s imports %s: only cmd/sslrt does", pkg, imp)
			}
		}
		if deployed(pkg) {
			for _, dep := range packages[pkg].deps {
				if strings.HasPrefix(dep, "gorgonia.org/") {
					t.Errorf("%s reaches %s", pkg, dep)
				}
			}
		}
	}
}

// TestLayersAreOrdered checks the table itself: without this a cycle in it would
// allow everything.
func TestLayersAreOrdered(t *testing.T) {
	for pkg, direct := range layers {
		if below(pkg)[pkg] {
			t.Errorf("%s stands below itself", pkg)
		}
		for _, d := range direct {
			if _, ok := layers[d]; !ok {
				t.Errorf("%s: its layer %s is not in the table", pkg, d)
			}
		}
	}
	for pkg := range layers {
		if !deployed(pkg) {
			continue
		}
		for b := range below(pkg) {
			if !deployed(b) {
				t.Errorf("%s is deployed, %s below it is not", pkg, b)
			}
		}
	}
}
