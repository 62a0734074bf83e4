/*
 * cluster.c - the engine, its timer and its effects; opens the other parts of cluster/ in order and
 * closes them in reverse.
 *
 * Every call into the engine is followed by gv_shell_settle(): carry out what it wants, tell it
 * what that did to the queues, arm the timer for its next wish.
 */
#include "grapevine/cluster/cluster.h"

#include "address.h"
#include "grapevine/seal/identity.h"
#include "grapevine/seal/keyring.h"
#include "shell.h"

#include <stdio.h>
#include <string.h>

#define SETTLE_ROUNDS_MAX 16 /* then the loop gets a turn; on_drain and the timer go on */
#define CLOCKS_MS         1000
#define BIND_TRIES_MAX    16 /* ports chosen by the kernel that UDP must have too */

/* ---- the engine's life -------------------------------------------------------------------------
 */

struct gv_now gv_shell_now(void)
{
    return (struct gv_now){.now_ms = gv_clock_us() / 1000, .wall_ms = gv_clock_wall_ms()};
}

bool gv_shell_may_log(struct gv_cluster *cluster, const char *event, const char *peer)
{
    static const uint64_t any[2] = {3, 4};
    char text[GV_WORKER_URL_MAX];
    int len = snprintf(text, sizeof text, "%s %s", event, peer);
    size_t used = len < 0 ? 0 : (size_t)len;
    used = used < sizeof text ? used : sizeof text - 1;
    uint64_t hash = gv_siphash(any, gv_slice_of(text, used));
    struct gv_shell_quiet *slot = &cluster->quiet[hash % GV_SHELL_LOG_SLOTS];
    uint64_t now_ms = gv_shell_now().now_ms;
    if (slot->hash == hash && slot->at_ms != 0 && now_ms - slot->at_ms < GV_SHELL_LOG_QUIET_MS) {
        return false;
    }
    *slot = (struct gv_shell_quiet){.hash = hash, .at_ms = now_ms};
    return true;
}

static void conflict(struct gv_cluster *cluster, const struct gv_effect *effect)
{
    char addr[GV_ADDR_TEXT_BYTES];
    gv_log(GV_LOG_ERROR, "mesh.conflict", GV_STR("name", cluster->node),
           GV_STR("other", gv_addr_format(&effect->addr, addr)),
           GV_STR("advice", "this name is another node's; use --node-name"));
    if (cluster->options.events.on_conflict != NULL) {
        cluster->options.events.on_conflict(cluster->options.owner, &effect->addr);
    }
}

static void synced(struct gv_cluster *cluster)
{
    if (cluster->synced) {
        return;
    }
    cluster->synced = true;
    cluster->dirty = true;
    cluster->viewed_at_ms = 0; /* at once: readiness hangs on it */
    gv_log(GV_LOG_INFO, "mesh.synced", GV_UINT("sessions", cluster->counters.sessions_opened));
    if (cluster->counters.sessions_opened == 0 && cluster->options.config->seeds.count > 0) {
        gv_log(GV_LOG_WARN, "mesh.alone", GV_UINT("seeds", cluster->options.config->seeds.count),
               GV_STR("advice",
                      "no other node took us in; is the mesh port open, TCP and UDP? We go "
                      "on alone and keep trying"));
    }
    if (cluster->options.events.on_synced != NULL) {
        cluster->options.events.on_synced(cluster->options.owner);
    }
}

/* A peer may send as many as it likes; the log has few. */
static void warn_of_forgery(struct gv_cluster *cluster, const struct gv_effect *effect)
{
    if (gv_shell_may_log(cluster, "mesh.forged", "")) {
        gv_log(GV_LOG_WARN, "mesh.forged", GV_STR("member", effect->node),
               GV_UINT("refused", gv_gossip_counters(cluster->gossip)->forged),
               GV_STR("meaning", "a record that its node did not sign, or its name has a new key"));
    }
}

