/*
 * test_proxy.c - the data path of one loop over loopback, with workers that do exactly what a test
 * says, byte by byte.
 */
#include "grapevine/base/mem.h"
#include "grapevine/proxy/explain.h"
#include "grapevine/proxy/probe.h"
#include "grapevine/proxy/proxy.h"
#include "support/process.h"
#include "support/suite.h"
#include "support/talk.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- a worker that does what it is told ---- */

#define FAKE_LINES_MAX 64

struct fake;
/* Answer one request on `fd`; false closes the connection. */
typedef bool (*fake_fn)(struct fake *fake, int fd);

struct fake {
    int listener;
    uint16_t port;
    char url[64];
    fake_fn reply;
    pthread_t accepting;
    pthread_t lines[FAKE_LINES_MAX];
    int fds[FAKE_LINES_MAX];
    atomic_int line_count; /* connections ever accepted */
    atomic_int request_count;
    atomic_int gone_count; /* connections that the router closed while we were answering */
    pthread_mutex_t lock;
    char request[256 * 1024]; /* the last one, whole; under `lock` */
};

struct fake_line {
    struct fake *fake;
    int fd;
};

static void say(int fd, const char *text)
{
    (void)gv_talk_send_text(fd, text);
}

static size_t body_length(const char *request)
{
    const char *at = strstr(request, "Content-Length: ");
    return at == NULL ? 0 : (size_t)strtoul(at + 16, NULL, 10);
}

/* Read one request into `into`; false at the end of the connection. */
static bool read_request(int fd, char *into, size_t size)
{
    size_t len = 0;
    for (;;) {
        into[len] = '\0';
        char *end = strstr(into, "\r\n\r\n");
        if (end != NULL && len >= (size_t)(end + 4 - into) + body_length(into)) {
            return true;
        }
        ssize_t got = len + 1 < size ? read(fd, into + len, size - 1 - len) : 0;
        if (got <= 0) {
            return false;
        }
        len += (size_t)got;
    }
}

static void *serve_line(void *owner)
{
    struct fake_line line = *(struct fake_line *)owner;
    free(owner);
    char *request = calloc(1, sizeof line.fake->request);
    bool open = true;
    while (open && read_request(line.fd, request, sizeof line.fake->request)) {
        pthread_mutex_lock(&line.fake->lock);
        memcpy(line.fake->request, request, sizeof line.fake->request);
        pthread_mutex_unlock(&line.fake->lock);
        atomic_fetch_add(&line.fake->request_count, 1);
        open = line.fake->reply(line.fake, line.fd);
    }
    free(request);
    shutdown(line.fd, SHUT_RDWR);
    return NULL;
}

static void *accept_lines(void *owner)
{
    struct fake *fake = owner;
    for (;;) {
        int fd = accept(fake->listener, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        int at = atomic_load(&fake->line_count);
        if (at == FAKE_LINES_MAX) {
            close(fd);
            continue;
        }
        struct fake_line *line = malloc(sizeof *line);
        *line = (struct fake_line){fake, fd};
        fake->fds[at] = fd;
        pthread_create(&fake->lines[at], NULL, serve_line, line);
        atomic_fetch_add(&fake->line_count, 1);
    }
}

static void fake_start(struct fake *fake, fake_fn reply)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    memset(fake, 0, sizeof *fake);
    pthread_mutex_init(&fake->lock, NULL);
    fake->reply = reply;
    fake->listener = socket(AF_INET, SOCK_STREAM, 0);
    CU_ASSERT_EQUAL_FATAL(bind(fake->listener, (struct sockaddr *)&addr, len), 0);
    CU_ASSERT_EQUAL_FATAL(listen(fake->listener, 64), 0);
    getsockname(fake->listener, (struct sockaddr *)&addr, &len);
    fake->port = ntohs(addr.sin_port);
    snprintf(fake->url, sizeof fake->url, "http://127.0.0.1:%u", fake->port);
    pthread_create(&fake->accepting, NULL, accept_lines, fake);
}

static void fake_stop(struct fake *fake)
{
    shutdown(fake->listener, SHUT_RDWR);
    pthread_join(fake->accepting, NULL);
    close(fake->listener);
    for (int i = 0; i < atomic_load(&fake->line_count); i++) {
        shutdown(fake->fds[i], SHUT_RDWR);
        pthread_join(fake->lines[i], NULL);
        close(fake->fds[i]);
    }
    pthread_mutex_destroy(&fake->lock);
}

static bool fake_was_sent(struct fake *fake, const char *text)
{
    pthread_mutex_lock(&fake->lock);
    bool found = strstr(fake->request, text) != NULL;
    pthread_mutex_unlock(&fake->lock);
    return found;
}

/* The digits behind `name` in the last request. */
static void fake_number(struct fake *fake, const char *name, char *digits, size_t size)
{
    pthread_mutex_lock(&fake->lock);
    const char *at = strstr(fake->request, name);
    size_t len = 0;
    for (at = at == NULL ? "" : at + strlen(name); len + 1 < size && *at >= '0' && *at <= '9';) {
        digits[len++] = *at++;
    }
    digits[len] = '\0';
    pthread_mutex_unlock(&fake->lock);
}

