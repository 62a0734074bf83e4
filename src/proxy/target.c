/* target.c - see target.h. */
#include "target.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include <stdio.h>

#define GV_TARGET_TTL_MIN_MS 1000u
#define GV_TARGET_TTL_MAX_MS 60000u

void gv_targets_free(struct gv_targets *targets)
{
    for (uint32_t i = 0; i < targets->room; i++) {
        gv_mem_free(GV_MEM_NET, targets->by_index[i]);
    }
    gv_mem_free(GV_MEM_NET, targets->by_index);
    gv_mem_free(GV_MEM_NET, targets);
}

/* ---- addresses ---- */

static void on_resolved(void *owner, enum gv_err err, const struct gv_addr *addrs, size_t count,
                        uint32_t ttl_s)
{
    struct gv_target *target = owner;
    struct gv_targets *targets = target->targets;
    target->is_looking = false;
    if (err == GV_OK && count > 0) {
        target->addr_count =
            count < GV_TARGET_ADDRS_MAX ? (uint32_t)count : (uint32_t)GV_TARGET_ADDRS_MAX;
        memcpy(target->addrs, addrs, target->addr_count * sizeof *addrs);
        target->addr_at %= target->addr_count;
        uint64_t ttl_ms = (uint64_t)ttl_s * 1000;
        ttl_ms = ttl_ms < GV_TARGET_TTL_MIN_MS ? GV_TARGET_TTL_MIN_MS : ttl_ms;
        ttl_ms = ttl_ms > GV_TARGET_TTL_MAX_MS ? GV_TARGET_TTL_MAX_MS : ttl_ms;
        target->addrs_until_ms = gv_loop_now_ms(targets->loop) + ttl_ms;
        gv_lines_drop_moved(target);
    } else if (target->addr_count > 0) {
        /* What was known before is still better than nothing; nor is everybody's request a
         * question. */
        target->addrs_until_ms = gv_loop_now_ms(targets->loop) + GV_TARGET_TTL_MIN_MS;
    }
    gv_lines_connect(target);
}

bool gv_target_knows_address(const struct gv_target *target, uint64_t now_ms)
{
    return target->addr_count > 0 && (target->is_numeric || now_ms < target->addrs_until_ms);
}

enum gv_err gv_target_look_up(struct gv_target *target)
{
    if (target->is_looking) {
        return GV_OK;
    }
    enum gv_err err = gv_resolve(target->targets->resolver, target->uri.host, target->uri.port,
                                 on_resolved, target);
    target->is_looking = err == GV_OK;
    return err;
}

void gv_target_pass_address(struct gv_target *target)
{
    if (target->addr_count > 0) {
        target->addr_at = (target->addr_at + 1) % target->addr_count;
        target->addrs_until_ms = 0;
    }
}

void gv_target_refresh(struct gv_target *target)
{
    if (gv_target_knows_address(target, gv_target_now_ms(target))) {
        return;
    }
    enum gv_err err = gv_target_look_up(target);
    if (err != GV_OK) { /* no memory for a question: the next request tries again */
        target->is_looking = false;
    }
}

/* ---- targets ---- */

enum gv_err gv_targets_open(struct gv_loop *loop, const struct gv_config *config,
                            struct gv_tls *tls, struct gv_targets **out)
{
    struct gv_targets *targets = gv_mem_new(GV_MEM_NET, sizeof *targets);
    if (targets == NULL) {
        return GV_ENOMEM;
    }
    targets->loop = loop;
    targets->config = config;
    targets->tls = tls;
    gv_list_init(&targets->lines);
    enum gv_err err = gv_resolver_open(loop, &targets->resolver);
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_NET, targets);
        return err;
    }
    *out = targets;
    return GV_OK;
}

void gv_targets_close(struct gv_targets *targets, void (*on_closed)(void *owner), void *owner)
{
    GV_ASSERT(!targets->closing);
    targets->closing = true;
    targets->on_closed = on_closed;
    targets->owner = owner;
    gv_lines_close(targets);
    gv_resolver_close(targets->resolver);
    targets->resolver = NULL;
    if (targets->line_count == 0) {
        on_closed(owner);
        gv_targets_free(targets);
    }
}

static enum gv_err make_target(struct gv_targets *targets, const struct gv_worker *worker,
                               struct gv_target **out)
{
    struct gv_uri uri;
    enum gv_err err = gv_uri_parse(gv_slice_text(worker->url), &uri);
    if (err != GV_OK) {
        return err;
    }
    bool is_secure = strcmp(uri.scheme, "https") == 0;
    if (is_secure && targets->tls == NULL) {
        return GV_EUNSUPPORTED;
    }
    struct gv_target *target = gv_mem_new(GV_MEM_NET, sizeof *target);
    if (target == NULL) {
        return GV_ENOMEM;
    }
    target->targets = targets;
    target->index = worker->index;
    target->uri = uri;
    target->is_secure = is_secure;
    memcpy(target->url, worker->url, sizeof target->url);
    gv_list_init(&target->idle);
    gv_list_init(&target->waiting);
    char text[GV_ADDR_TEXT_BYTES + 2];
    bool v6 = strchr(uri.host, ':') != NULL;
    int len = snprintf(text, sizeof text, v6 ? "[%s]:%u" : "%s:%u", uri.host, uri.port);
    if (len > 0 && (size_t)len < sizeof text &&
        gv_addr_parse(gv_slice_text(text), 0, &target->addrs[0]) == GV_OK) {
        target->addr_count = 1;
        target->is_numeric = true;
    }
    *out = target;
    return GV_OK;
}

enum gv_err gv_target_get(struct gv_targets *targets, const struct gv_worker *worker,
                          struct gv_target **target)
{
    GV_ASSERT(worker->index < GV_WORKERS_MAX);
    if (worker->index >= targets->room) {
        uint32_t room = targets->room == 0 ? 64 : targets->room;
        while (room <= worker->index) {
            room *= 2;
        }
        struct gv_target **grown =
            gv_mem_resize(GV_MEM_NET, targets->by_index, room * sizeof *grown);
        if (grown == NULL) {
            return GV_ENOMEM;
        }
        for (uint32_t i = targets->room; i < room; i++) {
            grown[i] = NULL;
        }
        targets->by_index = grown;
        targets->room = room;
    }
    if (targets->by_index[worker->index] == NULL) {
        enum gv_err err = make_target(targets, worker, &targets->by_index[worker->index]);
        if (err != GV_OK) {
            return err;
        }
    }
    *target = targets->by_index[worker->index];
    return GV_OK;
}

struct gv_target *gv_target_find(const struct gv_targets *targets, uint32_t index)
{
    return index < targets->room ? targets->by_index[index] : NULL;
}

uint64_t gv_target_now_ms(const struct gv_target *target)
{
    return gv_loop_now_ms(target->targets->loop);
}

void gv_targets_sweep(struct gv_targets *targets, const struct gv_fleet_view *view)
{
    for (uint32_t i = 0; i < targets->room; i++) {
        struct gv_target *target = targets->by_index[i];
        if (target == NULL || target->idle_count == 0) {
            continue;
        }
        if (gv_fleet_find(view, gv_slice_text(target->url)) == NULL) {
            gv_lines_drop_idle(target, 0);
        } else {
            gv_lines_drop_idle(target, targets->config->pool_idle_timeout_ms);
        }
    }
}

uint32_t gv_targets_idle_count(const struct gv_targets *targets)
{
    return targets->idle_count;
}
