package ortkernel_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/finetune/engine/ortkernel"
)

// emptyCache makes the user's cache an empty folder.
func emptyCache(t *testing.T) string {
	dir := t.TempDir()
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "LocalAppData"} {
		t.Setenv(name, dir)
	}
	return dir
}

func TestBuild(t *testing.T) {
	cache := emptyCache(t)
	for _, block := range []int{8, 16} {
		if path, ok := ortkernel.Find(block); ok {
			t.Fatalf("found %s in an empty cache", path)
		}
		path, err := ortkernel.Build(context.Background(), block)
		if errors.Is(err, ortkernel.ErrNoCompiler) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if found, ok := ortkernel.Find(block); !ok || found != path {
			t.Errorf("Find returns %q, %v after Build gave %q", found, ok, path)
		}
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ortkernel.Build(context.Background(), block); err != nil || again != path {
			t.Errorf("the second Build returns %q, %v", again, err)
		}
		if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
			t.Error("the second Build built again")
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "build-*")); len(left) > 0 {
			t.Errorf("%v is left behind", left)
		}
		if !strings.HasPrefix(path, cache) {
			t.Errorf("%s is outside the cache", path)
		}
		t.Setenv(ortkernel.EnvOff, "1")
		if path, ok := ortkernel.Find(block); ok {
			t.Errorf("found %s in spite of %s", path, ortkernel.EnvOff)
		}
		t.Setenv(ortkernel.EnvOff, "")
	}
}

func TestBuildFails(t *testing.T) {
	emptyCache(t)
	for _, block := range []int{-8, 0, 2, 12, 128} {
		if _, err := ortkernel.Build(context.Background(), block); err == nil || !strings.Contains(err.Error(), "power of two") {
			t.Errorf("blocks of %d: got %v", block, err)
		}
	}
	t.Setenv("CC", filepath.Join(t.TempDir(), "no-such-compiler"))
	if _, err := ortkernel.Build(context.Background(), 8); err == nil || !strings.Contains(err.Error(), "no-such-compiler") {
		t.Errorf("a compiler that is not there: got %v", err)
	}
	t.Setenv("CC", "")
	t.Setenv("PATH", t.TempDir())
	if _, err := ortkernel.Build(context.Background(), 8); !errors.Is(err, ortkernel.ErrNoCompiler) {
		t.Errorf("no compiler: got %v", err)
	}
	if path, ok := ortkernel.Find(8); ok {
		t.Errorf("a failed build left %s", path)
	}
}

func ExampleFind() {
	if _, ok := ortkernel.Find(16); !ok {
		fmt.Println("sslrt setup builds the kernels")
	}
}
