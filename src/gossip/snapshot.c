/*
 * snapshot.c - the whole live state, for joiners and for who lags too far. Private, see machine.h.
 *
 * The taker asks (SnapshotRequest); the giver says first where it stands in every log, then walks
 * its store in chunks, as the session's queue allows. What happens meanwhile is live on the
 * sessions anyway. When the last chunk is in, the taker stands where the giver stood at the
 * beginning.
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
    session->giving =
        (struct gv_giving){.active = true, .id = request->id, .since_stamp = request->since_stamp};
    gv_snapshot_pump(gossip, session);
}

/* Copy what the store lends until its next call. */
static bool add(struct gv_gossip *gossip, struct gv_pack *pack,
                struct gv_gossip_operation *operation)
{
    size_t bytes = (size_t)operation->count * 8;
    if (bytes > 0) {
        uint64_t *prints = gv_arena_take(&gossip->scratch, bytes);
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

static void stop_taking(struct gv_gossip *gossip, uint64_t wait_ms)
{
    struct gv_taking *taking = &gossip->taking;
    gv_mem_free(GV_MEM_GOSSIP, taking->marks);
    taking->marks = NULL;
    taking->mark_count = 0;
    taking->session = 0;
    taking->not_before_ms = gossip->now.now_ms + wait_ms;
}

/** Ask the peer for a snapshot, one at a time and not more often than every two seconds. */
void gv_snapshot_ask(struct gv_gossip *gossip, struct gv_channel *session, uint32_t since_stamp,
                     bool joining)
{
    struct gv_taking *taking = &gossip->taking;
    if (taking->session != 0 || gossip->now.now_ms < taking->not_before_ms) {
        return;
    }
    taking->session = session->id;
    taking->id += 1;
    taking->number = 0;
    taking->since_stamp = since_stamp;
    taking->joining = joining;
    taking->heard_at_ms = gossip->now.now_ms;
    gossip->counters.snapshots_received += 1;
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__SnapshotRequest request = MESH__SNAPSHOT_REQUEST__INIT;
    request.id = taking->id;
    request.since_stamp = since_stamp;
    message.body_case = MESH__MESSAGE__BODY_SNAPSHOT_REQUEST;
    message.snapshot_request = &request;
    gv_wire_send(gossip, session, &message);
}

static bool keep_marks(struct gv_taking *taking, const Mesh__SnapshotChunk *chunk)
{
    taking->marks = gv_mem_new(GV_MEM_GOSSIP, (chunk->n_positions + 1) * sizeof(struct gv_origin));
    if (taking->marks == NULL) {
        return false;
    }
    for (size_t i = 0; i < chunk->n_positions; i++) {
        struct gv_origin *mark = &taking->marks[i];
        (void)gv_slice_copy_text(gv_slice_text(chunk->positions[i]->node), mark->name,
                                 sizeof mark->name);
        mark->boot_id = chunk->positions[i]->boot_id;
        mark->applied = chunk->positions[i]->applied;
        mark->stamp = chunk->positions[i]->stamp;
    }
    taking->mark_count = (uint32_t)chunk->n_positions;
    return true;
}

/* All is in: stand where the giver stood. */
static void finish(struct gv_gossip *gossip)
{
    struct gv_taking *taking = &gossip->taking;
    for (uint32_t i = 0; i < taking->mark_count; i++) {
        const struct gv_origin *mark = &taking->marks[i];
        struct gv_origin *origin = gv_vector_open(&gossip->vector, mark->name, mark->boot_id);
        if (origin == NULL || origin == gossip->own || origin->forgotten) {
            continue;
        }
        /* A snapshot since some stamp covers only logs that were known beyond that stamp. */
        if (taking->since_stamp == 0 || origin->stamp >= taking->since_stamp) {
            gv_origin_raise(origin, mark->applied);
            origin->stamp = mark->stamp > origin->stamp ? mark->stamp : origin->stamp;
        }
    }
    bool joining = taking->joining;
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

static void apply_chunk(struct gv_gossip *gossip, const Mesh__SnapshotChunk *chunk)
{
    for (size_t i = 0; i < chunk->n_operations; i++) {
        struct gv_gossip_operation operation;
        gv_operation_in(chunk->operations[i], chunk->keys, chunk->workers, &operation);
        gv_feed_apply(gossip, NULL, &operation);
    }
}

enum gv_err gv_snapshot_take(struct gv_gossip *gossip, struct gv_channel *session,
                             const Mesh__SnapshotChunk *chunk)
{
    struct gv_taking *taking = &gossip->taking;
    if (chunk->mending) {
        gossip->counters.operations_mended += chunk->n_operations;
        apply_chunk(gossip, chunk);
        return GV_OK;
    }
    if (taking->session != session->id || taking->id != chunk->id) {
        return GV_OK; /* of a request that was given up */
    }
    if (chunk->number != taking->number) {
        stop_taking(gossip, TAKE_SPACING_MS);
        return GV_EPROTO;
    }
    taking->heard_at_ms = gossip->now.now_ms;
    if (chunk->number == 0 && !keep_marks(taking, chunk)) {
        stop_taking(gossip, TAKE_SPACING_MS);
        return GV_OK;
    }
    taking->number += 1;
    apply_chunk(gossip, chunk);
    if (chunk->last) {
        finish(gossip);
    }
    return GV_OK;
}

void gv_snapshot_session_gone(struct gv_gossip *gossip, const struct gv_channel *session)
{
    if (gossip->taking.session == session->id) {
        stop_taking(gossip, 0);
    }
}

void gv_snapshot_tick(struct gv_gossip *gossip)
{
    struct gv_taking *taking = &gossip->taking;
    if (taking->session != 0 && gossip->now.now_ms >= taking->heard_at_ms + TAKE_TIMEOUT_MS) {
        stop_taking(gossip, 0);
    }
}
