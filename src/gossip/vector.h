/*
 * vector.h - how far every log of every node is applied here: one position per (node, boot).
 *
 * A position is gapless. Operations that came above a gap (a joiner hears what is new before it has
 * what is old) are remembered as one run `ahead`, which joins the position when the gap closes;
 * losing that memory only means that they are asked for and merged again. Private to gossip.
 */
#ifndef GV_GOSSIP_VECTOR_H
#define GV_GOSSIP_VECTOR_H

#include "grapevine/gossip/engine.h"

struct gv_origin {
    char name[GV_NODE_NAME_MAX];
    uint64_t boot_id;
    uint64_t applied;                 /* sequences 1..applied are applied */
    uint64_t ahead_first, ahead_last; /* applied too, above a gap; 0: none */
    uint64_t asked_at_ms;             /* when the gap was last asked for; 0: not */
    uint64_t gone_at_ms;              /* since when nobody runs under this boot; 0: somebody does */
    uint64_t refused; /* operations refused for their stamp and not made up for; see clocks.c */
    uint32_t stamp;   /* highest stamp applied */
    bool forgotten;   /* gone for long: no part of digests and messages */
};

struct gv_vector {
    struct gv_origin **origins; /* owned; sorted by name, then boot */
    uint32_t count, room;
};

void gv_vector_init(struct gv_vector *vector);
void gv_vector_deinit(struct gv_vector *vector);

/** The position of (name, boot), or NULL. */
struct gv_origin *gv_vector_find(const struct gv_vector *vector, const char *name,
                                 uint64_t boot_id);

/** The same, made when missing. NULL: GV_VECTOR_MAX reached, or no memory. */
struct gv_origin *gv_vector_open(struct gv_vector *vector, const char *name, uint64_t boot_id);

/** Remove it. */
void gv_vector_remove(struct gv_vector *vector, struct gv_origin *origin);

/**
 * Sequences first .. first + count - 1 are here: advance. Returns how many at the front were known
 * already; the caller applies the rest, in order.
 */
uint64_t gv_origin_advance(struct gv_origin *origin, uint64_t first, uint64_t count);

/** Everything up to `applied` is here (a snapshot said so). */
void gv_origin_raise(struct gv_origin *origin, uint64_t applied);

/** Is there a gap, and which? */
bool gv_origin_gap(const struct gv_origin *origin, uint64_t *first, uint64_t *last);

/** 16 bytes over all positions above 0 that are not forgotten. */
void gv_vector_digest(const struct gv_vector *vector, uint8_t digest[16]);

#endif
