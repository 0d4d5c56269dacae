/*
 * What every fuzz target has: the entry point, and the check that ends the program with the place where it failed.
 */
#ifndef REQUIRE_H
#define REQUIRE_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

#define REQUIRE(condition)                                                                                         \
    do {                                                                                                           \
        if (!(condition)) {                                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                        \
            abort();                                                                                               \
        }                                                                                                          \
    } while (0)

#endif
