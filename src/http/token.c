/*
 * token.c - character classes as tables and bit sets, and comma-separated lists.
 */
#include "http/token.h"

#define LOW(c)  (UINT64_C(1) << (c))      /* characters 0 to 63 */
#define HIGH(c) (UINT64_C(1) << ((c)-64)) /* characters 64 to 127 */
#define DIGITS  (UINT64_C(0x3ff) << '0')
#define LETTERS ((UINT64_C(0x3ffffff) << ('A' - 64)) | (UINT64_C(0x3ffffff) << ('a' - 64)))

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

bool gv_token_is_uri_char(uint8_t c)
{
    return in(uri_chars, c);
}

/* 1 for each character of a token: names are read in every head, coming and going. */
static const uint8_t token_table[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1,
    ['-'] = 1, ['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1,  ['~'] = 1, ['0'] = 1,
    ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1,  ['7'] = 1, ['8'] = 1,
    ['9'] = 1, ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1,  ['F'] = 1, ['G'] = 1,
    ['H'] = 1, ['I'] = 1, ['J'] = 1, ['K'] = 1, ['L'] = 1, ['M'] = 1,  ['N'] = 1, ['O'] = 1,
    ['P'] = 1, ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1,  ['V'] = 1, ['W'] = 1,
    ['X'] = 1, ['Y'] = 1, ['Z'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1,  ['d'] = 1, ['e'] = 1,
    ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1, ['j'] = 1, ['k'] = 1,  ['l'] = 1, ['m'] = 1,
    ['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1,  ['t'] = 1, ['u'] = 1,
    ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1,
};

bool gv_token_is_char(uint8_t c)
{
    return token_table[c] != 0;
}

bool gv_token_is(struct gv_slice text)
{
    uint8_t all = 1;
    for (size_t i = 0; i < text.len; i++) {
        all &= token_table[text.data[i]];
    }
    return text.len > 0 && all != 0;
}

bool gv_token_is_value(struct gv_slice text)
{
    if (!gv_token_has_control(text)) {
        return true;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (!gv_token_is_value_char(text.data[i])) {
            return false;
        }
    }
    return true;
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
