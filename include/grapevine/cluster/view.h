/*
 * view.h - what the cluster looks like from here, for people: a copy that any thread may take.
 *
 * Refreshed on the mesh thread when something changed (at most every 10 ms) and every 100 ms.
 */
#ifndef GV_CLUSTER_VIEW_H
#define GV_CLUSTER_VIEW_H

#include "grapevine/cluster/cluster.h"
#include "grapevine/gossip/engine.h"

/* X(name, "what it counts"): the shell's own counters since the start. */
#define GV_CLUSTER_COUNTER_LIST(X)                                                                 \
    X(sessions_opened, "sessions opened and authenticated")                                        \
    X(sessions_closed, "sessions that ended")                                                      \
    X(refused_cluster, "peers refused: another cluster id")                                        \
    X(refused_block, "peers refused: another block size")                                          \
    X(refused_protocol, "peers refused: no common protocol version")                               \
    X(refused_key, "peers refused: another key, or none")                                          \
    X(refused_handshake, "peers refused: a handshake that made no sense or took too long")         \
    X(packets_unsealed, "datagrams dropped: not from a member, forged or damaged")                 \
    X(packets_replayed, "datagrams dropped: seen before")                                          \
    X(packets_unsent, "datagrams the socket had no room for")                                      \
    X(frames_broken, "sessions ended by a message that made no sense")                             \
    X(publish_dropped, "operations that found no room and are told again from the tries")          \
    X(apply_refused, "operations of other nodes that a limit of this node refused")                \
    X(loads_dropped, "loads of other nodes that found no room")                                    \
    X(numbers_beyond, "numbers of worker records that no operator may set, taken as not said")     \
    X(state_failed, "writes of the state directory that failed")

struct gv_cluster_counters {
#define GV_CLUSTER_COUNTER_FIELD(name, text) uint64_t name;
    GV_CLUSTER_COUNTER_LIST(GV_CLUSTER_COUNTER_FIELD)
#undef GV_CLUSTER_COUNTER_FIELD
};

/* X(id, name, what it means): what an operator must look at. */
#define GV_ALARM_LIST(X)                                                                           \
    X(CLOCKS_DIFFER, "clocks_differ", "the clock of a member is off by half a minute or more")     \
    X(OPERATIONS_MISSING, "operations_missing",                                                    \
      "operations stamped by a wrong clock were refused and not made up for yet")                  \
    X(QUEUE_OVERFLOWED, "queue_overflowed", "operations found no room in the last minute")         \
    X(LIMIT_REACHED, "limit_reached",                                                              \
      "something that others told passed a limit of this node in the last minute")                 \
    X(RECORDS_FORGED, "records_forged", "records were refused as forged in the last minute")       \
    X(NONSENSE_RECEIVED, "nonsense_received", "a message made no sense in the last minute")        \
    X(PEERS_REFUSED, "peers_refused", "a peer was refused in the last minute; the log says why")   \
    X(DATAGRAMS_DROPPED, "datagrams_dropped",                                                      \
      "datagrams that prove nothing, came twice or could not be sent were dropped in the last "    \
      "minute")                                                                                    \
    X(STATE_UNWRITTEN, "state_unwritten", "the state directory could not be written lately")

enum gv_alarm {
#define GV_ALARM_ID(id, name, text) GV_ALARM_##id,
    GV_ALARM_LIST(GV_ALARM_ID)
#undef GV_ALARM_ID
    GV_ALARM_COUNT
};
const char *gv_alarm_name(enum gv_alarm alarm);
const char *gv_alarm_text(enum gv_alarm alarm);

/** Is the clock of a member so far from ours that its operations are, or soon will be, refused? */
#define GV_CLOCK_OFF_MS 30000
bool gv_member_clock_is_off(const struct gv_member *member);

/* A TCP session as it is now. */
struct gv_cluster_session {
    char peer[GV_NODE_NAME_MAX];
    struct gv_addr addr; /* the peer's end */
    bool outgoing;       /* we connected */
    bool encrypted;
    uint64_t queued_bytes; /* not yet taken by the kernel */
    uint64_t age_ms;
};

struct gv_cluster_view {
    char node[GV_NODE_NAME_MAX];
    char cluster_id[GV_CLUSTER_ID_MAX];
    uint64_t boot_id;
    uint64_t incarnation;
    struct gv_addr bound;      /* unset: the mesh is not enabled */
    struct gv_addr advertised; /* what the others are told */
    bool enabled;              /* the mesh has a socket */
    bool encrypted;            /* there are keys */
    bool synced;               /* its state equalled a donor's, or it was alone long enough */
    bool ready;                /* says of itself that it takes requests */
    bool leaving;
    uint8_t digest[16]; /* equal on nodes that applied the same, see gv_gossip_digest() */
    bool alarms[GV_ALARM_COUNT];
    bool clock_is_right;  /* it agrees with half of the peers or more, or there are none */
    uint64_t taken_at_ms; /* wall clock */
    struct gv_gossip_counters gossip;
    struct gv_cluster_counters cluster;
    uint32_t status_count[GV_MEMBER_STATUS_COUNT]; /* members by status, with this node */
    struct gv_member *members;                     /* owned; sorted by name, with this node */
    uint32_t member_count;
    struct gv_cluster_session *sessions; /* owned; sorted by peer */
    uint32_t session_count;
};

/**
 * Copy the current view; give it back with gv_cluster_view_deinit(). Any thread.
 * Errors: GV_ENOMEM; then `view` needs no deinit.
 */
GV_MUST_USE enum gv_err gv_cluster_view_get(struct gv_cluster *cluster,
                                            struct gv_cluster_view *view);
void gv_cluster_view_deinit(struct gv_cluster_view *view);

/** Is the state in step with the others? Cheap; any thread. */
bool gv_cluster_is_synced(struct gv_cluster *cluster);

/** The settings of the cluster as this node knows them; returns how many. Any thread. */
uint32_t gv_cluster_settings(struct gv_cluster *cluster,
                             struct gv_gossip_setting settings[GV_SETTINGS_MAX]);

/* What a node says of a worker. */
struct gv_cluster_opinion {
    char node[GV_NODE_NAME_MAX];
    char worker[GV_WORKER_URL_MAX];
    enum gv_worker_state state;
    uint64_t since_ms; /* wall clock */
    char reason[96];
};

/**
 * What other nodes say of the workers now: up to `room`; returns how many there are, which may be
 * more. Any thread.
 */
uint32_t gv_cluster_opinions(struct gv_cluster *cluster, struct gv_cluster_opinion *opinions,
                             uint32_t room);

/**
 * 16 bytes that are equal on two nodes exactly when their live tries are. Walks all tries: use it
 * when asked, not on a timer. Any thread. Errors: GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_cluster_deep_digest(struct gv_cluster *cluster, uint8_t digest[16]);

#endif
