/* instrumented.h: whether this runs under a sanitizer or valgrind: slower by far, and memory is not what the program asks
 * for. */
#ifndef GYRE_TESTS_JOB_INSTRUMENTED_H
#define GYRE_TESTS_JOB_INSTRUMENTED_H

#include <stdlib.h>
#include <string.h>

static inline int is_instrumented(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 1;
#else
    const char *preload = getenv("LD_PRELOAD");
    return preload && strstr(preload, "vgpreload");
#endif
}

#endif
