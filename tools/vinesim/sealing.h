/*
 * sealing.h - the real seal between the engines of a world: datagrams and sessions are sealed and
 * opened as the shell does it, so that bytes can be damaged, repeated and forged on their way.
 *
 * Ciphertext is random, what happens because of it is not: two runs of a seed stay the same.
 */
#ifndef VINESIM_SEALING_H
#define VINESIM_SEALING_H

#include "inside.h"

/* What a stranger, or somebody who has recorded the traffic, sends. */
enum hostile_kind {
    HOSTILE_REPLAY = 0, /* a packet that was accepted, again */
    HOSTILE_ASTRAY,     /* the same to another receiver */
    HOSTILE_FLIPPED,    /* with one bit changed */
    HOSTILE_CUT,        /* without its end */
    HOSTILE_GARBAGE,    /* random bytes */
    HOSTILE_KEY,        /* made well, with another cluster's key */
    HOSTILE_CLUSTER,    /* with our key, for another cluster */
    HOSTILE_BOOT,       /* with our key, of a start that nobody has met */
    HOSTILE_KEYLESS,    /* not sealed at all */
    HOSTILE_KIND_COUNT
};

struct sealing_counters {
    uint64_t packets_opened, packets_refused; /* of the nodes' own */
    uint64_t frames_refused;                  /* sessions that ended by a damaged frame */
    uint64_t handshakes_refused;
    uint64_t hostile_sent, hostile_accepted;
    uint64_t sent_by_kind[HOSTILE_KIND_COUNT];
};

/** NULL: out of memory. */
struct sealing *sealing_new(struct world *world);
void sealing_free(struct sealing *sealing);
const struct sealing_counters *sealing_counters(const struct sealing *sealing);

/** Node `i` has a new life: a new box, nobody believed. */
void sealing_start(struct sealing *sealing, uint32_t i);
/** Node `i` has met the start `boot_id` of node `about`, or was told of it by a member. */
void sealing_believe(struct sealing *sealing, uint32_t i, uint32_t about, uint64_t boot_id);

/** The bytes that go out for a datagram. Borrowed until the next call. */
struct gv_slice sealing_seal(struct sealing *sealing, uint32_t from,
                             const struct gv_effect *effect);
/** A datagram came to node `i`: its sender and plain bytes (borrowed until the next call), or
 * false: refused. Blames the world when a hostile one was believed. */
bool sealing_open(struct sealing *sealing, uint32_t i, const struct world_message *message,
                  uint32_t *sender, struct gv_slice *plain);

/** The handshake of a new connection; false: a byte of it was damaged. */
bool sealing_connect(struct sealing *sealing, uint64_t connection);
/** The frame for a message that end `number % 2` sends. Borrowed until the next call. */
struct gv_slice sealing_frame(struct sealing *sealing, uint64_t number, struct gv_slice bytes);
/** Bytes came to end `number % 2`; then take messages until false. `*err` says why it ended. */
void sealing_feed(struct sealing *sealing, uint64_t number, struct gv_slice bytes);
bool sealing_next(struct sealing *sealing, uint64_t number, struct gv_slice *message,
                  enum gv_err *err);
void sealing_hang_up(struct sealing *sealing, uint64_t number);

/** Change one bit, or three. */
void sealing_damage(struct sealing *sealing, uint8_t *bytes, size_t len);
/** A hostile datagram arrives at a random node. */
void sealing_attack(struct sealing *sealing, enum hostile_kind kind);

#endif
