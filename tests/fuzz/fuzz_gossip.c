/*
 * fuzz_gossip.c - whatever a peer sends, the engine answers with an error or goes on.
 *
 * The first byte chooses: a datagram, one session message, or a run of messages, each behind two
 * bytes of length. The engine has one member in session, so that every message has somebody to come
 * from. It is made anew for each input, so that an input alone tells what happens, and small: its
 * log has 64 places, for clearing half a megabyte cost more than all messages. The bytes themselves
 * are the matter of fuzz_codec.c.
 */
#include "grapevine/base/assert.h"
#include "grapevine/gossip/engine.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void apply(void *owner, const struct gv_gossip_operation *operation)
{
    uint64_t *sum = owner;
    GV_ASSERT(operation->key.len > 0 && operation->worker.len > 0);
    for (uint32_t i = 0; i < operation->count; i++) {
        *sum += operation->fingerprints[i];
    }
}

static bool snapshot_next(void *owner, uint8_t cursor[32], const struct gv_gossip_part *part,
                          uint32_t since_stamp, struct gv_gossip_operation *operation)
{
    static const uint64_t prints[2] = {1, 2};
    (void)owner;
    (void)part;
    (void)since_stamp;
    *operation = (struct gv_gossip_operation){.key = gv_slice_text("regular::m"),
                                              .worker = gv_slice_text("http://w"),
                                              .stamp = 1,
                                              .fingerprints = prints,
                                              .count = 2};
    return cursor[0]++ < 3;
}

static void deep_digest(void *owner, uint8_t digest[16])
{
    (void)owner;
    memset(digest, 1, 16);
}

static const struct gv_now now = {.now_ms = 1000, .wall_ms = UINT64_C(1767225600000)};

/* Take what the engine wants; nothing it says may be over its own limits. */
static void drain(struct gv_gossip *gossip)
{
    struct gv_effect effect;
    while (gv_gossip_next_effect(gossip, &effect)) {
        GV_ASSERT(effect.bytes.len <= GV_GOSSIP_FRAME_MAX);
        GV_ASSERT(effect.kind != GV_EFFECT_PACKET || effect.bytes.len <= GV_GOSSIP_PACKET_MAX);
    }
}

static struct gv_gossip *make(uint64_t *sum)
{
    struct gv_gossip_options options = {.node = "a",
                                        .cluster_id = "c",
                                        .boot_id = 1,
                                        .incarnation = now.wall_ms,
                                        .seed = 1,
                                        .member_max = 64,
                                        .log_operations = 64,
                                        .log_bytes = 64 * 1024,
                                        .shelf_bytes = 64 * 1024};
    struct gv_gossip_store store = {
        .owner = sum, .apply = apply, .snapshot_next = snapshot_next, .deep_digest = deep_digest};
    struct gv_gossip *gossip = NULL;
    enum gv_err err = gv_gossip_new(&options, &store, now.now_ms, &gossip);
    GV_ASSERT(err == GV_OK);
    struct gv_gossip_hello hello = {.node = "b",
                                    .cluster_id = "c",
                                    .boot_id = 2,
                                    .incarnation = now.wall_ms,
                                    .gossip_addr = {.family = 4, .ip = {10, 0, 0, 2}, .port = 1}};
    gv_gossip_tick(gossip, now);
    drain(gossip);
    gv_gossip_opened(gossip, 1, false, &hello, now);
    drain(gossip);
    return gossip;
}

static void say(struct gv_gossip *gossip, struct gv_slice bytes)
{
    enum gv_err err = gv_gossip_message(gossip, 1, bytes, now);
    GV_ASSERT(err == GV_OK || err == GV_EPROTO);
    drain(gossip);
}

static void say_run(struct gv_gossip *gossip, struct gv_slice bytes)
{
    size_t at = 0;
    while (bytes.len - at >= 2) {
        size_t len = (size_t)bytes.data[at] << 8 | bytes.data[at + 1];
        at += 2;
        len = len < bytes.len - at ? len : bytes.len - at;
        say(gossip, gv_slice_of(bytes.data + at, len));
        at += len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t sum = 0;
    if (size == 0) {
        return 0;
    }
    struct gv_slice rest = gv_slice_of(data + 1, size - 1);
    struct gv_gossip *gossip = make(&sum);
    if (data[0] == 'p') {
        struct gv_addr from = {.family = 4, .ip = {10, 0, 0, 2}, .port = 1};
        gv_gossip_packet(gossip, &from, "b", rest, now);
        drain(gossip);
    } else if (data[0] == 'm') {
        say(gossip, rest);
    } else {
        say_run(gossip, rest);
    }
    struct gv_now later = {.now_ms = now.now_ms + 3000, .wall_ms = now.wall_ms + 3000};
    gv_gossip_tick(gossip, later);
    drain(gossip);
    gv_gossip_free(gossip);
    return 0;
}
