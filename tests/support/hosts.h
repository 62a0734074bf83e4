/*
 * hosts.h - a cluster whose nodes are on hosts of their own: a lan, and on each host two engines
 * and a router with fixed ports. All sealed with one key ring.
 *
 * The engines are http://127.0.0.1:9001 and :9002 on every host: other programs behind the same
 * URL. Everything is asked from inside the host it is about, so a cut cable hides nothing from a
 * test.
 */
#ifndef GV_TESTS_SUPPORT_HOSTS_H
#define GV_TESTS_SUPPORT_HOSTS_H

#include "support/lan.h"
#include "support/process.h"

#define GV_HOSTS_HTTP_PORT 30000
#define GV_HOSTS_MESH_PORT 39527

struct gv_hosts {
    struct gv_lan lan;
    struct gv_process engines[GV_LAN_HOSTS_MAX];
    struct gv_process nodes[GV_LAN_HOSTS_MAX];
    char keyring[256]; /* file */
};

/** Make the hosts, each with its engines and without a router. What fails ends the program. */
void gv_hosts_open(struct gv_hosts *hosts, size_t count);
void gv_hosts_close(struct gv_hosts *hosts);

/** Start (again) the router of a host, node-a on the first, and wait until it listens. */
bool gv_hosts_start(struct gv_hosts *hosts, size_t host, const char *seeds,
                    const char *const *flags);

/** Can a router have a wall clock of its own here? Says so when not. */
bool gv_hosts_have_clocks(void);

/** Start a router whose wall clock is libfaketime's: `name` is its variable that says what the
 * time is (FAKETIME: an offset; FAKETIME_TIMESTAMP_FILE: a file with one, looked at each second).
 */
bool gv_hosts_start_with_clock(struct gv_hosts *hosts, size_t host, const char *seeds,
                               const char *name, const char *value);

/** Wait until the router of `host` sees `count` members alive; says ready, with both engines; sees
 * the router of `about` as `status`; no longer knows the worker at `url`. */
bool gv_hosts_await_alive(struct gv_hosts *hosts, size_t host, int count);
bool gv_hosts_await_ready(struct gv_hosts *hosts, size_t host);
bool gv_hosts_await_status(struct gv_hosts *hosts, size_t host, size_t about, const char *status);
bool gv_hosts_await_without(struct gv_hosts *hosts, size_t host, const char *url);

/** Wait until all routers that run have the same digest and the same live tries. */
bool gv_hosts_await_agreement(struct gv_hosts *hosts);

/** Ask a router for a chat with the words of `seed`; the status. */
int gv_hosts_chat(struct gv_hosts *hosts, size_t host, int seed);

/** The same, without waiting for the answer: the connection. */
int gv_hosts_chat_begin(struct gv_hosts *hosts, size_t host, int seed);

/** As gv_world_number(), gv_world_remove_worker(); a fault goes to both engines. */
long gv_hosts_number(struct gv_hosts *hosts, size_t host, const char *path, const char *after,
                     const char *name);
int gv_hosts_remove_worker(struct gv_hosts *hosts, size_t host, const char *url);
void gv_hosts_fault(struct gv_hosts *hosts, size_t host, const char *json);

/** Run vinectl on a host, with one or two arguments; its exit code. Says what it said unless 0. */
bool gv_hosts_vinectl_said(const char *words); /* the last time */
int gv_hosts_vinectl(struct gv_hosts *hosts, size_t host, const char *command, const char *flag);

#endif
