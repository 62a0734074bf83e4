/*
 * test_retry.c - what happens when workers fail: tries, budgets, breakers, and whose words the
 * client gets.
 */
#include "grapevine/proxy/exchange.h"
#include "support/replies.h"
#include "support/suite.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Busy, with words and a wish. */
static bool reply_come_again(struct gv_fake *fake, int fd)
{
    (void)fake;
    gv_fake_say(fd, "HTTP/1.1 429 Slow Down\r\nContent-Type: text/plain\r\nRetry-After: 1\r\n"
                    "X-Quota: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "4\r\ncome\r\n6\r\n again\r\n0\r\n\r\n");
    return true;
}

static void the_last_answer_of_a_worker_passes_whole_when_nothing_is_left_to_try(void)
{
    struct gv_rig rig;
    struct gv_fake busy;
    struct gv_fake dead;
    struct gv_reply reply;
    char value[32];
    gv_rig_init(&rig);
    gv_fake_start(&busy, reply_come_again);
    gv_fake_start(&dead, gv_fake_hello);
    gv_fake_stop(&dead);
    gv_rig_add_worker(&rig, busy.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_add_worker(&rig, dead.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig.config.retry_max = 2;
    gv_rig_start(&rig);
    for (int i = 0; i < 8; i++) { /* whichever of the two comes first */
        char body[256];
        snprintf(body, sizeof body,
                 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"%d words\"}]}",
                 i);
        gv_talk_ask(rig.port, "POST", GV_RIG_CHAT, NULL, body, &reply);
        CU_ASSERT_EQUAL(reply.status, 429);
        CU_ASSERT(reply.whole);
        CU_ASSERT_STRING_EQUAL(reply.body, "come again");
        CU_ASSERT(gv_reply_header(&reply, "retry-after", value, sizeof value));
        CU_ASSERT_STRING_EQUAL(value, "1");
        CU_ASSERT(gv_reply_header(&reply, "x-quota", value, sizeof value));
        gv_reply_deinit(&reply);
    }
    gv_rig_stop(&rig);
    gv_fake_stop(&busy);
}

static void ask_for(struct gv_rig *rig, int status)
{
    struct gv_reply reply;
    gv_rig_chat(rig, &reply);
    CU_ASSERT_EQUAL(reply.status, status);
    gv_reply_deinit(&reply);
    CU_ASSERT(gv_test_await(gv_rig_is_unloaded, rig, 0)); /* the breaker has been told */
}

static enum gv_breaker_state breaker_of(struct gv_rig *rig, const char *url)
{
    uint32_t index = 0;
    CU_ASSERT_EQUAL(gv_fleet_index(rig->fleet, gv_slice_text(url), &index), GV_OK);
    return gv_breakers_state(rig->breakers, index);
}

static void a_worker_that_keeps_failing_is_left_alone_and_what_it_said_last_is_passed_on(void)
{
    struct gv_rig rig;
    struct gv_fake busy;
    struct gv_reply reply;
    gv_rig_init(&rig);
    gv_fake_start(&busy, gv_fake_busy);
    gv_rig_add_worker(&rig, busy.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig.config.cb_failure_threshold = 2;
    gv_rig_start(&rig);
    CU_ASSERT_EQUAL(breaker_of(&rig, busy.url), GV_BREAKER_CLOSED);
    for (int i = 1; i <= 2; i++) { /* each is asked once: nobody else may come */
        gv_rig_chat(&rig, &reply);
        CU_ASSERT_EQUAL(reply.status, 503);
        CU_ASSERT_STRING_EQUAL(reply.body, "busy now");
        gv_reply_deinit(&reply);
        CU_ASSERT(gv_test_await(gv_rig_is_unloaded, &rig, 0));
        CU_ASSERT_EQUAL(atomic_load(&busy.request_count), i);
    }
    CU_ASSERT_EQUAL(breaker_of(&rig, busy.url), GV_BREAKER_OPEN);
    gv_rig_chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "1 with an open breaker"));
    gv_reply_deinit(&reply);
    CU_ASSERT_EQUAL(atomic_load(&busy.request_count), 2);
    gv_rig_stop(&rig);
    gv_fake_stop(&busy);
}

static atomic_bool is_well;

static bool reply_cut_or_hello(struct gv_fake *fake, int fd)
{
    return atomic_load(&is_well) ? gv_fake_hello(fake, fd) : gv_fake_cut(fake, fd);
}

static void a_break_in_mid_stream_opens_the_breaker_and_good_trials_close_it(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    gv_rig_init(&rig);
    gv_fake_start(&fake, reply_cut_or_hello);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig.config.cb_failure_threshold = 2;
    rig.config.cb_success_threshold = 2;
    rig.config.cb_timeout_ms = 1;
    rig.config.disable_retries = 1;
    gv_rig_start(&rig);
    atomic_store(&is_well, false);
    ask_for(&rig, 200);
    ask_for(&rig, 200);
    CU_ASSERT_EQUAL(breaker_of(&rig, fake.url), GV_BREAKER_OPEN);
    atomic_store(&is_well, true);
    gv_test_pause();
    ask_for(&rig, 200);
    CU_ASSERT_EQUAL(breaker_of(&rig, fake.url), GV_BREAKER_TRIAL);
    ask_for(&rig, 200);
    CU_ASSERT_EQUAL(breaker_of(&rig, fake.url), GV_BREAKER_CLOSED);
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

static void what_is_the_clients_fault_is_not_held_against_a_worker(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    gv_rig_init(&rig);
    gv_fake_start(&fake, gv_fake_bad_request);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig.config.cb_failure_threshold = 1;
    gv_rig_start(&rig);
    for (int i = 0; i < 5; i++) {
        ask_for(&rig, 400);
    }
    CU_ASSERT_EQUAL(breaker_of(&rig, fake.url), GV_BREAKER_CLOSED);
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

/* Busy, and alone: it may be asked again. */
static bool reply_too_many(struct gv_fake *fake, int fd)
{
    (void)fake;
    gv_fake_say(fd, "HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n\r\n");
    return true;
}

static void retries_end_when_their_budget_is_spent(void)
{
    struct gv_rig rig;
    struct gv_fake busy;
    gv_rig_init(&rig);
    gv_fake_start(&busy, reply_too_many);
    gv_rig_add_worker(&rig, busy.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig.config.retry_budget_ratio = 0;
    rig.config.retry_max = 100;
    rig.config.cb_failure_threshold = 10000;
    rig.config.retry_initial_backoff_ms = 0;
    rig.config.retry_max_backoff_ms = 0;
    gv_rig_start(&rig);
    ask_for(&rig, 429);
    int count = atomic_load(&busy.request_count);
    CU_ASSERT(count >= 11 && count < 100); /* the reserve, and what time earned meanwhile */
    gv_rig_stop(&rig);
    gv_fake_stop(&busy);
}

/* Busy the first time, well from then on. */
static bool reply_later(struct gv_fake *fake, int fd)
{
    return atomic_load(&fake->request_count) > 1 ? gv_fake_hello(fake, fd)
                                                 : reply_too_many(fake, fd);
}

/* Fleets of one engine that says "too many" for a moment: the client is not to see it. */
static void a_worker_that_is_alone_and_busy_for_a_moment_is_asked_again(void)
{
    struct gv_rig rig;
    struct gv_fake busy;
    gv_rig_init(&rig);
    gv_fake_start(&busy, reply_later);
    gv_rig_add_worker(&rig, busy.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_start(&rig);
    ask_for(&rig, 200);
    CU_ASSERT_EQUAL(atomic_load(&busy.request_count), 2);
    gv_rig_stop(&rig);
    gv_fake_stop(&busy);
}

static struct gv_fake *_Atomic first_asked;
static atomic_int asked_again; /* of those that had failed */

/* Whoever is asked first is busy for a moment; the other one fails. */
static bool reply_busy_or_failed(struct gv_fake *fake, int fd)
{
    struct gv_fake *nobody = NULL;
    bool is_first = atomic_compare_exchange_strong(&first_asked, &nobody, fake);
    if (is_first) {
        return reply_too_many(fake, fd);
    }
    if (atomic_load(&first_asked) == fake) {
        return gv_fake_hello(fake, fd);
    }
    atomic_store(&asked_again, atomic_load(&fake->request_count) - 1);
    gv_fake_say(fd, "HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n");
    return true;
}

/* One was busy, the other broke: the one that asked for it is called again, and not the other. */
static void who_asked_to_be_called_again_is_and_not_who_failed_after_it(void)
{
    struct gv_rig rig;
    struct gv_fake fakes[2];
    gv_rig_init(&rig);
    for (int i = 0; i < 2; i++) {
        gv_fake_start(&fakes[i], reply_busy_or_failed);
        gv_rig_add_worker(&rig, fakes[i].url, GV_POOL_REGULAR, GV_WORKER_READY);
    }
    gv_rig_start(&rig);
    ask_for(&rig, 200);
    CU_ASSERT_EQUAL(atomic_load(&asked_again), 0);
    CU_ASSERT_EQUAL(atomic_load(&fakes[0].request_count) + atomic_load(&fakes[1].request_count), 3);
    gv_rig_stop(&rig);
    gv_fake_stop(&fakes[0]);
    gv_fake_stop(&fakes[1]);
}

/* It had the request, and is gone. */
static bool reply_by_dying(struct gv_fake *fake, int fd)
{
    (void)fake;
    (void)fd;
    return false;
}

/* A request that kills engines must not be carried from one to the next. */
static void a_request_that_kills_workers_kills_three_of_five(void)
{
    struct gv_rig rig;
    struct gv_fake mortal[5];
    int deaths = 0;
    gv_rig_init(&rig);
    for (int i = 0; i < 5; i++) {
        gv_fake_start(&mortal[i], reply_by_dying);
        gv_rig_add_worker(&rig, mortal[i].url, GV_POOL_REGULAR, GV_WORKER_READY);
    }
    rig.config.retry_max = 5;
    gv_rig_start(&rig);
    ask_for(&rig, 502);
    for (int i = 0; i < 5; i++) {
        CU_ASSERT(atomic_load(&mortal[i].request_count) <= 1);
        deaths += atomic_load(&mortal[i].request_count);
    }
    CU_ASSERT_EQUAL(deaths, GV_EXCHANGE_DEATHS_MAX);
    gv_rig_stop(&rig);
    for (int i = 0; i < 5; i++) {
        gv_fake_stop(&mortal[i]);
    }
}

struct arrival {
    struct gv_rig *rig;
    struct gv_fake *dying;
    const char *url; /* who gets well */
};

/* As soon as the first worker has failed, the other is well. */
static void *arrive(void *arg)
{
    struct arrival *arrival = arg;
    while (atomic_load(&arrival->dying->request_count) == 0) {
        gv_test_pause();
    }
    CU_ASSERT_EQUAL(gv_fleet_set_state(arrival->rig->fleet, gv_slice_text(arrival->url),
                                       GV_WORKER_READY, "", 1),
                    GV_OK);
    return NULL;
}

/* With a backoff of a minute, anything but being told would show. */
static void who_gets_well_while_a_request_waits_takes_it_at_once(void)
{
    struct gv_rig rig;
    struct gv_fake dying;
    struct gv_fake other;
    pthread_t thread;
    gv_rig_init(&rig);
    gv_fake_start(&dying, reply_by_dying);
    gv_fake_start(&other, gv_fake_hello);
    gv_rig_add_worker(&rig, dying.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_add_worker(&rig, other.url, GV_POOL_REGULAR, GV_WORKER_NOT_READY);
    rig.config.retry_initial_backoff_ms = 60000;
    rig.config.retry_max_backoff_ms = 60000;
    rig.config.request_timeout_ms = 600000;
    gv_rig_start(&rig);
    struct arrival arrival = {&rig, &dying, other.url};
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, arrive, &arrival), 0);
    ask_for(&rig, 200);
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(atomic_load(&dying.request_count), 1);
    CU_ASSERT_EQUAL(atomic_load(&other.request_count), 1);
    gv_rig_stop(&rig);
    gv_fake_stop(&dying);
    gv_fake_stop(&other);
}

/* Nobody listens there: known of all ranks with the first of them. */
static void a_refused_connection_to_one_rank_counts_for_all_ranks_of_its_engine(void)
{
    struct gv_rig rig;
    struct gv_fake dead;
    char urls[2][GV_WORKER_URL_MAX];
    gv_rig_init(&rig);
    gv_fake_start(&dead, gv_fake_hello);
    gv_fake_stop(&dead);
    for (int i = 0; i < 2; i++) {
        snprintf(urls[i], sizeof urls[i], "%s@%d", dead.url, i);
        gv_rig_add_worker(&rig, urls[i], GV_POOL_REGULAR, GV_WORKER_READY);
    }
    rig.config.cb_failure_threshold = 2;
    gv_rig_start(&rig);
    ask_for(&rig, 502);
    CU_ASSERT_EQUAL(breaker_of(&rig, urls[0]), GV_BREAKER_CLOSED); /* one failure, not two */
    CU_ASSERT_EQUAL(breaker_of(&rig, urls[1]), GV_BREAKER_CLOSED);
    ask_for(&rig, 502);
    CU_ASSERT_EQUAL(breaker_of(&rig, urls[0]), GV_BREAKER_OPEN);
    CU_ASSERT_EQUAL(breaker_of(&rig, urls[1]), GV_BREAKER_OPEN);
    gv_rig_stop(&rig);
}

GV_SUITE("integration/retry", GV_CASE(a_worker_that_is_alone_and_busy_for_a_moment_is_asked_again),
         GV_CASE(who_asked_to_be_called_again_is_and_not_who_failed_after_it),
         GV_CASE(a_request_that_kills_workers_kills_three_of_five),
         GV_CASE(who_gets_well_while_a_request_waits_takes_it_at_once),
         GV_CASE(a_refused_connection_to_one_rank_counts_for_all_ranks_of_its_engine),
         GV_CASE(the_last_answer_of_a_worker_passes_whole_when_nothing_is_left_to_try),
         GV_CASE(a_worker_that_keeps_failing_is_left_alone_and_what_it_said_last_is_passed_on),
         GV_CASE(a_break_in_mid_stream_opens_the_breaker_and_good_trials_close_it),
         GV_CASE(what_is_the_clients_fault_is_not_held_against_a_worker),
         GV_CASE(retries_end_when_their_budget_is_spent))
