/*
 * machine.h - what the parts of the engine share: its state, and who does what with it.
 *
 *     engine.c    the public calls; hands each event to the parts below, in order
 *     wire.c      packs messages, sends them to one session or all, sends datagrams
 *     roster.c    the members: finding, merging news, telling the store
 *     proof.c     whether a record is its node's own, and whose a name is
 *     news.c      what is new of the members: passed on, and the rosters compared
 *     ring.c      up to 32 members everybody is a neighbour; beyond, whom the six rings name
 *     tree.c      which of the sessions are the links of the spanning tree
 *     relay.c     operations of others passed on, announced, pulled
 *     dial.c      whom to connect to, and which of two crossing sessions stays
 *     detector.c  SWIM with Lifeguard: probes, and what they answer
 *     doubt.c     from an unanswered question to a death
 *     feed.c      operations: batches out and in, ranges, gaps
 *     past.c      logs of lives that are over, and how long they are spoken of
 *     snapshot.c  whole state for joiners and laggards, as donor and as taker
 *     repair.c    digests, vectors, readiness
 *     compare.c   live sets bucket by bucket, when logs agree and sets do not
 *     clocks.c    whose clock is wrong, and what was refused because of it
 *     records.c   workers, loads, opinions
 *     settings.c  small named values of the whole cluster
 *
 * Private to gossip. One thread.
 */
#ifndef GV_GOSSIP_MACHINE_H
#define GV_GOSSIP_MACHINE_H

#include "codec.h"
#include "grapevine/base/log.h"
#include "grapevine/base/prng.h"
#include "limits.h"
#include "oplog.h"
#include "outbox.h"
#include "register.h"
#include "shelf.h"
#include "vector.h"

#define GV_ACCUSERS_MAX   4
#define GV_PROBES_MAX     32
#define GV_NEVER_MS       UINT64_MAX
#define GV_DEEP_DIGEST_MS 60000

struct gv_peer {
    struct gv_member member;
    struct gv_channel *session;     /* borrowed: the newest with the life that is known, or NULL */
    struct gv_sayings sayings;      /* its loads and opinions */
    char accuser[GV_NODE_NAME_MAX]; /* who doubted or declared it, for the news */
    uint64_t accusers[GV_ACCUSERS_MAX]; /* hashes of names */
    uint32_t accuser_count;
    uint32_t news_left;         /* datagrams that shall still carry its record */
    uint64_t status_at_ms;      /* since when it has its status */
    uint64_t dead_at_ms;        /* SUSPECT: when the doubt becomes certainty */
    uint64_t silent_at_ms;      /* SUSPECT: since when it does not answer */
    uint64_t reset_at_ms;       /* its last session was reset then; 0: none, or one is open again */
    uint64_t dial_at_ms;        /* next attempt to connect */
    uint64_t dialed_at_ms;      /* of the attempt under way */
    uint64_t redialed_at_ms;    /* when the end of a session was last answered by a dial at once */
    uint64_t dial_failed_at_ms; /* last failure; 0 never */
    uint64_t urgent_at_ms;      /* last urgent probe */
    uint64_t checked_at_ms;     /* last dialed because another key claimed the name */
    uint64_t hash;              /* of its name: its places in the rings */
    uint64_t news_session;      /* its record came over this session; 0: it is our own word */
    uint64_t said, heard_said;  /* sequence of its loads and opinions: all up to it; the highest */
    uint64_t said_round;        /* grows over all peers; of the last change of said */
    uint64_t said_wanted;       /* somebody has what it said up to here; 0: nobody more than we */
    uint64_t said_wanted_at_ms, said_source;
    uint64_t said_asked_at_ms; /* when said_source was last asked; 0: never */
    uint32_t said_asks;        /* so often was somebody asked for it */
    bool is_neighbour;         /* by the rings; meaningful while relaying */
    bool is_tried;             /* gone, and to be dialed once nevertheless */
    bool news_waits;           /* its record is to be passed on */
    int64_t clock_sample_ms;   /* last offset heard of; the member has the better of two */
    bool dialing;
};

#define GV_SEED_QUICK_TRIES 3

struct gv_seed {
    struct gv_addr addr;
    char node[GV_NODE_NAME_MAX]; /* who answered there last */
    uint64_t dial_at_ms, dialed_at_ms;
    uint32_t tries; /* counted up to GV_SEED_QUICK_TRIES */
    bool dialing, is_self, was_tried;
};

