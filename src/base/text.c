/*
 * text.c - see text.h.
 */
#include "grapevine/base/text.h"

size_t gv_text_character(const uint8_t *data, size_t len)
{
    uint8_t first = data[0];
    if (first < 0x80) {
        return 1;
    }
    size_t want = first >= 0xc2 && first <= 0xdf   ? 2
                  : first >= 0xe0 && first <= 0xef ? 3
                  : first >= 0xf0 && first <= 0xf4 ? 4
                                                   : 0;
    if (want == 0 || want > len) {
        return 0;
    }
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (data[1] < low || data[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < want; i++) {
        if ((data[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return want;
}

bool gv_text_is_control(const uint8_t *data, size_t len)
{
    return data[0] < 0x20 || data[0] == 0x7f || (len == 2 && data[0] == 0xc2 && data[1] < 0xa0);
}

static bool is_all_characters(struct gv_slice text, bool takes_control)
{
    for (size_t at = 0; at < text.len;) {
        size_t len = gv_text_character(text.data + at, text.len - at);
        if (len == 0 || (!takes_control && gv_text_is_control(text.data + at, len))) {
            return false;
        }
        at += len;
    }
    return true;
}

bool gv_text_is_utf8(struct gv_slice text)
{
    return is_all_characters(text, true);
}

bool gv_text_is_clean(struct gv_slice text)
{
    return is_all_characters(text, false);
}
