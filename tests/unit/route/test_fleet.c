#include "grapevine/base/mem.h"
#include "grapevine/route/fleet.h"
#include "grapevine/route/load.h"
#include "support/suite.h"

#include <stdio.h>
#include <string.h>

static struct gv_worker worker_at(const char *url)
{
    struct gv_worker worker;
    memset(&worker, 0, sizeof worker);
    snprintf(worker.url, sizeof worker.url, "%s", url);
    return worker;
}

static struct gv_fleet *fleet_of(const char *const *urls, uint32_t count)
{
    struct gv_fleet *fleet = NULL;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_new(&fleet), GV_OK);
    for (uint32_t i = 0; i < count; i++) {
        struct gv_worker worker = worker_at(urls[i]);
        CU_ASSERT_EQUAL(gv_fleet_put(fleet, &worker), GV_OK);
    }
    return fleet;
}

static const char *const three[] = {"http://b:1", "http://a:1", "http://a:10"};

static void a_view_is_sorted_by_url_and_does_not_change_in_the_hand(void)
{
    struct gv_fleet *fleet = fleet_of(three, 3);
    const struct gv_fleet_view *view = gv_fleet_acquire(fleet);
    CU_ASSERT_EQUAL(view->count, 3);
    CU_ASSERT_STRING_EQUAL(view->workers[0].url, "http://a:1");
    CU_ASSERT_STRING_EQUAL(view->workers[1].url, "http://a:10");
    CU_ASSERT_STRING_EQUAL(view->workers[2].url, "http://b:1");
    CU_ASSERT_EQUAL(gv_fleet_remove(fleet, gv_slice_text("http://a:10")), GV_OK);
    CU_ASSERT_EQUAL(gv_fleet_remove(fleet, gv_slice_text("http://a:10")), GV_ENOTFOUND);
    CU_ASSERT_EQUAL(view->count, 3);
    CU_ASSERT_TRUE(gv_fleet_version(fleet) > view->version);
    const struct gv_fleet_view *next = gv_fleet_acquire(fleet);
    CU_ASSERT_EQUAL(next->count, 2);
    CU_ASSERT_EQUAL(next->version, gv_fleet_version(fleet));
    gv_fleet_release(fleet, next);
    gv_fleet_release(fleet, view);
    gv_fleet_free(fleet);
}

static void an_index_is_given_once_and_never_to_another(void)
{
    struct gv_fleet *fleet = fleet_of(three, 1);
    uint32_t first = 9;
    uint32_t later = 9;
    char url[GV_WORKER_URL_MAX];
    CU_ASSERT_EQUAL(gv_fleet_index(fleet, gv_slice_text("http://b:1"), &first), GV_OK);
    CU_ASSERT_EQUAL(first, 0);
    CU_ASSERT_EQUAL(gv_fleet_remove(fleet, gv_slice_text("http://b:1")), GV_OK);
    CU_ASSERT_EQUAL(gv_fleet_index(fleet, gv_slice_text("http://c:1"), &later), GV_OK);
    CU_ASSERT_EQUAL(later, 1);
    CU_ASSERT_EQUAL(gv_fleet_index(fleet, gv_slice_text("http://b:1"), &later), GV_OK);
    CU_ASSERT_EQUAL(later, first);
    CU_ASSERT_TRUE(gv_fleet_url(fleet, 1, url));
    CU_ASSERT_STRING_EQUAL(url, "http://c:1");
    CU_ASSERT_FALSE(gv_fleet_url(fleet, 2, url));
    gv_fleet_free(fleet);
}

static void an_id_follows_from_the_url_alone_and_finds_its_worker(void)
{
    struct gv_fleet *here = fleet_of(three, 3);
    struct gv_fleet *there = fleet_of(three + 1, 1);
    const struct gv_fleet_view *view = gv_fleet_acquire(here);
    const struct gv_fleet_view *other = gv_fleet_acquire(there);
    const struct gv_worker *worker = gv_fleet_find(view, gv_slice_text("http://a:1"));
    CU_ASSERT_PTR_NOT_NULL_FATAL(worker);
    CU_ASSERT_STRING_EQUAL(worker->id, other->workers[0].id);
    CU_ASSERT_EQUAL(strlen(worker->id), 36);
    CU_ASSERT_EQUAL(worker->id[14], '8');
    CU_ASSERT_PTR_EQUAL(gv_fleet_find(view, gv_slice_text(worker->id)), worker);
    CU_ASSERT_PTR_NULL(gv_fleet_find(view, gv_slice_text("http://a")));
    gv_fleet_release(here, view);
    gv_fleet_release(there, other);
    gv_fleet_free(here);
    gv_fleet_free(there);
}

