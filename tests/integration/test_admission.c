/*
 * test_admission.c - limits on requests, over loopback: who waits, who is refused, and that every
 * place is given back, whatever happens to the request.
 */
#include "grapevine/base/prng.h"
#include "grapevine/proxy/admission.h"
#include "support/fake.h"
#include "support/process.h"
#include "support/rig.h"
#include "support/suite.h"
#include "support/talk.h"
#include "support/world.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHAT "/v1/chat/completions"
#define BODY "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello there\"}]}"

static atomic_bool may_answer;
static atomic_int inside;
static atomic_int inside_most;

static bool is_allowed(void *owner)
{
    (void)owner;
    return atomic_load(&may_answer);
}

/* Answers when it may; counts how many requests it holds at a time. */
static bool reply_when_allowed(struct gv_fake *fake, int fd)
{
    (void)fake;
    int now = atomic_fetch_add(&inside, 1) + 1;
    int most = atomic_load(&inside_most);
    while (now > most && !atomic_compare_exchange_weak(&inside_most, &most, now)) {
    }
    CU_ASSERT(gv_test_await(is_allowed, NULL, 0));
    atomic_fetch_sub(&inside, 1);
    gv_fake_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    return true;
}

struct story {
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_admission *admission;
};

static struct story story;

static void begin(struct gv_admission_limits limits)
{
    atomic_store(&may_answer, false);
    atomic_store(&inside, 0);
    atomic_store(&inside_most, 0);
    gv_rig_init(&story.rig);
    gv_fake_start(&story.fake, reply_when_allowed);
    gv_rig_add_worker(&story.rig, story.fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    CU_ASSERT_EQUAL_FATAL(gv_admission_new(limits, gv_clock_us(), &story.admission), GV_OK);
    story.rig.shared.admission = story.admission;
    story.rig.config.queue_size = limits.waiting_max;
    story.rig.config.max_concurrent_requests = limits.running_max;
    story.rig.config.rate_per_second = limits.per_second;
    story.rig.config.queue_timeout_ms = 60000;
}

static struct gv_admission_stats stats(void)
{
    struct gv_admission_stats stats;
    gv_admission_stats(story.admission, &stats);
    return stats;
}

static bool is_empty(void *owner)
{
    (void)owner;
    return stats().running == 0 && stats().waiting == 0;
}

static bool one_runs(void *owner)
{
    (void)owner;
    return stats().running == 1;
}

static bool one_waits(void *owner)
{
    (void)owner;
    return stats().waiting == 1;
}

static bool nobody_waits(void *owner)
{
    (void)owner;
    return stats().waiting == 0;
}

static bool one_is_inside(void *owner)
{
    (void)owner;
    return atomic_load(&inside) == 1;
}

static bool nobody_is_inside(void *owner)
{
    (void)owner;
    return atomic_load(&inside) == 0;
}

static void end(void)
{
    CU_ASSERT(gv_test_await(is_empty, NULL, 0));
    gv_rig_stop(&story.rig);
    gv_fake_stop(&story.fake);
    gv_admission_free(story.admission);
}

/* Ask on a connection of its own, and leave the answer to come. */
static int ask(void)
{
    char request[512];
    int fd = gv_talk_connect(story.rig.port);
    snprintf(request, sizeof request,
             "POST " CHAT " HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", strlen(BODY),
             BODY);
    CU_ASSERT(gv_talk_send_text(fd, request));
    return fd;
}

static void expect(int fd, int status, const char *code)
{
    struct gv_reply reply;
    char value[64] = "";
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, status);
    CU_ASSERT(reply.whole);
    if (code != NULL) {
        CU_ASSERT(gv_reply_header(&reply, "X-SMG-Error-Code", value, sizeof value));
        CU_ASSERT_STRING_EQUAL(value, code);
        CU_ASSERT(gv_reply_header(&reply, "Retry-After", value, sizeof value));
        CU_ASSERT_STRING_EQUAL(value, "1");
    }
    gv_reply_deinit(&reply);
}

