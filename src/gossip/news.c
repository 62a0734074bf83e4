/*
 * news.c - what is new of the members: passed on, and the rosters compared. Private, see machine.h.
 *
 * With few members every node hears everybody's own word over its own session, and what it says of
 * others rides on datagrams. Beyond that, whoever learns something new of a member passes it on
 * along the tree instead, a few at a time; only one's own word of it rides. Two nodes that meet, or
 * whose digests tell of different rosters, exchange 32 sums over their members by name, and the
 * members of those that differ.
 */
#include "machine.h"

#define PASS_ON_MS        20 /* news gather for so long */
#define MEMBERS_BYTES_MAX (64 * 1024)

static uint32_t log10_up(uint32_t count)
{
    uint32_t digits = 1;
    for (uint32_t at = 10; at < count; at *= 10) {
        digits += 1;
    }
    return digits;
}

/* Our own record is in every datagram anyway. */
static void ride(struct gv_gossip *gossip, struct gv_peer *peer)
{
    if (peer == gossip->self) {
        return;
    }
    gossip->news_riding += peer->news_left == 0;
    peer->news_left = 4 * log10_up(gossip->peer_count + 1);
}

static void wait(struct gv_gossip *gossip, struct gv_peer *peer, uint64_t from_session)
{
    if (!gossip->ring.relays) {
        return;
    }
    if (gossip->news_waiting == 0) {
        gossip->news_at_ms = gossip->now.now_ms + PASS_ON_MS;
    }
    gossip->news_waiting += !peer->news_waits;
    peer->news_waits = true;
    peer->news_session = from_session;
}

/** Our own word of it: to every session at once, or along the tree; and on the next datagrams. */
void gv_roster_spread(struct gv_gossip *gossip, struct gv_peer *peer)
{
    ride(gossip, peer);
    if (gossip->ring.relays && peer != gossip->self) {
        wait(gossip, peer, 0);
        return;
    }
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__Member member;
    Mesh__Address addr;
    gv_codec_member_out(&peer->member, peer->accuser, &addr, &member);
    message.body_case = MESH__MESSAGE__BODY_MEMBER;
    message.member = &member;
    gv_wire_broadcast(gossip, &message, NULL);
}

/**
 * Its record is new here: it rides on the next datagrams, or is passed on when we relay. Then
 * datagrams would only carry to and fro for minutes what a thousand nodes know already.
 */
void gv_news_add(struct gv_gossip *gossip, struct gv_peer *peer)
{
    if (!gossip->ring.relays) {
        ride(gossip, peer);
    }
    wait(gossip, peer, gossip->session_in_hand);
}

/** From now on it is passed on. */
void gv_news_stop_riding(struct gv_gossip *gossip)
{
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        gossip->peers[i]->news_left = 0;
    }
    gossip->news_riding = 0;
}

/** It is about to be removed. */
void gv_news_forget(struct gv_gossip *gossip, struct gv_peer *peer)
{
    gossip->news_waiting -= peer->news_waits;
    gossip->news_riding -= peer->news_left > 0;
}

/* ---- messages with many members ----------------------------------------------------------------
 */

struct bundle {
    Mesh__Member members[GV_STATE_MEMBERS_MAX];
    Mesh__Member *pointers[GV_STATE_MEMBERS_MAX];
    Mesh__Address addrs[GV_STATE_MEMBERS_MAX];
    size_t count, bytes;
};

static bool takes_news(const struct gv_gossip *gossip, const struct gv_channel *session)
{
    return session->knows_state && gv_tree_is_eager(gossip, session);
}

/* Does the session get all that waits: none of it came over it, or is about its own peer? */
static bool takes_all(const struct gv_gossip *gossip, const struct gv_channel *session)
{
    return takes_news(gossip, session) && !session->brought_news && !session->peer->news_waits;
}

/* To one session; NULL: to those that get all. */
static void send_bundle(struct gv_gossip *gossip, struct gv_channel *session, struct bundle *bundle)
{
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__Members members = MESH__MEMBERS__INIT;
    if (bundle->count == 0) {
        return;
    }
    members.members = bundle->pointers;
    members.n_members = bundle->count;
    message.body_case = MESH__MESSAGE__BODY_MEMBERS;
    message.members = &members;
    if (session == NULL) {
        gv_wire_broadcast(gossip, &message, takes_all);
    } else {
        gv_wire_send(gossip, session, &message);
    }
    bundle->count = 0;
    bundle->bytes = 0;
}

/* An empty one, until the scratch is reset. NULL: no room. */
static struct bundle *open_bundle(struct gv_gossip *gossip)
{
    gv_arena_reset(&gossip->scratch);
    struct bundle *bundle = gv_arena_take_raw(&gossip->scratch, sizeof *bundle);
    if (bundle != NULL) {
        bundle->count = 0;
        bundle->bytes = 0;
    }
    return bundle;
}

