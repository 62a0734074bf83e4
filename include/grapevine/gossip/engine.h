/*
 * engine.h - one node's share in the mesh, as a pure machine: step(event, now) -> effects.
 *
 * No socket, no clock, no random number, no encryption inside. The shell (cluster/) hands in events
 * and carries out the effects; the simulator (tools/vinesim) does the same for a whole cluster in
 * virtual time. Calls out go through the store that is handed down at init: the node's tries and
 * records.
 *
 * Sessions are reliable, ordered, authenticated byte-message channels (a TCP session in the shell);
 * packets are unreliable (UDP). The engine speaks in encoded protobuf messages (proto/mesh.proto).
 * One thread.
 */
#ifndef GV_GOSSIP_ENGINE_H
#define GV_GOSSIP_ENGINE_H

#include "grapevine/base/addr.h"
#include "grapevine/base/err.h"
#include "grapevine/base/slice.h"

#define GV_NODE_NAME_MAX  64 /* bytes with NUL */
#define GV_CLUSTER_ID_MAX 64
#define GV_GOSSIP_PACKET_MAX                                                                       \
    1200 /* plain bytes of a datagram, before sealing: under 1,400 sealed */
#define GV_GOSSIP_FRAME_MAX (256 * 1024) /* plain bytes of one session message */

#define GV_GOSSIP_IDENTITY_BYTES  32 /* a node's public key */
#define GV_GOSSIP_SIGNATURE_BYTES 64

/* A peer's incarnation may be this far ahead of our wall clock, not further. */
#define GV_INCARNATION_AHEAD_MAX_MS (UINT64_C(24) * 3600 * 1000)

struct gv_gossip;

/* ---- what is gossiped ------------------------------------------------------------------------ */

/* A trie operation as it travels: the worker by URL, the trie by its composite key. */
struct gv_gossip_operation {
    uint8_t kind;           /* 0 insert, 1 touch, 2 remove: as route/operation.h */
    struct gv_slice key;    /* "pool::model" or "*" */
    struct gv_slice worker; /* URL */
    uint32_t stamp;
    uint32_t reason; /* remove */
    uint32_t depth;
    uint64_t parent;
    const uint64_t *fingerprints;
    uint32_t count;
};

/* A share of the live entries: of one key or of all, some of 256 buckets of each. To which bucket a
 * block belongs is the same on every node. */
#define GV_GOSSIP_BUCKETS 256
struct gv_gossip_part {
    struct gv_slice key; /* empty: all keys */
    uint64_t buckets[GV_GOSSIP_BUCKETS / 64];
};

/* A worker's record: last writer wins by (version_ms, origin). */
struct gv_gossip_worker {
    struct gv_slice url;
    bool deleted;
    uint64_t version_ms;    /* hybrid clock, wall milliseconds */
    struct gv_slice origin; /* node that wrote it */
    uint8_t pool;
    int32_t bootstrap_port; /* -1 none */
    int32_t priority;
    double cost;
    uint64_t capacity_tokens;
    struct gv_slice runtime;
    struct gv_slice labels;     /* a JSON object of texts; empty none */
    uint32_t health_timeout_ms; /* these four: 0 as the node is set up */
    uint32_t health_interval_ms;
    uint32_t health_successes;
    uint32_t health_failures;
    uint32_t drain_settle_ms;
    bool unprobed;
    struct gv_slice models[16];
    uint32_t model_count;
};

/* A small named value of the whole cluster: last writer wins by (version_ms, origin). */
#define GV_SETTING_NAME_MAX  64 /* bytes with NUL, as the next */
#define GV_SETTING_VALUE_MAX 256
#define GV_SETTINGS_MAX      64 /* names, those that were unset lately among them */
struct gv_gossip_setting {
    char name[GV_SETTING_NAME_MAX];
    char value[GV_SETTING_VALUE_MAX];
    char origin[GV_NODE_NAME_MAX]; /* node that wrote it */
    uint64_t version_ms;           /* hybrid clock, wall milliseconds */
    bool deleted;                  /* unset: the value is "" */
};

#define GV_GOSSIP_USAGE_UNKNOWN UINT32_MAX

