/*
 * records.c - loads and opinions on their way. Private to gossip, see machine.h.
 *
 * They go one step, from their node to everyone in session; relaying, they go along the tree, and
 * what each node has said is announced once a second, so that what was lost is asked for (relay.c).
 */
#include "grapevine/base/assert.h"
#include "machine.h"

#define REFRESH_MS                   1000
#define LOAD_INTERVAL_PER_SESSION_MS 2   /* three nodes: every 6 ms */
#define WAY_LOOK_MAX                 512 /* rows of a node that are looked at for one that may go */

/** Deleted records of versions below this are forgotten. */
uint64_t gv_records_expiry_ms(const struct gv_gossip *gossip)
{
    uint64_t keep_ms = (uint64_t)gossip->options.forget_after_s * 1000;
    return gossip->now.wall_ms > keep_ms ? gossip->now.wall_ms - keep_ms : 0;
}

uint64_t gv_records_digest(const struct gv_gossip *gossip)
{
    return gv_worker_table_digest(&gossip->workers, gv_records_expiry_ms(gossip)) +
           gv_settings_digest(gossip);
}

/* ---- loads and opinions of this node -----------------------------------------------------------
 */

static bool differs_enough(const struct gv_saying *row)
{
    if (row->count != row->sent_count || row->report.at_ms != row->sent_report_ms ||
        row->learned.trust != row->sent_trust) {
        return true;
    }
    uint64_t low = row->bytes < row->sent_bytes ? row->bytes : row->sent_bytes;
    uint64_t high = row->bytes < row->sent_bytes ? row->sent_bytes : row->bytes;
    return high - low > row->sent_bytes / 20;
}

/* A report as it travels; NULL without one, or without memory: the load goes without it. */
static Mesh__EngineReport *report_out(struct gv_gossip *gossip, const struct gv_gossip_report *from)
{
    Mesh__EngineReport *report =
        from->at_ms == 0 ? NULL : gv_arena_take(&gossip->scratch, sizeof *report);
    if (report == NULL) {
        return NULL;
    }
    uint64_t now_ms = gossip->now.now_ms;
    uint64_t age_ms = now_ms > from->at_ms ? now_ms - from->at_ms : 0;
    mesh__engine_report__init(report);
    report->age_ms = age_ms < UINT32_MAX ? (uint32_t)age_ms : UINT32_MAX;
    report->running = from->running;
    report->waiting = from->waiting;
    report->foreign = from->foreign;
    report->usage = from->usage_permille <= 1000 ? from->usage_permille + 1 : 0;
    report->used_tokens = from->used_tokens;
    return report;
}

static struct gv_gossip_report report_in(const struct gv_gossip *gossip,
                                         const Mesh__EngineReport *from)
{
    struct gv_gossip_report report = {.usage_permille = GV_GOSSIP_USAGE_UNKNOWN};
    if (from == NULL) {
        return report;
    }
    uint64_t now_ms = gossip->now.now_ms;
    report.at_ms = now_ms > from->age_ms ? now_ms - from->age_ms : 1;
    report.running = from->running;
    report.waiting = from->waiting;
    report.foreign = from->foreign;
    report.usage_permille =
        from->usage >= 1 && from->usage <= 1001 ? from->usage - 1 : GV_GOSSIP_USAGE_UNKNOWN;
    report.used_tokens = from->used_tokens;
    return report;
}

static bool has_learned(const struct gv_gossip_learned *learned)
{
    return learned->prefill_bytes > 0 || learned->forecasts > 0 || learned->trust > 0;
}

/* What was learned as it travels; NULL with nothing to say, or without memory. */
static Mesh__Learned *learned_out(struct gv_gossip *gossip, const struct gv_gossip_learned *from)
{
    Mesh__Learned *learned =
        has_learned(from) ? gv_arena_take(&gossip->scratch, sizeof *learned) : NULL;
    if (learned == NULL) {
        return NULL;
    }
    mesh__learned__init(learned);
    learned->prefill_bytes = from->prefill_bytes;
    learned->prefill_us = from->prefill_us;
    learned->forecasts = from->forecasts;
    learned->predicted = from->predicted;
    learned->reported = from->reported;
    learned->trust = from->trust;
    return learned;
}

