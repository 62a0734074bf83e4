/*
 * The ring of a node's own operations, and what a packed range of it looks like on the wire.
 */
#include "support/suite.h"

#include "../../../src/gossip/limits.h"
#include "../../../src/gossip/oplog.h"

static const uint64_t prints[3] = {1, 2, 3};

static struct gv_gossip_operation operation(const char *key, const char *worker, uint32_t stamp)
{
    return (struct gv_gossip_operation){.kind = 0,
                                        .key = gv_slice_text(key),
                                        .worker = gv_slice_text(worker),
                                        .stamp = stamp,
                                        .fingerprints = prints,
                                        .count = 3};
}

static void append(struct gv_oplog *log, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct gv_gossip_operation next =
            operation(i % 2 == 0 ? "regular::m" : "decode::m", "http://w", i);
        CU_ASSERT_EQUAL(gv_oplog_append(log, &next), GV_OK);
    }
}

/* Both sides of the limit: at 8 the first is still there, at 9 it is gone. */
static void the_ring_keeps_the_newest(void)
{
    struct gv_oplog log;
    CU_ASSERT_EQUAL_FATAL(gv_oplog_init(&log, 8, 1 << 20), GV_OK);
    append(&log, 8);
    CU_ASSERT_EQUAL(log.oldest, 1);
    append(&log, 1);
    CU_ASSERT_EQUAL(log.oldest, 2);
    CU_ASSERT_EQUAL(log.last, 9);
    gv_oplog_deinit(&log);
}

static void the_ring_keeps_within_its_bytes(void)
{
    struct gv_oplog log;
    CU_ASSERT_EQUAL_FATAL(gv_oplog_init(&log, 1000, 2000), GV_OK);
    append(&log, 500);
    CU_ASSERT(log.bytes <= 2000);
    CU_ASSERT(log.oldest > 480 && log.oldest <= 500);
    gv_oplog_deinit(&log);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_GOSSIP), 0);
}

static void a_packed_range_names_each_key_and_worker_once(void)
{
    struct gv_oplog log;
    struct gv_arena arena;
    gv_arena_init(&arena, GV_MEM_GOSSIP, 1 << 20);
    CU_ASSERT_EQUAL_FATAL(gv_oplog_init(&log, 100, 1 << 20), GV_OK);
    append(&log, 10);
    Mesh__Batch batch = MESH__BATCH__INIT;
    CU_ASSERT_EQUAL(gv_oplog_pack(&log, &arena, 3, 10, 1 << 16, &batch), 10);
    CU_ASSERT_EQUAL(batch.first, 3);
    CU_ASSERT_EQUAL(batch.n_operations, 8);
    CU_ASSERT_EQUAL(batch.n_keys, 2);
    CU_ASSERT_EQUAL(batch.n_workers, 1);
    struct gv_gossip_operation out;
    gv_operation_in(batch.operations[1], batch.keys, batch.workers, &out);
    CU_ASSERT_EQUAL(out.stamp, 3);
    CU_ASSERT(gv_slice_is(out.key, "decode::m"));
    CU_ASSERT_EQUAL(out.count, 3);
    CU_ASSERT_EQUAL(out.fingerprints[2], 3);
    gv_arena_deinit(&arena);
    gv_oplog_deinit(&log);
}

static void a_range_too_large_for_one_message_is_cut_but_never_empty(void)
{
    struct gv_oplog log;
    struct gv_arena arena;
    gv_arena_init(&arena, GV_MEM_GOSSIP, 1 << 20);
    CU_ASSERT_EQUAL_FATAL(gv_oplog_init(&log, 100, 1 << 20), GV_OK);
    append(&log, 50);
    Mesh__Batch batch = MESH__BATCH__INIT;
    CU_ASSERT_EQUAL(gv_oplog_pack(&log, &arena, 1, 50, 1, &batch), 1);
    uint64_t reached = gv_oplog_pack(&log, &arena, 2, 50, 1000, &batch);
    CU_ASSERT(reached > 2 && reached < 50);
    gv_arena_deinit(&arena);
    gv_oplog_deinit(&log);
}