/* What an engine said to the node that asked it. */
struct gv_gossip_report {
    uint64_t at_ms; /* engine time here; 0: that node has not asked */
    uint32_t running, waiting, foreign;
    uint32_t usage_permille; /* GV_GOSSIP_USAGE_UNKNOWN */
    uint64_t used_tokens;
};

/* What that node saw an engine do with prompts; route/load.h. */
struct gv_gossip_learned {
    uint64_t prefill_bytes, prefill_us;
    uint64_t forecasts, predicted, reported;
    uint32_t trust; /* permille; 0: that node does not say. A change is told at once */
};

/* (node, worker): that node's own load there. Vanishes with the node. */
struct gv_gossip_load {
    struct gv_slice worker; /* URL; or another subject of the shell's, below GV_GOSSIP_URL_MAX */
    uint32_t count;         /* requests in flight */
    uint64_t bytes;         /* queued uncached prompt bytes */
    struct gv_gossip_report report;
    uint64_t prompt_bytes;  /* of prompts that the engine has counted lately, and ... */
    uint64_t prompt_tokens; /* ... what it counted */
    struct gv_gossip_learned learned;
};

/* (node, worker): that node's opinion. Vanishes with the node. */
struct gv_gossip_health {
    struct gv_slice worker;
    uint8_t state;     /* enum gv_worker_state of route */
    uint64_t since_ms; /* wall clock; 0: no opinion any more */
    struct gv_slice reason;
};

enum gv_member_status {
    GV_MEMBER_ALIVE = 0,
    GV_MEMBER_SUSPECT,
    GV_MEMBER_DEAD,
    GV_MEMBER_LEFT,
    GV_MEMBER_STATUS_COUNT
};

struct gv_member {
    char name[GV_NODE_NAME_MAX];
    uint64_t boot_id; /* random per start */
    uint64_t incarnation;
    enum gv_member_status status;
    struct gv_addr gossip_addr; /* TCP and UDP, as advertised */
    char http_url[128]; /* where its API answers, e.g. "http://10.0.0.1:30000"; "" unknown */
    char version[24];   /* of the software */
    bool ready;         /* says of itself that it takes requests */
    uint8_t identity[GV_GOSSIP_IDENTITY_BYTES];   /* zeros: nothing is signed here */
    uint8_t signature[GV_GOSSIP_SIGNATURE_BYTES]; /* of the member, over what it says of itself */
    bool connected;                               /* a session with it is open here */
    uint32_t rtt_us;                              /* 0 unknown */
    uint64_t last_contact_ms;                     /* engine time; 0 never */
    uint64_t applied;                             /* operations of its log applied here */
    uint64_t refused;        /* of them refused for their stamp, and not made up for yet */
    int64_t clock_offset_ms; /* its wall clock minus ours, when knows_clock */
    bool knows_clock;
};

/* ---- the store: handed down at init, called back by the engine --------------------------------
 */

struct gv_gossip_store {
    void *owner; /* borrowed; first argument of each */

    /** A remote operation. Slices borrowed for the call. Must apply or refuse at once. */
    void (*apply)(void *owner, const struct gv_gossip_operation *operation);

    /** The merged record of a worker changed (local or remote writer). */
    void (*worker_changed)(void *owner, const struct gv_gossip_worker *worker);

    /** The merged record of a setting changed (local or remote writer). May be NULL. */
    void (*setting_changed)(void *owner, const struct gv_gossip_setting *setting);

    /** What `node` says of a worker's load or health; count 0, or since_ms 0: nothing any more, for
     * instance because the node is gone. */
    void (*load_changed)(void *owner, const char *node, const struct gv_gossip_load *load);
    void (*health_changed)(void *owner, const char *node, const struct gv_gossip_health *health);

    /** A member appeared or changed status, readiness or session. */
    void (*member_changed)(void *owner, const struct gv_member *member);

    /**
     * Snapshot: the next operation at `*cursor` (an opaque 32-byte state, all zero to start) with a
     * stamp of at least `since_stamp`, and in `part` (NULL: all); false at the end. Slices valid
     * until the next call.
     */
    bool (*snapshot_next)(void *owner, uint8_t cursor[32], const struct gv_gossip_part *part,
                          uint32_t since_stamp, struct gv_gossip_operation *operation);

