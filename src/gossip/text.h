/*
 * text.h - what a text may be used for. Private to gossip.
 */
#ifndef GV_GOSSIP_TEXT_H
#define GV_GOSSIP_TEXT_H

#include "grapevine/base/slice.h"

/** UTF-8: it may be sent as JSON. */
bool gv_text_is_utf8(struct gv_slice text);

/** UTF-8 without control characters: it may also be shown, logged, written into a file of lines. */
bool gv_text_is_clean(struct gv_slice text);

#endif
