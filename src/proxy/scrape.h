/*
 * scrape.h - what an engine's /metrics says: when it started, what it can hold, how busy it is.
 *
 * Prometheus text, of vLLM, SGLang, and whoever else counts its process. Pure.
 */
#ifndef GV_PROXY_SCRAPE_H
#define GV_PROXY_SCRAPE_H

#include "metadata.h"

/** Start, capacity and counters into `metadata`. false: none of them is there. */
bool gv_scrape_metrics(struct gv_metadata *metadata, struct gv_slice text);

/** Gauges by rank; at most GV_ENGINE_RANKS_MAX; 0: not understood. */
uint32_t gv_scrape_loads(struct gv_slice text, struct gv_engine_load *loads);

#endif
