/*
 * budget.h - retries may only ever be a small share of the traffic.
 *
 * When workers fail, every retry is one more request for those that are left. A budget of tokens
 * keeps that bounded: each first try earns a share of a token, each retry spends a whole one. A
 * small reserve, and a few tokens that time earns, let a quiet node retry at all.
 *
 * Pure: no clock, no allocation. Thread: belongs to the event loop that owns it.
 */
#ifndef GV_ROUTE_BUDGET_H
#define GV_ROUTE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct gv_budget_limits {
    uint32_t retry_percent; /* retries per 100 first tries, 0..1000 */
    uint32_t reserve;     /* retries allowed before any first try was seen; also the burst floor */
    uint32_t burst;       /* most retries that may be saved up; at least reserve */
    uint32_t floor_per_s; /* retries that each second earns; 0: none */
};

struct gv_budget {
    struct gv_budget_limits limits;
    uint64_t hundredths;   /* saved, in hundredths of a retry; at most 100 x limits.burst */
    uint64_t filled_at_ms; /* time was counted up to here; 0: not yet */
};

/** Begin with the reserve. Nothing is owned, so there is no deinit. */
void gv_budget_init(struct gv_budget *budget, struct gv_budget_limits limits);

/** A first try was sent. */
void gv_budget_earn(struct gv_budget *budget);

/** It is `now_ms`: earn what time earns. */
void gv_budget_fill(struct gv_budget *budget, uint64_t now_ms);

/** May one retry be sent? true spends it. */
bool gv_budget_spend(struct gv_budget *budget);

/** Whole retries left. */
uint32_t gv_budget_left(const struct gv_budget *budget);

#endif
