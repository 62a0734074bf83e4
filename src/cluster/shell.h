/*
 * shell.h - what the files of cluster/ share: the cluster as they all see it.
 *
 * One struct per noun, each owned by the file of its name:
 *
 *     cluster.c  the engine, its timer and its effects; opens and closes the rest
 *     publish.c  from any thread to the engine: inbox, own loads, floors of the sweep, telling
 *                again
 *     absorb.c   from the engine to fleet and forest: the store
 *     hearsay.c  what other nodes say of workers: loads, opinions
 *     links.c    TCP sessions: all of them; link.c has one, judgement.c who may come in, backoff.c
 *                who is not to be dialed for a while
 *     packets.c  UDP packets
 *     seeds.c    where to look for others
 *     state.c    what survives a restart
 *     view.c     what may be seen from outside, and its lock
 *     keys.c     the key ring and its changes
 *     gauge.c    metrics
 *     alarm.c    which of them somebody must look at
 *
 * Private to cluster/. Everything on the mesh thread, except where it says any thread.
 */
#ifndef GV_CLUSTER_SHELL_H
#define GV_CLUSTER_SHELL_H

#include "grapevine/base/list.h"
#include "grapevine/base/lock.h"
#include "grapevine/base/log.h"
#include "grapevine/base/map.h"
#include "grapevine/cluster/cluster.h"
#include "grapevine/cluster/view.h"
#include "grapevine/gossip/engine.h"
#include "grapevine/net/datagram.h"
#include "grapevine/net/inbox.h"
#include "grapevine/net/listener.h"
#include "grapevine/net/resolve.h"
#include "grapevine/net/timer.h"

#define GV_SHELL_INBOX_MAX     65536 /* messages that wait for the mesh thread */
#define GV_SHELL_WAITING_BYTES ((size_t)64 * 1024 * 1024) /* and their bytes */
#define GV_SHELL_RUN_MAX       2048   /* fingerprints of one operation on the wire */
#define GV_SHELL_REMOTE_MAX    262144 /* (node, worker) pairs of loads, and of opinions */
#define GV_SHELL_LOAD_MS       25     /* own loads are compared with what was told */
#define GV_SHELL_LOAD_BUSY_MS  5      /* while this node has requests in flight */
#define GV_SHELL_ROUND_MS      10     /* in a rush: letters and loads are looked at this often */
#define GV_SHELL_RUSH          2      /* so many letters since the last look are a rush */
#define GV_SHELL_CAPACITY_MS   1000   /* what a token is, is looked at */
#define GV_SHELL_SWEEP_MS      50     /* a slice of the forest's housekeeping */
#define GV_SHELL_VIEW_LEAST_MS 10
#define GV_SHELL_VIEW_MS       100
#define GV_SHELL_SWEEP_FLOORS  16 /* floors of one slice */
#define GV_SHELL_RESTATE_RUNS  64 /* operations told again in one slice */
#define GV_SHELL_LOG_SLOTS     64 /* (event, peer) pairs remembered for quiet logs */
#define GV_SHELL_LOG_QUIET_MS  60000
#define GV_SHELL_LOG_STRANGERS 60  /* lines in as long, about peers that are not proven */
#define GV_SHELL_LEAVE_MS      500 /* the longest goodbye */
#define GV_SHELL_LEAVE_STEP_MS 5   /* how often it is asked whether everything is sent */

struct gv_links;
struct gv_packets;
struct gv_identity;
struct gv_keyring;
struct gv_keys;
struct gv_seeds;
struct gv_state;

/* ---- view.c: the only part that other threads may look at --------------------------------------
 */

struct gv_view {
    struct gv_mutex lock;                /* guards everything here */
    struct gv_cluster_view now;          /* members and sessions owned */
    struct gv_cluster_opinion *opinions; /* owned */
    uint32_t opinion_count, opinion_room;
    struct gv_gossip_setting settings[GV_SETTINGS_MAX];
    uint32_t setting_count;
    uint32_t member_room, session_room;
    size_t waiting_bytes; /* posted to the mesh thread and not yet worked off */
    uint64_t dropped;     /* operations that found no room */
    uint32_t lost_since;  /* lowest stamp among them; UINT32_MAX: nothing lost */
    bool ready_wanted;    /* what gv_cluster_set_ready() said last */
    bool leave_wanted;
    void (*on_left)(void *owner);
    void *on_left_owner;
};

/* ---- absorb.c ----------------------------------------------------------------------------------
 */

struct gv_absorb {
    struct gv_map records;         /* url -> what is known of its record here; owned */
    bool settings_moved;           /* since the view last took them */
    bool has_unsaid;               /* some worker is gone, see gv_absorb_unsay() */
    uint64_t scratch[1024];        /* fingerprints of snapshot_next */
    char url[GV_WORKER_URL_MAX];   /* of snapshot_next */
    struct gv_operation operation; /* of snapshot_next */
};