/* A snapshot that is being given. */
struct gv_giving {
    bool active;
    uint64_t id, number;
    uint32_t since_stamp;
    uint8_t cursor[32];
    bool is_mending;                 /* no snapshot: entries for a peer whose set differs */
    bool in_part;                    /* only of these: */
    char key[GV_GOSSIP_KEY_MAX + 1]; /* "" all */
    uint64_t buckets[GV_GOSSIP_BUCKETS / 64];
};

/* A session as the engine sees it. (seal has another struct gv_session: the cryptographic one.) */
struct gv_channel {
    uint64_t id;
    struct gv_peer *peer; /* borrowed; outlives the session */
    uint64_t boot_id;
    uint64_t opened_at_ms, heard_at_ms;
    uint64_t announced;              /* our log's end as told in our State */
    uint64_t sent;                   /* our log has gone so far over this session */
    uint64_t range_next, range_last; /* our log, asked for again; 0: nothing */
    uint64_t expects;                /* joining: the peer's log up to here comes by snapshot */
    size_t queued;                   /* last word of the shell */
    size_t fresh;                    /* bytes put out since the last event */
    struct gv_giving giving, mending;
    uint32_t misses, deep_misses; /* digests that differed in a row */
    uint32_t deep_rounds;         /* comparisons since the live sets were equal, up to 4 */
    uint64_t asked_at_ms;         /* last range or repair asked of this peer */
    uint64_t deep_asked_at_ms;
    bool outgoing, knows_state, peer_synced, is_slow;
    bool gave; /* entries of a snapshot, some of them beyond the positions that it began with */
    /* relaying */
    uint64_t surplus_at_ms; /* since when neither end has a use for it; 0: it has one */
    uint64_t told_round;    /* moves of logs told up to this round of the vector */
    uint64_t announced_at_ms, hurried_at_ms; /* of these moves */
    uint64_t told_said_round;
    uint64_t tree_root; /* the peer's; 0: it does not relay */
    uint64_t told_root; /* ours, as told */
    uint32_t tree_distance, told_distance;
    uint32_t roster_misses;    /* digests with another roster in a row */
    bool is_child, told_child; /* the peer has us for its parent; it for ours, as told */
    bool sent_roster;          /* our State had sums instead of members */
    bool brought_news;         /* some of what waits to be passed on came over it */
};

struct gv_probe {
    struct gv_peer *peer; /* NULL: slot free */
    uint64_t number;
    uint64_t sent_at_ms, indirect_at_ms, fails_at_ms;
    bool went_indirect;
    uint32_t nacks_wanted, nacks;
    /* a probe made for another node */
    char asked_by[GV_NODE_NAME_MAX];
    uint64_t asked_number;
};

#define GV_DONORS_MAX 3

/* What one donor gives of it. */
struct gv_share {
    uint64_t session; /* of the donor; 0: nobody gives it yet */
    uint64_t id, number;
    uint64_t heard_at_ms;
    struct gv_origin *marks; /* owned: positions of the donor when it began */
    uint32_t mark_count;
    bool done;
};

/* A snapshot that is being taken. */
struct gv_taking {
    struct gv_share shares[GV_DONORS_MAX];
    uint32_t share_count;   /* 0: none is being taken */
    uint64_t id;            /* last given to a request */
    uint64_t heard_at_ms;   /* from any donor */
    uint64_t not_before_ms; /* earliest next request */
    uint32_t since_stamp;
    bool joining;
};

/* How many members there are, this node included; see gv_roster_write_status(). */
struct gv_counts {
    uint32_t active, suspect, gone; /* active: alive or doubted; gone: dead or left */
};

/* The shape of the mesh, and our place in it. */
struct gv_ring {
    uint64_t look_at_ms;   /* earliest next look at the members */
    uint64_t few_since_ms; /* relaying, though few enough for sessions with all; 0: too many */
    uint64_t root;         /* hash of the tree's root */
    uint64_t heal_at_ms;   /* next attempt at somebody who is gone */
    bool is_dirty;         /* members have changed since the last look */
    bool relays;           /* too many for sessions with all */
    bool root_is_self;
};

