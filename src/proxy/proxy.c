/*
 * proxy.c - the data path of one loop: its port, its clock, its beginning and its end.
 */
#include "grapevine/proxy/proxy.h"

#include "abort.h"
#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "grapevine/proxy/admission.h"
#include "parts.h"
#include "spare.h"
#include <stdio.h>

/* A drain or a close on its way to the loop. */
struct order {
    struct gv_mail mail; /* first */
    uint64_t settle_ms;
    gv_proxy_fn on_done;
    void *owner;
};

const struct gv_fleet_view *gv_proxy_view(struct gv_proxy *proxy)
{
    struct gv_fleet *fleet = proxy->shared->fleet;
    if (proxy->view->version != gv_fleet_version(fleet)) {
        gv_fleet_release(fleet, proxy->view);
        proxy->view = gv_fleet_acquire(fleet);
    }
    return proxy->view;
}

void gv_proxy_note_pauses(struct gv_proxy *proxy)
{
    gv_alert_want(&proxy->alert, !gv_list_is_empty(&proxy->pausing));
}

static void free_proxy(struct gv_proxy *proxy)
{
    if (proxy->view != NULL) {
        gv_fleet_release(proxy->shared->fleet, proxy->view);
    }
    gv_prompt_reader_free(proxy->reader);
    gv_buf_deinit(&proxy->text);
    gv_buf_deinit(&proxy->scratch);
    gv_buf_deinit(&proxy->lines);
    gv_spares_free(proxy);
    gv_mem_free(GV_MEM_NET, proxy);
}

/* ---- the end ---- */

static void show_gauges(struct gv_proxy *proxy)
{
    gv_metric_set(proxy->gauges[4], (double)proxy->queued_bytes);
    gv_metric_set(proxy->gauges[0], proxy->client_count);
    gv_metric_set(proxy->gauges[1], proxy->exchange_count);
    gv_metric_set(proxy->gauges[2], (double)proxy->request_count);
    gv_metric_set(proxy->gauges[3],
                  proxy->targets_gone ? 0 : gv_targets_idle_count(proxy->targets));
}

static void on_targets_closed(void *owner)
{
    struct gv_proxy *proxy = owner;
    proxy->targets_gone = true;
    gv_proxy_settle_up(proxy);
}

void gv_proxy_settle_up(struct gv_proxy *proxy)
{
    if (proxy->client_count > 0 || proxy->ticket_count > 0 || proxy->wait_count > 0) {
        return;
    }
    if (proxy->closing) {
        if (proxy->targets_gone) {
            show_gauges(proxy);
            gv_alert_close(&proxy->alert);
            gv_inbox_close(proxy->inbox);
            proxy->on_closed(proxy->close_owner);
            free_proxy(proxy);
        }
        return;
    }
    if (proxy->draining && proxy->listener == NULL && !proxy->drained) {
        proxy->drained = true;
        proxy->on_drained(proxy->drain_owner);
    }
}

static void on_settled(void *owner)
{
    struct gv_proxy *proxy = owner;
    if (!proxy->shut && proxy->settle != NULL) {
        proxy->shut = true;
        gv_listener_shut(proxy->listener);
        gv_timer_start(proxy->settle, GV_PROXY_SHUT_MS, 0);
        return;
    }
    gv_listener_finish(proxy->listener);
    proxy->listener = NULL;
    gv_proxy_settle_up(proxy);
}

static void begin_drain(struct gv_proxy *proxy, const struct order *order)
{
    GV_ASSERT(!proxy->draining);
    if (proxy->closing) {
        return;
    }
    proxy->draining = true;
    proxy->on_drained = order->on_done;
    proxy->drain_owner = order->owner;
    if (gv_timer_open(proxy->loop, on_settled, proxy, &proxy->settle) != GV_OK ||
        order->settle_ms == 0) {
        on_settled(proxy);
        return;
    }
    gv_timer_start(proxy->settle, order->settle_ms, 0);
}