/* ---- hearsay.c ---------------------------------------------------------------------------------
 */

struct gv_hearsay {
    struct gv_map loads;             /* "node\nurl" -> what the node says; owned */
    struct gv_map opinions;          /* "node\nurl" -> struct gv_cluster_opinion; owned */
    uint32_t *count;                 /* owned; loads of the other nodes summed, by worker index */
    uint64_t *bytes;                 /* owned */
    struct gv_load_prompts *prompts; /* owned; the same of prompts that engines counted */
    bool opinions_moved;             /* since the view last took them */
};

GV_MUST_USE enum gv_err gv_hearsay_open(struct gv_cluster *cluster);
void gv_hearsay_free(struct gv_cluster *cluster);
/** For the engine's store: `node` says this of one of its workers. `owner` is the cluster. */
void gv_hearsay_load(void *owner, const char *node, const struct gv_gossip_load *from);
void gv_hearsay_health(void *owner, const char *node, const struct gv_gossip_health *from);
/** The node is gone: so is what it said. */
void gv_hearsay_vanish(struct gv_cluster *cluster, const char *node);
/** The worker is gone: so is what anybody thinks of it. */
void gv_hearsay_forget(struct gv_cluster *cluster, struct gv_slice url);
/** How much of its capacity `node` says this worker is to be trusted with; 0: it does not say. */
uint32_t gv_hearsay_trust(const struct gv_cluster *cluster, const char *node, const char *url);

/* ---- demands.c ---------------------------------------------------------------------------------
 */

struct gv_demands {
    struct gv_map heard; /* "node\ntenant" -> what the node says; owned */
    uint64_t *sums;      /* owned; of all other nodes, by the quota's tenant; NULL without quota */
};

/** Is the record one of a tenant's demand? Then it is taken. */
bool gv_demands_hear(struct gv_cluster *cluster, const char *node,
                     const struct gv_gossip_load *load);
/** Tell this node's demand, and the quota that of the others. */
void gv_demands_exchange(struct gv_cluster *cluster);
GV_MUST_USE enum gv_err gv_demands_open(struct gv_cluster *cluster);
void gv_demands_free(struct gv_cluster *cluster);

/* ---- publish.c ---------------------------------------------------------------------------------
 */

struct gv_shell_told {
    uint32_t count;
    uint64_t bytes;
    uint64_t report_ms; /* the report's at_ms */
    uint32_t trust;     /* permille; 0: not said */
};

struct gv_publish {
    struct gv_inbox *inbox;
    struct gv_timer *load_timer;
    struct gv_timer *sweep_timer;
    struct gv_shell_told *told; /* owned; last given to the engine, by worker index */
    uint64_t loads_told_at_ms;  /* when they were compared last */
    uint32_t letter_count;      /* letters opened since then */
    bool is_busy;               /* then requests of this node were in flight */
    bool in_round;              /* letters are being opened, and settled together */
    uint32_t url_count;         /* worker indexes given so far */
    uint64_t fleet_version;     /* for which capacities were set */
    uint64_t capacities_at_ms;  /* when they were set */
    struct gv_trust *trusts;    /* owned; by worker index; see capacity.c */
    bool decides_trust;         /* this node does, for the cluster */
    bool restating;
    uint32_t restate_since;
    struct gv_forest_cursor restate;
};

/* ---- capacity.c --------------------------------------------------------------------------------
 */

/** Set every worker's share of a trie, when the fleet or what a token is has changed, and what is
 * believed of its engine; called often. */
void gv_capacity_set(struct gv_cluster *cluster);
GV_MUST_USE enum gv_err gv_capacity_open(struct gv_cluster *cluster);
void gv_capacity_free(struct gv_cluster *cluster);

/* ---- the cluster -------------------------------------------------------------------------------
 */

struct gv_shell_quiet {
    uint64_t hash;
    uint64_t at_ms;
};

/* ---- alarm.c ---- */
struct gv_alarms {
    uint64_t counted[GV_ALARM_COUNT];
    uint64_t grown_at_ms[GV_ALARM_COUNT]; /* 0: never */
    bool on[GV_ALARM_COUNT];
};

