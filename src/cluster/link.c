/*
 * link.c - the life of one session with one peer. links.c has the set of them.
 *
 *     CONNECTING --on_open--> PROVING --established--> OPEN --engine, peer or nonsense--> ENDED
 *         |   (accepted ones begin here)  |
 *         +-------- fails ----------------+------ refused ------> ENDED
 *
 * Both sides show their hello before either judges, so that a difference in cluster id, block size,
 * protocol or key is logged by both with both values. Nothing is answered to a peer that has not
 * proven itself, except why it was refused. An address that was refused is tried again after a
 * delay that grows to a minute.
 */
#include "judgement.h"

#include <stdio.h>
#include <string.h>

#define LINK_HIGH_BYTES ((size_t)64 * 1024)
#define LINK_LOW_BYTES  ((size_t)16 * 1024)

static uint64_t now_ms(void)
{
    return gv_shell_now().now_ms;
}

static struct gv_slice id_slice(const uint64_t *id)
{
    return gv_slice_of(id, sizeof *id);
}

/* ---- ending ------------------------------------------------------------------------------------
 */

/* The link is no longer the engine's; returns what it was. */
enum gv_link_state gv_link_leave(struct gv_link *link)
{
    enum gv_link_state was = link->state;
    if (was == GV_LINK_OPEN) {
        (void)gv_map_take(&link->links->by_id, id_slice(&link->id));
        if (!link->links->closing) {
            link->links->cluster->counters.sessions_closed += 1;
        }
    } else if (was == GV_LINK_PROVING && !link->outgoing) {
        link->links->strangers -= 1;
    }
    link->state = GV_LINK_ENDED;
    return was;
}

/* Tell the engine that a link, which was in state `was`, is gone. */
static void report_gone(struct gv_link *link, enum gv_link_state was, bool reset)
{
    struct gv_cluster *cluster = link->links->cluster;
    if (was == GV_LINK_OPEN) {
        gv_gossip_closed(cluster->gossip, link->id, &link->addr, reset, gv_shell_now());
    } else if (link->outgoing && was != GV_LINK_ENDED) {
        gv_gossip_closed(cluster->gossip, 0, &link->addr, reset, gv_shell_now());
    } else {
        return;
    }
    cluster->dirty = true;
    gv_shell_settle(cluster);
}

/* Everything sealed so far to the stream, which takes it all or is about to say on_closed. */
void gv_link_flush(struct gv_link *link)
{
    struct gv_slice bytes = gv_buf_slice(&link->out);
    if (bytes.len == 0 || link->state == GV_LINK_ENDED) {
        return;
    }
    enum gv_err err = gv_stream_send(link->stream, bytes);
    GV_ASSERT(err != GV_EINVAL);
    gv_buf_clear(&link->out);
}

/* End it from our side: what was sent still goes out. */
void gv_link_end(struct gv_link *link)
{
    gv_link_flush(link);
    enum gv_link_state was = gv_link_leave(link);
    gv_stream_finish(link->stream, GV_LINK_LINGER_MS);
    report_gone(link, was, false);
}

static const char *peer_name(const struct gv_link *link, char text[GV_ADDR_TEXT_BYTES])
{
    return link->hello.node[0] != '\0' ? link->hello.node : gv_addr_format(&link->addr, text);
}

