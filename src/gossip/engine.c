/*
 * engine.c - the public calls: each event goes to the parts in order. See machine.h for the parts.
 */
#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "machine.h"

#define PROTOCOL_VERSION  1
#define SCRATCH_BYTES_MAX (16 * 1024 * 1024)

static void default_u32(uint32_t *value, uint32_t otherwise)
{
    *value = *value == 0 ? otherwise : *value;
}

static void set_defaults(struct gv_gossip_options *options)
{
    default_u32(&options->batch_interval_ms, 5);
    default_u32(&options->batch_bytes, 16 * 1024);
    default_u32(&options->digest_interval_ms, 1000);
    default_u32(&options->load_interval_ms, 50);
    default_u32(&options->reconnect_ms, 2000);
    default_u32(&options->sync_timeout_ms, 5000);
    default_u32(&options->log_operations, 65536);
    default_u32(&options->member_max, 2048);
    if (options->shelf_bytes == 0) {
        options->shelf_bytes = 8 * 1024 * 1024;
    }
    default_u32(&options->sayings_max, GV_SAYINGS_MAX);
    default_u32(&options->forget_after_s, 86400);
    if (options->log_bytes == 0) {
        options->log_bytes = 8 * 1024 * 1024;
    }
    if (options->session_queue_bytes == 0) {
        options->session_queue_bytes = 4 * 1024 * 1024;
    }
    if (options->batch_bytes > GV_SNAPSHOT_CHUNK_BYTES) {
        options->batch_bytes = GV_SNAPSHOT_CHUNK_BYTES; /* a batch is one message */
    }
}

static enum gv_err make_self(struct gv_gossip *gossip)
{
    const struct gv_gossip_options *options = &gossip->options;
    gossip->self = gv_roster_open(gossip, options->node);
    gv_roster_set_boot(gossip, gossip->self, options->boot_id);
    gossip->own = gv_vector_open(&gossip->vector, options->node, options->boot_id);
    if (gossip->self == NULL || gossip->own == NULL) {
        return GV_ENOMEM;
    }
    struct gv_member *member = &gossip->self->member;
    member->incarnation = options->incarnation == 0 ? 1 : options->incarnation;
    member->gossip_addr = options->gossip_addr;
    memcpy(member->http_url, options->http_url, sizeof member->http_url);
    memcpy(member->version, options->version, sizeof member->version);
    gv_proof_sign_self(gossip);
    return gv_oplog_init(&gossip->log, options->log_operations, options->log_bytes);
}

