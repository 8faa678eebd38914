/* sort.c - heap sort: the C library's qsort may call malloc, and may be quadratic. */
#include "io/io_internal.h"

static void swap(char *a, char *b, size_t size) {
    size_t i;
    for (i = 0; i < size; i++) {
        char t = a[i];
        a[i] = b[i];
        b[i] = t;
    }
}

static void sift_down(char *items, size_t root, size_t n, size_t size, us_compare_fn compare) {
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= n)
            return;
        if (child + 1 < n && compare(items + child * size, items + (child + 1) * size) < 0)
            child++;
        if (compare(items + root * size, items + child * size) >= 0)
            return;
        swap(items + root * size, items + child * size, size);
        root = child;
    }
}

void us_heap_sort(void *items, size_t n, size_t item_size, us_compare_fn compare) {
    char *base = (char *)items;
    size_t i;
    for (i = n / 2; i > 0; i--)
        sift_down(base, i - 1, n, item_size, compare);
    for (i = n; i > 1; i--) {
        swap(base, base + (i - 1) * item_size, item_size);
        sift_down(base, 0, i - 1, item_size, compare);
    }
}
