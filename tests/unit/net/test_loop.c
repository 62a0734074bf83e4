/*
 * Loops, timers, signals and inboxes: who is called when, and that freeing frees.
 */
#include "grapevine/base/mem.h"
#include "grapevine/net/datagram.h"
#include "grapevine/net/inbox.h"
#include "grapevine/net/listener.h"
#include "grapevine/net/resolve.h"
#include "grapevine/net/timer.h"
#include "support/suite.h"
#include <pthread.h>
#include <signal.h>
#include <string.h>

static struct gv_loop *new_loop(void)
{
    struct gv_loop *loop = NULL;
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &loop), GV_OK);
    return loop;
}

struct ticker {
    struct gv_loop *loop;
    struct gv_timer *timer;
    uint32_t count;
    uint32_t stop_at;
    uint64_t first_at_ms;
};

static void on_tick(void *owner)
{
    struct ticker *ticker = owner;
    ticker->count += 1;
    if (ticker->count == 1) {
        ticker->first_at_ms = gv_loop_now_ms(ticker->loop);
    }
    if (ticker->count == ticker->stop_at) {
        gv_loop_stop(ticker->loop);
    }
}

static void a_timer_calls_once_after_its_delay(void)
{
    struct ticker ticker = {.loop = new_loop(), .stop_at = 1};
    struct ticker late = {.loop = ticker.loop, .stop_at = 1};
    CU_ASSERT_EQUAL(gv_timer_open(ticker.loop, on_tick, &ticker, &ticker.timer), GV_OK);
    CU_ASSERT_EQUAL(gv_timer_open(ticker.loop, on_tick, &late, &late.timer), GV_OK);
    uint64_t begun_at_us = gv_clock_us();
    gv_timer_start(ticker.timer, 1, 0);
    gv_timer_start(late.timer, 20, 0);
    gv_loop_run(ticker.loop);
    gv_loop_run(ticker.loop);
    CU_ASSERT_EQUAL(ticker.count, 1);
    CU_ASSERT_EQUAL(late.count, 1);
    CU_ASSERT(gv_clock_us() - begun_at_us >= 19000); /* libuv counts whole milliseconds */
    gv_loop_free(ticker.loop);
}

static void a_repeating_timer_repeats_until_stopped(void)
{
    struct ticker ticker = {.loop = new_loop(), .stop_at = 3};
    CU_ASSERT_EQUAL(gv_timer_open(ticker.loop, on_tick, &ticker, &ticker.timer), GV_OK);
    gv_timer_start(ticker.timer, 0, 1);
    gv_loop_run(ticker.loop);
    CU_ASSERT_EQUAL(ticker.count, 3);
    gv_timer_stop(ticker.timer);
    struct ticker other = {.loop = ticker.loop, .stop_at = 1};
    CU_ASSERT_EQUAL(gv_timer_open(ticker.loop, on_tick, &other, &other.timer), GV_OK);
    gv_timer_start(other.timer, 5, 0);
    gv_loop_run(ticker.loop);
    CU_ASSERT_EQUAL(ticker.count, 3);
    gv_timer_close(ticker.timer);
    gv_timer_close(NULL);
    gv_loop_free(ticker.loop);
}

static void the_clocks_agree_and_never_go_back(void)
{
    struct gv_loop *loop = new_loop();
    uint64_t us = gv_loop_now_us(loop);
    CU_ASSERT_EQUAL(gv_loop_now_us(loop), us); /* as of this turn */
    CU_ASSERT_EQUAL(gv_loop_now_ms(loop), us / 1000);
    CU_ASSERT(gv_clock_us() >= us);
    CU_ASSERT(gv_clock_wall_ms() > UINT64_C(1600000000000));
    gv_loop_free(loop);
}

static void the_system_answers(void)
{
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};
    gv_random_bytes(a, sizeof a);
    gv_random_bytes(b, sizeof b);
    CU_ASSERT(memcmp(a, b, sizeof a) != 0);
    CU_ASSERT(gv_loop_core_count() >= 1);
    uint64_t limit = gv_raise_file_limit();
    CU_ASSERT(limit > 0);
    CU_ASSERT_EQUAL(gv_raise_file_limit(), limit);
}

static void note_signal(void *owner, int signum)
{
    struct ticker *ticker = owner;
    ticker->count = (uint32_t)signum;
    gv_loop_stop(ticker->loop);
}

