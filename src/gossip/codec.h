/*
 * codec.h - bytes to messages and back, with every limit checked. Private to gossip.
 *
 * What gv_codec_unpack() returns is sane: names and URLs are within their limits, lists too,
 * addresses have 4 or 16 bytes, every index of an operation is inside the dictionary beside it.
 * Nobody behind it needs to ask again.
 */
#ifndef GV_GOSSIP_CODEC_H
#define GV_GOSSIP_CODEC_H

#include "grapevine/base/arena.h"
#include "grapevine/gossip/engine.h"

#include <mesh.pb-c.h>

/**
 * Unpack and check one message. `*message` and all it points to live in `arena`.
 * Errors: GV_ETOOBIG over GV_GOSSIP_FRAME_MAX; GV_EPROTO malformed or over a limit.
 */
GV_MUST_USE enum gv_err gv_codec_unpack(struct gv_arena *arena, struct gv_slice bytes,
                                        Mesh__Message **message);

/** The same for a datagram. Errors: GV_ETOOBIG over GV_GOSSIP_PACKET_MAX; GV_EPROTO. */
GV_MUST_USE enum gv_err gv_codec_unpack_packet(struct gv_arena *arena, struct gv_slice bytes,
                                               Mesh__Packet **packet);

/** An address to its message, whose bytes are borrowed from `addr`; and back. */
void gv_codec_addr_out(const struct gv_addr *addr, Mesh__Address *message);
struct gv_addr gv_codec_addr_in(const Mesh__Address *message);

/** A member to its message, borrowing; `addr` is the place for its address. */
void gv_codec_member_out(const struct gv_member *member, const char *accuser, Mesh__Address *addr,
                         Mesh__Member *message);
/** A checked message to a member; what is not on the wire is zero. */
void gv_codec_member_in(const Mesh__Member *message, struct gv_member *member);

/** A worker record to its message, strings in `arena`; NULL: no memory. */
Mesh__Worker *gv_codec_worker_out(struct gv_arena *arena, const struct gv_gossip_worker *worker);
/** A checked message to a record that borrows from it. */
void gv_codec_worker_in(const Mesh__Worker *message, struct gv_gossip_worker *worker);

#endif
