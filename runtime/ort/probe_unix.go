//go:build !windows

package ort

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

// The first two members of the C API's OrtApiBase, which never change.
typedef struct {
	const void *(*GetApi)(unsigned int version);
	const char *(*GetVersionString)(void);
} sslrt_api_base;

// sslrt_probe returns the library's version, or NULL and an error; both are
// owned by the caller. The strings are copied: closing the library unmaps its own.
static char *sslrt_probe(const char *path, char **err) {
	const sslrt_api_base *(*get)(void);
	char *version = NULL;
	void *h = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
	if (h == NULL) {
		const char *msg = dlerror();
		*err = strdup(msg ? msg : "dlopen failed");
		return NULL;
	}
	*(void **)&get = dlsym(h, "OrtGetApiBase");
	if (get == NULL) {
		*err = strdup("is no ONNX Runtime library: it has no symbol OrtGetApiBase");
	} else {
		version = strdup(get()->GetVersionString());
	}
	dlclose(h);
	return version;
}
*/
import "C"

import (
	"errors"
	"strings"
	"unsafe"
)

// probe loads the library at path, asks it for its version and unloads it.
func probe(path string) (string, error) {
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	var cerr *C.char
	version := C.sslrt_probe(cpath, &cerr)
	if version == nil {
		defer C.free(unsafe.Pointer(cerr))
		// The loader repeats the path, which our caller states.
		return "", errors.New(strings.TrimPrefix(C.GoString(cerr), path+": "))
	}
	defer C.free(unsafe.Pointer(version))
	return C.GoString(version), nil
}
