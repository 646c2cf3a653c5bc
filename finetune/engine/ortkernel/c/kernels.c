/*
 * Kernels of the training step that ONNX Runtime's own operators do not offer, as
 * custom operators of the domain "sslrt":
 *
 *   ConvWeightGrad      x, dy -> dw
 *   BatchNorm           x, weight, bias -> y, mean, variance
 *   BatchNormAdd        x, weight, bias, residual -> y, mean, variance
 *   BatchNormGrad       dy, x, mean, variance, weight, bias -> dx, dweight, dbias
 *   BatchNormAddGrad    dy, x, mean, variance, weight, y -> dx, dweight, dbias, dresidual
 *
 * Activations are in ONNX Runtime's blocked layout: of [N, C, H, W] the channels are
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

/* positive returns v where of is above 0, and 0 elsewhere. */
static inline vec positive(vec of, vec v)
{
	typedef int32_t ints __attribute__((vector_size(4 * BLOCK)));
	return (vec)((ints)v & (of > 0.f));
}

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
	void *variadic[4];
	Status *(*create)(const struct CustomOp *, Api, const Info *, void **kernel);
	Status *(*run)(void *kernel, Context *);
	void *infer_shape, *start_version, *end_version, *inplace[4];
	/* Ours, behind what ONNX Runtime knows. */
	const char *name;
	int inputs, outputs;
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
 * A task computes it for some blocks of k and some channels c. Registers hold the sums
 * of K_AT_ONCE blocks by C_AT_ONCE channels for one tap (u, v) while the positions of a
 * few images go by: long enough to make loads few, short enough to stay in the cache,
 * and to keep the rounding of the sums small.
 */

enum { C_AT_ONCE = BLOCK / 2, K_AT_ONCE = 2 };

typedef struct {
	int64_t n, c, h, w, k, kh, kw, ho, wo;
	int64_t stride[2], dilation[2], pad[2]; /* pad: top, left */
	const float *x, *dy;
	float *dw, *parts;
	int64_t tasks_k, tasks_c, splits; /* of output blocks, of input channels, of images */
	int64_t c_step, pixel_step;       /* between the channels and the pixels of x */
} WeightGrad;

/* sum_row adds up the products of one row: x holds the values under the first position. */
#define SUM_ROW(name, KS, CS)                                                                       \
	static inline __attribute__((always_inline)) void name(vec acc[KS][CS], const float *x,         \
		int64_t x_step, int64_t c_step, const float *dy, int64_t k_step, int64_t count)             \
	{                                                                                               \
		for (int64_t j = 0; j < count; j++, x += x_step, dy += BLOCK) {                             \
			vec d[KS];                                                                              \
			_Pragma("GCC unroll 8") for (int k = 0; k < KS; k++) d[k] = load(dy + k * k_step);      \
			_Pragma("GCC unroll 16") for (int c = 0; c < CS; c++) {                                 \
				vec v = all(x[c * c_step]);                                                         \
				_Pragma("GCC unroll 8") for (int k = 0; k < KS; k++) acc[k][c] += d[k] * v;         \
			}                                                                                       \
		}                                                                                           \
	}

/* inside returns the first and the last position + 1 along an axis whose tap t reads
 * inside of x. */
static inline void inside(int64_t offset, int64_t stride, int64_t in, int64_t out, int64_t *lo, int64_t *hi)
{
	*lo = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
	*hi = in - 1 - offset < 0 ? 0 : (in - 1 - offset) / stride + 1;
	if (*hi > out)
		*hi = out;
	if (*lo > *hi)
		*lo = *hi;
}

/* SUM_TAP adds the products of the images from..to under tap (u, v) to sum: [KS][CS]. */
#define SUM_TAP(name, row, KS, CS)                                                                  \
	static void name(const WeightGrad *g, const float *x, int64_t x_image, int64_t c_step,          \
		const float *dy, int64_t u, int64_t v, int64_t images, float *sum)                          \
	{                                                                                               \
		int64_t top = u * g->dilation[0] - g->pad[0], left = v * g->dilation[1] - g->pad[1];        \
		int64_t i0, i1, j0, j1, px = g->pixel_step;                                                 \
		vec acc[KS][CS];                                                                            \
		inside(top, g->stride[0], g->h, g->ho, &i0, &i1);                                           \
		inside(left, g->stride[1], g->w, g->wo, &j0, &j1);                                          \
		_Pragma("GCC unroll 8") for (int k = 0; k < KS; k++)                                        \
			_Pragma("GCC unroll 16") for (int c = 0; c < CS; c++) acc[k][c] = all(0);               \
		for (int64_t n = 0; n < images; n++, x += x_image, dy += g->k * g->ho * g->wo)              \
			for (int64_t i = i0; i < i1; i++)                                                       \
				row(acc, x + ((i * g->stride[0] + top) * g->w + j0 * g->stride[1] + left) * px,     \
					g->stride[1] * px, c_step, dy + (i * g->wo + j0) * BLOCK,                       \
					g->ho * g->wo * BLOCK, j1 - j0);                                                \
		_Pragma("GCC unroll 8") for (int k = 0; k < KS; k++)                                        \
			_Pragma("GCC unroll 16") for (int c = 0; c < CS; c++) {                                 \
				float *to = sum + (k * CS + c) * BLOCK;                                             \
				store(to, load(to) + acc[k][c]);                                                    \
			}                                                                                       \
	}

