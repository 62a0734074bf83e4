/*
 * doubt.c - from an unanswered question to a death. Private, see machine.h.
 *
 *     ALIVE --a probe failed, a session was reset, or another says so--> SUSPECT
 *     SUSPECT --its own word at a higher incarnation--> ALIVE
 *     SUSPECT --nobody heard of it in time; the more accusers, the sooner--> DEAD
 *
 * "In time" depends on what is known. A session that the kernel reset, and that cannot be opened
 * again, means that the process is gone: suspicion_ms. While a session is open, or was never there,
 * the process may merely stand still: then only silence_ms without a word end the doubt, counted
 * from the first question that it did not answer. Each node measures this for itself; another's
 * word that a member is dead only makes a doubt where a session with it is open.
 *
 * Only the doubted can end a doubt, and only when it hears of it: from the question, which carries
 * the asker's opinion. Both question and news may be lost, so a doubt that lasts is asked about
 * again, after half a second and after twice as long each time.
 */
#include "grapevine/base/map.h"
#include "machine.h"

#define HOLD_MS  10000 /* a mass of doubts is held no longer */
#define CHECK_MS 1000  /* so long a silent session waits before it counts as failed */
#define ASK_MS   500   /* a doubt that has lasted so long is asked about again */

static double decimal_log(double value)
{
    double log = 0;
    while (value >= 10) {
        value /= 10;
        log += 1;
    }
    return log + (value - 1) / 9; /* linear inside a decade: near enough for a timeout */
}

/* Its session here was reset, or its port refuses one: nobody runs there. */
static bool is_lost(const struct gv_gossip *gossip, const struct gv_peer *peer)
{
    bool refused = peer->dial_failed_at_ms != 0 && peer->dial_failed_at_ms >= peer->status_at_ms;
    return gossip->detector.heeds_resets && peer->session == NULL &&
           (peer->reset_at_ms != 0 || refused);
}

/* How much longer than the least time: most with one accuser, once with enough of them. */
static double patience(const struct gv_gossip *gossip, uint32_t accusers)
{
    const struct gv_gossip_detector *detector = &gossip->detector;
    uint32_t active = gossip->counts.active;
    double factor =
        active > detector->grows_from ? decimal_log(active) / decimal_log(detector->grows_from) : 1;
    uint32_t others = active > 2 ? active - 2 : 0; /* without us and the accused */
    uint32_t enough = others < detector->confirmations ? others : detector->confirmations;
    uint32_t confirmed = accusers > 0 ? accusers - 1 : 0;
    double share = enough == 0 || confirmed > enough ? 1 : (double)confirmed / (double)enough;
    double times = detector->patience - share * (detector->patience - 1);
    return factor * times * (1 + gossip->health / 2);
}

/* When is the doubted to be asked again? */
static uint64_t ask_at_ms(const struct gv_gossip *gossip, const struct gv_peer *peer)
{
    bool was_asked = peer->urgent_at_ms > peer->status_at_ms;
    uint64_t last_ms = was_asked ? peer->urgent_at_ms : peer->status_at_ms;
    uint64_t lasted_ms = last_ms - peer->status_at_ms;
    return !gossip->detector.tells_opinion ? GV_NEVER_MS
                                           : last_ms + (lasted_ms > ASK_MS ? lasted_ms : ASK_MS);
}

static void note_due(struct gv_gossip *gossip, const struct gv_peer *peer)
{
    uint64_t ask_ms = ask_at_ms(gossip, peer);
    uint64_t due_ms = ask_ms < peer->dead_at_ms ? ask_ms : peer->dead_at_ms;
    gossip->doubts_due_ms = due_ms < gossip->doubts_due_ms ? due_ms : gossip->doubts_due_ms;
}

/** When does the doubt about `peer` become certainty, by all that is known now? */
void gv_doubt_set_deadline(struct gv_gossip *gossip, struct gv_peer *peer)
{
    double factor = patience(gossip, peer->accuser_count);
    uint64_t lost_at_ms =
        peer->reset_at_ms > peer->status_at_ms ? peer->reset_at_ms : peer->status_at_ms;
    if (is_lost(gossip, peer)) {
        peer->dead_at_ms = lost_at_ms + (uint64_t)(gossip->detector.suspicion_ms * factor);
    } else {
        peer->dead_at_ms = peer->silent_at_ms + (uint64_t)(gossip->detector.silence_ms * factor);
    }
    if (peer->dead_at_ms < gossip->mute_until) {
        peer->dead_at_ms = gossip->mute_until;
    }
    note_due(gossip, peer);
}

