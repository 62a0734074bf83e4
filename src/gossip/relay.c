/*
 * relay.c - operations of other nodes: passed on, announced, pulled. Private to gossip, see
 * machine.h.
 *
 *     push:     what is new here goes on along the tree, as the bytes it came in, once
 *
 *     announce: which logs have moved here goes to all sessions: five times a second, and more
 *               often at first where that was of use (to who had to ask, and as the tree changes)
 *
 *     pull:     who hears of more than it has waits a moment for the tree, then asks for the range
 *
 * So a batch crosses every node about once while the tree holds, and reaches every node while the
 * sessions connect them. Nobody but its node can number a log, but whoever passes it on is trusted
 * not to forge it, as every member with the cluster key is (docs/security.md). A small mesh has no
 * need of that: there a log comes from its own node, or from whom it was asked.
 */
#include "grapevine/base/assert.h"
#include "machine.h"

#define ANNOUNCE_MS      200  /* between announcements to one session ... */
#define ANNOUNCE_FAST_MS 40   /* ... to which the tree may not bring everything ... */
#define ANNOUNCE_US      100  /* ... and so much more for each log in the last one */
#define SAID_MS          1000 /* between announcements of loads and opinions */
#define SAID_PATIENCE_MS 300
#define SAID_AGAIN_MS    2000 /* what did not come is asked for again, */
#define SAID_ASKS_MAX    6    /* so often: a member may tell of what nobody has */
#define GRACE_MS         100  /* what is announced may still come along the tree */
#define PULL_AGAIN_MS    500
#define PULLS_MAX        6     /* then the digests shall find it */
#define ASKED_MS         10000 /* an answer comes within this */
#define GONE_TOGETHER_S  60    /* logs that end so far apart are taken in one snapshot */
#define NEAR_BORDER      8     /* members short of relaying; others may have begun */

/* ---- push --------------------------------------------------------------------------------------
 */

/** Do we, or may others already, pass on what nodes say? Then it comes over any session. */
bool gv_relay_is_near(const struct gv_gossip *gossip)
{
    return gossip->ring.relays || gossip->counts.active + NEAR_BORDER > GV_DIRECT_MEMBERS_MAX;
}

static bool is_source(const struct gv_origin *origin, const struct gv_channel *session)
{
    for (uint32_t i = 0; i < GV_SOURCES_MAX; i++) {
        if (origin->sources[i] == session->id) {
            return true;
        }
    }
    return false;
}

/** May this session bring batches of another node's log? When that is relayed, or we asked it for
 * that very log. `origin` NULL: we do not know it. */
bool gv_relay_may_take(const struct gv_gossip *gossip, const struct gv_channel *session,
                       const struct gv_origin *origin)
{
    bool asked = origin != NULL && origin->pulled_at_ms != 0 &&
                 gossip->now.now_ms < origin->pulled_at_ms + ASKED_MS && is_source(origin, session);
    return asked || gv_relay_is_near(gossip);
}

/** May this session bring loads and opinions of another node? */
bool gv_relay_may_say(const struct gv_gossip *gossip, const struct gv_channel *session,
                      const struct gv_peer *peer)
{
    bool asked = peer->said_asked_at_ms != 0 && peer->said_source == session->id &&
                 gossip->now.now_ms < peer->said_asked_at_ms + ASKED_MS;
    return peer == session->peer || asked || gv_relay_is_near(gossip);
}

/** The message in hand is a batch with something new: keep it, and pass it on. */
void gv_relay_pass_on(struct gv_gossip *gossip, struct gv_origin *origin,
                      const struct gv_channel *from, const Mesh__Batch *batch)
{
    origin->from_session = from->id;
    gv_shelf_keep(&gossip->shelf, origin, batch->first, batch->first + batch->n_operations - 1,
                  gossip->in_hand);
    if (gossip->ring.relays) {
        gv_wire_pass_on(gossip, gossip->in_hand, from);
    }
}

/* ---- announce ----------------------------------------------------------------------------------
 */

