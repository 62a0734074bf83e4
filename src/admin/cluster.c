/*
 * cluster.c - how this node sees the cluster: status, nodes, workers, trees, digest. For vinectl.
 *
 * The JSON of these paths is a public interface: fields are added, never renamed.
 */
#include "admin/admin.h"
#include "grapevine/cluster/view.h"

#include <stdio.h>
#include <string.h>

#define TREES_MAX 1024u

static const char *const status_names[GV_MEMBER_STATUS_COUNT] = {
    [GV_MEMBER_ALIVE] = "alive",
    [GV_MEMBER_SUSPECT] = "suspect",
    [GV_MEMBER_DEAD] = "dead",
    [GV_MEMBER_LEFT] = "left",
};

static json_t *hex(const uint8_t bytes[16])
{
    char text[33];
    for (size_t i = 0; i < 16; i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
    return json_string(text);
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *address(const struct gv_addr *addr)
{
    char text[GV_ADDR_TEXT_BYTES];
    return json_string(gv_addr_format(addr, text));
}

static json_t *member_json(const struct gv_cluster_view *view, const struct gv_member *member)
{
    json_t *json =
        json_pack("{s:s, s:s, s:b, s:b, s:b, s:s, s:s}", "name", member->name, "status",
                  status_names[member->status], "self", strcmp(member->name, view->node) == 0,
                  "ready", (int)member->ready, "connected", (int)member->connected, "http_url",
                  member->http_url, "version", member->version);
    if (json != NULL) {
        json_object_set_new(json, "address", address(&member->gossip_addr));
        json_object_set_new(json, "incarnation", number(member->incarnation));
        json_object_set_new(json, "boot_id", number(member->boot_id >> 1));
        json_object_set_new(json, "rtt_us", number(member->rtt_us));
        json_object_set_new(json, "applied", number(member->applied));
        json_object_set_new(json, "missing", number(member->refused));
        if (member->knows_clock) {
            json_object_set_new(json, "clock_offset_ms", json_integer(member->clock_offset_ms));
            json_object_set_new(json, "clock_off", json_boolean(gv_member_clock_is_off(member)));
        }
        uint64_t now_ms = gv_clock_us() / 1000;
        if (member->last_contact_ms != 0 && now_ms >= member->last_contact_ms) {
            json_object_set_new(json, "last_contact_age_ms",
                                number(now_ms - member->last_contact_ms));
        }
    }
    return json;
}

static json_t *sessions_json(const struct gv_cluster_view *view)
{
    json_t *sessions = json_array();
    for (uint32_t i = 0; i < view->session_count; i++) {
        const struct gv_cluster_session *session = &view->sessions[i];
        json_t *json = json_pack("{s:s, s:b, s:b}", "peer", session->peer, "outgoing",
                                 (int)session->outgoing, "encrypted", (int)session->encrypted);
        if (json != NULL) {
            json_object_set_new(json, "address", address(&session->addr));
            json_object_set_new(json, "queued_bytes", number(session->queued_bytes));
            json_object_set_new(json, "age_ms", number(session->age_ms));
        }
        json_array_append_new(sessions, json);
    }
    return sessions;
}

static json_t *members_json(const struct gv_cluster_view *view)
{
    json_t *members = json_array();
    for (uint32_t i = 0; i < view->member_count; i++) {
        json_array_append_new(members, member_json(view, &view->members[i]));
    }
    return members;
}

static json_t *alarms_json(const struct gv_cluster_view *view)
{
    json_t *alarms = json_array();
    for (unsigned i = 0; i < GV_ALARM_COUNT; i++) {
        if (view->alarms[i]) {
            json_array_append_new(alarms,
                                  json_pack("{s:s, s:s}", "alarm", gv_alarm_name((enum gv_alarm)i),
                                            "meaning", gv_alarm_text((enum gv_alarm)i)));
        }
    }
    return alarms;
}

static json_t *mesh_json(const struct gv_cluster_view *view)
{
    json_t *mesh = json_pack("{s:b, s:b, s:b}", "enabled", (int)view->enabled, "encrypted",
                             (int)view->encrypted, "synced", (int)view->synced);
    if (mesh != NULL) {
        json_object_set_new(mesh, "bound", address(&view->bound));
        json_object_set_new(mesh, "advertised", address(&view->advertised));
        json_object_set_new(mesh, "digest", hex(view->digest));
        json_object_set_new(mesh, "clock_is_right", json_boolean(view->clock_is_right));
        json_object_set_new(mesh, "alarms", alarms_json(view));
    }
    return mesh;
}

static json_t *counters_json(const struct gv_cluster_view *view)
{
    json_t *counters = json_object();
#define GOSSIP_COUNTER(name, text) json_object_set_new(counters, #name, number(view->gossip.name));
    GV_GOSSIP_COUNTER_LIST(GOSSIP_COUNTER)
#undef GOSSIP_COUNTER
#define CLUSTER_COUNTER(name, text)                                                                \
    json_object_set_new(counters, #name, number(view->cluster.name));
    GV_CLUSTER_COUNTER_LIST(CLUSTER_COUNTER)
#undef CLUSTER_COUNTER
    return counters;
}

static json_t *forest_json(struct gv_forest *forest)
{
    struct gv_forest_stats stats;
    gv_forest_stats(forest, &stats);
    json_t *json = json_object();
    json_object_set_new(json, "bytes", number(stats.bytes));
    json_object_set_new(json, "blocks", number(stats.blocks));
    json_object_set_new(json, "entries", number(stats.entries));
    json_object_set_new(json, "keys", number(stats.keys));
    json_object_set_new(json, "applied", number(stats.applied));
    json_object_set_new(json, "refused", number(stats.refused));
    json_object_set_new(json, "evictions", number(stats.evictions));
    return json;
}

static json_t *workers_summary(const struct gv_fleet_view *view)
{
    json_t *json = json_object();
    for (int pool = 0; pool < GV_POOL_COUNT; pool++) {
        uint32_t total = 0;
        for (uint32_t i = 0; i < view->count; i++) {
            total += (int)view->workers[i].pool == pool;
        }
        json_object_set_new(
            json, gv_pool_name((enum gv_pool)pool),
            json_pack("{s:i, s:i}", "total", (int)total, "ready", (int)view->ready_count[pool]));
    }
    return json;
}

void gv_show_status(const struct gv_admin_parts *parts, const struct gv_request *request,
                    struct gv_answer *answer)
{
    (void)request;
    struct gv_cluster_view view;
    if (gv_cluster_view_get(parts->cluster, &view) != GV_OK) {
        gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "out of memory");
        return;
    }
    const struct gv_proxy_shared *shared = parts->shared;
    const struct gv_fleet_view *fleet = gv_fleet_acquire(shared->fleet);
    char reason[GV_PROXY_REASON_BYTES] = "";
    bool ready = shared->events->is_ready(shared->owner, reason);
    uint64_t now_ms = gv_clock_wall_ms();
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:b, s:s}", "node", view.node, "version",
                  GV_VERSION, "cluster_id", view.cluster_id, "http_url", parts->http_url, "ready",
                  (int)ready, "reason", ready ? "" : reason, "pd",
                  (int)shared->config->pd_disaggregation, "policy", shared->config->policy);
    if (json != NULL) {
        json_object_set_new(json, "uptime_s",
                            number((gv_clock_us() / 1000 - parts->started_at_ms) / 1000));
        json_object_set_new(json, "wall_ms", number(now_ms));
        json_object_set_new(json, "block_bytes", number(shared->config->block_bytes));
        json_object_set_new(json, "mesh", mesh_json(&view));
        json_object_set_new(json, "members", members_json(&view));
        json_object_set_new(json, "sessions", sessions_json(&view));
        json_object_set_new(json, "workers", workers_summary(fleet));
        json_object_set_new(json, "in_flight", number(gv_load_own_total(shared->load)));
        json_object_set_new(json, "forest", forest_json(shared->forest));
        json_object_set_new(json, "counters", counters_json(&view));
    }
    gv_fleet_release(shared->fleet, fleet);
    gv_cluster_view_deinit(&view);
    gv_answer_json(answer, 200, json);
}