struct gv_cluster {
    struct gv_cluster_options options; /* node and http_url point into the next two */
    char node[GV_NODE_NAME_MAX];
    char http_url[128];
    struct gv_loop *loop;         /* borrowed */
    struct gv_gossip_store store; /* the engine keeps a pointer to it */
    struct gv_gossip *gossip;     /* owned */
    struct gv_timer *wake;
    struct gv_timer *view_timer;
    struct gv_timer *leave_timer; /* NULL unless leaving */
    struct gv_links *links;       /* owned, see links.c; NULL without a mesh */
    struct gv_packets *packets;   /* owned, see packets.c; NULL without a mesh */
    struct gv_keys *keys;         /* owned, see keys.c */
    struct gv_identity *identity; /* owned; NULL without a mesh */
    struct gv_seeds *seeds;       /* owned, see seeds.c */
    struct gv_state *state;       /* owned, see state.c */
    struct gv_view view;
    struct gv_absorb absorb;
    struct gv_hearsay hearsay;
    struct gv_demands demands;
    struct gv_publish publish;
    struct gv_cluster_counters counters;
    struct gv_alarms alarms;
    struct gv_shell_quiet quiet[GV_SHELL_LOG_SLOTS];
    uint64_t strangers_since_ms; /* of the lines counted next */
    uint32_t stranger_lines;
    struct gv_addr bound;
    struct gv_addr advertised;
    uint64_t boot_id;
    uint64_t incarnation;
    uint64_t viewed_at_ms;      /* when the view was last made true */
    uint64_t viewed_operations; /* published and applied by then */
    uint64_t clocks_at_ms;      /* when clocks were looked at last */
    uint64_t wake_at_ms;        /* for which the timer is armed; 0: not armed */
    bool enabled;
    bool synced;
    bool ready;
    bool leaving;
    bool closing;
    bool dirty; /* the view is out of date */
    bool draining_effects;
    uint64_t leave_until_ms;
    void (*on_left)(void *owner);
    void *on_left_owner;
};

/** Now, for the engine: fresh, not as of the start of this turn. */
struct gv_now gv_shell_now(void);

/** Carry out the engine's effects and arm its timer: after every call into the engine. */
void gv_shell_settle(struct gv_cluster *cluster);

/** Do what was wished for: readiness and leaving. */
void gv_shell_wishes(struct gv_cluster *cluster);

/** May `event` be logged about `peer`? At most once a minute for each pair. */
bool gv_shell_may_log(struct gv_cluster *cluster, const char *event, const char *peer);

/* ---- publish.c ---------------------------------------------------------------------------------
 */
GV_MUST_USE enum gv_err gv_publish_open(struct gv_cluster *cluster);
void gv_publish_close(struct gv_cluster *cluster); /* no message comes any more */
void gv_publish_free(struct gv_cluster *cluster);
/** Give an operation of this node to the engine, in runs that fit a message. */
void gv_publish_tell(struct gv_cluster *cluster, const struct gv_operation *operation);

/* ---- absorb.c ----------------------------------------------------------------------------------
 */
void gv_absorb_open(struct gv_cluster *cluster);
void gv_absorb_free(struct gv_cluster *cluster);
/** The store that the engine is given. */
struct gv_gossip_store gv_absorb_store(struct gv_cluster *cluster);
/** Write a worker of this node to the mesh; the fleet gets it on the way. */
void gv_absorb_put(struct gv_cluster *cluster, const struct gv_worker *worker);
void gv_absorb_delete(struct gv_cluster *cluster, const char *url);
/** Was the worker removed, and not added again? */
bool gv_absorb_is_gone(const struct gv_cluster *cluster, struct gv_slice url);
/** Tell the others that this node has no opinion any more of workers that are gone. */
void gv_absorb_unsay(struct gv_cluster *cluster);
/** Set a name for the whole cluster; `value` NULL: unset it. */
void gv_absorb_set(struct gv_cluster *cluster, const char *name, const char *value);

/* ---- links.c -----------------------------------------------------------------------------------
 */
/** Listen for sessions on `addr`. Errors: as gv_listener_open(). */
GV_MUST_USE enum gv_err gv_links_open(struct gv_cluster *cluster, struct gv_addr addr,
                                      struct gv_links **links);
struct gv_addr gv_links_addr(const struct gv_links *links);
/** Carry out one effect: SEND, CONNECT or CLOSE. */
void gv_links_carry(struct gv_links *links, const struct gv_effect *effect);
/** Flush; tell the engine of connects that failed and of queues that moved; true when it did. */
bool gv_links_report(struct gv_links *links);
/** Close sessions that take too long to prove themselves. */
void gv_links_expire(struct gv_links *links);
/** Close the sessions whose key left the ring; the engine opens others. */
void gv_links_rekey(struct gv_links *links);
/** What datagrams are to be sealed under; zeros: the active key. */
struct gv_key_id gv_links_packet_key(const struct gv_links *links);
/** Bytes that the kernel has not taken yet, over all sessions. */
size_t gv_links_queued(const struct gv_links *links);
/** Describe up to `room` sessions; returns how many there are. */
uint32_t gv_links_describe(const struct gv_links *links, struct gv_cluster_session *sessions,
                           uint32_t room);
