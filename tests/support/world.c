#include "support/world.h"

#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A NULL-terminated list of arguments under construction; texts are copied. */
struct arguments {
    char texts[GV_PROCESS_ARGS_MAX][160];
    const char *list[GV_PROCESS_ARGS_MAX + 1];
    size_t count;
};

static void add(struct arguments *arguments, const char *text)
{
    if (arguments->count < GV_PROCESS_ARGS_MAX) {
        char *into = arguments->texts[arguments->count];
        snprintf(into, sizeof arguments->texts[0], "%s", text);
        arguments->list[arguments->count++] = into;
        arguments->list[arguments->count] = NULL;
    }
}

static void add_pair(struct arguments *arguments, const char *flag, const char *value)
{
    add(arguments, flag);
    add(arguments, value);
}

static void add_number(struct arguments *arguments, const char *flag, unsigned value)
{
    char text[16];
    snprintf(text, sizeof text, "%u", value);
    add_pair(arguments, flag, text);
}

static uint16_t port_of(const char *address)
{
    const char *colon = strrchr(address, ':');
    return colon == NULL ? 0 : (uint16_t)atoi(colon + 1);
}

static void add_flags(struct arguments *arguments, const char *const *flags)
{
    for (size_t i = 0; flags != NULL && flags[i] != NULL; i++) {
        add(arguments, flags[i]);
    }
}

static void start_worker(const struct gv_world *world, struct gv_world_worker *worker)
{
    struct arguments arguments = {.count = 0};
    char line[512];
    add(&arguments, "mockworker");
    add_number(&arguments, "--port", worker->port);
    add_pair(&arguments, "--speed", "0");
    add_pair(&arguments, "--role", worker->role);
    add_number(&arguments, "--bootstrap-port", worker->bootstrap_port);
    add_flags(&arguments, world->worker_flags);
    if (!gv_process_start(&worker->process, worker->role, arguments.list) ||
        !gv_process_await(&worker->process, "ready on", line, sizeof line)) {
        exit(2);
    }
    char *bootstrap = strstr(line, " bootstrap ");
    if (bootstrap != NULL) {
        worker->bootstrap_port = (uint16_t)atoi(bootstrap + sizeof " bootstrap " - 1);
        *bootstrap = '\0';
    }
    worker->port = port_of(line);
    snprintf(worker->url, sizeof worker->url, "http://127.0.0.1:%u", (unsigned)worker->port);
}

struct gv_world_worker *gv_world_add_worker(struct gv_world *world, const char *role)
{
    struct gv_world_worker *worker = &world->workers[world->worker_count++];
    memset(worker, 0, sizeof *worker);
    snprintf(worker->role, sizeof worker->role, "%s", role);
    start_worker(world, worker);
    return worker;
}

void gv_world_restart_worker(struct gv_world *world, struct gv_world_worker *worker)
{
    start_worker(world, worker);
}

struct gv_world_worker *gv_world_worker_at(struct gv_world *world, const char *url)
{
    for (size_t i = 0; i < world->worker_count; i++) {
        if (strcmp(world->workers[i].url, url) == 0) {
            return &world->workers[i];
        }
    }
    return NULL;
}

static void add_workers(const struct gv_world *world, struct arguments *arguments)
{
    bool disaggregated = false;
    for (size_t i = 0; i < world->worker_count; i++) {
        const struct gv_world_worker *worker = &world->workers[i];
        if (strcmp(worker->role, "regular") == 0) {
            add_pair(arguments, "--worker-urls", worker->url);
        } else if (strcmp(worker->role, "prefill") == 0) {
            add_pair(arguments, "--prefill", worker->url);
            char port[16];
            snprintf(port, sizeof port, "%u", (unsigned)worker->bootstrap_port);
            add(arguments, port);
            disaggregated = true;
        } else {
            add_pair(arguments, "--decode", worker->url);
            disaggregated = true;
        }
    }
    if (disaggregated) {
        add(arguments, "--pd-disaggregation");
    }
}

static void add_seeds(const struct gv_world *world, const struct gv_world_node *node,
                      struct arguments *arguments)
{
    char seeds[160] = "";
    for (size_t i = 0; i < world->node_count; i++) {
        size_t len = strlen(seeds);
        if (&world->nodes[i] != node && world->nodes[i].mesh_port != 0) {
            snprintf(seeds + len, sizeof seeds - len, "%s127.0.0.1:%u", len > 0 ? "," : "",
                     (unsigned)world->nodes[i].mesh_port);
        }
    }
    if (seeds[0] != '\0') {
        add_pair(arguments, "--seeds", seeds);
    }
}

