/*
 * proof.c - is a record its node's own, and whose is a name? Private to gossip, see machine.h.
 *
 * A node signs what it says of itself. Whoever passes the record on passes the signature on, so a
 * record is as good from a third node as from its own. Doubts and deaths are opinions on a signed
 * record and need no signature: the node refutes them.
 *
 *     "grapevine member 1" | key | cluster id | name | boot | incarnation | left | ready
 *                          | address | http_url | version
 *
 * numbers little-endian, texts after one byte of length.
 */
#include "gossip/machine.h"

#define TAKE_OVER_MS 1000 /* a false death is refuted within a round trip; this is a great many */
#define CHECK_GAP_MS 1000
#define TEXT_ROOM    640

static const char label[] = "grapevine member 1";

struct text {
    uint8_t bytes[TEXT_ROOM];
    size_t len;
};

_Static_assert(sizeof label + GV_GOSSIP_IDENTITY_BYTES + GV_CLUSTER_ID_MAX + GV_NODE_NAME_MAX + 18 +
                       19 + 128 + 24 <
                   TEXT_ROOM,
               "the longest record fits");

static void put(struct text *text, const void *bytes, size_t len)
{
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

static void put_number(struct text *text, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        text->bytes[text->len++] = (uint8_t)(value >> (8 * i));
    }
}

static void put_string(struct text *text, const char *string)
{
    size_t len = strlen(string);
    put_number(text, len, 1);
    put(text, string, len);
}

static struct gv_slice compose(const struct gv_gossip *gossip, const struct gv_member *member,
                               struct text *text)
{
    const struct gv_addr *addr = &member->gossip_addr;
    bool has_addr = addr->family != 0 && addr->port != 0;
    text->len = 0;
    put(text, label, sizeof label);
    put(text, member->identity, sizeof member->identity);
    put_string(text, gossip->options.cluster_id);
    put_string(text, member->name);
    put_number(text, member->boot_id, 8);
    put_number(text, member->incarnation, 8);
    put_number(text, member->status == GV_MEMBER_LEFT, 1);
    put_number(text, member->ready, 1);
    put_number(text, has_addr ? addr->family : 0, 1);
    if (has_addr) {
        put(text, addr->ip, addr->family == 4 ? 4 : 16);
        put_number(text, addr->port, 2);
    }
    put_string(text, member->http_url);
    put_string(text, member->version);
    return gv_slice_of(text->bytes, text->len);
}

/** After every change of our own record. */
void gv_proof_sign_self(struct gv_gossip *gossip)
{
    const struct gv_gossip_signer *signer = &gossip->options.signer;
    struct gv_member *self = &gossip->self->member;
    struct text text;
    if (signer->sign == NULL) {
        return;
    }
    memcpy(self->identity, signer->identity, sizeof self->identity);
    signer->sign(signer->owner, compose(gossip, self, &text), self->signature);
}

/** Did the node itself say this, whoever told us? */
bool gv_proof_is_signed(const struct gv_gossip *gossip, const struct gv_member *news)
{
    const struct gv_gossip_signer *signer = &gossip->options.signer;
    struct text text;
    return signer->sign == NULL || signer->verify(signer->owner, news->identity,
                                                  compose(gossip, news, &text), news->signature);
}

/** Is the name known here under the key of the news, or under none yet? */
bool gv_proof_is_holder(const struct gv_gossip *gossip, const struct gv_peer *peer,
                        const struct gv_member *news)
{
    return gossip->options.signer.sign == NULL || peer->member.incarnation == 0 ||
           memcmp(peer->member.identity, news->identity, sizeof news->identity) == 0;
}

/** May another key have the name? `answered_at`: where it answered to us, NULL: it came to us. */
bool gv_proof_may_take_over(const struct gv_gossip *gossip, const struct gv_peer *holder,
                            const struct gv_addr *answered_at)
{
    const struct gv_member *member = &holder->member;
    if (holder == gossip->self) {
        return false;
    }
    if (answered_at != NULL && answered_at->family != 0 &&
        gv_addr_equal(answered_at, &member->gossip_addr)) {
        return true;
    }
    return member->status == GV_MEMBER_LEFT ||
           (member->status == GV_MEMBER_DEAD &&
            gossip->now.now_ms - holder->status_at_ms >= TAKE_OVER_MS);
}

/** The name goes to another key: what was known under it is forgotten. */
void gv_proof_take_over(struct gv_gossip *gossip, struct gv_peer *peer)
{
    gv_wire_log(gossip, GV_LOG_WARN, "member.new_key", peer->member.name);
    gv_dial_close_peer(gossip, peer, "its name has a new key");
    gv_records_vanish(gossip, peer);
    gv_detector_forget(gossip, peer);
    peer->member.incarnation = 0;
    gv_roster_set_boot(gossip, peer, 0);
    gv_roster_write_status(gossip, peer, GV_MEMBER_LEFT);
    gv_roster_touch(gossip);
    peer->accuser_count = 0;
}

/** Count and log; and look who is really at the holder's address, unless we are in session. */
void gv_proof_refuse(struct gv_gossip *gossip, const char *name, struct gv_peer *holder)
{
    gossip->counters.forged += 1;
    gv_wire_log(gossip, GV_LOG_WARN, "mesh.forged", name);
    if (holder != NULL && gv_channel_of(gossip, holder) == NULL &&
        gossip->now.now_ms - holder->checked_at_ms >= CHECK_GAP_MS) {
        holder->checked_at_ms = gossip->now.now_ms;
        holder->is_tried = true;
        gv_dial_plan(gossip, holder, gossip->now.now_ms);
    }
}
