/*
 * alarm.c - what an operator must look at: every drop, refusal and failure of the mesh as a state
 * that is on or off.
 *
 * Most alarms watch counters: on for a minute after the last time that one has grown. Those about
 * clocks watch the members. Going on is a warning in the log, going off a line too; between them
 * the metric gv_mesh_alarm and the status of the node tell. Mesh thread.
 */
#include "grapevine/base/metric.h"
#include "shell.h"

#define ALARM_STAYS_MS 60000 /* after the counter has grown last */

static const struct gv_metric_family family = {
    .name = "gv_mesh_alarm",
    .help = "1 while there is something to look at; vinectl status says what",
    .labels = {"alarm"},
    .type = GV_METRIC_GAUGE};

static const char *const names[GV_ALARM_COUNT] = {
#define ALARM_NAME(id, name, text) [GV_ALARM_##id] = name,
    GV_ALARM_LIST(ALARM_NAME)
#undef ALARM_NAME
};

static const char *const meanings[GV_ALARM_COUNT] = {
#define ALARM_TEXT(id, name, text) [GV_ALARM_##id] = text,
    GV_ALARM_LIST(ALARM_TEXT)
#undef ALARM_TEXT
};

const char *gv_alarm_name(enum gv_alarm alarm)
{
    return names[alarm];
}

const char *gv_alarm_text(enum gv_alarm alarm)
{
    return meanings[alarm];
}

enum gv_err gv_alarms_open(void)
{
    return gv_metric_register(&family);
}

/* What each counting alarm watches. */
static uint64_t watched(const struct gv_cluster *cluster, enum gv_alarm alarm)
{
    const struct gv_gossip_counters *gossip = gv_gossip_counters(cluster->gossip);
    const struct gv_cluster_counters *shell = &cluster->counters;
    switch (alarm) {
    case GV_ALARM_CLOCKS_DIFFER:
    case GV_ALARM_OPERATIONS_MISSING:
    case GV_ALARM_COUNT:
        return 0;
    case GV_ALARM_QUEUE_OVERFLOWED:
        return gossip->queue_overflows + shell->publish_dropped;
    case GV_ALARM_LIMIT_REACHED:
        return shell->apply_refused + shell->loads_dropped + shell->numbers_beyond +
               gossip->records_refused;
    case GV_ALARM_RECORDS_FORGED:
        return gossip->forged;
    case GV_ALARM_NONSENSE_RECEIVED:
        return gossip->malformed + shell->frames_broken;
    case GV_ALARM_PEERS_REFUSED:
        return shell->refused_cluster + shell->refused_block + shell->refused_protocol +
               shell->refused_key + shell->refused_handshake;
    case GV_ALARM_DATAGRAMS_DROPPED:
        return shell->packets_unsealed + shell->packets_replayed + shell->packets_unsent;
    case GV_ALARM_STATE_UNWRITTEN:
        return shell->state_failed;
    }
    return 0;
}

static void note_clocks(const struct gv_cluster *cluster, bool on[GV_ALARM_COUNT])
{
    const struct gv_cluster_view *now = &cluster->view.now; /* written on this thread only */
    for (uint32_t i = 0; i < now->member_count; i++) {
        const struct gv_member *member = &now->members[i];
        on[GV_ALARM_CLOCKS_DIFFER] = on[GV_ALARM_CLOCKS_DIFFER] || gv_member_clock_is_off(member);
        on[GV_ALARM_OPERATIONS_MISSING] = on[GV_ALARM_OPERATIONS_MISSING] || member->refused > 0;
    }
}

static void turn(struct gv_cluster *cluster, enum gv_alarm alarm, bool on)
{
    struct gv_alarms *alarms = &cluster->alarms;
    const char *labels[] = {names[alarm]};
    gv_metric_set(gv_metric_get(&family, labels), on ? 1 : 0);
    if (alarms->on[alarm] == on) {
        return;
    }
    alarms->on[alarm] = on;
    cluster->dirty = true;
    if (on) {
        gv_log(GV_LOG_WARN, "mesh.alarm", GV_STR("alarm", names[alarm]),
               GV_STR("meaning", meanings[alarm]));
    } else {
        gv_log(GV_LOG_INFO, "mesh.alarm_over", GV_STR("alarm", names[alarm]));
    }
}

void gv_alarms_refresh(struct gv_cluster *cluster)
{
    struct gv_alarms *alarms = &cluster->alarms;
    uint64_t now_ms = gv_shell_now().now_ms;
    bool on[GV_ALARM_COUNT] = {false};
    note_clocks(cluster, on);
    for (unsigned i = 0; i < GV_ALARM_COUNT; i++) {
        uint64_t count = watched(cluster, (enum gv_alarm)i);
        if (count > alarms->counted[i]) {
            alarms->counted[i] = count;
            alarms->grown_at_ms[i] = now_ms;
        }
        on[i] = on[i] ||
                (alarms->grown_at_ms[i] != 0 && now_ms - alarms->grown_at_ms[i] < ALARM_STAYS_MS);
        turn(cluster, (enum gv_alarm)i, on[i]);
    }
}