SUM_ROW(row_2, K_AT_ONCE, C_AT_ONCE)
SUM_ROW(row_1, 1, C_AT_ONCE)
SUM_ROW(row_2_plain, K_AT_ONCE, 3)
SUM_ROW(row_1_plain, 1, 3)
SUM_ROW(row_2_single, K_AT_ONCE, 1)
SUM_ROW(row_1_single, 1, 1)
SUM_TAP(tap_2, row_2, K_AT_ONCE, C_AT_ONCE)
SUM_TAP(tap_1, row_1, 1, C_AT_ONCE)
SUM_TAP(tap_2_plain, row_2_plain, K_AT_ONCE, 3)
SUM_TAP(tap_1_plain, row_1_plain, 1, 3)
SUM_TAP(tap_2_single, row_2_single, K_AT_ONCE, 1)
SUM_TAP(tap_1_single, row_1_single, 1, 1)

/* Where x has channels in blocks a task takes one block of them, in two halves, else up
 * to three channels of a plain layout. */
static void weight_grad_task(void *of, size_t task)
{
	const WeightGrad *g = of;
	int64_t taps = g->kh * g->kw, area = g->h * g->w, out_area = g->ho * g->wo;
	int64_t tk = task % g->tasks_k, tc = task / g->tasks_k % g->tasks_c, split = task / g->tasks_k / g->tasks_c;
	int64_t k0 = tk * K_AT_ONCE, ks = g->k / BLOCK - k0 < K_AT_ONCE ? g->k / BLOCK - k0 : K_AT_ONCE;
	int blocked = g->c_step == 1;
	int64_t wide = blocked ? BLOCK : g->c % 3 == 0 ? 3 : 1; /* channels of a task */
	int64_t at_once = blocked ? C_AT_ONCE : wide;
	int64_t from = g->n * split / g->splits, to = g->n * (split + 1) / g->splits;
	int64_t few = (1024 + out_area - 1) / out_area; /* images between two additions */
	size_t values = (size_t)(taps * wide * ks * BLOCK);
	float *sum = calloc(values, sizeof(float)); /* [taps, wide/at_once, ks, at_once, BLOCK] */
	float *dw = g->splits == 1 ? g->dw : g->parts + split * g->k * g->c * taps;
	if (sum == NULL)
		abort(); /* nothing can go on without a few kilobytes */

	for (int64_t n = from; n < to; n += few) {
		int64_t images = to - n < few ? to - n : few;
		const float *dy = g->dy + (n * g->k + k0 * BLOCK) * out_area;
		for (int64_t c = 0; c < wide; c += at_once) {
			const float *x = g->x + (n * g->c + tc * wide) * area + c * g->c_step;
			for (int64_t t = 0; t < taps; t++) {
				float *s = sum + (t * wide + c) * ks * BLOCK;
				int64_t u = t / g->kw, v = t % g->kw;
				if (blocked && ks == 2)
					tap_2(g, x, g->c * area, 1, dy, u, v, images, s);
				else if (blocked)
					tap_1(g, x, g->c * area, 1, dy, u, v, images, s);
				else if (wide == 3 && ks == 2)
					tap_2_plain(g, x, g->c * area, area, dy, u, v, images, s);
				else if (wide == 3)
					tap_1_plain(g, x, g->c * area, area, dy, u, v, images, s);
				else if (ks == 2)
					tap_2_single(g, x, g->c * area, area, dy, u, v, images, s);
				else
					tap_1_single(g, x, g->c * area, area, dy, u, v, images, s);
			}
		}
	}
	for (int64_t k = 0; k < ks * BLOCK; k++)
		for (int64_t c = 0; c < wide; c++) {
			float *row = dw + (((k0 * BLOCK + k) * g->c) + tc * wide + c) * taps;
			const float *s = sum + (c / at_once * at_once * ks + k / BLOCK * at_once + c % at_once) * BLOCK + k % BLOCK;
			for (int64_t t = 0; t < taps; t++)
				row[t] = s[t * wide * ks * BLOCK];
		}
	free(sum);
}