static void over_the_limit_requests_wait_and_over_the_queue_they_are_429(void)
{
    begin((struct gv_admission_limits){.running_max = 1, .waiting_max = 1});
    gv_rig_start(&story.rig);
    int first = ask();
    CU_ASSERT(gv_test_await(one_runs, NULL, 0));
    int second = ask();
    CU_ASSERT(gv_test_await(one_waits, NULL, 0));
    int third = ask();
    expect(third, 429, "too_many_requests");
    struct gv_reply reply; /* what goes to no worker is not limited */
    gv_talk_ask(story.rig.port, "GET", "/v1/models", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    CU_ASSERT(gv_test_await(one_is_inside, NULL, 0));
    CU_ASSERT_EQUAL(atomic_load(&story.fake.request_count), 1);
    atomic_store(&may_answer, true);
    expect(first, 200, NULL);
    expect(second, 200, NULL);
    CU_ASSERT_EQUAL(atomic_load(&inside_most), 1);
    close(first);
    close(second);
    close(third);
    end();
}

static void a_wait_that_is_too_long_is_408_and_the_connection_stays(void)
{
    begin((struct gv_admission_limits){.running_max = 1, .waiting_max = 5});
    story.rig.config.queue_timeout_ms = 150;
    gv_rig_start(&story.rig);
    int first = ask();
    CU_ASSERT(gv_test_await(one_runs, NULL, 0));
    int second = ask();
    expect(second, 408, "queue_timeout");
    CU_ASSERT_EQUAL(stats().waiting, 0);
    CU_ASSERT(gv_talk_send_text(second, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"));
    expect(second, 200, NULL);
    atomic_store(&may_answer, true);
    expect(first, 200, NULL);
    close(first);
    close(second);
    end();
}

static void a_client_that_leaves_the_queue_makes_room_in_it(void)
{
    begin((struct gv_admission_limits){.running_max = 1, .waiting_max = 1});
    gv_rig_start(&story.rig);
    int first = ask();
    CU_ASSERT(gv_test_await(one_runs, NULL, 0));
    int second = ask();
    CU_ASSERT(gv_test_await(one_waits, NULL, 0));
    close(second);
    CU_ASSERT(gv_test_await(nobody_waits, NULL, 0));
    int third = ask();
    CU_ASSERT(gv_test_await(one_waits, NULL, 0));
    atomic_store(&may_answer, true);
    expect(first, 200, NULL);
    expect(third, 200, NULL);
    CU_ASSERT_EQUAL(atomic_load(&story.fake.request_count), 2);
    close(first);
    close(third);
    end();
}

static void a_place_is_free_again_when_its_client_leaves_a_silent_worker(void)
{
    begin((struct gv_admission_limits){.running_max = 1});
    gv_rig_start(&story.rig);
    int first = ask();
    CU_ASSERT(gv_test_await(one_runs, NULL, 0));
    close(first);
    CU_ASSERT(gv_test_await(is_empty, NULL, 0));
    atomic_store(&may_answer, true);
    int second = ask();
    expect(second, 200, NULL);
    close(second);
    end();
}

/* The answer to one request too many. */
static void expect_words(const char *words)
{
    struct gv_reply reply;
    int fd = ask();
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 429);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, words));
    gv_reply_deinit(&reply);
    close(fd);
}

static void a_refusal_names_the_limit_that_was_reached(void)
{
    begin((struct gv_admission_limits){.running_max = 1, .waiting_max = 1});
    gv_rig_start(&story.rig);
    int first = ask();
    CU_ASSERT(gv_test_await(one_runs, NULL, 0));
    int second = ask();
    CU_ASSERT(gv_test_await(one_waits, NULL, 0));
    expect_words("1 are under way (--max-concurrent-requests), 1 wait (--queue-size)");
    atomic_store(&may_answer, true);
    expect(first, 200, NULL);
    expect(second, 200, NULL);
    close(first);
    close(second);
    end();
    begin((struct gv_admission_limits){.per_second = 0.001, .waiting_max = 0});
    gv_rig_start(&story.rig);
    atomic_store(&may_answer, true);
    first = ask();
    expect(first, 200, NULL);
    close(first);
    expect_words(
        "more than 0.001 a second (--rate-limit-tokens-per-second), 0 wait (--queue-size)");
    end();
}