static void begin_close(struct gv_proxy *proxy, const struct order *order)
{
    GV_ASSERT(!proxy->closing);
    proxy->closing = true;
    proxy->on_closed = order->on_done;
    proxy->close_owner = order->owner;
    gv_listener_close(proxy->listener);
    proxy->listener = NULL;
    gv_timer_close(proxy->settle);
    gv_timer_close(proxy->tick);
    proxy->settle = NULL;
    proxy->tick = NULL;
    GV_LIST_EACH(&proxy->clients, at, following)
    {
        struct gv_client *client = GV_CONTAINER(at, struct gv_client, link);
        if (client->carrier != NULL) {
            struct gv_carrier *carrier = client->carrier;
            client->carrier = NULL;
            gv_carrier_gone(carrier);
        }
        gv_client_close(client);
    }
    gv_aborts_end(proxy);
    gv_targets_close(proxy->targets, on_targets_closed, proxy);
}

static void on_mail(void *owner, void *message)
{
    struct gv_proxy *proxy = owner;
    struct gv_mail *mail = message;
    switch (mail->kind) {
    case GV_MAIL_TICKET:
        gv_ticket_deliver(message);
        return;
    case GV_MAIL_ADMITTED:
        gv_wait_deliver(message);
        return;
    case GV_MAIL_FLEET:
        gv_alert_heard(&proxy->alert);
        gv_carriers_wake(proxy);
        return;
    case GV_MAIL_DRAIN:
    case GV_MAIL_CLOSE: {
        struct order order = *(struct order *)message;
        gv_mem_free(GV_MEM_NET, message);
        if (order.mail.kind == GV_MAIL_DRAIN) {
            begin_drain(proxy, &order);
        } else {
            begin_close(proxy, &order);
        }
        return;
    }
    }
}

static void send_order(struct gv_proxy *proxy, struct order order)
{
    struct order *message = gv_mem_new(GV_MEM_NET, sizeof *message);
    GV_ASSERT(message != NULL); /* a proxy that cannot be stopped is worse than none */
    *message = order;
    enum gv_err err = gv_inbox_post(proxy->inbox, message);
    GV_ASSERT(err == GV_OK); /* room for one drain and one close is kept */
}

void gv_proxy_drain(struct gv_proxy *proxy, uint64_t settle_ms, gv_proxy_fn on_drained, void *owner)
{
    send_order(proxy, (struct order){{GV_MAIL_DRAIN}, settle_ms, on_drained, owner});
}

void gv_proxy_close(struct gv_proxy *proxy, gv_proxy_fn on_closed, void *owner)
{
    send_order(proxy, (struct order){{GV_MAIL_CLOSE}, 0, on_closed, owner});
}

/* ---- the clock ---- */

static void on_tick(void *owner)
{
    struct gv_proxy *proxy = owner;
    uint64_t now_ms = gv_loop_now_ms(proxy->loop);
    proxy->queued_bytes = 0;
    GV_LIST_EACH(&proxy->clients, at, following)
    {
        struct gv_client *client = GV_CONTAINER(at, struct gv_client, link);
        proxy->queued_bytes += gv_stream_queued_bytes(client->stream);
        gv_client_tick(client, now_ms);
    }
    if (proxy->shared->admission != NULL) {
        gv_admission_tick(proxy->shared->admission, gv_clock_us());
    }
    gv_aborts_tick(proxy, now_ms);
    gv_targets_sweep(proxy->targets, gv_proxy_view(proxy));
    show_gauges(proxy);
}

/* ---- the beginning ---- */

struct gv_breaker_limits gv_proxy_breaker_limits(const struct gv_config *config)
{
    uint32_t trip = config->disable_circuit_breaker ? UINT32_MAX : config->cb_failure_threshold;
    uint32_t close = config->cb_success_threshold;
    return (struct gv_breaker_limits){
        .trip_count = trip < 1 ? 1 : trip,
        .close_count = close < 1 ? 1 : close,
        .window_ms = config->cb_window_ms < 1 ? 1 : config->cb_window_ms,
        .cooldown_ms = config->cb_timeout_ms < 1 ? 1 : config->cb_timeout_ms,
    };
}

static void on_accept(void *owner, struct gv_stream *stream)
{
    gv_client_open(owner, stream);
}

