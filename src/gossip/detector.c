/*
 * detector.c - who is alive? The questions of SWIM, with the Lifeguard refinements. Private, see
 * machine.h; what an unanswered question leads to is in doubt.c.
 *
 * Das, Gupta, Motivala: SWIM (2002); Dadgar, Phillips, Currey: Lifeguard (2018).
 *
 *     probe: datagram -> (no answer) 3 others ask it, and we ask over the session -> a doubt
 *
 * Each node asks its successor in the order of names at every interval, so everyone is asked by
 * somebody within one interval; and a random one at every fourth, in case both died.
 *
 * Every datagram carries the sender's record and its opinion of the receiver, so that a node that
 * is wrongly doubted learns it, and refutes, in one round trip. A node that finds itself slow
 * accuses nobody for a second.
 *
 * All of this is one set of parameters (struct gv_gossip_detector), so that other sets can be
 * compared with it in the same simulated weather.
 */
#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "machine.h"

#define HELPERS_MAX       8
#define MUTE_MS           1000 /* after a lag or a jump of the clock */
#define LAG_MS            100  /* a tick this late is a lag */
#define URGENT_SPACING_MS 100

const struct gv_gossip_detector gv_gossip_detector_default = {.probe_interval_ms = 160,
                                                              .probe_timeout_ms = 50,
                                                              .suspicion_ms = 750,
                                                              .silence_ms = 2130,
                                                              .grows_from = 16,
                                                              .helpers = 3,
                                                              .random_every = 6,
                                                              .confirmations = 2,
                                                              .patience = 2,
                                                              .health_max = 7,
                                                              .asks_successor = true,
                                                              .asks_by_session = true,
                                                              .heeds_resets = true,
                                                              .counts_silence = true,
                                                              .tells_opinion = true,
                                                              .mutes = true,
                                                              .holds_masses = true,
                                                              .checks_deaths = true};

static struct gv_probe *free_probe(struct gv_gossip *gossip)
{
    for (uint32_t i = 0; i < GV_PROBES_MAX; i++) {
        if (gossip->probes[i].peer == NULL) {
            return &gossip->probes[i];
        }
    }
    return NULL;
}

static uint64_t probe_timeout_ms(const struct gv_gossip *gossip, const struct gv_peer *peer)
{
    uint64_t rtt_ms = (uint64_t)peer->member.rtt_us * 3 / 1000;
    uint64_t least_ms = gossip->detector.probe_timeout_ms;
    uint64_t most_ms = (uint64_t)gossip->detector.probe_interval_ms * 3 / 5;
    uint64_t timeout_ms = rtt_ms > least_ms ? rtt_ms : least_ms;
    return (timeout_ms < most_ms || most_ms < least_ms ? timeout_ms : most_ms) *
           (1 + gossip->health);
}

static void send_ping(struct gv_gossip *gossip, struct gv_peer *peer, uint64_t number,
                      struct gv_channel *over)
{
    Mesh__Packet packet = MESH__PACKET__INIT;
    packet.kind = MESH__PACKET_KIND__PING;
    packet.number = number;
    packet.target = peer->member.name;
    gv_wire_packet(gossip, peer, &packet, over);
}

static void note_due(struct gv_gossip *gossip, const struct gv_probe *probe)
{
    uint64_t due_ms = probe->went_indirect || probe->fails_at_ms < probe->indirect_at_ms
                          ? probe->fails_at_ms
                          : probe->indirect_at_ms;
    gossip->probes_due_ms = due_ms < gossip->probes_due_ms ? due_ms : gossip->probes_due_ms;
}

