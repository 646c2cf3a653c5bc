/*
 * Kernels of the training step that ONNX Runtime's own operators do not offer, as
 * custom operators of the domain "sslrt":
 *
 *   Conv3x3             x, w -> y
 *   ConvWeightGrad      x, dy -> dw
 *   BatchNorm           x, weight, bias -> y, mean, variance
 *   BatchNormAdd        x, weight, bias, residual -> y, mean, variance
 *   BatchNormGrad       dy, x, mean, variance, weight, bias -> dx, dweight, dbias
 *   BatchNormAddGrad    dy, x, mean, variance, weight, y -> dx, dweight, dbias, dresidual
 *   DepthwiseInputGrad  dy, w -> dx
 *   DepthwiseWeightGrad x, dy -> dw
 *   BiasRelu            x, bias -> y
 *   BiasReluGrad        dy, y -> dx, dbias
 *   MaxPoolGrad         x, y, dy -> dx
 *   Elementwise         x... -> y...: a chain of elementwise operators, in any layout
 *
 * Activations are otherwise in ONNX Runtime's blocked layout: of [N, C, H, W] the channels are
 * split in blocks of BLOCK that lie innermost, [N, C/BLOCK, H, W, BLOCK]. The compiler
 * turns one block, a vec, into the vectors of the processor.
 *
 * Results do not depend on the number of threads: work is split by sizes alone, and
 * parts are added up in their order.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>

#ifndef BLOCK
#error "BLOCK, the channels of a block, is not defined"
#endif

typedef float vec __attribute__((vector_size(4 * BLOCK), aligned(4), may_alias));

static inline vec load(const float *p) { return *(const vec *)p; }
static inline void store(float *p, vec v) { *(vec *)p = v; }
static inline vec all(float v) { return (vec){} + v; }

typedef int32_t ints __attribute__((vector_size(4 * BLOCK))); /* a vec's bits, or a mask */

/* positive returns v where of is above 0, and 0 elsewhere. */
static inline vec positive(vec of, vec v) { return (vec)((ints)v & (of > 0.f)); }

/* choose returns a where the mask is set, and b elsewhere. */
static inline vec choose(ints mask, vec a, vec b) { return (vec)(((ints)a & mask) | ((ints)b & ~mask)); }

/* ---- ONNX Runtime's interface, as far as it is needed: the table of functions that
 * it gives keeps its order from version to version. ---- */

typedef struct Status Status;
typedef struct Context Context;
typedef struct Info Info;
typedef struct Value Value;
typedef struct Shape Shape;
typedef void *const *Api;

enum {
	API_VERSION = 17,
	CREATE_STATUS = 0,
	CREATE_CUSTOM_OP_DOMAIN = 26,
	CUSTOM_OP_DOMAIN_ADD = 27,
	ADD_CUSTOM_OP_DOMAIN = 28,
	GET_TENSOR_MUTABLE_DATA = 51,
	GET_DIMENSIONS_COUNT = 61,
	GET_DIMENSIONS = 62,
	GET_TENSOR_TYPE_AND_SHAPE = 65,
	KERNEL_INFO_GET_FLOAT = 85,
	KERNEL_INFO_GET_INT64 = 86,
	KERNEL_CONTEXT_GET_INPUT_COUNT = 88,
	KERNEL_CONTEXT_GET_INPUT = 90,
	KERNEL_CONTEXT_GET_OUTPUT = 91,
	RELEASE_STATUS = 93,
	RELEASE_SHAPE = 99,
	KERNEL_INFO_GET_INT64S = 163,
	KERNEL_CONTEXT_PARALLEL_FOR = 274,
};

typedef struct {
	const void *(*get_api)(uint32_t version);
	const char *(*get_version)(void);
} ApiBase;

typedef struct CustomOp {
	uint32_t version;
	void *create_kernel;
	const char *(*get_name)(const struct CustomOp *);
	const char *(*get_provider)(const struct CustomOp *);
	int (*get_input_type)(const struct CustomOp *, size_t);
	size_t (*get_input_count)(const struct CustomOp *);
	int (*get_output_type)(const struct CustomOp *, size_t);
	size_t (*get_output_count)(const struct CustomOp *);
	void *compute;
	void (*destroy)(void *kernel);
	int (*get_input_characteristic)(const struct CustomOp *, size_t);
	int (*get_output_characteristic)(const struct CustomOp *, size_t);
	int (*get_input_memory)(const struct CustomOp *, size_t);
	int (*variadic[4])(const struct CustomOp *); /* least inputs, inputs alike?, the same of outputs */
	Status *(*create)(const struct CustomOp *, Api, const Info *, void **kernel);
	Status *(*run)(void *kernel, Context *);
	void *infer_shape, *start_version, *end_version, *inplace[4];
	/* Ours, behind what ONNX Runtime knows. */
	const char *name;
	int inputs, outputs, any; /* any number of them, of Elementwise */
} CustomOp;

#define CALL(api, index, result, ...) ((result(*)(__VA_ARGS__))(api)[index])

static Status *failure(Api api, const char *message)
{
	return CALL(api, CREATE_STATUS, Status *, int, const char *)(2 /* invalid argument */, message);
}

/* A tensor's sizes and values. */
typedef struct {
	float *data;
	int64_t dims[4];
	size_t rank;
} Tensor;

static int read_tensor(Api api, const Value *v, Tensor *t)
{
	Shape *shape = NULL;
	Status *s;
	if (v == NULL)
		return 0;
	s = CALL(api, GET_TENSOR_TYPE_AND_SHAPE, Status *, const Value *, Shape **)(v, &shape);
	if (s == NULL)
		s = CALL(api, GET_DIMENSIONS_COUNT, Status *, const Shape *, size_t *)(shape, &t->rank);
	if (s == NULL && t->rank <= 4)
		s = CALL(api, GET_DIMENSIONS, Status *, const Shape *, int64_t *, size_t)(shape, t->dims, t->rank);
	if (s == NULL)
		s = CALL(api, GET_TENSOR_MUTABLE_DATA, Status *, const Value *, void **)(v, (void **)&t->data);
	if (shape != NULL)
		CALL(api, RELEASE_SHAPE, void, Shape *)(shape);
	if (s != NULL)
		CALL(api, RELEASE_STATUS, void, Status *)(s);
	return s == NULL && t->rank <= 4;
}

static int input(Api api, Context *c, size_t i, Tensor *t)
{
	const Value *v = NULL;
	Status *s = CALL(api, KERNEL_CONTEXT_GET_INPUT, Status *, const Context *, size_t, const Value **)(c, i, &v);
	if (s != NULL) {
		CALL(api, RELEASE_STATUS, void, Status *)(s);
		return 0;
	}
	return read_tensor(api, v, t);
}

static int output(Api api, Context *c, size_t i, const int64_t *dims, size_t rank, Tensor *t)
{
	Value *v = NULL;
	Status *s = CALL(api, KERNEL_CONTEXT_GET_OUTPUT, Status *, Context *, size_t, const int64_t *, size_t, Value **)(c, i, dims, rank, &v);
	if (s != NULL) {
		CALL(api, RELEASE_STATUS, void, Status *)(s);
		return 0;
	}
	return read_tensor(api, v, t);
}

/* parallel calls work(of, i) for each i below count, on ONNX Runtime's threads. */
static Status *parallel(Api api, Context *c, void (*work)(void *, size_t), size_t count, void *of)
{
	return CALL(api, KERNEL_CONTEXT_PARALLEL_FOR, Status *, const Context *, void (*)(void *, size_t), size_t, size_t, void *)(c, work, count, 0, of);
}

/* ---- the weight gradient of a convolution ----
 *
 *   dw[k, c, u, v] = sum over n, i, j of dy[n, k, i, j] * x[n, c, i*stride + u*dilation - pad, j*stride + v*dilation - pad]
 *
 * Registers hold some sums while the positions of a strip go by: some rows of an image,
 * or a few small images. A strip is long enough to make loads few, and short enough to
 * stay in the cache and to keep the rounding of the sums small.
 */

enum { C_AT_ONCE = BLOCK / 2, K_AT_ONCE = 2, STRIP = 512 /* positions */ };

typedef struct {
	int64_t n, c, h, w, k, kh, kw, ho, wo;
	int64_t stride[2], dilation[2], pad[2]; /* pad: top, left */
	const float *x, *dy;
	float *dw, *parts;
	int64_t group_k, group_c;         /* blocks, or channels of a plain layout, of a task */
	int64_t tasks_k, tasks_c, splits; /* of output blocks, of input channels, of images */
} WeightGrad;

/* strip is a range of images and, if that is one image, of output rows. */
typedef struct {
	int64_t n, images, row, rows;
} Strip;

/* next_strip moves on; it returns 0 behind the image to. */
static int next_strip(const WeightGrad *g, int64_t to, Strip *s)
{
	s->row += s->rows;
	if (s->row >= g->ho)
		s->n += s->images, s->row = 0;
	if (s->n >= to)
		return 0;
	s->images = 1, s->rows = g->ho;
	if (g->ho * g->wo > STRIP) {
		s->rows = STRIP / g->wo > 1 ? STRIP / g->wo : 1;
		if (s->rows > g->ho - s->row)
			s->rows = g->ho - s->row;
	} else {
		s->images = STRIP / (g->ho * g->wo);
		if (s->images > to - s->n)
			s->images = to - s->n;
	}
	return 1;
}

