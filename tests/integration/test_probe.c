/*
 * test_probe.c - how workers become ready, are refused, restart and leave, against fake engines.
 */
#include "../../src/proxy/ward.h"
#include "support/replies.h"
#include "support/suite.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_int metadata_role; /* 0: none told, 1: decode */
static atomic_int boot;
static atomic_int life;       /* how it tells its runs: 0 boot id, 1 uptime, 2 a counter */
static atomic_int life_value; /* of the uptime or the counter */
static atomic_bool other_model;

static bool reply_as_engine(struct gv_fake *fake, int fd)
{
    char body[512] = "{}";
    if (gv_fake_was_sent(fake, "GET /v1/models ")) {
        snprintf(body, sizeof body,
                 "{\"object\":\"list\",\"data\":[{\"id\":\"%s\",\"owned_by\":\"sglang\"}]}",
                 atomic_load(&other_model) ? "mistral" : "llama");
    } else if (gv_fake_was_sent(fake, "GET /get_server_info ")) {
        snprintf(
            body, sizeof body,
            "{\"disaggregation_mode\":\"%s\",\"max_total_num_tokens\":4000,\"boot_id\":\"b%d\"}",
            atomic_load(&metadata_role) == 1 ? "decode" : "null", atomic_load(&boot));
    }
    bool of_info = gv_fake_was_sent(fake, "GET /get_server_info ");
    if (of_info && atomic_load(&life) == 1) {
        snprintf(body, sizeof body, "{\"tp_size\":1,\"uptime_seconds\":%d}",
                 atomic_load(&life_value));
    } else if (of_info && atomic_load(&life) == 2) {
        snprintf(body, sizeof body, "{\"tp_size\":1}");
    } else if (gv_fake_was_sent(fake, "GET /metrics ") && atomic_load(&life) == 2) {
        snprintf(body, sizeof body, "sglang:prompt_tokens_total{m=\"a\"} %d\n",
                 atomic_load(&life_value));
    }
    char answer[1024];
    snprintf(answer, sizeof answer,
             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    gv_fake_say(fd, answer);
    return true;
}

struct wanted {
    struct gv_rig *rig;
    const char *url;
    enum gv_worker_state state;
};

static bool has_state(void *owner)
{
    struct wanted *wanted = owner;
    const struct gv_fleet_view *view = gv_fleet_acquire(wanted->rig->fleet);
    const struct gv_worker *worker = gv_fleet_find(view, gv_slice_text(wanted->url));
    bool is = worker != NULL && worker->state == wanted->state;
    gv_fleet_release(wanted->rig->fleet, view);
    return is;
}

static bool was_published(void *owner)
{
    struct gv_rig *rig = owner;
    return atomic_load(&rig->published) > 0;
}

static bool was_removed(void *owner)
{
    struct gv_rig *rig = owner;
    return atomic_load(&rig->removed) == 1;
}

static void a_worker_becomes_ready_with_its_metadata_and_leaves_when_drained(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    gv_rig_init(&rig);
    atomic_store(&metadata_role, 0);
    gv_fake_start(&fake, reply_as_engine);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_PENDING);
    gv_rig_probe(&rig);
    gv_rig_start(&rig);
    struct wanted ready = {&rig, fake.url, GV_WORKER_READY};
    CU_ASSERT(gv_test_await(has_state, &ready, 0));
    const struct gv_fleet_view *view = gv_fleet_acquire(rig.fleet);
    CU_ASSERT_STRING_EQUAL(view->workers[0].models[0], "llama");
    CU_ASSERT_EQUAL(view->workers[0].capacity_tokens, 4000);
    CU_ASSERT_STRING_EQUAL(view->workers[0].runtime, "sglang");
    gv_fleet_release(rig.fleet, view);
    CU_ASSERT_EQUAL(atomic_load(&rig.published), 0);
    atomic_fetch_add(&boot, 1); /* it restarted */
    CU_ASSERT(gv_test_await(was_published, &rig, 0));
    CU_ASSERT_EQUAL_FATAL(
        gv_fleet_set_state(rig.fleet, gv_slice_text(fake.url), GV_WORKER_DRAINING, "asked", 1),
        GV_OK);
    CU_ASSERT(gv_test_await(was_removed, &rig, 0));
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

static atomic_int health_count;

static bool reply_as_counted_engine(struct gv_fake *fake, int fd)
{
    bool of_health = gv_fake_was_sent(fake, "GET /health ");
    atomic_fetch_add(&health_count, of_health ? 1 : 0);
    return reply_as_engine(fake, fd);
}

/* Whatever is asked of an engine is asked once for all of its ranks. */
static void ranks_of_one_engine_are_probed_as_one_and_become_ready_and_unready_together(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    char urls[4][GV_WORKER_URL_MAX];
    gv_rig_init(&rig);
    atomic_store(&metadata_role, 0);
    atomic_store(&health_count, 0);
    gv_fake_start(&fake, reply_as_counted_engine);
    for (int i = 0; i < 4; i++) {
        snprintf(urls[i], sizeof urls[i], "%s@%d", fake.url, i);
        gv_rig_add_worker(&rig, urls[i], GV_POOL_REGULAR, GV_WORKER_PENDING);
    }
    rig.config.health_interval_ms = 1000000;
    gv_rig_probe(&rig);
    gv_rig_start(&rig);
    for (int i = 0; i < 4; i++) {
        struct wanted ready = {&rig, urls[i], GV_WORKER_READY};
        CU_ASSERT(gv_test_await(has_state, &ready, 0));
    }
    CU_ASSERT_EQUAL(atomic_load(&health_count), 2); /* as often as makes one ready */
    const struct gv_fleet_view *view = gv_fleet_acquire(rig.fleet);
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_STRING_EQUAL(view->workers[i].models[0], "llama");
        CU_ASSERT_STRING_EQUAL(view->workers[i].runtime, "sglang");
    }
    uint32_t last = view->workers[3].index;
    gv_fleet_release(rig.fleet, view);
    CU_ASSERT_EQUAL(atomic_load(&rig.opinions), 4);
    gv_fake_stop(&fake);
    gv_load_suspect(rig.load, last); /* a loop could not connect to the last of them */
    for (int i = 0; i < 4; i++) {
        struct wanted gone = {&rig, urls[i], GV_WORKER_NOT_READY};
        CU_ASSERT(gv_test_await(has_state, &gone, 0));
    }
    gv_rig_stop(&rig);
}

