/* fake.c - see fake.h. */
#include "support/fake.h"

#include "support/process.h"
#include "support/suite.h"
#include "support/talk.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct fake_line {
    struct gv_fake *fake;
    int fd;
};

void gv_fake_say(int fd, const char *text)
{
    (void)gv_talk_send_text(fd, text);
}

static size_t body_length(const char *request)
{
    const char *at = strstr(request, "Content-Length: ");
    return at == NULL ? 0 : (size_t)strtoul(at + 16, NULL, 10);
}

/* Read one request into `into`; false at the end of the connection. */
static bool read_request(int fd, char *into, size_t size)
{
    size_t len = 0;
    for (;;) {
        into[len] = '\0';
        char *end = strstr(into, "\r\n\r\n");
        if (end != NULL && len >= (size_t)(end + 4 - into) + body_length(into)) {
            return true;
        }
        ssize_t got = len + 1 < size ? read(fd, into + len, size - 1 - len) : 0;
        if (got <= 0) {
            return false;
        }
        len += (size_t)got;
    }
}

static void *serve_line(void *owner)
{
    struct fake_line line = *(struct fake_line *)owner;
    free(owner);
    char *request = calloc(1, sizeof line.fake->request);
    bool open = true;
    while (open && read_request(line.fd, request, sizeof line.fake->request)) {
        pthread_mutex_lock(&line.fake->lock);
        memcpy(line.fake->request, request, sizeof line.fake->request);
        pthread_mutex_unlock(&line.fake->lock);
        atomic_fetch_add(&line.fake->request_count, 1);
        open = line.fake->reply(line.fake, line.fd);
    }
    free(request);
    shutdown(line.fd, SHUT_RDWR);
    return NULL;
}

static void *accept_lines(void *owner)
{
    struct gv_fake *fake = owner;
    for (;;) {
        int fd = accept(fake->listener, NULL, NULL);
        if (fd < 0 && errno == EMFILE) { /* a test has taken all descriptors for a while */
            gv_test_pause();
            continue;
        }
        if (fd < 0) {
            return NULL;
        }
        int at = atomic_load(&fake->line_count);
        if (at == GV_FAKE_LINES_MAX) {
            close(fd);
            continue;
        }
        struct fake_line *line = malloc(sizeof *line);
        *line = (struct fake_line){fake, fd};
        fake->fds[at] = fd;
        pthread_create(&fake->lines[at], NULL, serve_line, line);
        atomic_fetch_add(&fake->line_count, 1);
    }
}

void gv_fake_start(struct gv_fake *fake, gv_fake_fn reply)
{
    memset(fake, 0, sizeof *fake);
    pthread_mutex_init(&fake->lock, NULL);
    fake->reply = reply;
    fake->listener = gv_talk_listen(64, &fake->port);
    snprintf(fake->url, sizeof fake->url, "http://127.0.0.1:%u", fake->port);
    pthread_create(&fake->accepting, NULL, accept_lines, fake);
}

void gv_fake_stop(struct gv_fake *fake)
{
    shutdown(fake->listener, SHUT_RDWR);
    pthread_join(fake->accepting, NULL);
    close(fake->listener);
    for (int i = 0; i < atomic_load(&fake->line_count); i++) {
        shutdown(fake->fds[i], SHUT_RDWR);
        pthread_join(fake->lines[i], NULL);
        close(fake->fds[i]);
    }
    pthread_mutex_destroy(&fake->lock);
}

bool gv_fake_was_sent(struct gv_fake *fake, const char *text)
{
    pthread_mutex_lock(&fake->lock);
    bool found = strstr(fake->request, text) != NULL;
    pthread_mutex_unlock(&fake->lock);
    return found;
}

/* The digits behind `name` in the last request. */
void gv_fake_number(struct gv_fake *fake, const char *name, char *digits, size_t size)
{
    pthread_mutex_lock(&fake->lock);
    const char *at = strstr(fake->request, name);
    size_t len = 0;
    for (at = at == NULL ? "" : at + strlen(name); len + 1 < size && *at >= '0' && *at <= '9';) {
        digits[len++] = *at++;
    }
    digits[len] = '\0';
    pthread_mutex_unlock(&fake->lock);
}