static void ready_workers_are_counted_by_pool_and_keep_since_when(void)
{
    struct gv_fleet *fleet = fleet_of(three, 3);
    struct gv_slice url = gv_slice_text("http://a:1");
    CU_ASSERT_EQUAL(gv_fleet_set_state(fleet, url, GV_WORKER_READY, "probed", 100), GV_OK);
    CU_ASSERT_EQUAL(gv_fleet_set_state(fleet, url, GV_WORKER_READY, "probed", 200), GV_OK);
    CU_ASSERT_EQUAL(gv_fleet_set_state(fleet, gv_slice_text("http://x:1"), GV_WORKER_READY, "", 1),
                    GV_ENOTFOUND);
    const struct gv_fleet_view *view = gv_fleet_acquire(fleet);
    CU_ASSERT_EQUAL(view->ready_count[GV_POOL_REGULAR], 1);
    CU_ASSERT_EQUAL(view->workers[0].ready_since_ms, 100);
    gv_fleet_release(fleet, view);
    gv_fleet_free(fleet);
}

static void putting_again_keeps_the_state_unless_pool_or_models_changed(void)
{
    struct gv_fleet *fleet = fleet_of(three, 1);
    struct gv_slice url = gv_slice_text(three[0]);
    struct gv_worker worker = worker_at(three[0]);
    CU_ASSERT_EQUAL(gv_fleet_set_state(fleet, url, GV_WORKER_READY, "probed", 100), GV_OK);
    CU_ASSERT_EQUAL(gv_fleet_set_metadata(fleet, url, "m", "sglang", 5000), GV_OK);
    worker.priority = 7;
    CU_ASSERT_EQUAL(gv_fleet_put(fleet, &worker), GV_OK);
    const struct gv_fleet_view *view = gv_fleet_acquire(fleet);
    CU_ASSERT_EQUAL(view->workers[0].state, GV_WORKER_READY);
    CU_ASSERT_EQUAL(view->workers[0].priority, 7);
    CU_ASSERT_STRING_EQUAL(view->workers[0].models[0], "m");
    CU_ASSERT_EQUAL(view->workers[0].capacity_tokens, 5000);
    gv_fleet_release(fleet, view);
    worker.pool = GV_POOL_DECODE;
    CU_ASSERT_EQUAL(gv_fleet_put(fleet, &worker), GV_OK);
    view = gv_fleet_acquire(fleet);
    CU_ASSERT_EQUAL(view->workers[0].state, GV_WORKER_PENDING);
    CU_ASSERT_EQUAL(view->workers[0].ready_since_ms, 0);
    gv_fleet_release(fleet, view);
    worker.url[0] = '\0';
    CU_ASSERT_EQUAL(gv_fleet_put(fleet, &worker), GV_EINVAL);
    gv_fleet_free(fleet);
}

static void models_are_replaced_and_not_only_added(void)
{
    struct gv_fleet *fleet = fleet_of(three, 1);
    struct gv_slice url = gv_slice_text(three[0]);
    char models[GV_WORKER_MODELS_MAX + 1][GV_WORKER_MODEL_MAX] = {{0}};
    for (int i = 0; i <= GV_WORKER_MODELS_MAX; i++) {
        snprintf(models[i], sizeof models[i], "m%d", i);
    }
    CU_ASSERT_EQUAL(gv_fleet_set_models(fleet, url, models[0], GV_WORKER_MODELS_MAX + 1), GV_OK);
    const struct gv_fleet_view *view = gv_fleet_acquire(fleet);
    CU_ASSERT_EQUAL(view->workers[0].model_count, GV_WORKER_MODELS_MAX);
    gv_fleet_release(fleet, view);
    CU_ASSERT_EQUAL(gv_fleet_set_models(fleet, url, models[3], 2), GV_OK);
    view = gv_fleet_acquire(fleet);
    CU_ASSERT_EQUAL(view->workers[0].model_count, 2);
    CU_ASSERT_STRING_EQUAL(view->workers[0].models[0], "m3");
    CU_ASSERT_STRING_EQUAL(view->workers[0].models[1], "m4");
    gv_fleet_release(fleet, view);
    uint64_t version = gv_fleet_version(fleet);
    CU_ASSERT_EQUAL(gv_fleet_set_models(fleet, url, models[3], 2), GV_OK);
    CU_ASSERT_EQUAL(gv_fleet_version(fleet), version); /* nothing new */
    CU_ASSERT_EQUAL(gv_fleet_set_models(fleet, gv_slice_text("http://x:1"), models[0], 1),
                    GV_ENOTFOUND);
    gv_fleet_free(fleet);
}