static void on_closed(void *owner, enum gv_err why)
{
    struct gv_link *link = owner;
    struct gv_links *links = link->links;
    enum gv_link_state was = gv_link_leave(link);
    if (!links->closing) {
        if (was == GV_LINK_OPEN) {
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
    gv_links_release(links);
}

/* Whoever is not proven chooses its name and port as it likes: it must not fill the log. */
static bool may_log(const struct gv_link *link, const char *event)
{
    struct gv_cluster *cluster = link->links->cluster;
    char text[GV_ADDR_TEXT_BYTES];
    struct gv_addr host = link->addr;
    host.port = 0;
    const char *who = link->hello.node[0] != '\0' ? link->hello.node : gv_addr_format(&host, text);
    if (link->state == GV_LINK_OPEN) {
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

static void refuse(struct gv_link *link, const struct gv_judgement *judgement)
{
    struct gv_cluster *cluster = link->links->cluster;
    char addr[GV_ADDR_TEXT_BYTES];
    gv_judgement_count(&cluster->counters, judgement->refusal);
    const char *peer = peer_name(link, addr);
    if (may_log(link, judgement->what)) {
        char where[GV_ADDR_TEXT_BYTES];
        gv_log(GV_LOG_ERROR, "mesh.refused", GV_STR("peer", peer),
               GV_STR("addr", gv_addr_format(&link->addr, where)), GV_STR("what", judgement->what),
               GV_STR("ours", judgement->ours), GV_STR("theirs", judgement->theirs),
               GV_STR("advice", gv_judgement_advice(judgement)));
    }
    char text[GV_SESSION_TEXT_MAX];
    (void)snprintf(text, sizeof text, "%s: ours is %.80s, yours is %.80s", judgement->what,
                   judgement->ours, judgement->theirs);
    if (gv_session_refuse(link->session, judgement->refusal, text, &link->out) != GV_OK) {
        gv_buf_clear(&link->out);
    }
    if (link->outgoing) {
        gv_backoff_add(&link->links->backoff, &link->addr, now_ms());
    }
    gv_link_end(link);
}

/* A handshake that broke off: nonsense, a lie, or a refusal by the other side. */
static void give_up(struct gv_link *link, const char *why, struct gv_slice said)
{
    struct gv_cluster *cluster = link->links->cluster;
    char addr[GV_ADDR_TEXT_BYTES];
    const char *peer = peer_name(link, addr);
    bool was_open = link->state == GV_LINK_OPEN;
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
        gv_backoff_add(&link->links->backoff, &link->addr, now_ms());
    }
    gv_link_end(link);
}

/* ---- events of the session ---------------------------------------------------------------------
 */

/* A key in common, but not the one that each seals with: somebody was away during a rotation. */
static void tell_of_rings(const struct gv_link *link)
{
    const struct gv_session_peer *peer = gv_session_peer(link->session);
    struct gv_key_id own = gv_session_own_key(link->session);
    char ours[GV_KEY_ID_TEXT_BYTES];
    char theirs[GV_KEY_ID_TEXT_BYTES];
    bool is_shared =
        gv_key_id_is_none(own) ||
        (peer->has_our_key && gv_keyring_has(gv_keys_live(link->links->cluster), peer->key));
    if (!is_shared && may_log(link, "key.unshared")) {
        gv_log(GV_LOG_WARN, "key.unshared", GV_STR("peer", link->hello.node),
               GV_STR("ours", gv_key_id_format(own, ours)),
               GV_STR("theirs", gv_key_id_format(peer->key, theirs)),
               GV_STR("advice", "end the rotation: vinectl keys list shows who lacks which step; "
                                "take keys use and keys retire again"));
    }
}

static void opened(struct gv_link *link)
{
    struct gv_links *links = link->links;
    struct gv_cluster *cluster = links->cluster;
    if (!link->outgoing) {
        links->strangers -= 1;
    }
    link->id = ++links->last_id;
    link->state = GV_LINK_OPEN;
    if (gv_map_put(&links->by_id, id_slice(&link->id), link) != GV_OK) {
        link->state = GV_LINK_ENDED;
        gv_stream_close(link->stream);
        report_gone(link, GV_LINK_PROVING, false);
        return;
    }
    gv_backoff_remove(&links->backoff, &link->addr);
    cluster->counters.sessions_opened += 1;
    if (link->outgoing) {
        link->hello.dialed = link->addr;
    }
    gv_packets_believe(cluster->packets, link->hello.node, link->hello.boot_id);
    char addr[GV_ADDR_TEXT_BYTES];
    gv_log(GV_LOG_INFO, "session.opened", GV_STR("peer", link->hello.node),
           GV_STR("addr", gv_addr_format(&link->addr, addr)), GV_FLAG("outgoing", link->outgoing));
    tell_of_rings(link);
    gv_gossip_opened(cluster->gossip, link->id, link->outgoing, &link->hello, gv_shell_now());
    cluster->dirty = true;
    gv_shell_settle(cluster);
}

static void take_event(struct gv_link *link, const struct gv_session_event *event)
{
    struct gv_cluster *cluster = link->links->cluster;
    switch (event->type) {
    case GV_SESSION_NONE:
        break;
    case GV_SESSION_OPENED: {
        struct gv_judgement judgement = {.refusal = GV_REFUSAL_NONE};
        gv_judgement_make(link, event, &judgement);
        if (judgement.refusal != GV_REFUSAL_NONE) {
            refuse(link, &judgement);
        } else if (gv_session_accept(link->session, &link->out) != GV_OK) {
            give_up(link, "unacceptable", gv_slice_of(NULL, 0));
        } else {
            gv_link_flush(link);
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
        if (err != GV_OK && link->state == GV_LINK_OPEN) {
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
    struct gv_link *link = owner;
    while (bytes.len > 0 && link->state != GV_LINK_ENDED && !link->links->closing) {
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
        } while (event.type != GV_SESSION_NONE && link->state != GV_LINK_ENDED &&
                 !link->links->closing);
    }
}

static void on_end(void *owner)
{
    struct gv_link *link = owner;
    gv_stream_close(link->stream);
}

static void on_drain(void *owner)
{
    struct gv_link *link = owner;
    if (link->state == GV_LINK_OPEN && !link->links->closing) {
        gv_shell_settle(link->links->cluster);
    }
}

/* Begin the handshake: our opening goes out at once. */
enum gv_err gv_link_begin(struct gv_link *link)
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
        link->state = GV_LINK_PROVING;
        if (!link->outgoing) {
            link->links->strangers += 1;
        }
        gv_link_flush(link);
    }
    return err;
}

static void on_open(void *owner)
{
    struct gv_link *link = owner;
    if (link->links->closing) {
        return;
    }
    if (gv_link_begin(link) != GV_OK) {
        enum gv_link_state was = gv_link_leave(link);
        gv_stream_close(link->stream);
        report_gone(link, was, false);
    }
}

const struct gv_stream_events gv_link_events = {.on_open = on_open,
                                                .on_data = on_data,
                                                .on_end = on_end,
                                                .on_drain = on_drain,
                                                .on_closed = on_closed};
const struct gv_stream_limits gv_link_limits = {.high_mark_bytes = LINK_HIGH_BYTES,
                                                .low_mark_bytes = LINK_LOW_BYTES};
