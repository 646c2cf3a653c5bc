package ort

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// apiBase is the head of the C API's OrtApiBase, which never changes.
type apiBase struct {
	getApi           uintptr
	getVersionString uintptr
}

// probe loads the library at path, asks it for its version and unloads it.
func probe(path string) (string, error) {
	h, err := windows.LoadLibraryEx(path, 0, windows.LOAD_WITH_ALTERED_SEARCH_PATH)
	if err != nil {
		return "", fmt.Errorf("load: %w", err)
	}
	defer windows.FreeLibrary(h)
	get, err := windows.GetProcAddress(h, "OrtGetApiBase")
	if err != nil {
		return "", errors.New("is no ONNX Runtime library: it has no symbol OrtGetApiBase")
	}
	base, _, _ := syscall.SyscallN(get)
	version, _, _ := syscall.SyscallN((*(**apiBase)(unsafe.Pointer(&base))).getVersionString)
	return windows.BytePtrToString(*(**byte)(unsafe.Pointer(&version))), nil
}
