/*
 * repair.c - do we all stand at the same place? Greetings, digests, vectors, readiness. Private.
 *
 * A new session starts with State both ways: who is there, and how far each is in every log. Once
 * a second a digest goes to every session; when it differs twice in a row, one peer at a time is
 * asked for its vector. What is missing of a log whose node is in session comes by range from that
 * node; of any other log, by snapshot from whoever has more.
 */
#include "grapevine/base/assert.h"
#include "machine.h"

#define MISSES_BEFORE_REPAIR 2
#define STATE_WHOLE_MAX      64 /* more members are compared before they are sent */
#define RETELL_DIGESTS       10 /* while logs move, so often one session is told all positions */
#define POSITION_BYTES       40 /* of one in a message, at most, without its name */
#define POSITIONS_BYTES_MAX  (200 * 1024) /* of all: members and sums want room, too */
#define SWEEP_MS             5000
#define UNSURE_MS            20000 /* so long live sets are compared more often, */
#define UNSURE_DEEP_MS       4000  /* namely at this interval */

/* Add those of the lives that are over, or of the others. false: no memory, or no more room. */
static bool add_positions(struct gv_gossip *gossip, bool gone, size_t *bytes, Mesh__Position **list,
                          size_t *count)
{
    const struct gv_vector *vector = &gossip->vector;
    for (uint32_t i = 0; i < vector->count; i++) {
        struct gv_origin *origin = vector->origins[i];
        if (origin->applied == 0 || origin->forgotten || (origin->gone_at_ms != 0) != gone) {
            continue;
        }
        *bytes += strlen(origin->name) + POSITION_BYTES;
        Mesh__Position *position = gv_arena_take(&gossip->scratch, sizeof *position);
        if (*bytes > POSITIONS_BYTES_MAX || position == NULL) {
            return false;
        }
        mesh__position__init(position);
        position->node = origin->name;
        position->boot_id = origin->boot_id;
        position->applied = origin->applied;
        position->stamp = origin->stamp;
        position->heard = gv_past_newest(origin);
        position->refused = origin->refused > 0;
        list[*count] = position;
        *count += 1;
    }
    return true;
}

/**
 * All positions above 0 as messages in the scratch arena; NULL: no memory. When they would not fit
 * into one message: of whoever lives, and of some of the gone.
 */
Mesh__Position **gv_repair_positions(struct gv_gossip *gossip, size_t *count)
{
    Mesh__Position **list =
        gv_arena_take(&gossip->scratch, (gossip->vector.count + 1) * sizeof(Mesh__Position *));
    size_t bytes = 0;
    *count = 0;
    if (list != NULL && add_positions(gossip, false, &bytes, list, count)) {
        (void)add_positions(gossip, true, &bytes, list, count);
    }
    return list;
}

/* ---- greeting ----------------------------------------------------------------------------------
 */

/** The first words on a new session. */
void gv_repair_greet(struct gv_gossip *gossip, struct gv_channel *session)
{
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__State state = MESH__STATE__INIT;
    gv_arena_reset(&gossip->scratch);
    uint64_t sums[GV_ROSTER_SUMS];
    session->sent_roster = gossip->peer_count > STATE_WHOLE_MAX;
    uint32_t count = session->sent_roster ? 0 : gossip->peer_count;
    if (session->sent_roster) {
        memcpy(sums, gv_news_sums(gossip), sizeof sums);
        state.roster = sums;
        state.n_roster = GV_ROSTER_SUMS;
    }
    Mesh__Member **members = gv_arena_take(&gossip->scratch, (count + 1) * sizeof *members);
    Mesh__Member *records = gv_arena_take(&gossip->scratch, (count + 1) * sizeof *records);
    Mesh__Address *addrs = gv_arena_take(&gossip->scratch, (count + 1) * sizeof *addrs);
    state.positions = gv_repair_positions(gossip, &state.n_positions);
    if (members == NULL || records == NULL || addrs == NULL || state.positions == NULL) {
        return; /* the peer closes a session that never greets; nothing else is lost */
    }
    for (uint32_t i = 0; i < count; i++) {
        gv_codec_member_out(&gossip->peers[i]->member, gossip->peers[i]->accuser, &addrs[i],
                            &records[i]);
        members[i] = &records[i];
    }
    state.synced = gossip->synced;
    session->announced = gossip->flushed;
    state.published = session->announced;
    state.members = members;
    state.n_members = count;
    message.body_case = MESH__MESSAGE__BODY_STATE;
    message.state = &state;
    gv_wire_send(gossip, session, &message);
    gv_workers_send(gossip, session);
    gv_settings_send(gossip, session);
    gv_records_send_own(gossip, session);
}

