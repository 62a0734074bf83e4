/*
 * Records that replace each other, and the order of what is said of a member: both are joins.
 */
#include "support/suite.h"

#include "../../../src/gossip/limits.h"
#include "../../../src/gossip/member.h"
#include "../../../src/gossip/register.h"
#include "grapevine/base/mem.h"

#include <stdio.h>
#include <string.h>

static struct gv_gossip_worker record(const char *url, uint64_t version_ms, const char *origin)
{
    return (struct gv_gossip_worker){.url = gv_slice_text(url),
                                     .version_ms = version_ms,
                                     .origin = gv_slice_text(origin),
                                     .runtime = gv_slice_text("sglang"),
                                     .models = {gv_slice_text("llama")},
                                     .model_count = 1};
}

static void the_newest_version_wins_and_then_the_greater_name(void)
{
    struct gv_worker_table table;
    gv_worker_table_init(&table);
    struct gv_gossip_worker at = record("http://w", 5, "b");
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_OK);
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_ESTALE);
    at = record("http://w", 4, "c");
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_ESTALE);
    at = record("http://w", 5, "a");
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_ESTALE);
    at = record("http://w", 5, "c");
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_OK);
    at = record("http://w", 6, "a");
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_OK);
    const struct gv_gossip_worker *held = gv_worker_table_find(&table, gv_slice_text("http://w"));
    CU_ASSERT_PTR_NOT_NULL_FATAL(held);
    CU_ASSERT_EQUAL(held->version_ms, 6);
    CU_ASSERT(gv_slice_is(held->models[0], "llama"));
    CU_ASSERT_EQUAL(table.count, 1);
    gv_worker_table_deinit(&table);
}

/* Four records of one worker in all 24 orders: always the same end. */
static void the_order_of_arrival_does_not_matter(void)
{
    struct gv_gossip_worker all[4] = {record("http://w", 1, "a"), record("http://w", 2, "a"),
                                      record("http://w", 2, "b"), record("http://w", 1, "z")};
    all[2].deleted = true;
    for (uint32_t order = 0; order < 256; order++) {
        struct gv_worker_table table;
        gv_worker_table_init(&table);
        uint32_t seen = 0;
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t which = (order >> (2 * i)) & 3;
            seen |= UINT32_C(1) << which;
            (void)!gv_worker_table_put(&table, &all[which]);
        }
        const struct gv_gossip_worker *held =
            gv_worker_table_find(&table, gv_slice_text("http://w"));
        CU_ASSERT(seen != 15 || (held->deleted && held->version_ms == 2));
        gv_worker_table_deinit(&table);
    }
}

/* Both sides of the moment: kept at its version, dropped above. */
static void a_deleted_record_expires_and_a_living_one_does_not(void)
{
    struct gv_worker_table table;
    gv_worker_table_init(&table);
    struct gv_gossip_worker dead = record("http://dead", 100, "a");
    struct gv_gossip_worker alive = record("http://alive", 1, "a");
    dead.deleted = true;
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &dead), GV_OK);
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &alive), GV_OK);
    uint64_t with = gv_worker_table_digest(&table, 100);
    uint64_t without = gv_worker_table_digest(&table, 101);
    CU_ASSERT_NOT_EQUAL(with, without);
    gv_worker_table_expire(&table, 100);
    CU_ASSERT_EQUAL(table.count, 2);
    gv_worker_table_expire(&table, 101);
    CU_ASSERT_EQUAL(table.count, 1);
    CU_ASSERT_EQUAL(gv_worker_table_digest(&table, 0), without);
    gv_worker_table_deinit(&table);
}

static void texts_over_their_limit_are_refused(void)
{
    static char text[GV_GOSSIP_URL_MAX + 1];
    struct gv_worker_table table;
    struct gv_sayings sayings;
    gv_worker_table_init(&table);
    gv_sayings_init(&sayings);
    memset(text, 'x', sizeof text);
    struct gv_gossip_worker at = record("http://w", 1, "a");
    at.url = gv_slice_of(text, GV_GOSSIP_URL_MAX);
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_OK);
    at.url = gv_slice_of(text, GV_GOSSIP_URL_MAX + 1);
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_EINVAL);
    at = record("http://w", 1, "a");
    at.models[0] = gv_slice_of(text, GV_GOSSIP_MODEL_MAX + 1);
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(gv_sayings_open(&sayings, gv_slice_of(text, GV_GOSSIP_URL_MAX)));
    CU_ASSERT_PTR_NULL(gv_sayings_open(&sayings, gv_slice_of(text, GV_GOSSIP_URL_MAX + 1)));
    CU_ASSERT_PTR_NULL(gv_sayings_open(&sayings, gv_slice_of(text, 0)));
    gv_worker_table_deinit(&table);
    gv_sayings_deinit(&sayings);
}

static void without_memory_a_record_stays_as_it_was(void)
{
    struct gv_worker_table table;
    gv_worker_table_init(&table);
    struct gv_gossip_worker at = record("http://w", 1, "a");
    for (uint64_t nth = 1; nth <= 2; nth++) {
        gv_mem_fail_nth(nth);
        CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_ENOMEM);
        gv_mem_fail_nth(0);
        CU_ASSERT_EQUAL(table.count, 0);
    }
    gv_worker_table_deinit(&table);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_GOSSIP), 0);
}