static bool add_accuser(struct gv_peer *peer, const char *accuser)
{
    static const uint64_t secret[2] = {1, 2};
    uint64_t hash = gv_siphash(secret, gv_slice_text(accuser));
    for (uint32_t i = 0; i < peer->accuser_count; i++) {
        if (peer->accusers[i] == hash) {
            return false;
        }
    }
    if (peer->accuser_count == GV_ACCUSERS_MAX) {
        return false;
    }
    peer->accusers[peer->accuser_count++] = hash;
    return true;
}

/** `accuser` doubts `peer`, which has been silent since `silent_at_ms`. */
void gv_doubt(struct gv_gossip *gossip, struct gv_peer *peer, const char *accuser,
              uint64_t silent_at_ms)
{
    bool by_us = strcmp(accuser, gossip->self->member.name) == 0;
    bool fresh = peer->member.status != GV_MEMBER_SUSPECT;
    if (peer == gossip->self || gossip->leaving) {
        return;
    }
    if (fresh) {
        gv_roster_set_status(gossip, peer, GV_MEMBER_SUSPECT);
        peer->accuser_count = 0;
        peer->silent_at_ms = gossip->detector.counts_silence ? silent_at_ms : gossip->now.now_ms;
        gossip->counters.suspicions += by_us;
    }
    if (!add_accuser(peer, accuser) && !fresh) {
        return;
    }
    (void)gv_slice_copy_text(gv_slice_text(accuser), peer->accuser, sizeof peer->accuser);
    gv_doubt_set_deadline(gossip, peer);
    if (by_us) {
        gv_roster_spread(gossip, peer);
    }
    if (fresh) {
        gv_detector_probe_now(gossip, peer);
    }
}

/** `accuser` says that it doubts `peer`. The caller tells the store when the status changed. */
void gv_doubt_on_word(struct gv_gossip *gossip, struct gv_peer *peer, const char *accuser)
{
    uint64_t asked_ms = gossip->detector.probe_interval_ms; /* the accuser asked, and waited */
    uint64_t now_ms = gossip->now.now_ms;
    gv_doubt(gossip, peer, accuser, now_ms > asked_ms ? now_ms - asked_ms : 0);
}

/* Many doubted at once: more likely it is us, or the network. Then TCP must have failed too. */
static bool is_held(struct gv_gossip *gossip, const struct gv_peer *peer)
{
    struct gv_counts counts = gossip->counts;
    uint64_t now_ms = gossip->now.now_ms;
    if (!gossip->detector.holds_masses || counts.suspect < 3 ||
        counts.suspect * 4 <= counts.active || now_ms >= peer->status_at_ms + HOLD_MS) {
        return false;
    }
    const struct gv_channel *session = gv_channel_of(gossip, peer);
    bool refused = peer->dial_failed_at_ms >= peer->status_at_ms && session == NULL;
    bool silent = session != NULL && session->heard_at_ms < peer->status_at_ms &&
                  now_ms >= peer->status_at_ms + CHECK_MS;
    return !refused && !silent;
}

static void bury(struct gv_gossip *gossip, struct gv_peer *peer)
{
    gv_roster_set_status(gossip, peer, GV_MEMBER_DEAD);
    memcpy(peer->accuser, gossip->self->member.name, sizeof peer->accuser);
    gv_roster_spread(gossip, peer);
    gv_roster_changed(gossip, peer);
}

/** Whose time is over, and who is to be asked again? */
void gv_doubt_tick(struct gv_gossip *gossip)
{
    if (gossip->now.now_ms < gossip->doubts_due_ms) {
        return;
    }
    gossip->doubts_due_ms = GV_NEVER_MS;
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        struct gv_peer *peer = gossip->peers[i];
        if (peer->member.status != GV_MEMBER_SUSPECT) {
            continue;
        }
        if (gossip->now.now_ms >= peer->dead_at_ms && is_held(gossip, peer)) {
            peer->dead_at_ms = gossip->now.now_ms + 100;
        } else if (gossip->now.now_ms >= peer->dead_at_ms) {
            bury(gossip, peer);
            continue;
        }
        if (gossip->now.now_ms >= ask_at_ms(gossip, peer)) {
            gv_detector_probe_now(gossip, peer);
        }
        note_due(gossip, peer);
    }
}
