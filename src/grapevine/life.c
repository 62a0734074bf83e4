/*
 * life.c - a running node: readiness, the drain, the end.
 *
 * All decisions are taken on the service loop. Other threads only post news to its inbox; what they
 * need to know at once (are we draining?) is under a lock.
 */
#include "inside.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/log.h"
#include "grapevine/http/uri.h"
#include "grapevine/proxy/readiness.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define READY_MS     25
#define SETTLE_MS    2000 /* for the first probes of all workers */
#define CLOSE_MS     5000 /* for connections to close; more means something is wrong */
#define LEAVE_MS     2000
#define NEWS_MAX     4096
#define EXIT_TROUBLE 1

/* News are told apart by their address. */
enum news {
    NEWS_SYNCED = 0,
    NEWS_CONFLICT,
    NEWS_DRAINED, /* one proxy */
    NEWS_LEFT,
    NEWS_CLOSED, /* one proxy */
    NEWS_COUNT
};
static char news_tokens[NEWS_COUNT];

static void tell(struct gv_node *node, enum news news)
{
    enum gv_err err = gv_inbox_post(node->inbox, &news_tokens[news]);
    if (err != GV_OK) { /* a few per life: there is always room, unless the loop is gone */
        gv_log(GV_LOG_ERROR, "node.unheard", GV_UINT("news", news), GV_ERR(err));
    }
}

/* ---- asked by other threads --------------------------------------------------------------------
 */

static void publish(void *owner, const struct gv_operation *operation)
{
    struct gv_node *node = owner;
    if (node->cluster != NULL) {
        gv_cluster_publish(node->cluster, operation);
    }
}

static bool is_ready(void *owner, char reason[GV_PROXY_REASON_BYTES])
{
    struct gv_node *node = owner;
    const char *why = NULL;
    gv_mutex_lock(&node->lock);
    bool draining = node->is_draining;
    bool settled = node->is_settled;
    gv_mutex_unlock(&node->lock);
    if (draining) {
        why = "this node is shutting down";
    } else if (node->cluster == NULL || !gv_cluster_is_synced(node->cluster)) {
        why = "this node is not in step with the mesh yet";
    } else if (!settled) {
        why = "this node has not probed all workers yet";
    }
    if (why != NULL) {
        (void)snprintf(reason, GV_PROXY_REASON_BYTES, "%s", why);
    }
    return why == NULL;
}

static bool has_started(void *owner)
{
    struct gv_node *node = owner;
    gv_mutex_lock(&node->lock);
    bool settled = node->is_settled; /* and in step with the mesh before that */
    gv_mutex_unlock(&node->lock);
    return settled;
}

static void answer_local(void *owner, struct gv_local_call *call)
{
    struct gv_node *node = owner;
    gv_mutex_lock(&node->lock); /* against closing it at this moment */
    bool has_admin = node->admin != NULL;
    if (has_admin) {
        gv_admin_call(node->admin, call);
    }
    gv_mutex_unlock(&node->lock);
    if (!has_admin) {
        gv_local_reply_problem(call, GV_PROBLEM_DRAINING, NULL);
    }
}

const struct gv_proxy_events gv_node_proxy_events = {
    .publish = publish, .is_ready = is_ready, .has_started = has_started, .local = answer_local};

static void on_opinion(void *owner, const struct gv_worker *worker)
{
    struct gv_node *node = owner;
    gv_cluster_set_health(node->cluster, worker->url, worker->state, worker->reason);
}

static void on_removed(void *owner, const struct gv_worker *worker)
{
    struct gv_node *node = owner;
    enum gv_err err = gv_cluster_delete_worker(node->cluster, worker->url);
    if (err != GV_OK) {
        gv_log(GV_LOG_WARN, "worker.undeleted", GV_STR("worker", worker->url), GV_ERR(err));
    }
}

/* One worker per rank in place of the one that stands for all; every node may do it, alike. */
static void on_ranks(void *owner, const struct gv_worker *worker, uint32_t count)
{
    struct gv_node *node = owner;
    struct gv_worker rank = *worker;
    struct gv_uri uri;
    enum gv_err err = gv_uri_parse(gv_slice_text(worker->url), &uri);
    for (uint32_t i = 0; i < count && err == GV_OK; i++) {
        uri.dp_rank = (int32_t)i;
        err = gv_uri_format(&uri, rank.url);
        if (err == GV_OK) {
            err = gv_cluster_put_worker(node->cluster, &rank);
        }
    }
    if (err == GV_OK) {
        err = gv_cluster_delete_worker(node->cluster, worker->url);
    }
    if (err != GV_OK) {
        gv_log(GV_LOG_WARN, "worker.unranked", GV_STR("worker", worker->url), GV_ERR(err));
    }
}

const struct gv_probe_events gv_node_probe_events = {
    .on_opinion = on_opinion, .on_removed = on_removed, .on_ranks = on_ranks};