/* Our place in the spanning tree. */
struct gv_tree {
    struct gv_channel *parent; /* borrowed; NULL: we are the root, or know no way to it */
    uint32_t distance;         /* from the root; GV_TREE_FAR: no way known */
    bool is_dirty;
};

struct gv_gossip {
    struct gv_gossip_options options;
    struct gv_gossip_detector detector;
    struct gv_gossip_store store; /* a copy; its owner is borrowed */
    struct gv_gossip_counters counters;
    struct gv_prng prng;
    struct gv_now now; /* of the event in hand */
    struct gv_outbox outbox;
    struct gv_arena unpacked; /* the message in hand */
    struct gv_arena scratch;  /* the message being made */

    struct gv_peer *self;   /* our own record; one of peers */
    struct gv_peer **peers; /* owned; sorted by name */
    uint32_t peer_count, peer_room;
    struct gv_channel **sessions; /* owned */
    uint64_t *session_ids;        /* owned: of each, side by side, to be found quickly */
    uint32_t session_count, session_room;
    bool shares_boots;     /* two peers have claimed one boot: see gv_roster_set_boot() */
    bool is_holding;       /* between gv_gossip_hold() and gv_gossip_release() */
    bool holds_something;  /* what was published or told since gv_gossip_hold() */
    bool has_fresh;        /* something was put out in this event */
    bool may_be_behind;    /* some session may have to be fed, or be too full */
    struct gv_seed *seeds; /* owned */
    uint32_t seed_count;
    struct gv_seed twin; /* another holder of our name, to be looked at */
    uint64_t twin_incarnation;

    struct gv_vector vector; /* other nodes' logs, and this node's own */
    struct gv_origin *own;   /* our position in it: what is published */
    struct gv_oplog log;
    bool is_log_forged;     /* somebody holds more of our log than we ever said; see relay.c */
    uint64_t flushed;       /* our log has been offered to all up to here */
    uint64_t flushed_at_ms; /* last batch */
    struct gv_words chunk_keys, chunk_workers;

    struct gv_worker_table workers;
    struct gv_gossip_setting settings[GV_SETTINGS_MAX];
    uint32_t setting_count;
    struct gv_sayings own_sayings;
    uint32_t said_rows; /* sayings of all other nodes */
    uint64_t say_sequence;
    uint64_t loads_sent_at_ms, loads_refresh_at_ms;

    struct gv_probe probes[GV_PROBES_MAX];
    uint64_t probe_number, probe_at_ms, probe_rounds;
    uint64_t lagged_at_ms; /* the probe_at_ms that was missed by a lag; 0 never */
    uint32_t *probe_order; /* owned: shuffled indexes of peers */
    uint32_t probe_count, probe_next;
    uint32_t health;        /* 0 good .. 7: how much we distrust ourselves */
    uint64_t probes_due_ms; /* no probe has anything due before */
    uint64_t doubts_due_ms; /* no doubt becomes certainty before */
    uint64_t mute_until;    /* we accuse nobody before */
    int64_t wall_offset;    /* wall minus engine time */

    struct gv_counts counts;
    struct gv_ring ring;
    struct gv_tree tree;
    struct gv_shelf shelf;
    struct gv_slice in_hand;  /* the bytes of the message in hand */
    uint64_t session_in_hand; /* over which it came; 0: none is */
    uint64_t announce_at_ms, announced_round;
    uint64_t pull_at_ms; /* next look at what is wanted; GV_NEVER_MS: nothing is */
    uint64_t said_round, said_at_ms, ask_said_at_ms;
    struct gv_map peers_by_name;
    struct gv_map peers_by_boot;          /* boot id to peer */
    uint64_t roster_sums[GV_ROSTER_SUMS]; /* over the members, see news.c; when roster_sums_known */
    uint64_t digest_round;                /* of the vector, at the last digest */
    uint64_t digest_count;
    uint64_t news_at_ms;   /* when what is new of members is passed on */
    uint32_t news_waiting; /* peers of whom something is */
    uint32_t news_riding;  /* peers with news_left, at least */
    uint64_t dial_due_ms;  /* no attempt at a peer begins or ends before; see gv_dial_plan() */
    uint64_t seeds_due_ms; /* the same of seeds */
    bool roster_sums_known;
    bool is_quiet;   /* no log had moved between the last two digests */
    bool wants_said; /* some peer's loads or opinions are wanted */