/* sum_row adds up the products of one row: KS blocks of dy by CS numbers of x, which
 * holds the values under the first position. */
#define SUM_ROW(KS, CS)                                                                             \
	for (int64_t j = 0; j < count; j++, row += row_step, d += BLOCK) {                              \
		vec dk[KS];                                                                                 \
		_Pragma("GCC unroll 8") for (int k = 0; k < KS; k++) dk[k] = load(d + k * k_step);          \
		_Pragma("GCC unroll 16") for (int c = 0; c < CS; c++) {                                     \
			vec v = all(row[c * c_step]);                                                           \
			_Pragma("GCC unroll 8") for (int k = 0; k < KS; k++) acc[k][c] += dk[k] * v;            \
		}                                                                                           \
	}

#define CLEAR(KS, CS)                                                                               \
	_Pragma("GCC unroll 8") for (int k = 0; k < KS; k++)                                            \
		_Pragma("GCC unroll 16") for (int c = 0; c < CS; c++) acc[k][c] = all(0);

#define ADD_TO(sum, KS, CS)                                                                         \
	_Pragma("GCC unroll 8") for (int k = 0; k < KS; k++)                                            \
		_Pragma("GCC unroll 16") for (int c = 0; c < CS; c++) {                                     \
			float *to = sum + (k * CS + c) * BLOCK;                                                 \
			store(to, load(to) + acc[k][c]);                                                        \
		}

/* inside returns the first and the last position + 1 along an axis whose tap reads
 * inside of x: offset is where the first position reads. */
static inline void inside(int64_t offset, int64_t stride, int64_t in, int64_t out, int64_t *lo, int64_t *hi)
{
	*lo = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
	*hi = in - 1 - offset < 0 ? 0 : (in - 1 - offset) / stride + 1;
	if (*hi > out)
		*hi = out;
	if (*lo > *hi)
		*lo = *hi;
}

/* BLOCKED_TAP adds the products of a strip under tap (u, v) to sum: [KS, CS]. */
#define BLOCKED_TAP(KS, CS)                                                                          \
	static void blocked_tap_##KS(const WeightGrad *g, const Strip *s, const float *x, const float *dy, \
		int64_t u, int64_t v, float *sum)                                                           \
	{                                                                                               \
		int64_t top = u * g->dilation[0] - g->pad[0], left = v * g->dilation[1] - g->pad[1];        \
		int64_t i0, i1, j0, j1, row_step = g->stride[1] * BLOCK, k_step = g->ho * g->wo * BLOCK;     \
		const int64_t c_step = 1;                                                                   \
		vec acc[KS][CS];                                                                            \
		inside(top, g->stride[0], g->h, g->ho, &i0, &i1);                                           \
		inside(left, g->stride[1], g->w, g->wo, &j0, &j1);                                          \
		if (i0 < s->row)                                                                            \
			i0 = s->row;                                                                            \
		if (i1 > s->row + s->rows)                                                                  \
			i1 = s->row + s->rows;                                                                  \
		int64_t count = j1 - j0;                                                                    \
		CLEAR(KS, CS)                                                                               \
		for (int64_t n = 0; n < s->images; n++, x += g->c * g->h * g->w, dy += g->k * g->ho * g->wo) \
			for (int64_t i = i0; i < i1; i++) {                                                     \
				const float *row = x + ((i * g->stride[0] + top) * g->w + j0 * g->stride[1] + left) * BLOCK; \
				const float *d = dy + (i * g->wo + j0) * BLOCK;                                     \
				SUM_ROW(KS, CS)                                                                     \
			}                                                                                       \
		ADD_TO(sum, KS, CS)                                                                         \
	}

BLOCKED_TAP(1, BLOCK)
BLOCKED_TAP(2, C_AT_ONCE)

enum { TAPS_AT_ONCE = 3 };

/* blocked_taps adds the products of a strip under three taps of row u of a kernel of that
 * width to sum, for one block of dy and half a block of x. A number of x is loaded once
 * for the three positions of dy that it meets, where blocked_tap_1 loads it three times. */
static void blocked_taps(const WeightGrad *g, const Strip *s, const float *x, const float *dy, int64_t u, float *sum)
{
	int64_t top = u * g->dilation[0] - g->pad[0], pad = g->pad[1], i0, i1;
	vec acc[TAPS_AT_ONCE][C_AT_ONCE];
	inside(top, g->stride[0], g->h, g->ho, &i0, &i1);
	if (i0 < s->row)
		i0 = s->row;
	if (i1 > s->row + s->rows)
		i1 = s->row + s->rows;
	CLEAR(TAPS_AT_ONCE, C_AT_ONCE)
	for (int64_t n = 0; n < s->images; n++, x += g->c * g->h * g->w, dy += g->k * g->ho * g->wo)
		for (int64_t i = i0; i < i1; i++) {
			const float *row = x + (i * g->stride[0] + top) * g->w * BLOCK, *d = dy + i * g->wo * BLOCK;
			/* Position j of x meets those of dy at j + pad - v. */
			vec d0 = all(0), d1 = d0, d2 = d0;
			if (pad < g->wo)
				d0 = load(d + pad * BLOCK);
			if (pad >= 1 && pad - 1 < g->wo)
				d1 = load(d + (pad - 1) * BLOCK);
			if (pad >= 2 && pad - 2 < g->wo)
				d2 = load(d + (pad - 2) * BLOCK);
			for (int64_t j = 0; j < g->w; j++, row += BLOCK) {
				_Pragma("GCC unroll 8") for (int c = 0; c < C_AT_ONCE; c++) {
					vec v = all(row[c]);
					acc[0][c] += d0 * v, acc[1][c] += d1 * v, acc[2][c] += d2 * v;
				}
				d2 = d1, d1 = d0;
				d0 = j + 1 + pad < g->wo ? load(d + (j + 1 + pad) * BLOCK) : all(0);
			}
		}
	for (int v = 0; v < TAPS_AT_ONCE; v++, sum += K_AT_ONCE * BLOCK * BLOCK)
		for (int c = 0; c < C_AT_ONCE; c++)
			store(sum + c * BLOCK, load(sum + c * BLOCK) + acc[v][c]);
}

/* part_of returns the first of some things that fall to the i-th of parts. */
static int64_t part_of(int64_t things, int64_t i, int64_t parts) { return things * i / parts; }

/* weight_grad_blocked is the task for x in blocks. Its sums are [pairs of blocks of k,
 * blocks of c, taps, ...], then [halves of c, K_AT_ONCE, C_AT_ONCE, BLOCK], or for a block
 * of k without a second [BLOCK of c, BLOCK]. */
static void weight_grad_blocked(void *of, size_t task)
{
	const WeightGrad *g = of;
	int64_t taps = g->kh * g->kw, area = g->h * g->w, out_area = g->ho * g->wo;
	int64_t tk = (int64_t)task % g->tasks_k, tc = (int64_t)task / g->tasks_k % g->tasks_c;
	int64_t split = (int64_t)task / g->tasks_k / g->tasks_c;
	int64_t k0 = tk * g->group_k, k1 = k0 + g->group_k < g->k / BLOCK ? k0 + g->group_k : g->k / BLOCK;
	int64_t c0 = tc * g->group_c, c1 = c0 + g->group_c < g->c / BLOCK ? c0 + g->group_c : g->c / BLOCK;
	int64_t per_c = taps * K_AT_ONCE * BLOCK * BLOCK, per_k = (c1 - c0) * per_c;
	int64_t to = part_of(g->n, split + 1, g->splits);
	float *dw = g->splits == 1 ? g->dw : g->parts + split * g->k * g->c * taps;
	float *sums = calloc((size_t)((k1 - k0 + K_AT_ONCE - 1) / K_AT_ONCE * per_k), sizeof(float));
	if (sums == NULL)
		abort(); /* nothing can go on without so little memory */

	int in_rows = g->kw == TAPS_AT_ONCE && g->stride[1] == 1 && g->dilation[1] == 1;
	Strip s = {.n = part_of(g->n, split, g->splits)};
	while (next_strip(g, to, &s))
		for (int64_t k = k0; k < k1; k += K_AT_ONCE)
			for (int64_t c = c0; c < c1; c++) {
				const float *dy = g->dy + (s.n * g->k + k * BLOCK) * out_area;
				const float *x = g->x + (s.n * g->c + c * BLOCK) * area;
				float *sum = sums + (k - k0) / K_AT_ONCE * per_k + (c - c0) * per_c;
				if (k1 - k < K_AT_ONCE && in_rows) {
					for (int64_t u = 0; u < g->kh; u++, sum += TAPS_AT_ONCE * K_AT_ONCE * BLOCK * BLOCK) {
						blocked_taps(g, &s, x, dy, u, sum);
						blocked_taps(g, &s, x + C_AT_ONCE, dy, u, sum + C_AT_ONCE * BLOCK);
					}
					continue;
				}
				for (int64_t t = 0; t < taps; t++, sum += K_AT_ONCE * BLOCK * BLOCK)
					if (k1 - k >= K_AT_ONCE) {
						blocked_tap_2(g, &s, x, dy, t / g->kw, t % g->kw, sum);
						blocked_tap_2(g, &s, x + C_AT_ONCE, dy, t / g->kw, t % g->kw, sum + K_AT_ONCE * C_AT_ONCE * BLOCK);
					} else {
						blocked_tap_1(g, &s, x, dy, t / g->kw, t % g->kw, sum);
					}
			}

	for (int64_t k = k0 * BLOCK; k < k1 * BLOCK; k++)
		for (int64_t c = c0 * BLOCK; c < c1 * BLOCK; c++) {
			int64_t kb = k / BLOCK - k0, cb = c / BLOCK - c0, half = c % BLOCK / C_AT_ONCE;
			int64_t at = (half * K_AT_ONCE + kb % K_AT_ONCE) * C_AT_ONCE + c % C_AT_ONCE;
			if (kb % K_AT_ONCE == 0 && kb + 1 == k1 - k0) /* without a second */
				at = c % BLOCK;
			const float *from = sums + kb / K_AT_ONCE * per_k + cb * per_c + at * BLOCK + k % BLOCK;
			float *row = dw + (k * g->c + c) * taps;
			for (int64_t t = 0; t < taps; t++)
				row[t] = from[t * K_AT_ONCE * BLOCK * BLOCK];
		}
	free(sums);
}

