// Package ort finds ONNX Runtime, opens sessions on it and binds Go slices to
// their inputs and outputs. It is the only package of the project that talks to
// the ONNX Runtime library.
//
// The library is loaded at run time and is not part of the program. [Find] looks
// for it in this order: an explicit path, the environment variable
// SSLRT_ORT_LIB, the user's cache (filled by [Setup]), the system's library
// folders. [Init] loads it once per process; [Open] and [OpenFile] do so on
// first use when nobody did.
//
// Concurrency: all functions and all methods of Session are safe for concurrent
// use. A Tensor may be an input of several runs at once; a Tensor that is an
// output of a run must not be touched until that run has returned.
package ort