static void add_with(struct gv_rig *rig, const char *url, struct gv_worker_health health)
{
    struct gv_worker worker = {.pool = GV_POOL_REGULAR,
                               .state = GV_WORKER_PENDING,
                               .source = GV_SOURCE_API,
                               .bootstrap_port = -1,
                               .cost = 1,
                               .health = health};
    snprintf(worker.url, sizeof worker.url, "%s", url);
    CU_ASSERT_EQUAL_FATAL(gv_fleet_put(rig->fleet, &worker), GV_OK);
}

/* What a worker was registered with goes before the options; and one without probes is ready. */
static void a_worker_is_probed_as_it_was_registered_to_be(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_fake dead;
    gv_rig_init(&rig);
    atomic_store(&metadata_role, 0);
    atomic_store(&health_count, 0);
    gv_fake_start(&fake, reply_as_counted_engine);
    gv_fake_start(&dead, gv_fake_busy);
    gv_fake_stop(&dead);
    add_with(&rig, fake.url,
             (struct gv_worker_health){.success_threshold = 4, .interval_ms = 1000000});
    add_with(&rig, dead.url, (struct gv_worker_health){.is_off = true});
    gv_rig_probe(&rig);
    gv_rig_start(&rig);
    struct wanted ready = {&rig, fake.url, GV_WORKER_READY};
    struct wanted unasked = {&rig, dead.url, GV_WORKER_READY};
    CU_ASSERT(gv_test_await(has_state, &ready, 0));
    CU_ASSERT(gv_test_await(has_state, &unasked, 0));
    CU_ASSERT_EQUAL(atomic_load(&health_count), 4); /* of the options it would have been 2 */
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

struct count_wish {
    atomic_int *count;
    int least;
};

static bool is_reached(void *owner)
{
    const struct count_wish *wish = owner;
    return atomic_load(wish->count) >= wish->least;
}

/* Growing is living on; going back is a new life, and its cache is empty. */
static void an_uptime_or_a_counter_that_goes_back_is_a_restart(void)
{
    for (int kind = 1; kind <= 2; kind++) {
        struct gv_rig rig;
        struct gv_fake fake;
        gv_rig_init(&rig);
        atomic_store(&metadata_role, 0);
        atomic_store(&life, kind);
        atomic_store(&life_value, 100);
        gv_fake_start(&fake, reply_as_engine);
        gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_PENDING);
        gv_rig_probe(&rig);
        gv_rig_start(&rig);
        struct wanted ready = {&rig, fake.url, GV_WORKER_READY};
        CU_ASSERT(gv_test_await(has_state, &ready, 0));
        atomic_store(&life_value, 200);
        struct count_wish asked = {&fake.request_count, atomic_load(&fake.request_count) + 10};
        CU_ASSERT(gv_test_await(is_reached, &asked, 0)); /* two rounds of questions */
        CU_ASSERT_EQUAL(atomic_load(&rig.published), 0);
        atomic_store(&life_value, 50);
        struct count_wish floor = {&rig.published, 1};
        CU_ASSERT(gv_test_await(is_reached, &floor, 0));
        gv_rig_stop(&rig);
        gv_fake_stop(&fake);
    }
    atomic_store(&life, 0);
}