/* ---- replies ---- */

static bool reply_hello(struct fake *fake, int fd)
{
    (void)fake;
    say(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Engine: a\r\nX-Engine: b\r\n"
            "Content-Length: 15\r\n\r\n{\"say\":\"hello\"}");
    return true;
}

static bool reply_hello_and_close(struct fake *fake, int fd)
{
    (void)reply_hello(fake, fd);
    return false; /* without having said so */
}

#define EVENTS "data: {\"a\":1}\n\ndata: \xc3\xa4\xf0\x9f\x8d\x87\r\n\r\n: ping\n\ndata: [DONE]\n\n"

static bool reply_stream(struct fake *fake, int fd)
{
    (void)fake;
    say(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            "\r\n");
    static const char events[] = EVENTS;
    for (size_t i = 0; i < sizeof events - 1; i++) {
        char chunk[16];
        snprintf(chunk, sizeof chunk, "1\r\n%c\r\n", events[i]);
        (void)gv_talk_send(fd, chunk, 6);
    }
    say(fd, "0\r\n\r\n");
    return true;
}

static bool reply_busy(struct fake *fake, int fd)
{
    (void)fake;
    say(fd, "HTTP/1.1 503 Busy\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\nbusy now");
    return true;
}

static bool reply_bad_request(struct fake *fake, int fd)
{
    (void)fake;
    say(fd, "HTTP/1.1 400 Bad\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nnot that!");
    return true;
}

/* The head, and then nothing before any body byte. */
static bool reply_head_and_die(struct fake *fake, int fd)
{
    (void)fake;
    say(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            "\r\n");
    return false;
}

/* One event and then nothing, for ever. */
static bool reply_one_event(struct fake *fake, int fd)
{
    say(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            "\r\n9\r\ndata: x\n\n\r\n");
    char byte;
    if (read(fd, &byte, 1) <= 0) {
        atomic_fetch_add(&fake->gone_count, 1);
    }
    return false;
}

/* One event and then the end, in the middle. */
static bool reply_cut(struct fake *fake, int fd)
{
    (void)fake;
    say(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            "\r\n9\r\ndata: x\n\n\r\n");
    return false;
}

/* Nothing at all, until the router hangs up. */
static bool reply_never(struct fake *fake, int fd)
{
    char byte;
    if (read(fd, &byte, 1) <= 0) {
        atomic_fetch_add(&fake->gone_count, 1);
    }
    return false;
}

/* ---- a proxy on a loop of its own ---- */

struct rig {
    struct gv_config config;
    struct gv_fleet *fleet;
    struct gv_forest *forest;
    struct gv_load_table *load;
    struct gv_fingerprint_secret secret;
    struct gv_proxy_shared shared;
    struct gv_loop *loop;
    struct gv_proxy *proxy;
    struct gv_probe *probe;
    uint16_t port;
    atomic_int published;
    atomic_int opinions;
    atomic_int removed;
    atomic_bool drained;
    atomic_bool closed;
};

static void on_publish(void *owner, const struct gv_operation *operation)
{
    struct rig *rig = owner;
    CU_ASSERT(operation->key[0] != '\0');
    atomic_fetch_add(&rig->published, 1);
}

static bool on_is_ready(void *owner, char reason[GV_PROXY_REASON_BYTES])
{
    (void)owner;
    (void)reason;
    return true;
}

static void on_local(void *owner, struct gv_local_call *call)
{
    (void)owner;
    if (strcmp(call->path, "/v1/models") == 0) {
        gv_local_reply_json(call, 200, gv_slice_text("{\"object\":\"list\"}"));
    } else {
        gv_local_reply_problem(call, GV_PROBLEM_NO_ROUTE, call->path);
    }
}

static const struct gv_proxy_events events = {on_publish, on_is_ready, on_local};

static void settings(struct gv_config *config)
{
    memset(config, 0, sizeof *config);
    config->max_payload_bytes = 100000;
    config->request_timeout_ms = 60000;
    config->connect_timeout_ms = 5000;
    config->stream_idle_timeout_ms = 30000;
    config->client_idle_timeout_ms = 30000;
    config->client_head_timeout_ms = 30000;
    config->client_body_timeout_ms = 30000;
    config->max_connections = 1000;
    config->max_head_bytes = 65536;
    config->max_header_count = 128;
    config->max_uri_bytes = 8192;
    config->pool_idle_per_worker = 10;
    config->pool_idle_timeout_ms = 50000;
    config->block_bytes = 16;
    config->retry_max = 3;
    config->retry_initial_backoff_ms = 1;
    config->retry_max_backoff_ms = 5;
    config->retry_backoff_multiplier = 1.5;
    config->retry_jitter_factor = 0.2;
    config->cb_failure_threshold = 100;
    config->cb_timeout_ms = 60000;
    config->health_interval_ms = 100;
    config->health_timeout_ms = 5000;
    config->health_failure_threshold = 2;
    config->health_success_threshold = 2;
    static char health[] = "/health";
    static char none[] = "";
    config->health_endpoint = health;
    config->model = none;
    config->decision_headers = 1;
    config->shutdown_grace_ms = 60000;
}

