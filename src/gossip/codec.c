/*
 * codec.c - protobuf-c behind a budget and a list of checks. See codec.h.
 */
#include "codec.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/text.h"
#include "limits.h"

_Static_assert((int)MESH__STATUS__LEFT == (int)GV_MEMBER_LEFT, "status numbers travel as they are");

/* protobuf-c sees the arena as an allocator; what it frees stays until the arena is reset. */
static void *take(void *arena, size_t bytes)
{
    return gv_arena_take_raw(arena, bytes);
}

static void leave(void *arena, void *memory)
{
    (void)arena;
    (void)memory;
}

static ProtobufCMessage *unpack(struct gv_arena *arena, const ProtobufCMessageDescriptor *type,
                                struct gv_slice bytes)
{
    ProtobufCAllocator allocator = {.alloc = take, .free = leave, .allocator_data = arena};
    static const uint8_t nothing[1] = {0};
    return protobuf_c_message_unpack(type, &allocator, bytes.len,
                                     bytes.len == 0 ? nothing : bytes.data);
}

/* ---- checks ------------------------------------------------------------------------------------
 */

static bool text_fits(const char *text, size_t max)
{
    return strnlen(text, max + 1) <= max;
}

/* What a node says of itself; what it heard from workers and clients is only measured. */
static bool label_fits(const char *text, size_t max)
{
    return text_fits(text, max) && gv_text_is_clean(gv_slice_text(text));
}

static bool name_fits(const char *name)
{
    return name[0] != '\0' && strchr(name, ' ') == NULL && label_fits(name, GV_NODE_NAME_MAX - 1);
}

static bool addr_fits(const Mesh__Address *addr)
{
    return addr == NULL ||
           ((addr->ip.len == 4 || addr->ip.len == 16) && addr->port >= 1 && addr->port <= 65535);
}

static bool proof_fits(const ProtobufCBinaryData *identity, const ProtobufCBinaryData *signature)
{
    return (identity->len == 0 && signature->len == 0) ||
           (identity->len == GV_GOSSIP_IDENTITY_BYTES &&
            signature->len == GV_GOSSIP_SIGNATURE_BYTES);
}

static bool member_fits(const Mesh__Member *member)
{
    return name_fits(member->node) && proof_fits(&member->identity, &member->signature) &&
           addr_fits(member->gossip) && label_fits(member->http_url, 127) &&
           label_fits(member->version, 23) && label_fits(member->accuser, GV_NODE_NAME_MAX - 1) &&
           (int)member->status >= 0 && member->status <= MESH__STATUS__LEFT;
}

static bool members_fit(Mesh__Member *const *members, size_t count, size_t max)
{
    if (count > max) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!member_fits(members[i])) {
            return false;
        }
    }
    return true;
}

static bool texts_fit(char *const *texts, size_t count, size_t max_count, size_t max_len)
{
    if (count > max_count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (texts[i][0] == '\0' || !text_fits(texts[i], max_len)) {
            return false;
        }
    }
    return true;
}

static bool operation_fits(const Mesh__TreeOp *op, size_t keys, size_t workers)
{
    if (op->key >= keys || op->worker >= workers || op->n_fingerprints > GV_OPERATION_PRINTS_MAX) {
        return false;
    }
    switch (op->kind) {
    case MESH__OP_KIND__INSERT:
        return op->n_fingerprints >= 1;
    case MESH__OP_KIND__TOUCH:
        return op->n_fingerprints == 1;
    case MESH__OP_KIND__REMOVE:
        return op->n_fingerprints == 0;
    case _MESH__OP_KIND_IS_INT_SIZE:
        break;
    }
    return false;
}

static bool operations_fit(Mesh__TreeOp *const *ops, size_t count, size_t keys, size_t workers)
{
    if (count > GV_BATCH_OPERATIONS_MAX) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!operation_fits(ops[i], keys, workers)) {
            return false;
        }
    }
    return true;
}

