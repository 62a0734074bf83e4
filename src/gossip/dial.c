/*
 * dial.c - sessions: whom to connect to, which of two stays, what ends. Private, see machine.h.
 *
 * Between two nodes one session is enough. The smaller name connects at once, the larger one only
 * when nothing came for a moment. When two cross, the smaller name closes one of them, alone, so
 * that the two sides never close one each: its own outgoing one stays if both are young, else the
 * younger one (the older one may be half dead).
 */
#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "machine.h"

#define DIAL_TIMEOUT_MS  10000 /* an attempt that the shell never answered */
#define DIAL_PATIENCE_MS 300   /* the larger name waits for the smaller */
#define CROSSING_MS      2000  /* two sessions this close in time have crossed */
#define SEEDS_MAX        256

struct gv_channel *gv_channel_find(const struct gv_gossip *gossip, uint64_t id)
{
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        if (gossip->session_ids[i] == id) {
            return gossip->sessions[i];
        }
    }
    return NULL;
}

/** Sessions came or went, or the peer has a new life: which is its session now? */
void gv_channel_choose(struct gv_gossip *gossip, struct gv_peer *peer)
{
    peer->session = NULL;
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        struct gv_channel *at = gossip->sessions[i];
        if (at->peer == peer && at->boot_id == peer->member.boot_id) {
            peer->session = at;
        }
    }
}

/** The newest session with the life of `peer` that is known, or NULL. */
struct gv_channel *gv_channel_of(const struct gv_gossip *gossip, const struct gv_peer *peer)
{
    (void)gossip;
    return peer->session;
}

/** Is any session with `peer` open, of whatever life? */
bool gv_channel_any(const struct gv_gossip *gossip, const struct gv_peer *peer)
{
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        if (gossip->sessions[i]->peer == peer) {
            return true;
        }
    }
    return false;
}

static bool wants_dial(const struct gv_gossip *gossip, const struct gv_peer *peer)
{
    return peer != gossip->self && peer->member.gossip_addr.family != 0 &&
           gv_channel_of(gossip, peer) == NULL && gv_ring_names(gossip, peer);
}

/*
 * Something has changed about `peer` that may bring an attempt nearer. Thousands of changes that do
 * not (a large cluster starts) must not make us look at thousands of peers each.
 */
static void note_peer(struct gv_gossip *gossip, const struct gv_peer *peer)
{
    uint64_t due_ms = peer->dialing ? peer->dialed_at_ms + DIAL_TIMEOUT_MS : peer->dial_at_ms;
    if (due_ms < gossip->dial_due_ms && (peer->dialing || wants_dial(gossip, peer))) {
        gossip->dial_due_ms = due_ms;
    }
}

/** The next attempt to connect to `peer`, if one is wanted then, is at `at_ms`. */
void gv_dial_plan(struct gv_gossip *gossip, struct gv_peer *peer, uint64_t at_ms)
{
    peer->dial_at_ms = at_ms;
    note_peer(gossip, peer);
}

static void drop(struct gv_gossip *gossip, struct gv_channel *session)
{
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        if (gossip->sessions[i] == session) {
            memmove(gossip->sessions + i, gossip->sessions + i + 1,
                    (gossip->session_count - i - 1) * sizeof(struct gv_channel *));
            memmove(gossip->session_ids + i, gossip->session_ids + i + 1,
                    (gossip->session_count - i - 1) * sizeof(uint64_t));
            gossip->session_count -= 1;
            break;
        }
    }
    gv_snapshot_session_gone(gossip, session);
    gv_tree_session_gone(gossip, session);
    gossip->tree.is_dirty = true;
    struct gv_peer *peer = session->peer;
    gv_channel_choose(gossip, peer);
    gv_mem_free(GV_MEM_GOSSIP, session);
    if (gv_channel_of(gossip, peer) == NULL) {
        bool first = strcmp(gossip->self->member.name, peer->member.name) < 0;
        bool again = peer->redialed_at_ms != 0 &&
                     gossip->now.now_ms - peer->redialed_at_ms < gossip->options.reconnect_ms;
        uint64_t wait_ms = first ? 0 : DIAL_PATIENCE_MS;
        if (again || peer->member.status >= GV_MEMBER_DEAD) {
            wait_ms = gossip->options.reconnect_ms; /* maybe it ends every session at once */
        } else {
            peer->redialed_at_ms = gossip->now.now_ms;
        }
        gv_dial_plan(gossip, peer, gossip->now.now_ms + wait_ms);
        gv_roster_changed(gossip, peer);
    }
}