void gv_life_on_synced(void *owner)
{
    tell(owner, NEWS_SYNCED);
}

void gv_life_on_conflict(void *owner, const struct gv_addr *other)
{
    (void)other; /* logged where it was noticed */
    tell(owner, NEWS_CONFLICT);
}

static void on_left(void *owner)
{
    tell(owner, NEWS_LEFT);
}

static void on_drained(void *owner)
{
    tell(owner, NEWS_DRAINED);
}

static void on_proxy_closed(void *owner)
{
    tell(owner, NEWS_CLOSED);
}

/* ---- readiness ---------------------------------------------------------------------------------
 */

static bool has_workers(struct gv_node *node)
{
    const struct gv_fleet_view *view = gv_fleet_acquire(node->fleet);
    bool has = gv_readiness_has_workers(node->config, view);
    gv_fleet_release(node->fleet, view);
    return has;
}

/* A node that has just started must not send everything to the worker that answered first: it waits
 * for the first verdict on each, a short time. Later newcomers are the probes' business. */
static bool settles(struct gv_node *node)
{
    gv_mutex_lock(&node->lock);
    bool settled = node->is_settled;
    gv_mutex_unlock(&node->lock);
    if (settled || !gv_cluster_is_synced(node->cluster)) {
        return settled;
    }
    settled = gv_loop_now_ms(node->service) - node->began_at_ms >= SETTLE_MS;
    const struct gv_fleet_view *view = gv_fleet_acquire(node->fleet);
    uint32_t pending = view->count == 0 ? 1 : 0;
    for (uint32_t i = 0; i < view->count; i++) {
        pending += view->workers[i].state == GV_WORKER_PENDING ? 1 : 0;
    }
    gv_fleet_release(node->fleet, view);
    settled = settled || pending == 0;
    gv_mutex_lock(&node->lock);
    node->is_settled = settled;
    gv_mutex_unlock(&node->lock);
    return settled;
}

static void look_at_readiness(void *owner)
{
    struct gv_node *node = owner;
    bool ready = settles(node) && node->phase == GV_NODE_RUNNING && has_workers(node);
    if (ready == node->told_ready) {
        return;
    }
    node->told_ready = ready;
    gv_cluster_set_ready(node->cluster, ready);
    gv_log(GV_LOG_INFO, ready ? "node.ready" : "node.unready",
           GV_FLAG("synced", gv_cluster_is_synced(node->cluster)));
}

/* ---- phases ------------------------------------------------------------------------------------
 */

static void enter(struct gv_node *node, enum gv_node_phase phase, uint64_t longest_ms)
{
    GV_ASSERT(phase > node->phase);
    node->phase = phase;
    if (longest_ms > 0) {
        gv_timer_start(node->phase_timer, longest_ms, 0);
    } else {
        gv_timer_stop(node->phase_timer);
    }
}

static void enter_gone(struct gv_node *node)
{
    enter(node, GV_NODE_GONE, 0);
    gv_probe_close(node->probe);
    node->probe = NULL;
    gv_loop_stop(node->service);
}

/* Admin goes before the proxies, which it shows; what waits there is answered on the way. */
static void close_admin(struct gv_node *node)
{
    gv_mutex_lock(&node->lock);
    struct gv_admin *admin = node->admin;
    node->admin = NULL;
    gv_mutex_unlock(&node->lock);
    gv_admin_close(admin);
}

static void enter_closing(struct gv_node *node)
{
    enter(node, GV_NODE_CLOSING, CLOSE_MS);
    close_admin(node);
    node->awaited = node->proxy_count;
    if (node->awaited == 0) {
        enter_gone(node);
        return;
    }
    for (uint32_t i = 0; i < node->proxy_count; i++) {
        gv_proxy_close(node->proxies[i], on_proxy_closed, node);
    }
}

static void enter_leaving(struct gv_node *node)
{
    enter(node, GV_NODE_LEAVING, LEAVE_MS);
    gv_cluster_leave(node->cluster, on_left, node);
}

static void enter_draining(struct gv_node *node)
{
    const struct gv_config *config = node->config;
    uint64_t settle_ms = config->drain_settle_ms;
    enter(node, GV_NODE_DRAINING, settle_ms + config->shutdown_grace_ms + 1);
    gv_log(GV_LOG_INFO, "node.draining", GV_UINT("settle_ms", settle_ms),
           GV_UINT("grace_ms", config->shutdown_grace_ms));
    gv_mutex_lock(&node->lock);
    node->is_draining = true;
    gv_mutex_unlock(&node->lock);
    look_at_readiness(node);
    node->awaited = node->proxy_count;
    for (uint32_t i = 0; i < node->proxy_count; i++) {
        gv_proxy_drain(node->proxies[i], settle_ms, on_drained, node);
    }
}

