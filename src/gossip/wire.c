/*
 * wire.c - from a message to the effects that send it. Private to gossip, see machine.h.
 *
 * Packed once, however many sessions it goes to. A session whose backlog passes twice its limit
 * even though the log is held back is closed: it will come back and say where it stands.
 */
#include "grapevine/base/assert.h"
#include "machine.h"

void gv_wire_effect(struct gv_gossip *gossip, const struct gv_effect *effect)
{
    if (!gv_outbox_add(&gossip->outbox, effect)) {
        /* Out of memory: what is lost here is found missing by sequence or digest. */
        gossip->counters.queue_overflows += 1;
    }
}

void gv_wire_log(struct gv_gossip *gossip, enum gv_log_level level, const char *event,
                 const char *node)
{
    struct gv_effect effect = {.kind = GV_EFFECT_LOG, .reason = event, .level = (uint8_t)level};
    (void)gv_slice_copy_text(gv_slice_text(node), effect.node, sizeof effect.node);
    gv_wire_effect(gossip, &effect);
}

size_t gv_channel_backlog(const struct gv_channel *session)
{
    return session->queued + session->fresh;
}

static bool pack(struct gv_gossip *gossip, const ProtobufCMessage *message, struct gv_slice *bytes)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    if (len > GV_GOSSIP_FRAME_MAX) {
        return false;
    }
    uint8_t *into = gv_outbox_bytes(&gossip->outbox, len);
    if (into == NULL) {
        return false;
    }
    *bytes = gv_slice_of(into, protobuf_c_message_pack(message, into));
    return true;
}

static bool copy_out(struct gv_gossip *gossip, struct gv_slice bytes, struct gv_slice *copy)
{
    uint8_t *into = gv_outbox_bytes(&gossip->outbox, bytes.len);
    if (into == NULL) {
        return false;
    }
    memcpy(into, bytes.data, bytes.len);
    *copy = gv_slice_of(into, bytes.len);
    return true;
}

static void put(struct gv_gossip *gossip, struct gv_channel *session, struct gv_slice bytes)
{
    struct gv_effect effect = {
        .kind = GV_EFFECT_SEND, .session = session->id, .bytes = bytes, .reason = ""};
    memcpy(effect.node, session->peer->member.name, sizeof effect.node);
    gv_wire_effect(gossip, &effect);
    session->fresh += bytes.len;
    gossip->has_fresh = true;
    gossip->counters.bytes_sent += bytes.len;
}

void gv_wire_send(struct gv_gossip *gossip, struct gv_channel *session, Mesh__Message *message)
{
    struct gv_slice bytes;
    if (gossip->stopped) {
        return;
    }
    if (!pack(gossip, &message->base, &bytes)) {
        gossip->counters.queue_overflows += 1;
        return;
    }
    put(gossip, session, bytes);
}

static void broadcast(struct gv_gossip *gossip, Mesh__Message *message,
                      const struct gv_channel *except, gv_channel_filter takes)
{
    struct gv_slice bytes = {0};
    for (uint32_t i = 0; i < gossip->session_count && !gossip->stopped; i++) {
        struct gv_channel *session = gossip->sessions[i];
        if (session == except || (takes != NULL && !takes(gossip, session))) {
            continue;
        }
        if (bytes.data == NULL && !pack(gossip, &message->base, &bytes)) {
            gossip->counters.queue_overflows += 1;
            return;
        }
        put(gossip, session, bytes);
    }
}

/** To every session that takes it; NULL: to every one. */
void gv_wire_broadcast(struct gv_gossip *gossip, Mesh__Message *message, gv_channel_filter takes)
{
    broadcast(gossip, message, NULL, takes);
}

/** Along the tree; to every session when there is none. */
void gv_wire_broadcast_eager(struct gv_gossip *gossip, Mesh__Message *message,
                             const struct gv_channel *except)
{
    broadcast(gossip, message, except, gv_tree_is_eager);
}

/** Bytes that came from one session go on along the tree. */
void gv_wire_pass_on(struct gv_gossip *gossip, struct gv_slice bytes, const struct gv_channel *from)
{
    struct gv_slice copy = {0};
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        struct gv_channel *session = gossip->sessions[i];
        if (session == from || !session->knows_state || session->peer == from->peer ||
            !gv_tree_is_eager(gossip, session)) {
            continue;
        }
        if (gv_channel_backlog(session) >= gossip->options.session_queue_bytes) {
            gossip->counters.queue_overflows += 1; /* it hears of it by announcement */
            gv_relay_hurry(gossip, session);
            continue;
        }
        if (copy.data == NULL && !copy_out(gossip, bytes, &copy)) {
            return;
        }
        put(gossip, session, copy);
        gossip->counters.batches_relayed += 1;
    }
}

