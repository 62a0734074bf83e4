/*
 * seeds.c - where to look for other nodes.
 *
 * A seed is "host:port", "[v6]:port", a name that has many addresses, or "srv:_name._proto.domain".
 * Names are looked up again for ever, as their TTL says but at least every 30 s, so that a cluster
 * behind DNS is found whenever it appears. An answer replaces the last one of the same seed; a
 * failure leaves it. Which of the addresses is this node's own is the engine's question.
 */
#include "shell.h"

#include <stdio.h>
#include <string.h>

#define SEED_WAIT_LEAST_MS 5000
#define SEED_WAIT_MOST_MS  30000
#define SEED_REMEMBERED    64   /* members of the last life that are tried too */
#define SEED_ADDRS_MAX     1024 /* addresses handed to the engine */

struct seed {
    struct gv_seeds *seeds; /* borrowed */
    struct gv_timer *timer; /* NULL for a numeric seed */
    struct gv_addr *addrs;  /* owned; the last answer */
    size_t addr_count;
    bool is_known; /* was answered once */
    struct gv_seed_name name;
};

struct gv_seeds {
    struct gv_cluster *cluster; /* borrowed */
    struct gv_resolver *resolver;
    struct seed *items; /* owned */
    size_t count;       /* read so far */
    size_t room;
    struct gv_addr remembered[SEED_REMEMBERED];
    size_t remembered_count;
    uint32_t asking; /* lookups under way; freed with the last one */
    bool closing;
};

static enum gv_err parse_port(struct gv_slice text, uint16_t *port)
{
    uint64_t value;
    if (!gv_slice_to_u64(text, &value) || value == 0 || value > UINT16_MAX) {
        return GV_EINVAL;
    }
    *port = (uint16_t)value;
    return GV_OK;
}

static bool is_name(struct gv_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '.' || c == '_';
        if (!good) {
            return false;
        }
    }
    return text.len > 0;
}

enum gv_err gv_seed_parse(struct gv_slice text, uint16_t default_port, struct gv_seed_name *seed)
{
    struct gv_seed_name found = {.port = default_port};
    text = gv_slice_trim(text);
    if (text.len == 0 || text.len >= sizeof found.host) {
        return GV_EINVAL;
    }
    if (gv_addr_parse(text, default_port, &found.addr) == GV_OK) {
        if (found.addr.port == 0 || gv_addr_is_unspecified(&found.addr)) {
            return GV_EINVAL;
        }
        found.is_numeric = true;
        found.port = found.addr.port;
        gv_slice_copy_text(text, found.host, sizeof found.host);
        *seed = found;
        return GV_OK;
    }
    const char srv[] = "srv:";
    bool is_srv = gv_slice_starts_with(text, srv);
    size_t skip = is_srv ? sizeof srv - 1 : 0;
    struct gv_slice host = gv_slice_of(text.data + skip, text.len - skip);
    const uint8_t *colon = is_srv ? NULL : memchr(host.data, ':', host.len);
    if (colon != NULL) {
        size_t len = (size_t)(colon - host.data);
        enum gv_err err = parse_port(gv_slice_of(colon + 1, host.len - len - 1), &found.port);
        if (err != GV_OK) {
            return err;
        }
        host.len = len;
    }
    if (!is_name(host)) {
        return GV_EINVAL;
    }
    (void)snprintf(found.host, sizeof found.host, "%s%.*s", is_srv ? srv : "", (int)host.len,
                   (const char *)host.data);
    *seed = found;
    return GV_OK;
}

uint64_t gv_seed_wait_ms(enum gv_err err, uint32_t ttl_s)
{
    uint64_t wait_ms = err == GV_OK ? (uint64_t)ttl_s * 1000 : SEED_WAIT_LEAST_MS;
    if (wait_ms < SEED_WAIT_LEAST_MS) {
        return SEED_WAIT_LEAST_MS;
    }
    return wait_ms > SEED_WAIT_MOST_MS ? SEED_WAIT_MOST_MS : wait_ms;
}

static size_t add_addrs(struct gv_addr *all, size_t count, const struct gv_addr *some, size_t more)
{
    for (size_t i = 0; i < more && count < SEED_ADDRS_MAX; i++) {
        bool is_new = true;
        for (size_t k = 0; is_new && k < count; k++) {
            is_new = !gv_addr_equal(&all[k], &some[i]);
        }
        if (is_new) {
            all[count++] = some[i];
        }
    }
    return count;
}

/* Everything that is known now, to the engine. */
static void hand_over(struct gv_seeds *seeds)
{
    struct gv_addr all[SEED_ADDRS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < seeds->count; i++) {
        count = add_addrs(all, count, seeds->items[i].addrs, seeds->items[i].addr_count);
    }
    count = add_addrs(all, count, seeds->remembered, seeds->remembered_count);
    gv_gossip_seeds(seeds->cluster->gossip, all, count, gv_shell_now());
    gv_shell_settle(seeds->cluster);
}

