package ort

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"
)

// unpackNPM writes this system's library out of a package onnxruntime-node,
// whose files lie at package/bin/napi-vN/<system>/<processor>/.
func unpackNPM(file, dir string) error {
	system := map[string]string{"windows": "win32"}[runtime.GOOS]
	if system == "" {
		system = runtime.GOOS
	}
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("read package: %w", err)
	}
	done := false
	for t := tar.NewReader(gz); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read package: %w", err)
		}
		folder, name := path.Split(h.Name)
		ok, err := path.Match("package/bin/napi-v*/"+system+"/"+arch+"/", folder)
		if err != nil {
			return err
		}
		if !ok || h.Typeflag != tar.TypeReg {
			continue
		}
		main := isLibraryName(name) && !done // macOS has the same file under two names
		if !main && !(runtime.GOOS == "windows" && strings.HasSuffix(name, ".dll")) {
			continue
		}
		if main {
			name = libraryName()
		}
		if err := writeFile(dir, name, t); err != nil {
			return fmt.Errorf("read package: %w", err)
		}
		done = done || main
	}
	if !done {
		return fmt.Errorf("the package holds no library for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	return nil
}

// unpackWheel writes the library out of a wheel of onnxruntime, whose files lie
// at onnxruntime/capi/.
func unpackWheel(file, dir string) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return fmt.Errorf("read wheel: %w", err)
	}
	defer z.Close()
	for _, entry := range z.File {
		folder, name := path.Split(entry.Name)
		if folder != "onnxruntime/capi/" || !isLibraryName(name) {
			continue
		}
		r, err := entry.Open()
		if err != nil {
			return fmt.Errorf("read wheel: %w", err)
		}
		defer r.Close()
		if err := writeFile(dir, libraryName(), r); err != nil {
			return fmt.Errorf("read wheel: %w", err)
		}
		return nil
	}
	return fmt.Errorf("the wheel holds no library for %s/%s", runtime.GOOS, runtime.GOARCH)
}