static void put(struct gv_gossip *gossip, struct gv_channel *session, struct bundle *bundle,
                const struct gv_peer *peer)
{
    size_t at = bundle->count;
    gv_codec_member_out(&peer->member, peer->accuser, &bundle->addrs[at], &bundle->members[at]);
    bundle->pointers[at] = &bundle->members[at];
    bundle->bytes += mesh__member__get_packed_size(&bundle->members[at]) + 4;
    bundle->count += 1;
    if (bundle->count == GV_STATE_MEMBERS_MAX || bundle->bytes >= MEMBERS_BYTES_MAX) {
        send_bundle(gossip, session, bundle);
    }
}

/* What waits goes to one session, but for what it has itself; NULL: to those that get all. */
static void pass_on(struct gv_gossip *gossip, struct gv_channel *session)
{
    struct bundle *bundle = open_bundle(gossip);
    for (uint32_t i = 0; i < gossip->peer_count && bundle != NULL; i++) {
        const struct gv_peer *peer = gossip->peers[i];
        bool has_it =
            session != NULL && (peer->news_session == session->id || peer == session->peer);
        if (peer->news_waits && !has_it) {
            put(gossip, session, bundle, peer);
        }
    }
    if (bundle != NULL) { /* else the rosters are compared later */
        send_bundle(gossip, session, bundle);
    }
}

static void mark_bringers(struct gv_gossip *gossip)
{
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        gossip->sessions[i]->brought_news = false;
    }
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        const struct gv_peer *peer = gossip->peers[i];
        struct gv_channel *session =
            peer->news_waits ? gv_channel_find(gossip, peer->news_session) : NULL;
        if (session != NULL) {
            session->brought_news = true;
        }
    }
}

void gv_news_tick(struct gv_gossip *gossip)
{
    if (gossip->news_waiting == 0 || gossip->now.now_ms < gossip->news_at_ms) {
        return;
    }
    mark_bringers(gossip);
    pass_on(gossip, NULL);
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        struct gv_channel *session = gossip->sessions[i];
        if (takes_news(gossip, session) && !takes_all(gossip, session)) {
            pass_on(gossip, session);
        }
    }
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        gossip->peers[i]->news_waits = false;
    }
    gossip->news_waiting = 0;
}

uint64_t gv_news_wake_at(const struct gv_gossip *gossip)
{
    return gossip->news_waiting == 0 ? GV_NEVER_MS : gossip->news_at_ms;
}

/* ---- rosters compared --------------------------------------------------------------------------
 */

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 31)) * UINT64_C(0x7fb5d329728ea185);
    value = (value ^ (value >> 27)) * UINT64_C(0x81dadef4bc2dd44d);
    return value ^ (value >> 33);
}

/** A sum for each share of the names, over who is alive or doubted; added up only when somebody has
 * come, gone, or is thought of differently. Until the roster is touched. */
const uint64_t *gv_news_sums(struct gv_gossip *gossip)
{
    if (gossip->roster_sums_known) {
        return gossip->roster_sums;
    }
    memset(gossip->roster_sums, 0, sizeof gossip->roster_sums);
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        const struct gv_peer *peer = gossip->peers[i];
        if (peer->member.status <= GV_MEMBER_SUSPECT) {
            gossip->roster_sums[peer->hash % GV_ROSTER_SUMS] +=
                mix(peer->hash + mix(peer->member.boot_id + mix(peer->member.incarnation)));
        }
    }
    gossip->roster_sums_known = true;
    return gossip->roster_sums;
}

/** The sum of all. */
uint64_t gv_news_sum(struct gv_gossip *gossip)
{
    const uint64_t *sums = gv_news_sums(gossip);
    uint64_t total = 0;
    for (uint32_t i = 0; i < GV_ROSTER_SUMS; i++) {
        total += sums[i];
    }
    return total == 0 ? 1 : total;
}

void gv_news_send_roster(struct gv_gossip *gossip, struct gv_channel *session, bool is_answer)
{
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__Roster roster = MESH__ROSTER__INIT;
    uint64_t sums[GV_ROSTER_SUMS];
    memcpy(sums, gv_news_sums(gossip), sizeof sums);
    roster.sums = sums;
    roster.n_sums = GV_ROSTER_SUMS;
    roster.answer = is_answer;
    message.body_case = MESH__MESSAGE__BODY_ROSTER;
    message.roster = &roster;
    gv_wire_send(gossip, session, &message);
}

/** The peer's sums: it gets our members, the gone ones too, where they differ. */
void gv_news_take_sums(struct gv_gossip *gossip, struct gv_channel *session, const uint64_t *theirs)
{
    const uint64_t *ours = gv_news_sums(gossip);
    if (memcmp(ours, theirs, sizeof gossip->roster_sums) == 0) {
        return;
    }
    struct bundle *bundle = open_bundle(gossip);
    if (bundle == NULL) {
        return;
    }
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        const struct gv_peer *peer = gossip->peers[i];
        uint64_t share = peer->hash % GV_ROSTER_SUMS;
        if (ours[share] != theirs[share]) {
            put(gossip, session, bundle, peer);
        }
    }
    send_bundle(gossip, session, bundle);
}

void gv_news_take_roster(struct gv_gossip *gossip, struct gv_channel *session,
                         const Mesh__Roster *roster)
{
    gv_news_take_sums(gossip, session, roster->sums);
    if (!roster->answer) {
        gv_news_send_roster(gossip, session, true);
    }
}