static struct gv_gossip_learned learned_in(const Mesh__Learned *from)
{
    if (from == NULL) {
        return (struct gv_gossip_learned){.trust = 0};
    }
    return (struct gv_gossip_learned){.prefill_bytes = from->prefill_bytes,
                                      .prefill_us = from->prefill_us,
                                      .forecasts = from->forecasts,
                                      .predicted = from->predicted,
                                      .reported = from->reported,
                                      .trust = from->trust};
}

/* What is said of the load, as it travels, borrowing from the row. NULL: no memory. */
static Mesh__Load *load_out(struct gv_gossip *gossip, struct gv_saying *row)
{
    Mesh__Load *load = gv_arena_take(&gossip->scratch, sizeof *load);
    if (load != NULL) {
        mesh__load__init(load);
        load->worker = row->url;
        load->count = row->count;
        load->bytes = row->bytes;
        load->prompt_bytes = row->prompt_bytes;
        load->prompt_tokens = row->prompt_tokens;
        load->report = report_out(gossip, &row->report);
        load->learned = learned_out(gossip, &row->learned);
    }
    return load;
}

/* What is thought of the worker, as it travels, borrowing from the row. NULL: no memory. */
static Mesh__Health *health_out(struct gv_gossip *gossip, struct gv_saying *row)
{
    Mesh__Health *health = gv_arena_take(&gossip->scratch, sizeof *health);
    if (health != NULL) {
        mesh__health__init(health);
        health->worker = row->url;
        health->state = row->state;
        health->since_ms = row->since_ms;
        health->reason = row->reason;
    }
    return health;
}

static size_t load_bytes(const Mesh__Load *load)
{
    return strlen(load->worker) + (load->learned != NULL ? 140 : 80);
}

/* Rows [*at, ...) that are wanted, up to a message full; false: none left. */
static bool fill(struct gv_gossip *gossip, uint32_t *at, bool all, bool fresh_session,
                 Mesh__NodeState *state)
{
    struct gv_sayings *own = &gossip->own_sayings;
    size_t bytes = 0;
    state->loads = gv_arena_take(&gossip->scratch, GV_NODE_STATE_MAX * sizeof(Mesh__Load *));
    state->healths = gv_arena_take(&gossip->scratch, GV_NODE_STATE_MAX * sizeof(Mesh__Health *));
    if (state->loads == NULL || state->healths == NULL) {
        return false;
    }
    for (; *at < own->count && state->n_loads < GV_NODE_STATE_MAX &&
           state->n_healths < GV_NODE_STATE_MAX && bytes < GV_WORKERS_BYTES;
         (*at)++) {
        struct gv_saying *row = own->rows[*at];
        bool busy = row->count > 0 || row->bytes > 0;
        if (row->has_load && (row->load_waits || fresh_session || (all && busy))) {
            Mesh__Load *load = load_out(gossip, row);
            if (load == NULL) {
                return false;
            }
            state->loads[state->n_loads++] = load;
            bytes += load_bytes(load);
            if (!fresh_session) {
                row->load_waits = false;
                row->sent_count = row->count;
                row->sent_bytes = row->bytes;
                row->sent_report_ms = row->report.at_ms;
                row->sent_trust = row->learned.trust;
            }
        }
        if (row->has_health && (row->health_waits || fresh_session)) {
            Mesh__Health *health = health_out(gossip, row);
            if (health == NULL) {
                return false;
            }
            state->healths[state->n_healths++] = health;
            bytes += strlen(row->url) + strlen(row->reason) + 20;
            row->health_waits = row->health_waits && fresh_session;
        }
    }
    return state->n_loads + state->n_healths > 0;
}

