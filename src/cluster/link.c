/*
 * link.c - the TCP half of the mesh: one link is one session with one peer.
 *
 *     CONNECTING --on_open--> PROVING --established--> OPEN --engine, peer or nonsense--> ENDED
 *         |   (accepted ones begin here)  |
 *         +-------- fails ----------------+------ refused ------> ENDED
 *
 * Both sides show their hello before either judges, so that a difference in cluster id, block size,
 * protocol or key is logged by both with both values. Nothing is answered to a peer that has not
 * proven itself, except why it was refused. An address that was refused is tried again after a
 * delay that grows to a minute.
 *
 * What the engine sends is collected per link and handed to the kernel once per settling.
 */
#include "grapevine/seal/session.h"
#include "shell.h"

#include <stdio.h>
#include <string.h>

#define LINKS_MAX          4608 /* sessions: two for each member that can be, and strangers */
#define LINK_STRANGERS_MAX 256  /* accepted and not yet proven */
#define LINK_PROVE_MS      5000 /* the longest handshake */
#define LINK_LINGER_MS     500
#define LINK_OUT_BYTES     ((size_t)64 * 1024 * 1024)
#define LINK_FLUSH_BYTES   ((size_t)256 * 1024)
#define LINK_HIGH_BYTES    ((size_t)64 * 1024)
#define LINK_LOW_BYTES     ((size_t)16 * 1024)
#define BACKOFF_SLOTS      64
#define BACKOFF_LEAST_MS   1000
#define BACKOFF_MOST_MS    60000
#define VALUE_BYTES        GV_CLUSTER_ID_MAX

enum link_state {
    LINK_CONNECTING = 0,
    LINK_PROVING,
    LINK_OPEN,
    LINK_ENDED
};

/* Why a peer is refused; the number travels. */
enum refusal {
    REFUSAL_NONE = 0,
    REFUSAL_CLUSTER = 1,
    REFUSAL_BLOCK = 2,
    REFUSAL_PROTOCOL = 3,
    REFUSAL_KEY = 4,
    REFUSAL_HELLO = 5
};

struct link {
    struct gv_list in_all;
    struct gv_links *links;     /* borrowed */
    struct gv_stream *stream;   /* owned until its on_closed */
    struct gv_session *session; /* owned; NULL while connecting */
    struct gv_buf out;          /* owned; sealed and not yet handed to the stream */
    struct gv_addr addr;        /* the peer's end; what was dialed, when outgoing */
    struct gv_gossip_hello hello;
    enum link_state state;
    bool outgoing;
    uint64_t id; /* the engine's number for it; never reused */
    uint64_t since_ms;
    size_t told_queue_bytes;
};

struct backoff {
    struct gv_addr addr;
    uint64_t until_ms;
    uint64_t delay_ms; /* 0: slot not used */
};

struct gv_links {
    struct gv_cluster *cluster; /* borrowed; not to be used once closing */
    struct gv_listener *listener;
    struct gv_list all;   /* struct link */
    struct gv_map by_id;  /* OPEN links */
    struct gv_buf failed; /* struct gv_addr: connects that failed at once */
    struct backoff backoff[BACKOFF_SLOTS];
    uint64_t last_id;
    uint32_t count;
    uint32_t strangers;
    bool closing;
};

static uint64_t now_ms(void)
{
    return gv_shell_now().now_ms;
}

static struct gv_slice id_slice(const uint64_t *id)
{
    return gv_slice_of(id, sizeof *id);
}

/* ---- the growing delay -------------------------------------------------------------------------
 */

static struct backoff *find_backoff(struct gv_links *links, const struct gv_addr *addr)
{
    for (size_t i = 0; i < BACKOFF_SLOTS; i++) {
        if (links->backoff[i].delay_ms > 0 && gv_addr_equal(&links->backoff[i].addr, addr)) {
            return &links->backoff[i];
        }
    }
    return NULL;
}

static void back_off(struct gv_links *links, const struct gv_addr *addr)
{
    struct backoff *slot = find_backoff(links, addr);
    if (slot == NULL) { /* take a free slot, or the one that is over first */
        slot = &links->backoff[0];
        for (size_t i = 1; i < BACKOFF_SLOTS; i++) {
            if (links->backoff[i].until_ms < slot->until_ms) {
                slot = &links->backoff[i];
            }
        }
        *slot = (struct backoff){.addr = *addr};
    }
    slot->delay_ms = slot->delay_ms == 0 ? BACKOFF_LEAST_MS : slot->delay_ms * 2;
    slot->delay_ms = slot->delay_ms > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : slot->delay_ms;
    slot->until_ms = now_ms() + slot->delay_ms;
}