static void send_announce(struct gv_gossip *gossip, struct gv_channel *session,
                          Mesh__Announce *announce)
{
    Mesh__Message message = MESH__MESSAGE__INIT;
    if (announce->n_logs + announce->n_sayers == 0) {
        return;
    }
    message.body_case = MESH__MESSAGE__BODY_ANNOUNCE;
    message.announce = announce;
    gossip->counters.announcements_sent += 1;
    gv_wire_send(gossip, session, &message);
}

/* The logs that moved since the session was told; returns how many. */
static size_t announce_logs(struct gv_gossip *gossip, struct gv_channel *session)
{
    Mesh__Announce announce = MESH__ANNOUNCE__INIT;
    size_t count = 0, room = gossip->vector.count;
    gv_arena_reset(&gossip->scratch);
    room = room < GV_VECTOR_MAX ? room : GV_VECTOR_MAX;
    announce.logs = gv_arena_take_raw(&gossip->scratch, (room + 1) * sizeof *announce.logs);
    announce.applied = gv_arena_take_raw(&gossip->scratch, (room + 1) * sizeof *announce.applied);
    if (announce.logs == NULL || announce.applied == NULL) {
        return 0;
    }
    const struct gv_origin *at = gossip->vector.newest;
    for (; at != NULL && at->round > session->told_round && count < room; at = at->older) {
        uint64_t applied = at == gossip->own ? gossip->flushed : at->applied;
        if (applied > 0 && !at->forgotten && at->from_session != session->id) {
            announce.logs[count] = at->boot_id;
            announce.applied[count] = applied;
            count += 1;
        }
    }
    session->told_round = gossip->vector.round;
    announce.n_logs = count;
    announce.n_applied = count;
    send_announce(gossip, session, &announce);
    return count;
}

static void announce_said(struct gv_gossip *gossip, struct gv_channel *session)
{
    Mesh__Announce announce = MESH__ANNOUNCE__INIT;
    size_t count = 0;
    gv_arena_reset(&gossip->scratch);
    announce.sayers =
        gv_arena_take_raw(&gossip->scratch, gossip->peer_count * sizeof *announce.sayers);
    announce.said = gv_arena_take_raw(&gossip->scratch, gossip->peer_count * sizeof *announce.said);
    if (announce.sayers == NULL || announce.said == NULL) {
        return;
    }
    for (uint32_t i = 0; i < gossip->peer_count && count < GV_VECTOR_MAX; i++) {
        const struct gv_peer *peer = gossip->peers[i];
        if (peer->said_round > session->told_said_round && peer->said > 0 &&
            peer != session->peer && peer->member.status <= GV_MEMBER_SUSPECT) {
            announce.sayers[count] = peer->member.boot_id;
            announce.said[count] = peer->said;
            count += 1;
        }
    }
    session->told_said_round = gossip->said_round;
    announce.n_sayers = count;
    announce.n_said = count;
    send_announce(gossip, session, &announce);
}

static bool may_announce(const struct gv_gossip *gossip, const struct gv_channel *session)
{
    return session->knows_state &&
           gv_channel_backlog(session) < gossip->options.session_queue_bytes;
}

/** The tree may not bring this peer everything: it is told soon what has moved, and then less and
 * less often. */
void gv_relay_hurry(struct gv_gossip *gossip, struct gv_channel *session)
{
    uint64_t soon_ms = gossip->now.now_ms + ANNOUNCE_FAST_MS;
    session->hurried_at_ms = gossip->now.now_ms;
    gossip->announce_at_ms = gossip->announce_at_ms < soon_ms ? gossip->announce_at_ms : soon_ms;
}

/* When may this session hear again which logs have moved? After as long as the last announcement
 * came after the last hurry. */
static uint64_t announce_due_ms(const struct gv_gossip *gossip, const struct gv_channel *session)
{
    uint64_t told_ms = session->announced_at_ms, pause_ms = ANNOUNCE_FAST_MS;
    if (told_ms > session->hurried_at_ms && gossip->tree.distance != GV_TREE_FAR) {
        pause_ms = told_ms - session->hurried_at_ms;
        pause_ms = pause_ms > ANNOUNCE_FAST_MS ? pause_ms : ANNOUNCE_FAST_MS;
        pause_ms = pause_ms < ANNOUNCE_MS ? pause_ms : ANNOUNCE_MS;
    }
    return told_ms == 0 ? gossip->now.now_ms : told_ms + pause_ms;
}

