#include "support/crowd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROMPT_BYTES 1200

struct client {
    struct gv_crowd *crowd;
    int fd;      /* -1: not connected */
    size_t node; /* where it is connected, or tries next */
    int asked;   /* requests on this connection */
};

static void leave(struct client *client)
{
    if (client->fd >= 0) {
        close(client->fd);
    }
    client->fd = -1;
    client->asked = 0;
    client->node = (client->node + 1) % client->crowd->node_count;
}

/* As every pool of connections looks before it uses one again. */
static bool has_ended(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

static void connect_somewhere(struct client *client)
{
    if (client->fd >= 0 && has_ended(client->fd)) {
        leave(client);
    }
    while (client->fd < 0) {
        client->fd = gv_talk_connect(client->crowd->ports[client->node]);
        if (client->fd < 0) {
            atomic_fetch_add(&client->crowd->elsewhere, 1);
            leave(client);
            gv_test_pause();
        }
    }
}

static bool send_request(int fd, long number)
{
    char prompt[PROMPT_BYTES];
    char head[200];
    long conversation = number % GV_CROWD_OPEN + GV_CROWD_OPEN * (number / GV_CROWD_WINDOW);
    gv_world_prompt(prompt, sizeof prompt, (int)conversation);
    char *body = gv_world_chat_body(prompt, number % 2 == 1);
    snprintf(head, sizeof head,
             "POST /v1/chat/completions HTTP/1.1\r\nHost: router\r\nContent-Type: "
             "application/json\r\nContent-Length: %zu\r\n\r\n",
             strlen(body));
    bool sent = gv_talk_send_text(fd, head) && gv_talk_send_text(fd, body);
    free(body);
    return sent;
}

static bool is_turned_away(const struct gv_reply *reply)
{
    char code[32] = "";
    return reply->status == 503 && gv_reply_text(reply, "code", code, sizeof code) &&
           (strcmp(code, "draining") == 0 || strcmp(code, "starting") == 0);
}

static void count_lost(struct client *client, const struct gv_reply *reply, long number,
                       bool was_dead)
{
    struct gv_crowd *crowd = client->crowd;
    int doomed = atomic_load(&crowd->doomed_node);
    atomic_fetch_add(&crowd->lost, 1);
    if (doomed != (int)client->node || was_dead || reply->status > 200) {
        atomic_fetch_add(&crowd->lost_in_vain, 1);
        printf("request %ld lost on node %zu: %d%s %.200s\n", number, client->node, reply->status,
               reply->status != 0 && !reply->whole ? ", cut" : "", reply->body);
    }
}

static void judge_worker(struct gv_crowd *crowd, const struct gv_reply *reply, int gone_at,
                         size_t node)
{
    char worker[600] = "";
    bool forbidden = gone_at == GV_CROWD_EVERYWHERE || gone_at == (int)node;
    (void)gv_reply_header(reply, "x-grapevine-worker", worker, sizeof worker);
    if (forbidden && strcmp(worker, crowd->gone_worker) == 0) {
        atomic_fetch_add(&crowd->gone_asked, 1);
    }
}

/* Send one request until it was answered or lost. */
static void ask(struct client *client, long number)
{
    struct gv_crowd *crowd = client->crowd;
    for (bool again = true; again;) {
        struct gv_reply reply;
        char connection[32] = "";
        connect_somewhere(client);
        int gone_at = atomic_load(&crowd->gone_at);
        bool was_dead = atomic_load(&crowd->is_dead);
        (void)send_request(client->fd, number); /* a failure shows in the answer that is none */
        gv_talk_read(client->fd, &reply);
        bool served = reply.status == 200 && reply.whole;
        again = is_turned_away(&reply);
        if (served) {
            judge_worker(crowd, &reply, gone_at, client->node);
            atomic_fetch_add(&crowd->answered, 1);
        } else if (!again) {
            count_lost(client, &reply, number, was_dead);
        } else {
            atomic_fetch_add(&crowd->elsewhere, 1);
        }
        (void)gv_reply_header(&reply, "connection", connection, sizeof connection);
        client->asked += 1;
        if (!served || strcmp(connection, "close") == 0 || client->asked == GV_CROWD_STAY) {
            leave(client);
        }
        gv_reply_deinit(&reply);
    }
}

static void *run(void *owner)
{
    struct client *client = owner;
    struct gv_crowd *crowd = client->crowd;
    for (;;) {
        long number = atomic_load(&crowd->next);
        if (number >= atomic_load(&crowd->limit)) {
            break;
        }
        if (atomic_compare_exchange_strong(&crowd->next, &number, number + 1)) {
            ask(client, number);
        }
    }
    if (client->fd >= 0) {
        close(client->fd);
    }
    free(client);
    return NULL;
}

void gv_crowd_start(struct gv_crowd *crowd, const struct gv_world *world, long from, long limit)
{
    memset(crowd, 0, sizeof *crowd);
    for (size_t i = 0; i < world->node_count; i++) {
        crowd->ports[i] = world->nodes[i].port;
    }
    crowd->node_count = world->node_count;
    atomic_store(&crowd->next, from);
    atomic_store(&crowd->limit, limit);
    atomic_store(&crowd->doomed_node, -1);
    atomic_store(&crowd->gone_at, -1);
    for (size_t i = 0; i < GV_CROWD_CLIENTS; i++) {
        struct client *client = calloc(1, sizeof *client);
        if (client == NULL) {
            exit(2);
        }
        *client = (struct client){.crowd = crowd, .fd = -1, .node = i % crowd->node_count};
        if (pthread_create(&crowd->threads[i], NULL, run, client) != 0) {
            exit(2);
        }
    }
}

void gv_crowd_finish(struct gv_crowd *crowd, long least)
{
    long now = atomic_load(&crowd->next) + GV_CROWD_CLIENTS; /* none may pass it meanwhile */
    long limit = now > least ? now : least;
    atomic_store(&crowd->limit, (limit + GV_CROWD_WINDOW - 1) / GV_CROWD_WINDOW * GV_CROWD_WINDOW);
}

long gv_crowd_await(struct gv_crowd *crowd)
{
    for (size_t i = 0; i < GV_CROWD_CLIENTS; i++) {
        pthread_join(crowd->threads[i], NULL);
    }
    return atomic_load(&crowd->next);
}

struct wish {
    struct gv_crowd *crowd;
    long count;
};

static bool is_answered(void *owner)
{
    const struct wish *wish = owner;
    return atomic_load(&wish->crowd->answered) >= wish->count;
}

bool gv_crowd_await_answered(struct gv_crowd *crowd, long count)
{
    struct wish wish = {.crowd = crowd, .count = count};
    return gv_test_await(is_answered, &wish, 0);
}