static struct gv_probe *start_probe(struct gv_gossip *gossip, struct gv_peer *peer)
{
    struct gv_probe *probe = free_probe(gossip);
    if (probe == NULL) {
        return NULL;
    }
    uint64_t now_ms = gossip->now.now_ms;
    *probe =
        (struct gv_probe){.peer = peer, .number = ++gossip->probe_number, .sent_at_ms = now_ms};
    probe->indirect_at_ms = now_ms + probe_timeout_ms(gossip, peer);
    probe->fails_at_ms =
        now_ms + (uint64_t)gossip->detector.probe_interval_ms * (1 + gossip->health);
    note_due(gossip, probe);
    gossip->counters.probes_sent += 1;
    send_ping(gossip, peer, probe->number, NULL);
    return probe;
}

/** Ask it now, besides the regular round: it is doubted, or its session ended. */
void gv_detector_probe_now(struct gv_gossip *gossip, struct gv_peer *peer)
{
    if (gossip->now.now_ms < peer->urgent_at_ms + URGENT_SPACING_MS || gossip->leaving) {
        return;
    }
    peer->urgent_at_ms = gossip->now.now_ms;
    struct gv_probe *probe = start_probe(gossip, peer);
    struct gv_channel *session = gv_channel_of(gossip, peer);
    if (probe != NULL && session != NULL && gossip->detector.asks_by_session) {
        send_ping(gossip, peer, probe->number, session);
    }
}

/** Drop what refers to a peer that is being removed. */
void gv_detector_forget(struct gv_gossip *gossip, const struct gv_peer *peer)
{
    for (uint32_t i = 0; i < GV_PROBES_MAX; i++) {
        if (gossip->probes[i].peer == peer) {
            gossip->probes[i].peer = NULL;
        }
    }
}

/* ---- probes ------------------------------------------------------------------------------------
 */

static bool is_helper(const struct gv_gossip *gossip, const struct gv_peer *peer,
                      const struct gv_peer *target)
{
    return peer != gossip->self && peer != target && peer->member.status == GV_MEMBER_ALIVE &&
           peer->member.gossip_addr.family != 0;
}

/* No answer in time: three others shall ask, and we ask over the session. */
static void go_indirect(struct gv_gossip *gossip, struct gv_probe *probe)
{
    probe->went_indirect = true;
    struct gv_channel *session = gv_channel_of(gossip, probe->peer);
    if (session != NULL && gossip->detector.asks_by_session) {
        send_ping(gossip, probe->peer, probe->number, session);
    }
    if (probe->asked_by[0] != '\0') {
        struct gv_peer *asker = gv_roster_find(gossip, probe->asked_by);
        if (asker != NULL) {
            Mesh__Packet packet = MESH__PACKET__INIT;
            packet.kind = MESH__PACKET_KIND__NACK;
            packet.number = probe->asked_number;
            packet.target = probe->peer->member.name;
            gv_wire_packet(gossip, asker, &packet, NULL);
        }
        return;
    }
    uint32_t start = (uint32_t)gv_prng_below(&gossip->prng, gossip->peer_count);
    uint32_t helpers =
        gossip->detector.helpers < HELPERS_MAX ? gossip->detector.helpers : HELPERS_MAX;
    for (uint32_t i = 0; i < gossip->peer_count && probe->nacks_wanted < helpers; i++) {
        struct gv_peer *helper = gossip->peers[(start + i) % gossip->peer_count];
        if (!is_helper(gossip, helper, probe->peer)) {
            continue;
        }
        Mesh__Packet packet = MESH__PACKET__INIT;
        packet.kind = MESH__PACKET_KIND__PING_REQ;
        packet.number = probe->number;
        packet.target = probe->peer->member.name;
        gv_wire_packet(gossip, helper, &packet, NULL);
        probe->nacks_wanted += 1;
    }
}