static void announce_moves(struct gv_gossip *gossip)
{
    uint64_t now_ms = gossip->now.now_ms, next_ms = now_ms + ANNOUNCE_MS;
    size_t most = 0;
    bool all_know = true;
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        struct gv_channel *session = gossip->sessions[i];
        if (session->told_round == gossip->vector.round || !may_announce(gossip, session)) {
            continue;
        }
        uint64_t due_ms = announce_due_ms(gossip, session);
        if (now_ms >= due_ms) {
            size_t count = announce_logs(gossip, session);
            session->announced_at_ms = now_ms;
            most = count > most ? count : most;
        } else {
            all_know = false;
            next_ms = due_ms < next_ms ? due_ms : next_ms;
        }
    }
    uint64_t least_ms = now_ms + ANNOUNCE_FAST_MS + most * ANNOUNCE_US / 1000;
    gossip->announced_round = all_know ? gossip->vector.round : gossip->announced_round;
    gossip->announce_at_ms = all_know || next_ms < least_ms ? least_ms : next_ms;
}

static void tick_announcements(struct gv_gossip *gossip)
{
    uint64_t now_ms = gossip->now.now_ms;
    if (gossip->announced_round < gossip->vector.round && now_ms >= gossip->announce_at_ms) {
        announce_moves(gossip);
    }
    if (now_ms >= gossip->said_at_ms) {
        gossip->said_at_ms = now_ms + SAID_MS;
        for (uint32_t i = 0; i < gossip->session_count; i++) {
            struct gv_channel *session = gossip->sessions[i];
            if (session->told_said_round < gossip->said_round && may_announce(gossip, session)) {
                announce_said(gossip, session);
            }
        }
    }
}

/* ---- forged ------------------------------------------------------------------------------------
 */

/**
 * Somebody holds our log up to there. More than we ever said means that a member made it up: what
 * we really say under those numbers passes for known. Until our log is beyond them, logs tell
 * nothing about us, so live sets are compared every few seconds, and what was hidden is mended.
 */
void gv_relay_check_own(struct gv_gossip *gossip, uint64_t claimed)
{
    if (claimed > gossip->log.last) {
        gossip->is_log_forged = true;
        gv_proof_refuse(gossip, gossip->self->member.name, NULL);
        gv_repair_unsure(gossip);
    }
}

/* ---- pull --------------------------------------------------------------------------------------
 */

static void add_source(struct gv_origin *origin, uint64_t session)
{
    for (uint32_t i = 0; i < GV_SOURCES_MAX; i++) {
        if (origin->sources[i] == session || origin->sources[i] == 0) {
            origin->sources[i] = session;
            return;
        }
    }
    origin->sources[session % GV_SOURCES_MAX] = session;
}

/** `source` has this log up to `upto`. Patient: it may still come by itself. */
void gv_relay_want(struct gv_gossip *gossip, struct gv_origin *origin, uint64_t upto,
                   const struct gv_channel *source, bool is_patient)
{
    uint64_t now_ms = gossip->now.now_ms;
    if (origin == gossip->own || upto <= origin->applied || origin->forgotten) {
        return;
    }
    if (!origin->is_wanting) {
        origin->is_wanting = true;
        origin->wanted = upto;
        origin->wanted_at_ms = is_patient ? now_ms + GRACE_MS : now_ms;
        origin->pulled_at_ms = 0;
        origin->pull_count = 0;
        memset(origin->sources, 0, sizeof origin->sources);
        origin->next_wanting = gossip->vector.wanting;
        gossip->vector.wanting = origin;
    }
    origin->wanted = upto > origin->wanted ? upto : origin->wanted;
    add_source(origin, source->id);
    gossip->pull_at_ms =
        origin->wanted_at_ms < gossip->pull_at_ms ? origin->wanted_at_ms : gossip->pull_at_ms;
}