static bool batch_fits(const Mesh__Batch *batch)
{
    return name_fits(batch->origin) && batch->first >= 1 && batch->n_operations >= 1 &&
           batch->first <= GV_SEQUENCE_MAX - GV_BATCH_OPERATIONS_MAX &&
           texts_fit(batch->keys, batch->n_keys, GV_DICTIONARY_MAX, GV_GOSSIP_KEY_MAX) &&
           texts_fit(batch->workers, batch->n_workers, GV_DICTIONARY_MAX, GV_GOSSIP_URL_MAX) &&
           operations_fit(batch->operations, batch->n_operations, batch->n_keys, batch->n_workers);
}

static bool positions_fit(Mesh__Position *const *positions, size_t count)
{
    if (count > GV_VECTOR_MAX) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!name_fits(positions[i]->node) || positions[i]->applied > GV_SEQUENCE_MAX) {
            return false;
        }
    }
    return true;
}

static bool chunk_fits(const Mesh__SnapshotChunk *chunk)
{
    return positions_fit(chunk->positions, chunk->n_positions) &&
           texts_fit(chunk->keys, chunk->n_keys, GV_DICTIONARY_MAX, GV_GOSSIP_KEY_MAX) &&
           texts_fit(chunk->workers, chunk->n_workers, GV_DICTIONARY_MAX, GV_GOSSIP_URL_MAX) &&
           operations_fit(chunk->operations, chunk->n_operations, chunk->n_keys, chunk->n_workers);
}

static bool key_fits(const char *key)
{
    return key[0] != '\0' && text_fits(key, GV_GOSSIP_KEY_MAX);
}

/* What cannot be shown the table refuses, and nobody's session ends for it. */
static bool worker_fits(const Mesh__Worker *worker)
{
    return worker->url[0] != '\0' && text_fits(worker->url, GV_GOSSIP_URL_MAX) &&
           name_fits(worker->origin) && text_fits(worker->runtime, GV_GOSSIP_RUNTIME_MAX) &&
           text_fits(worker->labels, GV_GOSSIP_LABELS_MAX) && worker->pool <= UINT8_MAX &&
           texts_fit(worker->models, worker->n_models, GV_GOSSIP_MODELS_MAX, GV_GOSSIP_MODEL_MAX);
}

static bool settings_fit(const Mesh__Settings *list)
{
    if (list->n_settings > GV_SETTINGS_MAX) {
        return false;
    }
    for (size_t i = 0; i < list->n_settings; i++) {
        const Mesh__Setting *setting = list->settings[i];
        if (setting->name[0] == '\0' || !label_fits(setting->name, GV_SETTING_NAME_MAX - 1) ||
            !label_fits(setting->value, GV_SETTING_VALUE_MAX - 1) || !name_fits(setting->origin)) {
            return false;
        }
    }
    return true;
}

static bool workers_fit(const Mesh__Workers *list)
{
    if (list->n_workers > GV_RECORDS_MAX) {
        return false;
    }
    for (size_t i = 0; i < list->n_workers; i++) {
        if (!worker_fits(list->workers[i])) {
            return false;
        }
    }
    return true;
}

static bool node_state_fits(const Mesh__NodeState *state)
{
    if ((state->node[0] != '\0' && !name_fits(state->node)) || state->n_loads > GV_NODE_STATE_MAX ||
        state->n_healths > GV_NODE_STATE_MAX || state->sequence > GV_SEQUENCE_MAX) {
        return false;
    }
    for (size_t i = 0; i < state->n_loads; i++) {
        const char *url = state->loads[i]->worker;
        if (url[0] == '\0' || !text_fits(url, GV_GOSSIP_URL_MAX)) {
            return false;
        }
    }
    for (size_t i = 0; i < state->n_healths; i++) {
        const Mesh__Health *health = state->healths[i];
        if (health->worker[0] == '\0' || !text_fits(health->worker, GV_GOSSIP_URL_MAX) ||
            !text_fits(health->reason, GV_GOSSIP_REASON_MAX) || health->state > UINT8_MAX) {
            return false;
        }
    }
    return true;
}

