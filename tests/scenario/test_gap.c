/*
 * A gap in another node's log that is as old as you like, and newer operations above it: when the
 * log no longer has what is missing, the snapshot that is asked for reaches back behind the gap.
 */
#include "../../src/gossip/machine.h"
#include "grapevine/gossip/engine.h"
#include "support/blank.h"
#include "support/suite.h"

#include <string.h>

#define OLD    1000u /* stamps */
#define NEW    5000u
#define MARGIN 120u /* a log's stamps may run this far out of order */
#define BOOT   2u

static void apply(void *owner, const struct gv_gossip_operation *operation)
{
    uint32_t *count = owner;
    *count += operation->count;
}

static const struct gv_now now = {.now_ms = 1000, .wall_ms = UINT64_C(1767225600000)};

/* Take all effects; of a snapshot that was asked for, since when, otherwise UINT32_MAX. */
static uint32_t asked_since(struct gv_gossip *gossip, uint64_t *id)
{
    struct gv_effect effect;
    struct gv_arena arena;
    uint32_t since = UINT32_MAX;
    gv_arena_init(&arena, GV_MEM_GOSSIP, GV_UNPACK_BYTES_MAX);
    while (gv_gossip_next_effect(gossip, &effect)) {
        Mesh__Message *message;
        if (effect.kind == GV_EFFECT_SEND &&
            gv_codec_unpack(&arena, effect.bytes, &message) == GV_OK &&
            message->body_case == MESH__MESSAGE__BODY_SNAPSHOT_REQUEST) {
            since = message->snapshot_request->since_stamp;
            *id = message->snapshot_request->id;
        }
    }
    gv_arena_deinit(&arena);
    return since;
}

/* Engine "a" with "b" in session, nothing said yet. */
static struct gv_gossip *meet(uint32_t *count)
{
    struct gv_gossip_options options = {
        .node = "a", .cluster_id = "c", .boot_id = 1, .incarnation = 1, .seed = 1};
    struct gv_gossip_store store = gv_blank_store();
    store.owner = count;
    store.apply = apply;
    struct gv_gossip_hello hello = {.node = "b",
                                    .cluster_id = "c",
                                    .boot_id = BOOT,
                                    .incarnation = 1,
                                    .gossip_addr = {.family = 4, .ip = {10, 0, 0, 2}, .port = 1}};
    struct gv_gossip *gossip = NULL;
    uint64_t id;
    CU_ASSERT_EQUAL_FATAL(gv_gossip_new(&options, &store, now.now_ms, &gossip), GV_OK);
    gv_gossip_tick(gossip, now);
    gv_gossip_opened(gossip, 1, false, &hello, now);
    CU_ASSERT_EQUAL(asked_since(gossip, &id), UINT32_MAX);
    return gossip;
}

static void say(struct gv_gossip *gossip, const Mesh__Message *message)
{
    uint8_t bytes[1024];
    CU_ASSERT_FATAL(mesh__message__get_packed_size(message) <= sizeof bytes);
    size_t len = mesh__message__pack(message, bytes);
    CU_ASSERT_EQUAL(gv_gossip_message(gossip, 1, gv_slice_of(bytes, len), now), GV_OK);
}

/* Sequence `first` of b's log, and `count` - 1 that follow, each of this stamp. */
static void say_batch(struct gv_gossip *gossip, uint64_t first, uint32_t count, uint32_t stamp)
{
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__Batch batch = MESH__BATCH__INIT;
    Mesh__TreeOp op = MESH__TREE_OP__INIT;
    Mesh__TreeOp *ops[16];
    char key[] = "regular::m", worker[] = "http://w", name[] = "b";
    char *keys[] = {key}, *workers[] = {worker};
    uint64_t prints[] = {first};
    CU_ASSERT_FATAL(count <= 16);
    op.stamp = stamp;
    op.fingerprints = prints;
    op.n_fingerprints = 1;
    for (uint32_t i = 0; i < count; i++) {
        ops[i] = &op;
    }
    batch.origin = name;
    batch.boot_id = BOOT;
    batch.first = first;
    batch.operations = ops;
    batch.n_operations = count;
    batch.keys = keys;
    batch.n_keys = 1;
    batch.workers = workers;
    batch.n_workers = 1;
    message.body_case = MESH__MESSAGE__BODY_BATCH;
    message.batch = &batch;
    say(gossip, &message);
}

static uint32_t say_gone(struct gv_gossip *gossip, uint64_t *id)
{
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__RangeGone gone = MESH__RANGE_GONE__INIT;
    gone.boot_id = BOOT;
    gone.oldest = 10;
    message.body_case = MESH__MESSAGE__BODY_RANGE_GONE;
    message.range_gone = &gone;
    (void)asked_since(gossip, id);
    say(gossip, &message);
    return asked_since(gossip, id);
}