/* Ask the next of those who have it; false: none of them is left. */
static bool pull(struct gv_gossip *gossip, struct gv_origin *origin)
{
    struct gv_channel *source = NULL;
    for (uint32_t i = 0; i < GV_SOURCES_MAX && source == NULL; i++) {
        uint64_t id = origin->sources[(origin->pull_count + i) % GV_SOURCES_MAX];
        source = id == 0 ? NULL : gv_channel_find(gossip, id);
    }
    if (source == NULL || origin->pull_count == PULLS_MAX) {
        return false;
    }
    uint64_t first = origin->applied + 1, last = origin->wanted, gap_first, gap_last;
    if (gv_origin_gap(origin, &gap_first, &gap_last) && gap_last < last) {
        last = gap_last;
    }
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__RangeRequest request = MESH__RANGE_REQUEST__INIT;
    request.boot_id = origin->boot_id;
    request.first = first;
    request.last = last;
    message.body_case = MESH__MESSAGE__BODY_RANGE_REQUEST;
    message.range_request = &request;
    gv_wire_send(gossip, source, &message);
    gossip->counters.ranges_pulled += 1;
    origin->pull_count += 1;
    origin->pulled_at_ms = gossip->now.now_ms;
    return true;
}

/* When is its next turn? */
static uint64_t due_ms(const struct gv_origin *origin)
{
    return origin->pulled_at_ms == 0 ? origin->wanted_at_ms : origin->pulled_at_ms + PULL_AGAIN_MS;
}

static void tick_pulls(struct gv_gossip *gossip)
{
    uint64_t now_ms = gossip->now.now_ms;
    bool is_waiting = !gossip->synced || gv_snapshot_is_taking(gossip); /* most comes with it */
    if (now_ms < gossip->pull_at_ms) {
        return;
    }
    gossip->pull_at_ms = is_waiting ? now_ms + GRACE_MS : GV_NEVER_MS;
    for (struct gv_origin **at = &gossip->vector.wanting; *at != NULL;) {
        struct gv_origin *origin = *at;
        bool is_over = origin->applied >= origin->wanted || origin->forgotten;
        if (!is_over && !is_waiting && now_ms >= due_ms(origin) && !pull(gossip, origin)) {
            is_over = true;
            gv_past_give_up(gossip, origin);
        }
        if (is_over) {
            origin->is_wanting = false;
            *at = origin->next_wanting;
            origin->next_wanting = NULL;
            continue;
        }
        if (!is_waiting && due_ms(origin) < gossip->pull_at_ms) {
            gossip->pull_at_ms = due_ms(origin);
        }
        at = &origin->next_wanting;
    }
}

/* The log of a boot that is announced; made when a member runs under it. NULL: unknown. */
static struct gv_origin *open_boot(struct gv_gossip *gossip, uint64_t boot_id)
{
    struct gv_origin *origin = gv_past_find_boot(gossip, boot_id);
    const struct gv_peer *peer = origin == NULL ? gv_roster_find_boot(gossip, boot_id) : NULL;
    return peer == NULL ? origin : gv_past_open(gossip, peer->member.name, boot_id);
}

/* Do we hear it from the node itself, so that nobody else is to be asked? */
static bool is_direct(const struct gv_gossip *gossip, const char *name, uint64_t boot_id)
{
    return !gv_relay_is_near(gossip) && gv_repair_hears(gossip, name, boot_id);
}

/* `source` knows all that `peer` said up to there; it may still come by itself, for a while. */
static void want_said(struct gv_gossip *gossip, struct gv_peer *peer, uint64_t upto,
                      const struct gv_channel *source, uint64_t patience_ms)
{
    if (peer->said_wanted <= peer->said) {
        peer->said_wanted_at_ms = gossip->now.now_ms + patience_ms;
    }
    if (upto > peer->said_wanted) {
        peer->said_wanted = upto;
        peer->said_asks = 0;
    }
    peer->said_source = source->id;
    if (!gossip->wants_said || peer->said_wanted_at_ms < gossip->ask_said_at_ms) {
        gossip->ask_said_at_ms = peer->said_wanted_at_ms;
    }
    gossip->wants_said = true;
}

