/*
 * hist.h - quantiles of many values in little memory: log-linear, 32 steps per power of two
 * (3 % error), mergeable. One thread; a plain value, copied freely. Idea: HdrHistogram (Tene).
 */
#ifndef GV_BASE_HIST_H
#define GV_BASE_HIST_H

#include <stdint.h>

#define GV_HIST_BUCKETS 1920 /* 60 powers of two times 32 steps */

struct gv_hist {
    uint64_t counts[GV_HIST_BUCKETS];
    uint64_t count;
    uint64_t max;
    double sum;
};

void gv_hist_init(struct gv_hist *hist);
void gv_hist_add(struct gv_hist *hist, uint64_t value);
void gv_hist_merge(struct gv_hist *into, const struct gv_hist *from);

/** The value that `share` (0..1) of the values do not exceed, to 3 %; 0 when empty. */
uint64_t gv_hist_quantile(const struct gv_hist *hist, double share);

/** The mean, 0 when empty. */
double gv_hist_mean(const struct gv_hist *hist);

#endif
