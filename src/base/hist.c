/*
 * hist.c - buckets: below 32 one per value, above that 32 equal steps in each power of two.
 */
#include "grapevine/base/hist.h"
#include "grapevine/base/assert.h"
#include <string.h>

#define STEP_BITS  5
#define STEP_COUNT 32

_Static_assert(GV_HIST_BUCKETS == (64 - STEP_BITS + 1) * STEP_COUNT, "every 64-bit value fits");

static unsigned top_bit(uint64_t value)
{
    unsigned bit = 0;
    while (value >>= 1) {
        bit += 1;
    }
    return bit;
}

static unsigned bucket_of(uint64_t value)
{
    if (value < STEP_COUNT) {
        return (unsigned)value;
    }
    unsigned shift = top_bit(value) - STEP_BITS;
    return (shift + 1) * STEP_COUNT + (unsigned)(value >> shift) - STEP_COUNT;
}

/* The largest value that falls into `bucket`. */
static uint64_t bucket_end(unsigned bucket)
{
    if (bucket < STEP_COUNT) {
        return bucket;
    }
    unsigned shift = bucket / STEP_COUNT - 1;
    uint64_t step = bucket % STEP_COUNT + STEP_COUNT;
    return ((step << shift) | ((UINT64_C(1) << shift) - 1));
}

void gv_hist_init(struct gv_hist *hist)
{
    memset(hist, 0, sizeof *hist);
}

void gv_hist_add(struct gv_hist *hist, uint64_t value)
{
    hist->counts[bucket_of(value)] += 1;
    hist->count += 1;
    hist->sum += (double)value;
    if (value > hist->max) {
        hist->max = value;
    }
}

void gv_hist_merge(struct gv_hist *into, const struct gv_hist *from)
{
    for (unsigned i = 0; i < GV_HIST_BUCKETS; i++) {
        into->counts[i] += from->counts[i];
    }
    into->count += from->count;
    into->sum += from->sum;
    if (from->max > into->max) {
        into->max = from->max;
    }
}

uint64_t gv_hist_quantile(const struct gv_hist *hist, double share)
{
    GV_ASSERT(share >= 0.0 && share <= 1.0);
    double wanted = share * (double)hist->count;
    uint64_t seen = 0;
    for (unsigned i = 0; i < GV_HIST_BUCKETS; i++) {
        seen += hist->counts[i];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t end = bucket_end(i);
            return end < hist->max ? end : hist->max;
        }
    }
    return hist->max;
}

double gv_hist_mean(const struct gv_hist *hist)
{
    return hist->count == 0 ? 0.0 : hist->sum / (double)hist->count;
}