/* To one session all that is not zero; to all sessions what waits, and `all` what is not zero. */
static void say(struct gv_gossip *gossip, struct gv_channel *session, bool all)
{
    uint32_t at = 0;
    while (at < gossip->own_sayings.count) {
        Mesh__Message message = MESH__MESSAGE__INIT;
        Mesh__NodeState state = MESH__NODE_STATE__INIT;
        gv_arena_reset(&gossip->scratch);
        if (!fill(gossip, &at, all, session != NULL, &state)) {
            return;
        }
        if (session == NULL || gossip->say_sequence == 0) {
            gv_records_said(gossip, gossip->self, ++gossip->say_sequence);
        }
        state.sequence = gossip->say_sequence;
        state.whole = session != NULL && at == gossip->own_sayings.count;
        if (gossip->ring.relays) {
            state.node = gossip->self->member.name;
            state.boot_id = gossip->self->member.boot_id;
        }
        message.body_case = MESH__MESSAGE__BODY_NODE_STATE;
        message.node_state = &state;
        if (session != NULL) {
            gv_wire_send(gossip, session, &message);
        } else {
            gv_wire_broadcast_eager(gossip, &message, NULL);
        }
    }
}

void gv_records_send_own(struct gv_gossip *gossip, struct gv_channel *session)
{
    say(gossip, session, true);
}

/* Stale loads make routers pile onto the same worker, so a few nodes tell theirs as fast as
 * operations travel; many nodes less often, for everything one tells all must read: each of 1,000
 * every 250 ms. */
static uint64_t load_interval(const struct gv_gossip *gossip)
{
    uint64_t active = gossip->counts.active;
    if (gossip->ring.relays && active > gossip->options.load_interval_ms * 4) {
        return active / 4;
    }
    uint64_t interval_ms = (uint64_t)LOAD_INTERVAL_PER_SESSION_MS * (gossip->session_count + 1);
    return interval_ms < gossip->options.load_interval_ms ? interval_ms
                                                          : gossip->options.load_interval_ms;
}

static bool has_waiting(const struct gv_gossip *gossip, bool *busy)
{
    bool waiting = false;
    *busy = false;
    for (uint32_t i = 0; i < gossip->own_sayings.count; i++) {
        const struct gv_saying *row = gossip->own_sayings.rows[i];
        waiting = waiting || row->load_waits || row->health_waits;
        *busy = *busy || row->count > 0 || row->bytes > 0;
    }
    return waiting;
}

void gv_records_tick(struct gv_gossip *gossip)
{
    uint64_t now_ms = gossip->now.now_ms;
    bool busy;
    bool waiting = has_waiting(gossip, &busy);
    bool refresh = busy && now_ms >= gossip->loads_refresh_at_ms;
    bool due = now_ms >= gossip->loads_sent_at_ms + load_interval(gossip);
    if (refresh || (waiting && due)) {
        if (refresh) {
            gossip->loads_refresh_at_ms = now_ms + REFRESH_MS;
        }
        gossip->loads_sent_at_ms = now_ms;
        say(gossip, NULL, refresh);
    }
    gv_worker_table_expire(&gossip->workers, gv_records_expiry_ms(gossip));
}

uint64_t gv_records_wake_at(const struct gv_gossip *gossip)
{
    bool busy;
    uint64_t at = GV_NEVER_MS;
    if (has_waiting(gossip, &busy)) {
        at = gossip->loads_sent_at_ms + load_interval(gossip);
    }
    if (busy && gossip->loads_refresh_at_ms < at) {
        at = gossip->loads_refresh_at_ms;
    }
    return at;
}

void gv_gossip_set_load(struct gv_gossip *gossip, const struct gv_gossip_load *load,
                        struct gv_now now)
{
    gossip->now = now;
    gv_outbox_begin(&gossip->outbox);
    struct gv_saying *row = gv_sayings_open(&gossip->own_sayings, load->worker);
    if (row == NULL) {
        return;
    }
    row->has_load = true;
    row->count = load->count;
    row->bytes = load->bytes;
    row->report = load->report;
    row->prompt_bytes = load->prompt_bytes;
    row->prompt_tokens = load->prompt_tokens;
    row->learned = load->learned;
    row->load_waits = differs_enough(row);
    gossip->holds_something = gossip->holds_something || row->load_waits;
    if (row->load_waits && !gossip->is_holding &&
        now.now_ms >= gossip->loads_sent_at_ms + load_interval(gossip)) {
        gv_records_tick(gossip);
    }
}

