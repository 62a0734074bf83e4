/*
 * feed.c - operations on their way: batches out and in, ranges, gaps. Private, see machine.h.
 *
 * Each session remembers how far our log has gone over it (`sent`). Whoever is at the end gets each
 * new batch at once; whoever is behind (new, slow, or it lost something) is fed from the ring as
 * its queue allows, and when the ring has moved on it is told to take a snapshot.
 */
#include "grapevine/base/assert.h"
#include "machine.h"

#define ASK_SPACING_MS    1000
#define PUMP_MESSAGES_MAX 16 /* per session and event */

/* Pack from `first` on and return the last sequence in it; 0: no memory. */
static uint64_t make_batch(struct gv_gossip *gossip, uint64_t first, uint64_t last,
                           size_t max_bytes, Mesh__Batch *batch)
{
    gv_arena_reset(&gossip->scratch);
    mesh__batch__init(batch);
    batch->origin = gossip->self->member.name;
    batch->boot_id = gossip->self->member.boot_id;
    return gv_oplog_pack(&gossip->log, &gossip->scratch, first, last, max_bytes, batch);
}

/** Offer what is new to all: when the interval is over, enough has come together, or at once. */
void gv_feed_flush(struct gv_gossip *gossip, bool at_once)
{
    struct gv_oplog *log = &gossip->log;
    if (gossip->flushed + 1 < log->oldest) {
        gossip->flushed = log->oldest - 1; /* a ring smaller than a batch: they will find a gap */
    }
    while (gossip->flushed < log->last) {
        uint64_t first = gossip->flushed + 1;
        bool due = at_once ||
                   gossip->now.now_ms >= gossip->flushed_at_ms + gossip->options.batch_interval_ms;
        size_t enough = gossip->options.batch_bytes;
        if (!due && gv_oplog_bytes_from(log, first, enough) < enough) {
            return;
        }
        Mesh__Message message = MESH__MESSAGE__INIT;
        Mesh__Batch batch;
        uint64_t last = make_batch(gossip, first, log->last, enough, &batch);
        if (last == 0) {
            return; /* no memory: at the next event */
        }
        message.body_case = MESH__MESSAGE__BODY_BATCH;
        message.batch = &batch;
        gv_wire_broadcast_batch(gossip, &message, gossip->flushed, last);
        gossip->flushed = last;
        gv_origin_touch(gossip->own); /* to be announced */
        gossip->may_be_behind = true;
        gossip->flushed_at_ms = gossip->now.now_ms;
    }
}

uint64_t gv_feed_wake_at(const struct gv_gossip *gossip)
{
    uint64_t at = GV_NEVER_MS;
    if (gossip->flushed < gossip->log.last) {
        at = gossip->flushed_at_ms + gossip->options.batch_interval_ms;
    }
    for (uint32_t i = 0; gossip->may_be_behind && i < gossip->session_count; i++) {
        const struct gv_channel *session = gossip->sessions[i];
        if (gv_feed_is_behind(gossip, session) && session->queued < GV_PACE_BYTES) {
            return gossip->now.now_ms < at ? gossip->now.now_ms : at;
        }
    }
    return at;
}

/** Does the session wait for something that is not new? */
bool gv_feed_is_behind(const struct gv_gossip *gossip, const struct gv_channel *session)
{
    return session->knows_state && (session->range_next != 0 || session->giving.active ||
                                    session->mending.active || session->sent < gossip->flushed);
}

static void say_gone(struct gv_gossip *gossip, struct gv_channel *session)
{
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__RangeGone gone = MESH__RANGE_GONE__INIT;
    gone.boot_id = gossip->self->member.boot_id;
    gone.oldest = gossip->log.oldest;
    message.body_case = MESH__MESSAGE__BODY_RANGE_GONE;
    message.range_gone = &gone;
    gv_wire_send(gossip, session, &message);
}

/* Send one message of our log from *next to `last`; false: nothing more can be done now. */
static bool send_range(struct gv_gossip *gossip, struct gv_channel *session, uint64_t *next,
                       uint64_t last)
{
    if (*next < gossip->log.oldest) {
        say_gone(gossip, session);
        *next = last + 1;
        return true;
    }
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__Batch batch;
    uint64_t reached = make_batch(gossip, *next, last, GV_RANGE_BYTES, &batch);
    if (reached == 0) {
        return false;
    }
    message.body_case = MESH__MESSAGE__BODY_BATCH;
    message.batch = &batch;
    gv_wire_send(gossip, session, &message);
    gossip->counters.ranges_sent += 1;
    *next = reached + 1;
    return true;
}

