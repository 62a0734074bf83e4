/* cached.c - see cached.h. */
#include "cached.h"

#include <ctype.h>

static const char name[] = "\"cached_tokens\":";
#define NAME_BYTES (sizeof name - 1)

/* Behind the name: blanks, then digits; anything else ends it. false: `byte` is not part of it. */
static bool read_number(struct gv_cached *cached, uint8_t byte)
{
    if (isdigit(byte)) {
        cached->in_number = true;
        if (cached->number < UINT32_MAX) {
            cached->number = cached->number * 10 + (uint64_t)(byte - '0');
        }
        return true;
    }
    if (byte == ' ' && !cached->in_number) {
        return true;
    }
    if (cached->in_number) {
        cached->found = true;
        cached->tokens = cached->number;
    }
    cached->in_number = false;
    cached->number = 0;
    cached->matched = 0;
    return false;
}

void gv_cached_feed(struct gv_cached *cached, struct gv_slice bytes)
{
    const uint8_t *at = bytes.data;
    const uint8_t *end = bytes.data + bytes.len;
    while (at < end) {
        if (cached->matched == 0) {
            at = memchr(at, '"', (size_t)(end - at));
            if (at == NULL) {
                return;
            }
            cached->matched = 1;
            at += 1;
        } else if (cached->matched == NAME_BYTES) {
            at += read_number(cached, *at) ? 1 : 0;
        } else if (*at == (uint8_t)name[cached->matched]) {
            cached->matched += 1;
            at += 1;
        } else {
            /* Of what was matched, only the quote behind the name can begin it anew. */
            cached->matched = cached->matched == NAME_BYTES - 1 ? 1 : 0;
        }
    }
}
