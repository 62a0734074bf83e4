/*
 * past.c - logs of lives that are over: how long are they spoken of? Private, see machine.h.
 *
 * The log of a node that is gone matters to those who still lack some of it. That ends when its
 * newest operation is older than forget_after_s: a question of its stamp, which all nodes know
 * alike, never of when a node came to know that log. So all forget it within a few seconds, and
 * whoever starts later does not learn of it: else each newcomer would carry on for another day what
 * the others forget, and logs would gather with every restart until there is room for none.
 */
#include "grapevine/base/assert.h"
#include "machine.h"

/* Does a member run under this boot? */
static bool lives(const struct gv_gossip *gossip, const char *name, uint64_t boot_id)
{
    const struct gv_peer *peer = gv_roster_find(gossip, name);
    return peer != NULL && peer->member.boot_id == boot_id &&
           peer->member.status <= GV_MEMBER_SUSPECT;
}

/* Does the stamp lie further back than that? */
static bool is_old(const struct gv_gossip *gossip, uint32_t stamp, uint64_t age_s)
{
    return gossip->now.wall_ms / 1000 > GV_LOG_EPOCH_S + stamp + age_s;
}

/** Is this a log of which nobody speaks any more? */
bool gv_past_has(const struct gv_gossip *gossip, const char *name, uint64_t boot_id, uint32_t stamp)
{
    return is_old(gossip, stamp, gossip->options.forget_after_s) && !lives(gossip, name, boot_id);
}

/** A stamp that a peer tells us of: none of ours could be so late, then nothing is known but that
 * it is not later than now. Else a lie, or a wrong clock, would keep a log for ever, and make what
 * is missing of it look younger than it is. */
uint32_t gv_past_believe(const struct gv_gossip *gossip, uint32_t stamp)
{
    if (!gv_clocks_is_ahead(gossip, stamp)) {
        return stamp;
    }
    uint64_t wall_s = gossip->now.wall_ms / 1000;
    return wall_s > GV_LOG_EPOCH_S ? (uint32_t)(wall_s - GV_LOG_EPOCH_S) : 0;
}

/** Somebody tells of the log that it holds an operation of this stamp, had here or not. */
void gv_past_hear(struct gv_origin *origin, uint32_t stamp)
{
    origin->heard_stamp = stamp > origin->heard_stamp ? stamp : origin->heard_stamp;
}

/** The stamp of its newest operation, as far as anybody has told. */
uint32_t gv_past_newest(const struct gv_origin *origin)
{
    return origin->stamp > origin->heard_stamp ? origin->stamp : origin->heard_stamp;
}

/* Is its newest operation so old? */
static bool is_log_old(const struct gv_gossip *gossip, const struct gv_origin *origin,
                       uint64_t age_s)
{
    return is_old(gossip, gv_past_newest(origin), age_s);
}

static void remove(struct gv_gossip *gossip, struct gv_origin *origin)
{
    gv_shelf_forget(origin);
    gv_vector_remove(&gossip->vector, origin);
}

/* Of those that are gone, the one that fell silent first goes. */
static void make_room(struct gv_gossip *gossip)
{
    struct gv_origin *oldest = NULL;
    for (uint32_t i = 0; i < gossip->vector.count; i++) {
        struct gv_origin *origin = gossip->vector.origins[i];
        if (origin->gone_at_ms != 0 && (oldest == NULL || origin->stamp < oldest->stamp)) {
            oldest = origin;
        }
    }
    if (oldest != NULL) {
        remove(gossip, oldest);
    }
}

/** The position in this log, made when missing; who lives finds room. NULL: none, or no memory. */
struct gv_origin *gv_past_open(struct gv_gossip *gossip, const char *name, uint64_t boot_id)
{
    bool is_full = gossip->vector.count == GV_VECTOR_MAX;
    if (is_full && lives(gossip, name, boot_id) &&
        gv_vector_find(&gossip->vector, name, boot_id) == NULL) {
        make_room(gossip);
    }
    return gv_vector_open(&gossip->vector, name, boot_id);
}

/** The log of that boot: of the member that runs under it, or of whoever did; or NULL. */
struct gv_origin *gv_past_find_boot(const struct gv_gossip *gossip, uint64_t boot_id)
{
    const struct gv_peer *peer = gv_roster_find_boot(gossip, boot_id);
    return peer != NULL ? gv_vector_find(&gossip->vector, peer->member.name, boot_id)
                        : gv_vector_find_boot(&gossip->vector, boot_id);
}

static void set_forgotten(struct gv_origin *origin, bool forgotten)
{
    if (origin->forgotten != forgotten) {
        origin->forgotten = forgotten;
        gv_origin_touch(origin);
    }
}

/** The member was gone and lives: its log counts again. */
void gv_past_recall(struct gv_gossip *gossip, const struct gv_peer *peer)
{
    struct gv_origin *origin =
        gv_vector_find(&gossip->vector, peer->member.name, peer->member.boot_id);
    if (origin != NULL) {
        origin->gone_at_ms = 0;
        set_forgotten(origin, false);
    }
}

/**
 * What we lack of this log is nowhere to be had. What we have of it above the gap no position tells
 * of: others may lack it, or have another part, and stand where we stand.
 */
void gv_past_give_up(struct gv_gossip *gossip, const struct gv_origin *origin)
{
    if (origin->ahead_first != 0) {
        gv_repair_unsure(gossip);
    }
}

/** Mark, forget and remove the logs of lives that are over. Every few seconds. */
void gv_past_sweep(struct gv_gossip *gossip)
{
    uint64_t now_ms = gossip->now.now_ms;
    uint64_t forget_s = gossip->options.forget_after_s;
    for (uint32_t i = gossip->vector.count; i-- > 0;) {
        struct gv_origin *origin = gossip->vector.origins[i];
        if (origin == gossip->own || lives(gossip, origin->name, origin->boot_id)) {
            origin->gone_at_ms = 0;
            set_forgotten(origin, false);
            continue;
        }
        if (origin->gone_at_ms == 0) {
            origin->gone_at_ms = now_ms;
            if (!origin->is_wanting) { /* else as soon as nobody is left to ask */
                gv_past_give_up(gossip, origin);
            }
        }
        uint64_t gone_ms = now_ms - origin->gone_at_ms; /* a stamp may be wrong: no longer, then */
        if (is_log_old(gossip, origin, 2 * forget_s) || gone_ms > 2 * forget_s * 1000) {
            remove(gossip, origin);
        } else { /* not forgotten any more, when it was our clock that was wrong */
            set_forgotten(origin,
                          is_log_old(gossip, origin, forget_s) || gone_ms > forget_s * 1000);
        }
    }
}
