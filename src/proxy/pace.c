/* pace.c - see pace.h. */
#include "pace.h"

void gv_pace_begin(struct gv_pace *pace, uint64_t now_ms)
{
    *pace = (struct gv_pace){.began_ms = now_ms, .last_ms = now_ms};
}

void gv_pace_add(struct gv_pace *pace, size_t bytes, uint64_t now_ms)
{
    pace->bytes += bytes;
    pace->last_ms = now_ms;
}

bool gv_pace_is_late(const struct gv_pace *pace, struct gv_pace_limits limits, uint64_t now_ms)
{
    if (now_ms >= pace->last_ms + limits.silence_ms) {
        return true;
    }
    if (limits.min_bytes_per_s == 0) {
        return false;
    }
    /* Seconds first: bytes may be many, and the rate small. */
    uint64_t whole_s = pace->bytes / limits.min_bytes_per_s;
    uint64_t rest_ms = pace->bytes % limits.min_bytes_per_s * 1000 / limits.min_bytes_per_s;
    return now_ms - pace->began_ms >= limits.silence_ms + whole_s * 1000 + rest_ms;
}
