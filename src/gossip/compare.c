/*
 * compare.c - do the live sets agree, not only the logs? Private to gossip, see machine.h.
 *
 * Equal positions and floors imply equal live sets, unless somebody could not keep what it was told
 * (no memory, a bug). So once a minute, and when asked, the digest of the live set travels with the
 * digest of the positions. When it differs although the positions agree, bucket sums are sent, key
 * by key; the peer sends back its entries of the buckets that differ, and wants ours:
 *
 *     A -- Digest with deep --> B, whose own is different
 *     B -- Sums of each key --> A
 *     A -- its entries of the buckets that differ --> B
 *     A -- Want: those buckets --> B -- its entries of them --> A
 *
 * Both ends do so, so a key that only one of them has is found too. What comes is merged; what is
 * below a floor stays dead.
 */
#include "grapevine/base/assert.h"
#include "machine.h"

#define MISSES_BEFORE_SUMS 2      /* in a row: live operations make sets differ for a moment */
#define LEAST_SPACING_MS   60000  /* between comparisons with one peer, doubled each time ... */
#define MOST_SPACING_MS    600000 /* ... up to this: a node that lacks room will differ for long */
#define SHARED_SPACING_MS  1000   /* and between those with any, */
#define SHARED_DEMANDED_MS 100    /* when they ask for it */

/* The digest of the live sets, made again only when a log has moved. */
static const uint8_t *deep_digest(struct gv_gossip *gossip, const uint8_t of[16])
{
    if (!gossip->deep_known || memcmp(gossip->deep_of, of, 16) != 0) {
        gossip->store.deep_digest(gossip->store.owner, gossip->deep);
        memcpy(gossip->deep_of, of, 16);
        gossip->deep_known = true;
    }
    return gossip->deep;
}

/** The digest of the live sets, for the peers; `positions`: of our vector. Fresh: made anew,
 * whatever was thought before. */
const uint8_t *gv_compare_own(struct gv_gossip *gossip, const uint8_t positions[16], bool is_fresh)
{
    gossip->deep_known = gossip->deep_known && !is_fresh;
    return deep_digest(gossip, positions);
}

static bool is_able(const struct gv_gossip *gossip)
{
    return gossip->store.key_at != NULL && gossip->store.key_sums != NULL;
}

static void send_sums(struct gv_gossip *gossip, struct gv_channel *session)
{
    struct gv_slice key;
    uint64_t sums[GV_GOSSIP_BUCKETS];
    gossip->counters.comparisons += 1;
    for (uint32_t i = 0; gossip->store.key_at(gossip->store.owner, i, &key); i++) {
        Mesh__Message message = MESH__MESSAGE__INIT;
        Mesh__Sums body = MESH__SUMS__INIT;
        gv_arena_reset(&gossip->scratch);
        body.key = gv_arena_copy(&gossip->scratch, key);
        if (body.key == NULL ||
            !gossip->store.key_sums(gossip->store.owner, gv_slice_text(body.key), sums)) {
            continue;
        }
        body.sums = sums;
        body.n_sums = GV_GOSSIP_BUCKETS;
        message.body_case = MESH__MESSAGE__BODY_SUMS;
        message.sums = &body;
        gv_wire_send(gossip, session, &message);
    }
}

/** The peer's live set has this digest, at the same positions as ours; is it ours? */
bool gv_compare_digest(struct gv_gossip *gossip, struct gv_channel *session,
                       const Mesh__Digest *digest, const uint8_t positions[16])
{
    uint64_t now_ms = gossip->now.now_ms;
    if (memcmp(deep_digest(gossip, positions), digest->deep.data, 16) == 0) {
        session->deep_misses = 0;
        session->deep_rounds = 0;
        return true;
    }
    session->deep_misses += 1;
    uint64_t spacing_ms = (uint64_t)LEAST_SPACING_MS << session->deep_rounds;
    spacing_ms = spacing_ms < MOST_SPACING_MS ? spacing_ms : MOST_SPACING_MS;
    bool rested =
        session->deep_asked_at_ms == 0 || now_ms >= session->deep_asked_at_ms + spacing_ms;
    bool due = digest->demand || (session->deep_misses >= MISSES_BEFORE_SUMS && rested);
    uint64_t shared_ms = digest->demand ? SHARED_DEMANDED_MS : SHARED_SPACING_MS;
    if (!due || !is_able(gossip) || now_ms < gossip->compared_at_ms + shared_ms) {
        return false;
    }
    session->deep_asked_at_ms = now_ms;
    session->deep_rounds += session->deep_rounds < 4 && !digest->demand;
    gossip->compared_at_ms = now_ms;
    send_sums(gossip, session);
    return false;
}

/* The entries of these buckets are to go to the peer, besides those that are on their way. */
static void mend(struct gv_gossip *gossip, struct gv_channel *session, struct gv_slice key,
                 const uint64_t buckets[GV_GOSSIP_BUCKETS / 64])
{
    struct gv_giving *mending = &session->mending;
    gossip->may_be_behind = true;
    if (!mending->active) {
        *mending = (struct gv_giving){.active = true, .is_mending = true, .in_part = true};
        (void)gv_slice_copy_text(key, mending->key, sizeof mending->key);
    } else {
        memset(mending->cursor, 0, sizeof mending->cursor); /* once more, for more */
        if (!gv_slice_is(key, mending->key)) {
            mending->key[0] = '\0';
        }
    }
    for (uint32_t i = 0; i < GV_GOSSIP_BUCKETS / 64; i++) {
        mending->buckets[i] |= buckets[i];
    }
    gv_snapshot_pump(gossip, session);
}

/** The peer's sums of one key. */
void gv_compare_sums(struct gv_gossip *gossip, struct gv_channel *session, const Mesh__Sums *theirs)
{
    uint64_t ours[GV_GOSSIP_BUCKETS], differing[GV_GOSSIP_BUCKETS / 64] = {0};
    bool differs = false;
    if (!is_able(gossip)) {
        return;
    }
    (void)gossip->store.key_sums(gossip->store.owner, gv_slice_text(theirs->key), ours);
    for (uint32_t i = 0; i < GV_GOSSIP_BUCKETS; i++) {
        if (ours[i] != theirs->sums[i]) {
            differing[i / 64] |= UINT64_C(1) << (i % 64);
            differs = true;
        }
    }
    if (!differs) {
        return;
    }
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__Want want = MESH__WANT__INIT;
    want.key = theirs->key;
    want.buckets = differing;
    want.n_buckets = GV_GOSSIP_BUCKETS / 64;
    message.body_case = MESH__MESSAGE__BODY_WANT;
    message.want = &want;
    gv_wire_send(gossip, session, &message);
    mend(gossip, session, gv_slice_text(theirs->key), differing);
}

/** The peer wants our entries of these buckets. */
void gv_compare_wanted(struct gv_gossip *gossip, struct gv_channel *session, const Mesh__Want *want)
{
    mend(gossip, session, gv_slice_text(want->key), want->buckets);
}
