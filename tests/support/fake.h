/*
 * fake.h - a worker for tests that does exactly what it is told, byte by byte.
 *
 * Real sockets on loopback, a thread per connection. One reply function answers every request.
 */
#ifndef GV_TESTS_SUPPORT_FAKE_H
#define GV_TESTS_SUPPORT_FAKE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GV_FAKE_LINES_MAX 256

struct gv_fake;

/** Answer one request on `fd`; false closes the connection. */
typedef bool (*gv_fake_fn)(struct gv_fake *fake, int fd);

struct gv_fake {
    int listener;
    uint16_t port;
    char url[64];
    gv_fake_fn reply;
    pthread_t accepting;
    pthread_t lines[GV_FAKE_LINES_MAX];
    int fds[GV_FAKE_LINES_MAX];
    atomic_int line_count; /* connections ever accepted */
    atomic_int request_count;
    atomic_int gone_count; /* for the reply function: connections closed while it was answering */
    pthread_mutex_t lock;
    char request[256 * 1024]; /* the last one, whole; under `lock` */
};

/** Listen on a port of its own and answer with `reply`. */
void gv_fake_start(struct gv_fake *fake, gv_fake_fn reply);

/** Close everything and wait for its threads. */
void gv_fake_stop(struct gv_fake *fake);

/** Did the last request hold `text`? */
bool gv_fake_was_sent(struct gv_fake *fake, const char *text);

/** The digits behind `name` in the last request; "" without. */
void gv_fake_number(struct gv_fake *fake, const char *name, char *digits, size_t size);

/** Send a text from a reply function. */
void gv_fake_say(int fd, const char *text);

#endif