/** Do we hear, in session, who runs under this very boot? Then its own digests tell of gaps. */
bool gv_repair_hears(const struct gv_gossip *gossip, const char *name, uint64_t boot_id)
{
    const struct gv_peer *peer = gv_roster_find(gossip, name);
    if (peer == NULL || peer->member.boot_id != boot_id) {
        return false;
    }
    const struct gv_channel *session = gv_channel_of(gossip, peer);
    return peer == gossip->self || (session != NULL && !gv_channel_is_silent(gossip, session));
}

/*
 * Where the peer has more of a log that we cannot have first hand, it is a source of it. Operations
 * come by range, or, where it no longer holds them, by snapshot.
 */
static void want_lacking(struct gv_gossip *gossip, struct gv_channel *session,
                         Mesh__Position *const *positions, size_t count, bool only_gone)
{
    bool relays = gossip->ring.relays;
    for (size_t i = 0; i < count; i++) {
        const Mesh__Position *at = positions[i];
        if (at->boot_id == gossip->self->member.boot_id &&
            strcmp(at->node, gossip->self->member.name) == 0) {
            gv_relay_check_own(gossip, at->applied);
        }
        if (!relays && gv_repair_hears(gossip, at->node, at->boot_id)) {
            continue;
        }
        const struct gv_peer *peer = gv_roster_find(gossip, at->node);
        if (only_gone && !relays && peer != NULL && peer->member.boot_id == at->boot_id &&
            peer->member.status <= GV_MEMBER_SUSPECT && peer->session == NULL) {
            continue; /* it will be in session soon */
        }
        uint32_t heard = gv_past_believe(gossip, at->heard);
        bool is_past = gv_past_has(gossip, at->node, at->boot_id, heard);
        struct gv_origin *origin = is_past ? NULL : gv_past_open(gossip, at->node, at->boot_id);
        if (origin != NULL) {
            gv_past_hear(origin, heard);
            gv_relay_want(gossip, origin, at->applied, session, relays);
        }
    }
}

static void note_own_position(struct gv_gossip *gossip, struct gv_channel *session,
                              const Mesh__State *state)
{
    session->sent = 0;
    if (gossip->ring.relays) {
        session->sent = gossip->flushed; /* what it lacks it asks for */
        return;
    }
    if (!state->synced) {
        session->sent = session->announced; /* it takes a snapshot for what is older */
        return;
    }
    for (size_t i = 0; i < state->n_positions; i++) {
        const Mesh__Position *at = state->positions[i];
        if (at->boot_id == gossip->self->member.boot_id &&
            strcmp(at->node, gossip->self->member.name) == 0) {
            session->sent = at->applied < gossip->flushed ? at->applied : gossip->flushed;
        }
    }
}

void gv_repair_state(struct gv_gossip *gossip, struct gv_channel *session, const Mesh__State *state)
{
    uint64_t id = session->id;
    session->knows_state = true;
    session->peer_synced = state->synced;
    session->expects = gossip->synced ? 0 : state->published;
    note_own_position(gossip, session, state);
    gossip->tree.is_dirty = true;
    gossip->may_be_behind = true;
    if (state->n_roster > 0) {
        gv_news_take_sums(gossip, session, state->roster);
        if (!session->sent_roster) {
            gv_news_send_roster(gossip, session, true);
        }
    }
    for (size_t i = 0; i < state->n_members; i++) {
        gv_roster_merge(gossip, state->members[i]);
    }
    session = gv_channel_find(gossip, id);
    if (session == NULL) {
        return; /* the news of a member ended it */
    }
    if (gossip->synced || gossip->ring.relays) {
        want_lacking(gossip, session, state->positions, state->n_positions, true);
    }
    gv_feed_pump(gossip, session);
}

/* ---- readiness ---------------------------------------------------------------------------------
 */