    /** 16 bytes that are equal on two nodes exactly when their live sets are. May be expensive. */
    void (*deep_digest)(void *owner, uint8_t digest[16]);

    /**
     * Optional; without them live sets that differ are not mended. The key of trie `number`
     * (0, 1, ...; valid until the next call), false beyond the last; and the sums of the buckets of
     * one key, false (and zeros) when there is none.
     */
    bool (*key_at)(void *owner, uint32_t number, struct gv_slice *key);
    bool (*key_sums)(void *owner, struct gv_slice key, uint64_t sums[GV_GOSSIP_BUCKETS]);
};

/* ---- effects: what the shell must do, drained after every call ---------------------------------
 */

enum gv_effect_kind {
    GV_EFFECT_SEND = 0, /* session, bytes */
    GV_EFFECT_PACKET,   /* addr, node and boot_id (the receiver, for binding the seal), bytes */
    GV_EFFECT_CONNECT,  /* addr: open a session; answered by opened or closed */
    GV_EFFECT_CLOSE,    /* session: close it; `reason` for the log */
    GV_EFFECT_READY,    /* this node may now say ready */
    GV_EFFECT_CONFLICT, /* our name is another node's: stop with an error; addr */
    GV_EFFECT_LOG       /* reason: event name; node: whom it is about; level */
};

struct gv_effect {
    enum gv_effect_kind kind;
    uint64_t session;
    struct gv_addr addr;
    char node[GV_NODE_NAME_MAX];
    uint64_t boot_id;
    struct gv_slice bytes; /* owned by the engine until the next call into it */
    const char *reason;    /* static */
    uint8_t level;         /* enum gv_log_level */
};

/* ---- the signer: who signs for this node, and checks the others' signatures ---------------------
 *
 * A record of a member (name, boot, incarnation, address, URL, version, readiness, and whether it
 * has left) counts only with that member's signature. Others may doubt it, or declare it dead; they
 * cannot move it or make it leave. A name belongs to the key it was first seen with; another key
 * gets it when the holder has left, was dead for a second, or when it answers at the holder's own
 * address. Everything else is refused and counted (forged). Names are forgotten with their members.
 */

struct gv_gossip_signer {
    void *owner; /* borrowed; first argument of each */
    uint8_t identity[GV_GOSSIP_IDENTITY_BYTES];

    /** Sign for this node. NULL: nothing is signed or checked (a node without a mesh). */
    void (*sign)(void *owner, struct gv_slice text, uint8_t signature[GV_GOSSIP_SIGNATURE_BYTES]);
    /** Did the holder of `identity` sign `text`? */
    bool (*verify)(void *owner, const uint8_t identity[GV_GOSSIP_IDENTITY_BYTES],
                   struct gv_slice text, const uint8_t signature[GV_GOSSIP_SIGNATURE_BYTES]);
};

/* ---- the detector: how deaths are found --------------------------------------------------------
 *
 * Every node of a cluster should use the same. The default is what is measured and documented;
 * other sets exist to be compared with it in the same weather (tools/vinesim).
 */

struct gv_gossip_detector {
    uint32_t probe_interval_ms;
    uint32_t probe_timeout_ms; /* least; more after three round trips */
    uint32_t suspicion_ms;     /* from a doubt to death, after a reset session */
    uint32_t silence_ms;       /* without a word otherwise; both grow with log10 of the members */
    uint32_t grows_from;       /* beyond so many members */
    uint32_t helpers;          /* nodes that are asked to probe for us; at most 8 */
    uint32_t random_every;     /* one probe in so many intervals goes to a random member */
    uint32_t confirmations;    /* so many other accusers end the patience; 0: it is constant */
    double patience;           /* these times longer with one accuser than with enough of them */
    uint32_t health_max;       /* the local health score goes so high; 0: nobody doubts itself */
    bool asks_successor;       /* each interval the next by name; else only random ones */
    bool asks_by_session;      /* an unanswered probe goes over the session, too */
    bool heeds_resets;         /* a session that the kernel reset is a doubt, and shortens it */
    bool counts_silence;       /* from the first unanswered question; else from the doubt */
    bool tells_opinion;        /* every datagram tells its receiver how it is seen */
    bool mutes;                /* who stood still, or whose clock jumped, accuses nobody for 1 s */
    bool holds_masses;         /* doubts of over a quarter of the members wait for TCP to fail */
    bool checks_deaths;        /* another's word is only a doubt while our own session is open */
};

