/*
 * log.c - lines are made by the caller, and written by a thread of their own.
 *
 * The caller formats into its own stack, takes the lock for one memcpy() into the waiting buffer,
 * and goes on. The writer swaps the waiting buffer for an empty one and writes without the lock.
 * The waiting buffer has a limit; what does not fit is counted, and the writer says how much was
 * lost as soon as it can write again.
 */
#include "grapevine/base/log.h"
#include "grapevine/base/assert.h"
#include "grapevine/base/lock.h"
#include "log_line.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WAITING_MAX_BYTES (256 * 1024)

/* All but `level` is guarded by `lock`; `options` changes only while no writer runs. */
static struct {
    struct gv_mutex lock;
    pthread_cond_t wake;
    pthread_t writer;
    struct gv_log_options options;
    char node[128];
    char buffers[2][WAITING_MAX_BYTES];
    unsigned waiting;   /* which buffer takes new lines */
    size_t waiting_len; /* bytes in it */
    uint64_t lost_count;
    bool is_open;
    bool is_stopping;
} logger = {.lock = {PTHREAD_MUTEX_INITIALIZER},
            .wake = PTHREAD_COND_INITIALIZER,
            .options = {.fd = STDERR_FILENO}};

static _Atomic int lowest_level = GV_LOG_INFO;

static void write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t wrote = write(fd, bytes, len);
        if (wrote >= 0) {
            bytes += wrote;
            len -= (size_t)wrote;
        } else if (errno == EAGAIN) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};
            (void)poll(&ready, 1, 1000);
        } else if (errno != EINTR) {
            return; /* nobody reads the log: there is nobody to tell */
        }
    }
}

static uint64_t wall_ms(void)
{
    struct timespec now;
    GV_ASSERT(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void report_lost(uint64_t lost_count)
{
    struct gv_log_line line;
    const struct gv_log_field fields[] = {GV_UINT("lines", lost_count), {.key = NULL}};
    gv_log_line_make(&line, wall_ms(), GV_LOG_WARN, "log.lost", fields,
                     logger.options.json ? GV_LOG_LINE_JSON : GV_LOG_LINE_TEXT,
                     logger.options.node);
    write_all(logger.options.fd, line.bytes, line.len);
}

static void *run_writer(void *unused)
{
    (void)unused;
    gv_mutex_lock(&logger.lock);
    while (!logger.is_stopping || logger.waiting_len > 0 || logger.lost_count > 0) {
        if (logger.waiting_len == 0 && logger.lost_count == 0) {
            (void)pthread_cond_wait(&logger.wake, &logger.lock.inner);
            continue;
        }
        const char *bytes = logger.buffers[logger.waiting];
        size_t len = logger.waiting_len;
        uint64_t lost_count = logger.lost_count;
        logger.waiting = 1 - logger.waiting;
        logger.waiting_len = 0;
        logger.lost_count = 0;
        gv_mutex_unlock(&logger.lock);
        write_all(logger.options.fd, bytes, len);
        if (lost_count > 0) {
            report_lost(lost_count);
        }
        gv_mutex_lock(&logger.lock);
    }
    gv_mutex_unlock(&logger.lock);
    return NULL;
}

enum gv_err gv_log_open(struct gv_log_options options)
{
    gv_mutex_lock(&logger.lock);
    GV_ASSERT(!logger.is_open);
    logger.options = options;
    if (options.node != NULL) {
        (void)gv_slice_copy_text(gv_slice_text(options.node), logger.node, sizeof logger.node);
        logger.options.node = logger.node;
    }
    logger.is_stopping = false;
    logger.is_open = pthread_create(&logger.writer, NULL, run_writer, NULL) == 0;
    bool is_open = logger.is_open;
    if (!is_open) {
        logger.options = (struct gv_log_options){.fd = STDERR_FILENO};
    }
    gv_mutex_unlock(&logger.lock);
    if (is_open) {
        gv_log_set_level(options.level);
    }
    return is_open ? GV_OK : GV_EIO;
}

void gv_log_close(void)
{
    gv_mutex_lock(&logger.lock);
    if (!logger.is_open) {
        gv_mutex_unlock(&logger.lock);
        return;
    }
    logger.is_stopping = true;
    (void)pthread_cond_signal(&logger.wake);
    gv_mutex_unlock(&logger.lock);
    GV_ASSERT(pthread_join(logger.writer, NULL) == 0);
    gv_mutex_lock(&logger.lock);
    logger.is_open = false;
    /* A line that came in after the writer's last look goes out here. */
    write_all(logger.options.fd, logger.buffers[logger.waiting], logger.waiting_len);
    logger.waiting_len = 0;
    logger.options.fd = STDERR_FILENO;
    gv_mutex_unlock(&logger.lock);
}

void gv_log_set_level(enum gv_log_level level)
{
    atomic_store_explicit(&lowest_level, (int)level, memory_order_relaxed);
}

bool gv_log_is_on(enum gv_log_level level)
{
    return (int)level >= atomic_load_explicit(&lowest_level, memory_order_relaxed);
}

bool gv_log_level_parse(const char *text, enum gv_log_level *level)
{
    static const struct {
        const char *name;
        enum gv_log_level level;
    } names[] = {{"debug", GV_LOG_DEBUG},
                 {"info", GV_LOG_INFO},
                 {"warn", GV_LOG_WARN},
                 {"warning", GV_LOG_WARN},
                 {"error", GV_LOG_ERROR}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i].name) == 0) {
            *level = names[i].level;
            return true;
        }
    }
    return false;
}

void gv_log_write(enum gv_log_level level, const char *event, const struct gv_log_field *fields)
{
    gv_mutex_lock(&logger.lock);
    enum gv_log_line_form form = logger.options.json ? GV_LOG_LINE_JSON : GV_LOG_LINE_TEXT;
    const char *node = logger.options.node;
    gv_mutex_unlock(&logger.lock);

    struct gv_log_line line;
    gv_log_line_make(&line, wall_ms(), level, event, fields, form, node);

    gv_mutex_lock(&logger.lock);
    if (!logger.is_open) {
        write_all(STDERR_FILENO, line.bytes, line.len);
    } else if (line.len > WAITING_MAX_BYTES - logger.waiting_len) {
        logger.lost_count += 1;
    } else {
        memcpy(logger.buffers[logger.waiting] + logger.waiting_len, line.bytes, line.len);
        logger.waiting_len += line.len;
        (void)pthread_cond_signal(&logger.wake);
    }
    gv_mutex_unlock(&logger.lock);
}
