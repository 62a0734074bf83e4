/* usage.c - see usage.h. */
#include "usage.h"

#include <ctype.h>

static const char *const names[GV_USAGE_COUNT] = {
    [GV_USAGE_CACHED] = "\"cached_tokens\":",
    [GV_USAGE_PROMPT] = "\"prompt_tokens\":",
};
#define NAME_BYTES    (sizeof "\"cached_tokens\":" - 1) /* of both */
#define UNDERSCORE_AT (sizeof "\"cached" - 1)           /* in both */

/* Behind the name: blanks, then digits; anything else ends it. false: `byte` is not part of it. */
static bool read_number(struct gv_usage *usage, uint8_t byte)
{
    if (isdigit(byte)) {
        usage->in_number = true;
        if (usage->number < UINT32_MAX) {
            usage->number = usage->number * 10 + (uint64_t)(byte - '0');
        }
        return true;
    }
    if (byte == ' ' && !usage->in_number) {
        return true;
    }
    if (usage->in_number) {
        usage->found[usage->name] = true;
        usage->tokens[usage->name] = usage->number;
    }
    usage->in_number = false;
    usage->number = 0;
    usage->matched = 0;
    return false;
}

/* The name that begins with a quote and `byte`; they differ in it. */
static bool choose(struct gv_usage *usage, uint8_t byte)
{
    for (uint8_t i = 0; i < GV_USAGE_COUNT; i++) {
        if (byte == (uint8_t)names[i][1]) {
            usage->name = i;
            return true;
        }
    }
    return false;
}

/*
 * Go to where the next whole name ends, or to where one may begin that these bytes do not hold
 * whole. A name is found by its only underscore, which is rarer than a quote in what engines say.
 */
static const uint8_t *skip(struct gv_usage *usage, const uint8_t *at, const uint8_t *end)
{
    while ((size_t)(end - at) >= NAME_BYTES) {
        size_t places = (size_t)(end - at) - NAME_BYTES + 1; /* that a whole name may begin at */
        const uint8_t *underscore = memchr(at + UNDERSCORE_AT, '_', places);
        if (underscore == NULL) {
            return at + places;
        }
        at = underscore - UNDERSCORE_AT;
        for (uint8_t i = 0; i < GV_USAGE_COUNT; i++) {
            if (memcmp(at, names[i], NAME_BYTES) == 0) {
                usage->name = i;
                usage->matched = NAME_BYTES;
                return at + NAME_BYTES;
            }
        }
        at += 1;
    }
    return at;
}

void gv_usage_feed(struct gv_usage *usage, struct gv_slice bytes)
{
    const uint8_t *at = bytes.data;
    const uint8_t *end = bytes.data + bytes.len;
    while (at < end) {
        const char *name = names[usage->name];
        if (usage->matched == 0 && (size_t)(end - at) >= NAME_BYTES) {
            at = skip(usage, at, end);
        } else if (usage->matched == 0) {
            at = memchr(at, '"', (size_t)(end - at));
            if (at == NULL) {
                return;
            }
            usage->matched = 1;
            at += 1;
        } else if (usage->matched == NAME_BYTES) {
            at += read_number(usage, *at) ? 1 : 0;
        } else if (usage->matched == 1 ? choose(usage, *at)
                                       : *at == (uint8_t)name[usage->matched]) {
            usage->matched += 1;
            at += 1;
        } else {
            /* Of what was matched, only the quote behind the name can begin it anew. */
            usage->matched = usage->matched == NAME_BYTES - 1 ? 1 : 0;
        }
    }
}
