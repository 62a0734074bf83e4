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