static void forgive(struct gv_links *links, const struct gv_addr *addr)
{
    struct backoff *slot = find_backoff(links, addr);
    if (slot != NULL) {
        *slot = (struct backoff){.delay_ms = 0};
    }
}

/* ---- ending ------------------------------------------------------------------------------------
 */

static void release(struct gv_links *links)
{
    if (!links->closing || links->count > 0) {
        return;
    }
    gv_map_deinit(&links->by_id);
    gv_buf_deinit(&links->failed);
    gv_mem_free(GV_MEM_GOSSIP, links);
}

/* The link is no longer the engine's; returns what it was. */
static enum link_state leave_state(struct link *link)
{
    enum link_state was = link->state;
    if (was == LINK_OPEN) {
        (void)gv_map_take(&link->links->by_id, id_slice(&link->id));
        if (!link->links->closing) {
            link->links->cluster->counters.sessions_closed += 1;
        }
    } else if (was == LINK_PROVING && !link->outgoing) {
        link->links->strangers -= 1;
    }
    link->state = LINK_ENDED;
    return was;
}

/* Tell the engine that a link, which was in state `was`, is gone. */
static void report_gone(struct link *link, enum link_state was, bool reset)
{
    struct gv_cluster *cluster = link->links->cluster;
    if (was == LINK_OPEN) {
        gv_gossip_closed(cluster->gossip, link->id, &link->addr, reset, gv_shell_now());
    } else if (link->outgoing && was != LINK_ENDED) {
        gv_gossip_closed(cluster->gossip, 0, &link->addr, reset, gv_shell_now());
    } else {
        return;
    }
    cluster->dirty = true;
    gv_shell_settle(cluster);
}

/* Everything sealed so far to the stream, which takes it all or is about to say on_closed. */
static void flush(struct link *link)
{
    struct gv_slice bytes = gv_buf_slice(&link->out);
    if (bytes.len == 0 || link->state == LINK_ENDED) {
        return;
    }
    enum gv_err err = gv_stream_send(link->stream, bytes);
    GV_ASSERT(err != GV_EINVAL);
    gv_buf_clear(&link->out);
}

/* End it from our side: what was sent still goes out. */
static void end(struct link *link)
{
    flush(link);
    enum link_state was = leave_state(link);
    gv_stream_finish(link->stream, LINK_LINGER_MS);
    report_gone(link, was, false);
}

static const char *peer_name(const struct link *link, char text[GV_ADDR_TEXT_BYTES])
{
    return link->hello.node[0] != '\0' ? link->hello.node : gv_addr_format(&link->addr, text);
}

static void on_closed(void *owner, enum gv_err why)
{
    struct link *link = owner;
    struct gv_links *links = link->links;
    enum link_state was = leave_state(link);
    if (!links->closing) {
        if (was == LINK_OPEN) {
            gv_log(GV_LOG_INFO, "session.closed", GV_STR("peer", link->hello.node),
                   GV_FLAG("outgoing", link->outgoing), GV_ERR(why));
        }
        report_gone(link, was, true);
    }
    gv_list_remove(&link->in_all);
    links->count -= 1;
    gv_session_free(link->session);
    gv_buf_deinit(&link->out);
    gv_mem_free(GV_MEM_GOSSIP, link);
    release(links);
}

/* Whoever is not proven chooses its name and port as it likes: it must not fill the log. */
static bool may_log(const struct link *link, const char *event)
{
    struct gv_cluster *cluster = link->links->cluster;
    char text[GV_ADDR_TEXT_BYTES];
    struct gv_addr host = link->addr;
    host.port = 0;
    const char *who = link->hello.node[0] != '\0' ? link->hello.node : gv_addr_format(&host, text);
    if (link->state == LINK_OPEN) {
        return gv_shell_may_log(cluster, event, who);
    }
    if (now_ms() - cluster->strangers_since_ms >= GV_SHELL_LOG_QUIET_MS) {
        cluster->strangers_since_ms = now_ms();
        cluster->stranger_lines = 0;
    }
    bool may =
        cluster->stranger_lines < GV_SHELL_LOG_STRANGERS && gv_shell_may_log(cluster, event, who);
    cluster->stranger_lines += may ? 1 : 0;
    return may;
}

