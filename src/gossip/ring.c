/*
 * ring.c - the shape of the mesh: whom does this node keep a session with? Private, see machine.h.
 *
 * Up to 32 members: with everybody. Beyond: every member has a place in each of six rings, by six
 * hashes of its name, and keeps a session with whoever is next to it, on either side, in any of
 * them: 8 to 12 others. Each ring by itself connects all; six together make a random graph that
 * every node computes alike from the names, that a coming or going changes at a dozen places, and
 * that a few steps cross. Rings by hash as in Rapid (Suresh et al., 2018).
 *
 *     DIRECT --more than 32 members--> RELAYING --32 or fewer, for 10 s--> DIRECT
 *
 * A session that neither end needs any more is closed after a while, by whoever notices.
 */
#include "machine.h"

#define RINGS      6
#define LOOK_MS    100   /* between two looks at a roster that keeps changing */
#define FEW_MS     10000 /* so long few members before sessions with all are opened again */
#define SURPLUS_MS 3000  /* so long a session of no use stays */
#define HEALERS    4     /* of all members, so many try each one that is gone, in an interval */

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

/* The place of a name in ring `number`. */
static uint64_t place(const struct gv_peer *peer, uint32_t number)
{
    return mix(peer->hash + (number + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

static bool is_placed(const struct gv_gossip *gossip, const struct gv_peer *peer)
{
    return peer != gossip->self && peer->member.status <= GV_MEMBER_SUSPECT &&
           peer->member.gossip_addr.family != 0;
}

/* The nearest on either side in one ring. */
static void mark_neighbours(struct gv_gossip *gossip, uint32_t number)
{
    uint64_t here = place(gossip->self, number);
    uint64_t after = UINT64_MAX, before = UINT64_MAX;
    struct gv_peer *next = NULL, *last = NULL;
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        struct gv_peer *peer = gossip->peers[i];
        if (!is_placed(gossip, peer)) {
            continue;
        }
        uint64_t there = place(peer, number);
        if (there - here <= after) {
            after = there - here;
            next = peer;
        }
        if (here - there <= before) {
            before = here - there;
            last = peer;
        }
    }
    if (next != NULL) {
        next->is_neighbour = true;
        last->is_neighbour = true;
    }
}

/* The root of the tree is whoever comes first in a seventh order. */
static void choose_root(struct gv_gossip *gossip)
{
    const struct gv_peer *root = gossip->self;
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        const struct gv_peer *peer = gossip->peers[i];
        if (is_placed(gossip, peer) && place(peer, RINGS) < place(root, RINGS)) {
            root = peer;
        }
    }
    gossip->ring.root = root->hash == 0 ? 1 : root->hash; /* 0 means none */
    gossip->ring.root_is_self = root == gossip->self;
}

static void change_shape(struct gv_gossip *gossip, bool relays)
{
    gossip->ring.relays = relays;
    gossip->ring.few_since_ms = 0;
    gossip->tree.parent = NULL;
    gossip->tree.distance = GV_TREE_FAR;
    gossip->tree.is_dirty = true;
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        struct gv_channel *session = gossip->sessions[i];
        session->told_round = 0; /* whatever we have, we say so */
        session->told_said_round = 0;
        session->surplus_at_ms = 0;
        session->sent = gossip->flushed; /* what did not come by another way is asked for */
        session->misses = 0;
    }
    gossip->announced_round = 0;
    if (relays) {
        gv_news_stop_riding(gossip);
    }
    gossip->may_be_behind = true;
    gv_wire_log(gossip, GV_LOG_INFO, relays ? "mesh.relays" : "mesh.direct",
                gossip->self->member.name);
}

static void look_at_shape(struct gv_gossip *gossip)
{
    struct gv_ring *ring = &gossip->ring;
    bool many = gossip->counts.active > GV_DIRECT_MEMBERS_MAX;
    if (!ring->relays) {
        if (many) {
            change_shape(gossip, true);
        }
    } else if (many) {
        ring->few_since_ms = 0;
    } else if (ring->few_since_ms == 0) {
        ring->few_since_ms = gossip->now.now_ms;
    } else if (gossip->now.now_ms >= ring->few_since_ms + FEW_MS) {
        change_shape(gossip, false);
        gossip->dial_due_ms = gossip->now.now_ms;
    }
}

static void look_at_members(struct gv_gossip *gossip)
{
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        gossip->peers[i]->is_neighbour = false;
    }
    for (uint32_t number = 0; number < RINGS; number++) {
        mark_neighbours(gossip, number);
    }
    choose_root(gossip);
    gossip->tree.is_dirty = true;
    gossip->dial_due_ms = gossip->now.now_ms;
}