static void send_digests(struct gv_gossip *gossip, bool deep, bool demand);

/** We have what there is to have; say so to those who wait for a donor. */
void gv_repair_synced(struct gv_gossip *gossip)
{
    if (gossip->synced) {
        return;
    }
    gossip->synced = true;
    struct gv_effect effect = {.kind = GV_EFFECT_READY, .reason = "node.synced"};
    memcpy(effect.node, gossip->self->member.name, sizeof effect.node);
    gv_wire_effect(gossip, &effect);
    send_digests(gossip, false, false);
}

/* Nobody to wait for: no seed but ourselves, and no member known. */
static bool is_alone(const struct gv_gossip *gossip)
{
    if (gossip->peer_count > 1 || (gossip->options.expects_seeds && !gossip->seeds_came)) {
        return false;
    }
    for (uint32_t i = 0; i < gossip->seed_count; i++) {
        if (!gossip->seeds[i].is_self) {
            return false;
        }
    }
    return true;
}

/* All who are there have just started too, and we are the first of them by name. */
static bool leads_newcomers(const struct gv_gossip *gossip)
{
    for (uint32_t i = 0; i < gossip->seed_count; i++) {
        const struct gv_seed *seed = &gossip->seeds[i];
        if (!seed->is_self && !seed->was_tried) {
            return false;
        }
    }
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        const struct gv_peer *peer = gossip->peers[i];
        if (peer == gossip->self || peer->member.status >= GV_MEMBER_DEAD) {
            continue;
        }
        const struct gv_channel *session = gv_channel_of(gossip, peer);
        if (session == NULL || !session->knows_state || session->peer_synced ||
            strcmp(peer->member.name, gossip->self->member.name) < 0) {
            return false;
        }
    }
    return gossip->session_count > 0;
}

/** Have we what there is to have, or whom could we ask? */
void gv_repair_try_to_sync(struct gv_gossip *gossip)
{
    if (gossip->synced || gossip->leaving || gossip->stopped) {
        return;
    }
    if (gossip->now.now_ms >= gossip->started_at_ms + gossip->options.sync_timeout_ms ||
        is_alone(gossip) || leads_newcomers(gossip)) {
        gv_repair_synced(gossip);
        return;
    }
    gv_snapshot_join(gossip);
}

/* ---- digests -----------------------------------------------------------------------------------
 */

static uint64_t read_half(const uint8_t digest[16], uint32_t half)
{
    uint64_t value = 0;
    for (uint32_t byte = 0; byte < 8; byte++) {
        value |= (uint64_t)digest[half * 8 + byte] << (8 * byte);
    }
    return value;
}

/* Where we stand; with `live` (16 bytes of room) also what is live here, made anew when fresh. */
static void make_digest(struct gv_gossip *gossip, uint8_t *live, bool is_fresh,
                        Mesh__Digest *digest)
{
    uint8_t positions[16];
    mesh__digest__init(digest);
    gv_vector_digest(&gossip->vector, positions);
    digest->positions_lo = read_half(positions, 0);
    digest->positions_hi = read_half(positions, 1);
    digest->workers = gv_records_digest(gossip);
    digest->synced = gossip->synced;
    digest->members = gossip->ring.relays ? gv_news_sum(gossip) : 0;
    digest->wall_ms = gossip->now.wall_ms;
    digest->marks = gv_clocks_marks(gossip);
    if (live != NULL) {
        memcpy(live, gv_compare_own(gossip, positions, is_fresh), 16);
        digest->deep.data = live;
        digest->deep.len = 16;
    }
}

static void send_digest(struct gv_gossip *gossip, struct gv_channel *session, Mesh__Digest *digest)
{
    Mesh__Message message = MESH__MESSAGE__INIT;
    message.body_case = MESH__MESSAGE__BODY_DIGEST;
    message.digest = digest;
    digest->sent = gossip->ring.relays ? 0 : session->sent; /* relaying, announcements tell */
    gv_wire_send(gossip, session, &message);
}

static void send_digests(struct gv_gossip *gossip, bool deep, bool demand)
{
    Mesh__Digest digest;
    uint8_t live[16];
    if (gossip->session_count == 0) {
        return;
    }
    make_digest(gossip, deep ? live : NULL, true, &digest);
    digest.demand = deep && demand;
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        if (gossip->sessions[i]->knows_state) {
            send_digest(gossip, gossip->sessions[i], &digest);
        }
    }
}