extern const struct gv_gossip_detector gv_gossip_detector_default;

/* ---- set-up ------------------------------------------------------------------------------------
 */

struct gv_gossip_options {
    char node[GV_NODE_NAME_MAX];
    char cluster_id[GV_CLUSTER_ID_MAX];
    uint64_t boot_id;
    uint64_t incarnation;       /* max(persisted + 1, wall ms) */
    uint32_t block_bytes;       /* must agree cluster-wide */
    uint64_t fingerprint;       /* names the seed of fingerprints: must agree; 0: none */
    struct gv_addr gossip_addr; /* as advertised */
    char http_url[128];
    char version[24];
    uint64_t seed; /* of the engine's own prng */
    struct gv_gossip_signer signer;
    /* gv_gossip_seeds() will follow, maybe later (names are still being resolved): until then
     * silence is not taken for being alone. */
    bool expects_seeds;
    const struct gv_gossip_detector *detector; /* copied; NULL: gv_gossip_detector_default */
    /* intervals and limits, 0 means the default in brackets */
    uint32_t batch_interval_ms;  /* [5] */
    uint32_t batch_bytes;        /* [16 KiB] */
    uint32_t digest_interval_ms; /* [1000] */
    uint32_t load_interval_ms;   /* [50] after a change of over 5 %, less with few sessions */
    uint32_t reconnect_ms;       /* dead, left and lost members are contacted this often [2000] */
    uint32_t sync_timeout_ms;    /* ready at the latest after this [5000] */
    uint32_t log_operations;     /* ring of own operations kept for resume [65536] */
    size_t log_bytes;            /* and in bytes [8 MiB] */
    size_t shelf_bytes;          /* of others' operations kept for who cannot hear them [8 MiB] */
    size_t session_queue_bytes;  /* per session; beyond it: ranges or snapshot [4 MiB] */
    uint32_t member_max;         /* [2048] */
    uint32_t sayings_max;        /* loads and opinions of all other nodes together [262144] */
    uint32_t forget_after_s;     /* dead and left members [86400] */
};

/** A new engine. `options` and `store` are copied, the store's owner is borrowed. Errors: GV_EINVAL
 * no name; GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_gossip_new(const struct gv_gossip_options *options,
                                      const struct gv_gossip_store *store, uint64_t now_ms,
                                      struct gv_gossip **gossip);
void gv_gossip_free(struct gv_gossip *gossip);

/* ---- events. `now_ms` is monotonic, `wall_ms` Unix time; both come in with every event. ---------
 */

struct gv_now {
    uint64_t now_ms;
    uint64_t wall_ms;
};

/* What the peer said in its HELLO; checked (cluster id, block size, seed, protocol) and
 * authenticated by the shell. */
struct gv_gossip_hello {
    char node[GV_NODE_NAME_MAX];
    char cluster_id[GV_CLUSTER_ID_MAX];
    uint64_t boot_id;
    uint64_t incarnation;
    uint32_t block_bytes;
    uint64_t fingerprint;
    uint32_t protocol_min, protocol_max;
    uint64_t features;
    struct gv_addr gossip_addr;
    char http_url[128];
    char version[24];
    bool ready, left;
    /* With what is above the peer's own record. The shell has checked that the session belongs to
     * `identity`. */
    uint8_t identity[GV_GOSSIP_IDENTITY_BYTES];
    uint8_t signature[GV_GOSSIP_SIGNATURE_BYTES];
    /* Never on the wire. An outgoing session's shell sets it to the address that GV_EFFECT_CONNECT
     * asked for, so that the engine knows which attempt succeeded (and which address is its own).
     */
    struct gv_addr dialed;
};

/** Fill the HELLO of this node. */
void gv_gossip_hello(const struct gv_gossip *gossip, struct gv_gossip_hello *hello);