enum gv_err gv_gossip_new(const struct gv_gossip_options *options,
                          const struct gv_gossip_store *store, uint64_t now_ms,
                          struct gv_gossip **gossip)
{
    GV_ASSERT(store->apply != NULL && store->snapshot_next != NULL && store->deep_digest != NULL);
    if (options->node[0] == '\0') {
        return GV_EINVAL;
    }
    struct gv_gossip *made = gv_mem_new(GV_MEM_GOSSIP, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    made->options = *options;
    set_defaults(&made->options);
    made->detector = options->detector == NULL ? gv_gossip_detector_default : *options->detector;
    made->options.detector = NULL; /* borrowed for this call only */
    made->store = *store;
    made->now.now_ms = now_ms;
    made->started_at_ms = now_ms;
    made->dial_due_ms = now_ms;
    made->seeds_due_ms = GV_NEVER_MS;
    made->probe_at_ms = now_ms;
    made->digest_at_ms = now_ms;
    made->deep_at_ms = now_ms + GV_DEEP_DIGEST_MS;
    made->sweep_at_ms = now_ms;
    gv_prng_init(&made->prng, options->seed);
    gv_outbox_init(&made->outbox);
    gv_arena_init(&made->unpacked, GV_MEM_GOSSIP, GV_UNPACK_BYTES_MAX);
    gv_arena_init(&made->scratch, GV_MEM_GOSSIP, SCRATCH_BYTES_MAX);
    gv_vector_init(&made->vector);
    gv_map_init(&made->peers_by_name, GV_MEM_GOSSIP, made->options.member_max, NULL);
    gv_map_init(&made->peers_by_boot, GV_MEM_GOSSIP, made->options.member_max, NULL);
    gv_shelf_init(&made->shelf, made->options.shelf_bytes);
    made->pull_at_ms = GV_NEVER_MS;
    made->doubts_due_ms = GV_NEVER_MS;
    made->probes_due_ms = GV_NEVER_MS;
    made->ring.look_at_ms = now_ms;
    made->tree.distance = GV_TREE_FAR;
    gv_worker_table_init(&made->workers);
    gv_sayings_init(&made->own_sayings);
    gv_words_init(&made->chunk_keys, GV_DICTIONARY_MAX);
    gv_words_init(&made->chunk_workers, GV_DICTIONARY_MAX);
    enum gv_err err = make_self(made);
    if (err != GV_OK) {
        gv_gossip_free(made);
        return err;
    }
    *gossip = made;
    return GV_OK;
}

void gv_gossip_free(struct gv_gossip *gossip)
{
    if (gossip == NULL) {
        return;
    }
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        gv_mem_free(GV_MEM_GOSSIP, gossip->sessions[i]);
    }
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        gv_sayings_deinit(&gossip->peers[i]->sayings);
        gv_mem_free(GV_MEM_GOSSIP, gossip->peers[i]);
    }
    gv_mem_free(GV_MEM_GOSSIP, gossip->sessions);
    gv_mem_free(GV_MEM_GOSSIP, gossip->session_ids);
    gv_mem_free(GV_MEM_GOSSIP, gossip->peers);
    gv_mem_free(GV_MEM_GOSSIP, gossip->seeds);
    gv_mem_free(GV_MEM_GOSSIP, gossip->probe_order);
    gv_snapshot_deinit(gossip);
    gv_oplog_deinit(&gossip->log);
    gv_words_deinit(&gossip->chunk_keys);
    gv_words_deinit(&gossip->chunk_workers);
    gv_sayings_deinit(&gossip->own_sayings);
    gv_worker_table_deinit(&gossip->workers);
    gv_shelf_deinit(&gossip->shelf);
    gv_vector_deinit(&gossip->vector);
    gv_map_deinit(&gossip->peers_by_boot);
    gv_map_deinit(&gossip->peers_by_name);
    gv_arena_deinit(&gossip->scratch);
    gv_arena_deinit(&gossip->unpacked);
    gv_outbox_deinit(&gossip->outbox);
    gv_mem_free(GV_MEM_GOSSIP, gossip);
}

void gv_gossip_hello(const struct gv_gossip *gossip, struct gv_gossip_hello *hello)
{
    const struct gv_member *self = &gossip->self->member;
    *hello = (struct gv_gossip_hello){.boot_id = self->boot_id,
                                      .incarnation = self->incarnation,
                                      .block_bytes = gossip->options.block_bytes,
                                      .fingerprint = gossip->options.fingerprint,
                                      .protocol_min = PROTOCOL_VERSION,
                                      .protocol_max = PROTOCOL_VERSION,
                                      .gossip_addr = self->gossip_addr,
                                      .ready = self->ready,
                                      .left = self->status == GV_MEMBER_LEFT};
    memcpy(hello->node, self->name, sizeof hello->node);
    memcpy(hello->cluster_id, gossip->options.cluster_id, sizeof hello->cluster_id);
    memcpy(hello->http_url, self->http_url, sizeof hello->http_url);
    memcpy(hello->version, self->version, sizeof hello->version);
    memcpy(hello->identity, self->identity, sizeof hello->identity);
    memcpy(hello->signature, self->signature, sizeof hello->signature);
}

/* ---- events ------------------------------------------------------------------------------------
 */

