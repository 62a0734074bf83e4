/*
 * Connections to workers that speak TLS: used again, cut, refused.
 */
#include "../../../src/net/stream_in.h"
#include "../../../src/proxy/line.h"
#include "grapevine/base/mem.h"
#include "grapevine/net/listener.h"
#include "support/certs.h"
#include "support/suite.h"
#include <stdio.h>
#include <string.h>

#define SIZED   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define UNSIZED "HTTP/1.0 200 OK\r\n\r\nok"

/* How the worker ends its connection after its answer. */
enum ending {
    STAYS = 0,
    SAYS_GOODBYE,
    IS_CUT, /* the connection ends, but nobody says so */
    SENDS_HALF_A_RECORD
};

struct world {
    struct gv_loop *loop;
    struct gv_listener *listener;
    struct gv_tls *worker_tls;
    struct gv_tls *own_tls;
    struct gv_targets *targets;
    struct gv_target *target;
    struct gv_line *line;
    struct gv_stream *worker; /* its end of the newest connection */
    const char *answer;
    enum ending ending;
    uint32_t accepted;
    uint32_t ends;
    uint32_t lost;
    enum gv_cause cause;
};

/* ---- the worker ---- */

static void worker_data(void *owner, struct gv_slice bytes)
{
    struct world *world = owner;
    (void)bytes;
    CU_ASSERT_EQUAL(gv_stream_send(world->worker, gv_slice_text(world->answer)), GV_OK);
    switch (world->ending) {
    case STAYS:
        break;
    case SAYS_GOODBYE:
        gv_stream_finish(world->worker, 5000);
        break;
    case IS_CUT:
        gv_stream_close_with(world->worker, GV_OK);
        break;
    case SENDS_HALF_A_RECORD:
        CU_ASSERT_EQUAL(gv_stream_send_raw(world->worker, gv_slice_of("\x17\x03\x03\x00\x40h", 6),
                                           gv_slice_of(NULL, 0)),
                        GV_OK);
        break;
    }
}

static void worker_closed(void *owner, enum gv_err why)
{
    (void)owner;
    (void)why;
}

static const struct gv_stream_events worker_events = {.on_data = worker_data,
                                                      .on_closed = worker_closed};

static void on_accept(void *owner, struct gv_stream *stream)
{
    struct world *world = owner;
    world->accepted += 1;
    world->worker = stream;
    gv_stream_adopt(stream, &worker_events, world, (struct gv_stream_limits){1 << 20, 1 << 16, 0});
}

/* ---- the line's user ---- */

static void ask(struct world *world)
{
    CU_ASSERT_EQUAL(
        gv_line_send(world->line, gv_slice_text("GET / HTTP/1.1\r\n\r\n"), gv_slice_text("")),
        GV_OK);
    gv_line_sent(world->line);
}

static void on_ready(void *user)
{
    ask(user);
}

static void on_head(void *user, const struct gv_head *head)
{
    (void)user;
    CU_ASSERT_EQUAL(head->status, 200);
}

static void on_body(void *user, struct gv_slice bytes)
{
    (void)user;
    CU_ASSERT(gv_slice_is(bytes, "ok"));
}

static void on_end(void *user)
{
    struct world *world = user;
    world->ends += 1;
    gv_loop_stop(world->loop);
}

static void on_drain(void *user)
{
    (void)user;
}

static void on_lost(void *user, enum gv_cause cause, bool replaceable)
{
    struct world *world = user;
    CU_ASSERT_FALSE(replaceable);
    world->lost += 1;
    world->cause = cause;
    gv_loop_stop(world->loop);
}

static const struct gv_line_events events = {on_ready, on_head, on_body, on_end, on_drain, on_lost};

/* ---- the world ---- */

static const struct gv_config config = {.pool_idle_per_worker = 4};

static void begin(struct world *world, const char *cert, const char *key)
{
    static const char *ca[1];
    char trouble[GV_TLS_TROUBLE_BYTES];
    memset(world, 0, sizeof *world);
    world->answer = SIZED;
    ca[0] = gv_cert("ca.pem");
    struct gv_tls_options theirs = {
        .name = "worker", .cert_path = gv_cert(cert), .key_path = gv_cert(key)};
    struct gv_tls_options ours = {.name = "workers",
                                  .side = GV_TLS_CONNECTING,
                                  .ca_paths = (char *const *)(uintptr_t)ca,
                                  .ca_count = 1};
    CU_ASSERT_EQUAL_FATAL(gv_tls_open(&theirs, &world->worker_tls, trouble), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_tls_open(&ours, &world->own_tls, trouble), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &world->loop), GV_OK);
    struct gv_listener_options options = {.addr = {.family = 4, .ip = {127, 0, 0, 1}},
                                          .tls = world->worker_tls};
    CU_ASSERT_EQUAL_FATAL(
        gv_listener_open(world->loop, options, on_accept, world, &world->listener), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_targets_open(world->loop, &config, world->own_tls, &world->targets),
                          GV_OK);
    struct gv_worker worker = {.index = 0};
    snprintf(worker.url, sizeof worker.url, "https://127.0.0.1:%u",
             gv_listener_addr(world->listener).port);
    CU_ASSERT_EQUAL_FATAL(gv_target_get(world->targets, &worker, &world->target), GV_OK);
}

