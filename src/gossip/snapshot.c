/*
 * snapshot.c - the whole live state, for joiners and for who lags too far. Private, see machine.h.
 *
 * The taker asks (SnapshotRequest); the giver says first where it stands in every log, then walks
 * its store in chunks, as the session's queue allows. What happens meanwhile is live on the
 * sessions anyway. When the last chunk is in, the taker stands where the giver stood at the
 * beginning.
 *
 * Who has just started takes a third of the buckets from each of three donors at once; a donor that
 * is gone, or silent for long, is replaced by one that is free.
 */
#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "machine.h"

#define CHUNKS_PER_EVENT 8
#define TAKE_TIMEOUT_MS  5000
#define TAKE_SPACING_MS  2000
#define STAMP_MARGIN_S   120 /* a log's stamps may run this far out of order */
#define CHUNK_OPERATIONS 2048

/** Entries older than this were in the part of `origin`'s log that is applied. */
uint32_t gv_snapshot_since(const struct gv_origin *origin)
{
    return origin != NULL && origin->stamp > STAMP_MARGIN_S ? origin->stamp - STAMP_MARGIN_S : 0;
}

/* ---- giving ------------------------------------------------------------------------------------
 */

void gv_snapshot_asked(struct gv_gossip *gossip, struct gv_channel *session,
                       const Mesh__SnapshotRequest *request)
{
    gossip->counters.snapshots_sent += 1;
    gossip->may_be_behind = true;
    session->giving =
        (struct gv_giving){.active = true, .id = request->id, .since_stamp = request->since_stamp};
    if (request->n_buckets > 0) {
        session->giving.in_part = true;
        memcpy(session->giving.buckets, request->buckets, sizeof session->giving.buckets);
    }
    gv_snapshot_pump(gossip, session);
}

/* Copy what the store lends until its next call. */
static bool add(struct gv_gossip *gossip, struct gv_pack *pack,
                struct gv_gossip_operation *operation)
{
    size_t bytes = (size_t)operation->count * 8;
    if (bytes > 0) {
        uint64_t *prints = gv_arena_take_raw(&gossip->scratch, bytes);
        if (prints == NULL) {
            return false;
        }
        memcpy(prints, operation->fingerprints, bytes);
        operation->fingerprints = prints;
    }
    struct gv_word *key = gv_words_take(&gossip->chunk_keys, operation->key);
    struct gv_word *worker = gv_words_take(&gossip->chunk_workers, operation->worker);
    return key != NULL && worker != NULL && gv_pack_add(pack, operation, key, worker);
}

/* Fill a chunk from the store; false: no memory, the snapshot cannot go on. */
static bool fill(struct gv_gossip *gossip, struct gv_giving *giving, Mesh__SnapshotChunk *chunk)
{
    struct gv_pack pack;
    struct gv_gossip_part some = {.key = gv_slice_text(giving->key)};
    memcpy(some.buckets, giving->buckets, sizeof some.buckets);
    const struct gv_gossip_part *part = giving->in_part ? &some : NULL;
    if (!gv_pack_init(&pack, &gossip->scratch, &gossip->chunk_keys, &gossip->chunk_workers,
                      CHUNK_OPERATIONS)) {
        return false;
    }
    while (pack.bytes < GV_SNAPSHOT_CHUNK_BYTES && pack.count < CHUNK_OPERATIONS) {
        struct gv_gossip_operation operation;
        if (!gossip->store.snapshot_next(gossip->store.owner, giving->cursor, part,
                                         giving->since_stamp, &operation)) {
            chunk->last = true;
            break;
        }
        if (!gv_operation_is_valid(&operation)) {
            GV_ASSERT(!"the store gave an operation that cannot travel");
        }
        if (!add(gossip, &pack, &operation)) {
            return false;
        }
    }
    chunk->operations = pack.operations;
    chunk->n_operations = pack.count;
    chunk->keys = pack.keys;
    chunk->n_keys = pack.key_count;
    chunk->workers = pack.workers;
    chunk->n_workers = pack.worker_count;
    return true;
}

