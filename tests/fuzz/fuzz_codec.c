/*
 * fuzz_codec.c - whatever bytes come, every decoder of the mesh answers, and what it accepts is
 * sane: it encodes, and decodes to the same. No engine: the same bytes go to all three decoders.
 */
#include "../../src/gossip/codec.h"
#include "../../src/gossip/limits.h"
#include "grapevine/base/assert.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_hello(struct gv_slice bytes)
{
    struct gv_gossip_hello once, twice;
    uint8_t encoded[GV_GOSSIP_PACKET_MAX];
    size_t len;
    memset(&once, 0, sizeof once);
    memset(&twice, 0, sizeof twice);
    if (gv_gossip_hello_decode(bytes, &once) == GV_OK &&
        gv_gossip_hello_encode(&once, encoded, sizeof encoded, &len) == GV_OK) {
        GV_ASSERT(gv_gossip_hello_decode(gv_slice_of(encoded, len), &twice) == GV_OK);
        GV_ASSERT(strcmp(once.node, twice.node) == 0 && once.boot_id == twice.boot_id);
        GV_ASSERT(gv_addr_equal(&once.gossip_addr, &twice.gossip_addr));
    }
}

/* A member that was let in fits its struct, and comes back from it. */
static void check_member(const Mesh__Member *member)
{
    struct gv_member read;
    Mesh__Address addr;
    Mesh__Member written;
    memset(&read, 0, sizeof read);
    gv_codec_member_in(member, &read);
    GV_ASSERT(read.name[0] != '\0' && memchr(read.name, '\0', sizeof read.name) != NULL);
    gv_codec_member_out(&read, "", &addr, &written);
    GV_ASSERT(strcmp(written.node, member->node) == 0);
    GV_ASSERT(written.boot_id == member->boot_id && written.incarnation == member->incarnation);
}

static void check_batch(const Mesh__Batch *batch)
{
    GV_ASSERT(batch->first >= 1 && batch->n_operations >= 1);
    GV_ASSERT(batch->n_operations <= GV_BATCH_OPERATIONS_MAX);
    for (size_t i = 0; i < batch->n_operations; i++) {
        GV_ASSERT(batch->operations[i]->key < batch->n_keys);
        GV_ASSERT(batch->operations[i]->worker < batch->n_workers);
    }
}

static void check_workers(struct gv_arena *arena, const Mesh__Workers *workers)
{
    for (size_t i = 0; i < workers->n_workers; i++) {
        struct gv_gossip_worker read;
        gv_codec_worker_in(workers->workers[i], &read);
        GV_ASSERT(read.url.len > 0 && read.url.len <= GV_GOSSIP_URL_MAX);
        Mesh__Worker *written = gv_codec_worker_out(arena, &read);
        GV_ASSERT(written == NULL || written->version_ms == workers->workers[i]->version_ms);
    }
}

static void try_message(struct gv_arena *arena, struct gv_slice bytes)
{
    Mesh__Message *message;
    enum gv_err err = gv_codec_unpack(arena, bytes, &message);
    GV_ASSERT(err == GV_OK || err == GV_EPROTO || err == GV_ETOOBIG);
    if (err != GV_OK) {
        return;
    }
    if (message->body_case == MESH__MESSAGE__BODY_BATCH) {
        check_batch(message->batch);
    } else if (message->body_case == MESH__MESSAGE__BODY_WORKERS) {
        check_workers(arena, message->workers);
    } else if (message->body_case == MESH__MESSAGE__BODY_MEMBER) {
        check_member(message->member);
    }
}

static void try_packet(struct gv_arena *arena, struct gv_slice bytes)
{
    Mesh__Packet *packet;
    enum gv_err err = gv_codec_unpack_packet(arena, bytes, &packet);
    GV_ASSERT(err == GV_OK || err == GV_EPROTO || err == GV_ETOOBIG);
    GV_ASSERT(err != GV_OK || bytes.len <= GV_GOSSIP_PACKET_MAX);
    if (err == GV_OK) {
        check_member(packet->self);
        for (size_t i = 0; i < packet->n_news; i++) {
            check_member(packet->news[i]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gv_arena arena; /* as the engine's: kept, and empty at the next input */
    static bool is_made;
    struct gv_slice bytes = gv_slice_of(data, size);
    if (!is_made) {
        gv_arena_init(&arena, GV_MEM_GOSSIP, GV_UNPACK_BYTES_MAX);
        is_made = true;
    }
    try_hello(bytes);
    gv_arena_reset(&arena);
    try_packet(&arena, bytes);
    gv_arena_reset(&arena);
    try_message(&arena, bytes);
    gv_arena_reset(&arena);
    return 0;
}