/** What the peer has, of logs and of what nodes have said. */
void gv_relay_announced(struct gv_gossip *gossip, struct gv_channel *session,
                        const Mesh__Announce *announce)
{
    for (size_t i = 0; i < announce->n_logs; i++) {
        struct gv_origin *origin = open_boot(gossip, announce->logs[i]);
        if (origin == gossip->own) {
            gv_relay_check_own(gossip, announce->applied[i]);
        }
        if (origin != NULL && !is_direct(gossip, origin->name, origin->boot_id)) {
            gv_relay_want(gossip, origin, announce->applied[i], session, true);
        }
    }
    for (size_t i = 0; i < announce->n_sayers; i++) {
        struct gv_peer *peer = gv_roster_find_boot(gossip, announce->sayers[i]);
        if (peer == NULL || peer == gossip->self || peer->said >= announce->said[i] ||
            is_direct(gossip, peer->member.name, peer->member.boot_id)) {
            continue;
        }
        want_said(gossip, peer, announce->said[i], session, SAID_PATIENCE_MS);
    }
}

/** What it said over its own session could not count, for it passes for dead, or another start of
 * it was thought to be the one that runs: when it has refuted that, it is to say it again. */
void gv_relay_missed(struct gv_gossip *gossip, struct gv_channel *session, uint64_t sequence)
{
    want_said(gossip, session->peer, sequence, session, 0);
}

/** It passes for dead no longer. */
void gv_relay_recall_said(struct gv_gossip *gossip, const struct gv_peer *peer)
{
    if (peer->said_wanted > peer->said) {
        gossip->wants_said = true;
        gossip->ask_said_at_ms = gossip->now.now_ms;
    }
}

static void ask_said(struct gv_gossip *gossip, struct gv_peer *peer, struct gv_channel *source)
{
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__StateRequest request = MESH__STATE_REQUEST__INIT;
    peer->said_asked_at_ms = gossip->now.now_ms;
    peer->said_asks += 1;
    peer->said_source = source->id;
    request.boot_id = peer->member.boot_id;
    message.body_case = MESH__MESSAGE__BODY_STATE_REQUEST;
    message.state_request = &request;
    gv_wire_send(gossip, source, &message);
}

/* Who is asked for what `peer` has said: whoever told of it last, if that session still lasts; else
 * the node itself, or any other, which has heard of it meanwhile. NULL: nobody is there. */
static struct gv_channel *whom_to_ask(const struct gv_gossip *gossip, const struct gv_peer *peer)
{
    struct gv_channel *source = gv_channel_find(gossip, peer->said_source);
    source = source != NULL ? source : gv_channel_of(gossip, peer);
    if (source == NULL && gv_relay_is_near(gossip) && gossip->session_count > 0) {
        source = gossip->sessions[peer->said_asks % gossip->session_count];
    }
    return source;
}

/* Whoever said something that did not come: ask for it until it has come. It is announced once, and
 * the session over which that came, or the question went, may end. */
static void tick_said(struct gv_gossip *gossip)
{
    uint64_t now_ms = gossip->now.now_ms;
    if (!gossip->wants_said || now_ms < gossip->ask_said_at_ms) {
        return;
    }
    gossip->wants_said = false;
    gossip->ask_said_at_ms = now_ms + SAID_PATIENCE_MS;
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        struct gv_peer *peer = gossip->peers[i];
        if (peer->said_wanted <= peer->said || peer->member.status >= GV_MEMBER_DEAD) {
            continue;
        }
        if (now_ms >= peer->said_wanted_at_ms) {
            struct gv_channel *source = whom_to_ask(gossip, peer);
            if (source == NULL || peer->said_asks == SAID_ASKS_MAX) {
                peer->said_wanted = 0; /* whoever comes tells all; whoever announces it is asked */
                continue;
            }
            ask_said(gossip, peer, source);
            peer->said_wanted_at_ms = now_ms + SAID_AGAIN_MS;
        }
        gossip->wants_said = true;
    }
}

