//go:build libjpeg && cgo

package augment

/*
#cgo LDFLAGS: -ljpeg
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>

struct sslrt_error {
	struct jpeg_error_mgr base;
	jmp_buf back;
	char message[JMSG_LENGTH_MAX];
};

static void sslrt_fail(j_common_ptr c) {
	struct sslrt_error *e = (struct sslrt_error *)c->err;
	e->base.format_message(c, e->message);
	longjmp(e->back, 1);
}

// A warning means damaged data: libjpeg would go on with grey, Pillow refuses.
static void sslrt_message(j_common_ptr c, int level) {
	if (level < 0) sslrt_fail(c);
}

// sslrt_jpeg decodes to RGB, of four components to CMYK as they are stored. out has w*h*3 or w*h*4 bytes.
static int sslrt_jpeg(const unsigned char *data, unsigned long n, int w, int h, int components, unsigned char *out, char *message) {
	struct jpeg_decompress_struct c;
	struct sslrt_error e;
	memset(&c, 0, sizeof c);
	c.err = jpeg_std_error(&e.base);
	e.base.error_exit = sslrt_fail;
	e.base.emit_message = sslrt_message;
	e.message[0] = 0;
	if (setjmp(e.back)) {
		strncpy(message, e.message, JMSG_LENGTH_MAX - 1);
		jpeg_destroy_decompress(&c);
		return 1;
	}
	jpeg_create_decompress(&c);
	jpeg_mem_src(&c, data, n);
	jpeg_read_header(&c, TRUE);
	c.out_color_space = c.num_components == 4 ? JCS_CMYK : JCS_RGB;
	jpeg_start_decompress(&c);
	if ((int)c.output_width != w || (int)c.output_height != h || c.output_components != components) {
		jpeg_destroy_decompress(&c);
		strcpy(message, "the header changed");
		return 1;
	}
	while (c.output_scanline < c.output_height) {
		JSAMPROW row = out + (size_t)c.output_scanline * w * components;
		jpeg_read_scanlines(&c, &row, 1);
	}
	jpeg_finish_decompress(&c);
	jpeg_destroy_decompress(&c);
	return 0;
}
*/
import "C"

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"unsafe"
)

// Decoders names what decodes JPEG: libjpeg-turbo through cgo, which the build tag libjpeg asks for. It
// gives Pillow's pixels exactly.
const Decoders = "libjpeg"

// jpegPixels decodes what stands behind a header that was checked.
func jpegPixels(h *jpegHead, r *bufio.Reader, opt DecodeOptions) (*Image, error) {
	data, err := opt.readAll(io.MultiReader(bytes.NewReader(h.bytes), r))
	if err != nil {
		return nil, err
	}
	components := 3
	if h.components == 4 {
		components = 4
	}
	out := make([]byte, h.w*h.h*components)
	message := make([]byte, C.JMSG_LENGTH_MAX)
	if C.sslrt_jpeg((*C.uchar)(unsafe.Pointer(&data[0])), C.ulong(len(data)), C.int(h.w), C.int(h.h), C.int(components),
		(*C.uchar)(unsafe.Pointer(&out[0])), (*C.char)(unsafe.Pointer(&message[0]))) != 0 {
		return nil, errors.New("libjpeg: " + C.GoString((*C.char)(unsafe.Pointer(&message[0]))))
	}
	m := &Image{W: h.w, H: h.h, Pix: out}
	if components == 4 { // inverted, as Adobe writes it and Pillow reads it
		m = NewImage(h.w, h.h)
		for i := range h.w * h.h {
			p, white := out[4*i:4*i+4], int(out[4*i+3])
			m.set(3*i, lessInk(255-p[0], white), lessInk(255-p[1], white), lessInk(255-p[2], white))
		}
	}
	return m, nil
}
