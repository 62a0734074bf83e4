/*
 * room.h - where the two legs of a prefill/decode pair meet.
 *
 * The prefill leg announces its bootstrap_room and, when its KV is there, waits until it is taken.
 * The decode leg asks the prefill engine's bootstrap port, GET /room/<n>, which answers when the
 * room is ready, or 404 when no such prefill request came in time. So a router that sends the legs
 * one after the other, or with different rooms, fails here as it would with real engines.
 */
#ifndef MOCKWORKER_ROOM_H
#define MOCKWORKER_ROOM_H

#include "mock.h"

struct job;
struct room_fetch;

struct room {
    struct gv_list link; /* prefill: in the worker's rooms */
    struct job *job;     /* borrowed: whose room it is */
    uint64_t number;
    char host[256];
    uint16_t port;
    bool ready;               /* prefill: the KV is there */
    bool done;                /* taken (prefill) or fetched (decode) */
    struct room_fetch *fetch; /* decode: under way, or NULL */
};

/**
 * Read bootstrap_host, bootstrap_port and bootstrap_room of the request (values, or arrays of
 * `job->item_count`) into job->rooms. false: job->trouble says what is missing.
 */
bool room_read_all(struct job *job);

/** Prefill: announce every room of the job. false: job->trouble says which is taken. */
bool room_announce_all(struct job *job);

/** Decode: ask for every room; job.c's job_on_room() is called for each, later. */
void room_fetch_all(struct job *job);

/** Forget the job's rooms, whatever state they are in. */
void room_drop_all(struct job *job);

/** A request came in at the bootstrap port. */
void room_handle(struct conn *conn);

/** Answer those who wait for rooms of `worker`; when the next must be told that none came. */
uint64_t room_run(struct mock_worker *worker, uint64_t now_us);

/** job.c: a fetch ended; `cached_tokens` as the prefill engine says. `ok` false: job->trouble. */
void job_on_room(struct job *job, struct room *room, bool ok, uint64_t cached_tokens);

#endif