static void carry(struct gv_cluster *cluster, const struct gv_effect *effect)
{
    switch (effect->kind) {
    case GV_EFFECT_SEND:
    case GV_EFFECT_CONNECT:
    case GV_EFFECT_CLOSE:
        if (cluster->links != NULL) {
            gv_links_carry(cluster->links, effect);
        }
        break;
    case GV_EFFECT_PACKET:
        if (cluster->packets != NULL) {
            gv_packets_carry(cluster->packets, effect);
        }
        break;
    case GV_EFFECT_READY:
        synced(cluster);
        break;
    case GV_EFFECT_CONFLICT:
        conflict(cluster, effect);
        break;
    case GV_EFFECT_LOG:
        if (effect->reason != NULL && strcmp(effect->reason, "mesh.forged") == 0) {
            warn_of_forgery(cluster, effect);
            break;
        }
        gv_log((enum gv_log_level)effect->level,
               effect->reason == NULL ? "mesh.event" : effect->reason,
               GV_STR("member", effect->node));
        cluster->dirty = true;
        break;
    }
}

static void carry_all(struct gv_cluster *cluster)
{
    struct gv_effect effect;
    while (gv_gossip_next_effect(cluster->gossip, &effect)) {
        carry(cluster, &effect);
    }
}

static void arm(struct gv_cluster *cluster)
{
    uint64_t wake_at_ms = gv_gossip_wake_at(cluster->gossip);
    if (wake_at_ms == cluster->wake_at_ms) {
        return;
    }
    cluster->wake_at_ms = wake_at_ms;
    uint64_t now_ms = gv_shell_now().now_ms;
    gv_timer_start(cluster->wake, wake_at_ms > now_ms ? wake_at_ms - now_ms : 1, 0);
}

/* The view follows what happens, but not more often than people can look. */
static void look_again(struct gv_cluster *cluster)
{
    const struct gv_gossip_counters *counters = gv_gossip_counters(cluster->gossip);
    uint64_t operations = counters->operations_published + counters->operations_applied;
    if (!cluster->dirty && operations == cluster->viewed_operations) {
        return;
    }
    uint64_t now_ms = gv_shell_now().now_ms;
    if (now_ms - cluster->viewed_at_ms >= GV_SHELL_VIEW_LEAST_MS) {
        cluster->viewed_operations = operations;
        cluster->viewed_at_ms = now_ms;
        gv_view_refresh(cluster);
    }
}

void gv_shell_settle(struct gv_cluster *cluster)
{
    if (cluster->closing || cluster->draining_effects) {
        return;
    }
    cluster->draining_effects = true;
    carry_all(cluster);
    for (int i = 0; cluster->links != NULL && i < SETTLE_ROUNDS_MAX; i++) {
        if (!gv_links_report(cluster->links)) {
            break;
        }
        carry_all(cluster);
    }
    cluster->draining_effects = false;
    arm(cluster);
    look_again(cluster);
}

static void on_wake(void *owner)
{
    struct gv_cluster *cluster = owner;
    cluster->wake_at_ms = 0;
    gv_gossip_tick(cluster->gossip, gv_shell_now());
    gv_shell_settle(cluster);
}

bool gv_member_clock_is_off(const struct gv_member *member)
{
    return member->knows_clock && member->status <= GV_MEMBER_SUSPECT &&
           (member->clock_offset_ms >= GV_CLOCK_OFF_MS ||
            member->clock_offset_ms <= -GV_CLOCK_OFF_MS);
}

/* Say whose clock differs from ours, once a minute for each member. */
static void warn_of_clocks(struct gv_cluster *cluster, bool is_right)
{
    const struct gv_cluster_view *view = &cluster->view.now;
    uint64_t wall_ms = gv_clock_wall_ms();
    for (uint32_t i = 0; i < view->member_count; i++) {
        const struct gv_member *member = &view->members[i];
        bool is_concerned = gv_member_clock_is_off(member) || member->refused > 0;
        if (is_concerned && gv_shell_may_log(cluster, "mesh.clocks_differ", member->name)) {
            gv_log(GV_LOG_WARN, "mesh.clocks_differ", GV_STR("member", member->name),
                   GV_INT("offset_ms", member->clock_offset_ms),
                   GV_UINT("its_wall_ms", wall_ms + (uint64_t)member->clock_offset_ms),
                   GV_UINT("our_wall_ms", wall_ms), GV_FLAG("most_agree_with_us", is_right),
                   GV_UINT("operations_missing", member->refused),
                   GV_UINT("refused_stamps", gv_gossip_counters(cluster->gossip)->refused_stamps));
        }
    }
}