    struct gv_taking taking;
    uint64_t digest_at_ms, deep_at_ms, sweep_at_ms;
    uint64_t unsure_until_ms;      /* our live set may hold what no position tells */
    uint8_t deep[16], deep_of[16]; /* live sets' digest, and the vector's digest it was made at */
    bool deep_known;
    uint64_t compared_at_ms;        /* last time that we sent our sums */
    uint64_t clocks_compared_at_ms; /* last time that we asked for it for the sake of a mark, */
    uint32_t clocks_compared;       /* so often in a row, see clocks.c */
    uint64_t started_at_ms;
    bool synced;     /* our state equals the cluster's, or we are alone, or gave up waiting */
    bool seeds_came; /* gv_gossip_seeds() was called */
    bool leaving, stopped;
};

/* Is this session one of those that are meant? */
typedef bool (*gv_channel_filter)(const struct gv_gossip *gossip, const struct gv_channel *session);

/* ---- wire.c ---- */
void gv_wire_send(struct gv_gossip *gossip, struct gv_channel *session, Mesh__Message *message);
void gv_wire_broadcast(struct gv_gossip *gossip, Mesh__Message *message, gv_channel_filter takes);
void gv_wire_broadcast_eager(struct gv_gossip *gossip, Mesh__Message *message,
                             const struct gv_channel *except);
void gv_wire_pass_on(struct gv_gossip *gossip, struct gv_slice bytes,
                     const struct gv_channel *from);
void gv_wire_send_kept(struct gv_gossip *gossip, struct gv_channel *session, struct gv_slice bytes);
void gv_wire_broadcast_batch(struct gv_gossip *gossip, Mesh__Message *message, uint64_t before,
                             uint64_t last);
void gv_wire_packet(struct gv_gossip *gossip, struct gv_peer *to, Mesh__Packet *packet,
                    struct gv_channel *over);
void gv_wire_effect(struct gv_gossip *gossip, const struct gv_effect *effect);
void gv_wire_log(struct gv_gossip *gossip, enum gv_log_level level, const char *event,
                 const char *node);
size_t gv_channel_backlog(const struct gv_channel *session);

/* ---- roster.c ---- */
struct gv_peer *gv_roster_find(const struct gv_gossip *gossip, const char *name);
struct gv_peer *gv_roster_open(struct gv_gossip *gossip, const char *name);
uint32_t gv_roster_place(const struct gv_gossip *gossip, const char *name);
void gv_roster_remove(struct gv_gossip *gossip, struct gv_peer *peer);
void gv_roster_merge(struct gv_gossip *gossip, const Mesh__Member *message);
void gv_roster_changed(struct gv_gossip *gossip, struct gv_peer *peer);
void gv_roster_touch(struct gv_gossip *gossip);
void gv_roster_set_boot(struct gv_gossip *gossip, struct gv_peer *peer, uint64_t boot_id);
struct gv_peer *gv_roster_find_boot(const struct gv_gossip *gossip, uint64_t boot_id);
void gv_roster_write_status(struct gv_gossip *gossip, struct gv_peer *peer,
                            enum gv_member_status status);
void gv_roster_set_status(struct gv_gossip *gossip, struct gv_peer *peer,
                          enum gv_member_status status);
void gv_roster_raise_self(struct gv_gossip *gossip, uint64_t above);
void gv_roster_sweep(struct gv_gossip *gossip);
bool gv_incarnation_is_sane(const struct gv_gossip *gossip, uint64_t incarnation);

/* ---- past.c ---- */
bool gv_past_has(const struct gv_gossip *gossip, const char *name, uint64_t boot_id,
                 uint32_t stamp);
struct gv_origin *gv_past_open(struct gv_gossip *gossip, const char *name, uint64_t boot_id);
struct gv_origin *gv_past_find_boot(const struct gv_gossip *gossip, uint64_t boot_id);
uint32_t gv_past_newest(const struct gv_origin *origin);
uint32_t gv_past_believe(const struct gv_gossip *gossip, uint32_t stamp);
void gv_past_hear(struct gv_origin *origin, uint32_t stamp);
void gv_past_recall(struct gv_gossip *gossip, const struct gv_peer *peer);
void gv_past_give_up(struct gv_gossip *gossip, const struct gv_origin *origin);
void gv_past_sweep(struct gv_gossip *gossip);