/* One request; was an idle line used? */
static bool use(struct world *world)
{
    bool is_ready = false;
    CU_ASSERT_EQUAL_FATAL(
        gv_line_take(world->target, false, &events, world, &world->line, &is_ready), GV_OK);
    if (is_ready) {
        ask(world);
    }
    gv_loop_run(world->loop);
    return is_ready;
}

static void on_closed(void *owner)
{
    (void)owner;
}

static void end(struct world *world)
{
    gv_targets_close(world->targets, on_closed, NULL);
    gv_loop_free(world->loop);
    gv_tls_free(world->worker_tls);
    gv_tls_free(world->own_tls);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), 0);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_BUFFER), 0);
}

static void one_handshake_serves_many_requests(void)
{
    struct world world;
    begin(&world, "server.pem", "server.key");
    CU_ASSERT_FALSE(use(&world));
    CU_ASSERT_TRUE(use(&world));
    CU_ASSERT_TRUE(use(&world));
    CU_ASSERT_EQUAL(world.ends, 3);
    CU_ASSERT_EQUAL(world.accepted, 1);
    end(&world);
}

static void a_body_that_the_end_ends_is_whole_when_the_end_was_said(void)
{
    struct world world;
    begin(&world, "server.pem", "server.key");
    world.answer = UNSIZED;
    world.ending = SAYS_GOODBYE;
    (void)use(&world);
    CU_ASSERT_EQUAL(world.ends, 1);
    CU_ASSERT_EQUAL(world.lost, 0);
    end(&world);
}

static void a_body_that_the_end_ends_is_broken_when_nobody_said_the_end(void)
{
    struct world world;
    begin(&world, "server.pem", "server.key");
    world.answer = UNSIZED;
    world.ending = IS_CUT;
    (void)use(&world);
    CU_ASSERT_EQUAL(world.ends, 0);
    CU_ASSERT_EQUAL(world.lost, 1);
    CU_ASSERT_EQUAL(world.cause, GV_CAUSE_CLOSED);
    end(&world);
}

static void an_answer_whose_length_is_known_needs_no_goodbye(void)
{
    struct world world;
    begin(&world, "server.pem", "server.key");
    world.ending = IS_CUT;
    (void)use(&world);
    CU_ASSERT_EQUAL(world.ends, 1);
    CU_ASSERT_EQUAL(world.lost, 0);
    end(&world);
}

/* What comes with it later would be read as the next answer. */
static void a_line_with_half_a_record_is_not_used_again(void)
{
    struct world world;
    begin(&world, "server.pem", "server.key");
    world.ending = SENDS_HALF_A_RECORD;
    (void)use(&world);
    CU_ASSERT_FALSE(use(&world));
    CU_ASSERT_EQUAL(world.accepted, 2);
    end(&world);
}

static void a_certificate_that_does_not_do_is_a_cause_with_words(void)
{
    struct world world;
    begin(&world, "expired.pem", "expired.key");
    (void)use(&world);
    CU_ASSERT_EQUAL(world.lost, 1);
    CU_ASSERT_EQUAL(world.cause, GV_CAUSE_TLS);
    CU_ASSERT_STRING_EQUAL(world.target->trouble,
                           "certificate of /CN=expired: certificate has expired");
    end(&world);
}

static void without_the_means_https_is_refused(void)
{
    struct world world;
    begin(&world, "server.pem", "server.key");
    struct gv_targets *plain = NULL;
    struct gv_target *target = NULL;
    struct gv_worker worker = {.index = 0, .url = "https://127.0.0.1:1"};
    CU_ASSERT_EQUAL_FATAL(gv_targets_open(world.loop, &config, NULL, &plain), GV_OK);
    CU_ASSERT_EQUAL(gv_target_get(plain, &worker, &target), GV_EUNSUPPORTED);
    gv_targets_close(plain, on_closed, NULL);
    end(&world);
}

GV_SUITE("proxy/line, TLS", GV_CASE(one_handshake_serves_many_requests),
         GV_CASE(a_body_that_the_end_ends_is_whole_when_the_end_was_said),
         GV_CASE(a_body_that_the_end_ends_is_broken_when_nobody_said_the_end),
         GV_CASE(an_answer_whose_length_is_known_needs_no_goodbye),
         GV_CASE(a_line_with_half_a_record_is_not_used_again),
         GV_CASE(a_certificate_that_does_not_do_is_a_cause_with_words),
         GV_CASE(without_the_means_https_is_refused))
