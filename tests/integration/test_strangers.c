/*
 * test_strangers.c - what whoever can reach the mesh port can do without a key, and what a member
 * does that does not play by the rules: nothing that lasts.
 */
#include "grapevine/base/log.h"
#include "grapevine/cluster/cluster.h"
#include "grapevine/cluster/view.h"
#include "grapevine/seal/session.h"
#include "support/blank.h"
#include "support/suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_MS   20000
#define STRANGERS_MAX 256 /* as in link.c: accepted and not yet proven */

#define AWAIT(condition)                                                                           \
    do {                                                                                           \
        uint64_t until_us = gv_clock_us() + UINT64_C(1000) * DEADLINE_MS;                          \
        struct timespec pause = {.tv_nsec = 1000000};                                              \
        while (!(condition) && gv_clock_us() < until_us) {                                         \
            nanosleep(&pause, NULL);                                                               \
        }                                                                                          \
        CU_ASSERT_TRUE_FATAL(condition);                                                           \
    } while (0)

/* ---- one node ----------------------------------------------------------------------------------
 */

static char cluster_id[] = "test";
static char state_dir[64];
static struct gv_config config;
static struct gv_fleet *fleet;
static struct gv_forest *forest;
static struct gv_load_table *load;
static struct gv_loop *loop;
static struct gv_cluster *cluster;

static void start(void)
{
    struct gv_forest_limits limits = {.max_bytes = 1 << 24, .max_keys = 4, .worker_blocks = 10000};
    config = (struct gv_config){.cluster_id = cluster_id,
                                .block_bytes = 256,
                                .mesh_host = "127.0.0.1",
                                .mesh_advertise_host = "",
                                .mesh_sync_timeout_ms = 10000,
                                .worker_api_key = "",
                                .state_dir = state_dir,
                                .enable_mesh = 1};
    CU_ASSERT_EQUAL_FATAL(gv_fleet_new(&fleet), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_forest_new(limits, &forest), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&load), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("node", &loop), GV_OK);
    struct gv_cluster_options options = {.config = &config,
                                         .node = "node",
                                         .http_url = "",
                                         .fleet = fleet,
                                         .forest = forest,
                                         .load = load};
    CU_ASSERT_EQUAL_FATAL(gv_cluster_open(loop, &options, &cluster), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_loop_start(loop), GV_OK);
}

static void end(void)
{
    gv_loop_stop(loop);
    gv_loop_join(loop);
    gv_cluster_close(cluster);
    gv_loop_free(loop);
    gv_load_free(load);
    gv_forest_free(forest);
    gv_fleet_free(fleet);
}

static struct gv_cluster_counters counters(uint64_t *incarnation)
{
    struct gv_cluster_view view;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(cluster, &view), GV_OK);
    struct gv_cluster_counters now = view.cluster;
    if (incarnation != NULL) {
        *incarnation = view.incarnation;
    }
    gv_cluster_view_deinit(&view);
    return now;
}

