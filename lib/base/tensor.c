/* tensor.c - element sizes of the tensors that carry weights in and out. */
#include "base/base.h"

size_t us_dtype_size(int dtype) {
    switch (dtype) {
    case UNETSTAR_FLOAT32:
        return 4;
    case UNETSTAR_UINT8:
        return 1;
    case UNETSTAR_INT64:
        return 8;
    default:
        return 0;
    }
}