static void begin(struct gv_gossip *gossip, struct gv_now now)
{
    gossip->now = now;
    gossip->session_in_hand = 0;
    gv_outbox_begin(&gossip->outbox);
    for (uint32_t i = 0; gossip->has_fresh && i < gossip->session_count; i++) {
        gossip->sessions[i]->fresh = 0; /* the shell has them, and tells what it queues */
    }
    gossip->has_fresh = false;
}

/* What is due whatever the event was. */
static void end(struct gv_gossip *gossip)
{
    gv_repair_try_to_sync(gossip);
    gv_ring_tick(gossip);
    gv_tree_settle(gossip);
    gv_relay_tick(gossip);
    gv_news_tick(gossip);
    gv_dial_tick(gossip);
    gv_feed_flush(gossip, false);
    if (!gossip->has_fresh && !gossip->may_be_behind) {
        return;
    }
    gossip->may_be_behind = false;
    for (uint32_t i = gossip->session_count; i-- > 0;) {
        struct gv_channel *session = gossip->sessions[i];
        gv_feed_pump(gossip, session);
        gossip->may_be_behind = gossip->may_be_behind || gv_feed_is_behind(gossip, session);
        if (gv_channel_backlog(session) > 2 * gossip->options.session_queue_bytes) {
            gossip->counters.queue_overflows += 1;
            gv_channel_close(gossip, session, "queue full");
        }
    }
}