/* PLAIN_TAPS adds the products of a strip of one channel in the plain layout under VS
 * taps of a row of the kernel, (u, v) and those to its right, to sum: [KS, VS]. line has
 * room for a row of x with its padding. */
#define PLAIN_TAPS(KS, VS)                                                                          \
	static void plain_taps_##KS##_##VS(const WeightGrad *g, const Strip *s, const float *x,         \
		const float *dy, int64_t u, int64_t v, float *line, float *sum)                             \
	{                                                                                               \
		int64_t top = u * g->dilation[0] - g->pad[0], k_step = g->ho * g->wo * BLOCK;               \
		int64_t i0, i1, count = g->wo, row_step = g->stride[1], c_step = g->dilation[1];            \
		vec acc[KS][VS];                                                                            \
		inside(top, g->stride[0], g->h, g->ho, &i0, &i1);                                           \
		if (i0 < s->row)                                                                            \
			i0 = s->row;                                                                            \
		if (i1 > s->row + s->rows)                                                                  \
			i1 = s->row + s->rows;                                                                  \
		CLEAR(KS, VS)                                                                               \
		for (int64_t n = 0; n < s->images; n++, x += g->c * g->h * g->w, dy += g->k * g->ho * g->wo) \
			for (int64_t i = i0; i < i1; i++) {                                                     \
				memcpy(line + g->pad[1], x + (i * g->stride[0] + top) * g->w, (size_t)g->w * sizeof(float)); \
				const float *row = line + v * g->dilation[1], *d = dy + i * g->wo * BLOCK;          \
				SUM_ROW(KS, VS)                                                                     \
			}                                                                                       \
		ADD_TO(sum, KS, VS)                                                                         \
	}

PLAIN_TAPS(1, 1)
PLAIN_TAPS(1, 3)
PLAIN_TAPS(1, 4)
PLAIN_TAPS(1, 7)
PLAIN_TAPS(4, 1)
PLAIN_TAPS(4, 3)
PLAIN_TAPS(4, 4)
PLAIN_TAPS(2, 7)

/* taps_at_once is how many taps of a row of the kernel PLAIN_TAPS takes. */
static int64_t taps_at_once(int64_t kw) { return kw == 7 ? 7 : kw % 4 == 0 ? 4 : kw % 3 == 0 ? 3 : 1; }

/* weight_grad_plain is the task for one channel of x in the plain layout, as that of an
 * image is. Its sums are [kh, kw/VS, KS, VS, BLOCK]. */
static void weight_grad_plain(void *of, size_t task)
{
	const WeightGrad *g = of;
	int64_t taps = g->kh * g->kw, out_area = g->ho * g->wo, vs = taps_at_once(g->kw);
	int64_t tk = (int64_t)task % g->tasks_k, c = (int64_t)task / g->tasks_k % g->tasks_c;
	int64_t split = (int64_t)task / g->tasks_k / g->tasks_c;
	int64_t k0 = tk * g->group_k, ks = g->k / BLOCK - k0 < g->group_k ? g->k / BLOCK - k0 : g->group_k;
	int64_t to = part_of(g->n, split + 1, g->splits);
	int64_t width = g->pad[1] + g->w + (g->wo - 1) * g->stride[1] + (g->kw - 1) * g->dilation[1] + 1; /* at least what is read */
	float *dw = g->splits == 1 ? g->dw : g->parts + split * g->k * g->c * taps;
	float *line = calloc((size_t)(width + taps * ks * BLOCK), sizeof(float)), *sums = line + width;
	if (line == NULL)
		abort();

	for (int64_t first = 0; first < ks; first += ks % g->group_k == 0 ? g->group_k : 1) {
		/* A task at the end of k that has fewer blocks takes them one by one. */
		int whole = ks % g->group_k == 0;
		float *of_blocks = sums + first * taps * BLOCK;
		Strip s = {.n = part_of(g->n, split, g->splits)};
		while (next_strip(g, to, &s)) {
			const float *dy = g->dy + (s.n * g->k + (k0 + first) * BLOCK) * out_area;
			const float *x = g->x + (s.n * g->c + c) * g->h * g->w;
			float *sum = of_blocks;
			for (int64_t u = 0; u < g->kh; u++)
				for (int64_t v = 0; v < g->kw; v += vs, sum += (whole ? ks : 1) * vs * BLOCK)
					switch (vs) {
					case 7:
						(whole ? plain_taps_2_7 : plain_taps_1_7)(g, &s, x, dy, u, v, line, sum);
						break;
					case 4:
						(whole ? plain_taps_4_4 : plain_taps_1_4)(g, &s, x, dy, u, v, line, sum);
						break;
					case 3:
						(whole ? plain_taps_4_3 : plain_taps_1_3)(g, &s, x, dy, u, v, line, sum);
						break;
					default:
						(whole ? plain_taps_4_1 : plain_taps_1_1)(g, &s, x, dy, u, v, line, sum);
					}
		}
		int64_t blocks = whole ? ks : 1;
		for (int64_t k = 0; k < blocks * BLOCK; k++)
			for (int64_t t = 0; t < taps; t++)
				dw[(((k0 + first) * BLOCK + k) * g->c + c) * taps + t] =
					of_blocks[((t / vs * blocks + k / BLOCK) * vs + t % vs) * BLOCK + k % BLOCK];
	}
	free(line);
}

/* plan_weight_grad splits the work into tasks, by sizes alone. */
static void plan_weight_grad(WeightGrad *g)
{
	const int64_t enough = 16; /* tasks */
	if (g->kh * g->kw == 1 && g->ho == g->h && g->wo == g->w && g->pad[0] == 0 && g->pad[1] == 0 && g->h * g->w <= STRIP) {
		/* One long row has fewer ends than many short ones. */
		g->w *= g->h, g->wo = g->w;
		g->h = g->ho = 1;
	}
	if (g->c % BLOCK == 0) {
		/* With one tap, values are used too seldom to be fetched for one pair of blocks. */
		g->group_k = g->kh * g->kw == 1 ? 4 * K_AT_ONCE : K_AT_ONCE;
		g->group_c = g->kh * g->kw == 1 ? 4 : 1;
		g->tasks_c = (g->c / BLOCK + g->group_c - 1) / g->group_c;
	} else {
		g->group_k = taps_at_once(g->kw) == 7 ? 2 : 4;
		g->group_c = 1;
		g->tasks_c = g->c;
	}
	g->tasks_k = (g->k / BLOCK + g->group_k - 1) / g->group_k;
	g->splits = (enough + g->tasks_k * g->tasks_c - 1) / (g->tasks_k * g->tasks_c);
	if (g->splits > g->n)
		g->splits = g->n;
}

typedef struct {
	Api api;
	int64_t kernel[2], stride[2], dilation[2], pad[2], size[2];
	float epsilon;
	int64_t relu;
	int64_t program[4 * 24], results[8]; /* of Elementwise: MAX_STEPS steps, MAX_OUTPUTS registers */
	size_t steps, outputs;               /* numbers in them */
} Kernel;

