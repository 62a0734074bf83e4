/*
 * usage.h - what an engine counted in a prompt, wherever its answer was cut into reads.
 *
 * Finds the last "cached_tokens":N and "prompt_tokens":N that pass by, byte by byte, keeping
 * nothing but how far it has matched: bounded by a few words, whatever an answer holds. A hint for
 * metrics and for what a token is. Pure.
 */
#ifndef GV_PROXY_USAGE_H
#define GV_PROXY_USAGE_H

#include "grapevine/base/slice.h"

enum gv_usage_name {
    GV_USAGE_CACHED = 0,
    GV_USAGE_PROMPT,
    GV_USAGE_COUNT
};

struct gv_usage {
    uint8_t name;                    /* being matched */
    uint8_t matched;                 /* bytes of it */
    bool in_number;                  /* a digit was seen */
    uint64_t number;                 /* read so far */
    bool found[GV_USAGE_COUNT];      /* `tokens` is meaningful */
    uint64_t tokens[GV_USAGE_COUNT]; /* the last whole number */
};

/** Watch `bytes`. Begin with a zeroed struct. */
void gv_usage_feed(struct gv_usage *usage, struct gv_slice bytes);

#endif