static bool start_node(struct gv_world *world, struct gv_world_node *node, const char *const *flags)
{
    struct arguments arguments = {.count = 0};
    char line[1024];
    char address[128];
    add(&arguments, "grapevine");
    add_pair(&arguments, "--host", "127.0.0.1");
    add_number(&arguments, "--port", node->port);
    add_pair(&arguments, "--prometheus-host", "127.0.0.1");
    add_number(&arguments, "--prometheus-port", node->metrics_port);
    add(&arguments, "--enable-mesh");
    add_pair(&arguments, "--mesh-host", "127.0.0.1");
    add_number(&arguments, "--mesh-port", node->mesh_port);
    add_pair(&arguments, "--node-name", node->name);
    add_pair(&arguments, "--threads", "2");
    add(&arguments, "--decision-headers");
    add_pair(&arguments, "--drain-settle-secs", "0");
    add_pair(&arguments, "--log-level", "debug");
    add_workers(world, &arguments);
    add_seeds(world, node, &arguments);
    add_flags(&arguments, world->node_flags);
    add_flags(&arguments, flags);
    if (!gv_process_start(&node->process, node->name, arguments.list) ||
        !gv_process_await(&node->process, "node.listening", line, sizeof line)) {
        return false;
    }
    node->port = gv_line_value(line, "http", address, sizeof address) ? port_of(address) : 0;
    node->mesh_port = gv_line_value(line, "mesh", address, sizeof address) ? port_of(address) : 0;
    node->metrics_port =
        gv_line_value(line, "metrics", address, sizeof address) ? port_of(address) : 0;
    return node->port != 0;
}

struct gv_world_node *gv_world_add_node(struct gv_world *world, const char *const *flags)
{
    struct gv_world_node *node = &world->nodes[world->node_count++];
    memset(node, 0, sizeof *node);
    snprintf(node->name, sizeof node->name, "node-%c", (char)('a' + world->node_count - 1));
    if (!start_node(world, node, flags)) {
        exit(2);
    }
    return node;
}

bool gv_world_restart_node(struct gv_world *world, struct gv_world_node *node,
                           const char *const *flags)
{
    return start_node(world, node, flags);
}

static bool is_ready(void *owner)
{
    struct gv_world *world = owner;
    for (size_t i = 0; i < world->node_count; i++) {
        struct gv_reply reply;
        if (world->nodes[i].process.pid == 0) {
            continue;
        }
        gv_talk_ask(world->nodes[i].port, "GET", "/readiness", NULL, NULL, &reply);
        bool ready = reply.status == 200 &&
                     gv_reply_number(&reply, "healthy_workers") == (long)world->worker_count;
        gv_reply_deinit(&reply);
        if (!ready) {
            return false;
        }
    }
    return true;
}

bool gv_world_await_ready(struct gv_world *world)
{
    return gv_test_await(is_ready, world, 0);
}

static bool has_started(void *owner)
{
    struct gv_world_node *node = owner;
    struct gv_reply reply;
    gv_talk_ask(node->port, "GET", "/readiness", NULL, NULL, &reply);
    bool started = reply.status == 200 || strstr(reply.body, "insufficient") != NULL;
    gv_reply_deinit(&reply);
    return started;
}

struct gv_world_node *gv_world_start(struct gv_world *world, int workers, const char *const *flags)
{
    memset(world, 0, sizeof *world);
    for (int i = 0; i < workers; i++) {
        gv_world_add_worker(world, "regular");
    }
    struct gv_world_node *node = gv_world_add_node(world, flags);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(world));
    return node;
}

bool gv_world_await_started(struct gv_world_node *node)
{
    return gv_test_await(has_started, node, 0);
}

struct membership {
    struct gv_world *world;
    int count;
};

static int count_alive(const struct gv_world_node *node)
{
    struct gv_reply reply;
    int count = 0;
    gv_talk_ask(node->port, "GET", "/grapevine/v1/nodes", NULL, NULL, &reply);
    for (const char *at = reply.body; (at = strstr(at, "\"status\":\"alive\"")) != NULL; at++) {
        count++;
    }
    gv_reply_deinit(&reply);
    return count;
}

static bool has_members(void *owner)
{
    const struct membership *membership = owner;
    for (size_t i = 0; i < membership->world->node_count; i++) {
        const struct gv_world_node *node = &membership->world->nodes[i];
        if (node->process.pid != 0 && count_alive(node) != membership->count) {
            return false;
        }
    }
    return true;
}

bool gv_world_await_members(struct gv_world *world, int count)
{
    struct membership membership = {.world = world, .count = count};
    return gv_test_await(has_members, &membership, 0);
}