static Status *run_weight_grad(void *kernel, Context *c)
{
	const Kernel *a = kernel;
	Tensor x, dy, dw;
	if (!input(a->api, c, 0, &x) || !input(a->api, c, 1, &dy) || x.rank != 4 || dy.rank != 4 ||
		x.dims[0] != dy.dims[0] || dy.dims[1] % BLOCK != 0)
		return failure(a->api, "sslrt ConvWeightGrad: want x: [N, C, H, W] and dy: [N, K, H', W'] in blocks");
	int64_t dims[4] = {dy.dims[1], x.dims[1], a->kernel[0], a->kernel[1]};
	if (!output(a->api, c, 0, dims, 4, &dw))
		return failure(a->api, "sslrt ConvWeightGrad: no memory for the result");
	WeightGrad g = {
		.n = x.dims[0], .c = x.dims[1], .h = x.dims[2], .w = x.dims[3], .k = dy.dims[1],
		.kh = a->kernel[0], .kw = a->kernel[1], .ho = dy.dims[2], .wo = dy.dims[3],
		.stride = {a->stride[0], a->stride[1]}, .dilation = {a->dilation[0], a->dilation[1]}, .pad = {a->pad[0], a->pad[1]},
		.x = x.data, .dy = dy.data, .dw = dw.data,
	};
	plan_weight_grad(&g);
	int64_t size = g.k * g.c * g.kh * g.kw;
	if (g.splits > 1 && (g.parts = malloc((size_t)(g.splits * size) * sizeof(float))) == NULL)
		return failure(a->api, "sslrt ConvWeightGrad: no memory for the parts of the sum");
	Status *s = parallel(a->api, c, g.c % BLOCK == 0 ? weight_grad_blocked : weight_grad_plain, (size_t)(g.tasks_k * g.tasks_c * g.splits), &g);
	if (s == NULL && g.splits > 1)
		for (int64_t i = 0; i < size; i++) {
			float v = 0;
			for (int64_t p = 0; p < g.splits; p++)
				v += g.parts[p * size + i];
			dw.data[i] = v;
		}
	free(g.parts);
	return s;
}

/* ---- a convolution of 3x3 taps with stride 1 and padding 1. A task has one row of one block
 * of channels of one image. A number of x is loaded once for the three results beside each
 * other that it goes to, so that few channels of results are enough to keep the processor
 * busy; ONNX Runtime's kernel loads it once for each of four blocks of them. ---- */

typedef struct {
	int64_t blocks_k, blocks_c, h, w;
	const float *x, *weight; /* weight: [K/BLOCK, C/BLOCK, 3, 3, BLOCK of C, BLOCK of K] */
	float *y;
} Conv3x3;

/* conv_positions computes count results of row i from position j on; at is the task's
 * image of x, weight its block of K. */
static inline __attribute__((always_inline)) void conv_positions(const Conv3x3 *g, const float *at, const float *weight,
	int64_t i, int64_t j, const int count, float *y)
{
	static const float zeros[BLOCK];
	vec acc[BLOCK];
	_Pragma("GCC unroll 16") for (int p = 0; p < count; p++) acc[p] = all(0);
	for (int64_t b = 0; b < g->blocks_c; b++)
		for (int64_t u = 0; u < 3; u++) {
			if (i + u < 1 || i + u > g->h)
				continue;
			const float *row = at + ((b * g->h + i + u - 1) * g->w + j) * BLOCK;
			const float *left = j > 0 ? row - BLOCK : zeros, *right = j + count < g->w ? row + count * BLOCK : zeros;
			const float *tap = weight + (b * 9 + u * 3) * BLOCK * BLOCK;
			for (int c = 0; c < BLOCK; c++, tap += BLOCK) {
				vec w0 = load(tap), w1 = load(tap + BLOCK * BLOCK), w2 = load(tap + 2 * BLOCK * BLOCK);
				acc[0] += w0 * all(left[c]);
				_Pragma("GCC unroll 16") for (int p = 0; p < count; p++) {
					vec v = all(row[p * BLOCK + c]);
					if (p > 0)
						acc[p - 1] += w2 * v;
					acc[p] += w1 * v;
					if (p + 1 < count)
						acc[p + 1] += w0 * v;
				}
				acc[count - 1] += w2 * all(right[c]);
			}
		}
	_Pragma("GCC unroll 16") for (int p = 0; p < count; p++) store(y + p * BLOCK, acc[p]);
}

static void conv_task(void *of, size_t task)
{
	const Conv3x3 *g = of;
	int64_t i = (int64_t)task % g->h, k = (int64_t)task / g->h % g->blocks_k, n = (int64_t)task / g->h / g->blocks_k;
	const float *x = g->x + n * g->blocks_c * g->h * g->w * BLOCK;
	const float *weight = g->weight + k * g->blocks_c * 9 * BLOCK * BLOCK;
	float *y = g->y + (int64_t)task * g->w * BLOCK;
	int64_t j = 0;
	for (; j + BLOCK <= g->w; j += BLOCK)
		conv_positions(g, x, weight, i, j, BLOCK, y + j * BLOCK);
	for (; j + BLOCK / 2 <= g->w; j += BLOCK / 2)
		conv_positions(g, x, weight, i, j, BLOCK / 2, y + j * BLOCK);
	for (; j + BLOCK / 4 <= g->w; j += BLOCK / 4)
		conv_positions(g, x, weight, i, j, BLOCK / 4, y + j * BLOCK);
	for (; j < g->w; j++)
		conv_positions(g, x, weight, i, j, 1, y + j * BLOCK);
}

static Status *run_conv(void *kernel, Context *c)
{
	const Kernel *a = kernel;
	Tensor x, w, y;
	if (!input(a->api, c, 0, &x) || !input(a->api, c, 1, &w) || x.rank != 4 || w.rank != 4 || x.dims[1] % BLOCK != 0 ||
		w.dims[0] % BLOCK != 0 || w.dims[1] != x.dims[1] || w.dims[2] != 3 || w.dims[3] != 3)
		return failure(a->api, "sslrt Conv3x3: want x: [N, C, H, W] and w: [K, C, 3, 3] in blocks");
	int64_t dims[4] = {x.dims[0], w.dims[0], x.dims[2], x.dims[3]};
	if (!output(a->api, c, 0, dims, 4, &y))
		return failure(a->api, "sslrt Conv3x3: no memory for the result");
	Conv3x3 g = {.blocks_k = dims[1] / BLOCK, .blocks_c = x.dims[1] / BLOCK, .h = dims[2], .w = dims[3], .x = x.data, .weight = w.data, .y = y.data};
	return parallel(a->api, c, conv_task, (size_t)(dims[0] * g.blocks_k * g.h), &g);
}

/* ---- the gradients of a depthwise convolution, whose every channel has a kernel of its
 * own. A task has one block of channels, of one image or of a part of the images. ---- */

typedef struct {
	int64_t n, blocks, h, w, kh, kw, ho, wo, stride[2], dilation[2], pad[2];
	const float *x, *dy, *weight; /* weight: [C, 1, kh, kw] */
	float *dx, *parts;            /* parts: [splits, C, kh, kw] */
	int64_t splits;
} Depthwise;

static void depthwise_input_task(void *of, size_t task)
{
	const Depthwise *d = of;
	int64_t taps = d->kh * d->kw;
	const float *weight = d->weight + task % (size_t)d->blocks * (size_t)(BLOCK * taps);
	const float *dy = d->dy + task * (size_t)(d->ho * d->wo * BLOCK);
	float *dx = d->dx + task * (size_t)(d->h * d->w * BLOCK);
	memset(dx, 0, (size_t)(d->h * d->w * BLOCK) * sizeof(float));
	for (int64_t t = 0; t < taps; t++) {
		int64_t top = t / d->kw * d->dilation[0] - d->pad[0], left = t % d->kw * d->dilation[1] - d->pad[1];
		int64_t i0, i1, j0, j1, step = d->stride[1] * BLOCK;
		float lanes[BLOCK];
		for (int c = 0; c < BLOCK; c++)
			lanes[c] = weight[c * taps + t];
		vec w = load(lanes);
		inside(top, d->stride[0], d->h, d->ho, &i0, &i1);
		inside(left, d->stride[1], d->w, d->wo, &j0, &j1);
		for (int64_t i = i0; i < i1; i++) {
			const float *from = dy + (i * d->wo + j0) * BLOCK;
			float *to = dx + ((i * d->stride[0] + top) * d->w + j0 * d->stride[1] + left) * BLOCK;
			for (int64_t j = j0; j < j1; j++, from += BLOCK, to += step)
				store(to, load(to) + load(from) * w);
		}
	}
}

static void depthwise_weight_task(void *of, size_t task)
{
	const Depthwise *d = of;
	int64_t taps = d->kh * d->kw, block = (int64_t)task % d->blocks, split = (int64_t)task / d->blocks;
	float *dw = d->parts + (split * d->blocks + block) * BLOCK * taps;
	memset(dw, 0, (size_t)(BLOCK * taps) * sizeof(float));
	for (int64_t n = part_of(d->n, split, d->splits); n < part_of(d->n, split + 1, d->splits); n++) {
		const float *x = d->x + (n * d->blocks + block) * d->h * d->w * BLOCK;
		const float *dy = d->dy + (n * d->blocks + block) * d->ho * d->wo * BLOCK;
		for (int64_t t = 0; t < taps; t++) {
			int64_t top = t / d->kw * d->dilation[0] - d->pad[0], left = t % d->kw * d->dilation[1] - d->pad[1];
			int64_t i0, i1, j0, j1, step = d->stride[1] * BLOCK;
			vec a = all(0), b = a;
			inside(top, d->stride[0], d->h, d->ho, &i0, &i1);
			inside(left, d->stride[1], d->w, d->wo, &j0, &j1);
			for (int64_t i = i0; i < i1; i++) {
				const float *g = dy + (i * d->wo + j0) * BLOCK;
				const float *v = x + ((i * d->stride[0] + top) * d->w + j0 * d->stride[1] + left) * BLOCK;
				int64_t j = j0;
				for (; j + 1 < j1; j += 2, g += 2 * BLOCK, v += 2 * step)
					a += load(g) * load(v), b += load(g + BLOCK) * load(v + step);
				if (j < j1)
					a += load(g) * load(v);
			}
			a += b;
			for (int c = 0; c < BLOCK; c++)
				dw[c * taps + t] += a[c];
		}
	}
}