static void add_worker(struct rig *rig, const char *url, enum gv_pool pool,
                       enum gv_worker_state state)
{
    struct gv_worker worker = {
        .pool = pool, .state = state, .source = GV_SOURCE_API, .bootstrap_port = -1, .cost = 1};
    snprintf(worker.url, sizeof worker.url, "%s", url);
    if (pool == GV_POOL_PREFILL) {
        worker.bootstrap_port = 8998;
    }
    CU_ASSERT_EQUAL_FATAL(gv_fleet_put(rig->fleet, &worker), GV_OK);
}

static void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    settings(&rig->config);
    static const uint8_t key[32];
    gv_fingerprint_secret_init(&rig->secret, key);
    struct gv_forest_limits limits = {.max_bytes = 64u << 20,
                                      .touch_interval_s = 5,
                                      .max_keys = 64,
                                      .worker_blocks = 1u << 20,
                                      .min_age_s = 10,
                                      .max_ahead_s = 60};
    CU_ASSERT_EQUAL_FATAL(gv_fleet_new(&rig->fleet), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&rig->load), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_forest_new(limits, &rig->forest), GV_OK);
    struct gv_policy_options options = {0.3, 64, 1.5, 1.25};
    for (int i = 0; i < GV_POOL_COUNT; i++) {
        CU_ASSERT_EQUAL_FATAL(
            gv_policy_new("cache_aware", options, rig->forest, rig->load, &rig->shared.policies[i]),
            GV_OK);
    }
    rig->shared.config = &rig->config;
    rig->shared.fleet = rig->fleet;
    rig->shared.forest = rig->forest;
    rig->shared.load = rig->load;
    rig->shared.secret = &rig->secret;
    rig->shared.node_name = "n1";
    rig->shared.loop_count = 1;
    rig->shared.events = &events;
    rig->shared.owner = rig;
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &rig->loop), GV_OK);
}

static void rig_start(struct rig *rig)
{
    struct gv_addr addr;
    CU_ASSERT_EQUAL_FATAL(gv_addr_parse(gv_slice_text("127.0.0.1:0"), 0, &addr), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_proxy_open(rig->loop, &rig->shared, &addr, &rig->proxy), GV_OK);
    rig->port = gv_proxy_address(rig->proxy).port;
    CU_ASSERT_EQUAL_FATAL(gv_loop_start(rig->loop), GV_OK);
}

static void on_closed(void *owner)
{
    struct rig *rig = owner;
    gv_probe_close(rig->probe);
    atomic_store(&rig->closed, true);
    gv_loop_stop(rig->loop);
}

static void on_drained(void *owner)
{
    struct rig *rig = owner;
    atomic_store(&rig->drained, true);
}

static bool is_unloaded(void *owner)
{
    struct rig *rig = owner;
    return gv_load_own_total(rig->load) == 0;
}

/* Whatever happened, nothing is counted as being in flight afterwards. */
static void rig_stop(struct rig *rig)
{
    CU_ASSERT(gv_test_await(is_unloaded, rig, 0));
    gv_proxy_close(rig->proxy, on_closed, rig);
    gv_loop_join(rig->loop);
    CU_ASSERT(atomic_load(&rig->closed));
    gv_loop_free(rig->loop);
    CU_ASSERT_EQUAL(gv_load_own_total(rig->load), 0);
    for (int i = 0; i < GV_POOL_COUNT; i++) {
        gv_policy_free(rig->shared.policies[i]);
    }
    gv_forest_free(rig->forest);
    gv_load_free(rig->load);
    gv_fleet_free(rig->fleet);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_EXCHANGE), 0);
}

#define CHAT "/v1/chat/completions"
#define BODY                                                                                       \
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello there, worker\"}]}"

static void chat(struct rig *rig, struct gv_reply *reply)
{
    gv_talk_ask(rig->port, "POST", CHAT, "Content-Type: application/json\r\n", BODY, reply);
}

/* ---- one worker ---- */

