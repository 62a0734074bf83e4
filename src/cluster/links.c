/*
 * links.c - the TCP half of the mesh: all sessions, and what the engine wants of them.
 *
 * What the engine sends is collected per link and handed to the kernel once per settling. An
 * address that was refused is tried again after a delay that grows to a minute (backoff.h).
 */
#include "links.h"

#include <string.h>

#define LINK_STRANGERS_MAX 256 /* accepted and not yet proven */
#define LINK_FLUSH_BYTES   ((size_t)256 * 1024)

static uint64_t now_ms(void)
{
    return gv_shell_now().now_ms;
}

static struct gv_slice id_slice(const uint64_t *id)
{
    return gv_slice_of(id, sizeof *id);
}

void gv_links_release(struct gv_links *links)
{
    if (!links->closing || links->count > 0) {
        return;
    }
    gv_map_deinit(&links->by_id);
    gv_buf_deinit(&links->failed);
    gv_mem_free(GV_MEM_GOSSIP, links);
}

static struct gv_link *make_link(struct gv_links *links, const struct gv_addr *addr, bool outgoing)
{
    struct gv_link *link =
        links->count >= GV_LINKS_MAX ? NULL : gv_mem_new(GV_MEM_GOSSIP, sizeof *link);
    if (link == NULL) {
        return NULL;
    }
    link->links = links;
    link->addr = *addr;
    link->outgoing = outgoing;
    link->since_ms = now_ms();
    gv_buf_init(&link->out, GV_MEM_GOSSIP, GV_LINK_OUT_BYTES);
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
        struct gv_link *link = GV_CONTAINER(at, struct gv_link, in_all);
        if (link->state == GV_LINK_PROVING && !link->outgoing) {
            links->cluster->counters.refused_handshake += 1;
            (void)gv_link_leave(link);
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
    struct gv_link *link = is_open ? make_link(links, &peer, false) : NULL;
    if (link == NULL) {
        gv_stream_close(stream);
        return;
    }
    link->stream = stream;
    gv_stream_adopt(stream, &gv_link_events, link, gv_link_limits);
    if (gv_link_begin(link) != GV_OK) {
        (void)gv_link_leave(link);
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
    if (gv_backoff_has(&links->backoff, addr, now_ms())) {
        fail_later(links, addr);
        return;
    }
    struct gv_link *link = make_link(links, addr, true);
    if (link == NULL) {
        fail_later(links, addr);
        return;
    }
    enum gv_err err = gv_stream_connect(links->cluster->loop, addr, &gv_link_events, link,
                                        gv_link_limits, &link->stream);
    if (err != GV_OK) {
        gv_list_remove(&link->in_all);
        links->count -= 1;
        gv_mem_free(GV_MEM_GOSSIP, link);
        fail_later(links, addr);
    }
}

static void send(struct gv_link *link, struct gv_slice bytes)
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
        gv_link_flush(link);
    }
}

void gv_links_carry(struct gv_links *links, const struct gv_effect *effect)
{
    if (effect->kind == GV_EFFECT_CONNECT) {
        dial(links, &effect->addr);
        return;
    }
    struct gv_link *link = gv_map_find(&links->by_id, id_slice(&effect->session));
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
    gv_link_flush(link);
    (void)gv_link_leave(link);
    gv_stream_finish(link->stream, GV_LINK_LINGER_MS);
}

bool gv_links_report(struct gv_links *links)
{
    struct gv_gossip *gossip = links->cluster->gossip;
    bool told = false;
    GV_LIST_EACH(&links->all, at, following)
    {
        struct gv_link *link = GV_CONTAINER(at, struct gv_link, in_all);
        gv_link_flush(link);
        if (link->state != GV_LINK_OPEN) {
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
static struct gv_link *find_stale(struct gv_links *links)
{
    const struct gv_keyring *ring = gv_keys_live(links->cluster);
    GV_LIST_EACH(&links->all, at, following)
    {
        struct gv_link *link = GV_CONTAINER(at, struct gv_link, in_all);
        if (link->state == GV_LINK_OPEN && !gv_keyring_has(ring, gv_session_key(link->session))) {
            return link;
        }
    }
    return NULL;
}

/*
 * What datagrams are sealed under: zeros, the active key, unless most of those in session with us
 * do not have it, and so would drop them all: we were down while they rotated. Then a key that they
 * do have. Most, so that no single member decides.
 */
struct gv_key_id gv_links_packet_key(const struct gv_links *links)
{
    struct gv_key_id common = {{0}};
    struct gv_key_id active = gv_keyring_active(gv_keys_live(links->cluster));
    size_t open = 0;
    size_t lacking = 0;
    GV_LIST_EACH(&links->all, at, following)
    {
        const struct gv_link *link = GV_CONTAINER(at, struct gv_link, in_all);
        if (link->state != GV_LINK_OPEN) {
            continue;
        }
        open += 1;
        if (!gv_session_peer(link->session)->has_our_key &&
            gv_key_id_equal(gv_session_own_key(link->session), active)) {
            lacking += 1;
            common = gv_session_key(link->session);
        }
    }
    return lacking * 2 > open ? common : (struct gv_key_id){{0}};
}

void gv_links_rekey(struct gv_links *links)
{
    struct gv_link *link;
    while ((link = find_stale(links)) != NULL) { /* ending one may change the list */
        gv_log(GV_LOG_INFO, "session.key_retired", GV_STR("peer", link->hello.node));
        gv_link_end(link);
    }
}

void gv_links_expire(struct gv_links *links)
{
    uint64_t now = now_ms();
    GV_LIST_EACH(&links->all, at, following)
    {
        struct gv_link *link = GV_CONTAINER(at, struct gv_link, in_all);
        bool is_young = link->state == GV_LINK_OPEN || link->state == GV_LINK_ENDED ||
                        now - link->since_ms < GV_LINK_PROVE_MS;
        if (!is_young) {
            links->cluster->counters.refused_handshake += link->state == GV_LINK_PROVING;
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
        const struct gv_link *link = GV_CONTAINER(at, struct gv_link, in_all);
        if (link->state == GV_LINK_OPEN) {
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
        const struct gv_link *link = GV_CONTAINER(at, struct gv_link, in_all);
        if (link->state != GV_LINK_OPEN) {
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
    gv_map_init(&made->by_id, GV_MEM_GOSSIP, GV_LINKS_MAX, secret);
    gv_buf_init(&made->failed, GV_MEM_GOSSIP, 4096 * sizeof(struct gv_addr));
    gv_list_init(&made->all);
    struct gv_listener_options options = {.addr = addr, .share_port = false};
    enum gv_err err = gv_listener_open(cluster->loop, options, on_accept, made, &made->listener);
    if (err != GV_OK) {
        made->closing = true;
        gv_links_release(made);
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
        struct gv_link *link = GV_CONTAINER(at, struct gv_link, in_all);
        gv_session_free(link->session); /* it borrows from the cluster, which goes first */
        link->session = NULL;
        gv_stream_close(link->stream);
    }
    gv_links_release(links);
}
