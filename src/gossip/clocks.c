/*
 * clocks.c - whose clock is wrong, and what is missing because of it. Private, see machine.h.
 *
 * An operation stamped too far ahead of our clock is refused, but its place in the log is passed
 * all the same: a log with holes could never be followed. So the log's node is marked: until our
 * live set has been seen to equal its own, we do not claim to stand where others stand who have no
 * such mark (the marks are part of the digest). Every digest also carries the sender's clock. As
 * soon as the clock of a marked node agrees with ours again the live sets are compared bucket by
 * bucket every few seconds, until they are equal and the mark is gone.
 *
 * A record or setting that is dated too far ahead is refused as well, and has no log. When the
 * clock that dated it is set back, it is dated anew.
 *
 * Where not every pair has a session, few hear the clock of the marked node, and these are soon
 * equal with it. The others hear from them that they have no mark any more, and ask them then: so a
 * mark goes from session to session as fast as digests come.
 */
#include "grapevine/base/map.h"
#include "machine.h"

#define RECOMPARE_MS 5000 /* between comparisons for the sake of a mark, */
#define SECOND_MS    900  /* but the first few follow each other: one finds, the next confirms */
#define SECONDS_MAX  4
#define JUMP_MS      1000
#define AGREE_MS     30000 /* clocks closer than this are the same; stamps are refused from 60 s */

/** The peer's digest says what time it is there. */
void gv_clocks_hear(struct gv_gossip *gossip, struct gv_channel *session, uint64_t wall_ms)
{
    if (wall_ms == 0) {
        return; /* of a version that does not tell */
    }
    struct gv_peer *peer = session->peer;
    int64_t offset_ms = (int64_t)(wall_ms - gossip->now.wall_ms);
    int64_t before_ms = peer->member.knows_clock ? peer->clock_sample_ms : offset_ms;
    peer->clock_sample_ms = offset_ms;
    peer->member.knows_clock = true;
    /* A digest that was held up makes its sender look late, never early. */
    peer->member.clock_offset_ms = offset_ms > before_ms ? offset_ms : before_ms;
}

static bool is_near(const struct gv_member *member)
{
    return member->clock_offset_ms > -AGREE_MS && member->clock_offset_ms < AGREE_MS;
}

bool gv_gossip_clock_is_right(const struct gv_gossip *gossip)
{
    uint32_t known = 0;
    uint32_t near = 0;
    for (uint32_t i = 0; i < gossip->peer_count; i++) {
        const struct gv_peer *peer = gossip->peers[i];
        if (peer != gossip->self && peer->member.knows_clock && peer->session != NULL) {
            known += 1;
            near += is_near(&peer->member);
        }
    }
    return known > 0 && 2 * near >= known;
}

/** Is a stamp too far ahead of our clock to be true? */
bool gv_clocks_is_ahead(const struct gv_gossip *gossip, uint32_t stamp)
{
    return GV_LOG_EPOCH_S + stamp > gossip->now.wall_ms / 1000 + GV_STAMP_AHEAD_MAX_S;
}

/** An operation of this log was refused for its stamp. */
void gv_clocks_refuse(struct gv_gossip *gossip, struct gv_origin *origin)
{
    gossip->counters.refused_stamps += 1;
    if (origin != NULL) {
        gv_origin_mark(origin, origin->refused + 1);
    }
}

/** Entries of a peer's live set were refused: it has what we have not. */
void gv_clocks_refuse_set(struct gv_gossip *gossip, const struct gv_channel *session)
{
    struct gv_origin *origin =
        gv_vector_open(&gossip->vector, session->peer->member.name, session->boot_id);
    if (origin != NULL && origin != gossip->own && origin->refused == 0) {
        gv_origin_mark(origin, 1);
    }
}

/** Our live set is that of the peer, which lacks what `marks` stands for. */
void gv_clocks_agreed(struct gv_gossip *gossip, const struct gv_channel *session, uint64_t marks)
{
    for (uint32_t i = 0; gossip->vector.marked > 0 && i < gossip->vector.count; i++) {
        struct gv_origin *origin = gossip->vector.origins[i];
        bool is_peers = origin->boot_id == session->boot_id &&
                        strcmp(origin->name, session->peer->member.name) == 0;
        bool is_gone = origin->gone_at_ms != 0; /* what it alone knew went with it */
        if (origin->refused > 0 && (is_peers || is_gone || marks == 0)) {
            gv_origin_mark(origin, 0);
            gossip->clocks_compared = 0;
            gv_wire_log(gossip, GV_LOG_INFO, "mesh.clocks_agree", origin->name);
        }
    }
    gossip->is_log_forged = false; /* the logs agree, so ours is beyond what was forged */
}

