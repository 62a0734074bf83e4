/*
 * packet.c - datagrams sealed and opened.
 */
#include "grapevine/seal/packet.h"
#include "seal.h"

#define VERSION      1
#define AT_KEYED     1
#define AT_KEY       2
#define AT_SENDER    10
#define AT_BOOT      18
#define AT_COUNTER   26
#define AT_RANDOM    34
#define RANDOM_BYTES 16
#define TAG_BYTES    crypto_aead_xchacha20poly1305_ietf_ABYTES
#define BOUND_MAX    (GV_PACKET_HEAD_BYTES + 3 + GV_PACKET_CLUSTER_MAX + 2 * GV_PACKET_NAME_MAX + 8)

_Static_assert(AT_RANDOM + RANDOM_BYTES == GV_PACKET_HEAD_BYTES, "the head's parts");
_Static_assert(GV_PACKET_HEAD_BYTES + TAG_BYTES == GV_PACKET_OVERHEAD, "head and tag");
_Static_assert(8 + RANDOM_BYTES == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "the nonce");
_Static_assert(GV_PACKET_PLAIN_MAX >= 1200, "a gossip datagram fits");

enum gv_err gv_packet_box_init(struct gv_packet_box *box, const struct gv_keyring *ring,
                               const char *cluster, const char *self, uint64_t boot)
{
    struct gv_packet_box made = {.ring = ring, .boot = boot};
    gv_seal_ready();
    if (!gv_slice_copy_text(gv_slice_text(cluster), made.cluster, sizeof made.cluster) ||
        !gv_slice_copy_text(gv_slice_text(self), made.self, sizeof made.self)) {
        return GV_ETOOBIG;
    }
    *box = made;
    return GV_OK;
}

uint64_t gv_packet_name_hash(const char *name)
{
    uint8_t digest[crypto_generichash_BYTES];
    GV_ASSERT(crypto_generichash(digest, sizeof digest, (const uint8_t *)name, strlen(name), NULL,
                                 0) == 0);
    return gv_seal_get_u64(digest);
}

/* What is authenticated besides the content: the head, who speaks to whom in which cluster, and to
 * which start of it. */
static size_t bind(uint8_t bound[BOUND_MAX], const uint8_t *head, const char *cluster,
                   const char *sender, const char *receiver, uint64_t receiver_boot)
{
    const char *const texts[] = {cluster, sender, receiver};
    memcpy(bound, head, GV_PACKET_HEAD_BYTES);
    size_t at = GV_PACKET_HEAD_BYTES;
    for (size_t i = 0; i < 3; i++) {
        size_t len = strlen(texts[i]);
        GV_ASSERT(len < (i == 0 ? GV_PACKET_CLUSTER_MAX : GV_PACKET_NAME_MAX));
        bound[at] = (uint8_t)len;
        memcpy(bound + at + 1, texts[i], len);
        at += 1 + len;
    }
    gv_seal_put_u64(bound + at, receiver_boot);
    return at + 8;
}

static enum gv_err derive(const struct gv_packet_box *box, const uint8_t *head,
                          uint8_t key[GV_KEY_BYTES])
{
    struct gv_key_id id;
    memcpy(id.bytes, head + AT_KEY, sizeof id.bytes);
    return gv_keyring_derive(box->ring, id, GV_KEY_PACKET, gv_slice_of(head + AT_BOOT, 8), key);
}

static void write_head(struct gv_packet_box *box, uint8_t *head)
{
    bool is_chosen = !gv_key_id_is_none(box->under) && gv_keyring_has(box->ring, box->under);
    struct gv_key_id id = is_chosen ? box->under : gv_keyring_active(box->ring);
    bool is_keyed = gv_keyring_count(box->ring) > 0;
    memset(head, 0, GV_PACKET_HEAD_BYTES);
    head[0] = VERSION;
    head[AT_KEYED] = is_keyed ? 1 : 0;
    memcpy(head + AT_KEY, id.bytes, sizeof id.bytes);
    gv_seal_put_u64(head + AT_SENDER, gv_packet_name_hash(box->self));
    gv_seal_put_u64(head + AT_BOOT, box->boot);
    gv_seal_put_u64(head + AT_COUNTER, box->counter);
    if (is_keyed) {
        randombytes_buf(head + AT_RANDOM, RANDOM_BYTES);
    }
}

enum gv_err gv_packet_seal(struct gv_packet_box *box, const char *receiver, uint64_t receiver_boot,
                           struct gv_slice plain, struct gv_buf *out)
{
    if (plain.len > GV_PACKET_PLAIN_MAX || strlen(receiver) >= GV_PACKET_NAME_MAX) {
        return GV_ETOOBIG;
    }
    uint8_t *packet;
    enum gv_err err = gv_buf_reserve(out, plain.len + GV_PACKET_OVERHEAD, &packet);
    if (err != GV_OK) {
        return err;
    }
    box->counter += 1;
    write_head(box, packet);
    uint8_t *body = packet + GV_PACKET_HEAD_BYTES;
    if (packet[AT_KEYED] == 0) {
        if (plain.len > 0) {
            memcpy(body, plain.data, plain.len);
        }
        gv_buf_commit(out, GV_PACKET_HEAD_BYTES + plain.len);
        return GV_OK;
    }
    uint8_t key[GV_KEY_BYTES];
    uint8_t bound[BOUND_MAX];
    size_t bound_len = bind(bound, packet, box->cluster, box->self, receiver, receiver_boot);
    err = derive(box, packet, key);
    GV_ASSERT(err == GV_OK); /* the key is in the ring */
    GV_ASSERT(crypto_aead_xchacha20poly1305_ietf_encrypt(body, NULL, plain.data, plain.len, bound,
                                                         bound_len, NULL, packet + AT_COUNTER,
                                                         key) == 0);
    sodium_memzero(key, sizeof key);
    gv_buf_commit(out, plain.len + GV_PACKET_OVERHEAD);
    return GV_OK;
}