static int stranger(void)
{
    struct gv_addr bound = gv_cluster_addr(cluster);
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(bound.port),
                               .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

/* Has the node closed the connection? Reads what it said before. */
static bool is_closed(int fd)
{
    char bytes[4096];
    ssize_t got;
    do {
        got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    } while (got > 0);
    return got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

/* Does the node speak? It says its opening to whoever it takes for a peer to be. */
static bool is_greeted(int fd)
{
    char byte;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    return poll(&ready, 1, DEADLINE_MS) == 1 && recv(fd, &byte, 1, MSG_PEEK) == 1;
}

/* ---- stories -----------------------------------------------------------------------------------
 */

static void silent_connections_do_not_keep_others_out(void)
{
    static int fds[STRANGERS_MAX + 1];
    start();
    for (int i = 0; i <= STRANGERS_MAX; i++) {
        fds[i] = stranger();
        CU_ASSERT_TRUE(is_greeted(fds[i])); /* the last one, too: the first gives way */
    }
    AWAIT(is_closed(fds[0]));
    CU_ASSERT_FALSE(is_closed(fds[1])); /* one for one, and not since their time is over */
    CU_ASSERT_FALSE(is_closed(fds[STRANGERS_MAX]));
    for (int i = 0; i <= STRANGERS_MAX; i++) {
        (void)close(fds[i]);
    }
    end();
}

/* A byte now and then keeps nobody in: the whole handshake has five seconds. */
static void a_handshake_byte_by_byte_is_cut(void)
{
    static const char magic[] = "gvine\r\n";
    start();
    int fd = stranger();
    size_t sent = 0;
    uint64_t began_us = gv_clock_us();
    uint8_t length[4] = {0, 0, 1, 0};
    CU_ASSERT_EQUAL(send(fd, length, 4, MSG_NOSIGNAL), 4);
    while (!is_closed(fd) && gv_clock_us() - began_us < UINT64_C(1000) * DEADLINE_MS) {
        struct timespec pause = {.tv_nsec = 100000000};
        (void)send(fd, &magic[sent++ % sizeof magic], 1, MSG_NOSIGNAL);
        nanosleep(&pause, NULL);
    }
    CU_ASSERT_TRUE(is_closed(fd));
    CU_ASSERT_TRUE(gv_clock_us() - began_us < UINT64_C(1000) * DEADLINE_MS);
    AWAIT(counters(NULL).refused_handshake == 1);
    (void)close(fd);
    end();
}

static void nonsense_is_counted_each_time_and_logged_once(void)
{
    char path[] = "/tmp/test_strangers_XXXXXX";
    int log = mkstemp(path);
    CU_ASSERT_TRUE_FATAL(log >= 0);
    CU_ASSERT_EQUAL_FATAL(gv_log_open((struct gv_log_options){.level = GV_LOG_INFO, .fd = log}),
                          GV_OK);
    start();
    for (uint64_t i = 1; i <= 20; i++) { /* each from another port */
        int fd = stranger();
        CU_ASSERT_EQUAL(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
        AWAIT(is_closed(fd));
        AWAIT(counters(NULL).refused_handshake == i);
        (void)close(fd);
    }
    end();
    gv_log_close();
    FILE *file = fopen(path, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    char line[4096];
    int count = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        count += strstr(line, "session.broken") != NULL;
    }
    CU_ASSERT_EQUAL(count, 1);
    (void)fclose(file);
    (void)close(log);
    (void)unlink(path);
}

static void datagrams_of_strangers_are_counted_and_never_answered(void)
{
    start();
    struct gv_addr bound = gv_cluster_addr(cluster);
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(bound.port),
                               .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    uint8_t bytes[1500] = {1}; /* version 1, keyless, sender and boot nobody knows */
    static const size_t lengths[] = {1, 49, 50, 51, 66, 1400, 1401, 1500};
    for (uint64_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        CU_ASSERT_EQUAL(sendto(fd, bytes, lengths[i], 0, (struct sockaddr *)&addr, sizeof addr),
                        (ssize_t)lengths[i]);
        AWAIT(counters(NULL).packets_unsealed == i + 1);
    }
    char answer;
    CU_ASSERT_EQUAL(recv(fd, &answer, 1, MSG_DONTWAIT), -1);
    (void)close(fd);
    end();
}

/* Written while the clock was a year ahead: with it every other node would refuse this one. */
static void an_incarnation_kept_far_ahead_of_the_clock_is_not_used(void)
{
    char path[160];
    (void)snprintf(state_dir, sizeof state_dir, "/tmp/test_strangers_state_XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(state_dir));
    (void)snprintf(path, sizeof path, "%s/mesh.state", state_dir);
    for (int i = 0; i < 2; i++) { /* both sides of a day */
        uint64_t day_ms = UINT64_C(24) * 3600 * 1000;
        uint64_t wall_ms = gv_clock_wall_ms();
        uint64_t kept = wall_ms + day_ms + (i == 0 ? -UINT64_C(60000) : UINT64_C(60000));
        uint64_t incarnation = 0;
        FILE *file = fopen(path, "we");
        CU_ASSERT_PTR_NOT_NULL_FATAL(file);
        (void)fprintf(file, "grapevine-mesh 1\nincarnation %llu\n", (unsigned long long)kept);
        (void)fclose(file);
        start();
        (void)counters(&incarnation);
        if (i == 0) {
            CU_ASSERT_EQUAL(incarnation, kept + 1);
        } else {
            CU_ASSERT_TRUE(incarnation >= wall_ms && incarnation < wall_ms + day_ms);
        }
        end();
    }
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/node.key", state_dir);
    (void)unlink(path);
    CU_ASSERT_EQUAL(rmdir(state_dir), 0);
    state_dir[0] = '\0';
}

/* As good as a full disk: nothing can be written, and the node lives on. */
static void a_state_directory_that_cannot_be_written_is_counted_and_survived(void)
{
    (void)snprintf(state_dir, sizeof state_dir, "/proc/nothing/here");
    start();
    AWAIT(counters(NULL).state_failed >= 1);
    CU_ASSERT_TRUE(gv_cluster_is_synced(cluster));
    end();
    state_dir[0] = '\0';
}

/* ---- a member that does not play by the rules --------------------------------------------------
 */

static void sign(void *owner, struct gv_slice text, uint8_t signature[GV_SIGNATURE_BYTES])
{
    gv_identity_sign(owner, text, signature);
}

static bool verify(void *owner, const uint8_t identity[GV_IDENTITY_BYTES], struct gv_slice text,
                   const uint8_t signature[GV_SIGNATURE_BYTES])
{
    (void)owner;
    return gv_identity_verify(identity, text, signature) == GV_OK;
}

struct member {
    struct gv_identity *key;
    struct gv_gossip *engine;
    struct gv_session *session;
    struct gv_buf out;
    int fd;
};

static struct gv_now now(void)
{
    return (struct gv_now){.now_ms = gv_clock_us() / 1000, .wall_ms = gv_clock_wall_ms()};
}

static void flush(struct member *member)
{
    struct gv_slice bytes = gv_buf_slice(&member->out);
    CU_ASSERT_EQUAL(send(member->fd, bytes.data, bytes.len, MSG_NOSIGNAL), (ssize_t)bytes.len);
    gv_buf_clear(&member->out);
}

/* Its first words: who it knows, and how far it is. */
static void greet(struct member *member, const struct gv_gossip_hello *peer)
{
    struct gv_effect effect;
    gv_gossip_opened(member->engine, 1, true, peer, now());
    while (gv_gossip_next_effect(member->engine, &effect)) {
        if (effect.kind == GV_EFFECT_SEND) {
            CU_ASSERT_EQUAL(gv_session_send(member->session, effect.bytes, &member->out), GV_OK);
        }
    }
    flush(member);
}

/* A record that `speaks` signed, in a session that `key` signed. */
static void connect_as(struct member *member, struct gv_identity *speaks)
{
    const struct gv_gossip_store store = gv_blank_store();
    struct gv_gossip_options options = {
        .node = "odd",
        .cluster_id = "test",
        .boot_id = 7,
        .incarnation = gv_clock_wall_ms(),
        .block_bytes = 256,
        .gossip_addr = {.family = 4, .ip = {127, 0, 0, 1}, .port = 9},
        .seed = 1,
        .signer = {.owner = speaks, .sign = sign, .verify = verify}};
    memcpy(options.signer.identity, gv_identity_public(speaks), GV_IDENTITY_BYTES);
    CU_ASSERT_EQUAL_FATAL(gv_gossip_new(&options, &store, now().now_ms, &member->engine), GV_OK);
    struct gv_gossip_hello mine;
    uint8_t hello[GV_SESSION_HELLO_MAX];
    size_t len = 0;
    gv_gossip_hello(member->engine, &mine);
    CU_ASSERT_EQUAL_FATAL(gv_gossip_hello_encode(&mine, hello, sizeof hello, &len), GV_OK);
    gv_buf_init(&member->out, GV_MEM_GENERAL, 1 << 20);
    member->fd = stranger();
    CU_ASSERT_EQUAL_FATAL(
        gv_session_new((struct gv_session_options){.role = GV_SESSION_INITIATOR,
                                                   .identity = member->key,
                                                   .hello = gv_slice_of(hello, len),
                                                   .max_message_bytes = GV_GOSSIP_FRAME_MAX},
                       &member->out, &member->session),
        GV_OK);
    flush(member);
}

/* Through the handshake; false: the node hung up. */
static bool prove(struct member *member)
{
    struct gv_gossip_hello theirs;
    struct gv_session_event event = {.type = GV_SESSION_NONE};
    while (event.type != GV_SESSION_ESTABLISHED) {
        uint8_t bytes[4096];
        ssize_t got = recv(member->fd, bytes, sizeof bytes, 0);
        if (got <= 0) {
            return false;
        }
        CU_ASSERT_EQUAL_FATAL(gv_session_feed(member->session, gv_slice_of(bytes, (size_t)got)),
                              GV_OK);
        do {
            CU_ASSERT_EQUAL_FATAL(gv_session_next(member->session, &event), GV_OK);
            if (event.type == GV_SESSION_OPENED) {
                CU_ASSERT_EQUAL_FATAL(gv_gossip_hello_decode(event.bytes, &theirs), GV_OK);
                CU_ASSERT_EQUAL_FATAL(gv_session_accept(member->session, &member->out), GV_OK);
                flush(member);
            }
        } while (event.type != GV_SESSION_NONE && event.type != GV_SESSION_ESTABLISHED);
    }
    greet(member, &theirs);
    return true;
}

static void part(struct member *member)
{
    (void)close(member->fd);
    gv_session_free(member->session);
    gv_gossip_free(member->engine);
    gv_buf_deinit(&member->out);
    gv_identity_free(member->key);
}

/* The bytes that wait for the odd member; UINT64_MAX when it is not in session. */
static uint64_t waiting(uint64_t *overflows)
{
    struct gv_cluster_view view;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(cluster, &view), GV_OK);
    uint64_t bytes = view.session_count == 0 ? UINT64_MAX : view.sessions[0].queued_bytes;
    *overflows = view.gossip.queue_overflows;
    gv_cluster_view_deinit(&view);
    return bytes;
}

static void a_record_of_another_in_ones_own_session_is_not_believed(void)
{
    struct member odd = {.key = gv_identity_new()};
    struct gv_identity *other = gv_identity_new();
    uint64_t overflows;
    start();
    connect_as(&odd, other);
    (void)prove(&odd); /* it learns of its refusal now or with the next byte */
    AWAIT(is_closed(odd.fd));
    AWAIT(counters(NULL).refused_handshake == 1);
    CU_ASSERT_EQUAL(counters(NULL).sessions_opened, 0);
    CU_ASSERT_EQUAL(waiting(&overflows), UINT64_MAX);
    part(&odd);
    gv_identity_free(other);
    end();
}

/* 4 MiB may wait for a session; beyond that the log waits, not the memory. */
static void a_member_that_never_reads_costs_a_bounded_queue_and_then_its_session(void)
{
    static uint64_t prints[2000];
    struct member odd = {.key = gv_identity_new()};
    struct gv_operation operation = {.kind = GV_OPERATION_INSERT,
                                     .key = "regular::m",
                                     .stamp = gv_stamp_from_wall_ms(gv_clock_wall_ms()),
                                     .count = 2000,
                                     .fingerprints = prints};
    uint64_t overflows = 0;
    uint64_t most = 0;
    start();
    CU_ASSERT_EQUAL_FATAL(
        gv_fleet_index(fleet, gv_slice_text("http://10.1.1.1:8000"), &operation.worker), GV_OK);
    connect_as(&odd, odd.key);
    CU_ASSERT_TRUE_FATAL(prove(&odd));
    AWAIT(waiting(&overflows) != UINT64_MAX);
    uint64_t until_us = gv_clock_us() + UINT64_C(1000) * DEADLINE_MS;
    bool is_in = true;
    for (uint64_t i = 1; is_in && gv_clock_us() < until_us; i++) {
        struct timespec pause = {.tv_nsec = 200000};
        for (uint64_t at = 0; at < 2000; at++) {
            prints[at] = i << 16 | (at + 1);
        }
        gv_cluster_publish(cluster, &operation);
        nanosleep(&pause, NULL);
        uint64_t bytes = waiting(&overflows);
        is_in = bytes != UINT64_MAX;
        most = is_in && bytes > most ? bytes : most;
    }
    CU_ASSERT_FALSE(is_in); /* silent on the network, too: it is declared dead */
    CU_ASSERT_TRUE(most <= 2 * (4 << 20) + GV_GOSSIP_FRAME_MAX);
    part(&odd);
    end();
}

/* Proven, and then a byte a second of a message: it answers nothing else, so it is declared dead.
 */
static void a_member_that_sends_a_byte_a_second_loses_its_session(void)
{
    static uint8_t words[64];
    struct member odd = {.key = gv_identity_new()};
    uint64_t overflows = 0;
    start();
    connect_as(&odd, odd.key);
    CU_ASSERT_TRUE_FATAL(prove(&odd));
    AWAIT(waiting(&overflows) != UINT64_MAX);
    CU_ASSERT_EQUAL(gv_session_send(odd.session, gv_slice_of(words, sizeof words), &odd.out),
                    GV_OK);
    struct gv_slice frame = gv_buf_slice(&odd.out);
    uint64_t deadline_us = gv_clock_us() + UINT64_C(1000) * DEADLINE_MS;
    uint64_t next_us = 0;
    size_t sent = 0;
    while (waiting(&overflows) != UINT64_MAX && gv_clock_us() < deadline_us) {
        struct timespec pause = {.tv_nsec = 1000000};
        if (gv_clock_us() >= next_us && sent < frame.len) {
            next_us = gv_clock_us() + 1000000;
            (void)send(odd.fd, frame.data + sent++, 1, MSG_NOSIGNAL);
        }
        nanosleep(&pause, NULL);
    }
    CU_ASSERT_EQUAL(waiting(&overflows), UINT64_MAX);
    CU_ASSERT_TRUE(sent >= 1 && sent < frame.len); /* shut out before it had said a word */
    AWAIT(is_closed(odd.fd));
    CU_ASSERT_TRUE(gv_cluster_is_synced(cluster));
    part(&odd);
    end();
}

GV_SUITE("integration/strangers", GV_CASE(silent_connections_do_not_keep_others_out),
         GV_CASE(a_handshake_byte_by_byte_is_cut),
         GV_CASE(nonsense_is_counted_each_time_and_logged_once),
         GV_CASE(datagrams_of_strangers_are_counted_and_never_answered),
         GV_CASE(an_incarnation_kept_far_ahead_of_the_clock_is_not_used),
         GV_CASE(a_state_directory_that_cannot_be_written_is_counted_and_survived),
         GV_CASE(a_member_that_sends_a_byte_a_second_loses_its_session),
         GV_CASE(a_record_of_another_in_ones_own_session_is_not_believed),
         GV_CASE(a_member_that_never_reads_costs_a_bounded_queue_and_then_its_session))