/** A hash over the marked logs; 0: nothing was refused, or all is made up for. */
uint64_t gv_clocks_marks(const struct gv_gossip *gossip)
{
    static const uint64_t secret[2] = {0x72656675, 0x73656473};
    uint64_t sum = gossip->is_log_forged;
    for (uint32_t i = 0; gossip->vector.marked > 0 && i < gossip->vector.count; i++) {
        const struct gv_origin *origin = gossip->vector.origins[i];
        if (origin->refused > 0 && !origin->forgotten) {
            uint64_t with_boot[2] = {secret[0], secret[1] ^ origin->boot_id};
            sum += gv_siphash(with_boot, gv_slice_text(origin->name));
        }
    }
    return sum;
}

/* Have the last comparisons had their time? */
static bool is_rested(const struct gv_gossip *gossip)
{
    bool is_early = gossip->clocks_compared < SECONDS_MAX;
    return gossip->now.now_ms >=
           gossip->clocks_compared_at_ms + (is_early ? SECOND_MS : RECOMPARE_MS);
}

static void note_comparison(struct gv_gossip *gossip)
{
    gossip->clocks_compared_at_ms = gossip->now.now_ms;
    gossip->clocks_compared += gossip->clocks_compared < SECONDS_MAX;
}

/** Is it time to compare live sets again, because a marked node has a right clock again, or is
 * gone?
 */
bool gv_clocks_want_comparison(struct gv_gossip *gossip)
{
    if (gossip->vector.marked == 0 || !is_rested(gossip)) {
        return false;
    }
    for (uint32_t i = 0; i < gossip->vector.count; i++) {
        const struct gv_origin *origin = gossip->vector.origins[i];
        const struct gv_peer *peer =
            origin->refused == 0 ? NULL : gv_roster_find(gossip, origin->name);
        bool is_back = peer != NULL && peer->session != NULL &&
                       peer->session->boot_id == origin->boot_id && peer->member.knows_clock &&
                       is_near(&peer->member);
        bool is_gone = origin->refused > 0 && origin->gone_at_ms != 0;
        if (is_back || (is_gone && gv_gossip_clock_is_right(gossip))) {
            note_comparison(gossip);
            return true;
        }
    }
    return false;
}

/** A peer of a right clock has no mark (any more) and we have one: is it time to compare with it?
 */
bool gv_clocks_may_settle(struct gv_gossip *gossip, const struct gv_channel *session,
                          const Mesh__Digest *digest)
{
    const struct gv_member *member = &session->peer->member;
    bool is_whole = digest->marks == 0 && digest->synced;
    if (!is_whole || !member->knows_clock || !is_near(member) || !is_rested(gossip) ||
        gv_clocks_marks(gossip) == 0) {
        return false;
    }
    note_comparison(gossip);
    return true;
}

/** The version of a record when our clock was set back by `back_ms`: another one only when everyone
 * would refuse it as it is. Then it was written before that, and it is dated when that was.
 */
uint64_t gv_clocks_redate(const struct gv_gossip *gossip, uint64_t version_ms, uint64_t back_ms)
{
    uint64_t wall_ms = gossip->now.wall_ms;
    if (version_ms <= wall_ms + GV_INCARNATION_AHEAD_MAX_MS) {
        return version_ms;
    }
    uint64_t then_ms = version_ms > back_ms ? version_ms - back_ms : 1;
    return then_ms < wall_ms ? then_ms : wall_ms;
}

/** Our wall clock was set, by `jump_ms`. */
void gv_clocks_jumped(struct gv_gossip *gossip, int64_t jump_ms)
{
    if (jump_ms <= -JUMP_MS || jump_ms >= JUMP_MS) {
        gossip->sweep_at_ms = gossip->now.now_ms; /* which logs are old is another question now */
    }
    if (jump_ms < 0) {
        uint64_t back_ms = (uint64_t)-jump_ms;
        gv_workers_redate(gossip, back_ms);
        gv_settings_redate(gossip, back_ms);
    }
}
