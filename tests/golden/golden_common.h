/*
 * golden_common.h - what the golden tests share: a context, option tables, the results of a case.
 */
#ifndef GOLDEN_COMMON_H
#define GOLDEN_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "golden_file.h"
#include "unetstar.h"

/* Folder of the golden files: set by main from its first argument. */
extern const char *golden_folder;

/* Fails the test with the library's sentence unless the call returned UNETSTAR_OK. */
#define OK(call) golden_ok((call), #call, __FILE__, __LINE__)
void golden_ok(int result, const char *call, const char *file, int line);

/* A context with two threads, limited to the instruction set that the environment variable UNETSTAR_ISA names. */
unetstar_context *golden_context(void);

/* Opens a file of the folder, or fails the test with the reason. */
golden_file *golden_load(const char *format, ...);
/* The record, or fails the test. */
const golden_tensor *golden_need(const golden_file *file, const char *format, ...);
double golden_value(const golden_tensor *text, const char *key);
/* A block of memory, never NULL. */
void *golden_memory(size_t count, size_t size);

/* Model options from the text of a file. */
void golden_model_options(const golden_tensor *text, unetstar_model_options *options);
/* Loss options, the same way; class weights that the text does not have stay 1. */
void golden_loss_options(const golden_tensor *text, unetstar_loss_options *options);

/* Checks that the lines of a text are exactly these names, in any order. */
void golden_check_index(const golden_tensor *text, const char *const *names, int count);

#endif
