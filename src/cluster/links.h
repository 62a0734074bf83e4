/*
 * links.h - one link is one session with one peer; links are all of them. What link.c (the life of
 * one) and links.c (the set, and what the engine wants of it) share.
 *
 * Private to cluster/. The mesh thread.
 */
#ifndef GV_CLUSTER_LINKS_H
#define GV_CLUSTER_LINKS_H

#include "backoff.h"
#include "grapevine/seal/session.h"
#include "shell.h"

#define GV_LINKS_MAX      4608 /* sessions: two for each member that can be, and strangers */
#define GV_LINK_PROVE_MS  5000 /* the longest handshake */
#define GV_LINK_LINGER_MS 500
#define GV_LINK_OUT_BYTES ((size_t)64 * 1024 * 1024)

enum gv_link_state {
    GV_LINK_CONNECTING = 0,
    GV_LINK_PROVING,
    GV_LINK_OPEN,
    GV_LINK_ENDED
};

struct gv_link {
    struct gv_list in_all;
    struct gv_links *links;     /* borrowed */
    struct gv_stream *stream;   /* owned until its on_closed */
    struct gv_session *session; /* owned; NULL while connecting */
    struct gv_buf out;          /* owned; sealed and not yet handed to the stream */
    struct gv_addr addr;        /* the peer's end; what was dialed, when outgoing */
    struct gv_gossip_hello hello;
    enum gv_link_state state;
    bool outgoing;
    uint64_t id; /* the engine's number for it; never reused */
    uint64_t since_ms;
    size_t told_queue_bytes;
};

struct gv_links {
    struct gv_cluster *cluster; /* borrowed; not to be used once closing */
    struct gv_listener *listener;
    struct gv_list all;   /* struct gv_link */
    struct gv_map by_id;  /* OPEN links */
    struct gv_buf failed; /* struct gv_addr: connects that failed at once */
    struct gv_backoff backoff;
    uint64_t last_id;
    uint32_t count;
    uint32_t strangers;
    bool closing;
};

/* ---- link.c ---- */
extern const struct gv_stream_events gv_link_events;
extern const struct gv_stream_limits gv_link_limits;
/** Begin the handshake: our opening goes out at once. Errors: as gv_session_new(). */
GV_MUST_USE enum gv_err gv_link_begin(struct gv_link *link);
/** The link is no longer the engine's; returns what it was. */
enum gv_link_state gv_link_leave(struct gv_link *link);
/** Everything sealed so far to the stream. */
void gv_link_flush(struct gv_link *link);
/** End it from our side: what was sent still goes out. */
void gv_link_end(struct gv_link *link);

/* ---- links.c ---- */
/** The set is closing and its last link is gone: free it. */
void gv_links_release(struct gv_links *links);

#endif