/* ---- giving ------------------------------------------------------------------------------------
 */

static void say_gone(struct gv_gossip *gossip, struct gv_channel *session, uint64_t boot_id)
{
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__RangeGone gone = MESH__RANGE_GONE__INIT;
    gone.boot_id = boot_id;
    message.body_case = MESH__MESSAGE__BODY_RANGE_GONE;
    message.range_gone = &gone;
    gv_wire_send(gossip, session, &message);
}

/** A peer asks for a range of another node's log: what we have of it, as it came. Who lacks more
 * than we look through is told that it is gone, and takes a snapshot. */
void gv_relay_asked(struct gv_gossip *gossip, struct gv_channel *session,
                    const Mesh__RangeRequest *request)
{
    const struct gv_origin *origin = gv_past_find_boot(gossip, request->boot_id);
    uint64_t covered = request->first - 1;
    const struct gv_kept *found[GV_SHELF_LOOK_MAX];
    gv_relay_hurry(gossip, session); /* it heard of something by announcement first */
    if (origin == NULL) {
        return;
    }
    uint32_t count = gv_shelf_find(origin, request->first, request->last, found);
    for (uint32_t i = 0; i < count; i++) {
        const struct gv_kept *at = found[i];
        if (gv_channel_backlog(session) >= gossip->options.session_queue_bytes) {
            return; /* it asks again */
        }
        covered = at->first <= covered + 1 && at->last > covered ? at->last : covered;
        gossip->counters.ranges_sent += 1;
        gv_wire_send_kept(gossip, session, gv_slice_of(at->bytes, at->len));
    }
    uint64_t has = origin->applied < request->last ? origin->applied : request->last;
    if (covered < has) {
        say_gone(gossip, session, request->boot_id);
    }
}

/* Logs that end a little earlier are likely to lack something, too: one snapshot shall do for all,
 * the next would have to wait for seconds. */
static uint32_t reach_back(const struct gv_gossip *gossip, uint32_t since)
{
    uint32_t least = since;
    for (uint32_t i = 0; i < gossip->vector.count; i++) {
        const struct gv_origin *at = gossip->vector.origins[i];
        uint32_t stamp = gv_snapshot_since(at);
        bool is_near = at != gossip->own && at->applied > 0 && !at->forgotten && stamp < since &&
                       since - stamp <= GONE_TOGETHER_S;
        least = is_near && stamp < least ? stamp : least;
    }
    return least;
}

/** The peer has what we asked for no longer as operations: take it, and all we lack, as entries. */
void gv_relay_gone(struct gv_gossip *gossip, struct gv_channel *session,
                   const Mesh__RangeGone *gone)
{
    const struct gv_origin *origin = gv_past_find_boot(gossip, gone->boot_id);
    uint32_t since = gv_snapshot_since(origin);
    for (const struct gv_origin *at = gossip->vector.wanting; at != NULL; at = at->next_wanting) {
        uint32_t stamp = gv_snapshot_since(at);
        since = at->applied < at->wanted && stamp < since ? stamp : since;
    }
    gv_snapshot_ask(gossip, session, reach_back(gossip, since));
}

void gv_relay_tick(struct gv_gossip *gossip)
{
    if (gossip->leaving || gossip->stopped) {
        return;
    }
    tick_pulls(gossip);
    tick_said(gossip);
    if (gossip->ring.relays) {
        tick_announcements(gossip);
    }
}

uint64_t gv_relay_wake_at(const struct gv_gossip *gossip)
{
    uint64_t at = gossip->pull_at_ms;
    if (gossip->ring.relays && gossip->announced_round < gossip->vector.round &&
        gossip->announce_at_ms < at) {
        at = gossip->announce_at_ms;
    }
    if (gossip->wants_said && gossip->ask_said_at_ms < at) {
        at = gossip->ask_said_at_ms;
    }
    return at;
}
