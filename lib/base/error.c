/* error.c - the thread's error text and its floating-point control word: all the state the library has outside objects. */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#if defined(__SSE__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

#if defined(_MSC_VER)
#define US_THREAD __declspec(thread)
#else
#define US_THREAD __thread
#endif

/* The control word on one side of a callback: a callback may call the library, which calls back again. */
struct fp_frame {
    int depth;       /* of us_fp_enter */
    unsigned caller; /* control word to give back */
};
#define FRAMES 16

struct thread_state {
    char text[512];
    int callbacks; /* that this thread is inside of */
    struct fp_frame frames[FRAMES];
};
static US_THREAD struct thread_state state;

int us_fail(int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(state.text, sizeof state.text, format, args);
    va_end(args);
    return code;
}

int us_fail_in(int code, const char *name) {
    char old[sizeof state.text];
    memcpy(old, state.text, sizeof old);
    snprintf(state.text, sizeof state.text, "%.200s: %.300s", name, old);
    return code;
}

const char *us_error_text(void) {
    return state.text;
}

void us_error_clear(void) {
    state.text[0] = 0;
}

/* To nearest, all exceptions masked, gradual underflow (no flush to zero, no denormals are zero). */
#if defined(__SSE__) || defined(_M_X64)
#define US_CONTROL 0x1f80u
static unsigned control_get(void) {
    return _mm_getcsr();
}
static void control_set(unsigned word) {
    _mm_setcsr(word);
}
#elif defined(__aarch64__)
#define US_CONTROL 0u
static unsigned control_get(void) {
    uint64_t word;
    __asm__ volatile("mrs %0, fpcr" : "=r"(word));
    return (unsigned)word;
}
static void control_set(unsigned word) {
    uint64_t wide = word;
    __asm__ volatile("msr fpcr, %0" : : "r"(wide));
}
#else
#define US_CONTROL 0u
static unsigned control_get(void) {
    return 0;
}
static void control_set(unsigned word) {
    (void)word;
}
#endif

/* Deeper than FRAMES callbacks inside callbacks nobody goes; there, control words are no longer told apart. */
static struct fp_frame *frame_now(void) {
    return &state.frames[US_MIN(state.callbacks, FRAMES - 1)];
}

void us_fp_enter(void) {
    struct fp_frame *frame = frame_now();
    if (frame->depth++ == 0) {
        frame->caller = control_get();
        control_set(US_CONTROL);
    }
}

void us_fp_leave(void) {
    struct fp_frame *frame = frame_now();
    if (--frame->depth == 0)
        control_set(frame->caller);
}

void us_fp_callback_begin(void) {
    const struct fp_frame *frame = frame_now();
    if (frame->depth > 0)
        control_set(frame->caller);
    state.callbacks++;
}

void us_fp_callback_end(void) {
    struct fp_frame *frame;
    state.callbacks--;
    frame = frame_now();
    if (frame->depth > 0) {
        frame->caller = control_get(); /* a callback may change its own thread's setting */
        control_set(US_CONTROL);
    }
}