/* ---- news.c ---- */
void gv_roster_spread(struct gv_gossip *gossip, struct gv_peer *peer);
void gv_news_add(struct gv_gossip *gossip, struct gv_peer *peer);
void gv_news_stop_riding(struct gv_gossip *gossip);
void gv_news_forget(struct gv_gossip *gossip, struct gv_peer *peer);
void gv_news_tick(struct gv_gossip *gossip);
uint64_t gv_news_wake_at(const struct gv_gossip *gossip);
uint64_t gv_news_sum(struct gv_gossip *gossip);
const uint64_t *gv_news_sums(struct gv_gossip *gossip);
void gv_news_send_roster(struct gv_gossip *gossip, struct gv_channel *session, bool is_answer);
void gv_news_take_sums(struct gv_gossip *gossip, struct gv_channel *session, const uint64_t *sums);
void gv_news_take_roster(struct gv_gossip *gossip, struct gv_channel *session,
                         const Mesh__Roster *roster);

/* ---- ring.c ---- */
#define GV_DIRECT_MEMBERS_MAX 32 /* up to so many everybody has a session with everybody */
void gv_ring_tick(struct gv_gossip *gossip);
uint64_t gv_ring_wake_at(const struct gv_gossip *gossip);
bool gv_ring_names(const struct gv_gossip *gossip, const struct gv_peer *peer);

/* ---- tree.c ---- */
#define GV_TREE_FAR 16
void gv_tree_take(struct gv_gossip *gossip, struct gv_channel *session, const Mesh__Tree *tree);
void gv_tree_settle(struct gv_gossip *gossip);
void gv_tree_session_gone(struct gv_gossip *gossip, const struct gv_channel *session);
bool gv_tree_is_eager(const struct gv_gossip *gossip, const struct gv_channel *session);
bool gv_channel_is_silent(const struct gv_gossip *gossip, const struct gv_channel *session);

/* ---- relay.c ---- */
void gv_relay_pass_on(struct gv_gossip *gossip, struct gv_origin *origin,
                      const struct gv_channel *from, const Mesh__Batch *batch);
bool gv_relay_is_near(const struct gv_gossip *gossip);
bool gv_relay_may_take(const struct gv_gossip *gossip, const struct gv_channel *session,
                       const struct gv_origin *origin);
bool gv_relay_may_say(const struct gv_gossip *gossip, const struct gv_channel *session,
                      const struct gv_peer *peer);
void gv_relay_want(struct gv_gossip *gossip, struct gv_origin *origin, uint64_t upto,
                   const struct gv_channel *source, bool is_patient);
void gv_relay_missed(struct gv_gossip *gossip, struct gv_channel *session, uint64_t sequence);
void gv_relay_recall_said(struct gv_gossip *gossip, const struct gv_peer *peer);
void gv_relay_announced(struct gv_gossip *gossip, struct gv_channel *session,
                        const Mesh__Announce *announce);
void gv_relay_asked(struct gv_gossip *gossip, struct gv_channel *session,
                    const Mesh__RangeRequest *request);
void gv_relay_check_own(struct gv_gossip *gossip, uint64_t claimed);
void gv_relay_gone(struct gv_gossip *gossip, struct gv_channel *session,
                   const Mesh__RangeGone *gone);
void gv_relay_hurry(struct gv_gossip *gossip, struct gv_channel *session);
void gv_relay_tick(struct gv_gossip *gossip);
uint64_t gv_relay_wake_at(const struct gv_gossip *gossip);

/* ---- proof.c ---- */
void gv_proof_sign_self(struct gv_gossip *gossip);
bool gv_proof_is_signed(const struct gv_gossip *gossip, const struct gv_member *news);
bool gv_proof_is_holder(const struct gv_gossip *gossip, const struct gv_peer *peer,
                        const struct gv_member *news);
bool gv_proof_may_take_over(const struct gv_gossip *gossip, const struct gv_peer *holder,
                            const struct gv_addr *answered_at);
void gv_proof_take_over(struct gv_gossip *gossip, struct gv_peer *peer);
void gv_proof_refuse(struct gv_gossip *gossip, const char *name, struct gv_peer *holder);

