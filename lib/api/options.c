/* options.c - option structs that grow: reading a caller's, filling in defaults; versions and error names. */
#include "api/api.h"

#include <string.h>

int us_need(const void *pointer, const char *argument) {
    return pointer ? 0 : us_fail(UNETSTAR_EINVAL, "argument %s is NULL", argument);
}

int us_options_read(void *known, size_t known_size, const void *given, const char *name) {
    size_t size, i;
    if (!given)
        return 0;
    memcpy(&size, given, sizeof size);
    if (size < sizeof size || size > 65536)
        return us_fail(UNETSTAR_EINVAL, "%s has the struct_size %zu; fill it with its _init function first", name, size);
    for (i = known_size; i < size; i++)
        if (((const unsigned char *)given)[i])
            return us_fail(UNETSTAR_EVERSION, "%s uses a field that this version of the library does not know", name);
    memcpy(known, given, US_MIN(size, known_size));
    memcpy(known, &known_size, sizeof known_size);
    return 0;
}

int us_options_init(void *options, size_t size, const void *defaults, size_t known_size, const char *name) {
    if (!options)
        return us_fail(UNETSTAR_EINVAL, "argument %s is NULL", name);
    if (size < sizeof size || size > 65536) /* also of results, whose struct_size a caller may have forgotten */
        return us_fail(UNETSTAR_EINVAL, "the struct_size given for %s is %zu", name, size);
    memset(options, 0, size);
    memcpy(options, defaults, US_MIN(size, known_size));
    memcpy(options, &size, sizeof size);
    return 0;
}

int32_t unetstar_version_number(void) {
    return UNETSTAR_VERSION_NUMBER;
}

const char *unetstar_version_string(void) {
    return UNETSTAR_VERSION_STRING;
}

int32_t unetstar_abi_version(void) {
    return UNETSTAR_ABI_VERSION;
}

int32_t unetstar_numerics_version(void) {
    return UNETSTAR_NUMERICS_VERSION;
}

int32_t unetstar_build_features(void) {
    int32_t features = US_TRAINING ? UNETSTAR_FEATURE_TRAINING : 0;
#if !defined(US_NO_FILES)
    features |= UNETSTAR_FEATURE_FILES;
#endif
#if !defined(US_NO_THREADS)
    features |= UNETSTAR_FEATURE_THREADS;
#endif
    return features;
}

const char *unetstar_last_error(void) {
    return us_error_text();
}

const char *unetstar_strerror(int error) {
    static const char *const names[] = {"no error",
                                        "invalid argument",
                                        "out of memory",
                                        "input or output failed",
                                        "bad file format",
                                        "wrong shape",
                                        "made by a newer version",
                                        "canceled",
                                        "not possible in this state",
                                        "limit exceeded",
                                        "a callback failed",
                                        "internal error",
                                        "not supported in this version"};
    return error <= 0 && error > -US_COUNT(names) ? names[-error] : "unknown error";
}