/** Close all; `links` is freed when the last session's end has come. NULL is fine. */
void gv_links_close(struct gv_links *links);

/* ---- packets.c ---------------------------------------------------------------------------------
 */
/** Bind UDP to `addr`. Errors: as gv_datagram_open(). */
GV_MUST_USE enum gv_err gv_packets_open(struct gv_cluster *cluster, struct gv_addr addr,
                                        struct gv_packets **packets);
/** Carry out one effect: PACKET. */
void gv_packets_carry(struct gv_packets *packets, const struct gv_effect *effect);
/** This boot of this node has proven itself to us, or to a member that told us of it. */
void gv_packets_believe(struct gv_packets *packets, const char *node, uint64_t boot_id);
void gv_packets_close(struct gv_packets *packets); /* NULL is fine */

/* ---- keys.c ------------------------------------------------------------------------------------
 */
GV_MUST_USE enum gv_err gv_keys_open(struct gv_cluster *cluster);
/** The ring that sessions and packets use now; NULL without keys. Borrowed until closed. */
const struct gv_keyring *gv_keys_live(const struct gv_cluster *cluster);
/** Use what any thread has changed meanwhile. */
void gv_keys_follow(struct gv_cluster *cluster);
void gv_keys_close(struct gv_cluster *cluster);

/* ---- seeds.c -----------------------------------------------------------------------------------
 */
GV_MUST_USE enum gv_err gv_seeds_open(struct gv_cluster *cluster);
void gv_seeds_close(struct gv_seeds *seeds); /* NULL is fine */

struct gv_seed_name {
    char host[256]; /* name or numeric address, or "srv:..." */
    uint16_t port;
    bool is_numeric;
    struct gv_addr addr; /* when numeric */
};
/** Read one seed. Errors: GV_EINVAL. Pure. */
GV_MUST_USE enum gv_err gv_seed_parse(struct gv_slice text, uint16_t default_port,
                                      struct gv_seed_name *seed);
/** How long until a name is looked up again, given its TTL. Pure. */
uint64_t gv_seed_wait_ms(enum gv_err err, uint32_t ttl_s);

/* ---- state.c -----------------------------------------------------------------------------------
 */
/** Read what was kept; without a state directory everything is empty. Errors: GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_state_open(struct gv_cluster *cluster);
/** The incarnation to start with: above the kept one, and the wall clock. Kept at once. */
uint64_t gv_state_incarnation(struct gv_cluster *cluster, uint64_t wall_ms);
/** Members known at the last write: up to `room` addresses. */
size_t gv_state_members(const struct gv_cluster *cluster, struct gv_addr *addrs, size_t room);
/** Keep what is known now, when it differs and the last write is some seconds old. */
void gv_state_keep(struct gv_cluster *cluster);
void gv_state_close(struct gv_cluster *cluster);

/* ---- view.c ------------------------------------------------------------------------------------
 */
GV_MUST_USE enum gv_err gv_view_open(struct gv_cluster *cluster);
void gv_view_free(struct gv_cluster *cluster);
/** Make the view true again. */
void gv_view_refresh(struct gv_cluster *cluster);
/** Account for a message to the mesh thread; false when too much waits already. Any thread. */
bool gv_view_admit(struct gv_cluster *cluster, size_t bytes);
void gv_view_release(struct gv_cluster *cluster, size_t bytes);
/** An operation with this stamp found no room. Any thread. */
void gv_view_lose(struct gv_cluster *cluster, uint32_t stamp);
/* Wishes that must not be lost, however full the inbox is. Any thread. */
void gv_view_want_ready(struct gv_cluster *cluster, bool ready);
void gv_view_want_leave(struct gv_cluster *cluster, void (*on_left)(void *owner), void *owner);
struct gv_view_wish {
    bool ready;
    bool leave;
    void (*on_left)(void *owner);
    void *on_left_owner;
};
void gv_view_wishes(struct gv_cluster *cluster, struct gv_view_wish *wish);
/** Take the lowest stamp that was lost; false when nothing was. */
bool gv_view_take_lost(struct gv_cluster *cluster, uint32_t *since);

/* ---- alarm.c -----------------------------------------------------------------------------------
 */
GV_MUST_USE enum gv_err gv_alarms_open(void);
/** Look at counters and members; log what went on or off. */
void gv_alarms_refresh(struct gv_cluster *cluster);

/* ---- gauge.c -----------------------------------------------------------------------------------
 */
GV_MUST_USE enum gv_err gv_gauge_open(void);
/** Copy counters and members into the metrics. */
void gv_gauge_refresh(struct gv_cluster *cluster);

#endif