static enum gv_err open_parts(struct gv_proxy *proxy)
{
    enum gv_err err = gv_prompt_reader_new(&proxy->reader);
    if (err == GV_OK) {
        err = gv_targets_open(proxy->loop, proxy->shared->config, proxy->shared->worker_tls,
                              &proxy->targets);
    }
    if (err == GV_OK) {
        uint32_t most = GV_LOCAL_CALLS_MAX + gv_waits_max(proxy->shared->config) + 3;
        err = gv_inbox_open(proxy->loop, most, on_mail, proxy, &proxy->inbox);
    }
    if (err == GV_OK) {
        proxy->fleet_mail.kind = GV_MAIL_FLEET;
        gv_alert_open(&proxy->alert, proxy->shared->fleet, proxy->inbox, &proxy->fleet_mail);
        err = gv_timer_open(proxy->loop, on_tick, proxy, &proxy->tick);
    }
    return err;
}

static void ignore(void *owner)
{
    (void)owner;
}

/* Nothing has happened yet: no client, no line, no ticket. */
static void abandon(struct gv_proxy *proxy)
{
    gv_listener_close(proxy->listener);
    gv_timer_close(proxy->tick);
    gv_alert_close(&proxy->alert);
    if (proxy->inbox != NULL) {
        gv_inbox_close(proxy->inbox);
    }
    if (proxy->targets != NULL) {
        gv_targets_close(proxy->targets, ignore, NULL);
    }
    free_proxy(proxy);
}

enum gv_err gv_proxy_open(struct gv_loop *loop, const struct gv_proxy_shared *shared,
                          const struct gv_addr *addr, struct gv_proxy **out)
{
    static unsigned opened_count; /* names loops in metrics; proxies are opened one by one */
    GV_ASSERT(shared->loop_count >= 1);
    enum gv_err err = gv_access_register();
    struct gv_proxy *proxy = err == GV_OK ? gv_mem_new(GV_MEM_NET, sizeof *proxy) : NULL;
    if (proxy == NULL) {
        return err == GV_OK ? GV_ENOMEM : err;
    }
    proxy->loop = loop;
    proxy->shared = shared;
    gv_list_init(&proxy->clients);
    gv_list_init(&proxy->aborts);
    gv_list_init(&proxy->pausing);
    gv_buf_init(&proxy->text, GV_MEM_EXCHANGE, shared->config->max_payload_bytes * 2);
    gv_buf_init(&proxy->scratch, GV_MEM_EXCHANGE, GV_PROXY_SCRATCH_BYTES);
    gv_buf_init(&proxy->lines, GV_MEM_EXCHANGE, GV_CLIENT_LINES_BYTES);
    proxy->view = gv_fleet_acquire(shared->fleet);
    uint64_t seed;
    gv_random_bytes(&seed, sizeof seed);
    gv_prng_init(&proxy->prng, seed);
    struct gv_budget_limits retries = {
        .retry_percent = (uint32_t)(shared->config->retry_budget_ratio * 100 + 0.5),
        .reserve = GV_RETRY_RESERVE,
        .burst = GV_RETRY_BURST,
        .floor_per_s = GV_RETRY_FLOOR_PER_S,
    };
    gv_budget_init(&proxy->budget, retries);
    char name[16];
    snprintf(name, sizeof name, "%u", opened_count++);
    gv_access_gauges(name, proxy->gauges);
    err = open_parts(proxy);
    if (err == GV_OK) {
        struct gv_listener_options options = {.addr = *addr,
                                              .share_port = shared->loop_count > 1,
                                              .tls = shared->client_tls,
                                              .inherited_fd = shared->inherited_fd};
        err = gv_listener_open(loop, options, on_accept, proxy, &proxy->listener);
    }
    if (err != GV_OK) {
        abandon(proxy);
        return err;
    }
    proxy->addr = gv_listener_addr(proxy->listener);
    gv_timer_start(proxy->tick, GV_PROXY_TICK_MS, GV_PROXY_TICK_MS);
    *out = proxy;
    return GV_OK;
}

struct gv_addr gv_proxy_address(const struct gv_proxy *proxy)
{
    return proxy->addr;
}

void gv_proxy_stats(const struct gv_proxy *proxy, struct gv_proxy_stats *stats)
{
    *stats = (struct gv_proxy_stats){
        .connections = (uint64_t)gv_metric_value(proxy->gauges[0]),
        .exchanges = (uint64_t)gv_metric_value(proxy->gauges[1]),
        .requests = (uint64_t)gv_metric_value(proxy->gauges[2]),
        .idle_upstreams = (uint64_t)gv_metric_value(proxy->gauges[3]),
        .queued_bytes = (uint64_t)gv_metric_value(proxy->gauges[4]),
    };
}