/* Once a second. A clock that was ahead and is right again has left stamps that nobody takes. */
static void look_at_clocks(struct gv_cluster *cluster)
{
    uint64_t now_ms = gv_shell_now().now_ms;
    if (now_ms - cluster->clocks_at_ms < CLOCKS_MS) {
        return;
    }
    cluster->clocks_at_ms = now_ms;
    bool is_right = gv_gossip_clock_is_right(cluster->gossip);
    warn_of_clocks(cluster, is_right);
    if (is_right && gv_forest_correct_clock(cluster->options.forest, gv_clock_wall_ms())) {
        gv_log(GV_LOG_WARN, "mesh.clock_corrected",
               GV_STR("meaning", "this clock was ahead; what it stamped is stamped now"));
        gv_gossip_compare(cluster->gossip, gv_shell_now());
        gv_shell_settle(cluster);
    }
}

static void on_view_time(void *owner)
{
    struct gv_cluster *cluster = owner;
    if (cluster->links != NULL) {
        gv_links_expire(cluster->links);
    }
    gv_keys_follow(cluster);
    gv_shell_wishes(cluster);
    gv_shell_settle(cluster);
    look_at_clocks(cluster);
    gv_alarms_refresh(cluster);
    gv_view_refresh(cluster);
    gv_gauge_refresh(cluster);
    gv_state_keep(cluster);
}

/* ---- wishes ------------------------------------------------------------------------------------
 */

static void on_leave_time(void *owner)
{
    struct gv_cluster *cluster = owner;
    gv_shell_settle(cluster);
    bool is_sent = cluster->links == NULL || gv_links_queued(cluster->links) == 0;
    if (!is_sent && gv_shell_now().now_ms < cluster->leave_until_ms) {
        return;
    }
    gv_timer_stop(cluster->leave_timer);
    gv_log(GV_LOG_INFO, "mesh.left", GV_FLAG("sent", is_sent));
    if (cluster->on_left != NULL) {
        cluster->on_left(cluster->on_left_owner);
    }
}

static void leave(struct gv_cluster *cluster, const struct gv_view_wish *wish)
{
    cluster->leaving = true;
    cluster->dirty = true;
    cluster->on_left = wish->on_left;
    cluster->on_left_owner = wish->on_left_owner;
    struct gv_now now = gv_shell_now();
    cluster->leave_until_ms = now.now_ms + GV_SHELL_LEAVE_MS;
    gv_gossip_leave(cluster->gossip, now);
    gv_timer_start(cluster->leave_timer, GV_SHELL_LEAVE_STEP_MS, GV_SHELL_LEAVE_STEP_MS);
}

void gv_shell_wishes(struct gv_cluster *cluster)
{
    struct gv_view_wish wish;
    gv_view_wishes(cluster, &wish);
    if (cluster->leaving) {
        return;
    }
    if (wish.ready != cluster->ready) {
        cluster->ready = wish.ready;
        cluster->dirty = true;
        gv_gossip_set_ready(cluster->gossip, wish.ready, gv_shell_now());
    }
    if (wish.leave) {
        leave(cluster, &wish);
    }
}

/* ---- opening -----------------------------------------------------------------------------------
 */

/* With port 0 the kernel chooses a TCP port; UDP needs the same number, so try a few. */
static enum gv_err bind_both(struct gv_cluster *cluster, struct gv_addr addr)
{
    enum gv_err err = GV_EEXISTS;
    int tries = addr.port == 0 ? BIND_TRIES_MAX : 1;
    for (int i = 0; i < tries && err == GV_EEXISTS; i++) {
        err = gv_links_open(cluster, addr, &cluster->links);
        if (err == GV_OK) {
            cluster->bound = gv_links_addr(cluster->links);
            err = gv_packets_open(cluster, cluster->bound, &cluster->packets);
            if (err != GV_OK) {
                gv_links_close(cluster->links);
                cluster->links = NULL;
            }
        }
    }
    return err;
}

static enum gv_err open_identity(struct gv_cluster *cluster)
{
    const char *dir = cluster->options.config->state_dir;
    char path[1024];
    if (dir != NULL && dir[0] != '\0' &&
        (size_t)snprintf(path, sizeof path, "%s/node.key", dir) < sizeof path) {
        enum gv_err err = gv_identity_load(path, &cluster->identity);
        if (err == GV_OK) {
            return GV_OK;
        }
        gv_log(GV_LOG_WARN, "state.no_identity", GV_STR("path", path), GV_ERR(err),
               GV_STR("instead", "a new one for this run"),
               GV_STR("advice", err == GV_EREFUSED ? "others may read it: chmod 600"
                                : err == GV_EINVAL
                                    ? "it is no node key: remove it, or restore it"
                                    : "is the folder there, and may we write in it?"));
    }
    cluster->identity = gv_identity_new();
    return cluster->identity == NULL ? GV_ENOMEM : GV_OK;
}