/** Feed a session that is behind, as far as its queue allows. */
void gv_feed_pump(struct gv_gossip *gossip, struct gv_channel *session)
{
    if (!gv_feed_is_behind(gossip, session)) {
        return;
    }
    for (uint32_t i = 0; i < PUMP_MESSAGES_MAX && gv_channel_backlog(session) < GV_PACE_BYTES;
         i++) {
        if (session->range_next != 0) {
            if (!send_range(gossip, session, &session->range_next, session->range_last)) {
                return;
            }
            if (session->range_next > session->range_last) {
                session->range_next = 0;
                session->range_last = 0;
            }
        } else if (session->sent < gossip->flushed) {
            uint64_t next = session->sent + 1;
            if (!send_range(gossip, session, &next, gossip->flushed)) {
                return;
            }
            session->sent = next - 1;
        } else {
            break;
        }
    }
    gv_snapshot_pump(gossip, session);
}

/* ---- in ----------------------------------------------------------------------------------------
 */

/** Hand one remote operation to the store. `origin` may be NULL (a snapshot's), then without a
 * sequence.
 */
void gv_feed_apply(struct gv_gossip *gossip, struct gv_origin *origin, uint64_t sequence,
                   const struct gv_gossip_operation *operation)
{
    if (gv_clocks_is_ahead(gossip, operation->stamp)) {
        gv_clocks_refuse(gossip, origin);
        return;
    }
    if (origin != NULL) {
        gv_origin_stamp(origin, sequence, operation->stamp);
    }
    gossip->store.apply(gossip->store.owner, operation);
}

static bool is_from_origin(const struct gv_channel *session, const Mesh__Batch *batch)
{
    return session->boot_id == batch->boot_id &&
           strcmp(session->peer->member.name, batch->origin) == 0;
}

void gv_feed_take_batch(struct gv_gossip *gossip, struct gv_channel *session,
                        const Mesh__Batch *batch)
{
    gossip->counters.batches_received += 1;
    bool is_direct = is_from_origin(session, batch);
    const struct gv_origin *known_as =
        gv_vector_find(&gossip->vector, batch->origin, batch->boot_id);
    /* In a small mesh unasked from its own node only: another could end it, or skip in it. */
    if (!is_direct && !gv_relay_may_take(gossip, session, known_as)) {
        gv_proof_refuse(gossip, batch->origin, NULL);
        return;
    }
    struct gv_origin *origin = gv_past_open(gossip, batch->origin, batch->boot_id);
    if (origin == NULL || origin == gossip->own) {
        gossip->counters.operations_duplicate += batch->n_operations;
        return;
    }
    uint64_t known = gv_origin_advance(origin, batch->first, batch->n_operations);
    gossip->counters.operations_duplicate += known;
    gossip->counters.operations_applied += batch->n_operations - known;
    for (uint64_t i = known; i < batch->n_operations; i++) {
        struct gv_gossip_operation operation;
        gv_operation_in(batch->operations[i], batch->keys, batch->workers, &operation);
        gv_feed_apply(gossip, origin, batch->first + i, &operation);
    }
    if (known < batch->n_operations) {
        gv_relay_pass_on(gossip, origin, session, batch);
    }
    uint64_t first, last;
    bool will_close = !gossip->synced || gv_snapshot_is_taking(gossip); /* by the snapshot */
    if (!gv_origin_gap(origin, &first, &last)) {
        return;
    }
    if (gossip->ring.relays || !is_direct) {
        gv_relay_want(gossip, origin, last, session, true);
    } else if (!will_close) {
        gv_feed_ask(gossip, session, first, last);
    }
}

/** Ask the peer for a range of its own log; not more often than once a second. */
void gv_feed_ask(struct gv_gossip *gossip, struct gv_channel *session, uint64_t first,
                 uint64_t last)
{
    uint64_t now_ms = gossip->now.now_ms;
    GV_ASSERT(first <= last);
    if (session->asked_at_ms != 0 && now_ms < session->asked_at_ms + ASK_SPACING_MS) {
        return;
    }
    session->asked_at_ms = now_ms;
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__RangeRequest request = MESH__RANGE_REQUEST__INIT;
    request.boot_id = session->boot_id;
    request.first = first;
    request.last = last;
    message.body_case = MESH__MESSAGE__BODY_RANGE_REQUEST;
    message.range_request = &request;
    gv_wire_send(gossip, session, &message);
}

/** A peer asks for a range of our log. */
void gv_feed_asked(struct gv_gossip *gossip, struct gv_channel *session,
                   const Mesh__RangeRequest *request)
{
    uint64_t last = request->last < gossip->flushed ? request->last : gossip->flushed;
    if (request->boot_id != gossip->self->member.boot_id || request->first > last) {
        return;
    }
    gossip->may_be_behind = true;
    if (session->range_next == 0) {
        session->range_next = request->first;
        session->range_last = last;
    } else {
        if (request->first < session->range_next) {
            session->range_next = request->first;
        }
        if (last > session->range_last) {
            session->range_last = last;
        }
    }
    gv_feed_pump(gossip, session);
}