/* Ready workers are probed rarely; one that a loop could not reach, at once. */
static void a_suspicion_brings_the_next_probe_forward(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    gv_rig_init(&rig);
    atomic_store(&metadata_role, 0);
    gv_fake_start(&fake, reply_as_engine);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_PENDING);
    gv_rig_probe(&rig);
    rig.config.health_interval_ms = 1000000;
    gv_rig_start(&rig);
    struct wanted ready = {&rig, fake.url, GV_WORKER_READY};
    CU_ASSERT(gv_test_await(has_state, &ready, 0));
    struct count_wish asked = {&fake.request_count, atomic_load(&fake.request_count) + 1};
    gv_load_suspect(rig.load, 0);
    CU_ASSERT(gv_test_await(is_reached, &asked, 0));
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

static bool serves_only_the_other(void *owner)
{
    struct gv_rig *rig = owner;
    const struct gv_fleet_view *view = gv_fleet_acquire(rig->fleet);
    bool does = view->workers[0].model_count == 1 &&
                strcmp(view->workers[0].models[0], "mistral") == 0 &&
                view->workers[0].state == GV_WORKER_READY;
    gv_fleet_release(rig->fleet, view);
    return does;
}

static void a_live_worker_that_is_given_another_model_serves_only_that(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    gv_rig_init(&rig);
    atomic_store(&metadata_role, 0);
    atomic_store(&other_model, false);
    gv_fake_start(&fake, reply_as_engine);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_PENDING);
    gv_rig_probe(&rig);
    gv_rig_start(&rig);
    struct wanted ready = {&rig, fake.url, GV_WORKER_READY};
    CU_ASSERT(gv_test_await(has_state, &ready, 0));
    atomic_store(&other_model, true);
    CU_ASSERT(gv_test_await(serves_only_the_other, &rig, 0));
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
    atomic_store(&other_model, false);
}

static void a_worker_whose_role_contradicts_is_refused_until_it_agrees(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    gv_rig_init(&rig);
    atomic_store(&metadata_role, 1);
    gv_fake_start(&fake, reply_as_engine);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_PREFILL, GV_WORKER_PENDING);
    gv_rig_probe(&rig);
    gv_rig_start(&rig);
    struct wanted refused = {&rig, fake.url, GV_WORKER_REFUSED};
    CU_ASSERT(gv_test_await(has_state, &refused, 0));
    const struct gv_fleet_view *view = gv_fleet_acquire(rig.fleet);
    CU_ASSERT_PTR_NOT_NULL(strstr(view->workers[0].reason, "prefill"));
    CU_ASSERT_PTR_NOT_NULL(strstr(view->workers[0].reason, "decode"));
    gv_fleet_release(rig.fleet, view);
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

