/*
 * believed.h - whose datagrams are believed: the (node, boot) pairs that have proven themselves,
 * each with its replay window.
 *
 * A boot is added when it has finished a handshake with us, or a member told us of it. Its window
 * is kept for as long as this process remembers it, so that an old boot cannot be played back
 * either. Private to cluster/ (and to the bench that forges datagrams against it). One thread.
 */
#ifndef GV_CLUSTER_BELIEVED_H
#define GV_CLUSTER_BELIEVED_H

#include "grapevine/base/list.h"
#include "grapevine/base/map.h"
#include "grapevine/seal/packet.h"

#define GV_BELIEVED_MAX 8192 /* pairs; beyond it the oldest is forgotten */

struct gv_believed {
    struct gv_map pairs; /* (name hash, boot) -> who, owned */
    struct gv_list ages; /* the same, oldest first */
};

void gv_believed_init(struct gv_believed *believed, const uint64_t secret[2]);
void gv_believed_deinit(struct gv_believed *believed);

/** This boot of this node is believed from now on. Without memory it is not. */
void gv_believed_add(struct gv_believed *believed, const char *node, uint64_t boot_id);

/**
 * Open a datagram into `plain` (emptied first) and say whose it is; the name is borrowed until the
 * next gv_believed_add(). Errors: GV_EAUTH the head names nobody who is believed; those of
 * gv_packet_peek() and gv_packet_open().
 */
GV_MUST_USE enum gv_err gv_believed_open(struct gv_believed *believed,
                                         const struct gv_packet_box *box, struct gv_slice packet,
                                         struct gv_buf *plain, const char **sender);

#endif