static void keep_answer(struct seed *seed, const struct gv_addr *addrs, size_t count)
{
    struct gv_addr *copy = gv_mem_new(GV_MEM_GOSSIP, count * sizeof *copy);
    if (copy == NULL) {
        return;
    }
    memcpy(copy, addrs, count * sizeof *copy);
    gv_mem_free(GV_MEM_GOSSIP, seed->addrs);
    seed->addrs = copy;
    seed->addr_count = count;
}

/* Free what is closed, when no lookup will call back any more. */
static void release(struct gv_seeds *seeds)
{
    if (seeds->asking > 0) {
        return;
    }
    for (size_t i = 0; i < seeds->room; i++) {
        gv_mem_free(GV_MEM_GOSSIP, seeds->items[i].addrs);
    }
    gv_mem_free(GV_MEM_GOSSIP, seeds->items);
    gv_mem_free(GV_MEM_GOSSIP, seeds);
}

static void on_resolved(void *owner, enum gv_err err, const struct gv_addr *addrs, size_t count,
                        uint32_t ttl_s)
{
    struct seed *seed = owner;
    struct gv_seeds *seeds = seed->seeds;
    seeds->asking -= 1;
    if (seeds->closing) {
        release(seeds);
        return;
    }
    if (err == GV_OK && count > 0) {
        keep_answer(seed, addrs, count);
        if (!seed->is_known) {
            gv_log(GV_LOG_INFO, "seed.resolved", GV_STR("seed", seed->name.host),
                   GV_UINT("addresses", count));
        }
        seed->is_known = true;
        hand_over(seeds);
    } else if (gv_shell_may_log(seeds->cluster, "seed.unresolved", seed->name.host)) {
        gv_log(GV_LOG_WARN, "seed.unresolved", GV_STR("seed", seed->name.host), GV_ERR(err));
    }
    gv_timer_start(seed->timer, gv_seed_wait_ms(err, ttl_s), 0);
}

static void on_seed_time(void *owner)
{
    struct seed *seed = owner;
    enum gv_err err =
        gv_resolve(seed->seeds->resolver, seed->name.host, seed->name.port, on_resolved, seed);
    if (err != GV_OK) {
        gv_timer_start(seed->timer, gv_seed_wait_ms(err, 0), 0);
    } else {
        seed->seeds->asking += 1;
    }
}

static enum gv_err start_seed(struct gv_seeds *seeds, struct seed *seed)
{
    seed->seeds = seeds;
    if (seed->name.is_numeric) {
        keep_answer(seed, &seed->name.addr, 1);
        return seed->addrs == NULL ? GV_ENOMEM : GV_OK;
    }
    enum gv_err err = gv_timer_open(seeds->cluster->loop, on_seed_time, seed, &seed->timer);
    if (err == GV_OK) {
        gv_timer_start(seed->timer, 0, 0);
    }
    return err;
}

static enum gv_err read_seeds(struct gv_seeds *seeds, const struct gv_config *config)
{
    for (size_t i = 0; i < config->seeds.count; i++) {
        const char *text = config->seeds.items[i];
        struct seed *seed = &seeds->items[i];
        enum gv_err err = gv_seed_parse(gv_slice_text(text), config->mesh_port, &seed->name);
        if (err == GV_OK) {
            err = start_seed(seeds, seed);
        }
        if (err != GV_OK) {
            gv_log(
                GV_LOG_ERROR, "seed.unusable", GV_STR("seed", text), GV_ERR(err),
                GV_STR("advice", "write HOST:PORT, [V6]:PORT, NAME, or srv:_NAME._PROTO.DOMAIN"));
            return err;
        }
        seeds->count = i + 1;
    }
    return GV_OK;
}

enum gv_err gv_seeds_open(struct gv_cluster *cluster)
{
    const struct gv_config *config = cluster->options.config;
    struct gv_seeds *seeds = gv_mem_new(GV_MEM_GOSSIP, sizeof *seeds);
    if (seeds == NULL) {
        return GV_ENOMEM;
    }
    cluster->seeds = seeds;
    seeds->cluster = cluster;
    seeds->remembered_count = gv_state_members(cluster, seeds->remembered, SEED_REMEMBERED);
    enum gv_err err = gv_resolver_open(cluster->loop, &seeds->resolver);
    if (err == GV_OK && config->seeds.count > 0) {
        seeds->items = gv_mem_new(GV_MEM_GOSSIP, config->seeds.count * sizeof seeds->items[0]);
        seeds->room = seeds->items == NULL ? 0 : config->seeds.count;
        err = seeds->items == NULL ? GV_ENOMEM : read_seeds(seeds, config);
    }
    if (err == GV_OK) {
        size_t known = seeds->remembered_count;
        for (size_t i = 0; i < seeds->count; i++) {
            known += seeds->items[i].addr_count;
        }
        if (known > 0 || seeds->count == 0) {
            hand_over(seeds);
        }
    }
    return err;
}

void gv_seeds_close(struct gv_seeds *seeds)
{
    if (seeds == NULL) {
        return;
    }
    seeds->closing = true;
    for (size_t i = 0; i < seeds->room; i++) {
        gv_timer_close(seeds->items[i].timer);
        seeds->items[i].timer = NULL;
    }
    gv_resolver_close(seeds->resolver);
    release(seeds);
}