void gv_show_nodes(const struct gv_admin_parts *parts, const struct gv_request *request,
                   struct gv_answer *answer)
{
    (void)request;
    struct gv_cluster_view view;
    if (gv_cluster_view_get(parts->cluster, &view) != GV_OK) {
        gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "out of memory");
        return;
    }
    json_t *json = json_pack("{s:s, s:s, s:o}", "node", view.node, "cluster_id", view.cluster_id,
                             "nodes", members_json(&view));
    gv_cluster_view_deinit(&view);
    gv_answer_json(answer, 200, json);
}

/* Live blocks of a worker over all tries of its pool. */
static uint64_t blocks_of(struct gv_forest *forest, const struct gv_forest_tree *trees,
                          uint32_t tree_count, const struct gv_worker *worker)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < tree_count; i++) {
        blocks += gv_forest_worker_blocks(forest, trees[i].key, worker->index);
    }
    return blocks;
}

static void set_belief(json_t *json, struct gv_load_belief belief)
{
    json_object_set_new(json, "trust", json_real((double)belief.trust_permille / GV_TRUST_FULL));
    json_object_set_new(json, "prefix_caching", json_boolean(!belief.is_uncached));
    json_object_set_new(json, "prefill_bytes_per_s",
                        number((uint64_t)(belief.prefill_bytes_per_ms * 1000)));
}

