/*
 * local.c - requests that no worker gets, and that are no probes: they go to the holder.
 *
 * A ticket is a call on its way: made on a loop, answered on any thread, brought back through the
 * proxy's inbox. While it is away only its loop touches `client`, and only the answering thread
 * touches the answer. The inbox has room for every ticket that may exist, so a reply cannot fail.
 */
#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "grapevine/http/writer.h"
#include "parts.h"

struct gv_ticket {
    struct gv_mail mail; /* first: what the inbox looks at */
    struct gv_local_call call;
    struct gv_proxy *proxy;   /* borrowed; outlives its tickets */
    struct gv_client *client; /* borrowed; NULL once it is gone; the loop's */
    uint16_t status;          /* of the answer */
    char *content_type;       /* owned; NULL without */
    struct gv_buf headers;    /* owned: lines with CRLF */
    struct gv_buf body;       /* owned */
};

/* ---- tickets ---- */

static char *copy(struct gv_slice slice)
{
    char *text = gv_mem_new(GV_MEM_EXCHANGE, slice.len + 1);
    if (text != NULL && slice.len > 0) {
        memcpy(text, slice.data, slice.len);
    }
    return text;
}

static void free_ticket(struct gv_ticket *ticket)
{
    gv_mem_free(GV_MEM_EXCHANGE, ticket->call.path);
    gv_mem_free(GV_MEM_EXCHANGE, ticket->call.query);
    gv_mem_free(GV_MEM_EXCHANGE, ticket->call.authorization);
    gv_mem_free(GV_MEM_EXCHANGE, ticket->call.content_type);
    gv_mem_free(GV_MEM_EXCHANGE, ticket->call.request_id);
    gv_mem_free(GV_MEM_EXCHANGE, (void *)(uintptr_t)ticket->call.body.data);
    gv_mem_free(GV_MEM_EXCHANGE, ticket->content_type);
    gv_buf_deinit(&ticket->headers);
    gv_buf_deinit(&ticket->body);
    gv_mem_free(GV_MEM_EXCHANGE, ticket);
}

static struct gv_ticket *make(struct gv_client *client)
{
    struct gv_ticket *ticket = gv_mem_new(GV_MEM_EXCHANGE, sizeof *ticket);
    if (ticket == NULL) {
        return NULL;
    }
    const struct gv_head *head = &client->head;
    struct gv_local_call *call = &ticket->call;
    ticket->mail.kind = GV_MAIL_TICKET;
    ticket->proxy = client->proxy;
    gv_buf_init(&ticket->headers, GV_MEM_EXCHANGE, 64 * 1024);
    gv_buf_init(&ticket->body, GV_MEM_EXCHANGE, SIZE_MAX / 2);
    call->method = head->method;
    call->path = copy(head->path);
    call->query = copy(head->query);
    call->authorization = copy(gv_head_find(head, "authorization"));
    call->content_type = copy(gv_head_find(head, "content-type"));
    call->request_id = copy(gv_slice_text(client->request_id));
    call->body = gv_slice_of(copy(gv_buf_slice(&client->body)), client->body.len);
    call->peer = gv_stream_peer(client->stream);
    if (call->path == NULL || call->query == NULL || call->authorization == NULL ||
        call->content_type == NULL || call->request_id == NULL || call->body.data == NULL) {
        free_ticket(ticket);
        return NULL;
    }
    return ticket;
}

void gv_ticket_start(struct gv_client *client)
{
    struct gv_proxy *proxy = client->proxy;
    struct gv_ticket *ticket = proxy->ticket_count < GV_LOCAL_CALLS_MAX ? make(client) : NULL;
    if (ticket == NULL) {
        gv_client_answer(client, GV_PROBLEM_OVERLOADED, NULL);
        gv_client_done(client, gv_client_must_close(client));
        return;
    }
    ticket->client = client;
    client->ticket = ticket;
    proxy->ticket_count += 1;
    proxy->exchange_count += 1;
    proxy->shared->events->local(proxy->shared->owner, &ticket->call);
}

void gv_ticket_forget(struct gv_ticket *ticket)
{
    ticket->client = NULL;
}

void gv_ticket_deliver(struct gv_ticket *ticket)
{
    struct gv_proxy *proxy = ticket->proxy;
    struct gv_client *client = ticket->client;
    proxy->ticket_count -= 1;
    proxy->exchange_count -= 1;
    if (client != NULL) {
        client->ticket = NULL;
        gv_client_reply(client, ticket->status, ticket->content_type,
                        gv_buf_slice(&ticket->headers), gv_buf_slice(&ticket->body));
    }
    free_ticket(ticket);
    gv_proxy_settle_up(proxy);
}

/* ---- from whoever answers; any thread ---- */

static struct gv_ticket *ticket_of(struct gv_local_call *call)
{
    return GV_CONTAINER(call, struct gv_ticket, call);
}

static void send_back(struct gv_ticket *ticket)
{
    enum gv_err err = gv_inbox_post(ticket->proxy->inbox, &ticket->mail);
    GV_ASSERT(err == GV_OK); /* there is room for every ticket, and the inbox waits for them */
}

static enum gv_err fill(struct gv_ticket *ticket, const struct gv_local_answer *answer)
{
    GV_ASSERT(answer->header_count <= GV_LOCAL_HEADERS_MAX);
    ticket->status = answer->status;
    if (answer->content_type != NULL) {
        ticket->content_type = gv_mem_copy_text(GV_MEM_EXCHANGE, answer->content_type);
        if (ticket->content_type == NULL) {
            return GV_ENOMEM;
        }
    }
    enum gv_err err = GV_OK;
    for (size_t i = 0; i < answer->header_count && err == GV_OK; i++) {
        err = gv_writer_header(&ticket->headers, gv_slice_text(answer->headers[i].name),
                               gv_slice_text(answer->headers[i].value));
    }
    return err == GV_OK ? gv_buf_append(&ticket->body, answer->body) : err;
}

void gv_local_reply(struct gv_local_call *call, const struct gv_local_answer *answer)
{
    struct gv_ticket *ticket = ticket_of(call);
    if (fill(ticket, answer) != GV_OK) {
        gv_buf_reset(&ticket->headers);
        gv_buf_reset(&ticket->body);
        ticket->status = 500;
    }
    send_back(ticket);
}

void gv_local_reply_problem(struct gv_local_call *call, enum gv_problem problem, const char *detail)
{
    struct gv_buf body;
    gv_buf_init(&body, GV_MEM_EXCHANGE, 64 * 1024);
    struct gv_local_header header = {"X-SMG-Error-Code", gv_problem_code(problem)};
    struct gv_local_answer answer = {
        .status = gv_problem_status(problem),
        .content_type = "application/json",
        .headers = &header,
        .header_count = 1,
    };
    if (gv_problem_body(problem, detail, &body) == GV_OK) {
        answer.body = gv_buf_slice(&body);
    }
    gv_local_reply(call, &answer);
    gv_buf_deinit(&body);
}

void gv_local_reply_json(struct gv_local_call *call, uint16_t status, struct gv_slice json)
{
    struct gv_local_answer answer = {
        .status = status, .content_type = "application/json", .body = json};
    gv_local_reply(call, &answer);
}