static bool agrees(void *owner)
{
    struct gv_world *world = owner;
    char first[80] = "";
    for (size_t i = 0; i < world->node_count; i++) {
        struct gv_reply reply;
        char deep[40] = "";
        char digest[80] = "";
        if (world->nodes[i].process.pid == 0) {
            continue;
        }
        gv_talk_ask(world->nodes[i].port, "GET", "/grapevine/v1/digest?deep=1", NULL, NULL, &reply);
        gv_reply_text(&reply, "digest", digest, sizeof digest);
        gv_reply_text(&reply, "deep", deep, sizeof deep);
        gv_reply_deinit(&reply);
        strncat(digest, deep, sizeof digest - strlen(digest) - 1);
        if (digest[0] == '\0' || (first[0] != '\0' && strcmp(first, digest) != 0)) {
            return false;
        }
        snprintf(first, sizeof first, "%s", digest);
    }
    return true;
}

bool gv_world_await_agreement(struct gv_world *world)
{
    return gv_test_await(agrees, world, 0);
}

void gv_world_prompt(char *prompt, size_t size, int seed)
{
    size_t len = 0;
    prompt[0] = '\0';
    for (int word = 0; len + 32 < size; word++) {
        len += (size_t)snprintf(prompt + len, size - len, "text%d-%d ", seed, word);
    }
}

void gv_world_worker_id(struct gv_world_node *node, const char *url, char id[64])
{
    static const char mark[] = "{\"id\":\"";
    struct gv_reply reply;
    gv_talk_ask(node->port, "GET", "/workers", NULL, NULL, &reply);
    const char *at = strstr(reply.body, url);
    while (at != NULL && at > reply.body &&
           (strncmp(at, mark, sizeof mark - 1) != 0 || at[sizeof mark + 35] != '"')) {
        at--;
    }
    snprintf(id, 64, "%.36s", at == NULL ? "" : at + sizeof mark - 1);
    gv_reply_deinit(&reply);
}

int gv_world_remove_worker(struct gv_world_node *node, const char *url)
{
    char id[64];
    char path[96];
    struct gv_reply reply;
    gv_world_worker_id(node, url, id);
    snprintf(path, sizeof path, "/workers/%s", id);
    gv_talk_ask(node->port, "DELETE", path, NULL, NULL, &reply);
    int status = reply.status;
    gv_reply_deinit(&reply);
    return status;
}

long gv_world_number(struct gv_world_node *node, const char *path, const char *after,
                     const char *name)
{
    struct gv_reply reply;
    char quoted[96];
    gv_talk_ask(node->port, "GET", path, NULL, NULL, &reply);
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *at = strstr(reply.body, after);
    at = at == NULL ? NULL : strstr(at, quoted);
    long number = at == NULL ? -1 : strtol(at + strlen(quoted), NULL, 10);
    gv_reply_deinit(&reply);
    return number;
}

char *gv_world_chat_body(const char *prompt, bool stream)
{
    size_t size = strlen(prompt) + 200;
    char *body = malloc(size);
    if (body != NULL) {
        snprintf(body, size,
                 "{\"model\":\"mock-model\",\"stream\":%s,\"max_tokens\":4,\"messages\":"
                 "[{\"role\":\"user\",\"content\":\"%s\"}]}",
                 stream ? "true" : "false", prompt);
    }
    return body;
}

int gv_world_chat(struct gv_world_node *node, const char *prompt, char *worker, size_t size)
{
    struct gv_reply reply;
    char *body = gv_world_chat_body(prompt, false);
    gv_talk_ask(node->port, "POST", "/v1/chat/completions", NULL, body, &reply);
    free(body);
    if (worker != NULL && !gv_reply_header(&reply, "x-grapevine-worker", worker, size)) {
        worker[0] = '\0';
    }
    int status = reply.whole ? reply.status : 0;
    if (status != 200) {
        printf("chat on %s: %d %s\n", node->name, reply.status, reply.body);
    }
    gv_reply_deinit(&reply);
    return status;
}

int gv_world_send_chat(struct gv_world_node *node, const char *prompt, bool stream)
{
    char head[256];
    char *body = gv_world_chat_body(prompt, stream);
    int fd = gv_talk_connect(node->port);
    snprintf(head, sizeof head,
             "POST /v1/chat/completions HTTP/1.1\r\nHost: router\r\nContent-Type: "
             "application/json\r\nContent-Length: %zu\r\n\r\n",
             strlen(body));
    if (fd < 0 || !gv_talk_send_text(fd, head) || !gv_talk_send_text(fd, body)) {
        printf("%s takes no request\n", node->name);
        exit(2);
    }
    free(body);
    return fd;
}

bool gv_world_explain(struct gv_world_node *node, const char *prompt, char *worker, size_t size)
{
    struct gv_reply reply;
    char *body = gv_world_chat_body(prompt, false);
    gv_talk_ask(node->port, "POST", "/grapevine/v1/explain", NULL, body, &reply);
    free(body);
    bool told = gv_reply_text(&reply, "worker", worker, size);
    gv_reply_deinit(&reply);
    return told;
}

