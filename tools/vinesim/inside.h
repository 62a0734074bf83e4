/*
 * inside.h - what the files of a world share.
 */
#ifndef VINESIM_INSIDE_H
#define VINESIM_INSIDE_H

#include "world.h"

enum world_event_kind {
    WORLD_TICK = 0, /* the engine wants to be woken */
    WORLD_PACKET,   /* a datagram arrives */
    WORLD_ARRIVE,   /* the next of a connection's messages may be there: number is 2 * it + end */
    WORLD_DIAL,     /* the outcome of an attempt to connect: number is the target node */
    WORLD_END,      /* the process stops: another holds its name */
    WORLD_DRAIN     /* a sender's queue may be shorter: number is 2 * connection + end */
};

/** The number in a node's name. */
uint32_t world_index(const char *name);
void world_mix(struct world *world, const void *bytes, size_t len);
void world_arm(struct world *world, uint32_t i);
void world_end_node(struct world *world, uint32_t i, bool tell, bool reset);
void world_end_life(struct world *world, uint32_t i);
void world_hostile_packet(struct world *world, uint32_t to, struct gv_slice bytes);
void world_network_step(struct world *world, const struct world_event *event, bool lives);
void world_free_pipes(struct world *world);
/** What the engine of a node calls. Borrows the node. */
struct gv_gossip_store world_store(struct world_node *node);
/** Another node has applied the operation that ends with this fingerprint. */
void world_saw(struct world *world, uint64_t print);
struct gv_gossip_operation world_outward(const struct gv_operation *from);

#endif
