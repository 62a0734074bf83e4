/*
 * cached.h - what an engine says it had cached, wherever its answer was cut into reads.
 *
 * Finds the last "cached_tokens":N that passes by, byte by byte, keeping nothing but how far it has
 * matched: bounded by a few words, whatever an answer holds. A hint for metrics. Pure.
 */
#ifndef GV_PROXY_CACHED_H
#define GV_PROXY_CACHED_H

#include "grapevine/base/slice.h"

struct gv_cached {
    uint8_t matched; /* bytes of the name */
    bool in_number;  /* a digit was seen */
    bool found;      /* `tokens` is meaningful */
    uint64_t number; /* read so far */
    uint64_t tokens; /* the last whole number */
};

/** Watch `bytes`. Begin with a zeroed struct. */
void gv_cached_feed(struct gv_cached *cached, struct gv_slice bytes);

#endif
