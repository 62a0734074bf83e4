/*
 * idle.h - what the files of idle share.
 *
 * One process is both ends of a router that it starts itself (router.c): four engines (engine.c)
 * and the clients of all streams (client.c). main.c says when what happens. Plain epoll, one
 * thread.
 */
#ifndef GV_IDLE_H
#define GV_IDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDLE_COUNT_MAX   200000
#define IDLE_ENGINES     4
#define IDLE_EVENT_BYTES 220 /* of payload: "data: {...}\n\n" */
#define IDLE_BODY_BYTES  2048
#define IDLE_DONE_TEXT   "data: [DONE]\n\n"

/* What a descriptor is about; the first member of whatever is watched. */
struct idle_end {
    void (*on_ready)(struct idle_end *end);
    int fd;
};

enum idle_phase {
    IDLE_HEAD,
    IDLE_SIZE,
    IDLE_DATA,
    IDLE_AFTER_DATA,
    IDLE_LAST_LINE,
    IDLE_WHOLE,
    IDLE_LOST,
};

struct idle_engine;

struct idle_stream {
    struct idle_end end;
    struct idle_engine *engine; /* borrowed: who answers; NULL: not asked yet, or gone */
    enum idle_phase phase;
    uint32_t told;  /* events that its engine sent */
    bool is_ended;  /* its engine sent [DONE] */
    uint32_t taken; /* bytes of payload that arrived, all as they should be */
    uint32_t chunk; /* bytes of this chunk still to come */
};

struct idle_options {
    uint32_t count, window;
    double idle_secs, every_secs, wait_secs;
    const char *meanwhile; /* a command; NULL: none */
};

struct idle_counts {
    uint32_t begun; /* streams asked for */
    uint32_t first; /* that got their first event */
    uint32_t whole; /* that ended as they should */
    uint32_t lost;
};

extern struct idle_options idle_options;
extern struct idle_counts idle_counts;
extern struct idle_stream *idle_streams; /* idle_options.count of them */

/* ---- main.c ---- */

double idle_now_s(void);

/** Say what failed, end the router and this program. */
void idle_fail(const char *what);

/** What must never happen has; `stream` may be idle_options.count: none in particular. */
void idle_bad(const char *why, uint32_t stream);

void idle_watch(struct idle_end *end);

/** Close it. It is told of nothing more, even when a child that has yet to exec holds it open. */
void idle_unwatch(struct idle_end *end);

/* ---- engine.c ---- */

/** Listen on a port of its own; the port. */
uint16_t idle_engine_open(struct idle_end *listener);

/** Write event `number` of a stream: IDLE_EVENT_BYTES and a NUL. */
void idle_write_event(char *into, uint32_t stream, uint32_t number);

/** The engine of a stream, which has one, says its next event. */
void idle_tell_next(struct idle_stream *stream);

/** It says its last event, [DONE] and the end. */
void idle_tell_end(struct idle_stream *stream);

/* ---- client.c ---- */

/** A connection to "host:port" from 127.0.0.(1 + source). */
int idle_connect(uint32_t source, const char *target);

/** Ask for a stream. */
void idle_begin(struct idle_stream *stream);

/* ---- router.c ---- */

/** Start `argv` in front of engines on these ports, and learn its own. */
void idle_router_start(char **argv, int argc, const uint16_t *ports);

/** Its process, to wait for and to signal; 0: none yet. */
int idle_router_pid(void);

/** "host:port" where it takes requests. */
const char *idle_router_http(void);

bool idle_router_is_ready(void);

/** Worst time to say that it is ready, of several, in ms; -1: once it was not. */
double idle_router_readiness_ms(void);

/** Sum of the lines of a metric that hold `label`; -1: it has none. */
double idle_router_metric(const char *name, const char *label);

long idle_router_rss_kb(void);
uint32_t idle_router_descriptors(void);
double idle_router_cpu_s(void);

/** Run a command of the shell with GV_HTTP and GV_METRICS set; its process. */
int idle_router_ask(const char *command);

#endif
