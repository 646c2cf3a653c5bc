/* Writes a JPEG from raw samples on standard input, for what Pillow cannot write:
 * jpegs OUT WIDTH HEIGHT gray|ycc|rgb|cmyk|ycck HxV FORM adobe
 * FORM adds up 1: progressive; 2: a scan for each component; 4: a restart marker after two MCUs; 8: tables of
 * 16 bits. HxV are the sampling factors of the first component (and of the black one); the others have 1x1.
 * Build: cc jpegs.c -ljpeg -o jpegs */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>

int main(int argc, char **argv) {
	struct jpeg_compress_struct c;
	struct jpeg_error_mgr e;
	static jpeg_scan_info scans[4];
	int w, h, sx, sy, n, x, form;
	JSAMPLE *row;
	FILE *f;
	if (argc != 8) return 2;
	w = atoi(argv[2]), h = atoi(argv[3]);
	sscanf(argv[5], "%dx%d", &sx, &sy);
	n = !strcmp(argv[4], "gray") ? 1 : !strcmp(argv[4], "cmyk") || !strcmp(argv[4], "ycck") ? 4 : 3;
	f = fopen(argv[1], "wb");
	c.err = jpeg_std_error(&e);
	jpeg_create_compress(&c);
	jpeg_stdio_dest(&c, f);
	c.image_width = w, c.image_height = h, c.input_components = n;
	c.in_color_space = n == 1 ? JCS_GRAYSCALE : n == 3 ? JCS_RGB : JCS_CMYK;
	jpeg_set_defaults(&c);
	if (!strcmp(argv[4], "rgb")) jpeg_set_colorspace(&c, JCS_RGB);
	if (!strcmp(argv[4], "ycck")) jpeg_set_colorspace(&c, JCS_YCCK);
	jpeg_set_quality(&c, 90, TRUE);
	for (x = 0; x < n; x++) c.comp_info[x].h_samp_factor = c.comp_info[x].v_samp_factor = 1;
	c.comp_info[0].h_samp_factor = sx, c.comp_info[0].v_samp_factor = sy;
	if (n == 4) c.comp_info[3].h_samp_factor = sx, c.comp_info[3].v_samp_factor = sy;
	form = atoi(argv[6]);
	if (form & 8) jpeg_set_quality(&c, 1, FALSE);
	if (form & 1) jpeg_simple_progression(&c);
	if (form & 2) {
		for (x = 0; x < n; x++) scans[x].comps_in_scan = 1, scans[x].component_index[0] = x, scans[x].Se = 63;
		c.scan_info = scans, c.num_scans = n;
	}
	if (form & 4) c.restart_interval = 2;
	if (!atoi(argv[7])) c.write_Adobe_marker = FALSE;
	jpeg_start_compress(&c, TRUE);
	row = malloc(w * n);
	while (c.next_scanline < c.image_height) {
		if (fread(row, n, w, stdin) != (size_t)w) return 1;
		jpeg_write_scanlines(&c, &row, 1);
	}
	jpeg_finish_compress(&c);
	fclose(f);
	return 0;
}
