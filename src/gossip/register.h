/*
 * register.h - records that replace each other: workers by version, loads and opinions by sequence.
 *
 * Worker records belong to the cluster: the newest (version, origin) wins, and a deleted record
 * stays as such for a time so that the deletion wins too. Loads and opinions belong to one node and
 * go with it. Private to gossip.
 */
#ifndef GV_GOSSIP_REGISTER_H
#define GV_GOSSIP_REGISTER_H

#include "grapevine/gossip/engine.h"

struct gv_worker_entry; /* a copy of a record with its texts */

struct gv_worker_table {
    struct gv_worker_entry **entries; /* owned; sorted by URL */
    uint32_t count, room;
    size_t bytes; /* of all records, as they travel */
};

void gv_worker_table_init(struct gv_worker_table *table);
void gv_worker_table_deinit(struct gv_worker_table *table);

/** Record `i`, below count; borrowed until the table changes. */
const struct gv_gossip_worker *gv_worker_table_at(const struct gv_worker_table *table, uint32_t i);
/** The record of `url`, or NULL. */
const struct gv_gossip_worker *gv_worker_table_find(const struct gv_worker_table *table,
                                                    struct gv_slice url);

/**
 * Take in a copy; of a deleted record only what it takes to win. Errors: GV_ESTALE not newer than
 * what is held; GV_EFULL GV_RECORDS_MAX or GV_RECORDS_BYTES, never for the deletion of what is
 * held; GV_EINVAL a text over its limit, or one that could not be shown; GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_worker_table_put(struct gv_worker_table *table,
                                            const struct gv_gossip_worker *worker);

/** The `i`th record has another version from now on. */
void gv_worker_table_redate(struct gv_worker_table *table, uint32_t i, uint64_t version_ms);

/** Drop deleted records of versions below `before_ms`. */
void gv_worker_table_expire(struct gv_worker_table *table, uint64_t before_ms);

/** A hash over all records, but for deleted ones of versions below `before_ms`. */
uint64_t gv_worker_table_digest(const struct gv_worker_table *table, uint64_t before_ms);

/* What one node says of one worker. */
struct gv_saying {
    char *url; /* owned */
    uint32_t count;
    uint64_t bytes;
    uint64_t load_sequence;   /* of the message that said it; 0: nothing said */
    uint64_t health_sequence; /* the same for health */
    uint64_t since_ms;
    struct gv_gossip_report report;
    uint64_t prompt_bytes, prompt_tokens;
    struct gv_gossip_learned learned;
    char reason[256];
    uint8_t state;
    /* own sayings only: what the others know */
    uint32_t sent_count;
    uint64_t sent_bytes;
    uint64_t sent_report_ms; /* the report's at_ms */
    uint32_t sent_trust;
    bool has_load, has_health;
    bool load_waits, health_waits; /* changed enough to be sent */
};

struct gv_sayings {
    struct gv_saying **rows; /* owned; sorted by URL */
    uint32_t count, room;
    uint32_t hand; /* where somebody looked last for a row to take out */
};

void gv_sayings_init(struct gv_sayings *sayings);
void gv_sayings_deinit(struct gv_sayings *sayings);
/** The row of `url`, or NULL. */
struct gv_saying *gv_sayings_find(const struct gv_sayings *sayings, struct gv_slice url);
/** Take out the row at this index. */
void gv_sayings_remove(struct gv_sayings *sayings, uint32_t at);
/** The row of `url`, made when missing. NULL: GV_RECORDS_MAX, URL too long, or no memory. */
struct gv_saying *gv_sayings_open(struct gv_sayings *sayings, struct gv_slice url);

#endif
