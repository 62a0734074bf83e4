/*
 * workers.c - worker records on their way: the newest version wins. Private to gossip, see
 * machine.h.
 *
 * A record is passed on by whoever learns something new from it, so it also reaches nodes that the
 * writer cannot.
 */
#include "grapevine/base/assert.h"
#include "machine.h"

static void send_list(struct gv_gossip *gossip, struct gv_channel *to, Mesh__Worker **list,
                      size_t count, const struct gv_channel *except)
{
    if (count == 0) {
        return;
    }
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__Workers workers = MESH__WORKERS__INIT;
    workers.workers = list;
    workers.n_workers = count;
    message.body_case = MESH__MESSAGE__BODY_WORKERS;
    message.workers = &workers;
    if (to != NULL) {
        gv_wire_send(gossip, to, &message);
    } else {
        gv_wire_broadcast_eager(gossip, &message, except);
    }
}

/** All records to one session. */
void gv_workers_send(struct gv_gossip *gossip, struct gv_channel *session)
{
    enum {
        ROOM = 256
    };
    Mesh__Worker *list[ROOM];
    size_t count = 0, bytes = 0;
    gv_arena_reset(&gossip->scratch);
    for (uint32_t i = 0; i < gossip->workers.count; i++) {
        Mesh__Worker *message =
            gv_codec_worker_out(&gossip->scratch, gv_worker_table_at(&gossip->workers, i));
        if (message == NULL) {
            return; /* the digest tells, later */
        }
        list[count++] = message;
        bytes += mesh__worker__get_packed_size(message) + 4;
        if (count == ROOM || bytes >= GV_WORKERS_BYTES) {
            send_list(gossip, session, list, count, NULL);
            gv_arena_reset(&gossip->scratch);
            count = 0;
            bytes = 0;
        }
    }
    send_list(gossip, session, list, count, NULL);
}

/* The merged record is known to all who should know: the store, and the other sessions. */
static void tell(struct gv_gossip *gossip, struct gv_slice url, const struct gv_channel *except)
{
    const struct gv_gossip_worker *record = gv_worker_table_find(&gossip->workers, url);
    GV_ASSERT(record != NULL);
    if (gossip->store.worker_changed != NULL) {
        gossip->store.worker_changed(gossip->store.owner, record);
    }
    gv_arena_reset(&gossip->scratch);
    Mesh__Worker *message = gv_codec_worker_out(&gossip->scratch, record);
    if (message != NULL) {
        send_list(gossip, NULL, &message, 1, except);
    }
}

void gv_workers_take(struct gv_gossip *gossip, struct gv_channel *session,
                     const Mesh__Workers *workers)
{
    for (size_t i = 0; i < workers->n_workers; i++) {
        struct gv_gossip_worker record;
        gv_codec_worker_in(workers->workers[i], &record);
        bool ahead = record.version_ms > gossip->now.wall_ms + GV_INCARNATION_AHEAD_MAX_MS;
        bool expired = record.deleted && record.version_ms < gv_records_expiry_ms(gossip);
        if (ahead) {
            gossip->counters.refused_stamps += 1;
            continue;
        }
        enum gv_err err = expired ? GV_ESTALE : gv_worker_table_put(&gossip->workers, &record);
        if (err == GV_OK) {
            tell(gossip, record.url, session);
        } else if (err != GV_ESTALE) {
            gossip->counters.records_refused += 1;
        }
    }
}

enum gv_err gv_gossip_put_worker(struct gv_gossip *gossip, const struct gv_gossip_worker *worker,
                                 struct gv_now now)
{
    gossip->now = now;
    gv_outbox_begin(&gossip->outbox);
    struct gv_gossip_worker record = *worker;
    const struct gv_gossip_worker *known = gv_worker_table_find(&gossip->workers, worker->url);
    record.version_ms = now.wall_ms;
    if (known != NULL && known->version_ms >= record.version_ms) {
        record.version_ms = known->version_ms + 1;
    }
    record.origin = gv_slice_text(gossip->self->member.name);
    enum gv_err err = gv_worker_table_put(&gossip->workers, &record);
    if (err == GV_OK) {
        tell(gossip, worker->url, NULL);
    }
    return err;
}

/** Our clock was set back: what it dated in the future is dated as it would have been, and told. */
void gv_workers_redate(struct gv_gossip *gossip, uint64_t back_ms)
{
    for (uint32_t i = 0; i < gossip->workers.count; i++) {
        const struct gv_gossip_worker *record = gv_worker_table_at(&gossip->workers, i);
        uint64_t version_ms = gv_clocks_redate(gossip, record->version_ms, back_ms);
        if (version_ms != record->version_ms) {
            gv_worker_table_redate(&gossip->workers, i, version_ms);
            tell(gossip, record->url, NULL);
        }
    }
}
