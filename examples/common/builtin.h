/* builtin.h - the bytes of the model that ships inside the programs, models/fundus.safetensors. */
#ifndef EXAMPLES_BUILTIN_H
#define EXAMPLES_BUILTIN_H

#include <stddef.h>

extern const unsigned char builtin_model[];
extern const size_t builtin_model_size;

#endif
