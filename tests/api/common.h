/*
 * common.h - what the tests of the public interface share: checked calls, a counting allocator, small trainings, and
 * "blobs": everything a training or a session has made, as bytes to compare.
 */
#ifndef API_COMMON_H
#define API_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "part.h"
#include "unetstar.h"

/* ---- Checked calls ---- */

/* Fails the test with the library's sentence unless the call returned `expected`. An error must come with a sentence. */
#define OK(call) check_result((call), UNETSTAR_OK, "", #call, __FILE__, __LINE__)
#define FAILS(expected, call) check_result((call), (expected), "", #call, __FILE__, __LINE__)
/* ... and the sentence must hold `word`. */
#define FAILS_NAMING(expected, word, call) check_result((call), (expected), (word), #call, __FILE__, __LINE__)
void check_result(int result, int expected, const char *word, const char *call, const char *file, int line);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

double seconds(void); /* monotonic */
/* A number in [0, 1) that depends on i alone. */
float noise(uint64_t i);
void *memory(size_t size); /* malloc that never fails */
/* Runs run(argument) in a child process and gives its result; the test fails when it ends in any other way. */
int in_child(int (*run)(void *), void *argument);
/* A path inside a folder of this process' own, which leave_folder removes; the text is valid until the fourth next call. */
const char *path_of(const char *name);
void leave_folder(void);
int files_in_folder(void); /* hidden ones, too */
/* A whole file; *size its length. */
unsigned char *read_file(const char *path, size_t *size);
void write_file(const char *path, const void *data, size_t size);

/* ---- A counting allocator, thread safe ---- */

struct counter {
    int lock;
    int64_t calls;        /* allocations asked for */
    int64_t blocks;       /* alive */
    int64_t bytes, peak;  /* alive */
    int64_t wrong;        /* frees with another size than asked for, of unknown blocks, or written past the end */
    int64_t fail_at;      /* the fail_at-th call from now returns NULL; 0: none */
    int32_t fail_forever; /* and all later ones too */
    int64_t failed;       /* calls that returned NULL */
};
void *counter_alloc(void *user, size_t size, size_t alignment);
void counter_free(void *user, void *pointer, size_t size);
/* From now on: the n-th call fails (0: none). */
void counter_fail(struct counter *counter, int64_t n, int forever);
/* Fails the test unless nothing is alive and every size was right. */
void counter_balanced(const struct counter *counter);

/* ---- Contexts ---- */

/* The limit that UNETSTAR_ISA names (reference, reference+fma, avx2, avx512, neon), or UNETSTAR_ISA_BEST. */
int32_t isa_of_environment(void);
/* Whether the library was built with threads of its own (meson option `threads`). */
int library_has_threads(void);
/* Options with that limit and n_threads; counter may be NULL. A library without threads gets a serial runner that plays
 * n_threads workers instead. */
void context_options(unetstar_context_options *options, int32_t n_threads, struct counter *counter);
unetstar_context *make_context(int32_t n_threads);
unetstar_context *make_counted(int32_t n_threads, struct counter *counter);

/* ---- Blobs ---- */

struct blob {
    unsigned char *data;
    size_t size, capacity;
};
void blob_add(struct blob *blob, const void *data, size_t size);
void blob_free(struct blob *blob);
void blob_model(struct blob *blob, const unetstar_model *model); /* every tensor */
void blob_optimizer(struct blob *blob, const unetstar_optimizer *optimizer, const unetstar_model *model);
/* Probabilities of two images of h x w. */
void blob_session(struct blob *blob, unetstar_context *context, const unetstar_model *model, int32_t precision, int64_t h,
                  int64_t w);
int blob_equal(const struct blob *a, const struct blob *b);
/* Fails the test, saying where and how much they differ. */
void blobs_equal(const struct blob *a, const struct blob *b, const char *what);

/* ---- Small trainings ---- */

struct recipe {
    unetstar_model_options model;
    unetstar_optimizer_options optimizer;
    unetstar_trainer_options trainer;
    unetstar_loss_options loss;
    int64_t side; /* of the synthetic images */
    int n_images;
};
struct training {
    unetstar_dataset *set;
    unetstar_model *model;
    unetstar_optimizer *optimizer;
    unetstar_trainer *trainer;
};
/* DESIGN 9, ci: narrow 0.25, batch 2, patches of 48x48; dropout, augmentation, cosine, validation on patches. */
void recipe_ci(struct recipe *recipe);
/* The smallest training there is: two levels, one step of one patch of 16x16. */
void recipe_tiny(struct recipe *recipe);
void training_open(struct training *training, unetstar_context *context, const struct recipe *recipe);
void training_close(struct training *training);
/* Weights, buffers, moments, logits and probabilities; then the best weights. Ends the training (use_best). */
void blob_training(struct blob *blob, struct training *training, unetstar_context *context, const struct recipe *recipe);

#endif