static bool packet_fits(const Mesh__Packet *packet)
{
    return (int)packet->kind >= 0 && packet->kind <= MESH__PACKET_KIND__NACK &&
           text_fits(packet->target, GV_NODE_NAME_MAX - 1) && packet->self != NULL &&
           member_fits(packet->self) && (int)packet->opinion >= 0 &&
           packet->opinion <= MESH__STATUS__LEFT &&
           members_fit(packet->news, packet->n_news, GV_NEWS_MAX);
}

/* None, or one for each share of the names. */
static bool sums_fit(size_t count)
{
    return count == 0 || count == GV_ROSTER_SUMS;
}

/* One that is followed by many more, so that nothing reckoned from it ever wraps. */
static bool sequences_fit(const uint64_t *sequences, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (sequences[i] > GV_SEQUENCE_MAX) {
            return false;
        }
    }
    return true;
}

static bool announce_fits(const Mesh__Announce *announce)
{
    return announce->n_logs == announce->n_applied && announce->n_logs <= GV_VECTOR_MAX &&
           announce->n_sayers == announce->n_said && announce->n_sayers <= GV_VECTOR_MAX &&
           sequences_fit(announce->applied, announce->n_applied) &&
           sequences_fit(announce->said, announce->n_said);
}

static bool message_fits(const Mesh__Message *message)
{
    switch (message->body_case) {
    case MESH__MESSAGE__BODY_STATE:
        return sums_fit(message->state->n_roster) && message->state->published <= GV_SEQUENCE_MAX &&
               members_fit(message->state->members, message->state->n_members,
                           GV_STATE_MEMBERS_MAX) &&
               positions_fit(message->state->positions, message->state->n_positions);
    case MESH__MESSAGE__BODY_BATCH:
        return batch_fits(message->batch);
    case MESH__MESSAGE__BODY_RANGE_REQUEST:
        return message->range_request->first >= 1 &&
               message->range_request->last >= message->range_request->first &&
               message->range_request->last <= GV_SEQUENCE_MAX;
    case MESH__MESSAGE__BODY_RANGE_GONE:
        return true;
    case MESH__MESSAGE__BODY_SNAPSHOT_REQUEST:
        return message->snapshot_request->n_buckets == 0 ||
               message->snapshot_request->n_buckets == GV_GOSSIP_BUCKETS / 64;
    case MESH__MESSAGE__BODY_SNAPSHOT_CHUNK:
        return chunk_fits(message->snapshot_chunk);
    case MESH__MESSAGE__BODY_MEMBER:
        return member_fits(message->member);
    case MESH__MESSAGE__BODY_WORKERS:
        return workers_fit(message->workers);
    case MESH__MESSAGE__BODY_SETTINGS:
        return settings_fit(message->settings);
    case MESH__MESSAGE__BODY_NODE_STATE:
        return node_state_fits(message->node_state);
    case MESH__MESSAGE__BODY_DIGEST:
        return message->digest->sent <= GV_SEQUENCE_MAX &&
               (message->digest->deep.len == 0 || message->digest->deep.len == 16);
    case MESH__MESSAGE__BODY_VECTOR:
        return positions_fit(message->vector->positions, message->vector->n_positions);
    case MESH__MESSAGE__BODY_PACKET:
        return packet_fits(message->packet);
    case MESH__MESSAGE__BODY_SUMS:
        return key_fits(message->sums->key) && message->sums->n_sums == GV_GOSSIP_BUCKETS;
    case MESH__MESSAGE__BODY_WANT:
        return key_fits(message->want->key) && message->want->n_buckets == GV_GOSSIP_BUCKETS / 64;
    case MESH__MESSAGE__BODY_TREE:
    case MESH__MESSAGE__BODY_STATE_REQUEST:
        return true;
    case MESH__MESSAGE__BODY_ANNOUNCE:
        return announce_fits(message->announce);
    case MESH__MESSAGE__BODY_ROSTER:
        return message->roster->n_sums > 0 && sums_fit(message->roster->n_sums);
    case MESH__MESSAGE__BODY_MEMBERS:
        return members_fit(message->members->members, message->members->n_members,
                           GV_STATE_MEMBERS_MAX);
    case MESH__MESSAGE__BODY__NOT_SET:
    case _MESH__MESSAGE__BODY__CASE_IS_INT_SIZE:
        break;
    }
    return false;
}