/* depthwise gathers the sizes; x is [N, C, h, w]. */
static Depthwise depthwise(const Kernel *a, const Tensor *dy, int64_t h, int64_t w)
{
	return (Depthwise){.n = dy->dims[0], .blocks = dy->dims[1] / BLOCK, .h = h, .w = w, .kh = a->kernel[0], .kw = a->kernel[1],
		.ho = dy->dims[2], .wo = dy->dims[3], .stride = {a->stride[0], a->stride[1]}, .dilation = {a->dilation[0], a->dilation[1]},
		.pad = {a->pad[0], a->pad[1]}, .dy = dy->data};
}

static Status *run_depthwise_input_grad(void *kernel, Context *c)
{
	const Kernel *a = kernel;
	Tensor dy, w, dx;
	if (!input(a->api, c, 0, &dy) || !input(a->api, c, 1, &w) || dy.rank != 4 || w.rank != 4 || dy.dims[1] % BLOCK != 0 ||
		w.dims[0] != dy.dims[1] || w.dims[1] != 1 || w.dims[2] != a->kernel[0] || w.dims[3] != a->kernel[1])
		return failure(a->api, "sslrt DepthwiseInputGrad: want dy: [N, C, H', W'] in blocks and w: [C, 1, h, w]");
	int64_t dims[4] = {dy.dims[0], dy.dims[1], a->size[0], a->size[1]};
	if (!output(a->api, c, 0, dims, 4, &dx))
		return failure(a->api, "sslrt DepthwiseInputGrad: no memory for the result");
	Depthwise d = depthwise(a, &dy, a->size[0], a->size[1]);
	d.weight = w.data, d.dx = dx.data;
	return parallel(a->api, c, depthwise_input_task, (size_t)(d.n * d.blocks), &d);
}

static Status *run_depthwise_weight_grad(void *kernel, Context *c)
{
	const Kernel *a = kernel;
	Tensor x, dy, dw;
	if (!input(a->api, c, 0, &x) || !input(a->api, c, 1, &dy) || x.rank != 4 || dy.rank != 4 || x.dims[0] != dy.dims[0] ||
		x.dims[1] != dy.dims[1] || x.dims[1] % BLOCK != 0)
		return failure(a->api, "sslrt DepthwiseWeightGrad: want x: [N, C, H, W] and dy: [N, C, H', W'] in blocks");
	int64_t dims[4] = {x.dims[1], 1, a->kernel[0], a->kernel[1]}, size = dims[0] * dims[2] * dims[3];
	if (!output(a->api, c, 0, dims, 4, &dw))
		return failure(a->api, "sslrt DepthwiseWeightGrad: no memory for the result");
	Depthwise d = depthwise(a, &dy, x.dims[2], x.dims[3]);
	d.x = x.data;
	d.splits = d.n < 8 ? d.n : 8;
	if ((d.parts = malloc((size_t)(d.splits * size) * sizeof(float))) == NULL)
		return failure(a->api, "sslrt DepthwiseWeightGrad: no memory for the parts of the sum");
	Status *s = parallel(a->api, c, depthwise_weight_task, (size_t)(d.splits * d.blocks), &d);
	for (int64_t i = 0; s == NULL && i < size; i++) {
		dw.data[i] = 0;
		for (int64_t p = 0; p < d.splits; p++)
			dw.data[i] += d.parts[p * size + i];
	}
	free(d.parts);
	return s;
}

/* ---- batch normalisation, with what stands beside it: a sum with the residual branch
 * and ReLU. A task has one block of channels of one image. ---- */

typedef struct {
	int64_t n, blocks, area, relu;
	float epsilon;
	const float *x, *weight, *bias, *residual; /* forward; residual may be NULL */
	float *y, *mean, *variance;
	const float *dy, *out;    /* backward; out is y where the mask cannot be had from x */
	float *dx, *dresidual;
	double *sums;             /* [n, blocks, 2, BLOCK]: two sums of each task */
	float *scale, *slope, *level; /* [blocks * BLOCK] */
} Norm;

/* norm_statistics sums up a task's values, and their squares about their own mean. */
static void norm_statistics(void *of, size_t task)
{
	Norm *b = of;
	const float *x = b->x + task * (size_t)(b->area * BLOCK);
	double *to = b->sums + task * 2 * BLOCK;
	vec s0 = all(0), s1 = s0, q0 = s0, q1 = s0, r0 = s0, r1 = s0;
	int64_t i;
	for (i = 0; i + 1 < b->area; i += 2) {
		s0 += load(x + i * BLOCK);
		s1 += load(x + (i + 1) * BLOCK);
	}
	if (i < b->area)
		s0 += load(x + i * BLOCK);
	vec mean = (s0 + s1) / (float)b->area;
	for (i = 0; i + 1 < b->area; i += 2) {
		vec d0 = load(x + i * BLOCK) - mean, d1 = load(x + (i + 1) * BLOCK) - mean;
		q0 += d0 * d0, q1 += d1 * d1;
		r0 += d0, r1 += d1; /* what rounding left of the mean */
	}
	if (i < b->area) {
		vec d0 = load(x + i * BLOCK) - mean;
		q0 += d0 * d0, r0 += d0;
	}
	for (int c = 0; c < BLOCK; c++) {
		double rest = ((double)r0[c] + (double)r1[c]) / (double)b->area;
		to[c] = (double)mean[c] + rest;
		to[BLOCK + c] = (double)q0[c] + (double)q1[c] - rest * rest * (double)b->area;
	}
}

/* norm_apply writes y = (x - mean) * scale + bias [+ residual], [ReLU]. */
static void norm_apply(void *of, size_t task)
{
	Norm *b = of;
	size_t at = task * (size_t)(b->area * BLOCK), block = task % (size_t)b->blocks;
	const float *x = b->x + at, *res = b->residual;
	float *y = b->y + at;
	vec mean = load(b->mean + block * BLOCK), scale = load(b->scale + block * BLOCK), bias = load(b->bias + block * BLOCK);
	if (res != NULL) {
		res += at;
		for (int64_t i = 0; i < b->area * BLOCK; i += BLOCK) {
			vec v = (load(x + i) - mean) * scale + bias + load(res + i);
			store(y + i, b->relu ? positive(v, v) : v);
		}
	} else {
		for (int64_t i = 0; i < b->area * BLOCK; i += BLOCK) {
			vec v = (load(x + i) - mean) * scale + bias;
			store(y + i, b->relu ? positive(v, v) : v);
		}
	}
}

static int same(const Tensor *a, const Tensor *b)
{
	return a->rank == b->rank && memcmp(a->dims, b->dims, a->rank * sizeof(int64_t)) == 0;
}

static int per_channel(const Tensor *t, const Tensor *x) { return t->rank == 1 && t->dims[0] == x->dims[1]; }

/* reserve allocates the room for the sums and the three values per channel. */
static int reserve(Norm *b)
{
	size_t c = (size_t)(b->blocks * BLOCK);
	b->sums = malloc((size_t)b->n * c * 2 * sizeof(double) + 3 * c * sizeof(float));
	if (b->sums == NULL)
		return 0;
	b->scale = (float *)(b->sums + (size_t)b->n * c * 2);
	b->slope = b->scale + c;
	b->level = b->slope + c;
	return 1;
}

