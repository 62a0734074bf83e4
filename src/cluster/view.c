/*
 * view.c - what other threads may see of the cluster, and what they may leave here.
 *
 * The only file of cluster/ with a lock. The mesh thread copies its state in, everybody else copies
 * out. The lock is held for a copy and never across a call into the engine.
 */
#include "grapevine/cluster/view.h"
#include "shell.h"

#include <stdlib.h>
#include <string.h>

enum gv_err gv_view_open(struct gv_cluster *cluster)
{
    struct gv_view *view = &cluster->view;
    gv_mutex_init(&view->lock);
    view->lost_since = UINT32_MAX;
    view->now.boot_id = cluster->boot_id;
    view->now.encrypted = cluster->options.keyring != NULL;
    view->now.enabled = cluster->enabled;
    gv_slice_copy_text(gv_slice_text(cluster->node), view->now.node, sizeof view->now.node);
    gv_slice_copy_text(gv_slice_text(cluster->options.config->cluster_id), view->now.cluster_id,
                       sizeof view->now.cluster_id);
    return GV_OK;
}

void gv_view_free(struct gv_cluster *cluster)
{
    struct gv_view *view = &cluster->view;
    gv_cluster_view_deinit(&view->now);
    gv_mem_free(GV_MEM_GENERAL, view->opinions);
    gv_mutex_deinit(&view->lock);
}

/* ---- the mesh thread copies in -----------------------------------------------------------------
 */

/* Make room for `count` elements, or keep what is there: then the view shows fewer. */
static void *grow(void *old, uint32_t *room, uint32_t count, size_t size)
{
    if (count <= *room) {
        return old;
    }
    uint32_t wanted = count + count / 2 + 8;
    void *grown = gv_mem_resize(GV_MEM_GENERAL, old, wanted * size);
    if (grown == NULL) {
        return old;
    }
    *room = wanted;
    return grown;
}

static void copy_members(struct gv_cluster *cluster, struct gv_cluster_view *now)
{
    struct gv_view *view = &cluster->view;
    uint32_t count = gv_gossip_members(cluster->gossip, now->members, view->member_room);
    if (count >= view->member_room) { /* maybe there are more */
        now->members = grow(now->members, &view->member_room, count + 64, sizeof now->members[0]);
        count = gv_gossip_members(cluster->gossip, now->members, view->member_room);
    }
    now->member_count = count < view->member_room ? count : view->member_room;
    memset(now->status_count, 0, sizeof now->status_count);
    for (uint32_t i = 0; i < now->member_count; i++) {
        if (now->members[i].status < GV_MEMBER_STATUS_COUNT) {
            now->status_count[now->members[i].status] += 1;
        }
        if (strcmp(now->members[i].name, cluster->node) == 0) {
            now->incarnation = now->members[i].incarnation;
        }
    }
}

static int by_peer(const void *a, const void *b)
{
    const struct gv_cluster_session *left = a;
    const struct gv_cluster_session *right = b;
    return strcmp(left->peer, right->peer);
}

static void copy_sessions(struct gv_cluster *cluster, struct gv_cluster_view *now)
{
    struct gv_view *view = &cluster->view;
    if (cluster->links == NULL) {
        return;
    }
    uint32_t count = gv_links_describe(cluster->links, now->sessions, view->session_room);
    if (count > view->session_room) {
        now->sessions = grow(now->sessions, &view->session_room, count, sizeof now->sessions[0]);
        count = gv_links_describe(cluster->links, now->sessions, view->session_room);
    }
    now->session_count = count < view->session_room ? count : view->session_room;
    if (now->session_count > 1) {
        qsort(now->sessions, now->session_count, sizeof now->sessions[0], by_peer);
    }
}

static void copy_opinions(struct gv_cluster *cluster)
{
    struct gv_view *view = &cluster->view;
    struct gv_hearsay *hearsay = &cluster->hearsay;
    if (!hearsay->opinions_moved) {
        return;
    }
    hearsay->opinions_moved = false;
    view->opinions = grow(view->opinions, &view->opinion_room, (uint32_t)hearsay->opinions.count,
                          sizeof view->opinions[0]);
    view->opinion_count = 0;
    struct gv_slice key;
    void *value;
    for (size_t at = 0; gv_map_next(&hearsay->opinions, &at, &key, &value);) {
        if (view->opinion_count < view->opinion_room) {
            view->opinions[view->opinion_count++] = *(const struct gv_cluster_opinion *)value;
        }
    }
}

void gv_view_refresh(struct gv_cluster *cluster)
{
    struct gv_view *view = &cluster->view;
    struct gv_cluster_view *now = &view->now;
    cluster->dirty = false;
    gv_mutex_lock(&view->lock);
    cluster->counters.publish_dropped = view->dropped;
    copy_members(cluster, now);
    copy_sessions(cluster, now);
    copy_opinions(cluster);
    if (cluster->absorb.settings_moved) {
        cluster->absorb.settings_moved = false;
        view->setting_count = gv_gossip_settings(cluster->gossip, view->settings);
    }
    gv_gossip_digest(cluster->gossip, now->digest);
    now->gossip = *gv_gossip_counters(cluster->gossip);
    now->cluster = cluster->counters;
    memcpy(now->alarms, cluster->alarms.on, sizeof now->alarms);
    now->clock_is_right =
        now->status_count[GV_MEMBER_ALIVE] <= 1 || gv_gossip_clock_is_right(cluster->gossip);
    now->bound = cluster->bound;
    now->advertised = cluster->advertised;
    now->enabled = cluster->enabled;
    now->synced = cluster->synced;
    now->ready = cluster->ready;
    now->leaving = cluster->leaving;
    now->taken_at_ms = gv_clock_wall_ms();
    gv_mutex_unlock(&view->lock);
}

