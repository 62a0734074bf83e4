/*
 * text.h - what the bytes of a text may be used for: UTF-8 (RFC 3629) and control characters.
 *
 * Pure; any thread.
 */
#ifndef GV_BASE_TEXT_H
#define GV_BASE_TEXT_H

#include "grapevine/base/slice.h"

/** How many bytes the UTF-8 character at `data` has, of `len` > 0 that are left; 0: it is none. */
size_t gv_text_character(const uint8_t *data, size_t len);

/** Is this character of `len` bytes what a terminal would obey: C0, DEL or C1? */
bool gv_text_is_control(const uint8_t *data, size_t len);

/** UTF-8: it may be sent as JSON. */
bool gv_text_is_utf8(struct gv_slice text);

/** UTF-8 without control characters: it may also be shown, logged, written into a file of lines. */
bool gv_text_is_clean(struct gv_slice text);

#endif
