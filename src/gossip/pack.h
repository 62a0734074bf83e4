/*
 * pack.h - operations of one message, with the dictionary that they name keys and workers by.
 *
 * Private to gossip: oplog.c packs ranges of the log, snapshot.c packs chunks.
 */
#ifndef GV_GOSSIP_PACK_H
#define GV_GOSSIP_PACK_H

#include "codec.h"
#include "words.h"

struct gv_pack {
    struct gv_arena *arena; /* borrowed; everything below lives there */
    Mesh__TreeOp **operations;
    char **keys;
    char **workers;
    size_t count, key_count, worker_count;
    size_t room;  /* operations that fit */
    size_t bytes; /* about what they take on the wire */
    uint64_t key_round, worker_round;
};

/** A pack for at most `room` operations. false: no memory. */
GV_MUST_USE bool gv_pack_init(struct gv_pack *pack, struct gv_arena *arena, struct gv_words *keys,
                              struct gv_words *workers, size_t room);

/**
 * Add an operation; its words and fingerprints are borrowed until the message is packed.
 * false: full, or no memory.
 */
GV_MUST_USE bool gv_pack_add(struct gv_pack *pack, const struct gv_gossip_operation *operation,
                             struct gv_word *key, struct gv_word *worker);

/** Could it ever travel? Kind, counts and lengths within limits. */
bool gv_operation_is_valid(const struct gv_gossip_operation *operation);

/** Operation `i` of a checked message, borrowing from it. */
void gv_operation_in(const Mesh__TreeOp *op, char *const *keys, char *const *workers,
                     struct gv_gossip_operation *operation);

#endif