void gv_gossip_set_health(struct gv_gossip *gossip, const struct gv_gossip_health *health,
                          struct gv_now now)
{
    gossip->now = now;
    gv_outbox_begin(&gossip->outbox);
    struct gv_saying *row = gv_sayings_open(&gossip->own_sayings, health->worker);
    if (row == NULL) {
        return;
    }
    bool same = row->has_health && row->state == health->state &&
                row->since_ms == health->since_ms && gv_slice_is(health->reason, row->reason);
    row->has_health = true;
    row->state = health->state;
    row->since_ms = health->since_ms;
    (void)gv_slice_copy_text(health->reason, row->reason, sizeof row->reason);
    row->health_waits = row->health_waits || !same;
    if (row->health_waits) {
        gossip->loads_sent_at_ms = 0; /* opinions do not wait */
        gossip->holds_something = true;
        if (!gossip->is_holding) {
            gv_records_tick(gossip);
        }
    }
}

/* ---- of other nodes ----------------------------------------------------------------------------
 */

static void tell_load(struct gv_gossip *gossip, const struct gv_peer *peer,
                      const struct gv_saying *row)
{
    struct gv_gossip_load load = {.worker = gv_slice_text(row->url),
                                  .count = row->count,
                                  .bytes = row->bytes,
                                  .report = row->report,
                                  .prompt_bytes = row->prompt_bytes,
                                  .prompt_tokens = row->prompt_tokens,
                                  .learned = row->learned};
    if (gossip->store.load_changed != NULL) {
        gossip->store.load_changed(gossip->store.owner, peer->member.name, &load);
    }
}

static void unsay_load(struct gv_gossip *gossip, const struct gv_peer *peer, struct gv_saying *row)
{
    row->count = 0;
    row->bytes = 0;
    row->report = (struct gv_gossip_report){.at_ms = 0};
    row->prompt_bytes = 0;
    row->prompt_tokens = 0;
    row->learned = (struct gv_gossip_learned){.trust = 0};
    if (row->has_load) {
        tell_load(gossip, peer, row);
    }
}

static void tell_health(struct gv_gossip *gossip, const struct gv_peer *peer,
                        const struct gv_saying *row)
{
    struct gv_gossip_health health = {.worker = gv_slice_text(row->url),
                                      .state = row->state,
                                      .since_ms = row->since_ms,
                                      .reason = gv_slice_text(row->reason)};
    if (gossip->store.health_changed != NULL) {
        gossip->store.health_changed(gossip->store.owner, peer->member.name, &health);
    }
}

/* What a node may say however much the others do: an equal share of the room, so that no member's
 * many words leave an honest one without. */
static uint32_t fair_share(struct gv_gossip *gossip)
{
    uint32_t share = gossip->options.sayings_max / gossip->counts.active;
    return share > GV_SAYINGS_FAIR ? share : GV_SAYINGS_FAIR;
}

/* Beyond its share: a row in which the node says that it has nothing there (a worker that is gone,
 * mostly) makes way for what it says now. */
static bool make_way(struct gv_gossip *gossip, struct gv_peer *peer, uint64_t sequence)
{
    struct gv_sayings *sayings = &peer->sayings;
    uint32_t most = sayings->count < WAY_LOOK_MAX ? sayings->count : WAY_LOOK_MAX;
    for (uint32_t i = 0; i < most; i++, sayings->hand++) {
        uint32_t at = sayings->hand % sayings->count;
        struct gv_saying *row = sayings->rows[at];
        bool is_old = row->load_sequence < sequence && row->health_sequence < sequence;
        if (is_old && row->count == 0 && row->bytes == 0) {
            unsay_load(gossip, peer, row);
            gv_sayings_remove(sayings, at);
            gossip->said_rows -= 1;
            return true;
        }
    }
    return false;
}

