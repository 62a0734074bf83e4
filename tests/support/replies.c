#include "support/replies.h"

#include <stdio.h>
#include <unistd.h>

bool gv_fake_hello(struct gv_fake *fake, int fd)
{
    (void)fake;
    gv_fake_say(
        fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Engine: a\r\nX-Engine: b\r\n"
            "Content-Length: 15\r\n\r\n{\"say\":\"hello\"}");
    return true;
}

bool gv_fake_hello_and_close(struct gv_fake *fake, int fd)
{
    (void)gv_fake_hello(fake, fd);
    return false; /* without having said so */
}

bool gv_fake_stream(struct gv_fake *fake, int fd)
{
    (void)fake;
    gv_fake_say(
        fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            "\r\n");
    static const char events[] = GV_FAKE_EVENTS;
    for (size_t i = 0; i < sizeof events - 1; i++) {
        char chunk[16];
        snprintf(chunk, sizeof chunk, "1\r\n%c\r\n", events[i]);
        (void)gv_talk_send(fd, chunk, 6);
    }
    gv_fake_say(fd, "0\r\n\r\n");
    return true;
}

bool gv_fake_busy(struct gv_fake *fake, int fd)
{
    (void)fake;
    gv_fake_say(
        fd, "HTTP/1.1 503 Busy\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\nbusy now");
    return true;
}

bool gv_fake_bad_request(struct gv_fake *fake, int fd)
{
    (void)fake;
    gv_fake_say(
        fd, "HTTP/1.1 400 Bad\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nnot that!");
    return true;
}

bool gv_fake_head_and_die(struct gv_fake *fake, int fd)
{
    (void)fake;
    gv_fake_say(
        fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            "\r\n");
    return false;
}

bool gv_fake_one_event(struct gv_fake *fake, int fd)
{
    gv_fake_say(
        fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            "\r\n9\r\ndata: x\n\n\r\n");
    char byte;
    if (read(fd, &byte, 1) <= 0) {
        atomic_fetch_add(&fake->gone_count, 1);
    }
    return false;
}

bool gv_fake_cut(struct gv_fake *fake, int fd)
{
    (void)fake;
    gv_fake_say(
        fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            "\r\n9\r\ndata: x\n\n\r\n");
    return false;
}

bool gv_fake_never(struct gv_fake *fake, int fd)
{
    char byte;
    if (read(fd, &byte, 1) <= 0) {
        atomic_fetch_add(&fake->gone_count, 1);
    }
    return false;
}

bool gv_fake_saw_the_end(void *owner)
{
    struct gv_fake *fake = owner;
    return atomic_load(&fake->gone_count) == 1;
}

void gv_rig_chat(struct gv_rig *rig, struct gv_reply *reply)
{
    gv_talk_ask(rig->port, "POST", GV_RIG_CHAT, "Content-Type: application/json\r\n", GV_RIG_BODY,
                reply);
}