static void send_close(struct gv_gossip *gossip, uint64_t id, const char *node, const char *reason)
{
    struct gv_effect effect = {.kind = GV_EFFECT_CLOSE, .session = id, .reason = reason};
    (void)gv_slice_copy_text(gv_slice_text(node), effect.node, sizeof effect.node);
    gv_wire_effect(gossip, &effect);
}

void gv_channel_close(struct gv_gossip *gossip, struct gv_channel *session, const char *reason)
{
    send_close(gossip, session->id, session->peer->member.name, reason);
    drop(gossip, session);
}

void gv_dial_close_peer(struct gv_gossip *gossip, struct gv_peer *peer, const char *reason)
{
    for (uint32_t i = gossip->session_count; i-- > 0;) {
        if (i < gossip->session_count && gossip->sessions[i]->peer == peer) {
            gv_channel_close(gossip, gossip->sessions[i], reason);
        }
    }
}

/* ---- attempts ----------------------------------------------------------------------------------
 */

static void dial(struct gv_gossip *gossip, const struct gv_addr *addr, const char *node)
{
    struct gv_effect effect = {.kind = GV_EFFECT_CONNECT, .addr = *addr, .reason = ""};
    (void)gv_slice_copy_text(gv_slice_text(node), effect.node, sizeof effect.node);
    gv_wire_effect(gossip, &effect);
}

/* A little earlier or later than the interval, so that a cluster does not knock in step. */
static uint64_t next_attempt(struct gv_gossip *gossip)
{
    uint64_t span_ms = gossip->options.reconnect_ms;
    return gossip->now.now_ms + span_ms * 3 / 4 + gv_prng_below(&gossip->prng, span_ms / 2 + 1);
}

/* Nodes of a cluster are often started together: the first attempts at a seed follow quickly. */
static uint64_t next_seed_attempt(struct gv_gossip *gossip, struct gv_seed *seed)
{
    if (seed->tries == GV_SEED_QUICK_TRIES) {
        return next_attempt(gossip);
    }
    uint64_t wait_ms = gossip->options.reconnect_ms >> (GV_SEED_QUICK_TRIES - seed->tries);
    seed->tries += 1;
    return gossip->now.now_ms + wait_ms + gv_prng_below(&gossip->prng, wait_ms / 4 + 1);
}

/* A seed is tried unless whoever answered there, or a member at that address, is in session. */
static bool wants_seed(const struct gv_gossip *gossip, const struct gv_seed *seed)
{
    if (seed->is_self) {
        return false;
    }
    const struct gv_peer *answered = gv_roster_find(gossip, seed->node);
    if (answered != NULL && gv_channel_of(gossip, answered) != NULL) {
        return false;
    }
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        const struct gv_peer *peer = gossip->peers[i];
        if (peer == gossip->self || !gv_addr_equal(&peer->member.gossip_addr, &seed->addr)) {
            continue;
        }
        bool is_ours = gossip->ring.relays && gossip->session_count > 0 &&
                       peer->member.status <= GV_MEMBER_SUSPECT;
        if (gv_channel_of(gossip, peer) != NULL || peer->dialing || is_ours) {
            return false;
        }
    }
    return true;
}

static void tick_seed(struct gv_gossip *gossip, struct gv_seed *seed)
{
    uint64_t now_ms = gossip->now.now_ms;
    if (seed->dialing && now_ms - seed->dialed_at_ms >= DIAL_TIMEOUT_MS) {
        seed->dialing = false;
        seed->was_tried = true;
    }
    if (!seed->dialing && now_ms >= seed->dial_at_ms) {
        seed->dial_at_ms = next_seed_attempt(gossip, seed);
        if (wants_seed(gossip, seed)) {
            seed->dialing = true;
            seed->dialed_at_ms = now_ms;
            dial(gossip, &seed->addr, "");
        }
    }
}