static void probe_failed(struct gv_gossip *gossip, struct gv_probe *probe)
{
    struct gv_peer *peer = probe->peer;
    bool for_us = probe->asked_by[0] == '\0';
    bool deaf = probe->nacks_wanted > 0 && probe->nacks == 0;
    probe->peer = NULL;
    if (!for_us) {
        return;
    }
    gossip->counters.probes_failed += 1;
    if (deaf && peer->member.status == GV_MEMBER_ALIVE &&
        gossip->health < gossip->detector.health_max) {
        gossip->health += 1; /* not even the helpers were heard: it may be us */
    }
    if (gossip->now.now_ms < gossip->mute_until || peer->member.status > GV_MEMBER_SUSPECT) {
        return;
    }
    gv_doubt(gossip, peer, gossip->self->member.name, probe->sent_at_ms);
    gv_roster_changed(gossip, peer);
}

static void tick_probes(struct gv_gossip *gossip)
{
    if (gossip->now.now_ms < gossip->probes_due_ms) {
        return;
    }
    gossip->probes_due_ms = GV_NEVER_MS; /* of those below, and of new ones */
    for (uint32_t i = 0; i < GV_PROBES_MAX; i++) {
        struct gv_probe *probe = &gossip->probes[i];
        if (probe->peer != NULL && !probe->went_indirect &&
            gossip->now.now_ms >= probe->indirect_at_ms) {
            go_indirect(gossip, probe);
        }
        if (probe->peer != NULL && gossip->now.now_ms >= probe->fails_at_ms) {
            probe_failed(gossip, probe);
        }
        if (probe->peer != NULL) {
            note_due(gossip, probe);
        }
    }
}

static void shuffle(struct gv_gossip *gossip)
{
    uint32_t *order =
        gv_mem_resize(GV_MEM_GOSSIP, gossip->probe_order, (gossip->peer_count + 1) * sizeof *order);
    if (order == NULL) {
        return;
    }
    gossip->probe_order = order;
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        uint32_t at = (uint32_t)gv_prng_below(&gossip->prng, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    gossip->probe_count = gossip->peer_count;
    gossip->probe_next = 0;
}

/* The next of the shuffled list that is worth asking. */
static struct gv_peer *next_to_probe(struct gv_gossip *gossip)
{
    for (uint32_t tries = 0; tries < gossip->peer_count; tries++) {
        if (gossip->probe_next >= gossip->probe_count) {
            shuffle(gossip);
        }
        if (gossip->probe_next >= gossip->probe_count) {
            return NULL;
        }
        struct gv_peer *peer = gossip->peers[gossip->probe_order[gossip->probe_next++]];
        if (peer != gossip->self && peer->member.status <= GV_MEMBER_SUSPECT) {
            return peer;
        }
    }
    return NULL;
}

/* Whoever follows us in the order of names; and when that one is doubted, the next who is not. */
static void probe_successors(struct gv_gossip *gossip)
{
    uint32_t at = gv_roster_place(gossip, gossip->self->member.name);
    bool is_first = true;
    for (uint32_t i = 1; i < gossip->peer_count; i++) {
        struct gv_peer *peer = gossip->peers[(at + i) % gossip->peer_count];
        if (peer->member.status > GV_MEMBER_SUSPECT) {
            continue;
        }
        bool is_doubted = peer->member.status == GV_MEMBER_SUSPECT;
        if (is_first || !is_doubted) {
            (void)start_probe(gossip, peer);
        }
        if (!is_doubted) {
            return;
        }
        is_first = false;
    }
}

static void probe_round(struct gv_gossip *gossip)
{
    if (gossip->detector.asks_successor) {
        probe_successors(gossip);
    }
    gossip->probe_rounds += 1;
    struct gv_peer *peer =
        gossip->probe_rounds % gossip->detector.random_every == 0 ? next_to_probe(gossip) : NULL;
    if (peer != NULL) {
        (void)start_probe(gossip, peer);
    }
}

static void mute(struct gv_gossip *gossip)
{
    gossip->mute_until = gossip->now.now_ms + MUTE_MS;
    for (uint32_t i = 0; i < GV_PROBES_MAX; i++) {
        gossip->probes[i].peer = NULL;
    }
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        struct gv_peer *peer = gossip->peers[i];
        if (peer->member.status == GV_MEMBER_SUSPECT && peer->dead_at_ms < gossip->mute_until) {
            peer->dead_at_ms = gossip->mute_until;
        }
    }
    gv_wire_log(gossip, GV_LOG_WARN, "detector.muted", gossip->self->member.name);
}