/** Encode / decode a HELLO (protobuf). Errors: GV_EPROTO malformed or over limits; GV_ETOOBIG. */
GV_MUST_USE enum gv_err gv_gossip_hello_encode(const struct gv_gossip_hello *hello, uint8_t *into,
                                               size_t room, size_t *len);
GV_MUST_USE enum gv_err gv_gossip_hello_decode(struct gv_slice bytes,
                                               struct gv_gossip_hello *hello);

/** Time passed: call at gv_gossip_wake_at() or earlier. */
void gv_gossip_tick(struct gv_gossip *gossip, struct gv_now now);

/** When the next tick is due, in engine milliseconds. */
uint64_t gv_gossip_wake_at(const struct gv_gossip *gossip);

/** Addresses that the seeds resolve to now (replaces the last list). */
void gv_gossip_seeds(struct gv_gossip *gossip, const struct gv_addr *addrs, size_t count,
                     struct gv_now now);

/** A session is open; `session` is a number of the shell's, never reused; `outgoing`: we connected.
 */
void gv_gossip_opened(struct gv_gossip *gossip, uint64_t session, bool outgoing,
                      const struct gv_gossip_hello *peer, struct gv_now now);

/** A connect failed (session 0, addr tells which), or a session is gone (`reset`: by the kernel).
 */
void gv_gossip_closed(struct gv_gossip *gossip, uint64_t session, const struct gv_addr *addr,
                      bool reset, struct gv_now now);

/** One message came over a session. GV_EPROTO: nonsense; counted; the shell closes the session. */
GV_MUST_USE enum gv_err gv_gossip_message(struct gv_gossip *gossip, uint64_t session,
                                          struct gv_slice bytes, struct gv_now now);

/** The shell's queue for a session changed: bytes not yet taken by the kernel. When it has shrunk,
 * more may be due: ask gv_gossip_wake_at() again. */
void gv_gossip_queued(struct gv_gossip *gossip, uint64_t session, size_t bytes);

/** One authenticated datagram came. Nonsense is counted and otherwise ignored. */
void gv_gossip_packet(struct gv_gossip *gossip, const struct gv_addr *from, const char *sender,
                      struct gv_slice bytes, struct gv_now now);

/**
 * What gv_gossip_publish(), gv_gossip_set_load() and gv_gossip_set_health() are given from here on
 * leaves together at gv_gossip_release(): one batch and one message of loads instead of several.
 * Any other event in between may let it go earlier.
 */
void gv_gossip_hold(struct gv_gossip *gossip);
/** Let it go, as gv_gossip_tick() does. */
void gv_gossip_release(struct gv_gossip *gossip, struct gv_now now);

/** Publish an operation that this node has applied. Errors: GV_EINVAL, GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_gossip_publish(struct gv_gossip *gossip,
                                          const struct gv_gossip_operation *operation,
                                          struct gv_now now);

/** Write a worker record (deleted: remove). Version and origin are set here. store.worker_changed
 * follows. */
GV_MUST_USE enum gv_err gv_gossip_put_worker(struct gv_gossip *gossip,
                                             const struct gv_gossip_worker *worker,
                                             struct gv_now now);

/**
 * Set a name on all nodes; `value` NULL: unset it. store.setting_changed follows. Errors: GV_EINVAL
 * no name, or a text over its limit; GV_ENOTFOUND unset already; GV_EFULL GV_SETTINGS_MAX.
 */
GV_MUST_USE enum gv_err gv_gossip_put_setting(struct gv_gossip *gossip, const char *name,
                                              const char *value, struct gv_now now);

/** The settings that are set; returns how many. */
uint32_t gv_gossip_settings(const struct gv_gossip *gossip,
                            struct gv_gossip_setting settings[GV_SETTINGS_MAX]);

/** This node's own load / opinion; sent when it changed enough. */
void gv_gossip_set_load(struct gv_gossip *gossip, const struct gv_gossip_load *load,
                        struct gv_now now);
void gv_gossip_set_health(struct gv_gossip *gossip, const struct gv_gossip_health *health,
                          struct gv_now now);

/** Somebody wants to know whether the live sets agree: compare with all peers now, and mend. */
void gv_gossip_compare(struct gv_gossip *gossip, struct gv_now now);

