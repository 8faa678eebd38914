/* header.c - unetstar.h alone, twice, in C. Built by check_header.py as C99 and C11, pedantic, warnings being errors. */
#include "unetstar.h"
#include "unetstar.h"

int main(void) {
    unetstar_context_options options;
    unetstar_context *context;
    if (unetstar_abi_version() != UNETSTAR_ABI_VERSION || unetstar_context_options_init(&options, sizeof options))
        return 1;
    options.n_threads = 1;
    if (unetstar_context_create(&context, &options))
        return 2;
    unetstar_context_destroy(context);
    return 0;
}