static void a_signal_reaches_the_loop(void)
{
    struct ticker ticker = {.loop = new_loop()};
    CU_ASSERT_EQUAL(gv_signal_open(ticker.loop, SIGUSR1, note_signal, &ticker), GV_OK);
    CU_ASSERT_EQUAL(gv_signal_open(ticker.loop, 0, note_signal, &ticker), GV_EINVAL);
    (void)raise(SIGUSR1);
    gv_loop_run(ticker.loop);
    CU_ASSERT_EQUAL(ticker.count, SIGUSR1);
    gv_loop_free(ticker.loop);
}

/* ---- inbox ---- */

enum {
    POSTERS = 4,
    POSTS = 2000
};

struct post {
    uint32_t poster;
    uint32_t number;
};

struct reader {
    struct gv_loop *loop;
    struct gv_inbox *inbox;
    uint32_t next[POSTERS];
    uint32_t count;
    uint32_t stop_at;
    uint32_t out_of_order;
};

struct poster {
    struct reader *reader;
    struct post posts[POSTS];
    pthread_t thread;
};

static void on_post(void *owner, void *message)
{
    struct reader *reader = owner;
    const struct post *post = message;
    if (post->number != reader->next[post->poster]) {
        reader->out_of_order += 1;
    }
    reader->next[post->poster] = post->number + 1;
    reader->count += 1;
    if (reader->count == reader->stop_at) {
        gv_loop_stop(reader->loop);
    }
}

static void *post_all(void *arg)
{
    struct poster *poster = arg;
    for (uint32_t i = 0; i < POSTS; i++) {
        while (gv_inbox_post(poster->reader->inbox, &poster->posts[i]) == GV_EFULL) {
            (void)sched_yield();
        }
    }
    return NULL;
}

static void messages_of_several_threads_come_in_order(void)
{
    static struct poster posters[POSTERS];
    struct reader reader = {.stop_at = POSTERS * POSTS};
    reader.loop = new_loop();
    CU_ASSERT_EQUAL_FATAL(gv_inbox_open(reader.loop, 300, on_post, &reader, &reader.inbox), GV_OK);
    CU_ASSERT_EQUAL(gv_loop_start(reader.loop), GV_OK);
    for (uint32_t i = 0; i < POSTERS; i++) {
        posters[i].reader = &reader;
        for (uint32_t j = 0; j < POSTS; j++) {
            posters[i].posts[j] = (struct post){.poster = i, .number = j};
        }
        CU_ASSERT_EQUAL(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
    }
    for (uint32_t i = 0; i < POSTERS; i++) {
        (void)pthread_join(posters[i].thread, NULL);
    }
    gv_loop_join(reader.loop);
    CU_ASSERT_EQUAL(reader.count, POSTERS * POSTS);
    CU_ASSERT_EQUAL(reader.out_of_order, 0);
    gv_loop_free(reader.loop);
}

static void a_full_inbox_refuses_and_a_closed_one_too(void)
{
    struct post posts[3] = {{0, 0}, {0, 1}, {0, 2}};
    struct reader reader = {.stop_at = 0};
    reader.loop = new_loop();
    CU_ASSERT_EQUAL_FATAL(gv_inbox_open(reader.loop, 2, on_post, &reader, &reader.inbox), GV_OK);
    CU_ASSERT_EQUAL(gv_inbox_post(reader.inbox, &posts[0]), GV_OK);
    CU_ASSERT_EQUAL(gv_inbox_post(reader.inbox, &posts[1]), GV_OK);
    CU_ASSERT_EQUAL(gv_inbox_post(reader.inbox, &posts[2]), GV_EFULL);
    CU_ASSERT_EQUAL(reader.count, 0); /* never from inside */
    gv_inbox_close(reader.inbox);
    CU_ASSERT_EQUAL(reader.count, 2); /* what waits is delivered first */
    CU_ASSERT_EQUAL(gv_inbox_post(reader.inbox, &posts[2]), GV_ECLOSED);
    gv_loop_free(reader.loop);
    CU_ASSERT_EQUAL(reader.count, 2);
}

/* ---- freeing ---- */

static void on_datagram(void *owner, const struct gv_addr *from, struct gv_slice bytes)
{
    (void)owner;
    (void)from;
    (void)bytes;
}

static void on_accept(void *owner, struct gv_stream *stream)
{
    (void)owner;
    gv_stream_close(stream);
}

static void on_resolved(void *owner, enum gv_err err, const struct gv_addr *addrs, size_t count,
                        uint32_t ttl_s)
{
    (void)addrs;
    (void)count;
    (void)ttl_s;
    *(enum gv_err *)owner = err;
}

static enum gv_err open_everything(struct gv_loop *loop, struct ticker *ticker,
                                   struct reader *reader)
{
    struct gv_addr addr = {.family = 4, .ip = {127, 0, 0, 1}};
    struct gv_datagram *datagram;
    struct gv_listener *listener;
    struct gv_resolver *resolver;
    static enum gv_err outcome;
    enum gv_err err = gv_timer_open(loop, on_tick, ticker, &ticker->timer);
    if (err == GV_OK) {
        gv_timer_start(ticker->timer, 1000000, 0);
        err = gv_signal_open(loop, SIGUSR2, note_signal, ticker);
    }
    if (err == GV_OK) {
        err = gv_inbox_open(loop, 8, on_post, reader, &reader->inbox);
    }
    if (err == GV_OK) {
        err = gv_datagram_open(loop, &addr, on_datagram, NULL, &datagram);
    }
    if (err == GV_OK) {
        err = gv_listener_open(loop, (struct gv_listener_options){.addr = addr}, on_accept, NULL,
                               &listener);
    }
    if (err == GV_OK) {
        err = gv_resolver_open(loop, &resolver);
    }
    if (err == GV_OK) {
        err = gv_resolve(resolver, "127.0.0.1", 1, on_resolved, &outcome);
    }
    return err;
}

static void freeing_a_loop_frees_what_is_open(void)
{
    size_t before_bytes = gv_mem_used(GV_MEM_NET);
    struct ticker ticker = {.loop = new_loop()};
    struct reader reader = {.loop = ticker.loop};
    CU_ASSERT_EQUAL(open_everything(ticker.loop, &ticker, &reader), GV_OK);
    gv_loop_free(ticker.loop);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), before_bytes);
    gv_loop_free(NULL);
}