/* Of any two different records of one member exactly one is news to the other. */
static void what_is_said_of_a_member_is_totally_ordered(void)
{
    for (uint32_t a = 0; a < 8; a++) {
        for (uint32_t b = 0; b < 8; b++) {
            struct gv_member one = {.incarnation = a / 4, .status = (enum gv_member_status)(a % 4)};
            struct gv_member two = {.incarnation = b / 4, .status = (enum gv_member_status)(b % 4)};
            CU_ASSERT_EQUAL(gv_member_is_news(&one, &two), b > a);
        }
    }
    CU_ASSERT_STRING_EQUAL(gv_member_status_name(GV_MEMBER_SUSPECT), "suspect");
}

/* Both sides of the limit; and what is held can be deleted and made smaller beyond it. */
static void records_together_have_a_limit_and_a_deletion_always_finds_room(void)
{
    static char urls[GV_RECORDS_MAX][16];
    char model[GV_GOSSIP_MODEL_MAX];
    struct gv_worker_table table;
    gv_worker_table_init(&table);
    memset(model, 'm', sizeof model);
    struct gv_gossip_worker at = record("http://w", 5, "a");
    at.model_count = GV_GOSSIP_MODELS_MAX;
    for (uint32_t i = 0; i < GV_GOSSIP_MODELS_MAX; i++) {
        at.models[i] = gv_slice_of(model, sizeof model);
    }
    uint32_t count = 0;
    for (enum gv_err err = GV_OK; err == GV_OK; count += err == GV_OK) {
        (void)snprintf(urls[count], sizeof urls[count], "http://%06u", (unsigned)count);
        at.url = gv_slice_text(urls[count]);
        err = gv_worker_table_put(&table, &at);
        CU_ASSERT(err == GV_OK || err == GV_EFULL);
        CU_ASSERT(table.bytes <= GV_RECORDS_BYTES);
    }
    CU_ASSERT(count > 900 && count < GV_RECORDS_MAX && count == table.count);
    size_t full = table.bytes;
    at.deleted = true;
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_OK); /* it fits: it is small */
    at.url = gv_slice_text(urls[0]);
    at.version_ms = 6;
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_OK);
    CU_ASSERT(table.bytes + 15 * GV_GOSSIP_MODEL_MAX < full);
    gv_worker_table_expire(&table, 7);
    CU_ASSERT_EQUAL(table.count, count - 1);
    at.deleted = false;
    at.version_ms = 8;
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_OK);
    CU_ASSERT_EQUAL(table.bytes, full);
    gv_worker_table_deinit(&table);
}

/* The origin of a deletion may have a longer name than that of the record: it must not matter. */
static void what_is_held_can_be_deleted_when_there_is_no_byte_left(void)
{
    static char urls[GV_RECORDS_MAX][GV_GOSSIP_URL_MAX + 1];
    struct gv_worker_table table;
    uint32_t count = 0;
    gv_worker_table_init(&table);
    struct gv_gossip_worker at = record("http://w", 5, "a");
    at.model_count = 0;
    at.runtime = gv_slice_text("");
    while (table.bytes < GV_RECORDS_BYTES) {
        size_t left = GV_RECORDS_BYTES - table.bytes - GV_RECORD_OVERHEAD - 1;
        size_t len = left < 2 * GV_GOSSIP_URL_MAX ? left / 2 : GV_GOSSIP_URL_MAX;
        len = left <= GV_GOSSIP_URL_MAX ? left : len;
        (void)snprintf(urls[count], sizeof urls[count], "http://%0*u", (int)len - 7,
                       (unsigned)count);
        at.url = gv_slice_text(urls[count]);
        CU_ASSERT_EQUAL_FATAL(gv_worker_table_put(&table, &at), GV_OK);
        count += 1;
    }
    CU_ASSERT_EQUAL(table.bytes, GV_RECORDS_BYTES);
    at.version_ms = 6;
    at.origin = gv_slice_text("longer");
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_EFULL);
    at.deleted = true;
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_OK);
    at.url = gv_slice_text("http://another");
    CU_ASSERT_EQUAL(gv_worker_table_put(&table, &at), GV_EFULL);
    gv_worker_table_deinit(&table);
}

GV_SUITE("gossip/register", GV_CASE(records_together_have_a_limit_and_a_deletion_always_finds_room),
         GV_CASE(what_is_held_can_be_deleted_when_there_is_no_byte_left),
         GV_CASE(the_newest_version_wins_and_then_the_greater_name),
         GV_CASE(the_order_of_arrival_does_not_matter),
         GV_CASE(a_deleted_record_expires_and_a_living_one_does_not),
         GV_CASE(texts_over_their_limit_are_refused),
         GV_CASE(without_memory_a_record_stays_as_it_was),
         GV_CASE(what_is_said_of_a_member_is_totally_ordered))