static void requests_over_the_rate_come_later_and_none_is_lost(void)
{
    begin((struct gv_admission_limits){.per_second = 20, .waiting_max = 100});
    atomic_store(&may_answer, true);
    gv_rig_start(&story.rig);
    int fds[30];
    uint64_t from_ms = gv_test_now_ms();
    for (int i = 0; i < 30; i++) {
        fds[i] = ask();
    }
    for (int i = 0; i < 30; i++) {
        expect(fds[i], 200, NULL);
        close(fds[i]);
    }
    CU_ASSERT(gv_test_now_ms() - from_ms >= 450); /* ten of them waited for 20 a second */
    end();
}

/* ---- the storm ---- */

#define STORM_THREADS  8
#define STORM_REQUESTS 24

struct stormer {
    pthread_t thread;
    uint64_t seed;
    bool leaves; /* some requests before they are answered */
    int answered;
    int refused;
};

static void *storm(void *owner)
{
    struct stormer *stormer = owner;
    struct gv_prng prng;
    gv_prng_init(&prng, stormer->seed);
    for (int i = 0; i < STORM_REQUESTS; i++) {
        int fd = ask();
        struct gv_reply reply;
        if (stormer->leaves && i % 4 == 3) {
            if (gv_prng_below(&prng, 2) == 0) {
                gv_test_pause();
            }
            close(fd);
            continue;
        }
        gv_talk_read(fd, &reply);
        stormer->answered += reply.status == 200 ? 1 : 0;
        stormer->refused += reply.status == 429 ? 1 : 0;
        CU_ASSERT(reply.status == 200 || reply.status == 429);
        gv_reply_deinit(&reply);
        close(fd);
    }
    return NULL;
}

static void run_storm(bool leaves, int *answered, int *refused)
{
    struct stormer stormers[STORM_THREADS];
    for (uint64_t i = 0; i < STORM_THREADS; i++) {
        stormers[i] = (struct stormer){.seed = i, .leaves = leaves};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&stormers[i].thread, NULL, storm, &stormers[i]), 0);
    }
    for (int i = 0; i < STORM_THREADS; i++) {
        pthread_join(stormers[i].thread, NULL);
        *answered += stormers[i].answered;
        *refused += stormers[i].refused;
    }
}

static void in_a_storm_no_more_than_the_limit_are_with_the_worker(void)
{
    int answered = 0;
    int refused = 0;
    begin((struct gv_admission_limits){.running_max = 3, .waiting_max = 2});
    atomic_store(&may_answer, true);
    gv_rig_start(&story.rig);
    run_storm(false, &answered, &refused);
    CU_ASSERT_EQUAL(answered + refused, STORM_THREADS * STORM_REQUESTS);
    CU_ASSERT(answered > 0);
    CU_ASSERT(atomic_load(&inside_most) <= 3);
    end();
}

static void after_a_storm_with_clients_that_leave_nobody_is_counted(void)
{
    int answered = 0;
    int refused = 0;
    begin((struct gv_admission_limits){.running_max = 3, .waiting_max = STORM_THREADS});
    atomic_store(&may_answer, true);
    gv_rig_start(&story.rig);
    run_storm(true, &answered, &refused);
    CU_ASSERT(answered > 0);
    CU_ASSERT(gv_test_await(is_empty, NULL, 0));
    CU_ASSERT(gv_test_await(nobody_is_inside, NULL, 0));
    end();
}

/* ---- the real program ---- */

static struct gv_world world;

static bool has_nobody(void *owner)
{
    struct gv_reply reply;
    struct gv_world_node *node = owner;
    gv_talk_ask(node->metrics_port, "GET", "/metrics", NULL, NULL, &reply);
    bool nobody = strstr(reply.body, "\ngv_admission_running 0\n") != NULL &&
                  strstr(reply.body, "\ngv_admission_waiting 0\n") != NULL;
    gv_reply_deinit(&reply);
    return nobody;
}