/** Bytes that were kept go to one session. */
void gv_wire_send_kept(struct gv_gossip *gossip, struct gv_channel *session, struct gv_slice bytes)
{
    struct gv_slice copy;
    if (!gossip->stopped && copy_out(gossip, bytes, &copy)) {
        put(gossip, session, copy);
    }
}

/**
 * A batch of our log goes to every session that has had all `before` it, or along the tree. A
 * session with a full queue is left behind: it catches up from the ring when its queue has drained.
 */
void gv_wire_broadcast_batch(struct gv_gossip *gossip, Mesh__Message *message, uint64_t before,
                             uint64_t last)
{
    struct gv_slice bytes = {0};
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        struct gv_channel *session = gossip->sessions[i];
        bool is_next =
            gossip->ring.relays ? gv_tree_is_eager(gossip, session) : session->sent == before;
        session->sent = gossip->ring.relays ? last : session->sent;
        if (!session->knows_state || !is_next || gossip->stopped) {
            continue;
        }
        if (gv_channel_backlog(session) >= gossip->options.session_queue_bytes) {
            gossip->counters.queue_overflows += 1;
            continue;
        }
        if (bytes.data == NULL && !pack(gossip, &message->base, &bytes)) {
            return; /* all are left behind, and catch up by range */
        }
        put(gossip, session, bytes);
        session->sent = last;
        gossip->counters.batches_sent += 1;
    }
}

/* ---- datagrams ---------------------------------------------------------------------------------
 */

/* Records that are still news, as many as fit beside what the packet holds already. */
static void add_news(struct gv_gossip *gossip, const struct gv_peer *to, Mesh__Packet *packet,
                     Mesh__Member *news, Mesh__Member **pointers, Mesh__Address *addrs)
{
    size_t bytes = mesh__packet__get_packed_size(packet);
    packet->news = pointers;
    uint32_t start = (uint32_t)gv_prng_below(&gossip->prng, gossip->peer_count);
    uint32_t look = gossip->news_riding == 0 ? 0 : gossip->peer_count;
    for (uint32_t i = 0; i < look && packet->n_news < GV_NEWS_MAX; i++) {
        struct gv_peer *peer = gossip->peers[(start + i) % gossip->peer_count];
        if (peer->news_left == 0 || peer == to) {
            continue;
        }
        size_t at = packet->n_news;
        gv_codec_member_out(&peer->member, peer->accuser, &addrs[at], &news[at]);
        size_t more = mesh__member__get_packed_size(&news[at]) + 4;
        if (bytes + more > GV_GOSSIP_PACKET_MAX) {
            break;
        }
        bytes += more;
        pointers[at] = &news[at];
        packet->n_news += 1;
        peer->news_left -= 1;
        gossip->news_riding -= peer->news_left == 0;
    }
}

void gv_wire_packet(struct gv_gossip *gossip, struct gv_peer *to, Mesh__Packet *packet,
                    struct gv_channel *over)
{
    Mesh__Member self, news[GV_NEWS_MAX];
    Mesh__Member *pointers[GV_NEWS_MAX];
    Mesh__Address addr, addrs[GV_NEWS_MAX];
    if (gossip->stopped) {
        return;
    }
    gv_codec_member_out(&gossip->self->member, gossip->self->accuser, &addr, &self);
    packet->self = &self;
    if (gossip->detector.tells_opinion) {
        packet->opinion = (Mesh__Status)to->member.status;
        packet->opinion_incarnation = to->member.incarnation;
    }
    if (over != NULL) {
        Mesh__Message message = MESH__MESSAGE__INIT;
        message.body_case = MESH__MESSAGE__BODY_PACKET;
        message.packet = packet;
        gv_wire_send(gossip, over, &message);
        packet->self = NULL; /* was this call's own */
        return;
    }
    if (to->member.gossip_addr.family == 0) {
        packet->self = NULL;
        return;
    }
    add_news(gossip, to, packet, news, pointers, addrs);
    struct gv_effect effect = {.kind = GV_EFFECT_PACKET,
                               .addr = to->member.gossip_addr,
                               .reason = "",
                               .boot_id = to->member.boot_id};
    memcpy(effect.node, to->member.name, sizeof effect.node);
    if (pack(gossip, &packet->base, &effect.bytes)) {
        GV_ASSERT(effect.bytes.len <= GV_GOSSIP_PACKET_MAX);
        gossip->counters.packets_sent += 1;
        gossip->counters.packet_bytes_sent += effect.bytes.len;
        gv_wire_effect(gossip, &effect);
    }
    packet->self = NULL;
    packet->news = NULL;
    packet->n_news = 0;
}