/* ---- judging -----------------------------------------------------------------------------------
 */

struct judgement {
    enum refusal refusal;
    const char *what;
    char ours[VALUE_BYTES];
    char theirs[VALUE_BYTES];
};

static void judge_hello(const struct gv_gossip_hello *mine, const struct gv_gossip_hello *theirs,
                        struct judgement *judgement)
{
    if (strcmp(mine->cluster_id, theirs->cluster_id) != 0) {
        judgement->refusal = REFUSAL_CLUSTER;
        judgement->what = "cluster_id";
        (void)snprintf(judgement->ours, VALUE_BYTES, "%s", mine->cluster_id);
        (void)snprintf(judgement->theirs, VALUE_BYTES, "%s", theirs->cluster_id);
    } else if (mine->block_bytes != theirs->block_bytes) {
        judgement->refusal = REFUSAL_BLOCK;
        judgement->what = "block_bytes";
        (void)snprintf(judgement->ours, VALUE_BYTES, "%u", mine->block_bytes);
        (void)snprintf(judgement->theirs, VALUE_BYTES, "%u", theirs->block_bytes);
    } else if (mine->protocol_min > theirs->protocol_max ||
               theirs->protocol_min > mine->protocol_max) {
        judgement->refusal = REFUSAL_PROTOCOL;
        judgement->what = "protocol";
        (void)snprintf(judgement->ours, VALUE_BYTES, "%u..%u", mine->protocol_min,
                       mine->protocol_max);
        (void)snprintf(judgement->theirs, VALUE_BYTES, "%u..%u", theirs->protocol_min,
                       theirs->protocol_max);
    }
}

/* Key first: whoever has another key is a stranger whatever else it says. */
static void judge(struct link *link, const struct gv_session_event *event,
                  struct judgement *judgement)
{
    const struct gv_session_peer *peer = gv_session_peer(link->session);
    bool readable = gv_gossip_hello_decode(event->bytes, &link->hello) == GV_OK;
    if (!readable) {
        memset(&link->hello, 0, sizeof link->hello);
    }
    if (peer->version != GV_SESSION_VERSION) {
        judgement->refusal = REFUSAL_PROTOCOL;
        judgement->what = "session_version";
        (void)snprintf(judgement->ours, VALUE_BYTES, "%u", (unsigned)GV_SESSION_VERSION);
        (void)snprintf(judgement->theirs, VALUE_BYTES, "%u", (unsigned)peer->version);
    } else if (event->verdict != GV_OK) {
        char id[GV_KEY_ID_TEXT_BYTES];
        judgement->refusal = REFUSAL_KEY;
        judgement->what = "key";
        (void)snprintf(judgement->ours, VALUE_BYTES, "%s",
                       gv_key_id_format(gv_session_own_key(link->session), id));
        (void)snprintf(judgement->theirs, VALUE_BYTES, "%s", gv_key_id_format(peer->key, id));
    } else if (!readable) {
        judgement->refusal = REFUSAL_HELLO;
        judgement->what = "hello";
        (void)snprintf(judgement->ours, VALUE_BYTES, "%s", "readable");
        (void)snprintf(judgement->theirs, VALUE_BYTES, "%s", "nonsense");
    } else {
        struct gv_gossip_hello mine;
        gv_gossip_hello(link->links->cluster->gossip, &mine);
        judge_hello(&mine, &link->hello, judgement);
    }
}

static void count_refusal(struct gv_cluster_counters *counters, enum refusal refusal)
{
    switch (refusal) {
    case REFUSAL_CLUSTER:
        counters->refused_cluster += 1;
        break;
    case REFUSAL_BLOCK:
        counters->refused_block += 1;
        break;
    case REFUSAL_PROTOCOL:
        counters->refused_protocol += 1;
        break;
    case REFUSAL_KEY:
        counters->refused_key += 1;
        break;
    case REFUSAL_NONE:
    case REFUSAL_HELLO:
        counters->refused_handshake += 1;
        break;
    }
}

