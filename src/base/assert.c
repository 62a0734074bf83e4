/*
 * assert.c - how the program ends when it finds its own mistake.
 *
 * Called with the program in an unknown state: no heap, no locks, no log; only write().
 */
#include "grapevine/base/assert.h"
#include "grapevine/base/flight.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic uint64_t never_count;

static void complain(const char *what, const char *condition, const char *file, int line)
{
    char text[512];
    int made = snprintf(text, sizeof text, "%s: %s at %s:%d\n", what, condition, file, line);
    if (made > 0) {
        size_t len = strlen(text);
        ssize_t wrote = write(STDERR_FILENO, text, len);
        (void)wrote;
    }
}

void gv_assert_failed(const char *condition, const char *file, int line)
{
    complain("assertion failed", condition, file, line);
    gv_flight_print(STDERR_FILENO);
    abort();
}

bool gv_never_happened(const char *condition, const char *file, int line)
{
#if !defined(NDEBUG) || defined(GV_SANITIZED)
    complain("this must never happen", condition, file, line);
    gv_flight_print(STDERR_FILENO);
    abort();
#else
    if (atomic_fetch_add_explicit(&never_count, 1, memory_order_relaxed) == 0) {
        complain("this must never happen", condition, file, line);
    }
    return true;
#endif
}

uint64_t gv_never_count(void)
{
    return atomic_load_explicit(&never_count, memory_order_relaxed);
}