static void an_answer_passes_unchanged_and_the_request_keeps_its_id(void)
{
    struct rig rig;
    struct fake fake;
    struct gv_reply reply;
    char value[128];
    rig_init(&rig);
    fake_start(&fake, reply_hello);
    add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig_start(&rig);
    gv_talk_ask(rig.port, "POST", CHAT,
                "Content-Type: application/json\r\nX-Request-Id: my-id\r\nX-Other: kept\r\n", BODY,
                &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT(reply.whole);
    CU_ASSERT_STRING_EQUAL(reply.body, "{\"say\":\"hello\"}");
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.head, "X-Engine: a\r\nX-Engine: b\r\n"));
    CU_ASSERT(gv_reply_header(&reply, "x-request-id", value, sizeof value));
    CU_ASSERT_STRING_EQUAL(value, "my-id");
    CU_ASSERT(gv_reply_header(&reply, "x-grapevine-worker", value, sizeof value));
    CU_ASSERT_STRING_EQUAL(value, fake.url);
    CU_ASSERT(gv_reply_header(&reply, "x-grapevine-node", value, sizeof value));
    CU_ASSERT_STRING_EQUAL(value, "n1");
    gv_reply_deinit(&reply);
    char host[64];
    snprintf(host, sizeof host, "Host: 127.0.0.1:%u\r\n", fake.port);
    CU_ASSERT(fake_was_sent(&fake, host));
    CU_ASSERT(fake_was_sent(&fake, "my-id"));
    CU_ASSERT(fake_was_sent(&fake, "X-Other: kept"));
    CU_ASSERT(fake_was_sent(&fake, BODY));
    CU_ASSERT_EQUAL(atomic_load(&rig.published), 1);
    rig_stop(&rig);
    fake_stop(&fake);
}

static void a_stream_passes_byte_for_byte_however_it_was_cut(void)
{
    struct rig rig;
    struct fake fake;
    struct gv_reply reply;
    rig_init(&rig);
    fake_start(&fake, reply_stream);
    add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig_start(&rig);
    chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT(reply.whole);
    CU_ASSERT_STRING_EQUAL(reply.body, EVENTS);
    gv_reply_deinit(&reply);
    rig_stop(&rig);
    fake_stop(&fake);
}

static void an_answer_to_http_1_0_ends_with_the_connection(void)
{
    struct rig rig;
    struct fake fake;
    struct gv_reply reply;
    rig_init(&rig);
    fake_start(&fake, reply_stream);
    add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    char request[512];
    snprintf(request, sizeof request,
             "POST " CHAT " HTTP/1.0\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", strlen(BODY),
             BODY);
    CU_ASSERT(gv_talk_send_text(fd, request));
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_PTR_NULL(strstr(reply.head, "chunked"));
    CU_ASSERT_STRING_EQUAL(reply.body, EVENTS);
    gv_reply_deinit(&reply);
    close(fd);
    rig_stop(&rig);
    fake_stop(&fake);
}

static void a_body_over_the_limit_is_413_and_one_at_the_limit_is_served(void)
{
    struct rig rig;
    struct fake fake;
    struct gv_reply reply;
    rig_init(&rig);
    fake_start(&fake, reply_hello);
    add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig.config.max_payload_bytes = strlen(BODY);
    rig_start(&rig);
    chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "POST", CHAT, NULL, BODY " ", &reply);
    CU_ASSERT_EQUAL(reply.status, 413);
    gv_reply_deinit(&reply);
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), 1);
    rig_stop(&rig);
    fake_stop(&fake);
}

static void pipelined_requests_are_answered_in_order_on_one_worker_connection(void)
{
    struct rig rig;
    struct fake fake;
    struct gv_reply reply;
    rig_init(&rig);
    fake_start(&fake, reply_hello);
    add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    char three[4096] = "";
    size_t len = 0;
    for (int i = 0; i < 3; i++) {
        len += (size_t)snprintf(three + len, sizeof three - len,
                                "POST " CHAT " HTTP/1.1\r\nHost: x\r\nX-Request-Id: r%d\r\n"
                                "Content-Length: %zu\r\n\r\n%s",
                                i, strlen(BODY), BODY);
    }
    CU_ASSERT(gv_talk_send(fd, three, len));
    for (int i = 0; i < 3; i++) {
        char value[32];
        char wanted[16];
        snprintf(wanted, sizeof wanted, "r%d", i);
        gv_talk_read(fd, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        CU_ASSERT(gv_reply_header(&reply, "x-request-id", value, sizeof value));
        CU_ASSERT_STRING_EQUAL(value, wanted);
        gv_reply_deinit(&reply);
    }
    close(fd);
    CU_ASSERT_EQUAL(atomic_load(&fake.line_count), 1);
    rig_stop(&rig);
    fake_stop(&fake);
}

static void an_idle_connection_that_the_worker_closed_is_replaced_silently(void)
{
    struct rig rig;
    struct fake fake;
    struct gv_reply reply;
    rig_init(&rig);
    fake_start(&fake, reply_hello_and_close);
    add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig.config.disable_retries = 1;
    rig_start(&rig);
    for (int i = 0; i < 20; i++) {
        chat(&rig, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        gv_reply_deinit(&reply);
    }
    rig_stop(&rig);
    fake_stop(&fake);
}

static bool worker_saw_the_end(void *owner)
{
    struct fake *fake = owner;
    return atomic_load(&fake->gone_count) == 1;
}

static void a_client_that_leaves_ends_the_request_of_a_silent_worker(void)
{
    struct rig rig;
    struct fake fake;
    rig_init(&rig);
    fake_start(&fake, reply_one_event);
    add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    char request[512];
    char got[512];
    snprintf(request, sizeof request,
             "POST " CHAT " HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", strlen(BODY),
             BODY);
    CU_ASSERT(gv_talk_send_text(fd, request));
    CU_ASSERT(read(fd, got, sizeof got) > 0);
    CU_ASSERT_EQUAL(gv_load_own_total(rig.load), 1);
    close(fd);
    CU_ASSERT(gv_test_await(worker_saw_the_end, &fake, 0));
    rig_stop(&rig);
    fake_stop(&fake);
}

static void an_answer_that_breaks_off_is_cut_and_not_completed(void)
{
    struct rig rig;
    struct fake fake;
    struct gv_reply reply;
    rig_init(&rig);
    fake_start(&fake, reply_cut);
    add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig_start(&rig);
    chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_FALSE(reply.whole);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "data: x"));
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), 1);
    gv_reply_deinit(&reply);
    rig_stop(&rig);
    fake_stop(&fake);
}

