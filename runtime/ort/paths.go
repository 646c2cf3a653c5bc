package ort

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A candidate is a file that may be the library.
type candidate struct{ path, origin string }

// libraryName returns the library's file name on this system, as its links name
// it; a version may follow or, on macOS, precede the suffix.
func libraryName() string {
	switch runtime.GOOS {
	case "windows":
		return "onnxruntime.dll"
	case "darwin":
		return "libonnxruntime.dylib"
	}
	return "libonnxruntime.so"
}

// isLibraryName reports whether a file name is that of the library itself, not
// of an execution provider beside it.
func isLibraryName(name string) bool {
	switch runtime.GOOS {
	case "windows":
		return strings.EqualFold(name, "onnxruntime.dll")
	case "darwin":
		return strings.HasPrefix(name, "libonnxruntime.") && strings.HasSuffix(name, ".dylib")
	}
	return name == "libonnxruntime.so" || strings.HasPrefix(name, "libonnxruntime.so.")
}

// cacheDir returns the folder that holds one subfolder per installed version.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "sslrt", "onnxruntime"), nil
}

// candidates lists the cache's libraries, then the system's, each file once.
func candidates() []candidate {
	var out []candidate
	seen := map[string]bool{}
	add := func(dir, origin string) {
		for _, path := range librariesIn(dir) {
			real, err := filepath.EvalSymlinks(path)
			if err != nil || seen[real] {
				continue
			}
			seen[real] = true
			out = append(out, candidate{path, origin})
		}
	}
	if cache, err := cacheDir(); err == nil {
		add(filepath.Join(cache, Version), "cache")
		// A newer library that the user installed from a path.
		others, _ := filepath.Glob(filepath.Join(cache, "*"))
		slices.Reverse(others)
		for _, dir := range others {
			add(dir, "cache")
		}
	}
	for _, dir := range systemDirs() {
		add(dir, "system")
	}
	return out
}

// librariesIn lists the library files in dir, the shortest name (the link that
// a package manager keeps current) first.
func librariesIn(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if isLibraryName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return len(a) - len(b) })
	for i, n := range names {
		names[i] = filepath.Join(dir, n)
	}
	return names
}

// systemDirs lists the folders the system's loader searches, and those package
// managers install into.
func systemDirs() []string {
	switch runtime.GOOS {
	case "windows":
		return filepath.SplitList(os.Getenv("PATH"))
	case "darwin":
		dirs := filepath.SplitList(os.Getenv("DYLD_LIBRARY_PATH"))
		return append(dirs, "/opt/homebrew/lib", "/opt/homebrew/opt/onnxruntime/lib",
			"/usr/local/lib", "/usr/local/opt/onnxruntime/lib", "/opt/local/lib")
	}
	dirs := filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))
	confs, _ := filepath.Glob("/etc/ld.so.conf.d/*.conf")
	for _, conf := range append([]string{"/etc/ld.so.conf"}, confs...) {
		dirs = append(dirs, loaderConf(conf)...)
	}
	dirs = append(dirs, "/usr/local/lib", "/usr/local/lib64", "/usr/lib", "/usr/lib64")
	for _, pattern := range []string{"/usr/lib/*-linux-gnu", "/opt/onnxruntime*/lib"} {
		found, _ := filepath.Glob(pattern)
		dirs = append(dirs, found...)
	}
	return dirs
}

// loaderConf returns the folders listed in one file of ld.so.conf(5).
func loaderConf(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var dirs []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if line := strings.TrimSpace(s.Text()); filepath.IsAbs(line) {
			dirs = append(dirs, line)
		}
	}
	return dirs
}