/* ---- any thread copies out ---------------------------------------------------------------------
 */

static enum gv_err copy_array(void **to, const void *from, size_t count, size_t size)
{
    *to = NULL;
    if (count == 0) {
        return GV_OK;
    }
    *to = gv_mem_new(GV_MEM_GENERAL, count * size);
    if (*to == NULL) {
        return GV_ENOMEM;
    }
    memcpy(*to, from, count * size);
    return GV_OK;
}

enum gv_err gv_cluster_view_get(struct gv_cluster *cluster, struct gv_cluster_view *view)
{
    struct gv_view *from = &cluster->view;
    void *members = NULL;
    void *sessions = NULL;
    gv_mutex_lock(&from->lock);
    enum gv_err err = copy_array(&members, from->now.members, from->now.member_count,
                                 sizeof from->now.members[0]);
    if (err == GV_OK) {
        err = copy_array(&sessions, from->now.sessions, from->now.session_count,
                         sizeof from->now.sessions[0]);
    }
    if (err == GV_OK) {
        *view = from->now;
        view->members = members;
        view->sessions = sessions;
    }
    gv_mutex_unlock(&from->lock);
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_GENERAL, members);
        gv_mem_free(GV_MEM_GENERAL, sessions);
    }
    return err;
}

void gv_cluster_view_deinit(struct gv_cluster_view *view)
{
    gv_mem_free(GV_MEM_GENERAL, view->members);
    gv_mem_free(GV_MEM_GENERAL, view->sessions);
    view->members = NULL;
    view->sessions = NULL;
    view->member_count = 0;
    view->session_count = 0;
}

bool gv_cluster_is_synced(struct gv_cluster *cluster)
{
    gv_mutex_lock(&cluster->view.lock);
    bool synced = cluster->view.now.synced;
    gv_mutex_unlock(&cluster->view.lock);
    return synced;
}

uint32_t gv_cluster_opinions(struct gv_cluster *cluster, struct gv_cluster_opinion *opinions,
                             uint32_t room)
{
    struct gv_view *view = &cluster->view;
    gv_mutex_lock(&view->lock);
    uint32_t count = view->opinion_count;
    uint32_t copied = count < room ? count : room;
    if (copied > 0) {
        memcpy(opinions, view->opinions, copied * sizeof opinions[0]);
    }
    gv_mutex_unlock(&view->lock);
    return count;
}

uint32_t gv_cluster_settings(struct gv_cluster *cluster,
                             struct gv_gossip_setting settings[GV_SETTINGS_MAX])
{
    struct gv_view *view = &cluster->view;
    gv_mutex_lock(&view->lock);
    uint32_t count = view->setting_count;
    memcpy(settings, view->settings, count * sizeof settings[0]);
    gv_mutex_unlock(&view->lock);
    return count;
}

/* ---- any thread leaves something here ----------------------------------------------------------
 */

bool gv_view_admit(struct gv_cluster *cluster, size_t bytes)
{
    struct gv_view *view = &cluster->view;
    gv_mutex_lock(&view->lock);
    bool fits = bytes <= GV_SHELL_WAITING_BYTES - view->waiting_bytes;
    if (fits) {
        view->waiting_bytes += bytes;
    }
    gv_mutex_unlock(&view->lock);
    return fits;
}

void gv_view_release(struct gv_cluster *cluster, size_t bytes)
{
    gv_mutex_lock(&cluster->view.lock);
    GV_ASSERT(cluster->view.waiting_bytes >= bytes);
    cluster->view.waiting_bytes -= bytes;
    gv_mutex_unlock(&cluster->view.lock);
}

void gv_view_lose(struct gv_cluster *cluster, uint32_t stamp)
{
    struct gv_view *view = &cluster->view;
    gv_mutex_lock(&view->lock);
    view->dropped += 1;
    if (stamp < view->lost_since) {
        view->lost_since = stamp;
    }
    gv_mutex_unlock(&view->lock);
}

bool gv_view_take_lost(struct gv_cluster *cluster, uint32_t *since)
{
    struct gv_view *view = &cluster->view;
    gv_mutex_lock(&view->lock);
    /* Telling again into a full inbox would lose again: wait until it is half empty. */
    bool lost = view->lost_since != UINT32_MAX && view->waiting_bytes < GV_SHELL_WAITING_BYTES / 2;
    if (lost) {
        *since = view->lost_since;
        view->lost_since = UINT32_MAX;
    }
    gv_mutex_unlock(&view->lock);
    return lost;
}

void gv_view_want_ready(struct gv_cluster *cluster, bool ready)
{
    gv_mutex_lock(&cluster->view.lock);
    cluster->view.ready_wanted = ready;
    gv_mutex_unlock(&cluster->view.lock);
}

void gv_view_want_leave(struct gv_cluster *cluster, void (*on_left)(void *owner), void *owner)
{
    gv_mutex_lock(&cluster->view.lock);
    cluster->view.leave_wanted = true;
    cluster->view.on_left = on_left;
    cluster->view.on_left_owner = owner;
    gv_mutex_unlock(&cluster->view.lock);
}

void gv_view_wishes(struct gv_cluster *cluster, struct gv_view_wish *wish)
{
    struct gv_view *view = &cluster->view;
    gv_mutex_lock(&view->lock);
    *wish = (struct gv_view_wish){.ready = view->ready_wanted,
                                  .leave = view->leave_wanted,
                                  .on_left = view->on_left,
                                  .on_left_owner = view->on_left_owner};
    gv_mutex_unlock(&view->lock);
}