static void a_worker_that_says_nothing_is_a_504(void)
{
    struct rig rig;
    struct fake fake;
    struct gv_reply reply;
    rig_init(&rig);
    fake_start(&fake, reply_never);
    add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig.config.first_byte_timeout_ms = 200;
    rig.config.disable_retries = 1;
    rig_start(&rig);
    chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 504);
    gv_reply_deinit(&reply);
    CU_ASSERT(gv_test_await(worker_saw_the_end, &fake, 0));
    rig_stop(&rig);
    fake_stop(&fake);
}

/* ---- several workers ---- */

static void a_worker_that_refuses_connections_is_replaced(void)
{
    struct rig rig;
    struct fake fake;
    struct fake dead;
    struct gv_reply reply;
    rig_init(&rig);
    fake_start(&fake, reply_hello);
    fake_start(&dead, reply_hello);
    fake_stop(&dead);
    add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    add_worker(&rig, dead.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig_start(&rig);
    for (int i = 0; i < 8; i++) {
        char body[256];
        snprintf(body, sizeof body,
                 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"%d words\"}]}",
                 i);
        gv_talk_ask(rig.port, "POST", CHAT, NULL, body, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        gv_reply_deinit(&reply);
    }
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), 8);
    rig_stop(&rig);
    fake_stop(&fake);
}

static void nobody_left_to_try_is_a_502(void)
{
    struct rig rig;
    struct fake dead;
    struct gv_reply reply;
    rig_init(&rig);
    fake_start(&dead, reply_hello);
    fake_stop(&dead);
    add_worker(&rig, dead.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig_start(&rig);
    chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 502);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "upstream_connect_failed"));
    gv_reply_deinit(&reply);
    rig_stop(&rig);
}

static void a_busy_worker_is_tried_elsewhere_and_its_last_answer_passes(void)
{
    struct rig rig;
    struct fake busy;
    struct fake good;
    struct gv_reply reply;
    rig_init(&rig);
    fake_start(&busy, reply_busy);
    fake_start(&good, reply_hello);
    add_worker(&rig, busy.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig_start(&rig);
    chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    CU_ASSERT_STRING_EQUAL(reply.body, "busy now");
    CU_ASSERT_EQUAL(atomic_load(&busy.request_count), 3); /* retry_max attempts */
    gv_reply_deinit(&reply);
    add_worker(&rig, good.url, GV_POOL_REGULAR, GV_WORKER_READY);
    chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT(atomic_load(&busy.request_count) <= 4); /* never twice on the one that failed */
    gv_reply_deinit(&reply);
    rig_stop(&rig);
    fake_stop(&busy);
    fake_stop(&good);
}

static void a_worker_that_dies_before_the_first_token_is_replaced(void)
{
    struct rig rig;
    struct fake bad;
    struct fake good;
    struct gv_reply reply;
    rig_init(&rig);
    fake_start(&bad, reply_head_and_die);
    fake_start(&good, reply_stream);
    add_worker(&rig, bad.url, GV_POOL_REGULAR, GV_WORKER_READY);
    add_worker(&rig, good.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig_start(&rig);
    for (int i = 0; i < 8; i++) {
        char body[256];
        snprintf(body, sizeof body,
                 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"%d words\"}]}",
                 i);
        gv_talk_ask(rig.port, "POST", CHAT, NULL, body, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        CU_ASSERT_STRING_EQUAL(reply.body, EVENTS);
        gv_reply_deinit(&reply);
    }
    rig_stop(&rig);
    fake_stop(&bad);
    fake_stop(&good);
}

static void what_nobody_can_serve_is_said_with_the_reason(void)
{
    struct rig rig;
    struct gv_reply reply;
    rig_init(&rig);
    rig_start(&rig);
    chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    gv_reply_deinit(&reply);
    add_worker(&rig, "http://127.0.0.1:9", GV_POOL_REGULAR, GV_WORKER_NOT_READY);
    chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "pool regular, model 'm': 1 of 1 workers"));
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "1 not_ready"));
    gv_reply_deinit(&reply);
    CU_ASSERT_EQUAL_FATAL(
        gv_fleet_set_metadata(rig.fleet, gv_slice_text("http://127.0.0.1:9"), "other", NULL, 0),
        GV_OK);
    chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 404);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "model_not_found"));
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "POST", CHAT, NULL, "{\"model\":", &reply);
    CU_ASSERT_EQUAL(reply.status, 400);
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "GET", CHAT, NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 405);
    gv_reply_deinit(&reply);
    rig_stop(&rig);
}