static bool send_chunk(struct gv_gossip *gossip, struct gv_channel *session,
                       struct gv_giving *giving)
{
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__SnapshotChunk chunk = MESH__SNAPSHOT_CHUNK__INIT;
    bool good;
    gv_arena_reset(&gossip->scratch);
    chunk.id = giving->id;
    chunk.number = giving->number;
    chunk.mending = giving->is_mending;
    if (giving->number == 0 && !giving->is_mending) {
        chunk.positions = gv_repair_positions(gossip, &chunk.n_positions);
        good = chunk.positions != NULL;
    } else {
        good = fill(gossip, giving, &chunk);
    }
    if (good) {
        message.body_case = MESH__MESSAGE__BODY_SNAPSHOT_CHUNK;
        message.snapshot_chunk = &chunk;
        gv_wire_send(gossip, session, &message);
        giving->number += 1;
    }
    giving->active = good && !chunk.last;
    uint64_t rounds[2] = {gossip->chunk_keys.round, gossip->chunk_workers.round};
    gv_words_deinit(&gossip->chunk_keys);
    gv_words_deinit(&gossip->chunk_workers);
    gv_words_init(&gossip->chunk_keys, CHUNK_OPERATIONS + 1);
    gv_words_init(&gossip->chunk_workers, CHUNK_OPERATIONS + 1);
    gossip->chunk_keys.round = rounds[0];
    gossip->chunk_workers.round = rounds[1];
    return giving->active;
}

/** The next chunks, while the session's queue is short. */
void gv_snapshot_pump(struct gv_gossip *gossip, struct gv_channel *session)
{
    for (uint32_t i = 0; i < CHUNKS_PER_EVENT && gv_channel_backlog(session) < GV_PACE_BYTES; i++) {
        struct gv_giving *giving = session->giving.active ? &session->giving : &session->mending;
        if (!giving->active) {
            return;
        }
        (void)send_chunk(gossip, session, giving);
    }
}

/* ---- taking ------------------------------------------------------------------------------------
 */

bool gv_snapshot_is_taking(const struct gv_gossip *gossip)
{
    return gossip->taking.share_count > 0;
}

static void drop_marks(struct gv_share *share)
{
    gv_mem_free(GV_MEM_GOSSIP, share->marks);
    share->marks = NULL;
    share->mark_count = 0;
}

static void stop_taking(struct gv_gossip *gossip, uint64_t wait_ms)
{
    struct gv_taking *taking = &gossip->taking;
    for (uint32_t i = 0; i < taking->share_count; i++) {
        drop_marks(&taking->shares[i]);
        taking->shares[i] = (struct gv_share){0};
    }
    taking->share_count = 0;
    taking->not_before_ms = gossip->now.now_ms + wait_ms;
}

void gv_snapshot_deinit(struct gv_gossip *gossip)
{
    stop_taking(gossip, 0);
}

/* One donor's share of the buckets: every third, for three. */
static void name_buckets(const struct gv_taking *taking, uint32_t at,
                         uint64_t buckets[GV_GOSSIP_BUCKETS / 64])
{
    memset(buckets, 0, GV_GOSSIP_BUCKETS / 8);
    for (uint32_t bucket = at; bucket < GV_GOSSIP_BUCKETS; bucket += taking->share_count) {
        buckets[bucket / 64] |= UINT64_C(1) << (bucket % 64);
    }
}