static void the_flags_limit_all_loops_of_a_node_together(void)
{
    static const char *const flags[] = {
        "--threads", "2", "--max-concurrent-requests", "1", "--queue-size", "2", NULL};
    static const char *const slow[] = {"--decode-ms", "20", NULL};
    memset(&world, 0, sizeof world);
    world.worker_flags = slow;
    gv_world_add_worker(&world, "regular");
    struct gv_world_node *node = gv_world_add_node(&world, flags);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    int counts[2] = {0, 0};
    int fds[12];
    for (int i = 0; i < 12; i++) {
        fds[i] = gv_world_send_chat(node, "one of a dozen", false);
    }
    for (int i = 0; i < 12; i++) {
        struct gv_reply reply;
        gv_talk_read(fds[i], &reply);
        CU_ASSERT(reply.status == 200 || reply.status == 429);
        counts[reply.status == 200 ? 0 : 1] += 1;
        gv_reply_deinit(&reply);
        close(fds[i]);
    }
    CU_ASSERT(counts[0] >= 3); /* one with the worker, two that waited */
    CU_ASSERT(gv_test_await(has_nobody, node, 0));
    gv_world_end(&world);
}

/* An engine that answers probes, and never a chat. */
static bool reply_but_chats(struct gv_fake *fake, int fd)
{
    char byte;
    if (gv_fake_was_sent(fake, "POST " CHAT)) {
        return read(fd, &byte, 1) > 0;
    }
    gv_fake_say(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
                    "\r\n{}");
    return true;
}

static bool takes_requests(void *owner)
{
    struct gv_reply reply;
    gv_talk_ask(((struct gv_world_node *)owner)->port, "GET", "/readiness", NULL, NULL, &reply);
    bool takes = reply.status == 200;
    gv_reply_deinit(&reply);
    return takes;
}

static bool has_one_that_waits(void *owner)
{
    struct gv_reply reply;
    struct gv_world_node *node = owner;
    gv_talk_ask(node->metrics_port, "GET", "/metrics", NULL, NULL, &reply);
    bool has = strstr(reply.body, "\ngv_admission_waiting 1\n") != NULL;
    gv_reply_deinit(&reply);
    return has;
}

/* The end of the one that runs is the turn of the one that waits, whose client is being closed. */
static void a_node_ends_while_one_request_runs_and_another_waits(void)
{
    memset(&world, 0, sizeof world);
    gv_fake_start(&story.fake, reply_but_chats);
    const char *flags[] = {"--worker-urls",
                           story.fake.url,
                           "--max-concurrent-requests",
                           "1",
                           "--threads",
                           "1",
                           "--drain-settle-secs",
                           "0",
                           "--shutdown-grace-period-secs",
                           "0",
                           NULL};
    struct gv_world_node *node = gv_world_add_node(&world, flags);
    CU_ASSERT_TRUE_FATAL(gv_test_await(takes_requests, node, 0));
    int first = gv_world_send_chat(node, "one", false);
    int second = gv_world_send_chat(node, "two", false);
    CU_ASSERT(gv_test_await(has_one_that_waits, node, 0));
    gv_process_signal(&node->process, 15);
    CU_ASSERT_EQUAL(gv_process_wait(&node->process), 0);
    close(first);
    close(second);
    gv_world_end(&world);
    gv_fake_stop(&story.fake);
}

GV_SUITE("integration/admission",
         GV_CASE(over_the_limit_requests_wait_and_over_the_queue_they_are_429),
         GV_CASE(a_wait_that_is_too_long_is_408_and_the_connection_stays),
         GV_CASE(a_client_that_leaves_the_queue_makes_room_in_it),
         GV_CASE(a_place_is_free_again_when_its_client_leaves_a_silent_worker),
         GV_CASE(a_refusal_names_the_limit_that_was_reached),
         GV_CASE(requests_over_the_rate_come_later_and_none_is_lost),
         GV_CASE(in_a_storm_no_more_than_the_limit_are_with_the_worker),
         GV_CASE(after_a_storm_with_clients_that_leave_nobody_is_counted),
         GV_CASE(the_flags_limit_all_loops_of_a_node_together),
         GV_CASE(a_node_ends_while_one_request_runs_and_another_waits))