static void refuse(struct link *link, const struct judgement *judgement)
{
    struct gv_cluster *cluster = link->links->cluster;
    char addr[GV_ADDR_TEXT_BYTES];
    count_refusal(&cluster->counters, judgement->refusal);
    const char *peer = peer_name(link, addr);
    if (may_log(link, judgement->what)) {
        char where[GV_ADDR_TEXT_BYTES];
        gv_log(GV_LOG_ERROR, "mesh.refused", GV_STR("peer", peer),
               GV_STR("addr", gv_addr_format(&link->addr, where)), GV_STR("what", judgement->what),
               GV_STR("ours", judgement->ours), GV_STR("theirs", judgement->theirs));
    }
    char text[GV_SESSION_TEXT_MAX];
    (void)snprintf(text, sizeof text, "%s: ours is %.80s, yours is %.80s", judgement->what,
                   judgement->ours, judgement->theirs);
    if (gv_session_refuse(link->session, judgement->refusal, text, &link->out) != GV_OK) {
        gv_buf_clear(&link->out);
    }
    if (link->outgoing) {
        back_off(link->links, &link->addr);
    }
    end(link);
}

/* A handshake that broke off: nonsense, a lie, or a refusal by the other side. */
static void give_up(struct link *link, const char *why, struct gv_slice said)
{
    struct gv_cluster *cluster = link->links->cluster;
    char addr[GV_ADDR_TEXT_BYTES];
    const char *peer = peer_name(link, addr);
    bool was_open = link->state == LINK_OPEN;
    if (was_open) {
        cluster->counters.frames_broken += 1;
    } else {
        cluster->counters.refused_handshake += 1;
    }
    if (may_log(link, why)) {
        gv_log(GV_LOG_WARN, "session.broken", GV_STR("peer", peer), GV_STR("why", why),
               GV_BYTES("said", said), GV_FLAG("was_open", was_open));
    }
    if (link->outgoing && !was_open) {
        back_off(link->links, &link->addr);
    }
    end(link);
}

/* ---- events of the session ---------------------------------------------------------------------
 */

static void opened(struct link *link)
{
    struct gv_links *links = link->links;
    struct gv_cluster *cluster = links->cluster;
    if (!link->outgoing) {
        links->strangers -= 1;
    }
    link->id = ++links->last_id;
    link->state = LINK_OPEN;
    if (gv_map_put(&links->by_id, id_slice(&link->id), link) != GV_OK) {
        link->state = LINK_ENDED;
        gv_stream_close(link->stream);
        report_gone(link, LINK_PROVING, false);
        return;
    }
    forgive(links, &link->addr);
    cluster->counters.sessions_opened += 1;
    if (link->outgoing) {
        link->hello.dialed = link->addr;
    }
    gv_packets_believe(cluster->packets, link->hello.node, link->hello.boot_id);
    char addr[GV_ADDR_TEXT_BYTES];
    gv_log(GV_LOG_INFO, "session.opened", GV_STR("peer", link->hello.node),
           GV_STR("addr", gv_addr_format(&link->addr, addr)), GV_FLAG("outgoing", link->outgoing));
    gv_gossip_opened(cluster->gossip, link->id, link->outgoing, &link->hello, gv_shell_now());
    cluster->dirty = true;
    gv_shell_settle(cluster);
}

static void take_event(struct link *link, const struct gv_session_event *event)
{
    struct gv_cluster *cluster = link->links->cluster;
    switch (event->type) {
    case GV_SESSION_NONE:
        break;
    case GV_SESSION_OPENED: {
        struct judgement judgement = {.refusal = REFUSAL_NONE};
        judge(link, event, &judgement);
        if (judgement.refusal != REFUSAL_NONE) {
            refuse(link, &judgement);
        } else if (gv_session_accept(link->session, &link->out) != GV_OK) {
            give_up(link, "unacceptable", gv_slice_of(NULL, 0));
        } else {
            flush(link);
        }
        break;
    }
    case GV_SESSION_ESTABLISHED:
        if (memcmp(gv_session_peer(link->session)->identity, link->hello.identity,
                   GV_IDENTITY_BYTES) != 0) {
            give_up(link, "hello of another node", gv_slice_of(NULL, 0));
        } else {
            opened(link);
        }
        break;
    case GV_SESSION_MESSAGE: {
        enum gv_err err =
            gv_gossip_message(cluster->gossip, link->id, event->bytes, gv_shell_now());
        gv_shell_settle(cluster);
        if (err != GV_OK && link->state == LINK_OPEN) {
            give_up(link, "nonsense", gv_slice_of(NULL, 0));
        }
        break;
    }
    case GV_SESSION_REFUSED:
        give_up(link, "refused by the peer", event->bytes);
        break;
    }
}