static void assign(struct gv_gossip *gossip, uint32_t at, struct gv_channel *session)
{
    struct gv_taking *taking = &gossip->taking;
    struct gv_share *share = &taking->shares[at];
    uint64_t buckets[GV_GOSSIP_BUCKETS / 64];
    drop_marks(share); /* of a donor that is gone: its successor begins anew */
    taking->id += 1;
    *share = (struct gv_share){
        .session = session->id, .id = taking->id, .heard_at_ms = gossip->now.now_ms};
    gossip->counters.snapshots_received += 1;
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__SnapshotRequest request = MESH__SNAPSHOT_REQUEST__INIT;
    request.id = share->id;
    request.since_stamp = taking->since_stamp;
    if (taking->share_count > 1) {
        name_buckets(taking, at, buckets);
        request.buckets = buckets;
        request.n_buckets = GV_GOSSIP_BUCKETS / 64;
    }
    message.body_case = MESH__MESSAGE__BODY_SNAPSHOT_REQUEST;
    message.snapshot_request = &request;
    gv_wire_send(gossip, session, &message);
}

/* Does this peer give already, over whichever session? Two may be open when they have crossed. */
static bool gives(const struct gv_gossip *gossip, const struct gv_peer *peer)
{
    const struct gv_taking *taking = &gossip->taking;
    for (uint32_t i = 0; i < taking->share_count; i++) {
        const struct gv_share *share = &taking->shares[i];
        const struct gv_channel *donor =
            share->session == 0 || share->done ? NULL : gv_channel_find(gossip, share->session);
        if (donor != NULL && donor->peer == peer) {
            return true;
        }
    }
    return false;
}

/* A donor that has nothing to give at the moment, or NULL. */
static struct gv_channel *find_donor(struct gv_gossip *gossip)
{
    if (gossip->session_count == 0) {
        return NULL;
    }
    uint32_t start = (uint32_t)gv_prng_below(&gossip->prng, gossip->session_count);
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        struct gv_channel *at = gossip->sessions[(start + i) % gossip->session_count];
        if (at->knows_state && at->peer_synced && !gives(gossip, at->peer)) {
            return at;
        }
    }
    return NULL;
}

/** Joining: give what nobody gives yet to a donor that is free, or has come free. */
void gv_snapshot_assign(struct gv_gossip *gossip)
{
    struct gv_taking *taking = &gossip->taking;
    for (uint32_t i = 0; taking->joining && i < taking->share_count; i++) {
        struct gv_channel *donor = taking->shares[i].session == 0 ? find_donor(gossip) : NULL;
        if (donor != NULL) {
            assign(gossip, i, donor);
        }
    }
}

/**
 * We have just started: take everything, from up to three donors at once. A share is asked of
 * whoever is free, so one donor gives them one after the other when there is only one.
 */
void gv_snapshot_join(struct gv_gossip *gossip)
{
    struct gv_taking *taking = &gossip->taking;
    bool idle = !gv_snapshot_is_taking(gossip) && gossip->now.now_ms >= taking->not_before_ms;
    if (idle && find_donor(gossip) != NULL) {
        uint32_t others = gossip->counts.active - 1;
        taking->joining = true;
        taking->since_stamp = 0;
        taking->heard_at_ms = gossip->now.now_ms;
        taking->share_count = others < GV_DONORS_MAX ? others : GV_DONORS_MAX;
        taking->share_count = taking->share_count == 0 ? 1 : taking->share_count;
    }
    gv_snapshot_assign(gossip);
}

/** Ask this peer for all since a stamp; one snapshot at a time, and one every two seconds. */
void gv_snapshot_ask(struct gv_gossip *gossip, struct gv_channel *session, uint32_t since_stamp)
{
    struct gv_taking *taking = &gossip->taking;
    if (gv_snapshot_is_taking(gossip) || gossip->now.now_ms < taking->not_before_ms) {
        return;
    }
    taking->joining = false;
    taking->since_stamp = since_stamp;
    taking->share_count = 1;
    taking->heard_at_ms = gossip->now.now_ms;
    assign(gossip, 0, session);
}

