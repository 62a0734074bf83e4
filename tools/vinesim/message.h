/*
 * message.h - bytes on their way from node to node, and the shelf from which they are taken: most
 * live for a moment of virtual time and are of few sizes, so what one leaves the next one takes.
 */
#ifndef VINESIM_MESSAGE_H
#define VINESIM_MESSAGE_H

#include "grapevine/base/slice.h"

#include <stdbool.h>

#define MESSAGE_SIZES 40 /* steps of 64 bytes; what is larger comes from the heap */

struct world_message {
    struct world_message *next;
    uint64_t at_us;
    uint64_t boot_id; /* of a datagram: the start of its receiver that it is meant for */
    size_t len;
    uint32_t from;   /* of a datagram: the node */
    bool is_end;     /* no bytes: the other end closed */
    bool is_reset;   /* or was reset */
    bool is_hostile; /* no node sent this */
    bool is_damaged; /* or not like this */
    uint8_t bytes[];
};

/* Zero-initialise to start. */
struct message_shelf {
    struct world_message *free[MESSAGE_SIZES]; /* owned; by size */
};

void message_shelf_deinit(struct message_shelf *shelf);
/** A message with a copy of these bytes. */
struct world_message *message_new(struct message_shelf *shelf, struct gv_slice bytes);
/** NULL: nothing happens. */
void message_free(struct message_shelf *shelf, struct world_message *message);

#endif