/** Did this node stand still, or its clock jump? Then silence proves nothing about others. */
void gv_detector_watch_self(struct gv_gossip *gossip)
{
    if (gossip->wall_offset == 0 || gossip->leaving || gossip->stopped) {
        return; /* the first tick is still to come, or it does not matter any more */
    }
    int64_t offset = (int64_t)gossip->now.wall_ms - (int64_t)gossip->now.now_ms;
    int64_t jump = offset - gossip->wall_offset;
    gossip->wall_offset = offset;
    gv_clocks_jumped(gossip, jump);
    bool lagged = gossip->now.now_ms > gossip->probe_at_ms + LAG_MS &&
                  gossip->lagged_at_ms != gossip->probe_at_ms;
    if (lagged) {
        gossip->lagged_at_ms = gossip->probe_at_ms; /* once, whatever comes before the tick */
    }
    if (gossip->detector.mutes && (lagged || jump > MUTE_MS || jump < -MUTE_MS)) {
        mute(gossip);
    }
}

void gv_detector_tick(struct gv_gossip *gossip)
{
    if (gossip->leaving || gossip->stopped) {
        return;
    }
    gv_detector_watch_self(gossip);
    tick_probes(gossip);
    gv_doubt_tick(gossip);
    if (gossip->now.now_ms >= gossip->probe_at_ms) {
        gossip->probe_at_ms = gossip->now.now_ms + gossip->detector.probe_interval_ms;
        probe_round(gossip);
    }
}

uint64_t gv_detector_wake_at(const struct gv_gossip *gossip)
{
    uint64_t at =
        gossip->probe_at_ms < gossip->probes_due_ms ? gossip->probe_at_ms : gossip->probes_due_ms;
    return gossip->doubts_due_ms < at ? gossip->doubts_due_ms : at;
}

/* ---- packets -----------------------------------------------------------------------------------
 */

static void answer(struct gv_gossip *gossip, struct gv_peer *to, struct gv_channel *over,
                   const Mesh__Packet *question)
{
    Mesh__Packet packet = MESH__PACKET__INIT;
    packet.kind = MESH__PACKET_KIND__ACK;
    packet.number = question->number;
    packet.target = gossip->self->member.name;
    gv_wire_packet(gossip, to, &packet, over);
}

/* One at a time for each asker and target, and never more than half of all: the rest is ours. */
static bool may_probe_for(const struct gv_gossip *gossip, const struct gv_peer *asker,
                          const struct gv_peer *target)
{
    uint32_t borrowed = 0;
    for (uint32_t i = 0; i < GV_PROBES_MAX; i++) {
        const struct gv_probe *probe = &gossip->probes[i];
        if (probe->peer == NULL || probe->asked_by[0] == '\0') {
            continue;
        }
        if (probe->peer == target && strcmp(probe->asked_by, asker->member.name) == 0) {
            return false;
        }
        borrowed += 1;
    }
    return borrowed < GV_PROBES_MAX / 2;
}

static void probe_for(struct gv_gossip *gossip, struct gv_peer *asker, const Mesh__Packet *request)
{
    struct gv_peer *target = gv_roster_find(gossip, request->target);
    if (target == NULL || target == gossip->self || target == asker ||
        !may_probe_for(gossip, asker, target)) {
        return;
    }
    struct gv_probe *probe = start_probe(gossip, target);
    if (probe != NULL) {
        memcpy(probe->asked_by, asker->member.name, sizeof probe->asked_by);
        probe->asked_number = request->number;
    }
}