enum gv_err gv_packet_peek(const struct gv_packet_box *box, struct gv_slice packet,
                           struct gv_packet_head *head)
{
    if (packet.len < GV_PACKET_HEAD_BYTES || packet.len > GV_PACKET_MAX_BYTES ||
        packet.data[0] != VERSION || packet.data[AT_KEYED] > 1) {
        return GV_EPROTO;
    }
    struct gv_packet_head read = {
        .is_keyed = packet.data[AT_KEYED] == 1,
        .sender = gv_seal_get_u64(packet.data + AT_SENDER),
        .boot = gv_seal_get_u64(packet.data + AT_BOOT),
        .counter = gv_seal_get_u64(packet.data + AT_COUNTER),
    };
    memcpy(read.key.bytes, packet.data + AT_KEY, sizeof read.key.bytes);
    bool is_marked = !gv_key_id_is_none(read.key);
    if ((read.is_keyed && packet.len < GV_PACKET_OVERHEAD) || read.is_keyed != is_marked ||
        read.counter == 0) {
        return GV_EPROTO;
    }
    *head = read;
    bool want_keyed = gv_keyring_count(box->ring) > 0;
    if (read.is_keyed != want_keyed || (want_keyed && !gv_keyring_has(box->ring, read.key))) {
        return GV_EMISMATCH;
    }
    return GV_OK;
}

/* Decrypt into reserved room of `out`; the caller commits. */
static enum gv_err decrypt(const struct gv_packet_box *box, const char *sender,
                           struct gv_slice packet, uint8_t *where)
{
    uint8_t key[GV_KEY_BYTES];
    uint8_t bound[BOUND_MAX];
    size_t bound_len = bind(bound, packet.data, box->cluster, sender, box->self, box->boot);
    enum gv_err err = derive(box, packet.data, key);
    if (err != GV_OK) {
        return GV_EMISMATCH;
    }
    int opened = crypto_aead_xchacha20poly1305_ietf_decrypt(
        where, NULL, NULL, packet.data + GV_PACKET_HEAD_BYTES, packet.len - GV_PACKET_HEAD_BYTES,
        bound, bound_len, packet.data + AT_COUNTER, key);
    sodium_memzero(key, sizeof key);
    return opened == 0 ? GV_OK : GV_EAUTH;
}

enum gv_err gv_packet_open(const struct gv_packet_box *box, const char *sender,
                           struct gv_packet_window *window, struct gv_slice packet,
                           struct gv_buf *out)
{
    struct gv_packet_head head;
    enum gv_err err = gv_packet_peek(box, packet, &head);
    if (err != GV_OK) {
        return err;
    }
    if (strlen(sender) >= GV_PACKET_NAME_MAX || head.sender != gv_packet_name_hash(sender)) {
        return GV_EAUTH;
    }
    if (!gv_packet_window_is_new(window, head.counter)) {
        return GV_ESTALE;
    }
    size_t len = packet.len - (head.is_keyed ? GV_PACKET_OVERHEAD : GV_PACKET_HEAD_BYTES);
    uint8_t *where;
    err = gv_buf_reserve(out, len, &where);
    if (err != GV_OK) {
        return err;
    }
    if (head.is_keyed) {
        err = decrypt(box, sender, packet, where);
        if (err != GV_OK) {
            return err;
        }
    } else if (len > 0) {
        memcpy(where, packet.data + GV_PACKET_HEAD_BYTES, len);
    }
    gv_buf_commit(out, len);
    gv_packet_window_add(window, head.counter);
    return GV_OK;
}

bool gv_packet_window_is_new(const struct gv_packet_window *window, uint64_t counter)
{
    if (counter == 0) {
        return false;
    }
    if (counter > window->highest) {
        return true;
    }
    if (window->highest - counter >= GV_PACKET_WINDOW) {
        return false;
    }
    size_t bit = (size_t)(counter % GV_PACKET_WINDOW);
    return (window->seen[bit / 64] & (UINT64_C(1) << (bit % 64))) == 0;
}

void gv_packet_window_add(struct gv_packet_window *window, uint64_t counter)
{
    GV_ASSERT(gv_packet_window_is_new(window, counter));
    if (counter > window->highest) {
        uint64_t steps = counter - window->highest;
        if (steps >= GV_PACKET_WINDOW) {
            memset(window->seen, 0, sizeof window->seen);
            steps = 0;
        }
        /* The places between belong to counters that were not seen yet. */
        for (uint64_t i = 1; i <= steps; i++) {
            size_t bit = (size_t)((window->highest + i) % GV_PACKET_WINDOW);
            window->seen[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
        }
        window->highest = counter;
    }
    size_t bit = (size_t)(counter % GV_PACKET_WINDOW);
    window->seen[bit / 64] |= UINT64_C(1) << (bit % 64);
}