/* ---- prefill and decode ---- */

#define ROOM "\"bootstrap_room\":"

static void both_legs_meet_in_one_fresh_room_and_decode_answers(void)
{
    struct rig rig;
    struct fake prefill;
    struct fake decode;
    struct gv_reply reply;
    char rooms[2][2][32];
    rig_init(&rig);
    fake_start(&prefill, reply_hello);
    fake_start(&decode, reply_stream);
    add_worker(&rig, prefill.url, GV_POOL_PREFILL, GV_WORKER_READY);
    add_worker(&rig, decode.url, GV_POOL_DECODE, GV_WORKER_READY);
    rig.config.pd_disaggregation = 1;
    rig_start(&rig);
    for (int i = 0; i < 2; i++) {
        gv_talk_ask(rig.port, "POST", CHAT, NULL,
                    "{\"bootstrap_room\":7,\"bootstrap_host\":\"evil\",\"model\":\"m\","
                    "\"messages\":[{\"role\":\"user\",\"content\":\"hello there\"}]}",
                    &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        CU_ASSERT_STRING_EQUAL(reply.body, EVENTS);
        gv_reply_deinit(&reply);
        fake_number(&prefill, ROOM, rooms[i][0], sizeof rooms[i][0]);
        fake_number(&decode, ROOM, rooms[i][1], sizeof rooms[i][1]);
        CU_ASSERT_STRING_EQUAL(rooms[i][0], rooms[i][1]);
        CU_ASSERT(strlen(rooms[i][0]) > 1);
    }
    CU_ASSERT_STRING_NOT_EQUAL(rooms[0][0], rooms[1][0]);
    CU_ASSERT_FALSE(fake_was_sent(&decode, "evil"));
    CU_ASSERT(fake_was_sent(&decode, "\"bootstrap_host\":\"127.0.0.1\""));
    CU_ASSERT(fake_was_sent(&prefill, "\"bootstrap_port\":8998"));
    CU_ASSERT_EQUAL(atomic_load(&rig.published), 2); /* one per pool; the second time it is fresh */
    rig_stop(&rig);
    fake_stop(&prefill);
    fake_stop(&decode);
}

static void a_failed_prefill_ends_decode_and_is_named(void)
{
    struct rig rig;
    struct fake prefill;
    struct fake decode;
    struct gv_reply reply;
    rig_init(&rig);
    fake_start(&prefill, reply_busy);
    fake_start(&decode, reply_never);
    add_worker(&rig, prefill.url, GV_POOL_PREFILL, GV_WORKER_READY);
    add_worker(&rig, decode.url, GV_POOL_DECODE, GV_WORKER_READY);
    rig.config.pd_disaggregation = 1;
    rig.config.disable_retries = 1;
    rig_start(&rig);
    chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 502);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "prefill_failed"));
    gv_reply_deinit(&reply);
    CU_ASSERT(gv_test_await(worker_saw_the_end, &decode, 0));
    rig_stop(&rig);
    fake_stop(&prefill);
    fake_stop(&decode);
}

static void what_prefill_finds_wrong_with_a_request_is_passed_on(void)
{
    struct rig rig;
    struct fake prefill;
    struct fake decode;
    struct gv_reply reply;
    rig_init(&rig);
    fake_start(&prefill, reply_bad_request);
    fake_start(&decode, reply_never);
    add_worker(&rig, prefill.url, GV_POOL_PREFILL, GV_WORKER_READY);
    add_worker(&rig, decode.url, GV_POOL_DECODE, GV_WORKER_READY);
    rig.config.pd_disaggregation = 1;
    rig_start(&rig);
    chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 400);
    CU_ASSERT_STRING_EQUAL(reply.body, "not that!");
    gv_reply_deinit(&reply);
    CU_ASSERT(gv_test_await(worker_saw_the_end, &decode, 0));
    rig_stop(&rig);
    fake_stop(&prefill);
    fake_stop(&decode);
}

static void what_decode_says_passes_and_ends_prefill(void)
{
    struct rig rig;
    struct fake prefill;
    struct fake decode;
    struct gv_reply reply;
    rig_init(&rig);
    fake_start(&prefill, reply_never);
    fake_start(&decode, reply_bad_request);
    add_worker(&rig, prefill.url, GV_POOL_PREFILL, GV_WORKER_READY);
    add_worker(&rig, decode.url, GV_POOL_DECODE, GV_WORKER_READY);
    rig.config.pd_disaggregation = 1;
    rig_start(&rig);
    chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 400);
    CU_ASSERT_STRING_EQUAL(reply.body, "not that!");
    gv_reply_deinit(&reply);
    CU_ASSERT(gv_test_await(worker_saw_the_end, &prefill, 0));
    rig_stop(&rig);
    fake_stop(&prefill);
    fake_stop(&decode);
}

