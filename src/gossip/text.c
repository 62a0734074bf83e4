/*
 * text.c - see text.h.
 */
#include "text.h"

#include <stdint.h>

/* How many bytes follow the first of a UTF-8 character; -1: it cannot be a first byte. */
static int following(uint8_t first)
{
    if (first < 0x80) {
        return 0;
    }
    if (first >= 0xc2 && first <= 0xdf) {
        return 1;
    }
    if (first >= 0xe0 && first <= 0xef) {
        return 2;
    }
    return first >= 0xf0 && first <= 0xf4 ? 3 : -1;
}

/* Ends at the NUL, which is no following byte. */
bool gv_text_is_utf8(const char *text)
{
    const uint8_t *at = (const uint8_t *)text;
    while (*at != 0) {
        int more = following(*at);
        uint8_t second = at[1];
        bool is_odd = (*at == 0xe0 && second < 0xa0) || (*at == 0xed && second > 0x9f) ||
                      (*at == 0xf0 && second < 0x90) || (*at == 0xf4 && second > 0x8f);
        if (more < 0 || is_odd) {
            return false;
        }
        for (at++; more > 0; more--, at++) {
            if ((*at & 0xc0) != 0x80) {
                return false;
            }
        }
    }
    return true;
}

bool gv_text_is_clean(const char *text)
{
    for (const uint8_t *at = (const uint8_t *)text; *at != 0; at++) {
        if (*at < 0x20 || *at == 0x7f || (*at == 0xc2 && at[1] < 0xa0)) {
            return false;
        }
    }
    return gv_text_is_utf8(text);
}