static bool keep_marks(const struct gv_gossip *gossip, struct gv_share *share,
                       const Mesh__SnapshotChunk *chunk)
{
    share->marks = gv_mem_new(GV_MEM_GOSSIP, (chunk->n_positions + 1) * sizeof(struct gv_origin));
    if (share->marks == NULL) {
        return false;
    }
    for (size_t i = 0; i < chunk->n_positions; i++) {
        struct gv_origin *mark = &share->marks[i];
        (void)gv_slice_copy_text(gv_slice_text(chunk->positions[i]->node), mark->name,
                                 sizeof mark->name);
        mark->boot_id = chunk->positions[i]->boot_id;
        mark->applied = chunk->positions[i]->applied;
        mark->stamp = gv_past_believe(gossip, chunk->positions[i]->stamp);
        mark->heard_stamp = gv_past_believe(gossip, chunk->positions[i]->heard);
        mark->refused = chunk->positions[i]->refused ? 1 : 0;
    }
    share->mark_count = (uint32_t)chunk->n_positions;
    return true;
}

/* Where the donor of `share` stood in the log of `mark`; NULL: nowhere. */
static const struct gv_origin *mark_in(const struct gv_share *share, const struct gv_origin *mark)
{
    for (uint32_t i = 0; i < share->mark_count; i++) {
        if (share->marks[i].boot_id == mark->boot_id &&
            strcmp(share->marks[i].name, mark->name) == 0) {
            return &share->marks[i];
        }
    }
    return NULL;
}

/* Stand where all the givers stood: at the least position of any of them. */
static void raise_positions(struct gv_gossip *gossip)
{
    struct gv_taking *taking = &gossip->taking;
    for (uint32_t i = 0; i < taking->shares[0].mark_count; i++) {
        const struct gv_origin *mark = &taking->shares[0].marks[i];
        bool is_past = gv_past_has(gossip, mark->name, mark->boot_id, mark->heard_stamp);
        struct gv_origin *origin = is_past ? NULL : gv_past_open(gossip, mark->name, mark->boot_id);
        if (origin == NULL || origin == gossip->own || origin->forgotten) {
            continue;
        }
        gv_past_hear(origin, mark->heard_stamp);
        bool is_refused = mark->refused > 0;
        for (uint32_t j = 1; mark != NULL && j < taking->share_count; j++) {
            const struct gv_origin *other = mark_in(&taking->shares[j], mark);
            is_refused = is_refused || (other != NULL && other->refused > 0);
            mark = other == NULL || other->applied < mark->applied ? other : mark;
        }
        /* A snapshot since some stamp covers only logs whose missing part is all newer. */
        if (mark != NULL && mark->applied > 0 && gv_snapshot_since(origin) >= taking->since_stamp) {
            if (is_refused && mark->applied > origin->applied && origin->refused == 0) {
                gv_origin_mark(origin, 1); /* what a donor lacks it could not give */
            }
            gv_origin_raise(origin, mark->applied);
            gv_origin_stamp(origin, mark->applied, mark->stamp);
        }
    }
}

/* All is in. */
static void finish(struct gv_gossip *gossip)
{
    bool joining = gossip->taking.joining;
    raise_positions(gossip);
    stop_taking(gossip, TAKE_SPACING_MS);
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        struct gv_channel *session = gossip->sessions[i];
        struct gv_origin *origin =
            gv_vector_find(&gossip->vector, session->peer->member.name, session->boot_id);
        uint64_t applied = origin == NULL ? 0 : origin->applied, first, last;
        if (origin != NULL && gv_origin_gap(origin, &first, &last)) {
            gv_feed_ask(gossip, session, first, last);
        } else if (session->expects > applied) {
            gv_feed_ask(gossip, session, applied + 1, session->expects);
        }
    }
    if (joining) {
        gv_repair_synced(gossip);
    }
}