void gv_show_fleet(const struct gv_admin_parts *parts, const struct gv_request *request,
                   struct gv_answer *answer)
{
    (void)request;
    const struct gv_proxy_shared *shared = parts->shared;
    struct gv_forest_tree *trees = gv_mem_new(GV_MEM_GENERAL, TREES_MAX * sizeof *trees);
    if (trees == NULL) {
        gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "out of memory");
        return;
    }
    uint32_t tree_count = gv_forest_trees(shared->forest, trees, TREES_MAX);
    const struct gv_fleet_view *view = gv_fleet_acquire(shared->fleet);
    json_t *workers = json_array();
    for (uint32_t i = 0; i < view->count; i++) {
        const struct gv_worker *worker = &view->workers[i];
        struct gv_load load = gv_load_get(shared->load, worker->index);
        json_t *json = gv_worker_json(parts, worker);
        if (json != NULL) {
            json_object_set_new(json, "reason", json_string(worker->reason));
            json_object_set_new(json, "source", json_string(gv_worker_source_name(worker->source)));
            json_object_set_new(json, "in_flight", number(load.own_count + load.remote_count));
            json_object_set_new(json, "in_flight_here", number(load.own_count));
            json_object_set_new(json, "queued_bytes", number(load.own_bytes + load.remote_bytes));
            json_object_set_new(json, "breaker",
                                json_string(gv_breaker_state_name(
                                    gv_breakers_state(shared->breakers, worker->index))));
            json_object_set_new(json, "capacity_tokens", number(worker->capacity_tokens));
            json_object_set_new(json, "capacity_blocks",
                                number(gv_forest_worker_capacity(shared->forest, worker->index)));
            set_belief(json, gv_load_belief(shared->load, worker->index));
            json_t *report = gv_report_json(parts, worker);
            if (report != NULL) {
                json_object_set_new(json, "engine", report);
            }
            json_object_set_new(json, "blocks",
                                number(blocks_of(shared->forest, trees, tree_count, worker)));
        }
        json_array_append_new(workers, json);
    }
    gv_fleet_release(shared->fleet, view);
    gv_mem_free(GV_MEM_GENERAL, trees);
    gv_answer_json(answer, 200,
                   json_pack("{s:s, s:o}", "node", shared->node_name, "workers", workers));
}

static json_t *holders(const struct gv_proxy_shared *shared, const struct gv_fleet_view *view,
                       const char *key)
{
    json_t *json = json_array();
    for (uint32_t i = 0; i < view->count; i++) {
        uint64_t blocks = gv_forest_worker_blocks(shared->forest, key, view->workers[i].index);
        if (blocks > 0) {
            json_array_append_new(json, json_pack("{s:s, s:I}", "worker", view->workers[i].url,
                                                  "blocks", (json_int_t)blocks));
        }
    }
    return json;
}

void gv_show_trees(const struct gv_admin_parts *parts, const struct gv_request *request,
                   struct gv_answer *answer)
{
    (void)request;
    const struct gv_proxy_shared *shared = parts->shared;
    struct gv_forest_tree *trees = gv_mem_new(GV_MEM_GENERAL, TREES_MAX * sizeof *trees);
    if (trees == NULL) {
        gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "out of memory");
        return;
    }
    uint32_t count = gv_forest_trees(shared->forest, trees, TREES_MAX);
    const struct gv_fleet_view *view = gv_fleet_acquire(shared->fleet);
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I, s:o}", "key", trees[i].key,
                                              "blocks", (json_int_t)trees[i].blocks, "entries",
                                              (json_int_t)trees[i].entries, "bytes",
                                              (json_int_t)trees[i].bytes, "workers",
                                              holders(shared, view, trees[i].key)));
    }
    gv_fleet_release(shared->fleet, view);
    gv_mem_free(GV_MEM_GENERAL, trees);
    json_t *json = json_pack("{s:s, s:o}", "node", shared->node_name, "trees", list);
    if (json != NULL) {
        json_object_set_new(json, "block_bytes", number(shared->config->block_bytes));
        json_object_set_new(json, "forest", forest_json(shared->forest));
    }
    gv_answer_json(answer, 200, json);
}

void gv_show_digest(const struct gv_admin_parts *parts, const struct gv_request *request,
                    struct gv_answer *answer)
{
    struct gv_cluster_view view;
    if (gv_cluster_view_get(parts->cluster, &view) != GV_OK) {
        gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "out of memory");
        return;
    }
    json_t *json = json_pack("{s:s, s:o}", "node", view.node, "digest", hex(view.digest));
    gv_cluster_view_deinit(&view);
    char deep[8];
    if (json != NULL && gv_request_parameter(request, "deep", deep, sizeof deep) &&
        strcmp(deep, "1") == 0) {
        uint8_t digest[16];
        if (gv_cluster_deep_digest(parts->cluster, digest) != GV_OK) {
            json_decref(json);
            gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "out of memory");
            return;
        }
        json_object_set_new(json, "deep", hex(digest));
        gv_cluster_compare(parts->cluster); /* who asks wants to know that it is, or gets, equal */
    }
    gv_answer_json(answer, 200, json);
}