static void on_data(void *owner, struct gv_slice bytes)
{
    struct link *link = owner;
    while (bytes.len > 0 && link->state != LINK_ENDED && !link->links->closing) {
        size_t part = bytes.len < GV_SESSION_FEED_MAX ? bytes.len : GV_SESSION_FEED_MAX;
        enum gv_err err = gv_session_feed(link->session, gv_slice_of(bytes.data, part));
        bytes = gv_slice_of(bytes.data + part, bytes.len - part);
        struct gv_session_event event = {.type = GV_SESSION_NONE};
        do {
            if (err == GV_OK) {
                err = gv_session_next(link->session, &event);
            }
            if (err != GV_OK) {
                give_up(link, gv_err_name(err), gv_slice_of(NULL, 0));
                return;
            }
            take_event(link, &event);
        } while (event.type != GV_SESSION_NONE && link->state != LINK_ENDED &&
                 !link->links->closing);
    }
}

static void on_end(void *owner)
{
    struct link *link = owner;
    gv_stream_close(link->stream);
}

static void on_drain(void *owner)
{
    struct link *link = owner;
    if (link->state == LINK_OPEN && !link->links->closing) {
        gv_shell_settle(link->links->cluster);
    }
}

/* Begin the handshake: our opening goes out at once. */
static enum gv_err begin(struct link *link)
{
    struct gv_cluster *cluster = link->links->cluster;
    struct gv_gossip_hello mine;
    uint8_t hello[GV_SESSION_HELLO_MAX];
    size_t len = 0;
    gv_gossip_hello(cluster->gossip, &mine);
    enum gv_err err = gv_gossip_hello_encode(&mine, hello, sizeof hello, &len);
    if (err == GV_OK) {
        struct gv_session_options options = {.role = link->outgoing ? GV_SESSION_INITIATOR
                                                                    : GV_SESSION_ACCEPTOR,
                                             .ring = gv_keys_live(cluster),
                                             .identity = cluster->identity,
                                             .hello = gv_slice_of(hello, len),
                                             .max_message_bytes = GV_GOSSIP_FRAME_MAX};
        err = gv_session_new(options, &link->out, &link->session);
    }
    if (err == GV_OK) {
        link->state = LINK_PROVING;
        if (!link->outgoing) {
            link->links->strangers += 1;
        }
        flush(link);
    }
    return err;
}

static void on_open(void *owner)
{
    struct link *link = owner;
    if (link->links->closing) {
        return;
    }
    if (begin(link) != GV_OK) {
        enum link_state was = leave_state(link);
        gv_stream_close(link->stream);
        report_gone(link, was, false);
    }
}

static const struct gv_stream_events link_events = {.on_open = on_open,
                                                    .on_data = on_data,
                                                    .on_end = on_end,
                                                    .on_drain = on_drain,
                                                    .on_closed = on_closed};
static const struct gv_stream_limits link_limits = {.high_mark_bytes = LINK_HIGH_BYTES,
                                                    .low_mark_bytes = LINK_LOW_BYTES};

static struct link *link_new(struct gv_links *links, const struct gv_addr *addr, bool outgoing)
{
    struct link *link = links->count >= LINKS_MAX ? NULL : gv_mem_new(GV_MEM_GOSSIP, sizeof *link);
    if (link == NULL) {
        return NULL;
    }
    link->links = links;
    link->addr = *addr;
    link->outgoing = outgoing;
    link->since_ms = now_ms();
    gv_buf_init(&link->out, GV_MEM_GOSSIP, LINK_OUT_BYTES);
    gv_list_init(&link->in_all);
    gv_list_add(&links->all, &link->in_all);
    links->count += 1;
    return link;
}

/* All places of strangers are taken: the one that has taken longest gives way. An honest handshake
 * takes a moment, so that it gets through while others hold connections open. */
static void drop_a_stranger(struct gv_links *links)
{
    GV_LIST_EACH(&links->all, at, following)
    {
        struct link *link = GV_CONTAINER(at, struct link, in_all);
        if (link->state == LINK_PROVING && !link->outgoing) {
            links->cluster->counters.refused_handshake += 1;
            (void)leave_state(link);
            gv_stream_close(link->stream);
            return;
        }
    }
}

