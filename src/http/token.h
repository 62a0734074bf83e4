/*
 * token.h - the character classes of RFC 9110 and RFC 3986 that several files of this folder test.
 *
 * Private to http. Pure; any thread.
 */
#ifndef GV_HTTP_TOKEN_H
#define GV_HTTP_TOKEN_H

#include "grapevine/base/slice.h"

/** A character of a method or a field name (RFC 9110, 5.6.2). */
bool gv_token_is_char(uint8_t c);

/** At least one byte, all of them token characters. */
bool gv_token_is(struct gv_slice text);

/** A byte that may stand in a field value: blank, tab, printable ASCII, or 0x80 and above. */
static inline bool gv_token_is_value_char(uint8_t c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

/** Not 0 when one of the eight bytes at `at` is below 0x20, or 0x7f. */
static inline uint64_t gv_token_controls_of(const uint8_t *at)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word;
    memcpy(&word, at, sizeof word);
    uint64_t deleted = word ^ (ones * 0x7f); /* a zero byte where 0x7f was */
    uint64_t found = ((word - ones * 0x20) & ~word) | ((deleted - ones) & ~deleted);
    return found & (ones << 7);
}

/**
 * Has it a byte below 0x20, or 0x7f? A field value that has none is fine; one that has is looked at
 * byte by byte, for its tabs. Eight bytes at a time: every head is asked twice, coming and going.
 */
static inline bool gv_token_has_control(struct gv_slice text)
{
    uint64_t found = 0;
    if (text.len >= 8) {
        const uint8_t *last = text.data + text.len - 8;
        for (const uint8_t *at = text.data; at < last; at += 8) {
            found |= gv_token_controls_of(at);
        }
        return (found | gv_token_controls_of(last)) != 0; /* the last ones overlap */
    }
    for (size_t i = 0; i < text.len; i++) {
        found |= text.data[i] < 0x20 || text.data[i] == 0x7f;
    }
    return found != 0;
}

/** All bytes may stand in a field value. */
bool gv_token_is_value(struct gv_slice text);

/** A byte that may stand in a path or a query as it is (RFC 3986, pchar, '/', '?', and '%'). */
bool gv_token_is_uri_char(uint8_t c);

/** 0 to 15, or -1 when `c` is no hexadecimal digit. */
static inline int gv_token_hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    uint8_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/** Take the next element of a comma-separated list off `*rest`, trimmed; false when it is used up.
 */
bool gv_token_list_next(struct gv_slice *rest, struct gv_slice *item);

/** Is `name` (any case) an element of a comma-separated list? */
bool gv_token_list_has(struct gv_slice list, struct gv_slice name);

#endif
