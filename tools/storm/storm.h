/*
 * storm.h - what the files of storm share.
 *
 * One process is both ends of a router that it starts itself: engines that stall, break off and cut
 * their bytes anywhere (engine.c), clients that stall, dawdle and leave (client.c). What a stream
 * says is a function of its number (text.c), so every byte is compared, and the clock on both sides
 * is the same one. Plain epoll, one thread.
 */
#ifndef GV_STORM_H
#define GV_STORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORM_ENGINES_MAX 16
#define STORM_SLOTS_MAX   4096
#define STORM_EVENT_MAX   320 /* bytes of an event */
#define STORM_READ_BYTES  (64 * 1024)

/* What a descriptor is about; the first member of whatever is watched. */
struct storm_source {
    void (*on_ready)(struct storm_source *source, uint32_t events);
    int fd; /* -1: none */
};

struct storm_options {
    uint64_t events; /* to be compared before the end */
    uint64_t seed;
    uint32_t clients;
    uint32_t engines;
    uint32_t pace_ms; /* between two writes of an engine; 0: none */
    uint32_t threads; /* of the router */
    bool faults;      /* engines and clients misbehave */
};

/* What a client is at; the engine that answers it finds it here by the number of the stream. */
struct storm_slot {
    uint64_t id;               /* of the stream */
    struct storm_line *engine; /* borrowed: who is answering; NULL nobody */
    uint64_t left_ns;          /* the client left; 0: it is here */
    uint32_t attempts;         /* requests for this stream that reached an engine */
    bool was_cut;              /* an engine broke this answer off */
};

struct storm_counts {
    uint64_t events;  /* compared, byte for byte */
    uint64_t streams; /* begun */
    uint64_t whole;   /* answered to the end */
    uint64_t cut;     /* broken off, as the engine had done */
    uint64_t left;    /* left by the client */
    uint64_t stalled; /* clients that took nothing for a while */
    uint64_t hiccups; /* faults of engines before the first byte */
    uint64_t strays;  /* bytes that an engine sent unasked */
    uint64_t wrong;   /* what must never happen; said one by one */
    uint64_t writes;  /* of engines */
    uint64_t noticed; /* engines told that their client had left */
};

extern struct storm_options storm_options;
extern struct storm_counts storm_counts;
extern struct storm_slot storm_slots[STORM_SLOTS_MAX];
extern char storm_bytes[STORM_READ_BYTES]; /* for one read; nobody keeps it */
extern uint64_t storm_now_ns;              /* of this turn */

/* ---- main.c ---- */

void storm_fail(const char *what);
void storm_wrong(uint64_t id, const char *what, uint64_t detail);
void storm_watch(struct storm_source *source, uint32_t events, bool is_new);

/** The client of a stream has left: its engine was told `ns` later. */
void storm_noticed(uint64_t ns);

/* ---- text.c ---- */

/** A number that depends on the seed, the stream, and what it is drawn for. */
uint64_t storm_draw(uint64_t id, uint64_t what);

/** How many events stream `id` has. */
uint32_t storm_event_count(uint64_t id);

/** Write event `number` of stream `id`; its length. */
size_t storm_event(uint64_t id, uint32_t number, char into[STORM_EVENT_MAX]);

/** Bytes of all its events. */
uint64_t storm_total_bytes(uint64_t id);

/* ---- engine.c ---- */

/** Listen on a port of its own; the port. */
uint16_t storm_engine_open(void);

/** Time has passed. */
void storm_engines_tick(void);

/** Lines that are answering. */
uint32_t storm_engines_busy(void);

/* ---- client.c ---- */

void storm_clients_start(uint16_t port);
void storm_clients_tick(void);

/** Nobody starts another stream. */
void storm_clients_stop(void);
bool storm_clients_are_done(void);

#endif