/* ---- dial.c ---- */
struct gv_channel *gv_channel_find(const struct gv_gossip *gossip, uint64_t id);
struct gv_channel *gv_channel_of(const struct gv_gossip *gossip, const struct gv_peer *peer);
bool gv_channel_any(const struct gv_gossip *gossip, const struct gv_peer *peer);
void gv_channel_choose(struct gv_gossip *gossip, struct gv_peer *peer);
void gv_channel_close(struct gv_gossip *gossip, struct gv_channel *session, const char *reason);
void gv_dial_plan(struct gv_gossip *gossip, struct gv_peer *peer, uint64_t at_ms);
void gv_dial_tick(struct gv_gossip *gossip);
uint64_t gv_dial_wake_at(const struct gv_gossip *gossip);
void gv_dial_close_peer(struct gv_gossip *gossip, struct gv_peer *peer, const char *reason);
void gv_dial_look_at_twin(struct gv_gossip *gossip, const struct gv_member *twin);

/* ---- detector.c ---- */
void gv_detector_packet(struct gv_gossip *gossip, struct gv_peer *from, struct gv_channel *over,
                        const Mesh__Packet *packet);
void gv_detector_watch_self(struct gv_gossip *gossip);
void gv_detector_tick(struct gv_gossip *gossip);
uint64_t gv_detector_wake_at(const struct gv_gossip *gossip);
void gv_detector_probe_now(struct gv_gossip *gossip, struct gv_peer *peer);
void gv_detector_forget(struct gv_gossip *gossip, const struct gv_peer *peer);
void gv_detector_announce(struct gv_gossip *gossip);

/* ---- doubt.c ---- */
void gv_doubt(struct gv_gossip *gossip, struct gv_peer *peer, const char *accuser,
              uint64_t silent_at_ms);
void gv_doubt_on_word(struct gv_gossip *gossip, struct gv_peer *peer, const char *accuser);
void gv_doubt_set_deadline(struct gv_gossip *gossip, struct gv_peer *peer);
void gv_doubt_tick(struct gv_gossip *gossip);

/* ---- feed.c   ---- */
void gv_feed_flush(struct gv_gossip *gossip, bool at_once);
void gv_feed_pump(struct gv_gossip *gossip, struct gv_channel *session);
bool gv_feed_is_behind(const struct gv_gossip *gossip, const struct gv_channel *session);
void gv_feed_take_batch(struct gv_gossip *gossip, struct gv_channel *session,
                        const Mesh__Batch *batch);
void gv_feed_asked(struct gv_gossip *gossip, struct gv_channel *session,
                   const Mesh__RangeRequest *request);
void gv_feed_ask(struct gv_gossip *gossip, struct gv_channel *session, uint64_t first,
                 uint64_t last);
void gv_feed_apply(struct gv_gossip *gossip, struct gv_origin *origin, uint64_t sequence,
                   const struct gv_gossip_operation *operation);
uint64_t gv_feed_wake_at(const struct gv_gossip *gossip);

/* ---- snapshot.c ---- */
bool gv_snapshot_is_taking(const struct gv_gossip *gossip);
void gv_snapshot_ask(struct gv_gossip *gossip, struct gv_channel *session, uint32_t since_stamp);
void gv_snapshot_join(struct gv_gossip *gossip);
void gv_snapshot_assign(struct gv_gossip *gossip);
void gv_snapshot_deinit(struct gv_gossip *gossip);
void gv_snapshot_asked(struct gv_gossip *gossip, struct gv_channel *session,
                       const Mesh__SnapshotRequest *request);
void gv_snapshot_pump(struct gv_gossip *gossip, struct gv_channel *session);
enum gv_err gv_snapshot_take(struct gv_gossip *gossip, struct gv_channel *session,
                             const Mesh__SnapshotChunk *chunk);
void gv_snapshot_session_gone(struct gv_gossip *gossip, const struct gv_channel *session);
void gv_snapshot_tick(struct gv_gossip *gossip);
uint32_t gv_snapshot_since(const struct gv_origin *origin);

/* ---- repair.c ---- */
bool gv_repair_hears(const struct gv_gossip *gossip, const char *name, uint64_t boot_id);
void gv_repair_greet(struct gv_gossip *gossip, struct gv_channel *session);
void gv_repair_state(struct gv_gossip *gossip, struct gv_channel *session,
                     const Mesh__State *state);