static void without_memory_opening_fails_whole(void)
{
    size_t before_bytes = gv_mem_used(GV_MEM_NET);
    enum gv_err err = GV_ENOMEM;
    uint64_t nth = 1;
    for (; err == GV_ENOMEM && nth < 100; nth++) {
        struct gv_loop *loop;
        struct ticker ticker = {.count = 0};
        struct reader reader = {.count = 0};
        gv_mem_fail_nth(nth);
        err = gv_loop_new("test", &loop);
        if (err == GV_OK) {
            err = open_everything(loop, &ticker, &reader);
            gv_mem_fail_nth(0);
            gv_loop_free(loop);
        }
        gv_mem_fail_nth(0);
        CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), before_bytes);
    }
    CU_ASSERT_EQUAL(err, GV_OK);
    CU_ASSERT(nth > 5);
}

/* Both sides: woken for each while nobody looks, and not while somebody does. */
static void an_attended_inbox_wakes_nobody_and_loses_nothing(void)
{
    struct post posts[3] = {{0, 0}, {0, 1}, {0, 2}};
    struct reader reader = {.stop_at = 3};
    reader.loop = new_loop();
    CU_ASSERT_EQUAL_FATAL(gv_inbox_open(reader.loop, 8, on_post, &reader, &reader.inbox), GV_OK);
    gv_inbox_attend(reader.inbox, true);
    CU_ASSERT_EQUAL(gv_inbox_post(reader.inbox, &posts[0]), GV_OK);
    gv_inbox_take_in(reader.inbox);
    CU_ASSERT_EQUAL(reader.count, 1);
    CU_ASSERT_EQUAL(gv_inbox_post(reader.inbox, &posts[1]), GV_OK);
    CU_ASSERT_EQUAL(reader.count, 1);
    gv_inbox_attend(reader.inbox, false); /* what came meanwhile wakes the loop now */
    CU_ASSERT_EQUAL(gv_loop_start(reader.loop), GV_OK);
    CU_ASSERT_EQUAL(gv_inbox_post(reader.inbox, &posts[2]), GV_OK);
    gv_loop_join(reader.loop); /* ends with the third */
    CU_ASSERT_EQUAL(reader.count, 3);
    CU_ASSERT_EQUAL(reader.out_of_order, 0);
    gv_loop_free(reader.loop);
}

GV_SUITE("net/loop", GV_CASE(a_timer_calls_once_after_its_delay),
         GV_CASE(a_repeating_timer_repeats_until_stopped),
         GV_CASE(the_clocks_agree_and_never_go_back), GV_CASE(the_system_answers),
         GV_CASE(a_signal_reaches_the_loop), GV_CASE(messages_of_several_threads_come_in_order),
         GV_CASE(a_full_inbox_refuses_and_a_closed_one_too),
         GV_CASE(an_attended_inbox_wakes_nobody_and_loses_nothing),
         GV_CASE(freeing_a_loop_frees_what_is_open), GV_CASE(without_memory_opening_fails_whole))
