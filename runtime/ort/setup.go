package ort

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// SetupOptions says where Setup takes the library from.
type SetupOptions struct {
	// From is "auto" (the default: npm, then pip), "npm", "pip" or "path".
	From string
	// Path is the library file to copy into the cache, for From "path" or auto.
	Path string
	// Force installs even if a usable library is found.
	Force bool
	// Progress, if set, receives one line per step.
	Progress func(string)
}

// Setup makes sure that a usable library is present and returns it: the one Find
// finds if there is one, else Version fetched into the user's cache by npm or
// pip, as they are configured on this machine. Both verify what they download;
// no install script is run. Setup may run several times at once: files appear in
// the cache whole or not at all.
func Setup(ctx context.Context, opt SetupOptions) (Library, error) {
	say := opt.Progress
	if say == nil {
		say = func(string) {}
	}
	if opt.Path == "" && !opt.Force {
		lib, err := Find(FindOptions{})
		if err == nil {
			say("found " + lib.String())
			return lib, nil
		}
		if os.Getenv(EnvLibrary) != "" {
			// What we install would not be used.
			return Library{}, fmt.Errorf("%w; unset %s first", err, EnvLibrary)
		}
	}
	cache, err := cacheDir()
	if err != nil {
		return Library{}, fmt.Errorf("ort: setup: find the cache folder: %w", err)
	}
	sources, err := opt.sources()
	if err != nil {
		return Library{}, err
	}
	var failed []error
	for _, s := range sources {
		lib, err := s.install(ctx, cache, say)
		if err == nil {
			say("installed " + lib.String())
			return lib, nil
		}
		if ctx.Err() != nil {
			return Library{}, fmt.Errorf("ort: setup: %w", ctx.Err())
		}
		say(err.Error())
		failed = append(failed, err)
	}
	err = errors.Join(failed...)
	if opt.Path == "" {
		err = fmt.Errorf("%w\ninstall npm, or Python 3 with pip, and run: sslrt setup\nor give a library file of ONNX Runtime %s: sslrt setup --path FILE", err, Version)
	}
	return Library{}, fmt.Errorf("ort: setup: %w", err)
}

// A source puts the library, named libraryName(), and what it needs into a folder.
type source struct {
	name  string
	fetch func(ctx context.Context, dir string, say func(string)) error
}

func (opt SetupOptions) sources() ([]source, error) {
	npm := source{"npm", fetchNPM}
	pip := source{"pip", fetchPip}
	path := source{"path", func(_ context.Context, dir string, _ func(string)) error {
		return copyLibrary(opt.Path, dir)
	}}
	switch {
	case opt.From == "path" && opt.Path == "":
		return nil, errors.New("ort: setup: from path: no path given")
	case opt.From == "path" || (opt.Path != "" && (opt.From == "" || opt.From == "auto")):
		return []source{path}, nil
	case opt.Path != "":
		return nil, fmt.Errorf("ort: setup: got a path and from %q, want one of them", opt.From)
	}
	switch opt.From {
	case "", "auto":
		return []source{npm, pip}, nil
	case "npm":
		return []source{npm}, nil
	case "pip":
		return []source{pip}, nil
	}
	return nil, fmt.Errorf("ort: setup: from: got %q, want auto, npm, pip or path", opt.From)
}

// install fetches the files beside their final place, checks that they work and
// moves them in.
func (s source) install(ctx context.Context, cache string, say func(string)) (Library, error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Library{}, err
	}
	tmp, err := os.MkdirTemp(cache, ".setup-*")
	if err != nil {
		return Library{}, err
	}
	defer os.RemoveAll(tmp)
	if err := s.fetch(ctx, tmp, say); err != nil {
		return Library{}, fmt.Errorf("%s: %w", s.name, err)
	}
	lib, err := check(filepath.Join(tmp, libraryName()), "cache")
	if err != nil {
		return Library{}, fmt.Errorf("%s: %w", s.name, err)
	}
	final := filepath.Join(cache, lib.Version)
	if err := os.MkdirAll(final, 0o755); err != nil {
		return Library{}, err
	}
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return Library{}, err
	}
	main := libraryName()
	move := func(name string) error {
		return os.Rename(filepath.Join(tmp, name), filepath.Join(final, name))
	}
	for _, e := range entries {
		if e.Name() != main {
			if err := move(e.Name()); err != nil {
				return Library{}, err
			}
		}
	}
	// Last, so that whoever finds the library finds what it needs beside it.
	if err := move(main); err != nil {
		// Windows refuses to replace a library in use: then one is there already.
		if old, cerr := check(filepath.Join(final, main), "cache"); cerr == nil {
			return old, nil
		}
		return Library{}, err
	}
	lib.Path = filepath.Join(final, main)
	return lib, nil
}

// fetchNPM takes the library out of the package onnxruntime-node. "npm pack"
// downloads the package and checks it against the registry's digest; nothing of
// it is run.
func fetchNPM(ctx context.Context, dir string, say func(string)) error {
	return download(ctx, say, []string{"npm"}, []string{"pack", "--ignore-scripts", "--silent", "onnxruntime-node@" + Version},
		"*.tgz", func(file string) error { return unpackNPM(file, dir) })
}

// fetchPip takes the library out of the wheel onnxruntime, which pip downloads
// and checks against the index's digest; nothing of it is run.
func fetchPip(ctx context.Context, dir string, say func(string)) error {
	return download(ctx, say, []string{"python3", "python"},
		[]string{"-m", "pip", "download", "--quiet", "--disable-pip-version-check",
			"--no-deps", "--only-binary=:all:", "--dest", ".", "onnxruntime==" + Version},
		"*.whl", func(file string) error { return unpackWheel(file, dir) })
}

// download runs a package client in a folder of its own and unpacks the one file
// it leaves there that matches pattern.
func download(ctx context.Context, say func(string), clients, args []string, pattern string, unpack func(file string) error) error {
	var exe string
	err := exec.ErrNotFound
	for _, c := range clients {
		if exe, err = exec.LookPath(c); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("%s is not installed", clients[0])
	}
	work, err := os.MkdirTemp("", "sslrt-setup-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	say("running " + filepath.Base(exe) + " " + strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Dir = work
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, lastLines(log.String(), 5))
	}
	files, err := filepath.Glob(filepath.Join(work, pattern))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("left %d files %s, want 1", len(files), pattern)
	}
	return unpack(files[0])
}

// lastLines returns the last n non-empty lines of s, joined.
func lastLines(s string, n int) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

// copyLibrary copies a library and the execution providers beside it.
func copyLibrary(path, dir string) error {
	name := filepath.Base(path)
	if !isLibraryName(name) {
		return fmt.Errorf("%s: is not named as the library is on %s (%s)", path, runtime.GOOS, libraryName())
	}
	beside, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*onnxruntime_providers_*"))
	if err != nil {
		return err
	}
	for _, file := range append(beside, path) {
		name := filepath.Base(file)
		if file == path {
			name = libraryName()
		}
		src, err := os.Open(file)
		if err != nil {
			return err
		}
		err = writeFile(dir, name, src)
		src.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes dir/name from r and flushes it to the disk.
func writeFile(dir, name string, r io.Reader) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err = io.Copy(f, r); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