/* ---- what the router answers itself ---- */

static void probes_local_paths_and_keys(void)
{
    struct rig rig;
    struct gv_reply reply;
    static char key[] = "sesame";
    static char *keys[] = {key};
    rig_init(&rig);
    rig.config.api_keys.items = keys;
    rig.config.api_keys.count = 1;
    rig_start(&rig);
    gv_talk_ask(rig.port, "GET", "/health", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "GET", "/readiness", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "insufficient healthy workers"));
    gv_reply_deinit(&reply);
    add_worker(&rig, "http://127.0.0.1:9", GV_POOL_REGULAR, GV_WORKER_READY);
    gv_talk_ask(rig.port, "GET", "/readiness", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_EQUAL(gv_reply_number(&reply, "healthy_workers"), 1);
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "GET", "/v1/models", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_STRING_EQUAL(reply.body, "{\"object\":\"list\"}");
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "GET", "/no/such", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 401);
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "GET", "/no/such", "Authorization: Bearer sesam\r\n", NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 401);
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "GET", "/no/such", "Authorization: Bearer sesame\r\n", NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 404);
    gv_reply_deinit(&reply);
    rig_stop(&rig);
}

static bool is_drained(void *owner)
{
    struct rig *rig = owner;
    return atomic_load(&rig->drained);
}

static bool is_loaded(void *owner)
{
    return !is_unloaded(owner);
}

static void a_drain_waits_for_the_last_exchange(void)
{
    struct rig rig;
    struct fake fake;
    rig_init(&rig);
    fake_start(&fake, reply_one_event);
    add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    char request[512];
    snprintf(request, sizeof request,
             "POST " CHAT " HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", strlen(BODY),
             BODY);
    CU_ASSERT(gv_talk_send_text(fd, request));
    CU_ASSERT(gv_test_await(is_loaded, &rig, 0));
    gv_proxy_drain(rig.proxy, 0, on_drained, &rig);
    while (gv_talk_connect(rig.port) >= 0) {
        gv_test_pause();
    }
    CU_ASSERT_FALSE(atomic_load(&rig.drained));
    close(fd);
    CU_ASSERT(gv_test_await(is_drained, &rig, 0));
    rig_stop(&rig);
    fake_stop(&fake);
}

static void explain_decides_like_a_request_and_changes_nothing(void)
{
    struct rig rig;
    struct gv_explain explain;
    rig_init(&rig);
    rig_start(&rig);
    add_worker(&rig, "http://127.0.0.1:9", GV_POOL_REGULAR, GV_WORKER_READY);
    add_worker(&rig, "http://127.0.0.1:10", GV_POOL_REGULAR, GV_WORKER_READY);
    struct gv_slice none = gv_slice_text("");
    CU_ASSERT_EQUAL_FATAL(
        gv_explain_init(&explain, &rig.shared, GV_ENDPOINT_CHAT, gv_slice_text(BODY), none), GV_OK);
    CU_ASSERT_EQUAL(explain.problem, GV_PROBLEM_NONE);
    CU_ASSERT_EQUAL(explain.leg_count, 1);
    CU_ASSERT_STRING_EQUAL(explain.legs[0].key, "regular::m");
    CU_ASSERT_EQUAL(explain.legs[0].decision.candidate_count, 2);
    CU_ASSERT_NOT_EQUAL(explain.legs[0].worker[0], '\0');
    gv_explain_deinit(&explain);
    CU_ASSERT_EQUAL_FATAL(gv_explain_init(&explain, &rig.shared, GV_ENDPOINT_CHAT,
                                          gv_slice_text("{\"model\":"), none),
                          GV_OK);
    CU_ASSERT_EQUAL(explain.problem, GV_PROBLEM_BAD_JSON);
    gv_explain_deinit(&explain);
    CU_ASSERT_EQUAL(atomic_load(&rig.published), 0);
    rig_stop(&rig);
}

/* ---- probes ---- */

static atomic_int metadata_role; /* 0: none told, 1: decode */
static atomic_int boot;