static void note_seed(struct gv_gossip *gossip, const struct gv_seed *seed)
{
    uint64_t due_ms = seed->dialing ? seed->dialed_at_ms + DIAL_TIMEOUT_MS : seed->dial_at_ms;
    if (due_ms < gossip->seeds_due_ms && !seed->is_self) {
        gossip->seeds_due_ms = due_ms;
    }
}

static void tick_peer(struct gv_gossip *gossip, struct gv_peer *peer)
{
    uint64_t now_ms = gossip->now.now_ms;
    if (peer->dialing && now_ms - peer->dialed_at_ms >= DIAL_TIMEOUT_MS) {
        peer->dialing = false;
        peer->dial_failed_at_ms = now_ms;
    }
    if (!peer->dialing && now_ms >= peer->dial_at_ms && wants_dial(gossip, peer)) {
        peer->dialing = true;
        peer->dialed_at_ms = now_ms;
        peer->is_tried = false;
        peer->dial_at_ms = next_attempt(gossip);
        dial(gossip, &peer->member.gossip_addr, peer->member.name);
    }
}

static void tick_peers(struct gv_gossip *gossip)
{
    gossip->dial_due_ms = GV_NEVER_MS;
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        tick_peer(gossip, gossip->peers[i]);
        note_peer(gossip, gossip->peers[i]);
    }
}

static void tick_seeds(struct gv_gossip *gossip)
{
    gossip->seeds_due_ms = GV_NEVER_MS;
    for (uint32_t i = 0; i < gossip->seed_count; i++) {
        tick_seed(gossip, &gossip->seeds[i]);
        note_seed(gossip, &gossip->seeds[i]);
    }
}

void gv_dial_tick(struct gv_gossip *gossip)
{
    if (gossip->leaving || gossip->stopped) {
        return;
    }
    if (gossip->now.now_ms >= gossip->dial_due_ms) {
        tick_peers(gossip);
    }
    if (gossip->now.now_ms >= gossip->seeds_due_ms) {
        tick_seeds(gossip);
    }
}

uint64_t gv_dial_wake_at(const struct gv_gossip *gossip)
{
    return gossip->dial_due_ms < gossip->seeds_due_ms ? gossip->dial_due_ms : gossip->seeds_due_ms;
}

void gv_gossip_seeds(struct gv_gossip *gossip, const struct gv_addr *addrs, size_t count,
                     struct gv_now now)
{
    gossip->now = now;
    gv_outbox_begin(&gossip->outbox);
    if (count > SEEDS_MAX) {
        count = SEEDS_MAX;
    }
    struct gv_seed *seeds = gv_mem_new(GV_MEM_GOSSIP, (count + 1) * sizeof *seeds);
    if (seeds == NULL) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        seeds[i] = (struct gv_seed){.addr = addrs[i], .dial_at_ms = now.now_ms};
        if (gv_addr_equal(&addrs[i], &gossip->self->member.gossip_addr)) {
            seeds[i].is_self = true;
        }
        for (uint32_t old = 0; old < gossip->seed_count; old++) {
            if (gv_addr_equal(&gossip->seeds[old].addr, &addrs[i])) {
                seeds[i] = gossip->seeds[old];
            }
        }
    }
    gv_mem_free(GV_MEM_GOSSIP, gossip->seeds);
    gossip->seeds = seeds;
    gossip->seed_count = (uint32_t)count;
    gossip->seeds_came = true;
    gossip->seeds_due_ms = gossip->now.now_ms;
    gv_dial_tick(gossip);
}

/** Somebody else bears our name at another address: connect, so that HELLO decides. */
void gv_dial_look_at_twin(struct gv_gossip *gossip, const struct gv_member *twin)
{
    if (gossip->twin.dialing && gossip->now.now_ms - gossip->twin.dialed_at_ms < DIAL_TIMEOUT_MS) {
        return;
    }
    gossip->twin = (struct gv_seed){
        .addr = twin->gossip_addr, .dialing = true, .dialed_at_ms = gossip->now.now_ms};
    gossip->twin_incarnation = twin->incarnation;
    dial(gossip, &twin->gossip_addr, twin->name);
}