static Status *run_norm(Kernel *a, Context *c, int add)
{
	Tensor x, weight, bias, residual, y, mean, variance;
	residual.data = NULL;
	if (!input(a->api, c, 0, &x) || !input(a->api, c, 1, &weight) || !input(a->api, c, 2, &bias) ||
		(add && (!input(a->api, c, 3, &residual) || !same(&x, &residual))) ||
		x.rank != 4 || x.dims[1] % BLOCK != 0 || !per_channel(&weight, &x) || !per_channel(&bias, &x))
		return failure(a->api, "sslrt BatchNorm: want x: [N, C, H, W] in blocks, weight and bias: [C], and a residual like x");
	if (!output(a->api, c, 0, x.dims, 4, &y) || !output(a->api, c, 1, x.dims + 1, 1, &mean) || !output(a->api, c, 2, x.dims + 1, 1, &variance))
		return failure(a->api, "sslrt BatchNorm: no memory for the results");
	Norm b = {.n = x.dims[0], .blocks = x.dims[1] / BLOCK, .area = x.dims[2] * x.dims[3], .relu = a->relu,
		.x = x.data, .bias = bias.data, .residual = residual.data, .y = y.data, .mean = mean.data};
	if (!reserve(&b))
		return failure(a->api, "sslrt BatchNorm: no memory for the sums");
	size_t tasks = (size_t)(b.n * b.blocks);
	Status *s = parallel(a->api, c, norm_statistics, tasks, &b);
	if (s == NULL) {
		for (int64_t ch = 0; ch < b.blocks * BLOCK; ch++) {
			/* Chan et al.'s parallel form: the images' means and squares join. */
			const double *p = b.sums + ch / BLOCK * 2 * BLOCK + ch % BLOCK;
			int64_t step = b.blocks * 2 * BLOCK;
			double m = 0, q = 0;
			for (int64_t n = 0; n < b.n; n++)
				m += p[n * step];
			m /= (double)b.n;
			for (int64_t n = 0; n < b.n; n++) {
				double d = p[n * step] - m;
				q += p[n * step + BLOCK] + d * d * (double)b.area;
			}
			mean.data[ch] = (float)m;
			variance.data[ch] = (float)(q / (double)(b.n * b.area));
			b.scale[ch] = (float)(weight.data[ch] / sqrt((double)variance.data[ch] + a->epsilon));
		}
		s = parallel(a->api, c, norm_apply, tasks, &b);
	}
	free(b.sums);
	return s;
}

static Status *run_batch_norm(void *kernel, Context *c) { return run_norm(kernel, c, 0); }
static Status *run_batch_norm_add(void *kernel, Context *c) { return run_norm(kernel, c, 1); }

/* norm_grad_sums adds up g and g * (x - mean), g being dy where ReLU let values pass. */
static void norm_grad_sums(void *of, size_t task)
{
	Norm *b = of;
	size_t at = task * (size_t)(b->area * BLOCK), block = task % (size_t)b->blocks;
	const float *x = b->x + at, *dy = b->dy + at;
	double *to = b->sums + task * 2 * BLOCK;
	vec mean = load(b->mean + block * BLOCK), g0 = all(0), g1 = g0;
	if (b->out != NULL) {
		const float *y = b->out + at;
		float *g = b->dresidual + at;
		for (int64_t i = 0; i < b->area * BLOCK; i += BLOCK) {
			vec d = load(dy + i);
			if (b->relu)
				d = positive(load(y + i), d);
			store(g + i, d);
			g0 += d, g1 += d * (load(x + i) - mean);
		}
	} else {
		vec scale = load(b->scale + block * BLOCK), bias = load(b->bias + block * BLOCK);
		for (int64_t i = 0; i < b->area * BLOCK; i += BLOCK) {
			vec d = load(dy + i), v = load(x + i) - mean;
			if (b->relu)
				d = positive(v * scale + bias, d);
			g0 += d, g1 += d * v;
		}
	}
	for (int c = 0; c < BLOCK; c++)
		to[c] = g0[c], to[BLOCK + c] = g1[c];
}

/* norm_grad_apply writes dx = scale * (g - db/M - (x - mean) * slope). */
static void norm_grad_apply(void *of, size_t task)
{
	Norm *b = of;
	size_t at = task * (size_t)(b->area * BLOCK), block = task % (size_t)b->blocks;
	const float *x = b->x + at, *dy = (b->out != NULL ? b->dresidual : b->dy) + at;
	float *dx = b->dx + at;
	vec mean = load(b->mean + block * BLOCK), scale = load(b->scale + block * BLOCK);
	vec slope = load(b->slope + block * BLOCK), level = load(b->level + block * BLOCK);
	int masked = b->out == NULL && b->relu;
	vec bias = masked ? load(b->bias + block * BLOCK) : all(0);
	for (int64_t i = 0; i < b->area * BLOCK; i += BLOCK) {
		vec g = load(dy + i), v = load(x + i) - mean;
		if (masked)
			g = positive(v * scale + bias, g);
		store(dx + i, scale * (g - level - v * slope));
	}
}

static Status *run_norm_grad(Kernel *a, Context *c, int add)
{
	Tensor dy, x, mean, variance, weight, other, dx, dweight, dbias, dresidual;
	dresidual.data = NULL;
	if (!input(a->api, c, 0, &dy) || !input(a->api, c, 1, &x) || !input(a->api, c, 2, &mean) || !input(a->api, c, 3, &variance) ||
		!input(a->api, c, 4, &weight) || !input(a->api, c, 5, &other) || x.rank != 4 || x.dims[1] % BLOCK != 0 || !same(&dy, &x) ||
		!per_channel(&mean, &x) || !per_channel(&variance, &x) || !per_channel(&weight, &x) ||
		!(add ? same(&other, &x) : per_channel(&other, &x)))
		return failure(a->api, "sslrt BatchNormGrad: want dy and x: [N, C, H, W] in blocks, mean, variance and weight: [C], and bias: [C] or y like x");
	if (!output(a->api, c, 0, x.dims, 4, &dx) || !output(a->api, c, 1, x.dims + 1, 1, &dweight) || !output(a->api, c, 2, x.dims + 1, 1, &dbias) ||
		(add && !output(a->api, c, 3, x.dims, 4, &dresidual)))
		return failure(a->api, "sslrt BatchNormGrad: no memory for the results");
	Norm b = {.n = x.dims[0], .blocks = x.dims[1] / BLOCK, .area = x.dims[2] * x.dims[3], .relu = a->relu,
		.x = x.data, .dy = dy.data, .mean = mean.data,
		.bias = add ? NULL : other.data, .out = add ? other.data : NULL, .dx = dx.data, .dresidual = dresidual.data};
	if (!reserve(&b))
		return failure(a->api, "sslrt BatchNormGrad: no memory for the sums");
	size_t tasks = (size_t)(b.n * b.blocks);
	int64_t channels = b.blocks * BLOCK;
	for (int64_t ch = 0; ch < channels; ch++) /* as run_norm has it, bit for bit */
		b.scale[ch] = (float)(weight.data[ch] / sqrt((double)variance.data[ch] + a->epsilon));
	Status *s = parallel(a->api, c, norm_grad_sums, tasks, &b);
	if (s == NULL) {
		double m = (double)(b.n * b.area);
		for (int64_t ch = 0; ch < channels; ch++) {
			const double *p = b.sums + ch / BLOCK * 2 * BLOCK + ch % BLOCK;
			int64_t step = b.blocks * 2 * BLOCK;
			double g = 0, gx = 0, inverse = 1 / sqrt((double)variance.data[ch] + a->epsilon);
			for (int64_t n = 0; n < b.n; n++)
				g += p[n * step], gx += p[n * step + BLOCK];
			dbias.data[ch] = (float)g;
			dweight.data[ch] = (float)(gx * inverse);
			b.slope[ch] = (float)(gx * inverse * inverse / m);
			b.level[ch] = (float)(g / m);
		}
		s = parallel(a->api, c, norm_grad_apply, tasks, &b);
	}
	free(b.sums);
	return s;
}

static Status *run_batch_norm_grad(void *kernel, Context *c) { return run_norm_grad(kernel, c, 0); }
static Status *run_batch_norm_add_grad(void *kernel, Context *c) { return run_norm_grad(kernel, c, 1); }

/* ---- a bias and ReLU, where there is no normalisation. A task has one block of channels
 * of one image. ---- */

typedef struct {
	int64_t blocks, area;
	const float *x, *bias; /* forward */
	const float *dy, *y;   /* backward */
	float *to, *sums;      /* y or dx; sums: [n, C] */
} Bias;

static void bias_task(void *of, size_t task)
{
	const Bias *b = of;
	size_t at = task * (size_t)(b->area * BLOCK);
	vec bias = load(b->bias + task % (size_t)b->blocks * BLOCK);
	for (int64_t i = 0; i < b->area * BLOCK; i += BLOCK) {
		vec v = load(b->x + at + i) + bias;
		store(b->to + at + i, positive(v, v));
	}
}

static void bias_grad_task(void *of, size_t task)
{
	const Bias *b = of;
	size_t at = task * (size_t)(b->area * BLOCK);
	vec sum = all(0);
	for (int64_t i = 0; i < b->area * BLOCK; i += BLOCK) {
		vec g = positive(load(b->y + at + i), load(b->dy + at + i));
		store(b->to + at + i, g);
		sum += g;
	}
	store(b->sums + task * BLOCK, sum);
}

static Status *run_bias(void *kernel, Context *c)
{
	const Kernel *a = kernel;
	Tensor x, bias, y;
	if (!input(a->api, c, 0, &x) || !input(a->api, c, 1, &bias) || x.rank != 4 || x.dims[1] % BLOCK != 0 || !per_channel(&bias, &x))
		return failure(a->api, "sslrt BiasRelu: want x: [N, C, H, W] in blocks and bias: [C]");
	if (!output(a->api, c, 0, x.dims, 4, &y))
		return failure(a->api, "sslrt BiasRelu: no memory for the result");
	Bias b = {.blocks = x.dims[1] / BLOCK, .area = x.dims[2] * x.dims[3], .x = x.data, .bias = bias.data, .to = y.data};
	return parallel(a->api, c, bias_task, (size_t)(x.dims[0] * b.blocks), &b);
}

