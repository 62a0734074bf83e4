/*
 * wait.c - a request on its way to a worker asks for its place, and may have to wait for it.
 *
 * First its tenant's share is asked, which never waits: over it the answer is 429 at once.
 *
 * A wait is made for each request while admission is limited. Its turn is told from any thread and
 * comes back to its loop through the proxy's inbox. Until then the client may go: a wait that was
 * still in the queue is withdrawn; for one whose turn is on its way nobody is at home, and the
 * permit is given back when it arrives.
 */
#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "grapevine/proxy/admission.h"
#include "grapevine/proxy/tenants.h"
#include "grapevine/route/quota.h"
#include "parts.h"
#include <stdio.h>

struct gv_wait {
    struct gv_mail mail; /* first: what the inbox looks at */
    struct gv_waiter waiter;
    struct gv_proxy *proxy;   /* borrowed; outlives its waits */
    struct gv_client *client; /* borrowed; NULL once it is gone; the loop's */
};

/* Any thread, under the lock of admission. */
static void on_admitted(struct gv_waiter *waiter)
{
    struct gv_wait *wait = GV_CONTAINER(waiter, struct gv_wait, waiter);
    enum gv_err err = gv_inbox_post(wait->proxy->inbox, &wait->mail);
    GV_ASSERT(err == GV_OK); /* there is room for every wait, and the inbox waits for them */
}

uint32_t gv_waits_max(const struct gv_config *config)
{
    return config->queue_size + GV_WAITS_EXTRA;
}

static struct gv_wait *make(struct gv_client *client)
{
    struct gv_proxy *proxy = client->proxy;
    if (proxy->wait_count >= gv_waits_max(proxy->shared->config)) {
        return NULL;
    }
    struct gv_wait *wait = gv_mem_new(GV_MEM_EXCHANGE, sizeof *wait);
    if (wait != NULL) {
        wait->mail.kind = GV_MAIL_ADMITTED;
        wait->waiter.on_admitted = on_admitted;
        wait->proxy = proxy;
        wait->client = client;
        proxy->wait_count += 1;
        client->wait = wait;
    }
    return wait;
}

static void free_wait(struct gv_wait *wait)
{
    if (wait->client != NULL) {
        wait->client->wait = NULL;
    }
    wait->proxy->wait_count -= 1;
    gv_mem_free(GV_MEM_EXCHANGE, wait);
}

static void answer(struct gv_client *client, enum gv_problem problem)
{
    gv_client_answer(client, problem, NULL);
    gv_client_done(client, gv_client_must_close(client));
}

/* The queue is full: say which limit made it so, and how to read that. */
static void refuse(struct gv_client *client)
{
    const struct gv_proxy_shared *shared = client->proxy->shared;
    uint32_t most = shared->config->max_concurrent_requests;
    struct gv_admission_stats stats;
    gv_admission_stats(shared->admission, &stats);
    char detail[160];
    if (most > 0 && stats.running >= most) {
        snprintf(detail, sizeof detail,
                 "%u are under way (--max-concurrent-requests), %u wait (--queue-size)",
                 stats.running, stats.waiting);
    } else {
        snprintf(
            detail, sizeof detail,
            "more than %.10g a second (--rate-limit-tokens-per-second), %u wait (--queue-size)",
            shared->config->rate_per_second, stats.waiting);
    }
    gv_client_answer(client, GV_PROBLEM_TOO_MANY, detail);
    gv_client_done(client, gv_client_must_close(client));
}

/* May its tenant send one more? Otherwise it is answered. */
static bool is_within_quota(struct gv_client *client)
{
    struct gv_quota *quota = client->proxy->shared->quota;
    if (quota == NULL || client->tenant == NULL || client->tenant->quota == GV_QUOTA_NONE) {
        return true;
    }
    bool is_admitted =
        gv_quota_ask(quota, client->tenant->quota, gv_clock_us(), &client->retry_after_s);
    gv_access_tenant(client->tenant->name, is_admitted);
    if (is_admitted) {
        return true;
    }
    char detail[GV_TENANT_NAME_MAX + 16];
    snprintf(detail, sizeof detail, "tenant %s", client->tenant->name);
    gv_client_answer(client, GV_PROBLEM_TENANT_LIMIT, detail);
    gv_client_done(client, gv_client_must_close(client));
    return false;
}

/* A node that has just started knows no tries: what it carried would go to the wrong workers, and
 * other nodes are there. Asked until it was so once. */
static bool has_started(struct gv_client *client)
{
    struct gv_proxy *proxy = client->proxy;
    const struct gv_proxy_events *events = proxy->shared->events;
    if (!proxy->started) {
        proxy->started = events->has_started == NULL || events->has_started(proxy->shared->owner);
    }
    if (!proxy->started) {
        answer(client, GV_PROBLEM_STARTING);
    }
    return proxy->started;
}

void gv_wait_start(struct gv_client *client)
{
    if (!has_started(client) || !is_within_quota(client)) {
        return;
    }
    struct gv_admission *admission = client->proxy->shared->admission;
    if (admission == NULL) {
        gv_carrier_start(client);
        return;
    }
    struct gv_wait *wait = make(client);
    if (wait == NULL) {
        answer(client, GV_PROBLEM_OVERLOADED);
        return;
    }
    switch (gv_admission_enter(admission, &wait->waiter, gv_clock_us())) {
    case GV_ADMISSION_ADMITTED:
        free_wait(wait);
        gv_carrier_start(client);
        return;
    case GV_ADMISSION_WAITING:
        return;
    case GV_ADMISSION_FULL:
        free_wait(wait);
        refuse(client);
        return;
    }
}

void gv_wait_deliver(struct gv_wait *wait)
{
    struct gv_proxy *proxy = wait->proxy;
    struct gv_client *client = wait->client;
    free_wait(wait);
    bool is_here = client != NULL && client->state == GV_CLIENT_BUSY; /* else it is being closed */
    if (is_here) {
        gv_carrier_start(client);
    } else {
        gv_admission_leave(proxy->shared->admission, gv_clock_us());
    }
    gv_proxy_settle_up(proxy);
}

void gv_wait_forget(struct gv_wait *wait)
{
    if (gv_admission_withdraw(wait->proxy->shared->admission, &wait->waiter, false)) {
        free_wait(wait);
    } else {
        wait->client->wait = NULL;
        wait->client = NULL;
    }
}

void gv_wait_tick(struct gv_wait *wait, uint64_t age_ms)
{
    struct gv_client *client = wait->client;
    const struct gv_proxy_shared *shared = wait->proxy->shared;
    if (age_ms >= shared->config->queue_timeout_ms &&
        gv_admission_withdraw(shared->admission, &wait->waiter, true)) {
        free_wait(wait);
        answer(client, GV_PROBLEM_QUEUE_TIMEOUT);
    }
}