/* The peer refused something once and wants to hear that its live set is ours again; or it is not,
 * and the peer shall send its sums, too: a key that we do not have is in none of ours. With
 * `demand` it is we who want to hear that. */
static void confirm(struct gv_gossip *gossip, struct gv_channel *session, bool demand)
{
    Mesh__Digest digest;
    uint8_t live[16];
    make_digest(gossip, live, false, &digest); /* asked many times, walked once */
    digest.demand = demand;
    send_digest(gossip, session, &digest);
}

/** Everybody shall compare its live set with ours now, and mend what differs. */
void gv_repair_demand_comparison(struct gv_gossip *gossip)
{
    send_digests(gossip, true, true);
}

static void send_vector(struct gv_gossip *gossip, struct gv_channel *session, bool is_answer)
{
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__Vector vector = MESH__VECTOR__INIT;
    gv_arena_reset(&gossip->scratch);
    vector.positions = gv_repair_positions(gossip, &vector.n_positions);
    vector.answer = is_answer;
    if (vector.positions == NULL) {
        return;
    }
    message.body_case = MESH__MESSAGE__BODY_VECTOR;
    message.vector = &vector;
    gv_wire_send(gossip, session, &message);
}

/* The peer says how far its own log has gone to us: anything less here is a loss. */
static void check_gap(struct gv_gossip *gossip, struct gv_channel *session, uint64_t sent)
{
    const struct gv_origin *origin =
        gv_vector_find(&gossip->vector, session->peer->member.name, session->boot_id);
    uint64_t applied = origin == NULL ? 0 : origin->applied;
    if (sent > applied && !gv_snapshot_is_taking(gossip) && gossip->synced) {
        gv_feed_ask(gossip, session, applied + 1, sent);
    }
}

static void compare_rosters(struct gv_gossip *gossip, struct gv_channel *session, uint64_t members)
{
    if (members == 0 || !gossip->ring.relays || members == gv_news_sum(gossip)) {
        session->roster_misses = 0;
        return;
    }
    session->roster_misses += 1;
    if (session->roster_misses >= MISSES_BEFORE_REPAIR) {
        session->roster_misses = 0;
        gv_news_send_roster(gossip, session, false);
    }
}

void gv_repair_digest(struct gv_gossip *gossip, struct gv_channel *session,
                      const Mesh__Digest *digest)
{
    session->peer_synced = digest->synced;
    check_gap(gossip, session, digest->sent);
    uint8_t positions[16];
    gv_vector_digest(&gossip->vector, positions);
    bool same = digest->positions_lo == read_half(positions, 0) &&
                digest->positions_hi == read_half(positions, 1);
    bool same_workers = digest->workers == gv_records_digest(gossip);
    gv_clocks_hear(gossip, session, digest->wall_ms);
    bool marked = digest->marks != 0 || gv_clocks_marks(gossip) != 0;
    if (digest->deep.len == 16 && (same || (digest->demand && marked))) {
        bool equal = gv_compare_digest(gossip, session, digest, positions);
        if (equal && same) {
            gv_clocks_agreed(gossip, session, digest->marks);
        }
        if (digest->demand && (!equal || digest->marks != 0)) {
            confirm(gossip, session, false);
        }
    }
    if (gv_clocks_may_settle(gossip, session, digest)) {
        confirm(gossip, session, true);
    }
    compare_rosters(gossip, session, digest->members);
    bool is_moving = gossip->ring.relays && !gossip->is_quiet; /* announcements tell, meanwhile */
    if ((same || is_moving) && same_workers) {
        session->misses = 0;
        return;
    }
    session->misses += 1;
    if (session->misses < MISSES_BEFORE_REPAIR) {
        return;
    }
    session->misses = 0;
    gossip->counters.repairs += 1;
    if (!same_workers) {
        gv_workers_send(gossip, session);
        gv_settings_send(gossip, session);
    }
    if (!same) {
        send_vector(gossip, session, false);
    }
}