static bool reply_as_engine(struct fake *fake, int fd)
{
    char body[512] = "{}";
    if (fake_was_sent(fake, "GET /v1/models ")) {
        snprintf(body, sizeof body,
                 "{\"object\":\"list\",\"data\":[{\"id\":\"llama\",\"owned_by\":\"sglang\"}]}");
    } else if (fake_was_sent(fake, "GET /get_server_info ")) {
        snprintf(
            body, sizeof body,
            "{\"disaggregation_mode\":\"%s\",\"max_total_num_tokens\":4000,\"boot_id\":\"b%d\"}",
            atomic_load(&metadata_role) == 1 ? "decode" : "null", atomic_load(&boot));
    }
    char answer[1024];
    snprintf(answer, sizeof answer,
             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    say(fd, answer);
    return true;
}

static void on_opinion(void *owner, const struct gv_worker *worker)
{
    struct rig *rig = owner;
    CU_ASSERT(worker->url[0] != '\0');
    atomic_fetch_add(&rig->opinions, 1);
}

static void on_removed(void *owner, const struct gv_worker *worker)
{
    struct rig *rig = owner;
    CU_ASSERT(worker->url[0] != '\0');
    atomic_fetch_add(&rig->removed, 1);
}

static const struct gv_probe_events probe_events = {on_opinion, on_removed};

struct wanted {
    struct rig *rig;
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
    struct rig *rig = owner;
    return atomic_load(&rig->published) > 0;
}

static bool was_removed(void *owner)
{
    struct rig *rig = owner;
    return atomic_load(&rig->removed) == 1;
}

static void a_worker_becomes_ready_with_its_metadata_and_leaves_when_drained(void)
{
    struct rig rig;
    struct fake fake;
    rig_init(&rig);
    atomic_store(&metadata_role, 0);
    fake_start(&fake, reply_as_engine);
    add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_PENDING);
    CU_ASSERT_EQUAL_FATAL(gv_probe_open(rig.loop, &rig.shared, &probe_events, &rig, &rig.probe),
                          GV_OK);
    rig_start(&rig);
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
    rig_stop(&rig);
    fake_stop(&fake);
}

static void a_worker_whose_role_contradicts_is_refused_until_it_agrees(void)
{
    struct rig rig;
    struct fake fake;
    rig_init(&rig);
    atomic_store(&metadata_role, 1);
    fake_start(&fake, reply_as_engine);
    add_worker(&rig, fake.url, GV_POOL_PREFILL, GV_WORKER_PENDING);
    CU_ASSERT_EQUAL_FATAL(gv_probe_open(rig.loop, &rig.shared, &probe_events, &rig, &rig.probe),
                          GV_OK);
    rig_start(&rig);
    struct wanted refused = {&rig, fake.url, GV_WORKER_REFUSED};
    CU_ASSERT(gv_test_await(has_state, &refused, 0));
    const struct gv_fleet_view *view = gv_fleet_acquire(rig.fleet);
    CU_ASSERT_PTR_NOT_NULL(strstr(view->workers[0].reason, "prefill"));
    CU_ASSERT_PTR_NOT_NULL(strstr(view->workers[0].reason, "decode"));
    gv_fleet_release(rig.fleet, view);
    rig_stop(&rig);
    fake_stop(&fake);
}

static void a_dead_worker_is_not_ready_and_never_given_up(void)
{
    struct rig rig;
    struct fake fake;
    rig_init(&rig);
    atomic_store(&metadata_role, 0);
    fake_start(&fake, reply_busy);
    add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_PENDING);
    CU_ASSERT_EQUAL_FATAL(gv_probe_open(rig.loop, &rig.shared, &probe_events, &rig, &rig.probe),
                          GV_OK);
    rig_start(&rig);
    struct wanted dead = {&rig, fake.url, GV_WORKER_NOT_READY};
    CU_ASSERT(gv_test_await(has_state, &dead, 0));
    int before = atomic_load(&fake.request_count);
    while (atomic_load(&fake.request_count) < before + 3) {
        gv_test_pause();
    }
    rig_stop(&rig);
    fake_stop(&fake);
}

GV_SUITE("integration/proxy", GV_CASE(an_answer_passes_unchanged_and_the_request_keeps_its_id),
         GV_CASE(a_stream_passes_byte_for_byte_however_it_was_cut),
         GV_CASE(an_answer_to_http_1_0_ends_with_the_connection),
         GV_CASE(a_body_over_the_limit_is_413_and_one_at_the_limit_is_served),
         GV_CASE(pipelined_requests_are_answered_in_order_on_one_worker_connection),
         GV_CASE(an_idle_connection_that_the_worker_closed_is_replaced_silently),
         GV_CASE(a_client_that_leaves_ends_the_request_of_a_silent_worker),
         GV_CASE(an_answer_that_breaks_off_is_cut_and_not_completed),
         GV_CASE(a_worker_that_says_nothing_is_a_504),
         GV_CASE(a_worker_that_refuses_connections_is_replaced),
         GV_CASE(nobody_left_to_try_is_a_502),
         GV_CASE(a_busy_worker_is_tried_elsewhere_and_its_last_answer_passes),
         GV_CASE(a_worker_that_dies_before_the_first_token_is_replaced),
         GV_CASE(what_nobody_can_serve_is_said_with_the_reason),
         GV_CASE(both_legs_meet_in_one_fresh_room_and_decode_answers),
         GV_CASE(a_failed_prefill_ends_decode_and_is_named),
         GV_CASE(what_prefill_finds_wrong_with_a_request_is_passed_on),
         GV_CASE(what_decode_says_passes_and_ends_prefill), GV_CASE(probes_local_paths_and_keys),
         GV_CASE(a_drain_waits_for_the_last_exchange),
         GV_CASE(explain_decides_like_a_request_and_changes_nothing),
         GV_CASE(a_worker_becomes_ready_with_its_metadata_and_leaves_when_drained),
         GV_CASE(a_worker_whose_role_contradicts_is_refused_until_it_agrees),
         GV_CASE(a_dead_worker_is_not_ready_and_never_given_up))