static Status *run_bias_grad(void *kernel, Context *c)
{
	const Kernel *a = kernel;
	Tensor dy, y, dx, dbias;
	if (!input(a->api, c, 0, &dy) || !input(a->api, c, 1, &y) || y.rank != 4 || y.dims[1] % BLOCK != 0 || !same(&dy, &y))
		return failure(a->api, "sslrt BiasReluGrad: want dy and y: [N, C, H, W] in blocks");
	if (!output(a->api, c, 0, y.dims, 4, &dx) || !output(a->api, c, 1, y.dims + 1, 1, &dbias))
		return failure(a->api, "sslrt BiasReluGrad: no memory for the results");
	Bias b = {.blocks = y.dims[1] / BLOCK, .area = y.dims[2] * y.dims[3], .dy = dy.data, .y = y.data, .to = dx.data};
	if ((b.sums = malloc((size_t)(y.dims[0] * y.dims[1]) * sizeof(float))) == NULL)
		return failure(a->api, "sslrt BiasReluGrad: no memory for the sums");
	Status *s = parallel(a->api, c, bias_grad_task, (size_t)(y.dims[0] * b.blocks), &b);
	for (int64_t ch = 0; s == NULL && ch < y.dims[1]; ch++) {
		double sum = 0;
		for (int64_t n = 0; n < y.dims[0]; n++)
			sum += b.sums[n * y.dims[1] + ch];
		dbias.data[ch] = (float)sum;
	}
	free(b.sums);
	return s;
}

/* ---- the gradient of max-pooling: the first of the largest values of a window has its
 * gradient. A task has one block of channels of one image. ---- */

typedef struct {
	int64_t h, w, ho, wo, kernel[2], stride[2], pad[2];
	const float *x, *y, *dy;
	float *dx;
} Pool;

static void max_pool_grad_task(void *of, size_t task)
{
	const Pool *p = of;
	const float *x = p->x + task * (size_t)(p->h * p->w * BLOCK);
	const float *y = p->y + task * (size_t)(p->ho * p->wo * BLOCK), *dy = p->dy + task * (size_t)(p->ho * p->wo * BLOCK);
	float *dx = p->dx + task * (size_t)(p->h * p->w * BLOCK);
	memset(dx, 0, (size_t)(p->h * p->w * BLOCK) * sizeof(float));
	for (int64_t i = 0; i < p->ho; i++)
		for (int64_t j = 0; j < p->wo; j++, y += BLOCK, dy += BLOCK) {
			vec best = load(y), g = load(dy);
			ints left = (ints)(best == best); /* all, but for NaN */
			for (int64_t u = 0; u < p->kernel[0]; u++)
				for (int64_t v = 0; v < p->kernel[1]; v++) {
					int64_t r = i * p->stride[0] + u - p->pad[0], c = j * p->stride[1] + v - p->pad[1];
					if (r < 0 || r >= p->h || c < 0 || c >= p->w)
						continue;
					int64_t at = (r * p->w + c) * BLOCK;
					ints hit = (load(x + at) == best) & left;
					store(dx + at, load(dx + at) + (vec)((ints)g & hit));
					left &= ~hit;
				}
		}
}

static Status *run_max_pool_grad(void *kernel, Context *c)
{
	const Kernel *a = kernel;
	Tensor x, y, dy, dx;
	if (!input(a->api, c, 0, &x) || !input(a->api, c, 1, &y) || !input(a->api, c, 2, &dy) || x.rank != 4 || !same(&y, &dy) ||
		y.rank != 4 || x.dims[0] != y.dims[0] || x.dims[1] != y.dims[1] || x.dims[1] % BLOCK != 0)
		return failure(a->api, "sslrt MaxPoolGrad: want x: [N, C, H, W], y and dy: [N, C, H', W'] in blocks");
	if (!output(a->api, c, 0, x.dims, 4, &dx))
		return failure(a->api, "sslrt MaxPoolGrad: no memory for the result");
	Pool p = {.h = x.dims[2], .w = x.dims[3], .ho = y.dims[2], .wo = y.dims[3], .x = x.data, .y = y.data, .dy = dy.data, .dx = dx.data,
		.kernel = {a->kernel[0], a->kernel[1]}, .stride = {a->stride[0], a->stride[1]}, .pad = {a->pad[0], a->pad[1]}};
	return parallel(a->api, c, max_pool_grad_task, (size_t)(x.dims[0] * x.dims[1] / BLOCK), &p);
}

/* ---- a chain of elementwise operators ----
 *
 * A program has steps of four numbers: an operator and its operands, which are numbers of
 * registers. The first registers are the inputs, tensors of one size or single numbers;
 * each step fills the next. It runs over pieces so short that its registers stay in the
 * cache, and rounds after each step as the operators one by one do.
 */

enum { ADD, SUB, MUL, DIV, SQRT, NEG, RELU, WHERE, EXP, ERF, OPERATORS };
enum { MAX_INPUTS = 16, MAX_STEPS = 24, MAX_OUTPUTS = 8, PIECE = 256 /* values */, TASK = 64 * PIECE };

typedef struct {
	int64_t size;
	const int64_t *program, *results;
	size_t inputs, steps, outputs;
	const float *in[MAX_INPUTS];
	int single[MAX_INPUTS];
	float *out[MAX_OUTPUTS];
} Chain;

/* exponential returns e^x, with a relative error of 1e-7: e^x = 2^n * e^r. The
 * coefficients, as those of error_function, are a minimax fit. */
static inline vec exponential(vec x)
{
	const float shift = 12582912.f; /* 1.5 * 2^23: a sum with it is rounded to an integer */
	x = choose(x > 89.f, all(89.f), choose(x < -104.f, all(-104.f), x)); /* behind them is infinity, or 0 */
	vec t = x * 1.44269504f + shift, n = t - shift;
	vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
	vec p = ((((all(1.38144311e-3f) * r + 8.36879667e-3f) * r + 4.16683964e-2f) * r + 0.166665196f) * r + 0.49999994f) * r * r + r + 1.f;
	/* 2^n in two steps, since it alone may be no number where the result is one. */
	ints whole = (ints)t - 0x4b400000, half = whole >> 1;
	return p * (vec)((half + 127) << 23) * (vec)((whole - half + 127) << 23);
}

/* error_function returns erf(x), with an error of 1e-7. */
static inline vec error_function(vec x)
{
	vec s = x * x, a = choose(x < 0.f, -x, x);
	vec near = (((((all(-6.20325271e-4f) * s + 5.03218081e-3f) * s - 2.67914627e-2f) * s + 0.112824552f) * s - 0.376125515f) * s + 0.128379151f) * x + x;
	a = choose(a > 4.f, all(4.f), a);
	vec q = (((((all(-2.00997354e-4f) * a + 3.09230224e-3f) * a - 2.24202537e-2f) * a + 0.104327574f) * a + 0.636737168f) * a + 1.12793612f) * a + 1.33566617e-4f;
	vec far = 1.f - exponential(-q); /* 1 - erfc(a) */
	return choose(a < 0.875f, near, choose(x < 0.f, -far, far));
}

/* The operators work on whole blocks; pieces have room for them. */
static void step(int64_t operator, const float *a, const float *b, const float *c, float *to, int64_t n)
{
	int64_t i;
	switch (operator) {
	case ADD: for (i = 0; i < n; i += BLOCK) store(to + i, load(a + i) + load(b + i)); break;
	case SUB: for (i = 0; i < n; i += BLOCK) store(to + i, load(a + i) - load(b + i)); break;
	case MUL: for (i = 0; i < n; i += BLOCK) store(to + i, load(a + i) * load(b + i)); break;
	case DIV: for (i = 0; i < n; i += BLOCK) store(to + i, load(a + i) / load(b + i)); break;
	case SQRT: for (i = 0; i < n; i++) to[i] = sqrtf(a[i]); break;
	case NEG: for (i = 0; i < n; i += BLOCK) store(to + i, -load(a + i)); break;
	case RELU: for (i = 0; i < n; i++) to[i] = a[i] < 0 ? 0 : a[i]; break; /* NaN stays */
	case EXP: for (i = 0; i < n; i += BLOCK) store(to + i, exponential(load(a + i))); break;
	case ERF: for (i = 0; i < n; i += BLOCK) store(to + i, error_function(load(a + i))); break;
	case WHERE: for (i = 0; i < n; i++) to[i] = a[i] != 0 ? b[i] : c[i]; break;
	}
}