static void on_phase_time(void *owner)
{
    struct gv_node *node = owner;
    switch (node->phase) {
    case GV_NODE_DRAINING:
        gv_log(GV_LOG_WARN, "node.drain_cut", GV_UINT("loops_busy", node->awaited),
               GV_UINT("grace_ms", node->config->shutdown_grace_ms));
        enter_leaving(node);
        break;
    case GV_NODE_LEAVING:
        enter_closing(node);
        break;
    case GV_NODE_CLOSING:
        gv_log(GV_LOG_ERROR, "node.stuck", GV_UINT("loops_busy", node->awaited));
        gv_log_close();
        _exit(EXIT_TROUBLE);
    case GV_NODE_OPENING:
    case GV_NODE_RUNNING:
    case GV_NODE_GONE:
        break;
    }
}

void gv_life_abort(struct gv_node *node, int exit_code)
{
    node->exit_code = exit_code;
    if (node->phase < GV_NODE_CLOSING) {
        enter_closing(node);
    }
}

static void on_news(void *owner, void *message)
{
    struct gv_node *node = owner;
    enum news news = (enum news)((char *)message - news_tokens);
    switch (news) {
    case NEWS_SYNCED:
        look_at_readiness(node);
        break;
    case NEWS_CONFLICT:
        gv_life_abort(node, EXIT_TROUBLE);
        break;
    case NEWS_DRAINED:
        node->awaited -= node->phase == GV_NODE_DRAINING ? 1 : 0;
        if (node->phase == GV_NODE_DRAINING && node->awaited == 0) {
            gv_log(GV_LOG_INFO, "node.drained", GV_UINT("loops", node->proxy_count));
            enter_leaving(node);
        }
        break;
    case NEWS_LEFT:
        if (node->phase == GV_NODE_LEAVING) {
            enter_closing(node);
        }
        break;
    case NEWS_CLOSED:
        GV_ASSERT(node->phase == GV_NODE_CLOSING && node->awaited > 0);
        node->awaited -= 1;
        if (node->awaited == 0) {
            node->proxy_count = 0;
            enter_gone(node);
        }
        break;
    case NEWS_COUNT:
        break;
    }
}

/* The first signal drains, the second ends at once. */
static void on_signal(void *owner, int signum)
{
    struct gv_node *node = owner;
    if (node->signaled) {
        gv_log(GV_LOG_WARN, "node.forced", GV_INT("signal", signum));
        gv_log_close();
        _exit(EXIT_TROUBLE);
    }
    node->signaled = true;
    gv_log(GV_LOG_INFO, "node.signaled", GV_INT("signal", signum));
    if (node->phase == GV_NODE_RUNNING) {
        enter_draining(node);
    }
}

/* ---- set-up ------------------------------------------------------------------------------------
 */

void gv_life_init(struct gv_node *node)
{
    gv_mutex_init(&node->lock);
}

void gv_life_deinit(struct gv_node *node)
{
    gv_mutex_deinit(&node->lock);
}

enum gv_err gv_life_open(struct gv_node *node)
{
    enum gv_err err = gv_inbox_open(node->service, NEWS_MAX, on_news, node, &node->inbox);
    if (err == GV_OK) {
        err = gv_timer_open(node->service, look_at_readiness, node, &node->ready_timer);
    }
    if (err == GV_OK) {
        err = gv_timer_open(node->service, on_phase_time, node, &node->phase_timer);
    }
    if (err == GV_OK) {
        err = gv_signal_open(node->service, SIGTERM, on_signal, node);
    }
    if (err == GV_OK) {
        err = gv_signal_open(node->service, SIGINT, on_signal, node);
    }
    return err;
}

void gv_life_begin(struct gv_node *node)
{
    char http[GV_ADDR_TEXT_BYTES];
    char mesh[GV_ADDR_TEXT_BYTES];
    char metrics[GV_ADDR_TEXT_BYTES];
    struct gv_addr http_addr = gv_proxy_address(node->proxies[0]);
    struct gv_addr mesh_addr = gv_cluster_addr(node->cluster);
    struct gv_addr metrics_addr = gv_admin_address(node->admin);
    (void)gv_addr_format(&http_addr, http);
    (void)gv_addr_format(&mesh_addr, mesh);
    (void)gv_addr_format(&metrics_addr, metrics);
    gv_log(GV_LOG_INFO, "node.listening", GV_STR("http", http), GV_STR("mesh", mesh),
           GV_STR("metrics", metrics), GV_UINT("threads", node->proxy_count),
           GV_FLAG("encrypted", node->keyring != NULL), GV_FLAG("tls", node->client_tls != NULL));
    (void)printf("grapevine %s: node %s http=%s mesh=%s metrics=%s\n", GV_VERSION, node->name, http,
                 mesh, metrics);
    (void)fflush(stdout);
    enter(node, GV_NODE_RUNNING, 0);
    node->began_at_ms = gv_loop_now_ms(node->service);
    gv_timer_start(node->ready_timer, 0, READY_MS);
}