static void indexes_have_a_limit(void)
{
    struct gv_fleet *fleet = fleet_of(three, 0);
    uint32_t index = 0;
    char url[32];
    for (uint32_t i = 0; i < GV_WORKERS_MAX; i++) {
        int len = snprintf(url, sizeof url, "http://w%u:1", i);
        CU_ASSERT_EQUAL_FATAL(gv_fleet_index(fleet, gv_slice_of(url, (size_t)len), &index), GV_OK);
    }
    CU_ASSERT_EQUAL(index, GV_WORKERS_MAX - 1);
    CU_ASSERT_EQUAL(gv_fleet_index(fleet, gv_slice_text("http://more:1"), &index), GV_EFULL);
    char big[GV_WORKER_URL_MAX] = {0};
    CU_ASSERT_EQUAL(gv_fleet_index(fleet, gv_slice_of(big, sizeof big), &index), GV_ETOOBIG);
    gv_fleet_free(fleet);
}

static void a_failing_allocation_leaves_the_fleet_as_it_was(void)
{
    size_t before = gv_mem_used(GV_MEM_FLEET);
    bool made = false;
    for (uint64_t n = 1; !made; n++) {
        CU_ASSERT_TRUE_FATAL(n < 50);
        struct gv_fleet *fleet = NULL;
        struct gv_worker worker = worker_at(three[0]);
        gv_mem_fail_nth(n);
        bool whole = gv_fleet_new(&fleet) == GV_OK;
        made = whole && gv_fleet_put(fleet, &worker) == GV_OK &&
               gv_fleet_set_state(fleet, gv_slice_text(three[0]), GV_WORKER_READY, "", 1) == GV_OK;
        gv_mem_fail_nth(0);
        gv_fleet_free(fleet);
        CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_FLEET), before);
    }
}

static void loads_are_what_was_taken_and_not_yet_given(void)
{
    struct gv_load_table *table = NULL;
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&table), GV_OK);
    gv_load_take(table, 5, 100);
    gv_load_take(table, 5, 50);
    gv_load_take(table, GV_WORKERS_MAX - 1, 1);
    gv_load_set_remote(table, 5, 3, 700);
    gv_load_first_byte(table, 5, 100);
    struct gv_load load = gv_load_get(table, 5);
    CU_ASSERT_EQUAL(load.own_count, 2);
    CU_ASSERT_EQUAL(load.own_bytes, 50);
    CU_ASSERT_EQUAL(load.remote_count, 3);
    CU_ASSERT_EQUAL(load.remote_bytes, 700);
    gv_load_give(table, 5, 0);
    gv_load_give(table, 5, 50);
    gv_load_give(table, GV_WORKERS_MAX - 1, 1);
    CU_ASSERT_EQUAL(gv_load_get(table, 5).own_count, 0);
    CU_ASSERT_EQUAL(gv_load_get(table, 5).own_bytes, 0);
    CU_ASSERT_EQUAL(gv_load_own_total(table), 0);
    gv_load_free(table);
}

GV_SUITE("route/fleet", GV_CASE(models_are_replaced_and_not_only_added),
         GV_CASE(a_view_is_sorted_by_url_and_does_not_change_in_the_hand),
         GV_CASE(an_index_is_given_once_and_never_to_another),
         GV_CASE(an_id_follows_from_the_url_alone_and_finds_its_worker),
         GV_CASE(ready_workers_are_counted_by_pool_and_keep_since_when),
         GV_CASE(putting_again_keeps_the_state_unless_pool_or_models_changed),
         GV_CASE(indexes_have_a_limit), GV_CASE(a_failing_allocation_leaves_the_fleet_as_it_was),
         GV_CASE(loads_are_what_was_taken_and_not_yet_given))