void gv_gossip_tick(struct gv_gossip *gossip, struct gv_now now)
{
    if (gossip->wall_offset == 0) {
        gossip->wall_offset = (int64_t)now.wall_ms - (int64_t)now.now_ms;
    }
    begin(gossip, now);
    gv_detector_tick(gossip);
    gv_snapshot_tick(gossip);
    gv_repair_tick(gossip);
    gv_records_tick(gossip);
    end(gossip);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void gv_gossip_hold(struct gv_gossip *gossip)
{
    gossip->is_holding = true;
    gossip->holds_something = false;
}

void gv_gossip_release(struct gv_gossip *gossip, struct gv_now now)
{
    gossip->is_holding = false;
    if (gossip->holds_something) {
        gv_gossip_tick(gossip, now);
    }
}

uint64_t gv_gossip_wake_at(const struct gv_gossip *gossip)
{
    if (gossip->stopped) {
        return GV_NEVER_MS;
    }
    uint64_t at = gv_feed_wake_at(gossip);
    if (gossip->leaving) {
        return at;
    }
    at = least(at, gv_detector_wake_at(gossip));
    at = least(at, gv_ring_wake_at(gossip));
    at = least(at, gv_relay_wake_at(gossip));
    at = least(at, gv_news_wake_at(gossip));
    at = least(at, gv_dial_wake_at(gossip));
    at = least(at, gv_repair_wake_at(gossip));
    return least(at, gv_records_wake_at(gossip));
}

static void take_members(struct gv_gossip *gossip, const Mesh__Members *members)
{
    for (size_t i = 0; i < members->n_members; i++) {
        gv_roster_merge(gossip, members->members[i]);
    }
}

static enum gv_err dispatch(struct gv_gossip *gossip, struct gv_channel *session,
                            const Mesh__Message *message)
{
    switch (message->body_case) {
    case MESH__MESSAGE__BODY_STATE:
        gv_repair_state(gossip, session, message->state);
        break;
    case MESH__MESSAGE__BODY_BATCH:
        gv_feed_take_batch(gossip, session, message->batch);
        break;
    case MESH__MESSAGE__BODY_RANGE_REQUEST:
        if (message->range_request->boot_id == gossip->self->member.boot_id) {
            gv_feed_asked(gossip, session, message->range_request);
        } else {
            gv_relay_asked(gossip, session, message->range_request);
        }
        break;
    case MESH__MESSAGE__BODY_RANGE_GONE:
        gv_relay_gone(gossip, session, message->range_gone);
        break;
    case MESH__MESSAGE__BODY_SNAPSHOT_REQUEST:
        gv_snapshot_asked(gossip, session, message->snapshot_request);
        break;
    case MESH__MESSAGE__BODY_SNAPSHOT_CHUNK:
        return gv_snapshot_take(gossip, session, message->snapshot_chunk);
    case MESH__MESSAGE__BODY_MEMBER:
        gv_roster_merge(gossip, message->member);
        break;
    case MESH__MESSAGE__BODY_WORKERS:
        gv_workers_take(gossip, session, message->workers);
        break;
    case MESH__MESSAGE__BODY_SETTINGS:
        gv_settings_take(gossip, session, message->settings);
        break;
    case MESH__MESSAGE__BODY_NODE_STATE:
        gv_records_take_node_state(gossip, session, message->node_state);
        break;
    case MESH__MESSAGE__BODY_DIGEST:
        gv_repair_digest(gossip, session, message->digest);
        break;
    case MESH__MESSAGE__BODY_VECTOR:
        gv_repair_vector(gossip, session, message->vector);
        break;
    case MESH__MESSAGE__BODY_PACKET:
        gv_detector_packet(gossip, session->peer, session, message->packet);
        break;
    case MESH__MESSAGE__BODY_SUMS:
        gv_compare_sums(gossip, session, message->sums);
        break;
    case MESH__MESSAGE__BODY_WANT:
        gv_compare_wanted(gossip, session, message->want);
        break;
    case MESH__MESSAGE__BODY_TREE:
        gv_tree_take(gossip, session, message->tree);
        break;
    case MESH__MESSAGE__BODY_ANNOUNCE:
        gv_relay_announced(gossip, session, message->announce);
        break;
    case MESH__MESSAGE__BODY_STATE_REQUEST:
        gv_records_send_said(gossip, session, message->state_request);
        break;
    case MESH__MESSAGE__BODY_ROSTER:
        gv_news_take_roster(gossip, session, message->roster);
        break;
    case MESH__MESSAGE__BODY_MEMBERS:
        take_members(gossip, message->members);
        break;
    case MESH__MESSAGE__BODY__NOT_SET:
    case _MESH__MESSAGE__BODY__CASE_IS_INT_SIZE:
        return GV_EPROTO;
    }
    return GV_OK;
}

enum gv_err gv_gossip_message(struct gv_gossip *gossip, uint64_t session_id, struct gv_slice bytes,
                              struct gv_now now)
{
    begin(gossip, now);
    struct gv_channel *session = gv_channel_find(gossip, session_id);
    if (session == NULL || gossip->stopped) {
        return GV_OK; /* closed by us; this was on its way */
    }
    gv_detector_watch_self(gossip);
    gossip->counters.bytes_received += bytes.len;
    gv_arena_reset(&gossip->unpacked);
    Mesh__Message *message;
    enum gv_err err = gv_codec_unpack(&gossip->unpacked, bytes, &message);
    if (err == GV_OK) {
        gossip->in_hand = bytes;
        gossip->session_in_hand = session_id;
        session->heard_at_ms = now.now_ms;
        session->peer->member.last_contact_ms = now.now_ms;
        err = dispatch(gossip, session, message);
    }
    if (err != GV_OK) {
        gossip->counters.malformed += 1;
        return GV_EPROTO;
    }
    end(gossip);
    return GV_OK;
}

void gv_gossip_queued(struct gv_gossip *gossip, uint64_t session_id, size_t bytes)
{
    struct gv_channel *session = gv_channel_find(gossip, session_id);
    if (session != NULL) {
        session->queued = bytes;
        gossip->may_be_behind = true;
    }
}

void gv_gossip_packet(struct gv_gossip *gossip, const struct gv_addr *from, const char *sender,
                      struct gv_slice bytes, struct gv_now now)
{
    (void)from; /* answers go to the address that the member advertises */
    begin(gossip, now);
    gv_detector_watch_self(gossip);
    gossip->counters.packets_received += 1;
    gossip->counters.packet_bytes_received += bytes.len;
    gv_arena_reset(&gossip->unpacked);
    Mesh__Packet *packet;
    struct gv_peer *peer = gv_roster_find(gossip, sender);
    if (gv_codec_unpack_packet(&gossip->unpacked, bytes, &packet) != GV_OK) {
        gossip->counters.malformed += 1;
        return;
    }
    gossip->counters.packets_unknown += peer == NULL;
    if (peer != NULL && !gossip->stopped) {
        gv_detector_packet(gossip, peer, NULL, packet);
        end(gossip);
    }
}

enum gv_err gv_gossip_publish(struct gv_gossip *gossip, const struct gv_gossip_operation *operation,
                              struct gv_now now)
{
    begin(gossip, now);
    enum gv_err err = gv_oplog_append(&gossip->log, operation);
    if (err != GV_OK) {
        return err;
    }
    gv_origin_raise(gossip->own, gossip->log.last);
    gv_origin_stamp(gossip->own, gossip->log.last, operation->stamp);
    gossip->counters.operations_published += 1;
    gossip->holds_something = true;
    if (!gossip->is_holding) {
        end(gossip);
    }
    return GV_OK;
}

void gv_gossip_compare(struct gv_gossip *gossip, struct gv_now now)
{
    begin(gossip, now);
    if (!gossip->leaving && !gossip->stopped) {
        gv_repair_demand_comparison(gossip);
    }
}

void gv_gossip_set_ready(struct gv_gossip *gossip, bool ready, struct gv_now now)
{
    begin(gossip, now);
    struct gv_member *self = &gossip->self->member;
    if (self->ready != ready && !gossip->leaving) {
        self->ready = ready;
        gv_roster_raise_self(gossip, self->incarnation);
    }
}

void gv_gossip_leave(struct gv_gossip *gossip, struct gv_now now)
{
    begin(gossip, now);
    if (gossip->leaving) {
        return;
    }
    gv_feed_flush(gossip, true);
    gv_roster_write_status(gossip, gossip->self, GV_MEMBER_LEFT);
    gv_roster_touch(gossip);
    gossip->self->member.ready = false;
    gossip->self->member.incarnation += 1;
    gv_proof_sign_self(gossip);
    gv_roster_spread(gossip, gossip->self);
    gv_detector_announce(gossip);
    gossip->leaving = true;
    end(gossip);
}

bool gv_gossip_next_effect(struct gv_gossip *gossip, struct gv_effect *effect)
{
    return gv_outbox_next(&gossip->outbox, effect);
}

/* ---- looking in --------------------------------------------------------------------------------
 */

uint32_t gv_gossip_members(const struct gv_gossip *gossip, struct gv_member *members, uint32_t room)
{
    uint32_t count = gossip->peer_count < room ? gossip->peer_count : room;
    for (uint32_t i = 0; i < count; i++) {
        const struct gv_peer *peer = gossip->peers[i];
        members[i] = peer->member;
        members[i].connected = peer != gossip->self && gv_channel_of(gossip, peer) != NULL;
        const struct gv_origin *origin =
            gv_vector_find(&gossip->vector, peer->member.name, peer->member.boot_id);
        members[i].applied = origin == NULL ? 0 : origin->applied;
        members[i].refused = origin == NULL ? 0 : origin->refused;
    }
    return count;
}

void gv_gossip_digest(const struct gv_gossip *gossip, uint8_t digest[16])
{
    gv_vector_digest(&gossip->vector, digest);
    uint64_t more[2] = {gv_clocks_marks(gossip), gv_records_digest(gossip)};
    for (uint32_t byte = 0; byte < 16; byte++) {
        digest[byte] ^= (uint8_t)(more[byte / 8] >> (8 * (byte % 8)));
    }
}

bool gv_gossip_is_ready(const struct gv_gossip *gossip)
{
    return gossip->synced;
}

const struct gv_gossip_counters *gv_gossip_counters(const struct gv_gossip *gossip)
{
    return &gossip->counters;
}