typedef struct {
	Api api;
	int64_t kernel[2], stride[2], dilation[2], pad[2];
	float epsilon;
	int64_t relu;
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
		.x = x.data, .dy = dy.data, .dw = dw.data, .splits = 1,
	};
	g.tasks_k = (g.k / BLOCK + K_AT_ONCE - 1) / K_AT_ONCE;
	if (g.c % BLOCK == 0) {
		g.c_step = 1, g.pixel_step = BLOCK, g.tasks_c = g.c / BLOCK;
	} else {
		g.c_step = g.h * g.w, g.pixel_step = 1, g.tasks_c = g.c % 3 == 0 ? g.c / 3 : g.c;
	}
	const int64_t enough = 16; /* tasks */
	if (g.tasks_k * g.tasks_c < enough)
		g.splits = (enough + g.tasks_k * g.tasks_c - 1) / (g.tasks_k * g.tasks_c);
	if (g.splits > g.n)
		g.splits = g.n;
	int64_t size = g.k * g.c * g.kh * g.kw;
	if (g.splits > 1 && (g.parts = malloc((size_t)(g.splits * size) * sizeof(float))) == NULL)
		return failure(a->api, "sslrt ConvWeightGrad: no memory for the parts of the sum");
	Status *s = parallel(a->api, c, weight_grad_task, (size_t)(g.tasks_k * g.tasks_c * g.splits), &g);
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

/* ---- registration ---- */

static const char *op_name(const CustomOp *op) { return op->name; }
static const char *op_provider(const CustomOp *op) { (void)op; return NULL; }
static int op_type(const CustomOp *op, size_t i) { (void)op, (void)i; return 1; /* float32 */ }
static size_t op_inputs(const CustomOp *op) { return (size_t)op->inputs; }
static size_t op_outputs(const CustomOp *op) { return (size_t)op->outputs; }
static int op_required(const CustomOp *op, size_t i) { (void)op, (void)i; return 0; }
static void op_destroy(void *kernel) { free(kernel); }

static void read_ints(Api api, const Info *info, const char *name, int64_t *to)
{
	int64_t values[2];
	size_t count = 2;
	Status *s = CALL(api, KERNEL_INFO_GET_INT64S, Status *, const Info *, const char *, int64_t *, size_t *)(info, name, values, &count);
	if (s != NULL)
		CALL(api, RELEASE_STATUS, void, Status *)(s);
	else if (count == 2)
		to[0] = values[0], to[1] = values[1];
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
	read_ints(api, info, "kernel_shape", k->kernel);
	read_ints(api, info, "strides", k->stride);
	read_ints(api, info, "dilations", k->dilation);
	read_ints(api, info, "pads_begin", k->pad);
	s = CALL(api, KERNEL_INFO_GET_FLOAT, Status *, const Info *, const char *, float *)(info, "epsilon", &k->epsilon);
	if (s != NULL)
		CALL(api, RELEASE_STATUS, void, Status *)(s);
	s = CALL(api, KERNEL_INFO_GET_INT64, Status *, const Info *, const char *, int64_t *)(info, "relu", &k->relu);
	if (s != NULL)
		CALL(api, RELEASE_STATUS, void, Status *)(s);
	*kernel = k;
	return NULL;
}

#define OP(NAME, IN, OUT, RUN)                                                                      \
	{                                                                                               \
		.version = API_VERSION, .get_name = op_name, .get_provider = op_provider,                   \
		.get_input_type = op_type, .get_input_count = op_inputs, .get_output_type = op_type,        \
		.get_output_count = op_outputs, .destroy = op_destroy, .get_input_characteristic = op_required, \
		.get_output_characteristic = op_required, .get_input_memory = op_required, .create = op_create, \
		.run = RUN, .name = NAME, .inputs = IN, .outputs = OUT,                                      \
	}

static CustomOp ops[] = {
	OP("ConvWeightGrad", 2, 1, run_weight_grad),
	OP("BatchNorm", 3, 3, run_batch_norm),
	OP("BatchNormAdd", 4, 3, run_batch_norm_add),
	OP("BatchNormGrad", 6, 3, run_batch_norm_grad),
	OP("BatchNormAddGrad", 6, 4, run_batch_norm_add_grad),
};

__attribute__((visibility("default"))) Status *RegisterCustomOps(void *options, const ApiBase *base)
{
	static void *domain; /* lives as long as the process */
	Api api = base->get_api(API_VERSION);
	Status *s = NULL;
	if (domain == NULL) {
		s = CALL(api, CREATE_CUSTOM_OP_DOMAIN, Status *, const char *, void **)("sslrt", &domain);
		for (size_t i = 0; s == NULL && i < sizeof(ops) / sizeof(ops[0]); i++)
			s = CALL(api, CUSTOM_OP_DOMAIN_ADD, Status *, void *, const CustomOp *)(domain, &ops[i]);
	}
	if (s == NULL)
		s = CALL(api, ADD_CUSTOM_OP_DOMAIN, Status *, void *, void *)(options, domain);
	return s;
}