/* The row of `url`, made when missing. NULL: no room among all that others say, or no memory. */
static struct gv_saying *open_row(struct gv_gossip *gossip, struct gv_peer *peer,
                                  struct gv_slice url, uint64_t sequence)
{
    struct gv_saying *row = gv_sayings_find(&peer->sayings, url);
    if (row != NULL) {
        return row;
    }
    bool is_full = peer->sayings.count >= GV_RECORDS_MAX ||
                   (gossip->said_rows >= gossip->options.sayings_max &&
                    peer->sayings.count >= fair_share(gossip));
    if (!is_full || make_way(gossip, peer, sequence)) {
        row = gv_sayings_open(&peer->sayings, url);
    }
    gossip->said_rows += row != NULL;
    gossip->counters.records_refused += row == NULL;
    return row;
}

static void take_load(struct gv_gossip *gossip, struct gv_peer *peer, const Mesh__Load *load,
                      uint64_t sequence)
{
    struct gv_saying *row = open_row(gossip, peer, gv_slice_text(load->worker), sequence);
    if (row == NULL || sequence <= row->load_sequence) {
        return;
    }
    bool same = row->has_load && row->count == load->count && row->bytes == load->bytes &&
                row->prompt_bytes == load->prompt_bytes &&
                row->prompt_tokens == load->prompt_tokens && load->report == NULL &&
                load->learned == NULL && !has_learned(&row->learned);
    row->load_sequence = sequence;
    row->has_load = true;
    row->count = load->count;
    row->bytes = load->bytes;
    row->report = report_in(gossip, load->report);
    row->prompt_bytes = load->prompt_bytes;
    row->prompt_tokens = load->prompt_tokens;
    row->learned = learned_in(load->learned);
    if (!same) {
        tell_load(gossip, peer, row);
    }
}

static void take_health(struct gv_gossip *gossip, struct gv_peer *peer, const Mesh__Health *health,
                        uint64_t sequence)
{
    struct gv_saying *row = open_row(gossip, peer, gv_slice_text(health->worker), sequence);
    if (row == NULL || sequence <= row->health_sequence) {
        return;
    }
    row->health_sequence = sequence;
    row->has_health = true;
    row->state = (uint8_t)health->state;
    row->since_ms = health->since_ms;
    (void)gv_slice_copy_text(gv_slice_text(health->reason), row->reason, sizeof row->reason);
    tell_health(gossip, peer, row);
}

void gv_records_take_node_state(struct gv_gossip *gossip, struct gv_channel *session,
                                const Mesh__NodeState *state)
{
    bool is_own = state->node[0] == '\0';
    struct gv_peer *peer = is_own ? session->peer : gv_roster_find(gossip, state->node);
    uint64_t boot_id = is_own ? session->boot_id : state->boot_id;
    if (peer == NULL || peer == gossip->self || boot_id != peer->member.boot_id) {
        return; /* of a former life */
    }
    if (peer->member.status >= GV_MEMBER_DEAD) {
        if (peer == session->peer) {
            gv_relay_missed(gossip, session, state->sequence);
        }
        return;
    }
    if (!gv_relay_may_say(gossip, session, peer)) {
        gv_proof_refuse(gossip, peer->member.name, NULL);
        return;
    }
    bool follows = state->whole || state->sequence == peer->said + 1;
    if (follows && state->sequence > peer->said) {
        gv_records_said(gossip, peer, state->sequence);
    }
    if (state->whole && peer == session->peer) {
        peer->said_wanted = 0; /* more there is not, whatever others announce */
    }
    if (state->sequence > peer->heard_said) {
        peer->heard_said = state->sequence;
        if (gossip->ring.relays && !is_own && !state->whole) {
            gv_wire_pass_on(gossip, gossip->in_hand, session);
        }
    }
    for (size_t i = 0; i < state->n_loads; i++) {
        take_load(gossip, peer, state->loads[i], state->sequence);
    }
    for (size_t i = 0; i < state->n_healths; i++) {
        take_health(gossip, peer, state->healths[i], state->sequence);
    }
}

