// header.cpp - unetstar.h alone, twice, in C++. Built by check_header.py as C++98, C++11 and C++20.
#include "unetstar.h"
#include "unetstar.h"

static int stop(void *, const unetstar_progress *) {
    return 1;
}

int main() {
    unetstar_session_options options;
    unetstar_context *context = 0;
    unetstar_progress_fn progress = stop;
    if (unetstar_abi_version() != UNETSTAR_ABI_VERSION || unetstar_session_options_init(&options, sizeof options))
        return 1;
    if (options.views != 1 || !progress || unetstar_context_create(&context, 0))
        return 2;
    unetstar_context_destroy(context);
    return 0;
}