void gv_repair_digest(struct gv_gossip *gossip, struct gv_channel *session,
                      const Mesh__Digest *digest);
void gv_repair_vector(struct gv_gossip *gossip, struct gv_channel *session,
                      const Mesh__Vector *vector);
void gv_repair_tick(struct gv_gossip *gossip);
void gv_repair_try_to_sync(struct gv_gossip *gossip);
void gv_repair_synced(struct gv_gossip *gossip);
void gv_repair_demand_comparison(struct gv_gossip *gossip);
void gv_repair_unsure(struct gv_gossip *gossip);
uint64_t gv_repair_wake_at(const struct gv_gossip *gossip);
Mesh__Position **gv_repair_positions(struct gv_gossip *gossip, size_t *count);

/* ---- compare.c ---- */
const uint8_t *gv_compare_own(struct gv_gossip *gossip, const uint8_t positions[16], bool is_fresh);
bool gv_compare_digest(struct gv_gossip *gossip, struct gv_channel *session,
                       const Mesh__Digest *digest, const uint8_t positions[16]);
void gv_compare_sums(struct gv_gossip *gossip, struct gv_channel *session,
                     const Mesh__Sums *theirs);
void gv_compare_wanted(struct gv_gossip *gossip, struct gv_channel *session,
                       const Mesh__Want *want);

/* ---- clocks.c ---- */
void gv_clocks_hear(struct gv_gossip *gossip, struct gv_channel *session, uint64_t wall_ms);
bool gv_clocks_is_ahead(const struct gv_gossip *gossip, uint32_t stamp);
void gv_clocks_refuse(struct gv_gossip *gossip, struct gv_origin *origin);
void gv_clocks_refuse_set(struct gv_gossip *gossip, const struct gv_channel *session);
void gv_clocks_agreed(struct gv_gossip *gossip, const struct gv_channel *session, uint64_t marks);
uint64_t gv_clocks_marks(const struct gv_gossip *gossip);
bool gv_clocks_want_comparison(struct gv_gossip *gossip);
bool gv_clocks_may_settle(struct gv_gossip *gossip, const struct gv_channel *session,
                          const Mesh__Digest *digest);
void gv_clocks_jumped(struct gv_gossip *gossip, int64_t jump_ms);
uint64_t gv_clocks_redate(const struct gv_gossip *gossip, uint64_t version_ms, uint64_t back_ms);

/* ---- records.c ---- */
void gv_records_take_node_state(struct gv_gossip *gossip, struct gv_channel *session,
                                const Mesh__NodeState *state);
void gv_records_send_own(struct gv_gossip *gossip, struct gv_channel *session);
void gv_records_said(struct gv_gossip *gossip, struct gv_peer *peer, uint64_t said);
void gv_records_send_said(struct gv_gossip *gossip, struct gv_channel *session,
                          const Mesh__StateRequest *request);
void gv_records_say_again(struct gv_gossip *gossip);
void gv_records_vanish(struct gv_gossip *gossip, struct gv_peer *peer);
void gv_records_drop(struct gv_gossip *gossip, struct gv_peer *peer);
void gv_records_tick(struct gv_gossip *gossip);
uint64_t gv_records_wake_at(const struct gv_gossip *gossip);
uint64_t gv_records_digest(const struct gv_gossip *gossip);
uint64_t gv_records_expiry_ms(const struct gv_gossip *gossip);

/* ---- workers.c ---- */
void gv_workers_take(struct gv_gossip *gossip, struct gv_channel *session,
                     const Mesh__Workers *workers);
void gv_workers_send(struct gv_gossip *gossip, struct gv_channel *session);
void gv_workers_redate(struct gv_gossip *gossip, uint64_t back_ms);

/* ---- settings.c ---- */
void gv_settings_send(struct gv_gossip *gossip, struct gv_channel *session);
void gv_settings_take(struct gv_gossip *gossip, struct gv_channel *session,
                      const Mesh__Settings *settings);
uint64_t gv_settings_digest(const struct gv_gossip *gossip);
void gv_settings_redate(struct gv_gossip *gossip, uint64_t back_ms);

#endif
