/*
 * packet.h - one datagram between nodes, sealed (XChaCha20-Poly1305).
 *
 * The clear head names the key, the sender (a hash of its name), its boot and a counter, so that
 * nothing is ever tried: an unknown key, sender or boot is dropped before any cryptography. The key
 * is derived from the cluster key and the sender's boot id; the nonce is the counter and 16 random
 * bytes; cluster id, sender, receiver and the receiver's boot are bound in. A packet is believed
 * once: each (sender, boot) has a window of 2,048 counters.
 *
 *     version 1 | keyed 1 | key id 8 | sender 8 | boot 8 | counter 8 | random 16 | sealed | tag 16
 *
 * A keyless cluster uses the same head with zeros and neither seal nor tag. A keyed box refuses
 * keyless packets and the reverse. GV_PACKET_OVERHEAD bytes are added: 1,200 plain bytes make
 * 1,266.
 *
 * Which (sender, boot) are believed at all is the caller's business (a TCP handshake came first):
 *
 *     gv_packet_peek() -> the caller finds name and window by (sender, boot) -> gv_packet_open()
 *
 * No sockets. One thread per box.
 */
#ifndef GV_SEAL_PACKET_H
#define GV_SEAL_PACKET_H

#include "grapevine/base/buf.h"
#include "grapevine/base/err.h"
#include "grapevine/seal/keyring.h"

#define GV_PACKET_HEAD_BYTES  50
#define GV_PACKET_OVERHEAD    66 /* head and tag */
#define GV_PACKET_MAX_BYTES   1400
#define GV_PACKET_PLAIN_MAX   (GV_PACKET_MAX_BYTES - GV_PACKET_OVERHEAD)
#define GV_PACKET_WINDOW      2048
#define GV_PACKET_NAME_MAX    64  /* bytes of a node name with its NUL */
#define GV_PACKET_CLUSTER_MAX 128 /* bytes of a cluster id with its NUL */

/** Which counters of one (sender, boot) were seen. All zeros is a new one. */
struct gv_packet_window {
    uint64_t highest;                     /* 0: none yet; counters begin at 1 */
    uint64_t seen[GV_PACKET_WINDOW / 64]; /* bit counter % 2048, for the last 2,048 counters */
};

struct gv_packet_box {
    const struct gv_keyring *ring; /* borrowed; NULL: keyless */
    char cluster[GV_PACKET_CLUSTER_MAX];
    char self[GV_PACKET_NAME_MAX];
    struct gv_key_id under; /* seal under this key where the ring has it; zeros: the active one */
    uint64_t boot;          /* this node's boot id */
    uint64_t counter;       /* of the last packet sealed */
};

/** The clear head. Nothing in it is proven before gv_packet_open(). */
struct gv_packet_head {
    bool is_keyed;
    struct gv_key_id key;
    uint64_t sender; /* gv_packet_name_hash() of its name */
    uint64_t boot;
    uint64_t counter;
};

/** A box for this node's packets. Errors: GV_ETOOBIG a name is too long. */
GV_MUST_USE enum gv_err gv_packet_box_init(struct gv_packet_box *box, const struct gv_keyring *ring,
                                           const char *cluster, const char *self, uint64_t boot);

/** How the head names a node. */
uint64_t gv_packet_name_hash(const char *name);

/**
 * Append the sealed packet for `receiver`, in its start `receiver_boot`, to `out`. A later start
 * refuses it: it has no memory of what was received before.
 * Errors: GV_ETOOBIG `plain` is over GV_PACKET_PLAIN_MAX; those of gv_buf_append().
 */
GV_MUST_USE enum gv_err gv_packet_seal(struct gv_packet_box *box, const char *receiver,
                                       uint64_t receiver_boot, struct gv_slice plain,
                                       struct gv_buf *out);

/**
 * Read the head.
 * Errors: GV_EPROTO too short, too long, or not version 1; GV_EMISMATCH keyed against keyless, or a
 *         key that is not in the ring (head->key names it; `*head` is filled in this case).
 */
GV_MUST_USE enum gv_err gv_packet_peek(const struct gv_packet_box *box, struct gv_slice packet,
                                       struct gv_packet_head *head);

/**
 * Open a packet from the believed node `sender`, whose boot has the window `window`; append the
 * plain bytes to `out`. On any failure neither `out` nor `window` changes.
 *
 * Errors: those of gv_packet_peek(); GV_EAUTH damaged, forged, or for another cluster, sender or
 *         receiver; GV_ESTALE a replay, or older than the window; those of gv_buf_append().
 */
GV_MUST_USE enum gv_err gv_packet_open(const struct gv_packet_box *box, const char *sender,
                                       struct gv_packet_window *window, struct gv_slice packet,
                                       struct gv_buf *out);

/** Would `counter` be new to the window? */
bool gv_packet_window_is_new(const struct gv_packet_window *window, uint64_t counter);

/** Note a counter that is new. */
void gv_packet_window_add(struct gv_packet_window *window, uint64_t counter);

#endif
