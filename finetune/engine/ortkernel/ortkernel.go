// Package ortkernel builds a library of operators that training steps use in ONNX
// Runtime, and for which it has no kernels of its own: in the blocked layout the weight
// gradient of a convolution, batch normalisation, the gradients of depthwise convolutions
// and of max-pooling, and chains of elementwise operators. It is one C file, compiled for
// this processor into the user's cache by the compiler that Go uses too.
//
// Training works without it, in a plainer and slower form. No exported file needs it.
package ortkernel

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

//go:embed c/kernels.c
var source string

// Domain is the domain of the operators.
const Domain = "sslrt"

// EnvOff is the environment variable that, if not empty, makes Find find nothing.
const EnvOff = "SSLRT_NO_KERNELS"

// ErrNoCompiler says that there is no C compiler to build the library with.
var ErrNoCompiler = errors.New("ortkernel: no C compiler: install gcc or clang, or name one by CC")

// flags make the compiler use what this processor has, and let it join a product and a
// sum. Sums keep their order.
var flags = []string{"-O3", "-march=native", "-ffp-contract=fast", "-fPIC", "-shared", "-fvisibility=hidden"}

// Find returns the library for blocks of this many channels if it was built for this
// processor.
func Find(block int) (path string, ok bool) {
	if os.Getenv(EnvOff) != "" {
		return "", false
	}
	path, err := libraryPath(block)
	if err != nil {
		return "", false
	}
	info, err := os.Stat(path)
	return path, err == nil && info.Mode().IsRegular()
}

// Build returns the library's path after compiling it where it is not there yet.
func Build(ctx context.Context, block int) (string, error) {
	if block < 4 || block > 64 || block&(block-1) != 0 {
		return "", fmt.Errorf("ortkernel: got blocks of %d channels, want a power of two from 4 to 64", block)
	}
	path, err := libraryPath(block)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("ortkernel: %w", err)
	}
	work, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", fmt.Errorf("ortkernel: %w", err)
	}
	defer os.RemoveAll(work)
	if err := compile(ctx, work, block); err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(work, "kernels"), path); err != nil {
		return "", fmt.Errorf("ortkernel: %w", err)
	}
	return path, nil
}

// compile writes the library "kernels" in a folder.
func compile(ctx context.Context, dir string, block int) error {
	cc, err := compiler()
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "kernels.c")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		return fmt.Errorf("ortkernel: %w", err)
	}
	args := append(cc[1:], flags...)
	args = append(args, fmt.Sprintf("-DBLOCK=%d", block), "-o", filepath.Join(dir, "kernels"), file, "-lm")
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, cc[0], args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("ortkernel: %s: %w: %s", cc[0], err, firstLine(said.String()))
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// compiler returns the C compiler and its own flags: that of CC, else the first found.
func compiler() ([]string, error) {
	if cc := strings.Fields(os.Getenv("CC")); len(cc) > 0 {
		return cc, nil
	}
	for _, name := range []string{"cc", "gcc", "clang"} {
		if path, err := exec.LookPath(name); err == nil {
			return []string{path}, nil
		}
	}
	return nil, ErrNoCompiler
}

// libraryPath names the library by all it depends on: the source, how it is compiled,
// and the processor, whose instructions it uses.
func libraryPath(block int) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("ortkernel: %w", err)
	}
	h := sha256.New()
	fmt.Fprintln(h, source, flags, block, runtime.GOOS, runtime.GOARCH, processor())
	suffix := map[string]string{"darwin": ".dylib", "windows": ".dll"}[runtime.GOOS]
	if suffix == "" {
		suffix = ".so"
	}
	return filepath.Join(dir, "sslrt", "kernels", hex.EncodeToString(h.Sum(nil)[:8])+suffix), nil
}

// processor says what instructions this processor has, as far as the system tells.
var processor = sync.OnceValue(func() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "flags" || strings.TrimSpace(key) == "Features" {
			return strings.TrimSpace(value)
		}
	}
	return ""
})
