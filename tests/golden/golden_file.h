/*
 * golden_file.h - reader of the golden files, and the comparison all golden tests use.
 *
 * A file is "USGOLD1\n", a count of records (u32), and the records, all little-endian:
 *   u16 length of the name, the name, u8 kind, u8 number of dimensions, u32 dimensions, then by kind
 *   F32, U8, I64, F64, TEXT: the elements
 *   FILL:   u32 seed, f32 low, f32 span: the float32 tensor low + span * golden_uniform(seed, i)
 *   SAMPLE: u32 stride, f64 projection, f64 largest magnitude, f32 elements 0, stride, 2 stride, ...
 * The projection is the sum of every element of the tensor times 2 golden_uniform(7, i) - 1: an error in an element
 * that is not stored still shows there.
 */
#ifndef GOLDEN_FILE_H
#define GOLDEN_FILE_H

#include <stddef.h>
#include <stdint.h>

enum { GOLDEN_F32, GOLDEN_U8, GOLDEN_I64, GOLDEN_F64, GOLDEN_TEXT, GOLDEN_FILL, GOLDEN_SAMPLE };

typedef struct golden_tensor {
    char *name;
    void *data; /* float, uint8_t, int64_t, double; TEXT: characters with a final 0. A FILL is expanded */
    int64_t dims[8];
    int64_t count;  /* elements of the whole tensor */
    int64_t stored; /* elements in data */
    int64_t stride;
    double projection, max_abs;
    int kind, ndim;
} golden_tensor;

typedef struct golden_file {
    golden_tensor *tensors;
    size_t count;
} golden_file;

/* NULL with a reason in error when the file is missing or damaged. */
golden_file *golden_open(const char *path, char *error, size_t error_size);
void golden_close(golden_file *file);

/* The record whose name is made like printf; NULL when there is none. */
const golden_tensor *golden_find(const golden_file *file, const char *format, ...);
/* The value of "key=..." in a text record: 0 when it is there. golden_word copies it as text. */
int golden_number(const golden_tensor *text, const char *key, double *value);
int golden_word(const golden_tensor *text, const char *key, char *word, size_t size);
/* Line i of a text; 0 past the end. */
int golden_line(const golden_tensor *text, int i, char *line, size_t size);

double golden_uniform(uint32_t seed, uint32_t i);

/* The largest error of a kind of result, for the report. */
typedef struct golden_worst {
    double error;
    char where[96];
} golden_worst;

/* Compares a result with a tensor of the file. The allowed error is tolerance times the largest magnitude of the
 * tensor, or times `floor` where that is larger; NaN is never right. Returns the error over that magnitude; above
 * tolerance it prints what differs. */
double golden_compare(const golden_tensor *want, const float *got, double tolerance, double floor, const char *what,
                      golden_worst *worst);
/* The same for one number, relative to it. */
double golden_compare_number(double want, double got, double tolerance, const char *what, golden_worst *worst);
/* For a tensor that has no record of its own: element by element. */
double golden_compare_array(const double *want, const float *got, int64_t count, double tolerance, double scale,
                            const char *what, golden_worst *worst);

#endif
