/*
 * token.c - character classes as bit sets, and comma-separated lists.
 */
#include "http/token.h"

#define LOW(c)  (UINT64_C(1) << (c))      /* characters 0 to 63 */
#define HIGH(c) (UINT64_C(1) << ((c)-64)) /* characters 64 to 127 */
#define DIGITS  (UINT64_C(0x3ff) << '0')
#define LETTERS ((UINT64_C(0x3ffffff) << ('A' - 64)) | (UINT64_C(0x3ffffff) << ('a' - 64)))

static const uint64_t token_chars[2] = {
    LOW('!') | LOW('#') | LOW('$') | LOW('%') | LOW('&') | LOW('\'') | LOW('*') | LOW('+') |
        LOW('-') | LOW('.') | DIGITS,
    HIGH('^') | HIGH('_') | HIGH('`') | HIGH('|') | HIGH('~') | LETTERS,
};

static const uint64_t uri_chars[2] = {
    LOW('!') | LOW('$') | LOW('%') | LOW('&') | LOW('\'') | LOW('(') | LOW(')') | LOW('*') |
        LOW('+') | LOW(',') | LOW('-') | LOW('.') | LOW('/') | LOW(':') | LOW(';') | LOW('=') |
        LOW('?') | DIGITS,
    HIGH('@') | HIGH('_') | HIGH('~') | LETTERS,
};

static bool in(const uint64_t set[2], uint8_t c)
{
    return c < 128 && ((set[c >> 6] >> (c & 63)) & 1) != 0;
}

bool gv_token_is_char(uint8_t c)
{
    return in(token_chars, c);
}

bool gv_token_is_uri_char(uint8_t c)
{
    return in(uri_chars, c);
}

bool gv_token_is(struct gv_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!gv_token_is_char(text.data[i])) {
            return false;
        }
    }
    return text.len > 0;
}

bool gv_token_list_next(struct gv_slice *rest, struct gv_slice *item)
{
    if (rest->len == 0) {
        return false;
    }
    const uint8_t *comma = memchr(rest->data, ',', rest->len);
    size_t len = comma == NULL ? rest->len : (size_t)(comma - rest->data);
    size_t taken = comma == NULL ? len : len + 1;
    *item = gv_slice_trim(gv_slice_of(rest->data, len));
    *rest = gv_slice_of(rest->data + taken, rest->len - taken);
    return true;
}

bool gv_token_list_has(struct gv_slice list, struct gv_slice name)
{
    struct gv_slice item;
    while (gv_token_list_next(&list, &item)) {
        if (gv_slice_equal_nocase(item, name)) {
            return true;
        }
    }
    return false;
}