/* Of no use: neither are we neighbours, nor is one of us joining with the help of the other. */
static bool is_surplus(const struct gv_gossip *gossip, const struct gv_channel *session)
{
    bool helps = !gossip->synced || !session->peer_synced || session->giving.active ||
                 session->mending.active || gv_snapshot_is_taking(gossip);
    return !session->peer->is_neighbour && !helps && session->knows_state;
}

static void close_surplus(struct gv_gossip *gossip)
{
    uint64_t now_ms = gossip->now.now_ms;
    for (uint32_t i = gossip->session_count; i-- > 0;) {
        struct gv_channel *session = gossip->sessions[i];
        if (!is_surplus(gossip, session)) {
            session->surplus_at_ms = 0;
        } else if (session->surplus_at_ms == 0) {
            session->surplus_at_ms = now_ms;
        } else if (now_ms >= session->surplus_at_ms + SURPLUS_MS) {
            gv_channel_close(gossip, session, "not a neighbour");
        }
    }
}

/* A neighbour that is silent may still hear us, or not: a new session will tell. */
static void close_silent(struct gv_gossip *gossip)
{
    uint64_t patience_ms = 4 * (uint64_t)gossip->options.digest_interval_ms;
    for (uint32_t i = gossip->session_count; i-- > 0;) {
        struct gv_channel *session = gossip->sessions[i];
        if (gossip->now.now_ms >= session->heard_at_ms + patience_ms) {
            gv_channel_close(gossip, session, "silent");
        }
    }
}

/**
 * Gone members are tried again, so that a healed partition comes together: while they are few, each
 * by a handful of nodes in an interval; when they are many, one by each node.
 */
static void try_the_gone(struct gv_gossip *gossip)
{
    struct gv_counts counts = gossip->counts;
    uint64_t span_ms = gossip->options.reconnect_ms;
    gossip->ring.heal_at_ms =
        gossip->now.now_ms + span_ms * 3 / 4 + gv_prng_below(&gossip->prng, span_ms / 2 + 1);
    if (counts.gone == 0 ||
        gv_prng_below(&gossip->prng, counts.active) >= (uint64_t)HEALERS * counts.gone) {
        return;
    }
    uint64_t left = gv_prng_below(&gossip->prng, counts.gone);
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        struct gv_peer *peer = gossip->peers[i];
        bool is_gone =
            peer->member.status == GV_MEMBER_DEAD || peer->member.status == GV_MEMBER_LEFT;
        if (is_gone && left-- == 0) {
            peer->is_tried = true;
            gv_dial_plan(gossip, peer, gossip->now.now_ms);
            return;
        }
    }
}

void gv_ring_tick(struct gv_gossip *gossip)
{
    struct gv_ring *ring = &gossip->ring;
    uint64_t now_ms = gossip->now.now_ms;
    if (gossip->leaving || gossip->stopped) {
        return;
    }
    if (ring->is_dirty && (now_ms >= ring->look_at_ms || !ring->relays)) {
        ring->is_dirty = false;
        ring->look_at_ms = now_ms + LOOK_MS;
        look_at_shape(gossip);
        if (ring->relays) {
            look_at_members(gossip);
        }
    }
    if (!ring->relays) {
        return;
    }
    if (ring->few_since_ms != 0 && now_ms >= ring->few_since_ms + FEW_MS) {
        look_at_shape(gossip);
    }
    if (now_ms >= ring->heal_at_ms) {
        try_the_gone(gossip);
        close_surplus(gossip);
        close_silent(gossip);
    }
}

uint64_t gv_ring_wake_at(const struct gv_gossip *gossip)
{
    const struct gv_ring *ring = &gossip->ring;
    uint64_t at = ring->is_dirty ? ring->look_at_ms : GV_NEVER_MS;
    if (!ring->relays) {
        return at;
    }
    at = ring->heal_at_ms < at ? ring->heal_at_ms : at;
    uint64_t few_ms = ring->few_since_ms == 0 ? GV_NEVER_MS : ring->few_since_ms + FEW_MS;
    return few_ms < at ? few_ms : at;
}

/** Shall there be a session with this member? */
bool gv_ring_names(const struct gv_gossip *gossip, const struct gv_peer *peer)
{
    return !gossip->ring.relays || peer->is_neighbour || peer->is_tried;
}
