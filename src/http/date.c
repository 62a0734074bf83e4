/* date.c - see date.h. */
#include "grapevine/http/date.h"

#define DATE_BYTES 29 /* of "Sun, 06 Nov 1994 08:49:37 GMT" */

static bool number(const uint8_t *at, size_t len, uint64_t least, uint64_t most, uint64_t *value)
{
    return gv_slice_to_u64(gv_slice_of(at, len), value) && *value >= least && *value <= most;
}

static bool month_of(const uint8_t *at, uint64_t *month)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (*month = 0; *month < 12; *month += 1) {
        if (memcmp(names + 3 * *month, at, 3) == 0) {
            return true;
        }
    }
    return false;
}

/* Days from 1970 to the first of March of `year` are easy to count: leap days end a year. */
static uint64_t days_until(uint64_t year, uint64_t month, uint64_t day)
{
    uint64_t shifted = month < 2 ? year - 1 : year; /* a year that begins in March */
    uint64_t from_march = (month + 10) % 12;
    uint64_t days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400;
    return days + (from_march * 153 + 2) / 5 + day - 1 - 719468;
}

bool gv_date_parse(struct gv_slice text, uint64_t *unix_s)
{
    uint64_t day, month, year, hour, minute, second;
    const uint8_t *at = text.data;
    if (text.len != DATE_BYTES || memcmp(at + 3, ", ", 2) != 0 || at[7] != ' ' || at[11] != ' ' ||
        at[16] != ' ' || at[19] != ':' || at[22] != ':' || memcmp(at + 25, " GMT", 4) != 0) {
        return false;
    }
    if (!number(at + 5, 2, 1, 31, &day) || !month_of(at + 8, &month) ||
        !number(at + 12, 4, 1970, 9999, &year) || !number(at + 17, 2, 0, 23, &hour) ||
        !number(at + 20, 2, 0, 59, &minute) || !number(at + 23, 2, 0, 60, &second)) {
        return false;
    }
    *unix_s = ((days_until(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    return true;
}

bool gv_date_retry_after(struct gv_slice text, uint64_t now_s, uint64_t *wait_s)
{
    uint64_t at_s;
    if (gv_date_parse(text, &at_s)) {
        *wait_s = at_s > now_s ? at_s - now_s : 0;
        return true;
    }
    return gv_slice_to_u64(text, wait_s);
}
