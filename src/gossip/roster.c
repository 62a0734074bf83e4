/*
 * roster.c - the members known here, this node among them. Private to gossip, see machine.h.
 */
#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "machine.h"
#include "member.h"

/* Index of `name`, or where it belongs. */
static uint32_t place(const struct gv_gossip *gossip, const char *name, bool *found)
{
    uint32_t low = 0, high = gossip->peer_count;
    *found = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = strcmp(gossip->peers[middle]->member.name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct gv_peer *gv_roster_find(const struct gv_gossip *gossip, const char *name)
{
    return gv_map_find(&gossip->peers_by_name, gv_slice_text(name));
}

/** Where `name` stands, or would stand, in the order of names. */
uint32_t gv_roster_place(const struct gv_gossip *gossip, const char *name)
{
    bool found;
    return place(gossip, name, &found);
}

/* Full: whoever has been gone longest is forgotten before its time. Not who speaks right now. */
static bool make_room(struct gv_gossip *gossip)
{
    struct gv_peer *oldest = NULL;
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        struct gv_peer *peer = gossip->peers[i];
        bool is_gone = peer->member.status >= GV_MEMBER_DEAD && peer != gossip->self &&
                       peer->member.last_contact_ms != gossip->now.now_ms &&
                       !gv_channel_any(gossip, peer);
        if (is_gone && (oldest == NULL || peer->status_at_ms < oldest->status_at_ms)) {
            oldest = peer;
        }
    }
    if (oldest != NULL) {
        gv_roster_remove(gossip, oldest);
    }
    return oldest != NULL;
}

static void count(struct gv_counts *counts, enum gv_member_status status, uint32_t by)
{
    counts->active += status <= GV_MEMBER_SUSPECT ? by : 0;
    counts->suspect += status == GV_MEMBER_SUSPECT ? by : 0;
    counts->gone += status == GV_MEMBER_DEAD || status == GV_MEMBER_LEFT ? by : 0;
}

/** Its status, and nothing else: gv_roster_set_status() is for whoever means a change. */
void gv_roster_write_status(struct gv_gossip *gossip, struct gv_peer *peer,
                            enum gv_member_status status)
{
    count(&gossip->counts, peer->member.status, UINT32_MAX); /* one less */
    count(&gossip->counts, status, 1);
    peer->member.status = status;
}

struct gv_peer *gv_roster_open(struct gv_gossip *gossip, const char *name)
{
    bool found;
    struct gv_peer *known = gv_roster_find(gossip, name);
    if (known != NULL) {
        return known;
    }
    uint32_t at = place(gossip, name, &found);
    if (gossip->peer_count >= gossip->options.member_max) {
        if (!make_room(gossip)) {
            return NULL;
        }
        at = place(gossip, name, &found);
    }
    if (gossip->peer_count == gossip->peer_room) {
        uint32_t room = gossip->peer_room == 0 ? 16 : gossip->peer_room * 2;
        struct gv_peer **grown = gv_mem_resize(GV_MEM_GOSSIP, gossip->peers, room * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        gossip->peers = grown;
        gossip->peer_room = room;
    }
    struct gv_peer *peer = gv_mem_new(GV_MEM_GOSSIP, sizeof *peer);
    if (peer == NULL) {
        return NULL;
    }
    (void)gv_slice_copy_text(gv_slice_text(name), peer->member.name, sizeof peer->member.name);
    if (gv_map_put(&gossip->peers_by_name, gv_slice_text(name), peer) != GV_OK) {
        gv_mem_free(GV_MEM_GOSSIP, peer);
        return NULL;
    }
    gv_sayings_init(&peer->sayings);
    memmove(gossip->peers + at + 1, gossip->peers + at,
            (gossip->peer_count - at) * sizeof(struct gv_peer *));
    gossip->peers[at] = peer;
    gossip->peer_count += 1;
    count(&gossip->counts, peer->member.status, 1);
    gossip->probe_count = 0; /* indexes moved: shuffle anew */
    static const uint64_t secret[2] = {0x72696e67, 0x73};
    peer->hash = gv_siphash(secret, gv_slice_text(peer->member.name));
    gv_roster_touch(gossip);
    return peer;
}

void gv_roster_remove(struct gv_gossip *gossip, struct gv_peer *peer)
{
    bool found;
    uint32_t at = place(gossip, peer->member.name, &found);
    GV_ASSERT(found && gossip->peers[at] == peer && peer != gossip->self);
    gv_detector_forget(gossip, peer);
    memmove(gossip->peers + at, gossip->peers + at + 1,
            (gossip->peer_count - at - 1) * sizeof(struct gv_peer *));
    gossip->peer_count -= 1;
    count(&gossip->counts, peer->member.status, UINT32_MAX);
    gossip->probe_count = 0;
    gv_roster_set_boot(gossip, peer, 0);
    (void)gv_map_take(&gossip->peers_by_name, gv_slice_text(peer->member.name));
    gv_news_forget(gossip, peer);
    gv_roster_touch(gossip);
    gv_records_drop(gossip, peer);
    gv_mem_free(GV_MEM_GOSSIP, peer);
}

bool gv_incarnation_is_sane(const struct gv_gossip *gossip, uint64_t incarnation)
{
    return incarnation <= gossip->now.wall_ms + GV_INCARNATION_AHEAD_MAX_MS;
}

/** Somebody came, went, or is thought of differently: sum up anew when asked, and look for peers.
 */
void gv_roster_touch(struct gv_gossip *gossip)
{
    gossip->roster_sums_known = false;
    gossip->ring.is_dirty = true;
}

static void index_boot(struct gv_gossip *gossip, struct gv_peer *peer)
{
    uint64_t boot_id = peer->member.boot_id;
    struct gv_slice key = gv_slice_of(&boot_id, sizeof boot_id);
    if (gv_map_find(&gossip->peers_by_boot, key) != NULL) {
        gossip->shares_boots = true;
        gossip->counters.forged += 1;
        gv_wire_log(gossip, GV_LOG_WARN, "mesh.forged", peer->member.name);
    } else if (gv_map_put(&gossip->peers_by_boot, key, peer) != GV_OK) {
        gossip->counters.queue_overflows += 1; /* its announcements are not understood */
    }
}

/**
 * It runs under this boot now; 0: it is about to be removed. Boots are random, so one that is
 * another's is claimed: what is said of a boot alone means whoever was first, until that one is
 * gone.
 */
void gv_roster_set_boot(struct gv_gossip *gossip, struct gv_peer *peer, uint64_t boot_id)
{
    uint64_t *known = &peer->member.boot_id;
    uint64_t before = *known;
    struct gv_slice key = gv_slice_of(&before, sizeof before);
    if (before == boot_id) {
        return;
    }
    bool was_its_own = gv_map_find(&gossip->peers_by_boot, key) == peer;
    if (was_its_own) {
        (void)gv_map_take(&gossip->peers_by_boot, key);
    }
    *known = boot_id;
    if (boot_id != 0) {
        index_boot(gossip, peer);
    }
    for (uint32_t i = 0; was_its_own && gossip->shares_boots && i < gossip->peer_count; i++) {
        if (gossip->peers[i]->member.boot_id == before) {
            index_boot(gossip, gossip->peers[i]);
            return;
        }
    }
}

/** Who runs under that boot, or NULL. */
struct gv_peer *gv_roster_find_boot(const struct gv_gossip *gossip, uint64_t boot_id)
{
    return gv_map_find(&gossip->peers_by_boot, gv_slice_of(&boot_id, sizeof boot_id));
}

uint32_t gv_gossip_active(const struct gv_gossip *gossip)
{
    return gossip->counts.active;
}

/** Tell the store. */
void gv_roster_changed(struct gv_gossip *gossip, struct gv_peer *peer)
{
    const struct gv_channel *session = peer == gossip->self ? NULL : gv_channel_of(gossip, peer);
    peer->member.connected = session != NULL;
    const struct gv_origin *origin =
        gv_vector_find(&gossip->vector, peer->member.name, peer->member.boot_id);
    peer->member.applied = origin == NULL ? 0 : origin->applied;
    if (gossip->store.member_changed != NULL) {
        gossip->store.member_changed(gossip->store.owner, &peer->member);
    }
}

static void log_status(struct gv_gossip *gossip, const struct gv_peer *peer)
{
    static const char *const events[] = {"member.alive", "member.suspect", "member.dead",
                                         "member.left"};
    static const enum gv_log_level levels[] = {GV_LOG_INFO, GV_LOG_WARN, GV_LOG_WARN, GV_LOG_INFO};
    _Static_assert(sizeof events / sizeof events[0] == GV_MEMBER_STATUS_COUNT &&
                       sizeof levels / sizeof levels[0] == GV_MEMBER_STATUS_COUNT,
                   "one per status");
    gv_wire_log(gossip, levels[peer->member.status], events[peer->member.status],
                peer->member.name);
}

/** The one place where a status changes. */
void gv_roster_set_status(struct gv_gossip *gossip, struct gv_peer *peer,
                          enum gv_member_status status)
{
    if (peer->member.status == status) {
        return;
    }
    if (status == GV_MEMBER_DEAD && peer->member.status <= GV_MEMBER_SUSPECT) {
        gossip->counters.deaths += 1;
    }
    gv_roster_write_status(gossip, peer, status);
    gv_roster_touch(gossip);
    peer->status_at_ms = gossip->now.now_ms;
    log_status(gossip, peer);
    if (status == GV_MEMBER_DEAD || status == GV_MEMBER_LEFT) {
        gv_records_vanish(gossip, peer);
    }
    if (status == GV_MEMBER_DEAD) {
        gv_dial_close_peer(gossip, peer, "member dead");
        gv_dial_plan(gossip, peer, gossip->now.now_ms + gossip->options.reconnect_ms);
    }
    if (status == GV_MEMBER_ALIVE) {
        peer->accuser_count = 0;
        peer->accuser[0] = '\0';
        gv_past_recall(gossip, peer);
        gv_relay_recall_said(gossip, peer);
    }
}

/** Say again that we are here, above whatever was said of us. */
void gv_roster_raise_self(struct gv_gossip *gossip, uint64_t above)
{
    struct gv_member *self = &gossip->self->member;
    self->incarnation = (above > self->incarnation ? above : self->incarnation) + 1;
    gv_roster_touch(gossip);
    gv_proof_sign_self(gossip);
    if (gossip->ring.relays) {
        gv_records_say_again(gossip);
    }
    gv_roster_spread(gossip, gossip->self);
}

/* What is said about this node: refute it, or find out who else bears our name. */
static void hear_of_self(struct gv_gossip *gossip, const struct gv_member *news)
{
    const struct gv_member *self = &gossip->self->member;
    if (news->incarnation < self->incarnation || gossip->leaving) {
        return;
    }
    if (news->boot_id == self->boot_id) {
        if (news->status != GV_MEMBER_ALIVE || news->incarnation > self->incarnation) {
            gossip->counters.refutations += 1;
            if (gossip->health < gossip->detector.health_max && news->status == GV_MEMBER_SUSPECT) {
                gossip->health += 1;
            }
            gv_roster_raise_self(gossip, news->incarnation);
        }
        return;
    }
    if (!gv_proof_is_signed(gossip, news)) {
        gv_proof_refuse(gossip, news->name, NULL);
        return;
    }
    bool elsewhere = news->status <= GV_MEMBER_SUSPECT && news->gossip_addr.family != 0 &&
                     !gv_addr_equal(&news->gossip_addr, &self->gossip_addr);
    if (elsewhere) {
        gv_dial_look_at_twin(gossip, news);
    } else {
        gv_roster_raise_self(gossip, news->incarnation); /* an earlier start of ours */
    }
}

static void adopt_record(struct gv_gossip *gossip, struct gv_peer *peer,
                         const struct gv_member *news)
{
    struct gv_member *member = &peer->member;
    gv_roster_touch(gossip);
    bool is_another = member->boot_id != news->boot_id;
    if (is_another) {
        gv_records_vanish(gossip, peer);
        member->rtt_us = 0;
    }
    gv_roster_set_boot(gossip, peer, news->boot_id);
    gv_channel_choose(gossip, peer);
    if (is_another && peer->session != NULL) {
        gv_relay_missed(gossip, peer->session, 1); /* what it said counted for a former life's */
    }
    member->incarnation = news->incarnation;
    member->gossip_addr = news->gossip_addr;
    memcpy(member->http_url, news->http_url, sizeof member->http_url);
    memcpy(member->version, news->version, sizeof member->version);
    member->ready = news->ready;
    memcpy(member->identity, news->identity, sizeof member->identity);
    memcpy(member->signature, news->signature, sizeof member->signature);
    gv_dial_plan(gossip, peer, is_another ? gossip->now.now_ms : peer->dial_at_ms);
}

/* News of another member that replaces what is known. */
static void take_news(struct gv_gossip *gossip, struct gv_peer *peer, const struct gv_member *news,
                      const char *accuser)
{
    bool is_new = peer->member.incarnation == 0;
    bool same_life = !is_new && peer->member.boot_id == news->boot_id;
    enum gv_member_status before = is_new ? GV_MEMBER_LEFT : peer->member.status;
    adopt_record(gossip, peer, news);
    gv_news_add(gossip, peer);
    switch (news->status) {
    case GV_MEMBER_ALIVE:
        gv_roster_write_status(gossip, peer, before);
        gv_roster_set_status(gossip, peer, GV_MEMBER_ALIVE);
        if (before != GV_MEMBER_SUSPECT) {
            gv_dial_plan(gossip, peer, gossip->now.now_ms);
        }
        break;
    case GV_MEMBER_SUSPECT:
        /* A doubt of an older record ends with it. */
        gv_roster_write_status(gossip, peer, GV_MEMBER_ALIVE);
        gv_doubt_on_word(gossip, peer, accuser);
        break;
    case GV_MEMBER_DEAD: {
        bool waits = before == GV_MEMBER_ALIVE ||
                     (before == GV_MEMBER_SUSPECT && gossip->now.now_ms < peer->dead_at_ms);
        if (gossip->detector.checks_deaths && same_life && waits &&
            gv_channel_of(gossip, peer) != NULL) {
            gv_doubt_on_word(gossip, peer, accuser); /* not reset here: no more than a doubt */
            gv_roster_changed(gossip, peer);
            return;
        }
        gv_roster_set_status(gossip, peer, GV_MEMBER_DEAD);
        break;
    }
    case GV_MEMBER_LEFT:
        gv_roster_set_status(gossip, peer, GV_MEMBER_LEFT);
        break;
    case GV_MEMBER_STATUS_COUNT:
        break;
    }
    gv_roster_changed(gossip, peer);
}

/* Only a doubt, or a death, about the very record that is known: nothing but the status counts. */
static bool is_opinion(const struct gv_member *known, struct gv_member *news)
{
    bool is_same = known->boot_id == news->boot_id && known->incarnation == news->incarnation &&
                   known->status != GV_MEMBER_LEFT;
    if (!is_same || (news->status != GV_MEMBER_SUSPECT && news->status != GV_MEMBER_DEAD)) {
        return false;
    }
    enum gv_member_status status = news->status;
    *news = *known;
    news->status = status;
    return true;
}

/* May the news replace what is known of `peer`? Takes the name over for a new key when it may. */
static bool is_proven(struct gv_gossip *gossip, struct gv_peer *peer, struct gv_member *news)
{
    if (is_opinion(&peer->member, news)) {
        return true;
    }
    bool holds = gv_proof_is_holder(gossip, peer, news);
    if (!gv_proof_is_signed(gossip, news) ||
        (!holds && !gv_proof_may_take_over(gossip, peer, NULL))) {
        gv_proof_refuse(gossip, news->name, holds ? NULL : peer);
        return false;
    }
    if (!holds) {
        gv_proof_take_over(gossip, peer);
    }
    return true;
}

void gv_roster_merge(struct gv_gossip *gossip, const Mesh__Member *message)
{
    struct gv_member news;
    gv_codec_member_in(message, &news);
    if (!gv_incarnation_is_sane(gossip, news.incarnation) || news.incarnation == 0) {
        gossip->counters.malformed += 1;
        return;
    }
    if (strcmp(news.name, gossip->self->member.name) == 0) {
        hear_of_self(gossip, &news);
        return;
    }
    struct gv_peer *peer = gv_roster_find(gossip, news.name);
    if (peer == NULL) {
        if (!gv_proof_is_signed(gossip, &news)) {
            gv_proof_refuse(gossip, news.name, NULL);
            return;
        }
        peer = gv_roster_open(gossip, news.name);
        if (peer == NULL) {
            gossip->counters.records_refused += 1;
            return;
        }
        gv_roster_write_status(gossip, peer, GV_MEMBER_STATUS_COUNT); /* anything is a change */
        take_news(gossip, peer, &news, message->accuser);
        return;
    }
    if (gv_member_is_news(&peer->member, &news)) {
        if (is_proven(gossip, peer, &news)) {
            take_news(gossip, peer, &news, message->accuser);
        }
    } else if (news.status == GV_MEMBER_SUSPECT && peer->member.status == GV_MEMBER_SUSPECT &&
               news.incarnation == peer->member.incarnation) {
        gv_doubt_on_word(gossip, peer, message->accuser); /* one more accuser */
    }
}

/** Forget who has been gone for long. Every few seconds. */
void gv_roster_sweep(struct gv_gossip *gossip)
{
    uint64_t now_ms = gossip->now.now_ms;
    uint64_t forget_ms = (uint64_t)gossip->options.forget_after_s * 1000;
    for (uint32_t i = gossip->peer_count; i-- > 0;) {
        struct gv_peer *peer = gossip->peers[i];
        if (peer->member.status >= GV_MEMBER_DEAD && peer != gossip->self &&
            now_ms - peer->status_at_ms > forget_ms && !gv_channel_any(gossip, peer)) {
            gv_roster_remove(gossip, peer);
        }
    }
}