/* Both sides of each limit of what may travel. */
static void what_could_not_travel_is_refused(void)
{
    static char text[GV_GOSSIP_URL_MAX + 2];
    static uint64_t many[GV_OPERATION_PRINTS_MAX + 1];
    struct gv_oplog log;
    CU_ASSERT_EQUAL_FATAL(gv_oplog_init(&log, 8, 1 << 20), GV_OK);
    memset(text, 'x', sizeof text - 1);
    struct gv_gossip_operation at = operation("k", "w", 1);
    at.key = gv_slice_of(text, GV_GOSSIP_KEY_MAX);
    at.worker = gv_slice_of(text, GV_GOSSIP_URL_MAX);
    at.fingerprints = many;
    at.count = GV_OPERATION_PRINTS_MAX;
    CU_ASSERT_EQUAL(gv_oplog_append(&log, &at), GV_OK);
    at.count += 1;
    CU_ASSERT_EQUAL(gv_oplog_append(&log, &at), GV_EINVAL);
    at = operation("k", "w", 1);
    at.key = gv_slice_of(text, GV_GOSSIP_KEY_MAX + 1);
    CU_ASSERT_EQUAL(gv_oplog_append(&log, &at), GV_EINVAL);
    at = operation("k", "w", 1);
    at.worker = gv_slice_of(text, GV_GOSSIP_URL_MAX + 1);
    CU_ASSERT_EQUAL(gv_oplog_append(&log, &at), GV_EINVAL);
    at = operation("k", "", 1);
    CU_ASSERT_EQUAL(gv_oplog_append(&log, &at), GV_EINVAL);
    at = operation("k", "w", 1);
    at.kind = 1; /* a touch has one fingerprint */
    CU_ASSERT_EQUAL(gv_oplog_append(&log, &at), GV_EINVAL);
    at.count = 1;
    CU_ASSERT_EQUAL(gv_oplog_append(&log, &at), GV_OK);
    at.kind = 2; /* a floor has none */
    CU_ASSERT_EQUAL(gv_oplog_append(&log, &at), GV_EINVAL);
    at.count = 0;
    CU_ASSERT_EQUAL(gv_oplog_append(&log, &at), GV_OK);
    at.kind = 3;
    CU_ASSERT_EQUAL(gv_oplog_append(&log, &at), GV_EINVAL);
    CU_ASSERT_EQUAL(log.last, 3);
    gv_oplog_deinit(&log);
}

static void without_memory_the_log_stays_as_it_was(void)
{
    struct gv_oplog log;
    CU_ASSERT_EQUAL_FATAL(gv_oplog_init(&log, 8, 1 << 20), GV_OK);
    struct gv_gossip_operation next = operation("regular::m", "http://w", 1);
    enum gv_err err = GV_ENOMEM;
    for (uint64_t nth = 1; err != GV_OK; nth++) {
        gv_mem_fail_nth(nth);
        err = gv_oplog_append(&log, &next);
        gv_mem_fail_nth(0);
        CU_ASSERT(err == GV_OK || (err == GV_ENOMEM && log.last == 0));
        CU_ASSERT_FATAL(nth < 50);
    }
    CU_ASSERT_EQUAL(log.last, 1);
    gv_oplog_deinit(&log);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_GOSSIP), 0);
}

GV_SUITE("gossip/oplog", GV_CASE(the_ring_keeps_the_newest),
         GV_CASE(the_ring_keeps_within_its_bytes),
         GV_CASE(a_packed_range_names_each_key_and_worker_once),
         GV_CASE(a_range_too_large_for_one_message_is_cut_but_never_empty),
         GV_CASE(what_could_not_travel_is_refused), GV_CASE(without_memory_the_log_stays_as_it_was))
