package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// pack writes an archive of files under their names.
func pack(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: pack FILE NAME...")
	}
	var b bytes.Buffer
	var err error
	if strings.HasSuffix(args[0], ".zip") || strings.HasSuffix(args[0], ".npz") {
		w := zip.NewWriter(&b)
		for _, name := range args[1:] {
			f, err := w.Create(name)
			ts.Check(err)
			_, err = f.Write([]byte(ts.ReadFile(name)))
			ts.Check(err)
		}
		err = w.Close()
	} else {
		var out io.Writer = &b
		if strings.HasSuffix(args[0], ".gz") {
			z := gzip.NewWriter(&b)
			defer func() {
				ts.Check(z.Close())
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o644))
			}()
			out = z
		}
		w := tar.NewWriter(out)
		for _, name := range args[1:] {
			data := ts.ReadFile(name)
			ts.Check(w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}))
			_, err := io.WriteString(w, data)
			ts.Check(err)
		}
		err = w.Close()
	}
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o644))
}

func cifar(ts *testscript.TestScript, _ bool, args []string) {
	var out []byte
	for _, arg := range args[1:] {
		var last int
		for field := range strings.SplitSeq(arg, "/") {
			label, err := strconv.Atoi(field)
			ts.Check(err)
			out, last = append(out, byte(label)), label
		}
		out = append(out, bytes.Repeat([]byte{byte(last)}, 3*32*32)...)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out, 0o644))
}

func array(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 4 {
		ts.Fatalf("usage: array FILE.npy uint8|int64 SHAPE VALUE...")
	}
	descr, n := "|u1", 1
	if args[1] == "int64" {
		descr = "<i8"
	}
	for field := range strings.SplitSeq(args[2], "x") {
		d, err := strconv.Atoi(field)
		ts.Check(err)
		n *= d
	}
	dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s,), }", descr, strings.ReplaceAll(args[2], "x", ", "))
	dict += strings.Repeat(" ", 117-len(dict)) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00\x76\x00"), dict...)
	for i := range n {
		v, err := strconv.Atoi(args[3+i%len(args[3:])])
		ts.Check(err)
		if descr == "<i8" {
			out = binary.LittleEndian.AppendUint64(out, uint64(v))
		} else {
			out = append(out, byte(v))
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out, 0o644))
}
