package ort

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	// Version is the release of ONNX Runtime that Setup installs and that the
	// project is tested with.
	Version = "1.30.0"
	// minMinor is the oldest release 1.minMinor that is accepted: release 1.N
	// implements the C API up to version N, and the bindings ask for version 29.
	minMinor = 29

	// EnvLibrary names the environment variable that holds the path of the
	// library file.
	EnvLibrary = "SSLRT_ORT_LIB"
)

// ErrNoLibrary is wrapped by the error of Find when no usable library is found.
var ErrNoLibrary = errors.New("no usable ONNX Runtime library found")

// Library is an ONNX Runtime library that can be loaded.
type Library struct {
	Path    string // of the shared library
	Version string // as the library states it, such as "1.30.0"
	Origin  string // how it was found: "path", "SSLRT_ORT_LIB", "cache", "system"
}

// String returns the version, path and origin on one line.
func (l Library) String() string {
	return fmt.Sprintf("ONNX Runtime %s at %s (%s)", l.Version, l.Path, l.Origin)
}

// FindOptions says where to look for the library. The zero value looks in the
// environment, the cache and the system.
type FindOptions struct {
	Path string // the library file, looked at before all else; an error if unusable
}

// Find returns the first usable library of: opt.Path, the file named by
// SSLRT_ORT_LIB, the cache, the system's library folders. An explicit path or a
// set variable that names no usable library is an error: it never falls through
// to the next place.
func Find(opt FindOptions) (Library, error) {
	if opt.Path != "" {
		return explicit(opt.Path, "path")
	}
	if p := os.Getenv(EnvLibrary); p != "" {
		return explicit(p, EnvLibrary)
	}
	var rejected []string
	for _, c := range candidates() {
		lib, err := check(c.path, c.origin)
		if err == nil {
			return lib, nil
		}
		rejected = append(rejected, err.Error())
	}
	msg := "ort: " + ErrNoLibrary.Error()
	if len(rejected) > 0 {
		msg += " (" + strings.Join(rejected, "; ") + ")"
	}
	return Library{}, &libraryError{msg + "; install it with: sslrt setup"}
}

// libraryError is an error of finding the library, with its full text.
type libraryError struct{ msg string }

func (e *libraryError) Error() string { return e.msg }
func (e *libraryError) Unwrap() error { return ErrNoLibrary }

func explicit(path, origin string) (Library, error) {
	lib, err := check(path, origin)
	if err != nil {
		return Library{}, &libraryError{fmt.Sprintf(
			"ort: %s: %v; name a library of ONNX Runtime 1.%d or newer, or install one with: sslrt setup",
			origin, err, minMinor)}
	}
	return lib, nil
}

// check asks the file at path for its version and compares it.
func check(path, origin string) (Library, error) {
	info, err := os.Stat(path)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return Library{}, fmt.Errorf("%s: %w", path, err)
	}
	if info.IsDir() {
		return Library{}, fmt.Errorf("%s: is a folder, want the library file (%s)", path, libraryName())
	}
	// The loader searches its own folders for a bare name; we mean this file.
	abs, err := filepath.Abs(path)
	if err != nil {
		return Library{}, fmt.Errorf("%s: %w", path, err)
	}
	version, err := probe(abs)
	if err != nil {
		return Library{}, fmt.Errorf("%s: %w", path, err)
	}
	if !usable(version) {
		return Library{}, fmt.Errorf("%s: got ONNX Runtime %s, want 1.%d or newer", path, version, minMinor)
	}
	return Library{Path: abs, Version: version, Origin: origin}, nil
}

// usable reports whether a library of this version serves the C API we need.
func usable(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(minor)
	return major == "1" && err == nil && n >= minMinor
}