static void chain_task(void *of, size_t task)
{
	const Chain *p = of;
	float room[MAX_INPUTS + MAX_STEPS][PIECE];
	const float *registers[MAX_INPUTS + MAX_STEPS];
	int64_t from = (int64_t)task * TASK, to = from + TASK < p->size ? from + TASK : p->size;
	for (size_t i = 0; i < p->inputs; i++)
		if (p->single[i])
			for (int64_t j = 0; j < PIECE; j++)
				room[i][j] = *p->in[i];
	for (int64_t at = from; at < to; at += PIECE) {
		int64_t n = to - at < PIECE ? to - at : PIECE, whole = (n + BLOCK - 1) / BLOCK * BLOCK;
		for (size_t i = 0; i < p->inputs; i++) {
			registers[i] = room[i];
			if (p->single[i])
				continue;
			if (n == whole) {
				registers[i] = p->in[i] + at;
			} else {
				memset(room[i], 0, (size_t)whole * sizeof(float));
				memcpy(room[i], p->in[i] + at, (size_t)n * sizeof(float));
			}
		}
		for (size_t s = 0; s < p->steps; s++) {
			const int64_t *q = p->program + 4 * s;
			step(q[0], registers[q[1]], registers[q[2]], registers[q[3]], room[p->inputs + s], whole);
			registers[p->inputs + s] = room[p->inputs + s];
		}
		for (size_t o = 0; o < p->outputs; o++)
			memcpy(p->out[o] + at, registers[p->results[o]], (size_t)n * sizeof(float));
	}
}

static Status *run_elementwise(void *kernel, Context *c)
{
	const Kernel *a = kernel;
	Chain p = {.program = a->program, .results = a->results, .steps = a->steps / 4, .outputs = a->outputs};
	Tensor t, shape = {.rank = 0};
	Status *failed = CALL(a->api, KERNEL_CONTEXT_GET_INPUT_COUNT, Status *, const Context *, size_t *)(c, &p.inputs);
	if (failed != NULL)
		return failed;
	if (p.inputs < 1 || p.inputs > MAX_INPUTS)
		return failure(a->api, "sslrt Elementwise: too many inputs");
	int64_t sizes[MAX_INPUTS];
	for (size_t i = 0; i < p.inputs; i++) {
		if (!input(a->api, c, i, &t))
			return failure(a->api, "sslrt Elementwise: want float32 tensors of 4 axes at most");
		sizes[i] = 1;
		for (size_t d = 0; d < t.rank; d++)
			sizes[i] *= t.dims[d];
		p.in[i] = t.data;
		if (i == 0 || sizes[i] > p.size)
			p.size = sizes[i], shape = t;
	}
	for (size_t i = 0; i < p.inputs; i++) {
		p.single[i] = sizes[i] == 1;
		if (sizes[i] != p.size && sizes[i] != 1)
			return failure(a->api, "sslrt Elementwise: want inputs of one size, or single numbers");
	}
	if (a->steps % 4 != 0 || p.steps > MAX_STEPS || p.outputs > MAX_OUTPUTS)
		return failure(a->api, "sslrt Elementwise: the program is too long");
	for (size_t s = 0; s < p.steps; s++) {
		const int64_t *q = p.program + 4 * s;
		for (int i = 1; i < 4; i++)
			if (q[i] < 0 || q[i] >= (int64_t)(p.inputs + s) || q[0] < 0 || q[0] >= OPERATORS)
				return failure(a->api, "sslrt Elementwise: the program reads what is not there");
	}
	for (size_t o = 0; o < p.outputs; o++) {
		if (p.results[o] < 0 || p.results[o] >= (int64_t)(p.inputs + p.steps))
			return failure(a->api, "sslrt Elementwise: the program gives what is not there");
		if (!output(a->api, c, o, shape.dims, shape.rank, &t))
			return failure(a->api, "sslrt Elementwise: no memory for the results");
		p.out[o] = t.data;
	}
	if (p.size <= TASK) {
		if (p.size > 0)
			chain_task(&p, 0);
		return NULL;
	}
	return parallel(a->api, c, chain_task, (size_t)((p.size + TASK - 1) / TASK), &p);
}

/* ---- registration ---- */

static const char *op_name(const CustomOp *op) { return op->name; }
static const char *op_provider(const CustomOp *op) { (void)op; return NULL; }
static int op_type(const CustomOp *op, size_t i) { (void)op, (void)i; return 1; /* float32 */ }
static size_t op_inputs(const CustomOp *op) { return (size_t)op->inputs; }
static size_t op_outputs(const CustomOp *op) { return (size_t)op->outputs; }
static int op_memory(const CustomOp *op, size_t i) { (void)op, (void)i; return 0; }
static int op_presence(const CustomOp *op, size_t i) { (void)i; return op->any ? 2 /* any number */ : 0 /* required */; }
static int op_one(const CustomOp *op) { (void)op; return 1; }
static void op_destroy(void *kernel) { free(kernel); }

/* read_ints reads an attribute of at most room numbers and returns how many it has, 0 if
 * there is none or it does not fit. */
static size_t read_ints(Api api, const Info *info, const char *name, int64_t *to, size_t room)
{
	size_t count = room;
	Status *s = CALL(api, KERNEL_INFO_GET_INT64S, Status *, const Info *, const char *, int64_t *, size_t *)(info, name, to, &count);
	if (s == NULL)
		return count;
	CALL(api, RELEASE_STATUS, void, Status *)(s);
	return 0;
}

static Status *op_create(const CustomOp *op, Api api, const Info *info, void **kernel)
{
	Kernel *k = calloc(1, sizeof(Kernel));
	Status *s;
	(void)op;
	if (k == NULL)
		return failure(api, "sslrt: no memory for a kernel");
	k->api = api;
	for (int i = 0; i < 2; i++)
		k->kernel[i] = k->stride[i] = k->dilation[i] = 1;
	read_ints(api, info, "kernel_shape", k->kernel, 2);
	read_ints(api, info, "strides", k->stride, 2);
	read_ints(api, info, "dilations", k->dilation, 2);
	read_ints(api, info, "pads_begin", k->pad, 2);
	read_ints(api, info, "size", k->size, 2);
	k->steps = read_ints(api, info, "program", k->program, sizeof(k->program) / sizeof(k->program[0]));
	k->outputs = read_ints(api, info, "results", k->results, sizeof(k->results) / sizeof(k->results[0]));
	s = CALL(api, KERNEL_INFO_GET_FLOAT, Status *, const Info *, const char *, float *)(info, "epsilon", &k->epsilon);
	if (s != NULL)
		CALL(api, RELEASE_STATUS, void, Status *)(s);
	s = CALL(api, KERNEL_INFO_GET_INT64, Status *, const Info *, const char *, int64_t *)(info, "relu", &k->relu);
	if (s != NULL)
		CALL(api, RELEASE_STATUS, void, Status *)(s);
	*kernel = k;
	return NULL;
}

#define OP(NAME, IN, OUT, ANY, RUN)                                                                     \
	{                                                                                               \
		.version = API_VERSION, .get_name = op_name, .get_provider = op_provider,                   \
		.get_input_type = op_type, .get_input_count = op_inputs, .get_output_type = op_type,        \
		.get_output_count = op_outputs, .destroy = op_destroy, .get_input_characteristic = op_presence, \
		.get_output_characteristic = op_presence, .get_input_memory = op_memory, .create = op_create, \
		.variadic = {op_one, op_one, op_one, op_one}, .run = RUN, .name = NAME, .inputs = IN, .outputs = OUT, .any = ANY,                                    \
	}

static CustomOp ops[] = {
	OP("Conv3x3", 2, 1, 0, run_conv),
	OP("ConvWeightGrad", 2, 1, 0, run_weight_grad),
	OP("BatchNorm", 3, 3, 0, run_batch_norm),
	OP("BatchNormAdd", 4, 3, 0, run_batch_norm_add),
	OP("BatchNormGrad", 6, 3, 0, run_batch_norm_grad),
	OP("BatchNormAddGrad", 6, 4, 0, run_batch_norm_add_grad),
	OP("DepthwiseInputGrad", 2, 1, 0, run_depthwise_input_grad),
	OP("DepthwiseWeightGrad", 2, 1, 0, run_depthwise_weight_grad),
	OP("BiasRelu", 2, 1, 0, run_bias),
	OP("BiasReluGrad", 2, 2, 0, run_bias_grad),
	OP("MaxPoolGrad", 3, 1, 0, run_max_pool_grad),
	OP("Elementwise", 1, 1, 1, run_elementwise),
};

__attribute__((visibility("default"))) Status *RegisterCustomOps(void *options, const ApiBase *base)
{
	static void *domain; /* lives as long as the process */
	Api api = base->get_api(API_VERSION);
	Status *s = NULL;
	if (api == NULL)
		return NULL; /* too old a library: it will not know the operators, and say so */
	if (domain == NULL) {
		s = CALL(api, CREATE_CUSTOM_OP_DOMAIN, Status *, const char *, void **)("sslrt", &domain);
		for (size_t i = 0; s == NULL && i < sizeof(ops) / sizeof(ops[0]); i++)
			s = CALL(api, CUSTOM_OP_DOMAIN_ADD, Status *, void *, const CustomOp *)(domain, &ops[i]);
	}
	if (s == NULL)
		s = CALL(api, ADD_CUSTOM_OP_DOMAIN, Status *, void *, void *)(options, domain);
	return s;
}