enum gv_err gv_codec_unpack(struct gv_arena *arena, struct gv_slice bytes, Mesh__Message **message)
{
    if (bytes.len > GV_GOSSIP_FRAME_MAX) {
        return GV_ETOOBIG;
    }
    Mesh__Message *got = (Mesh__Message *)unpack(arena, &mesh__message__descriptor, bytes);
    if (got == NULL || !message_fits(got)) {
        return GV_EPROTO;
    }
    *message = got;
    return GV_OK;
}

enum gv_err gv_codec_unpack_packet(struct gv_arena *arena, struct gv_slice bytes,
                                   Mesh__Packet **packet)
{
    if (bytes.len > GV_GOSSIP_PACKET_MAX) {
        return GV_ETOOBIG;
    }
    Mesh__Packet *got = (Mesh__Packet *)unpack(arena, &mesh__packet__descriptor, bytes);
    if (got == NULL || !packet_fits(got)) {
        return GV_EPROTO;
    }
    *packet = got;
    return GV_OK;
}

/* ---- addresses, members, workers ---------------------------------------------------------------
 */

void gv_codec_addr_out(const struct gv_addr *addr, Mesh__Address *message)
{
    mesh__address__init(message);
    message->ip.data = (uint8_t *)(uintptr_t)addr->ip;
    message->ip.len = addr->family == 4 ? 4 : 16;
    message->port = addr->port;
}

struct gv_addr gv_codec_addr_in(const Mesh__Address *message)
{
    struct gv_addr addr = {0};
    if (message == NULL) {
        return addr;
    }
    addr.family = message->ip.len == 4 ? 4 : 6;
    memcpy(addr.ip, message->ip.data, message->ip.len);
    addr.port = (uint16_t)message->port;
    return addr;
}

/* No identity, no proof: neither is sent. Borrowed from both. */
static void proof_out(const uint8_t identity[GV_GOSSIP_IDENTITY_BYTES],
                      const uint8_t signature[GV_GOSSIP_SIGNATURE_BYTES],
                      ProtobufCBinaryData *identity_out, ProtobufCBinaryData *signature_out)
{
    static const uint8_t nobody[GV_GOSSIP_IDENTITY_BYTES];
    if (memcmp(identity, nobody, sizeof nobody) != 0) {
        *identity_out =
            (ProtobufCBinaryData){GV_GOSSIP_IDENTITY_BYTES, (uint8_t *)(uintptr_t)identity};
        *signature_out =
            (ProtobufCBinaryData){GV_GOSSIP_SIGNATURE_BYTES, (uint8_t *)(uintptr_t)signature};
    }
}

static void proof_in(const ProtobufCBinaryData *identity_in,
                     const ProtobufCBinaryData *signature_in,
                     uint8_t identity[GV_GOSSIP_IDENTITY_BYTES],
                     uint8_t signature[GV_GOSSIP_SIGNATURE_BYTES])
{
    if (identity_in->len > 0) {
        memcpy(identity, identity_in->data, GV_GOSSIP_IDENTITY_BYTES);
        memcpy(signature, signature_in->data, GV_GOSSIP_SIGNATURE_BYTES);
    }
}