/* An attempt to reach `addr` has an outcome. `node`: who answered, "" nobody. */
static void attempt_ended(struct gv_gossip *gossip, const struct gv_addr *addr, const char *node)
{
    bool reached = node[0] != '\0';
    for (uint32_t i = 0; i < gossip->seed_count; i++) {
        struct gv_seed *seed = &gossip->seeds[i];
        if (gv_addr_equal(&seed->addr, addr)) {
            seed->dialing = false;
            seed->was_tried = true;
            (void)gv_slice_copy_text(gv_slice_text(node), seed->node, sizeof seed->node);
            note_seed(gossip, seed);
        }
    }
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        struct gv_peer *peer = gossip->peers[i];
        if (peer->dialing && gv_addr_equal(&peer->member.gossip_addr, addr)) {
            peer->dialing = false;
            if (!reached) {
                peer->dial_failed_at_ms = gossip->now.now_ms;
            }
            note_peer(gossip, peer);
            if (peer->member.status == GV_MEMBER_SUSPECT) {
                gv_doubt_set_deadline(gossip, peer);
            }
        }
    }
    if (gossip->twin.dialing && gv_addr_equal(&gossip->twin.addr, addr)) {
        gossip->twin.dialing = false;
        if (strcmp(node, gossip->self->member.name) != 0) {
            /* No twin lives there: it was an earlier start of ours. */
            gv_roster_raise_self(gossip, gossip->twin_incarnation);
        }
    }
}

/* ---- opened and closed -------------------------------------------------------------------------
 */

/*
 * Two nodes of one name: which of them stops? With one key (a restart, a copied state directory)
 * the older life. With two keys nobody can stop a node that is in step with the mesh already; a
 * newcomer gives way to whoever was there before.
 */
static bool gives_way(const struct gv_gossip *gossip, const struct gv_gossip_hello *hello)
{
    const struct gv_member *self = &gossip->self->member;
    bool is_younger = hello->incarnation != self->incarnation
                          ? hello->incarnation > self->incarnation
                          : hello->boot_id > self->boot_id;
    if (memcmp(hello->identity, self->identity, sizeof self->identity) == 0) {
        return is_younger;
    }
    return !gossip->synced && !is_younger;
}

/* Our own name answered: this very node, or a twin. */
static void meet_own_name(struct gv_gossip *gossip, uint64_t session, bool outgoing,
                          const struct gv_gossip_hello *hello)
{
    const struct gv_member *self = &gossip->self->member;
    if (hello->boot_id == self->boot_id) {
        for (uint32_t i = 0; outgoing && i < gossip->seed_count; i++) {
            if (gv_addr_equal(&gossip->seeds[i].addr, &hello->dialed)) {
                gossip->seeds[i].is_self = true;
            }
        }
        send_close(gossip, session, hello->node, "own address");
        return;
    }
    send_close(gossip, session, hello->node, "two nodes of one name");
    if (gives_way(gossip, hello)) {
        struct gv_effect effect = {
            .kind = GV_EFFECT_CONFLICT, .addr = hello->gossip_addr, .reason = "node.conflict"};
        memcpy(effect.node, self->name, sizeof effect.node);
        gv_wire_effect(gossip, &effect);
        gossip->stopped = true;
    }
}