/** This node (no longer) takes requests. */
void gv_gossip_set_ready(struct gv_gossip *gossip, bool ready, struct gv_now now);

/** Announce `left` and send what waits; the shell may end once the effects are drained and sent. */
void gv_gossip_leave(struct gv_gossip *gossip, struct gv_now now);

/* ---- effects ------------------------------------------------------------------------------------
 */

/** The next effect, in order; false when none is left. Drain after every event, before the next. */
bool gv_gossip_next_effect(struct gv_gossip *gossip, struct gv_effect *effect);

/* ---- looking in ---------------------------------------------------------------------------------
 */

/** Members including this node, sorted by name; returns how many were filled. */
uint32_t gv_gossip_members(const struct gv_gossip *gossip, struct gv_member *members,
                           uint32_t room);

/** How many of them are alive or only doubted, this node included. */
uint32_t gv_gossip_active(const struct gv_gossip *gossip);

/**
 * 16 bytes that are equal on nodes that have applied the same, refused nothing of it, and hold the
 * same records.
 */
void gv_gossip_digest(const struct gv_gossip *gossip, uint8_t digest[16]);

/**
 * Does the wall clock of this node agree, within half a minute, with that of at least half of the
 * peers in session? false also when there is none to ask.
 */
bool gv_gossip_clock_is_right(const struct gv_gossip *gossip);

/** True once this node's state equals a donor's, or it is alone, or sync_timeout_ms is over. */
bool gv_gossip_is_ready(const struct gv_gossip *gossip);

/* X(name, "what it counts") : counters since the start. */
/* clang-format off */
#define GV_GOSSIP_COUNTER_LIST(X)                                                                  \
    X(operations_published, "operations of this node put on the log")                              \
    X(operations_applied, "operations of other nodes applied")                                     \
    X(operations_duplicate, "operations that were known already")                                  \
    X(batches_sent, "batches sent")                                                                \
    X(batches_received, "batches received")                                                        \
    X(bytes_sent, "session bytes sent, plain")                                                     \
    X(bytes_received, "session bytes received, plain")                                             \
    X(packets_sent, "datagrams sent")                                                              \
    X(packets_received, "datagrams received")                                                      \
    X(packet_bytes_sent, "datagram bytes sent, plain")                                             \
    X(packet_bytes_received, "datagram bytes received, plain")                                     \
    X(batches_relayed, "batches of other nodes passed on")                                         \
    X(announcements_sent, "announcements of what logs hold, to sessions off the tree")             \
    X(grafts, "changes of the parent in the tree that batches travel along")                       \
    X(ranges_sent, "missing ranges sent")                                                          \
    X(ranges_pulled, "missing ranges asked of a node that passes them on")                         \
    X(snapshots_sent, "snapshots begun for peers")                                                 \
    X(snapshots_received, "snapshots begun here")                                                  \
    X(repairs, "repairs started after a digest differed")                                          \
    X(comparisons, "live sets compared with a peer, bucket by bucket")                             \
    X(operations_mended, "operations from peers whose live set differed")                          \
    X(probes_sent, "SWIM probes sent")                                                             \
    X(probes_failed, "probes without an answer in time")                                           \
    X(suspicions, "members doubted")                                                               \
    X(refutations, "doubts of this node refuted")                                                  \
    X(deaths, "members declared dead")                                                             \
    X(malformed, "messages that made no sense")                                                    \
    X(forged, "records refused: not signed by their node, or its name has another key")            \
    X(refused_stamps, "stamps too far ahead of the clock")                                         \
    X(sessions_silent, "sessions closed because nothing whole came for seconds")                    \
    X(records_refused, "members, workers, settings and sayings for which there was no room")       \
    X(packets_unknown, "datagrams of believed nodes that are no members here (yet)")               \
    X(queue_overflows, "sessions that fell back to ranges or a snapshot")
/* clang-format on */

struct gv_gossip_counters {
#define GV_GOSSIP_COUNTER_FIELD(name, text) uint64_t name;
    GV_GOSSIP_COUNTER_LIST(GV_GOSSIP_COUNTER_FIELD)
#undef GV_GOSSIP_COUNTER_FIELD
};
const struct gv_gossip_counters *gv_gossip_counters(const struct gv_gossip *gossip);

#endif
