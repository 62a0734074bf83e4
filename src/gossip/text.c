/*
 * text.c - see text.h.
 */
#include "text.h"

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

bool gv_text_is_utf8(struct gv_slice text)
{
    for (size_t at = 0; at < text.len;) {
        uint8_t first = text.data[at];
        int more = following(first);
        if (more < 0 || (size_t)more >= text.len - at) {
            return false;
        }
        uint8_t second = more > 0 ? text.data[at + 1] : 0;
        bool is_odd = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                      (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
        for (at++; more > 0 && !is_odd; more--, at++) {
            is_odd = (text.data[at] & 0xc0) != 0x80;
        }
        if (is_odd) {
            return false;
        }
    }
    return true;
}

bool gv_text_is_clean(struct gv_slice text)
{
    for (size_t at = 0; at < text.len; at++) {
        uint8_t byte = text.data[at];
        bool is_second = at > 0 && text.data[at - 1] == 0xc2;
        if (byte < 0x20 || byte == 0x7f || (is_second && byte < 0xa0)) {
            return false;
        }
    }
    return gv_text_is_utf8(text);
}