/* protobuf-c has no const texts in its structs; packing only reads them. */
static char *text_out(const char *text)
{
    return (char *)(uintptr_t)text;
}

void gv_codec_member_out(const struct gv_member *member, const char *accuser, Mesh__Address *addr,
                         Mesh__Member *message)
{
    mesh__member__init(message);
    message->node = text_out(member->name);
    message->boot_id = member->boot_id;
    message->incarnation = member->incarnation;
    message->status = (Mesh__Status)member->status;
    if (member->gossip_addr.family != 0 && member->gossip_addr.port != 0) {
        gv_codec_addr_out(&member->gossip_addr, addr);
        message->gossip = addr;
    }
    message->http_url = text_out(member->http_url);
    message->version = text_out(member->version);
    message->ready = member->ready;
    message->accuser = text_out(accuser);
    proof_out(member->identity, member->signature, &message->identity, &message->signature);
}

static void text_in(const char *text, char *into, size_t size)
{
    size_t len = strlen(text);
    GV_ASSERT(len < size);
    memcpy(into, text, len + 1);
}

void gv_codec_member_in(const Mesh__Member *message, struct gv_member *member)
{
    *member = (struct gv_member){.boot_id = message->boot_id,
                                 .incarnation = message->incarnation,
                                 .status = (enum gv_member_status)message->status,
                                 .gossip_addr = gv_codec_addr_in(message->gossip),
                                 .ready = message->ready != 0};
    text_in(message->node, member->name, sizeof member->name);
    text_in(message->http_url, member->http_url, sizeof member->http_url);
    text_in(message->version, member->version, sizeof member->version);
    proof_in(&message->identity, &message->signature, member->identity, member->signature);
}

Mesh__Worker *gv_codec_worker_out(struct gv_arena *arena, const struct gv_gossip_worker *worker)
{
    Mesh__Worker *message = gv_arena_take(arena, sizeof *message);
    char **models = gv_arena_take(arena, sizeof *models * GV_GOSSIP_MODELS_MAX);
    if (message == NULL || models == NULL) {
        return NULL;
    }
    mesh__worker__init(message);
    message->url = gv_arena_copy(arena, worker->url);
    message->origin = gv_arena_copy(arena, worker->origin);
    message->runtime = gv_arena_copy(arena, worker->runtime);
    message->labels = gv_arena_copy(arena, worker->labels);
    message->health_timeout_ms = worker->health_timeout_ms;
    message->health_interval_ms = worker->health_interval_ms;
    message->health_successes = worker->health_successes;
    message->health_failures = worker->health_failures;
    message->drain_settle_ms = worker->drain_settle_ms;
    message->unprobed = worker->unprobed;
    message->deleted = worker->deleted;
    message->version_ms = worker->version_ms;
    message->pool = worker->pool;
    message->bootstrap_port = worker->bootstrap_port;
    message->priority = worker->priority;
    message->cost = worker->cost;
    message->capacity_tokens = worker->capacity_tokens;
    message->models = models;
    message->n_models = worker->model_count;
    bool whole = message->url != NULL && message->origin != NULL && message->runtime != NULL &&
                 message->labels != NULL;
    for (size_t i = 0; i < worker->model_count; i++) {
        models[i] = gv_arena_copy(arena, worker->models[i]);
        whole = whole && models[i] != NULL;
    }
    return whole ? message : NULL;
}