static enum gv_err open_mesh(struct gv_cluster *cluster)
{
    const struct gv_config *config = cluster->options.config;
    struct gv_addr addr;
    bool has_keys = cluster->options.keyring != NULL;
    enum gv_err err = gv_address_bind(config, has_keys || config->mesh_insecure != 0, &addr);
    if (err == GV_OK && !has_keys && !gv_addr_is_loopback(&addr) && config->mesh_insecure == 0) {
        char text[GV_ADDR_TEXT_BYTES];
        gv_log(GV_LOG_ERROR, "mesh.unprotected", GV_STR("addr", gv_addr_format(&addr, text)),
               GV_STR("advice", "give --mesh-keyring, or bind to loopback, or --mesh-insecure"));
        return GV_EAUTH;
    }
    if (err == GV_OK) {
        err = open_identity(cluster);
    }
    if (err != GV_OK) {
        return err;
    }
    err = bind_both(cluster, addr);
    if (err != GV_OK) {
        char text[GV_ADDR_TEXT_BYTES];
        gv_log(GV_LOG_ERROR, "mesh.unbound", GV_STR("addr", gv_addr_format(&addr, text)),
               GV_ERR(err),
               GV_STR("advice", err == GV_EEXISTS ? "another program has the port: use --mesh-port"
                                                  : "is this an address of this host? --mesh-host "
                                                    "names another"));
        return err;
    }
    return gv_address_advertise(config, &cluster->bound, &cluster->advertised);
}

_Static_assert(GV_GOSSIP_IDENTITY_BYTES == GV_IDENTITY_BYTES &&
                   GV_GOSSIP_SIGNATURE_BYTES == GV_SIGNATURE_BYTES,
               "the engine's signer is the node's identity");

static void sign(void *owner, struct gv_slice text, uint8_t signature[GV_SIGNATURE_BYTES])
{
    const struct gv_cluster *cluster = owner;
    gv_identity_sign(cluster->identity, text, signature);
}

static bool verify(void *owner, const uint8_t identity[GV_IDENTITY_BYTES], struct gv_slice text,
                   const uint8_t signature[GV_SIGNATURE_BYTES])
{
    (void)owner;
    return gv_identity_verify(identity, text, signature) == GV_OK;
}

/* The name of what numbers our prompts; 0: no key ring. The same in all rings of a cluster. */
static uint64_t fingerprint_of(const struct gv_keyring *ring)
{
    struct gv_key_id id = gv_keyring_fingerprint_id(ring);
    uint64_t name;
    _Static_assert(sizeof name == sizeof id.bytes, "an id is a number");
    memcpy(&name, id.bytes, sizeof name);
    return name;
}

static enum gv_err open_engine(struct gv_cluster *cluster)
{
    const struct gv_config *config = cluster->options.config;
    struct gv_now now = gv_shell_now();
    struct gv_gossip_options options = {.boot_id = cluster->boot_id,
                                        .incarnation = cluster->incarnation,
                                        .block_bytes = config->block_bytes,
                                        .fingerprint = fingerprint_of(cluster->options.keyring),
                                        .gossip_addr = cluster->advertised,
                                        .expects_seeds =
                                            cluster->enabled && config->seeds.count > 0,
                                        .sync_timeout_ms = (uint32_t)config->mesh_sync_timeout_ms};
    gv_random_bytes(&options.seed, sizeof options.seed);
    if (cluster->enabled) {
        options.signer =
            (struct gv_gossip_signer){.owner = cluster, .sign = sign, .verify = verify};
        memcpy(options.signer.identity, gv_identity_public(cluster->identity), GV_IDENTITY_BYTES);
    }
    gv_slice_copy_text(gv_slice_text(cluster->node), options.node, sizeof options.node);
    gv_slice_copy_text(gv_slice_text(config->cluster_id), options.cluster_id,
                       sizeof options.cluster_id);
    gv_slice_copy_text(gv_slice_text(cluster->http_url), options.http_url, sizeof options.http_url);
    gv_slice_copy_text(gv_slice_text(GV_VERSION), options.version, sizeof options.version);
    cluster->store = gv_absorb_store(cluster);
    return gv_gossip_new(&options, &cluster->store, now.now_ms, &cluster->gossip);
}

