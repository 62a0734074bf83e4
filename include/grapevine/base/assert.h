/*
 * assert.h - our own mistakes end the program, in release too.
 *
 * GV_ASSERT states what must be true whatever the world does. On failure it prints the place, the
 * condition and the flight recorder of the calling thread (flight.h), then aborts.
 * GV_NEVER(x) is for conditions that input across a trust boundary could only make true through a
 * mistake of ours: aborts in debug builds; in release it is counted and the caller takes its
 * trivial exit: if (GV_NEVER(len > max)) { return GV_EINVAL; }
 */
#ifndef GV_BASE_ASSERT_H
#define GV_BASE_ASSERT_H

#include "grapevine/base/err.h"
#include <stdbool.h>
#include <stdint.h>

/** Print and abort. Never returns. */
GV_NORETURN void gv_assert_failed(const char *condition, const char *file, int line);

/** Count (release) or abort (debug); returns true, so that it can stand in a condition. */
bool gv_never_happened(const char *condition, const char *file, int line);

/** How often GV_NEVER was true since the start. Any thread. */
uint64_t gv_never_count(void);

#define GV_ASSERT(condition)                                                                       \
    ((condition) ? (void)0 : gv_assert_failed(#condition, __FILE__, __LINE__))
#if defined(GV_COVERAGE)
#define GV_NEVER(condition) (false)
#else
#define GV_NEVER(condition) ((condition) && gv_never_happened(#condition, __FILE__, __LINE__))
#endif

#endif