void gv_codec_worker_in(const Mesh__Worker *message, struct gv_gossip_worker *worker)
{
    *worker = (struct gv_gossip_worker){.url = gv_slice_text(message->url),
                                        .deleted = message->deleted != 0,
                                        .version_ms = message->version_ms,
                                        .origin = gv_slice_text(message->origin),
                                        .pool = (uint8_t)message->pool,
                                        .bootstrap_port = message->bootstrap_port,
                                        .priority = message->priority,
                                        .cost = message->cost,
                                        .capacity_tokens = message->capacity_tokens,
                                        .runtime = gv_slice_text(message->runtime),
                                        .labels = gv_slice_text(message->labels),
                                        .health_timeout_ms = message->health_timeout_ms,
                                        .health_interval_ms = message->health_interval_ms,
                                        .health_successes = message->health_successes,
                                        .health_failures = message->health_failures,
                                        .drain_settle_ms = message->drain_settle_ms,
                                        .unprobed = message->unprobed != 0,
                                        .model_count = (uint32_t)message->n_models};
    for (size_t i = 0; i < message->n_models; i++) {
        worker->models[i] = gv_slice_text(message->models[i]);
    }
}

/* ---- HELLO -------------------------------------------------------------------------------------
 */

enum gv_err gv_gossip_hello_encode(const struct gv_gossip_hello *hello, uint8_t *into, size_t room,
                                   size_t *len)
{
    Mesh__Hello message = MESH__HELLO__INIT;
    Mesh__Address addr;
    message.node = text_out(hello->node);
    message.cluster_id = text_out(hello->cluster_id);
    message.boot_id = hello->boot_id;
    message.incarnation = hello->incarnation;
    message.block_bytes = hello->block_bytes;
    message.fingerprint = hello->fingerprint;
    message.protocol_min = hello->protocol_min;
    message.protocol_max = hello->protocol_max;
    message.features = hello->features;
    if (hello->gossip_addr.family != 0 && hello->gossip_addr.port != 0) {
        gv_codec_addr_out(&hello->gossip_addr, &addr);
        message.gossip = &addr;
    }
    message.http_url = text_out(hello->http_url);
    message.version = text_out(hello->version);
    message.ready = hello->ready;
    message.left = hello->left;
    proof_out(hello->identity, hello->signature, &message.identity, &message.signature);
    if (mesh__hello__get_packed_size(&message) > room) {
        return GV_ETOOBIG;
    }
    *len = mesh__hello__pack(&message, into);
    return GV_OK;
}

static bool hello_fits(const Mesh__Hello *hello)
{
    return name_fits(hello->node) && proof_fits(&hello->identity, &hello->signature) &&
           label_fits(hello->cluster_id, GV_CLUSTER_ID_MAX - 1) && addr_fits(hello->gossip) &&
           label_fits(hello->http_url, 127) && label_fits(hello->version, 23);
}

enum gv_err gv_gossip_hello_decode(struct gv_slice bytes, struct gv_gossip_hello *hello)
{
    if (bytes.len > GV_GOSSIP_PACKET_MAX) {
        return GV_ETOOBIG;
    }
    struct gv_arena arena;
    gv_arena_init(&arena, GV_MEM_GOSSIP, 64 * 1024);
    Mesh__Hello *message = (Mesh__Hello *)unpack(&arena, &mesh__hello__descriptor, bytes);
    enum gv_err err = GV_EPROTO;
    if (message != NULL && hello_fits(message)) {
        *hello = (struct gv_gossip_hello){.boot_id = message->boot_id,
                                          .incarnation = message->incarnation,
                                          .block_bytes = message->block_bytes,
                                          .fingerprint = message->fingerprint,
                                          .protocol_min = message->protocol_min,
                                          .protocol_max = message->protocol_max,
                                          .features = message->features,
                                          .gossip_addr = gv_codec_addr_in(message->gossip),
                                          .ready = message->ready != 0,
                                          .left = message->left != 0};
        text_in(message->node, hello->node, sizeof hello->node);
        text_in(message->cluster_id, hello->cluster_id, sizeof hello->cluster_id);
        text_in(message->http_url, hello->http_url, sizeof hello->http_url);
        text_in(message->version, hello->version, sizeof hello->version);
        proof_in(&message->identity, &message->signature, hello->identity, hello->signature);
        err = GV_OK;
    }
    gv_arena_deinit(&arena);
    return err;
}
