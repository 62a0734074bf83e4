/*
 * pace.h - is a body arriving fast enough?
 *
 * Two ways to be late: silent for too long, and too few bytes for the time it took. The second is
 * what a client that trickles a byte now and then would else get by with.
 *
 * Pure. Who may call: client.c. One thread.
 */
#ifndef GV_PROXY_PACE_H
#define GV_PROXY_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gv_pace {
    uint64_t began_ms;
    uint64_t last_ms; /* of the last byte */
    uint64_t bytes;
};

struct gv_pace_limits {
    uint64_t silence_ms;      /* longest; and what a slow one has on top of min_bytes_per_s */
    uint32_t min_bytes_per_s; /* 0: only silence counts */
};

void gv_pace_begin(struct gv_pace *pace, uint64_t now_ms);

/** Bytes came. */
void gv_pace_add(struct gv_pace *pace, size_t bytes, uint64_t now_ms);

/** Silent for silence_ms, or longer under way than silence_ms and the time that its bytes may take.
 */
bool gv_pace_is_late(const struct gv_pace *pace, struct gv_pace_limits limits, uint64_t now_ms);

#endif