void gv_world_fault(struct gv_world_worker *worker, const char *json)
{
    struct gv_reply reply;
    gv_talk_ask(worker->port, "POST", "/_mock/fault", NULL, json, &reply);
    if (reply.status != 200) {
        printf("fault %s refused: %d %s\n", json, reply.status, reply.body);
        exit(2);
    }
    gv_reply_deinit(&reply);
}

bool gv_world_was_sent(struct gv_world_worker *worker, const char *text)
{
    struct gv_reply reply;
    gv_talk_ask(worker->port, "GET", "/_mock/stats", NULL, NULL, &reply);
    bool was = strstr(reply.body, text) != NULL;
    gv_reply_deinit(&reply);
    return was;
}

long gv_world_stat(struct gv_world_worker *worker, const char *name)
{
    struct gv_reply reply;
    gv_talk_ask(worker->port, "GET", "/_mock/stats", NULL, NULL, &reply);
    long value = gv_reply_number(&reply, name);
    gv_reply_deinit(&reply);
    return value;
}

/* For gv_test_await(): a number of one engine, or of all of them. */
struct expectation {
    struct gv_world *world;
    struct gv_world_worker *worker;
    struct gv_world_node *node;
    const char *name;
    long value;
};

static bool has_stat(void *owner)
{
    const struct expectation *wanted = owner;
    return gv_world_stat(wanted->worker, wanted->name) == wanted->value;
}

bool gv_world_await_stat(struct gv_world_worker *worker, const char *name, long value)
{
    struct expectation wanted = {.worker = worker, .name = name, .value = value};
    return gv_test_await(has_stat, &wanted, 0);
}

long gv_world_sum(struct gv_world *world, const char *name)
{
    long sum = 0;
    for (size_t i = 0; i < world->worker_count; i++) {
        sum += world->workers[i].process.pid == 0 ? 0 : gv_world_stat(&world->workers[i], name);
    }
    return sum;
}

static bool has_sum(void *owner)
{
    const struct expectation *wanted = owner;
    return gv_world_sum(wanted->world, wanted->name) == wanted->value;
}

bool gv_world_await_sum(struct gv_world *world, const char *name, long value)
{
    struct expectation wanted = {.world = world, .name = name, .value = value};
    return gv_test_await(has_sum, &wanted, 0);
}

void gv_world_order(struct gv_world_worker *worker, const char *order)
{
    struct gv_reply reply;
    char path[64];
    snprintf(path, sizeof path, "/_mock/%s", order);
    gv_talk_ask(worker->port, "POST", path, NULL, "", &reply);
    if (reply.status != 200) {
        printf("%s refused: %d %s\n", order, reply.status, reply.body);
        exit(2);
    }
    gv_reply_deinit(&reply);
}

long gv_world_load(struct gv_world_node *node, const char *url)
{
    return gv_world_number(node, "/grapevine/v1/workers", url, "in_flight");
}

static bool has_load(void *owner)
{
    const struct expectation *wanted = owner;
    return gv_world_load(wanted->node, wanted->name) == wanted->value;
}

bool gv_world_await_load(struct gv_world_node *node, const char *url, long value)
{
    struct expectation wanted = {.node = node, .name = url, .value = value};
    return gv_test_await(has_load, &wanted, 0);
}

static bool counts_nothing(struct gv_world *world, struct gv_world_node *node)
{
    bool nothing = gv_world_number(node, "/grapevine/v1/status", "", "in_flight") == 0;
    for (size_t i = 0; nothing && i < world->worker_count; i++) {
        const char *url = world->workers[i].url;
        nothing = gv_world_load(node, url) <= 0 && /* -1: the node does not know it */
                  gv_world_number(node, "/grapevine/v1/workers", url, "queued_bytes") <= 0;
    }
    return nothing;
}

static bool is_idle(void *owner)
{
    struct gv_world *world = owner;
    for (size_t i = 0; i < world->node_count; i++) {
        if (world->nodes[i].process.pid != 0 && !counts_nothing(world, &world->nodes[i])) {
            return false;
        }
    }
    return gv_world_sum(world, "in_flight") == 0;
}

bool gv_world_await_idle(struct gv_world *world)
{
    return gv_test_await(is_idle, world, 0);
}

void gv_world_end(struct gv_world *world)
{
    bool well = true;
    for (size_t i = 0; i < world->node_count; i++) {
        well = gv_process_end(&world->nodes[i].process) && well;
    }
    for (size_t i = 0; i < world->worker_count; i++) {
        well = gv_process_end(&world->workers[i].process) && well;
    }
    memset(world, 0, sizeof *world);
    if (!well) {
        exit(2);
    }
}