static struct gv_channel *make_session(struct gv_gossip *gossip, uint64_t id, bool outgoing,
                                       struct gv_peer *peer, uint64_t boot_id)
{
    if (gossip->session_count == gossip->session_room) {
        uint32_t room = gossip->session_room == 0 ? 16 : gossip->session_room * 2;
        struct gv_channel **grown =
            gv_mem_resize(GV_MEM_GOSSIP, gossip->sessions, room * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        gossip->sessions = grown;
        uint64_t *ids = gv_mem_resize(GV_MEM_GOSSIP, gossip->session_ids, room * sizeof *ids);
        if (ids == NULL) {
            return NULL;
        }
        gossip->session_ids = ids;
        gossip->session_room = room;
    }
    struct gv_channel *session = gv_mem_new(GV_MEM_GOSSIP, sizeof *session);
    if (session == NULL) {
        return NULL;
    }
    session->id = id;
    session->peer = peer;
    session->boot_id = boot_id;
    session->outgoing = outgoing;
    session->opened_at_ms = gossip->now.now_ms;
    session->heard_at_ms = gossip->now.now_ms;
    peer->reset_at_ms = 0;
    session->told_round = gossip->vector.round; /* the State tells where we stand */
    gossip->tree.is_dirty = true;
    gossip->session_ids[gossip->session_count] = id;
    gossip->sessions[gossip->session_count++] = session;
    gossip->may_be_behind = true;
    gv_channel_choose(gossip, peer);
    return session;
}

/* Only the smaller name closes a second session; and whoever meets a new life closes the old. */
static void settle_crossing(struct gv_gossip *gossip, struct gv_channel *fresh)
{
    bool decides = strcmp(gossip->self->member.name, fresh->peer->member.name) < 0;
    struct gv_channel *other = NULL;
    uint32_t held = 0;
    for (uint32_t i = gossip->session_count; i-- > 0;) {
        struct gv_channel *at = gossip->sessions[i];
        if (at->peer != fresh->peer || at == fresh) {
            continue;
        }
        held += 1;
        if (at->boot_id != fresh->boot_id && fresh->boot_id == fresh->peer->member.boot_id) {
            gv_channel_close(gossip, at, "older start of the peer");
        } else if (held >= GV_SESSIONS_PER_MEMBER_MAX) {
            gv_channel_close(gossip, at, "too many sessions with the peer");
        } else if (at->boot_id == fresh->boot_id) {
            other = at;
        }
    }
    if (!decides || other == NULL) {
        return;
    }
    bool crossed = other->outgoing != fresh->outgoing &&
                   fresh->opened_at_ms - other->opened_at_ms <= CROSSING_MS;
    bool keep_other = crossed && other->outgoing;
    gv_channel_close(gossip, keep_other ? fresh : other, "crossed");
}

/* What the peer says of itself in its HELLO. */
static void member_of(const struct gv_gossip_hello *hello, struct gv_member *member)
{
    *member = (struct gv_member){.boot_id = hello->boot_id,
                                 .incarnation = hello->incarnation,
                                 .status = hello->left ? GV_MEMBER_LEFT : GV_MEMBER_ALIVE,
                                 .gossip_addr = hello->gossip_addr,
                                 .ready = hello->ready};
    memcpy(member->name, hello->node, sizeof member->name);
    memcpy(member->http_url, hello->http_url, sizeof member->http_url);
    memcpy(member->version, hello->version, sizeof member->version);
    memcpy(member->identity, hello->identity, sizeof member->identity);
    memcpy(member->signature, hello->signature, sizeof member->signature);
}

/* The peer has proven its key to the shell; is the name its own, too? Says why not. */
static const char *judge_name(struct gv_gossip *gossip, struct gv_peer *holder,
                              const struct gv_member *member, const struct gv_addr *answered_at)
{
    if (!gv_proof_is_signed(gossip, member)) {
        gv_proof_refuse(gossip, member->name, NULL);
        return "hello that its node did not sign";
    }
    if (holder == NULL || gv_proof_is_holder(gossip, holder, member)) {
        return NULL;
    }
    if (!gv_proof_may_take_over(gossip, holder, answered_at)) {
        gv_proof_refuse(gossip, member->name, holder);
        return "name belongs to another key";
    }
    gv_proof_take_over(gossip, holder);
    return NULL;
}

static bool meet_peer(struct gv_gossip *gossip, struct gv_peer *peer,
                      const struct gv_member *member)
{
    Mesh__Member record;
    Mesh__Address addr;
    gv_codec_member_out(member, "", &addr, &record);
    gv_roster_merge(gossip, &record);
    peer->dialing = false;
    peer->member.last_contact_ms = gossip->now.now_ms;
    return peer->member.incarnation != 0;
}

void gv_gossip_opened(struct gv_gossip *gossip, uint64_t session_id, bool outgoing,
                      const struct gv_gossip_hello *hello, struct gv_now now)
{
    gossip->now = now;
    gv_outbox_begin(&gossip->outbox);
    if (outgoing) {
        const struct gv_addr *addr =
            hello->dialed.family != 0 ? &hello->dialed : &hello->gossip_addr;
        attempt_ended(gossip, addr, hello->node);
    }
    if (gossip->stopped) {
        send_close(gossip, session_id, hello->node, "stopped");
        return;
    }
    if (strcmp(hello->node, gossip->self->member.name) == 0) {
        meet_own_name(gossip, session_id, outgoing, hello);
        return;
    }
    if (!gv_incarnation_is_sane(gossip, hello->incarnation) || hello->incarnation == 0) {
        gossip->counters.malformed += 1;
        send_close(gossip, session_id, hello->node, "incarnation far ahead of the clock");
        return;
    }
    struct gv_peer *peer = gv_roster_find(gossip, hello->node);
    struct gv_member member;
    member_of(hello, &member);
    const char *refused = judge_name(gossip, peer, &member, outgoing ? &hello->dialed : NULL);
    if (refused != NULL) {
        send_close(gossip, session_id, hello->node, refused);
        gv_dial_tick(gossip);
        return;
    }
    if (peer == NULL) {
        peer = gv_roster_open(gossip, hello->node);
        if (peer != NULL) {
            /* Until meet_peer() says alive. */
            gv_roster_write_status(gossip, peer, GV_MEMBER_LEFT);
        }
    }
    uint64_t dial_due_ms = gossip->dial_due_ms;
    if (peer == NULL || !meet_peer(gossip, peer, &member)) {
        send_close(gossip, session_id, hello->node, "no room for another member");
        return;
    }
    struct gv_channel *session = make_session(gossip, session_id, outgoing, peer, hello->boot_id);
    gossip->dial_due_ms = dial_due_ms; /* what its record made us want, we mostly have now */
    note_peer(gossip, peer);
    if (session == NULL) {
        send_close(gossip, session_id, hello->node, "out of memory");
        return;
    }
    if (peer->member.status == GV_MEMBER_SUSPECT) {
        gv_doubt_set_deadline(gossip, peer);
    }
    gv_repair_greet(gossip, session);
    settle_crossing(gossip, session);
    gv_roster_changed(gossip, peer);
}

void gv_gossip_closed(struct gv_gossip *gossip, uint64_t session_id, const struct gv_addr *addr,
                      bool reset, struct gv_now now)
{
    gossip->now = now;
    gv_outbox_begin(&gossip->outbox);
    gv_detector_watch_self(gossip);
    struct gv_channel *session = session_id == 0 ? NULL : gv_channel_find(gossip, session_id);
    if (session == NULL) {
        if (addr != NULL) {
            attempt_ended(gossip, addr, "");
        }
        return;
    }
    struct gv_peer *peer = session->peer;
    bool current = session->boot_id == peer->member.boot_id;
    drop(gossip, session);
    if (!current || gv_channel_of(gossip, peer) != NULL || gossip->leaving || gossip->stopped) {
        return;
    }
    peer->reset_at_ms = reset ? now.now_ms : peer->reset_at_ms;
    if (peer->member.status == GV_MEMBER_SUSPECT) {
        gv_doubt_set_deadline(gossip, peer);
    }
    bool is_doubtful = reset && gossip->detector.heeds_resets && now.now_ms >= gossip->mute_until;
    if (is_doubtful && peer->member.status == GV_MEMBER_ALIVE) {
        gv_doubt_on_word(gossip, peer, gossip->self->member.name);
        gv_roster_changed(gossip, peer);
    } else if (peer->member.status <= GV_MEMBER_SUSPECT) {
        gv_detector_probe_now(gossip, peer);
    }
    gv_dial_tick(gossip);
}