static void apply_chunk(struct gv_gossip *gossip, const struct gv_channel *session,
                        const Mesh__SnapshotChunk *chunk)
{
    uint64_t refused = gossip->counters.refused_stamps;
    for (size_t i = 0; i < chunk->n_operations; i++) {
        struct gv_gossip_operation operation;
        gv_operation_in(chunk->operations[i], chunk->keys, chunk->workers, &operation);
        gv_feed_apply(gossip, NULL, 0, &operation);
    }
    gossip->deep_known = false; /* no position tells of these */
    if (gossip->counters.refused_stamps > refused) {
        gv_clocks_refuse_set(gossip, session);
    }
}

static struct gv_share *share_of(struct gv_taking *taking, uint64_t session, uint64_t id)
{
    for (uint32_t i = 0; i < taking->share_count; i++) {
        struct gv_share *share = &taking->shares[i];
        if (share->session == session && share->id == id && !share->done) {
            return share;
        }
    }
    return NULL;
}

static bool is_whole(const struct gv_taking *taking)
{
    for (uint32_t i = 0; i < taking->share_count; i++) {
        if (!taking->shares[i].done) {
            return false;
        }
    }
    return true;
}

enum gv_err gv_snapshot_take(struct gv_gossip *gossip, struct gv_channel *session,
                             const Mesh__SnapshotChunk *chunk)
{
    struct gv_taking *taking = &gossip->taking;
    if (chunk->mending) {
        gossip->counters.operations_mended += chunk->n_operations;
        apply_chunk(gossip, session, chunk);
        if (gossip->now.now_ms >= gossip->unsure_until_ms + GV_DEEP_DIGEST_MS) {
            gv_repair_unsure(gossip); /* others may lack it, too */
        }
        return GV_OK;
    }
    struct gv_share *share = share_of(taking, session->id, chunk->id);
    if (share == NULL) {
        return GV_OK; /* of a request that was given up */
    }
    if (chunk->number != share->number) {
        return GV_EPROTO; /* the session closes, and another donor is found */
    }
    share->heard_at_ms = gossip->now.now_ms;
    taking->heard_at_ms = gossip->now.now_ms;
    if (chunk->number == 0 && !keep_marks(gossip, share, chunk)) {
        stop_taking(gossip, TAKE_SPACING_MS);
        return GV_OK;
    }
    share->number += 1;
    session->gave = true;
    apply_chunk(gossip, session, chunk);
    if (chunk->last) {
        share->done = true;
        if (is_whole(taking)) {
            finish(gossip);
        } else {
            gv_snapshot_assign(gossip);
        }
    }
    return GV_OK;
}

/* Nobody gives this any more. */
static void release(struct gv_gossip *gossip, struct gv_share *share)
{
    drop_marks(share);
    *share = (struct gv_share){0};
    if (!gossip->taking.joining) {
        stop_taking(gossip, 0);
    }
}

void gv_snapshot_session_gone(struct gv_gossip *gossip, const struct gv_channel *session)
{
    if (session->gave) {
        gv_repair_unsure(gossip);
    }
    for (uint32_t i = 0; i < gossip->taking.share_count; i++) {
        struct gv_share *share = &gossip->taking.shares[i];
        if (share->session == session->id && !share->done) {
            release(gossip, share);
        }
    }
}

void gv_snapshot_tick(struct gv_gossip *gossip)
{
    struct gv_taking *taking = &gossip->taking;
    uint64_t now_ms = gossip->now.now_ms;
    for (uint32_t i = 0; i < taking->share_count; i++) {
        struct gv_share *share = &taking->shares[i];
        if (share->session != 0 && !share->done && now_ms >= share->heard_at_ms + TAKE_TIMEOUT_MS) {
            release(gossip, share);
        }
    }
    if (gv_snapshot_is_taking(gossip) && now_ms >= taking->heard_at_ms + 2 * TAKE_TIMEOUT_MS) {
        stop_taking(gossip, 0); /* no donor is left for the rest */
    }
    gv_snapshot_assign(gossip);
}
