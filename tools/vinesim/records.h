/*
 * records.h - what nodes tell each other besides operations: loads, opinions, workers' records and
 * settings. Remembers what each said and what each heard, and says whether that is the same.
 *
 * What a node says of its loads and opinions vanishes with it; records and settings are
 * everybody's, and the newest wins: no node may ever hear of an older one. Used by the weather and
 * by tests.
 */
#ifndef VINESIM_RECORDS_H
#define VINESIM_RECORDS_H

#include "inside.h"

/** NULL: out of memory. For a world that has not started yet; belongs to it from here on. */
struct records *records_new(struct world *world);
void records_free(struct records *records);

/** Node `i` has a new life: it says nothing, and has heard nothing. */
void records_start(struct records *records, uint32_t i);
/** Node `i` says one thing at random: a load, mostly; an opinion, a worker's record, a setting. */
void records_say(struct records *records, struct gv_prng *prng, uint32_t i);

/** Node `i` hears it. */
void records_hear_load(struct records *records, uint32_t i, uint32_t about, uint32_t worker,
                       uint32_t count);
void records_hear_health(struct records *records, uint32_t i, uint32_t about, uint32_t worker,
                         uint8_t state);
void records_hear_worker(struct records *records, uint32_t i, uint32_t worker,
                         const struct gv_gossip_worker *record);
void records_hear_setting(struct records *records, uint32_t i,
                          const struct gv_gossip_setting *setting);

/** Within `within_ms` everyone has heard what everyone who lives says, nothing of those who are
 * gone, and all have the same records and settings. False, and the world is blamed: they have not.
 */
bool records_check(struct records *records, uint64_t within_ms);

#endif