static enum gv_err open_timers(struct gv_cluster *cluster)
{
    enum gv_err err = gv_timer_open(cluster->loop, on_wake, cluster, &cluster->wake);
    if (err == GV_OK) {
        err = gv_timer_open(cluster->loop, on_view_time, cluster, &cluster->view_timer);
    }
    if (err == GV_OK) {
        err = gv_timer_open(cluster->loop, on_leave_time, cluster, &cluster->leave_timer);
    }
    if (err == GV_OK) {
        gv_timer_start(cluster->view_timer, GV_SHELL_VIEW_MS, GV_SHELL_VIEW_MS);
    }
    return err;
}

static enum gv_err open_parts(struct gv_cluster *cluster)
{
    enum gv_err err = gv_gauge_open();
    if (err == GV_OK) {
        err = gv_alarms_open();
    }
    if (err == GV_OK) {
        gv_absorb_open(cluster);
        err = gv_hearsay_open(cluster);
    }
    if (err == GV_OK) {
        err = gv_demands_open(cluster);
    }
    if (err == GV_OK) {
        err = gv_state_open(cluster);
    }
    if (err == GV_OK) {
        cluster->incarnation = gv_state_incarnation(cluster, gv_clock_wall_ms());
        err = cluster->enabled ? open_mesh(cluster) : GV_OK;
    }
    if (err == GV_OK) {
        err = open_timers(cluster);
    }
    if (err == GV_OK) {
        err = open_engine(cluster);
    }
    if (err == GV_OK) {
        err = gv_publish_open(cluster);
    }
    if (err == GV_OK && cluster->enabled) {
        err = gv_seeds_open(cluster);
    }
    return err;
}

enum gv_err gv_cluster_open(struct gv_loop *loop, const struct gv_cluster_options *options,
                            struct gv_cluster **cluster)
{
    struct gv_slice name = gv_slice_text(options->node);
    struct gv_slice id = gv_slice_text(options->config->cluster_id);
    if (name.len == 0 || name.len >= GV_NODE_NAME_MAX || id.len >= GV_CLUSTER_ID_MAX ||
        options->config->block_bytes == 0) {
        gv_log(GV_LOG_ERROR, "mesh.misnamed", GV_STR("node", options->node),
               GV_STR("cluster_id", options->config->cluster_id),
               GV_UINT("longest", GV_NODE_NAME_MAX - 1));
        return GV_EINVAL;
    }
    struct gv_cluster *made = gv_mem_new(GV_MEM_GOSSIP, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    made->options = *options;
    made->loop = loop;
    made->enabled = options->config->enable_mesh != 0;
    gv_slice_copy_text(name, made->node, sizeof made->node);
    gv_slice_copy_text(gv_slice_text(options->http_url), made->http_url, sizeof made->http_url);
    made->options.node = made->node;
    made->options.http_url = made->http_url;
    gv_random_bytes(&made->boot_id, sizeof made->boot_id);
    enum gv_err err = gv_view_open(made);
    if (err == GV_OK) {
        err = gv_keys_open(made);
    }
    if (err == GV_OK) {
        err = open_parts(made);
    }
    if (err != GV_OK) {
        gv_log(GV_LOG_ERROR, "mesh.unopened", GV_ERR(err));
        gv_cluster_close(made);
        return err;
    }
    gv_shell_settle(made);
    gv_view_refresh(made);
    gv_state_keep(made);
    *cluster = made;
    return GV_OK;
}

struct gv_addr gv_cluster_addr(const struct gv_cluster *cluster)
{
    return cluster->bound;
}

void gv_cluster_close(struct gv_cluster *cluster)
{
    if (cluster == NULL) {
        return;
    }
    cluster->closing = true;
    gv_seeds_close(cluster->seeds);
    gv_publish_close(cluster);
    gv_timer_close(cluster->leave_timer);
    gv_timer_close(cluster->view_timer);
    gv_timer_close(cluster->wake);
    gv_packets_close(cluster->packets);
    gv_links_close(cluster->links);
    if (cluster->gossip != NULL) {
        gv_gossip_free(cluster->gossip);
    }
    gv_identity_free(cluster->identity);
    gv_state_close(cluster);
    gv_publish_free(cluster);
    gv_absorb_free(cluster);
    gv_hearsay_free(cluster);
    gv_demands_free(cluster);
    gv_view_free(cluster);
    gv_keys_close(cluster);
    gv_mem_free(GV_MEM_GOSSIP, cluster);
}