/** All that the node has said up to here is known. */
void gv_records_said(struct gv_gossip *gossip, struct gv_peer *peer, uint64_t said)
{
    peer->said = said;
    peer->said_round = ++gossip->said_round;
}

/* Rows [*at, ...) of what a node said, up to a message full. */
static bool fill_said(struct gv_gossip *gossip, const struct gv_sayings *sayings, uint32_t *at,
                      Mesh__NodeState *state)
{
    state->loads = gv_arena_take(&gossip->scratch, GV_NODE_STATE_MAX * sizeof *state->loads);
    state->healths = gv_arena_take(&gossip->scratch, GV_NODE_STATE_MAX * sizeof *state->healths);
    if (state->loads == NULL || state->healths == NULL) {
        return false;
    }
    size_t bytes = 0;
    for (; *at < sayings->count && state->n_loads < GV_NODE_STATE_MAX &&
           state->n_healths < GV_NODE_STATE_MAX && bytes < GV_WORKERS_BYTES;
         (*at)++) {
        struct gv_saying *row = sayings->rows[*at];
        bytes += strlen(row->url) + strlen(row->reason) + 40;
        if (row->has_load) {
            Mesh__Load *load = load_out(gossip, row);
            if (load == NULL) {
                return false;
            }
            state->loads[state->n_loads++] = load;
            bytes += load_bytes(load);
        }
        if (row->has_health) {
            Mesh__Health *health = health_out(gossip, row);
            if (health == NULL) {
                return false;
            }
            state->healths[state->n_healths++] = health;
        }
    }
    return true;
}

/** The peer lacks something of what a node has said: it gets all of it that we know. */
void gv_records_send_said(struct gv_gossip *gossip, struct gv_channel *session,
                          const Mesh__StateRequest *request)
{
    struct gv_peer *peer = gv_roster_find_boot(gossip, request->boot_id);
    if (peer == NULL) {
        return;
    }
    const struct gv_sayings *sayings = peer == gossip->self ? &gossip->own_sayings : &peer->sayings;
    uint32_t at = 0;
    do {
        Mesh__Message message = MESH__MESSAGE__INIT;
        Mesh__NodeState state = MESH__NODE_STATE__INIT;
        gv_arena_reset(&gossip->scratch);
        if (!fill_said(gossip, sayings, &at, &state)) {
            return;
        }
        state.sequence = peer->said;
        state.whole = at == sayings->count;
        state.node = peer->member.name;
        state.boot_id = peer->member.boot_id;
        message.body_case = MESH__MESSAGE__BODY_NODE_STATE;
        message.node_state = &state;
        gv_wire_send(gossip, session, &message);
    } while (at < sayings->count);
}

/** Others thought us gone, and dropped what we said. */
void gv_records_say_again(struct gv_gossip *gossip)
{
    for (uint32_t i = 0; i < gossip->own_sayings.count; i++) {
        struct gv_saying *row = gossip->own_sayings.rows[i];
        row->load_waits = row->load_waits || row->has_load;
        row->health_waits = row->health_waits || row->has_health;
    }
}

/** The node is gone: what it said goes too. */
void gv_records_vanish(struct gv_gossip *gossip, struct gv_peer *peer)
{
    for (uint32_t i = 0; i < peer->sayings.count; i++) {
        struct gv_saying *row = peer->sayings.rows[i];
        row->state = 0;
        row->since_ms = 0;
        row->reason[0] = '\0';
        unsay_load(gossip, peer, row);
        if (row->has_health) {
            tell_health(gossip, peer, row);
        }
    }
    peer->said = 0;
    peer->heard_said = 0;
    peer->said_wanted = 0;
    gv_records_drop(gossip, peer);
}

/** What it said is not kept any more. */
void gv_records_drop(struct gv_gossip *gossip, struct gv_peer *peer)
{
    GV_ASSERT(gossip->said_rows >= peer->sayings.count);
    gossip->said_rows -= peer->sayings.count;
    gv_sayings_deinit(&peer->sayings);
    gv_sayings_init(&peer->sayings);
}