static void a_dead_worker_is_not_ready_and_never_given_up(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    gv_rig_init(&rig);
    atomic_store(&metadata_role, 0);
    gv_fake_start(&fake, gv_fake_busy);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_PENDING);
    gv_rig_probe(&rig);
    gv_rig_start(&rig);
    struct wanted dead = {&rig, fake.url, GV_WORKER_NOT_READY};
    CU_ASSERT(gv_test_await(has_state, &dead, 0));
    int before = atomic_load(&fake.request_count);
    while (atomic_load(&fake.request_count) < before + 3) {
        gv_test_pause();
    }
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

/* However soon: the probe may not have looked in between. */
static void a_worker_registered_anew_becomes_ready_again(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    gv_rig_init(&rig);
    rig.config.health_interval_ms = 3600000;
    atomic_store(&metadata_role, 0);
    gv_fake_start(&fake, reply_as_engine);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_PENDING);
    gv_rig_probe(&rig);
    gv_rig_start(&rig);
    struct wanted ready = {&rig, fake.url, GV_WORKER_READY};
    for (int i = 0; i < 3; i++) {
        CU_ASSERT(gv_test_await(has_state, &ready, 0));
        CU_ASSERT_EQUAL(gv_fleet_remove(rig.fleet, gv_slice_text(fake.url)), GV_OK);
        gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_PENDING);
    }
    CU_ASSERT(gv_test_await(has_state, &ready, 0));
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

/* Listens, so that the kernel takes every connection, and never answers. */
static int hang(char *url, size_t size)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    CU_ASSERT_EQUAL_FATAL(bind(listener, (struct sockaddr *)&addr, sizeof addr), 0);
    CU_ASSERT_EQUAL_FATAL(listen(listener, 4096), 0);
    CU_ASSERT_EQUAL_FATAL(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    snprintf(url, size, "http://127.0.0.1:%u", (unsigned)ntohs(addr.sin_port));
    return listener;
}

/* Only so many questions are out at once, and those that hang would take every place again. */
static void engines_that_hang_do_not_keep_others_from_being_asked(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    char url[64];
    char good[80];
    gv_rig_init(&rig);
    atomic_store(&metadata_role, 0);
    rig.config.health_timeout_ms = 1000;
    rig.config.health_interval_ms = 10;
    gv_fake_start(&fake, reply_as_engine);
    int listener = hang(url, sizeof url);
    for (int i = 0; i < 3 * (int)GV_WARD_ACTIVE_MAX; i++) {
        char of_one[80];
        snprintf(of_one, sizeof of_one, "%s/%d", url, i);
        gv_rig_add_worker(&rig, of_one, GV_POOL_REGULAR, GV_WORKER_PENDING);
    }
    snprintf(good, sizeof good, "http://localhost:%u", (unsigned)fake.port); /* last in the view */
    gv_rig_add_worker(&rig, good, GV_POOL_REGULAR, GV_WORKER_PENDING);
    gv_rig_probe(&rig);
    gv_rig_start(&rig);
    struct wanted ready = {&rig, good, GV_WORKER_READY};
    CU_ASSERT(gv_test_await(has_state, &ready, 0));
    gv_rig_stop(&rig);
    close(listener);
    gv_fake_stop(&fake);
}

GV_SUITE("integration/probe", GV_CASE(a_worker_is_probed_as_it_was_registered_to_be),
         GV_CASE(ranks_of_one_engine_are_probed_as_one_and_become_ready_and_unready_together),
         GV_CASE(engines_that_hang_do_not_keep_others_from_being_asked),
         GV_CASE(a_worker_registered_anew_becomes_ready_again),
         GV_CASE(a_worker_becomes_ready_with_its_metadata_and_leaves_when_drained),
         GV_CASE(a_live_worker_that_is_given_another_model_serves_only_that),
         GV_CASE(a_worker_whose_role_contradicts_is_refused_until_it_agrees),
         GV_CASE(an_uptime_or_a_counter_that_goes_back_is_a_restart),
         GV_CASE(a_suspicion_brings_the_next_probe_forward),
         GV_CASE(a_dead_worker_is_not_ready_and_never_given_up))
