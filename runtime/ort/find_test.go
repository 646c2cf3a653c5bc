package ort

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// fakeLibrary compiles a shared library that states the given version.
func fakeLibrary(t *testing.T, dir, version string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("compiling a library for this test is done on Unix only")
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
	src := filepath.Join(t.TempDir(), "fake.c")
	code := `typedef struct { const void *(*api)(unsigned); const char *(*version)(void); } base;
static const void *api(unsigned v) { return 0; }
static const char *version(void) { return "` + version + `"; }
static const base b = { api, version };
const base *OrtGetApiBase(void) { return &b; }
`
	if err := os.WriteFile(src, []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	lib := filepath.Join(dir, libraryName())
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-o", lib, src).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return lib
}

// emptyCache points the user's cache at an empty folder and clears the variable.
func emptyCache(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "cache"))
	t.Setenv("LocalAppData", home)
	t.Setenv(EnvLibrary, "")
	dir, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFindOrder(t *testing.T) {
	cache := emptyCache(t)
	inCache := filepath.Join(cache, Version)
	if err := os.MkdirAll(inCache, 0o755); err != nil {
		t.Fatal(err)
	}
	cached := fakeLibrary(t, inCache, "1.30.0")
	env := fakeLibrary(t, t.TempDir(), "1.31.2")
	flag := fakeLibrary(t, t.TempDir(), "1.29.0")

	got, err := Find(FindOptions{})
	if want := (Library{cached, "1.30.0", "cache"}); err != nil || got != want {
		t.Errorf("cache: got %v, %v, want %v", got, err, want)
	}
	t.Setenv(EnvLibrary, env)
	got, err = Find(FindOptions{})
	if want := (Library{env, "1.31.2", EnvLibrary}); err != nil || got != want {
		t.Errorf("environment: got %v, %v, want %v", got, err, want)
	}
	got, err = Find(FindOptions{Path: flag})
	if want := (Library{flag, "1.29.0", "path"}); err != nil || got != want {
		t.Errorf("path: got %v, %v, want %v", got, err, want)
	}
}

func TestFindRejects(t *testing.T) {
	emptyCache(t)
	dir := t.TempDir()
	text := filepath.Join(dir, "text.so")
	if err := os.WriteFile(text, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	old := fakeLibrary(t, dir, "1.22.1")
	for _, c := range []struct{ path, want string }{
		{filepath.Join(dir, "absent.so"), "no such file"},
		{dir, "is a folder"},
		{text, text},
		{old, "got ONNX Runtime 1.22.1, want 1.29 or newer"},
	} {
		for _, byEnv := range []bool{false, true} {
			opt := FindOptions{Path: c.path}
			if t.Setenv(EnvLibrary, ""); byEnv {
				opt.Path = ""
				t.Setenv(EnvLibrary, c.path)
			}
			_, err := Find(opt)
			if !errors.Is(err, ErrNoLibrary) {
				t.Fatalf("%s: got %v, want an error that is ErrNoLibrary", c.path, err)
			}
			for _, part := range []string{c.want, "sslrt setup"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: %q does not contain %q", c.path, err, part)
				}
			}
			if byEnv && !strings.Contains(err.Error(), EnvLibrary) {
				t.Errorf("%q does not name %s", err, EnvLibrary)
			}
		}
	}
}

// A library in the cache that cannot be used is passed over, and named at the end.
func TestFindNothing(t *testing.T) {
	cache := filepath.Join(emptyCache(t), Version)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	fakeLibrary(t, cache, "1.9.0")
	lib, err := Find(FindOptions{})
	if err == nil && lib.Origin == "system" {
		t.Skip("this system has a library of its own: ", lib)
	}
	if !errors.Is(err, ErrNoLibrary) || !strings.Contains(err.Error(), "1.9.0") || !strings.Contains(err.Error(), "sslrt setup") {
		t.Errorf("got %v, want ErrNoLibrary that names version 1.9.0 and sslrt setup", err)
	}
}

func TestUsable(t *testing.T) {
	for version, want := range map[string]bool{
		"1.30.0": true, "1.29.0": true, "1.100.1": true, "1.30.0-dev": true,
		"1.28.9": false, "2.0.0": false, "1": false, "": false, "x.y": false,
	} {
		if got := usable(version); got != want {
			t.Errorf("usable(%q): got %v, want %v", version, got, want)
		}
	}
}
