package ort

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// fakeClients fills a folder with programs npm and python3 that put the given
// package files into the current folder, and makes it the whole PATH. An empty
// file makes that program fail.
func fakeClients(t *testing.T, tgz, whl string) {
	t.Helper()
	bin := t.TempDir()
	for name, file := range map[string]string{"npm": tgz, "python3": whl} {
		script := "#!/bin/sh\necho " + name + " is offline >&2\nexit 7\n"
		if file != "" {
			script = "#!/bin/sh\n/bin/cp '" + file + "' .\n"
		}
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
}

// packages builds the two packages around one library.
func packages(t *testing.T, lib string) (tgz, whl string) {
	t.Helper()
	data, err := os.ReadFile(lib)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	name := map[string]string{"linux": "libonnxruntime.so.1", "darwin": "libonnxruntime.1.dylib"}[runtime.GOOS]

	tgz = filepath.Join(dir, "package.tgz")
	f, err := os.Create(tgz)
	if err != nil {
		t.Fatal(err)
	}
	gz := gzip.NewWriter(f)
	tw := tar.NewWriter(gz)
	for path, content := range map[string]string{
		"package/bin/napi-v6/" + runtime.GOOS + "/" + arch + "/" + name:            string(data),
		"package/bin/napi-v6/" + runtime.GOOS + "/" + arch + "/binding.node":       "not the library",
		"package/bin/napi-v6/" + runtime.GOOS + "/other/" + name:                   "of another processor",
		"package/bin/napi-v6/../../../" + runtime.GOOS + "/" + arch + "/" + name:   "outside",
		"package/lib/" + runtime.GOOS + "/" + arch + "/" + name:                    "elsewhere",
		"package/bin/napi-v6/" + runtime.GOOS + "/" + arch + "/../../evil/" + name: "outside",
	} {
		if err := tw.WriteHeader(&tar.Header{Name: path, Size: int64(len(content)), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	tw.Close()
	gz.Close()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	whl = filepath.Join(dir, "package.whl")
	f, err = os.Create(whl)
	if err != nil {
		t.Fatal(err)
	}
	zw := zip.NewWriter(f)
	for path, content := range map[string]string{
		"onnxruntime/capi/" + name + ".30.0":                  string(data),
		"onnxruntime/capi/libonnxruntime_providers_shared.so": "not the library",
		"elsewhere/" + name:                                   "elsewhere",
	} {
		if runtime.GOOS == "darwin" {
			path = strings.TrimSuffix(path, ".30.0")
		}
		w, err := zw.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	zw.Close()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return tgz, whl
}

func TestSetup(t *testing.T) {
	lib := fakeLibrary(t, t.TempDir(), Version)
	tgz, whl := packages(t, lib)
	for _, c := range []struct {
		name, npm, pip, from, path, fails string
	}{
		{name: "npm", npm: tgz},
		{name: "pip when npm fails", pip: whl},
		{name: "pip asked for", npm: tgz, pip: whl, from: "pip"},
		{name: "path", path: lib},
		{name: "nothing works", fails: "npm is offline"},
		{name: "only pip asked for and fails", npm: tgz, from: "pip", fails: "python3 is offline"},
		{name: "unknown", from: "cargo", fails: `got "cargo"`},
		{name: "path without a path", from: "path", fails: "no path"},
		{name: "text file", path: "setup_test.go", fails: "is not named as the library"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := emptyCache(t)
			fakeClients(t, c.npm, c.pip)
			opt := SetupOptions{From: c.from, Path: c.path, Force: true}
			got, err := Setup(context.Background(), opt)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("got %v, want an error with %q", err, c.fails)
				}
				if c.path == "" && c.from == "" && !strings.Contains(err.Error(), "--path") {
					t.Errorf("%q names no way out", err)
				}
				return
			}
			want := Library{filepath.Join(cache, Version, libraryName()), Version, "cache"}
			if err != nil || got != want {
				t.Fatalf("got %v, %v, want %v", got, err, want)
			}
			if found, err := Find(FindOptions{}); err != nil || found != want {
				t.Errorf("find: got %v, %v, want %v", found, err, want)
			}
			left, err := filepath.Glob(filepath.Join(cache, "*", "*"))
			if err != nil || len(left) != 1 {
				t.Errorf("got files %v, want the library alone", left)
			}
		})
	}
}

// Setup does nothing where a library is found, and does not hide a wrong variable.
func TestSetupFinds(t *testing.T) {
	emptyCache(t)
	lib := fakeLibrary(t, t.TempDir(), Version)
	t.Setenv("PATH", t.TempDir())
	t.Setenv(EnvLibrary, lib)
	var said []string
	got, err := Setup(context.Background(), SetupOptions{Progress: func(s string) { said = append(said, s) }})
	if err != nil || got.Path != lib || len(said) != 1 || !strings.Contains(said[0], lib) {
		t.Errorf("got %v, %v, said %q, want %s found", got, err, said, lib)
	}
	t.Setenv(EnvLibrary, lib+".no")
	if _, err := Setup(context.Background(), SetupOptions{}); err == nil || !strings.Contains(err.Error(), "unset "+EnvLibrary) {
		t.Errorf("got %v, want an error that says to unset %s", err, EnvLibrary)
	}
}

func TestSetupNoClients(t *testing.T) {
	emptyCache(t)
	t.Setenv("PATH", t.TempDir())
	_, err := Setup(context.Background(), SetupOptions{Force: true})
	for _, part := range []string{"npm is not installed", "python3 is not installed", "--path"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want an error with %q", err, part)
		}
	}
}

// A library of another version than the one asked for must not be installed.
func TestSetupTooOld(t *testing.T) {
	cache := emptyCache(t)
	tgz, _ := packages(t, fakeLibrary(t, t.TempDir(), "1.20.0"))
	fakeClients(t, tgz, "")
	_, err := Setup(context.Background(), SetupOptions{Force: true})
	if err == nil || !strings.Contains(err.Error(), "1.20.0") {
		t.Errorf("got %v, want an error that names 1.20.0", err)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "*")); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestSetupAtOnce(t *testing.T) {
	emptyCache(t)
	tgz, _ := packages(t, fakeLibrary(t, t.TempDir(), Version))
	fakeClients(t, tgz, "")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := Setup(context.Background(), SetupOptions{Force: true}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := Find(FindOptions{}); err != nil {
		t.Error(err)
	}
}

func TestSetupCancelled(t *testing.T) {
	emptyCache(t)
	tgz, whl := packages(t, fakeLibrary(t, t.TempDir(), Version))
	fakeClients(t, tgz, whl)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Setup(ctx, SetupOptions{Force: true}); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("got %v, want a cancelled setup", err)
	}
}
