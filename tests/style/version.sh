#!/bin/sh
# Prints the library's version as the public header has it.
sed -n 's/^#define UNETSTAR_VERSION_STRING "\(.*\)"$/\1/p' "$(dirname "$0")/../../include/unetstar.h"