static void on_accept(void *owner, struct gv_stream *stream)
{
    struct gv_links *links = owner;
    struct gv_addr peer = gv_stream_peer(stream);
    bool is_open = !links->closing && !links->cluster->leaving;
    if (is_open && links->strangers >= LINK_STRANGERS_MAX) {
        drop_a_stranger(links);
    }
    struct link *link = is_open ? link_new(links, &peer, false) : NULL;
    if (link == NULL) {
        gv_stream_close(stream);
        return;
    }
    link->stream = stream;
    gv_stream_adopt(stream, &link_events, link, link_limits);
    if (begin(link) != GV_OK) {
        (void)leave_state(link);
        gv_stream_close(stream);
    }
}

/* ---- effects -----------------------------------------------------------------------------------
 */

static void fail_later(struct gv_links *links, const struct gv_addr *addr)
{
    /* When even this is not possible, the engine's own timeout finds out. */
    if (gv_buf_append(&links->failed, gv_slice_of(addr, sizeof *addr)) != GV_OK) {
        gv_log(GV_LOG_WARN, "session.forgotten", GV_ERR(GV_ENOMEM));
    }
}

static void dial(struct gv_links *links, const struct gv_addr *addr)
{
    struct backoff *backoff = find_backoff(links, addr);
    if (backoff != NULL && now_ms() < backoff->until_ms) {
        fail_later(links, addr);
        return;
    }
    struct link *link = link_new(links, addr, true);
    if (link == NULL) {
        fail_later(links, addr);
        return;
    }
    enum gv_err err = gv_stream_connect(links->cluster->loop, addr, &link_events, link, link_limits,
                                        &link->stream);
    if (err != GV_OK) {
        gv_list_remove(&link->in_all);
        links->count -= 1;
        gv_mem_free(GV_MEM_GOSSIP, link);
        fail_later(links, addr);
    }
}

static void send(struct link *link, struct gv_slice bytes)
{
    enum gv_err err = gv_session_send(link->session, bytes, &link->out);
    if (err != GV_OK) {
        /* A message that is lost inside a reliable session would be a gap: end it, begin anew. */
        gv_log(GV_LOG_WARN, "session.unsent", GV_STR("peer", link->hello.node), GV_ERR(err),
               GV_UINT("bytes", bytes.len));
        gv_stream_close(link->stream);
        return;
    }
    if (link->out.len >= LINK_FLUSH_BYTES) {
        flush(link);
    }
}

void gv_links_carry(struct gv_links *links, const struct gv_effect *effect)
{
    if (effect->kind == GV_EFFECT_CONNECT) {
        dial(links, &effect->addr);
        return;
    }
    struct link *link = gv_map_find(&links->by_id, id_slice(&effect->session));
    if (link == NULL) {
        return;
    }
    if (effect->kind == GV_EFFECT_SEND) {
        send(link, effect->bytes);
        return;
    }
    GV_ASSERT(effect->kind == GV_EFFECT_CLOSE);
    gv_log(GV_LOG_INFO, "session.ended", GV_STR("peer", link->hello.node),
           GV_STR("why", effect->reason));
    flush(link);
    (void)leave_state(link);
    gv_stream_finish(link->stream, LINK_LINGER_MS);
}

bool gv_links_report(struct gv_links *links)
{
    struct gv_gossip *gossip = links->cluster->gossip;
    bool told = false;
    GV_LIST_EACH(&links->all, at, following)
    {
        struct link *link = GV_CONTAINER(at, struct link, in_all);
        flush(link);
        if (link->state != LINK_OPEN) {
            continue;
        }
        size_t queued = gv_stream_queued_bytes(link->stream);
        if (queued != link->told_queue_bytes) {
            link->told_queue_bytes = queued;
            gv_gossip_queued(gossip, link->id, queued);
            told = true;
        }
    }
    while (links->failed.len >= sizeof(struct gv_addr)) {
        struct gv_addr addr;
        memcpy(&addr, gv_buf_slice(&links->failed).data, sizeof addr);
        gv_buf_consume(&links->failed, sizeof addr);
        gv_gossip_closed(gossip, 0, &addr, false, gv_shell_now());
        return true; /* its effects first */
    }
    return told;
}

