//go:build libjpeg && cgo

package libjpeg

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
// eighths is the scale, 8 for the whole size.
static int sslrt_jpeg(const unsigned char *data, unsigned long n, int w, int h, int components, int eighths, unsigned char *out, char *message) {
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
	c.scale_num = eighths;
	c.scale_denom = 8;
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
	"errors"
	"unsafe"
)

// Decode decodes a JPEG file of a number of components into out: to RGB, [h, w, 3], or, of four
// components, to CMYK as it is stored, [h, w, 4]. eighths is the scale, 8, 4, 2 or 1; w and h are the size at
// that scale, rounded up. Damaged data are an error.
func Decode(out, data []byte, w, h, components, eighths int) error {
	if components != 4 {
		components = 3
	}
	if len(data) == 0 || len(out) != w*h*components {
		return errors.New("libjpeg: no data, or no room for the pixels")
	}
	message := make([]byte, C.JMSG_LENGTH_MAX)
	if C.sslrt_jpeg((*C.uchar)(unsafe.Pointer(&data[0])), C.ulong(len(data)), C.int(w), C.int(h), C.int(components), C.int(eighths),
		(*C.uchar)(unsafe.Pointer(&out[0])), (*C.char)(unsafe.Pointer(&message[0]))) != 0 {
		return errors.New("libjpeg: " + C.GoString((*C.char)(unsafe.Pointer(&message[0]))))
	}
	return nil
}
