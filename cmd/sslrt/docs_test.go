package main

import (
	"context"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime/ort"
)

var codeBlock = regexp.MustCompile("(?ms)^```(sh|go)\n(.*?)^```")

// blocks returns the code of one language in a document.
func blocks(t *testing.T, path, language string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range codeBlock.FindAllStringSubmatch(string(text), -1) {
		if m[1] == language {
			out = append(out, m[2])
		}
	}
	return out
}

// TestDocumentedCommands parses every command line of the documents: commands,
// flags and the number of arguments must be right.
func TestDocumentedCommands(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, page := range append(pages, "../../README.md") {
		for _, block := range blocks(t, page, "sh") {
			for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
				line, _, _ = strings.Cut(line, " #")
				for part := range strings.SplitSeq(line, "|") {
					fields := strings.Fields(strings.ReplaceAll(part, "'", ""))
					if len(fields) == 0 || filepath.Base(fields[0]) != "sslrt" {
						continue
					}
					seen++
					root := newRoot(streams{strings.NewReader(""), io.Discard, io.Discard})
					cmd, args, err := root.Find(fields[1:])
					if err == nil {
						err = cmd.ParseFlags(args)
					}
					if err == nil {
						err = cmd.ValidateArgs(cmd.Flags().Args())
					}
					if err != nil {
						t.Errorf("%s: %s: %v", filepath.Base(page), strings.TrimSpace(part), err)
					}
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("found %d commands in the documents, want more: is the pattern right?", seen)
	}
}

// TestDocumentedFlags wants every flag of every command in some document; those of
// bench, which is for who works on the program, are in its help.
func TestDocumentedFlags(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, flag := range regexp.MustCompile(`--[A-Za-z][A-Za-z0-9-]*`).FindAllString(string(text), -1) {
			known[strings.TrimPrefix(flag, "--")] = true
		}
	}
	missing := map[string][]string{}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "bench" {
			return
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !known[f.Name] {
				missing[f.Name] = append(missing[f.Name], cmd.CommandPath())
			}
		})
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(streams{strings.NewReader(""), io.Discard, io.Discard}))
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("no document has --%s (%s)", name, strings.Join(missing[name], ", "))
	}
}

// TestDocumentedAugmentations wants every transform and preset named.
func TestDocumentedAugmentations(t *testing.T) {
	page, err := os.ReadFile("../../docs/augment.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Concat(augment.TransformNames(), augment.Presets()) {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/augment.md has no %s", name)
		}
	}
	for _, text := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```").FindAllStringSubmatch(string(page), -1) {
		c := finetune.DefaultConfig()
		if strings.HasPrefix(text[1], "-") {
			err = c.Set("augment", text[1])
		} else {
			err = c.Apply([]byte(text[1]))
		}
		if err != nil {
			t.Errorf("%v in\n%s", err, text[1])
		}
	}
}

// TestDocumentedProgram builds the program of docs/library.md and runs it on
// pictures.
func TestDocumentedProgram(t *testing.T) {
	lib, err := ort.Find(ort.FindOptions{})
	if err != nil {
		t.Skip(err)
	}
	programs := blocks(t, "../../docs/library.md", "go")
	if len(programs) == 0 {
		t.Fatal("docs/library.md has no program")
	}
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if err := os.WriteFile(source, []byte(programs[0]), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", binary, source)
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info := onnx.Info{Kind: onnx.KindEncoder, Preprocess: augment.EvalPreprocess(8).Metadata()}
	if err := writeEncoder(filepath.Join(dir, "encoder.onnx"), info); err != nil {
		t.Fatal(err)
	}
	for name, rgb := range map[string][]string{
		"photos/a.png": {"200", "10", "10"}, "photos/b.png": {"10", "200", "10"},
		"photos/c.png": {"10", "190", "30"}, "query.png": {"15", "210", "5"},
	} {
		if err := writePicture(filepath.Join(dir, name), rgb); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(context.Background(), binary)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), ort.EnvLibrary+"="+lib.Path)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	nearest := regexp.MustCompile(`photos.[abc]\.png`).FindAllString(string(out), -1)
	if len(nearest) < 2 || !strings.Contains(nearest[0], "b.png") || !strings.Contains(nearest[1], "c.png") {
		t.Errorf("got %v in %q, want b.png, then c.png", nearest, out)
	}
}