static void note_rtt(struct gv_gossip *gossip, struct gv_peer *peer, uint64_t rtt_ms)
{
    (void)gossip;
    uint32_t sample_us = rtt_ms > 60000 ? 60000000 : (uint32_t)rtt_ms * 1000;
    sample_us = sample_us == 0 ? 500 : sample_us; /* under the clock's grain */
    uint32_t known_us = peer->member.rtt_us;
    peer->member.rtt_us = known_us == 0 ? sample_us : (known_us * 7 + sample_us) / 8;
}

static struct gv_probe *probe_of(struct gv_gossip *gossip, uint64_t number)
{
    for (uint32_t i = 0; i < GV_PROBES_MAX; i++) {
        if (gossip->probes[i].peer != NULL && gossip->probes[i].number == number) {
            return &gossip->probes[i];
        }
    }
    return NULL;
}

static void take_ack(struct gv_gossip *gossip, struct gv_peer *from, const Mesh__Packet *ack)
{
    struct gv_probe *probe = probe_of(gossip, ack->number);
    if (probe == NULL || strcmp(ack->target, probe->peer->member.name) != 0) {
        return;
    }
    if (probe->peer == from && !probe->went_indirect) {
        note_rtt(gossip, from, gossip->now.now_ms - probe->sent_at_ms);
    }
    if (probe->asked_by[0] != '\0') {
        struct gv_peer *asker = gv_roster_find(gossip, probe->asked_by);
        if (asker != NULL) {
            Mesh__Packet packet = MESH__PACKET__INIT;
            packet.kind = MESH__PACKET_KIND__ACK;
            packet.number = probe->asked_number;
            packet.target = probe->peer->member.name;
            gv_wire_packet(gossip, asker, &packet, NULL);
        }
    } else if (gossip->health > 0) {
        gossip->health -= 1;
    }
    probe->peer = NULL;
}

/* The sender's opinion of us, as if it were news. */
static void hear_opinion(struct gv_gossip *gossip, const Mesh__Packet *packet)
{
    if (packet->opinion == MESH__STATUS__ALIVE || packet->opinion_incarnation == 0) {
        return;
    }
    Mesh__Member record;
    Mesh__Address addr;
    gv_codec_member_out(&gossip->self->member, packet->self->node, &addr, &record);
    record.status = packet->opinion;
    record.incarnation = packet->opinion_incarnation;
    gv_roster_merge(gossip, &record);
}

/** A packet, over the network or (`over`) a session, from a member that is known. */
void gv_detector_packet(struct gv_gossip *gossip, struct gv_peer *from, struct gv_channel *over,
                        const Mesh__Packet *packet)
{
    if (strcmp(packet->self->node, from->member.name) != 0 || from == gossip->self) {
        gossip->counters.malformed += 1;
        return;
    }
    from->member.last_contact_ms = gossip->now.now_ms;
    gv_roster_merge(gossip, packet->self);
    hear_opinion(gossip, packet);
    for (size_t i = 0; i < packet->n_news; i++) {
        gv_roster_merge(gossip, packet->news[i]);
    }
    if (gossip->leaving) {
        return;
    }
    switch (packet->kind) {
    case MESH__PACKET_KIND__PING:
        answer(gossip, from, over, packet);
        break;
    case MESH__PACKET_KIND__ACK:
        take_ack(gossip, from, packet);
        break;
    case MESH__PACKET_KIND__PING_REQ:
        probe_for(gossip, from, packet);
        break;
    case MESH__PACKET_KIND__NACK: {
        struct gv_probe *probe = probe_of(gossip, packet->number);
        if (probe != NULL) {
            probe->nacks += 1;
        }
        break;
    }
    case _MESH__PACKET_KIND_IS_INT_SIZE:
        break;
    }
}

/** Our own record to everyone by datagram: we leave. */
void gv_detector_announce(struct gv_gossip *gossip)
{
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        struct gv_peer *peer = gossip->peers[i];
        if (peer != gossip->self && peer->member.status <= GV_MEMBER_SUSPECT) {
            send_ping(gossip, peer, ++gossip->probe_number, NULL);
        }
    }
}