/* The first session that runs under a key that is gone, or NULL. */
static struct link *find_stale(struct gv_links *links)
{
    const struct gv_keyring *ring = gv_keys_live(links->cluster);
    GV_LIST_EACH(&links->all, at, following)
    {
        struct link *link = GV_CONTAINER(at, struct link, in_all);
        if (link->state == LINK_OPEN && !gv_keyring_has(ring, gv_session_key(link->session))) {
            return link;
        }
    }
    return NULL;
}

void gv_links_rekey(struct gv_links *links)
{
    struct link *link;
    while ((link = find_stale(links)) != NULL) { /* ending one may change the list */
        gv_log(GV_LOG_INFO, "session.key_retired", GV_STR("peer", link->hello.node));
        end(link);
    }
}

void gv_links_expire(struct gv_links *links)
{
    uint64_t now = now_ms();
    GV_LIST_EACH(&links->all, at, following)
    {
        struct link *link = GV_CONTAINER(at, struct link, in_all);
        bool is_young = link->state == LINK_OPEN || link->state == LINK_ENDED ||
                        now - link->since_ms < LINK_PROVE_MS;
        if (!is_young) {
            links->cluster->counters.refused_handshake += link->state == LINK_PROVING;
            gv_stream_close(link->stream); /* on_closed tells the engine */
        }
    }
}

/* ---- looking -----------------------------------------------------------------------------------
 */

struct gv_addr gv_links_addr(const struct gv_links *links)
{
    return gv_listener_addr(links->listener);
}

size_t gv_links_queued(const struct gv_links *links)
{
    size_t sum = 0;
    GV_LIST_EACH(&links->all, at, following)
    {
        const struct link *link = GV_CONTAINER(at, struct link, in_all);
        if (link->state == LINK_OPEN) {
            sum += link->out.len + gv_stream_queued_bytes(link->stream);
        }
    }
    return sum;
}

uint32_t gv_links_describe(const struct gv_links *links, struct gv_cluster_session *sessions,
                           uint32_t room)
{
    uint32_t count = 0;
    uint64_t now = now_ms();
    GV_LIST_EACH(&links->all, at, following)
    {
        const struct link *link = GV_CONTAINER(at, struct link, in_all);
        if (link->state != LINK_OPEN) {
            continue;
        }
        if (count < room) {
            struct gv_cluster_session *session = &sessions[count];
            *session = (struct gv_cluster_session){
                .addr = link->addr,
                .outgoing = link->outgoing,
                .encrypted = gv_keys_live(links->cluster) != NULL,
                .queued_bytes = link->out.len + gv_stream_queued_bytes(link->stream),
                .age_ms = now - link->since_ms};
            gv_slice_copy_text(gv_slice_text(link->hello.node), session->peer,
                               sizeof session->peer);
        }
        count += 1;
    }
    return count;
}

/* ---- set-up ------------------------------------------------------------------------------------
 */

enum gv_err gv_links_open(struct gv_cluster *cluster, struct gv_addr addr, struct gv_links **links)
{
    struct gv_links *made = gv_mem_new(GV_MEM_GOSSIP, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    made->cluster = cluster;
    uint64_t secret[2];
    gv_random_bytes(secret, sizeof secret);
    gv_map_init(&made->by_id, GV_MEM_GOSSIP, LINKS_MAX, secret);
    gv_buf_init(&made->failed, GV_MEM_GOSSIP, 4096 * sizeof(struct gv_addr));
    gv_list_init(&made->all);
    struct gv_listener_options options = {.addr = addr, .share_port = false};
    enum gv_err err = gv_listener_open(cluster->loop, options, on_accept, made, &made->listener);
    if (err != GV_OK) {
        made->closing = true;
        release(made);
        return err;
    }
    *links = made;
    return GV_OK;
}

void gv_links_close(struct gv_links *links)
{
    if (links == NULL) {
        return;
    }
    gv_listener_close(links->listener);
    links->listener = NULL;
    links->closing = true;
    GV_LIST_EACH(&links->all, at, following)
    {
        struct link *link = GV_CONTAINER(at, struct link, in_all);
        gv_session_free(link->session); /* it borrows from the cluster, which goes first */
        link->session = NULL;
        gv_stream_close(link->stream);
    }
    release(links);
}
