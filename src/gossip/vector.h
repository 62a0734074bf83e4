/*
 * vector.h - how far every log of every node is applied here: one position per (node, boot).
 *
 * Positions that moved are also in the order in which they did, newest first, so that whoever keeps
 * the number of a round finds what has moved since without looking at the rest.
 *
 * A position is gapless. Operations that came above a gap (a joiner hears what is new before it has
 * what is old) are remembered as one run `ahead`, which joins the position when the gap closes;
 * losing that memory only means that they are asked for and merged again. Private to gossip.
 */
#ifndef GV_GOSSIP_VECTOR_H
#define GV_GOSSIP_VECTOR_H

#include "grapevine/base/map.h"
#include "grapevine/gossip/engine.h"

#define GV_SOURCES_MAX 3 /* sessions remembered that have what we lack */

struct gv_kept;

struct gv_origin {
    struct gv_vector *vector;                  /* borrowed: the vector it is in */
    struct gv_origin *newer, *older;           /* borrowed: in the order of rounds */
    struct gv_origin *next_wanting;            /* borrowed: see relay.c */
    struct gv_kept *kept_oldest, *kept_newest; /* borrowed: of its batches on the shelf */
    char name[GV_NODE_NAME_MAX];
    uint64_t boot_id;
    uint64_t applied;                 /* sequences 1..applied are applied */
    uint64_t ahead_first, ahead_last; /* applied too, above a gap; 0: none */
    uint64_t asked_at_ms;             /* when the gap was last asked for; 0: not */
    uint64_t gone_at_ms;              /* since when nobody runs under this boot; 0: somebody does */
    uint64_t refused;     /* operations refused for their stamp and not made up for; see clocks.c */
    uint32_t stamp;       /* highest of sequences 1..applied: what is missing is hardly older */
    uint32_t ahead_stamp; /* highest of ahead_first..ahead_last */
    uint32_t heard_stamp; /* highest that anybody told of, see past.c */
    bool forgotten;       /* gone for long: no part of digests and messages */
    bool is_wanting;      /* somebody has more than we; see relay.c */
    uint64_t round;       /* of its last move; 0: it never moved */
    uint64_t counted[2];  /* its share in the vector's sums */
    uint64_t from_session;               /* over which it moved last; 0: none */
    uint64_t wanted;                     /* up to here it is known to exist */
    uint64_t wanted_at_ms, pulled_at_ms; /* since when; when last asked for; 0: not */
    uint64_t sources[GV_SOURCES_MAX];    /* sessions that have it; 0: none */
    uint32_t pull_count;                 /* how often it was asked for */
};

struct gv_vector {
    struct gv_origin **origins; /* owned; sorted by name, then boot */
    uint32_t count, room;
    struct gv_map by_boot;     /* boot id to origin */
    struct gv_origin *newest;  /* moved last */
    struct gv_origin *wanting; /* see relay.c */
    uint32_t marked;           /* origins of which something was refused */
    uint64_t round;            /* grows with every move */
    uint64_t counted_round;    /* sums hold all moves up to this round */
    uint64_t sums[2];
};

void gv_vector_init(struct gv_vector *vector);
void gv_vector_deinit(struct gv_vector *vector);

/** The position of (name, boot), or NULL. */
struct gv_origin *gv_vector_find(const struct gv_vector *vector, const char *name,
                                 uint64_t boot_id);

/** The position of the log of that boot, whoever's it is, the first that was opened; or NULL. */
struct gv_origin *gv_vector_find_boot(const struct gv_vector *vector, uint64_t boot_id);

/** The same as gv_vector_find(), made when missing. NULL: GV_VECTOR_MAX reached, or no memory. */
struct gv_origin *gv_vector_open(struct gv_vector *vector, const char *name, uint64_t boot_id);

/** Remove it. */
void gv_vector_remove(struct gv_vector *vector, struct gv_origin *origin);

/**
 * Sequences first .. first + count - 1 are here: advance. Returns how many at the front were known
 * already; the caller applies the rest, in order.
 */
uint64_t gv_origin_advance(struct gv_origin *origin, uint64_t first, uint64_t count);

/** The operation of this sequence, which is here, has this stamp. */
void gv_origin_stamp(struct gv_origin *origin, uint64_t sequence, uint32_t stamp);

/** Everything up to `applied` is here (a snapshot said so). */
void gv_origin_raise(struct gv_origin *origin, uint64_t applied);

/** Is there a gap, and which? */
bool gv_origin_gap(const struct gv_origin *origin, uint64_t *first, uint64_t *last);

/** So many of its operations are refused and not made up for; 0: it has no mark any more. */
void gv_origin_mark(struct gv_origin *origin, uint64_t refused);

/** It moved, or was forgotten, or is remembered again: a new round. */
void gv_origin_touch(struct gv_origin *origin);

/** Count what has moved, so that the next digest is quick. */
void gv_vector_settle(struct gv_vector *vector);

/** 16 bytes over all positions above 0 that are not forgotten. */
void gv_vector_digest(const struct gv_vector *vector, uint8_t digest[16]);

#endif