static void a_snapshot_reaches_back_behind_the_gap_whatever_is_above_it(void)
{
    uint32_t count = 0;
    uint64_t id = 0;
    struct gv_gossip *gossip = meet(&count);
    say_batch(gossip, 1, 2, OLD);
    say_batch(gossip, 10, 1, NEW);
    CU_ASSERT_EQUAL(count, 3);
    CU_ASSERT_EQUAL(say_gone(gossip, &id), OLD - MARGIN);
    gv_gossip_free(gossip);
}

/* The other side: nothing is missing below, so what is old is not sent again. */
static void a_gap_that_was_closed_counts_no_longer(void)
{
    uint32_t count = 0;
    uint64_t id = 0;
    struct gv_gossip *gossip = meet(&count);
    say_batch(gossip, 1, 2, OLD);
    say_batch(gossip, 10, 1, NEW);
    say_batch(gossip, 3, 7, OLD);
    CU_ASSERT_EQUAL(count, 10);
    CU_ASSERT_EQUAL(say_gone(gossip, &id), NEW - MARGIN);
    gv_gossip_free(gossip);
}

/* Of the log of "c" as much is here as this stamp tells. */
static void know_c(struct gv_gossip *gossip, uint32_t stamp)
{
    struct gv_origin *origin = gv_vector_open(&gossip->vector, "c", BOOT + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(origin);
    gv_origin_raise(origin, 1);
    gv_origin_stamp(origin, 1, stamp);
}

/* One snapshot for both: the next could not be asked for within two seconds. */
static void a_snapshot_covers_a_log_that_ends_up_to_a_minute_earlier(void)
{
    static const uint32_t earlier_s[] = {1, 60, 61, 3000};
    static const uint32_t reach_s[] = {1, 60, 0, 0};
    for (size_t i = 0; i < sizeof earlier_s / sizeof earlier_s[0]; i++) {
        uint32_t count = 0;
        uint64_t id = 0;
        struct gv_gossip *gossip = meet(&count);
        say_batch(gossip, 1, 2, NEW);
        say_batch(gossip, 10, 1, NEW);
        know_c(gossip, NEW - earlier_s[i]);
        CU_ASSERT_EQUAL(say_gone(gossip, &id), NEW - MARGIN - reach_s[i]);
        gv_gossip_free(gossip);
    }
}

static uint64_t applied_of_b(const struct gv_gossip *gossip)
{
    struct gv_member members[4];
    uint32_t count = gv_gossip_members(gossip, members, 4);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(members[i].name, "b") == 0) {
            return members[i].applied;
        }
    }
    return 0;
}

/* The snapshot is whole: what was above the gap joins, and its stamp with it. */
static void behind_the_snapshot_the_log_goes_on_without_a_gap(void)
{
    uint32_t count = 0;
    uint64_t id = 0;
    struct gv_gossip *gossip = meet(&count);
    say_batch(gossip, 1, 2, OLD);
    say_batch(gossip, 10, 1, NEW);
    CU_ASSERT_EQUAL(say_gone(gossip, &id), OLD - MARGIN);
    char name[] = "b";
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__SnapshotChunk chunk = MESH__SNAPSHOT_CHUNK__INIT;
    Mesh__Position position = MESH__POSITION__INIT;
    Mesh__Position *positions[] = {&position};
    position.node = name;
    position.boot_id = BOOT;
    position.applied = 9;
    position.stamp = OLD + 1;
    chunk.id = id;
    chunk.positions = positions;
    chunk.n_positions = 1;
    message.body_case = MESH__MESSAGE__BODY_SNAPSHOT_CHUNK;
    message.snapshot_chunk = &chunk;
    say(gossip, &message);
    CU_ASSERT_EQUAL(applied_of_b(gossip), 2);
    chunk.positions = NULL;
    chunk.n_positions = 0;
    chunk.number = 1;
    chunk.last = true;
    say(gossip, &message);
    CU_ASSERT_EQUAL(applied_of_b(gossip), 10);
    gv_gossip_free(gossip);
}

GV_SUITE("scenario/gap", GV_CASE(a_snapshot_reaches_back_behind_the_gap_whatever_is_above_it),
         GV_CASE(a_gap_that_was_closed_counts_no_longer),
         GV_CASE(a_snapshot_covers_a_log_that_ends_up_to_a_minute_earlier),
         GV_CASE(behind_the_snapshot_the_log_goes_on_without_a_gap))