void gv_repair_vector(struct gv_gossip *gossip, struct gv_channel *session,
                      const Mesh__Vector *vector)
{
    if (gossip->synced) {
        want_lacking(gossip, session, vector->positions, vector->n_positions, false);
    }
    if (!vector->answer) {
        send_vector(gossip, session, true);
    }
}

/*
 * Have the logs stood still since the last digest? Then digests that differ mean something is
 * missing. While they move, announcements tell; and now and then one session is told everything,
 * in case an answer to one was lost.
 */
static void note_quiet(struct gv_gossip *gossip)
{
    gv_vector_settle(&gossip->vector);
    gossip->is_quiet = gossip->vector.round == gossip->digest_round;
    gossip->digest_round = gossip->vector.round;
    gossip->digest_count += 1;
    if (!gossip->is_quiet && gossip->session_count > 0 &&
        gossip->digest_count % RETELL_DIGESTS == 0) {
        uint64_t turn = gossip->digest_count / RETELL_DIGESTS;
        gossip->sessions[turn % gossip->session_count]->told_round = 0;
    }
}

/*
 * Every peer sends a digest a second. Whose datagrams come while its session brings nothing whole
 * is fed a byte at a time, waits for the end of a frame whose length was damaged, or lost its way:
 * the session is opened anew. Asked, a peer that hears us answers by datagram.
 */
static bool is_stuck(struct gv_gossip *gossip, const struct gv_channel *session)
{
    uint64_t late_ms = session->heard_at_ms + GV_STUCK_SESSION_MS;
    if (gossip->now.now_ms < late_ms) {
        return false;
    }
    if (session->peer->member.last_contact_ms < late_ms) {
        gv_detector_probe_now(gossip, session->peer);
        return gossip->now.now_ms >= session->heard_at_ms + GV_SILENT_SESSION_MS;
    }
    return true;
}

static void close_silent(struct gv_gossip *gossip)
{
    for (uint32_t i = gossip->session_count; i-- > 0 && gossip->now.now_ms >= gossip->mute_until;) {
        struct gv_channel *session = gossip->sessions[i];
        if (is_stuck(gossip, session)) {
            gossip->counters.sessions_silent += 1;
            gv_channel_close(gossip, session, "silent");
        }
    }
}

/**
 * A donor is gone that gave us entries: what it gave beyond its positions, nobody may ever tell the
 * others. Or a comparison gave us some, or a log ends above a gap that cannot be closed. The next
 * comparisons find who else lacks them; let that be soon.
 */
void gv_repair_unsure(struct gv_gossip *gossip)
{
    uint64_t soon_ms = gossip->now.now_ms + gossip->options.digest_interval_ms;
    gossip->unsure_until_ms = gossip->now.now_ms + UNSURE_MS;
    gossip->deep_at_ms = gossip->deep_at_ms < soon_ms ? gossip->deep_at_ms : soon_ms;
}

void gv_repair_tick(struct gv_gossip *gossip)
{
    uint64_t now_ms = gossip->now.now_ms;
    if (gossip->leaving || gossip->stopped) {
        return;
    }
    if (now_ms >= gossip->digest_at_ms) {
        gossip->digest_at_ms = now_ms + gossip->options.digest_interval_ms;
        bool deep = now_ms >= gossip->deep_at_ms;
        bool is_unsure = now_ms < gossip->unsure_until_ms;
        if (deep) {
            gossip->deep_at_ms = now_ms + (is_unsure ? UNSURE_DEEP_MS : GV_DEEP_DIGEST_MS);
        }
        note_quiet(gossip);
        bool demand = gv_clocks_want_comparison(gossip) || (deep && is_unsure);
        send_digests(gossip, deep || demand, demand);
        close_silent(gossip);
    }
    if (now_ms >= gossip->sweep_at_ms) {
        gossip->sweep_at_ms = now_ms + SWEEP_MS;
        gv_roster_sweep(gossip);
        gv_past_sweep(gossip);
    }
}

uint64_t gv_repair_wake_at(const struct gv_gossip *gossip)
{
    uint64_t at =
        gossip->digest_at_ms < gossip->sweep_at_ms ? gossip->digest_at_ms : gossip->sweep_at_ms;
    uint64_t sync_ms = gossip->started_at_ms + gossip->options.sync_timeout_ms;
    return !gossip->synced && sync_ms < at ? sync_ms : at;
}
