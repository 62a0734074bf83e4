/*
 * date.h - the one date that HTTP writes: "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7).
 */
#ifndef GV_HTTP_DATE_H
#define GV_HTTP_DATE_H

#include "grapevine/base/slice.h"

/** Seconds since 1970; false: not such a date, or before 1970. The day's name is not compared. */
bool gv_date_parse(struct gv_slice text, uint64_t *unix_s);

/** A Retry-After: how many seconds to wait from `now_s` on, written as a number or as a date;
 * false: neither. A date that has passed is no wait. */
bool gv_date_retry_after(struct gv_slice text, uint64_t now_s, uint64_t *wait_s);

#endif
