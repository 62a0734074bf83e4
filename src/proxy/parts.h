/*
 * parts.h - what the files of one proxy share: the proxy itself, its clients, its carriers.
 *
 * proxy.c owns the proxy, client.c the clients, carrier.c the exchanges, local.c the calls that
 * are answered elsewhere. Everything belongs to one loop.
 *
 *     proxy ---owns---> client ---owns---> carrier ---owns---> two upstreams
 */
#ifndef GV_PROXY_PARTS_H
#define GV_PROXY_PARTS_H

#include "access.h"
#include "alert.h"
#include "grapevine/base/list.h"
#include "grapevine/base/prng.h"
#include "grapevine/http/parser.h"
#include "grapevine/net/inbox.h"
#include "grapevine/net/listener.h"
#include "grapevine/net/timer.h"
#include "grapevine/proxy/dispatch.h"
#include "grapevine/route/budget.h"
#include "line.h"
#include "pace.h"

#define GV_PROXY_TICK_MS 100u
#define GV_PROXY_TEXT_KEEP_BYTES                                                                   \
    (1024u * 1024) /* working memory larger than this is given back                                \
                    */
#define GV_PROXY_SCRATCH_BYTES (8u * 1024 * 1024)
#define GV_CLIENT_HIGH_BYTES                                                                       \
    (24u * 1024) /* with a line's last read, and a record of TLS, 64 KiB                           \
                  */
#define GV_CLIENT_LOW_BYTES     (8u * 1024)
#define GV_CLIENT_TRUST         4u    /* bytes of a body to have room for, for each come */
#define GV_CLIENT_LINGER_MS     2000u /* for an answer's last bytes to leave */
#define GV_CLIENT_DISCARD_MS    500u  /* what comes after a refusal is read this long */
#define GV_CLIENT_DRAIN_IDLE_MS 1000u /* a silent client is closed, while draining */
#define GV_PROXY_SHUT_MS        100u  /* a round trip: connections that have begun come in */
#define GV_REQUEST_ID_BYTES     128
#define GV_CARRIERS_SPARE       64u           /* kept for requests to come, by a loop */
#define GV_CLIENT_LINES_BYTES   (256u * 1024) /* of header lines of our own */
#define GV_WAITS_EXTRA          1024u /* whose turn has come but is not delivered; more is 503 */
#define GV_RETRY_RESERVE        10u   /* retries of a loop before any traffic */
#define GV_RETRY_BURST          100u  /* retries that a loop may save up */
#define GV_RETRY_FLOOR_PER_S    3u    /* retries that a loop may always send */

struct gv_client;
struct gv_carrier;
struct gv_ticket;
struct gv_wait;

/* What travels through a proxy's inbox begins with its kind. */
enum gv_mail_kind {
    GV_MAIL_TICKET = 0,
    GV_MAIL_ADMITTED,
    GV_MAIL_FLEET,
    GV_MAIL_DRAIN,
    GV_MAIL_CLOSE
};

struct gv_mail {
    enum gv_mail_kind kind;
};

struct gv_proxy {
    struct gv_loop *loop;                 /* borrowed */
    const struct gv_proxy_shared *shared; /* borrowed */
    struct gv_listener *listener;         /* owned; NULL once closed */
    struct gv_addr addr;
    struct gv_targets *targets;      /* owned */
    struct gv_prompt_reader *reader; /* owned */
    struct gv_buf text;              /* owned: the canonical prompt of the request being planned */
    struct gv_buf scratch;           /* owned: bytes being written */
    struct gv_buf lines;             /* owned: header lines of our own being written */
    struct gv_carrier *spare[GV_CARRIERS_SPARE]; /* owned: carriers for requests to come */
    uint32_t spare_count;
    struct gv_inbox *inbox;           /* owned */
    struct gv_timer *tick;            /* owned */
    struct gv_timer *settle;          /* owned; NULL unless settling */
    const struct gv_fleet_view *view; /* a reference; see gv_proxy_view() */
    struct gv_list clients;           /* owned */
    struct gv_list pausing;           /* carriers that wait for a worker to come */
    struct gv_alert alert;
    struct gv_mail fleet_mail; /* what the alert posts */
    struct gv_list aborts;     /* owned, see abort.h */
    uint32_t abort_count;
    uint32_t client_count;
    uint32_t exchange_count; /* carriers and tickets under way */
    uint32_t ticket_count;   /* calls not yet replied to */
    uint32_t wait_count;     /* requests that wait for their place */
    uint64_t request_count;
    uint64_t serial; /* of the last exchange */
    struct gv_prng prng;
    struct gv_budget budget; /* of retries */
    struct gv_access access;
    uint64_t queued_bytes; /* that clients have not taken, at the last tick */
    struct gv_metric *gauges[GV_ACCESS_GAUGES];
    bool passed_through; /* it was said that workers stand idle */
    bool started;        /* the node has, and requests are carried */
    bool draining;
    bool shut;    /* the port lets no new connection begin */
    bool drained; /* on_drained was called */
    bool closing;
    bool targets_gone;
    gv_proxy_fn on_drained;
    void *drain_owner;
    gv_proxy_fn on_closed;
    void *close_owner;
};

/** The current fleet; borrowed until the next call. */
const struct gv_fleet_view *gv_proxy_view(struct gv_proxy *proxy);

/** Carriers have begun or ended a pause. */
void gv_proxy_note_pauses(struct gv_proxy *proxy);

/** Something ended: look whether a drain or a close is complete. May free the proxy. */
void gv_proxy_settle_up(struct gv_proxy *proxy);

/* ---- client.c ---- */

enum gv_client_state {
    GV_CLIENT_READING = 0, /* between requests, or one is arriving */
    GV_CLIENT_BUSY,        /* its request is being answered */
    GV_CLIENT_LEAVING,     /* answered for the last time; what comes is dropped */
    GV_CLIENT_CLOSED       /* on_closed comes */
};

enum gv_client_route {
    GV_ROUTE_WORKER = 0, /* an inference endpoint */
    GV_ROUTE_PROBE,      /* /health, /liveness, /readiness */
    GV_ROUTE_LOCAL,      /* answered by admin */
    GV_ROUTE_OPTIONS     /* any path: what a browser may do here */
};

struct gv_client {
    struct gv_list link;        /* in proxy->clients */
    struct gv_proxy *proxy;     /* borrowed */
    struct gv_stream *stream;   /* owned */
    struct gv_parser *parser;   /* owned */
    struct gv_carrier *carrier; /* owned; NULL without */
    struct gv_ticket *ticket;   /* borrowed; NULL without: the call we wait for */
    struct gv_wait *wait;       /* borrowed; NULL without: the place we wait for */
    struct gv_buf ahead;        /* owned: bytes of requests to come */
    struct gv_buf body;         /* owned: of the request arriving */
    const uint8_t *data_end;    /* of the bytes that the stream brings; NULL outside of that */
    struct gv_pace pace;        /* of the body arriving */
    struct gv_head head;        /* of the current request; slices live until the next one */
    enum gv_client_state state;
    enum gv_client_route route;
    enum gv_endpoint endpoint;
    const struct gv_tenant *tenant; /* borrowed: whose key the request shows; NULL no tenant's */
    uint32_t retry_after_s;         /* that TENANT_LIMIT is answered with */
    enum gv_problem refusal;        /* what is wrong with the head or body being parsed */
    uint64_t since_ms;              /* of the state, or of the last progress of a body */
    uint64_t started_us;            /* the request's last byte */
    char request_id[GV_REQUEST_ID_BYTES];
    bool head_seen;
    bool complete; /* the request is here to its last byte */
    bool paused;
    bool in_turn; /* turn() is on the stack */
};

/** A connection was accepted. */
void gv_client_open(struct gv_proxy *proxy, struct gv_stream *stream);

/** Answer the current request ourselves; the client goes on to its next one. */
void gv_client_answer(struct gv_client *client, enum gv_problem problem, const char *detail);

/** The current request's answer has been sent whole; `close`: and said to be the last. */
void gv_client_done(struct gv_client *client, bool close);

/** The answer cannot be completed: send what is queued, then close, so that the client notices. */
void gv_client_cut(struct gv_client *client);

/** The same for an answer whose end is the connection's end: only a reset tells that it is cut. */
void gv_client_reset(struct gv_client *client);

/** Must this connection end with the current answer? */
bool gv_client_must_close(const struct gv_client *client);

/** Close at once. */
void gv_client_close(struct gv_client *client);

void gv_client_tick(struct gv_client *client, uint64_t now_ms);

/* ---- request.c ---- */

/** Where does it go, and may it? Sets route and endpoint. */
enum gv_problem gv_request_judge(struct gv_client *client, const struct gv_head *head);

/** Take the client's id for the request, or make one; `head` NULL: it could not be read. */
void gv_request_name(struct gv_client *client, const struct gv_head *head);

/** Whose key the current request shows, by name; "" no tenant's. */
const char *gv_request_tenant(const struct gv_client *client);

/** Append the lines that every answer to the current request carries, also a problem's (or NONE);
 * of a request that could not be read, its name alone.
 * Errors: as gv_buf_append(). */
GV_MUST_USE enum gv_err gv_request_lines(const struct gv_client *client, enum gv_problem problem,
                                         struct gv_buf *out);

/* ---- carrier.c ---- */

/** Carry the client's request, which is complete and holds a permit where admission is limited;
 * client->body is moved. May end at once. */
void gv_carrier_start(struct gv_client *client);

/** The client is gone: end everything now. Frees the carrier. */
void gv_carrier_gone(struct gv_carrier *carrier);

/** The client's queue has drained. */
void gv_carrier_drain(struct gv_carrier *carrier);

void gv_carrier_tick(struct gv_carrier *carrier, uint64_t now_ms);

/** The fleet has changed: those that wait for a worker look around. */
void gv_carriers_wake(struct gv_proxy *proxy);

/* ---- wait.c ---- */

/** Carry the client's request as soon as admission lets it through. */
void gv_wait_start(struct gv_client *client);

/** Its turn has come; on the loop. Frees the wait. */
void gv_wait_deliver(struct gv_wait *wait);

/** The client is gone: nobody waits any more. */
void gv_wait_forget(struct gv_wait *wait);

/** It has waited for `age_ms`: too long? */
void gv_wait_tick(struct gv_wait *wait, uint64_t age_ms);

/** Waits that one loop may have. */
uint32_t gv_waits_max(const struct gv_config *config);

/* ---- readiness.c ---- */

/** Answer /health, /liveness and /readiness. */
void gv_readiness_probe(struct gv_client *client);

/* ---- local.c ---- */

/** Hand the client's request to the holder; answered later by gv_ticket_deliver(). */
void gv_ticket_start(struct gv_client *client);

/** The client is gone: its ticket is nobody's. */
void gv_ticket_forget(struct gv_ticket *ticket);

/** A reply came through the inbox; on the loop. Frees the ticket. */
void gv_ticket_deliver(struct gv_ticket *ticket);

/** Send a whole answer of ours; `headers` are lines with CRLF, may be empty. */
void gv_client_reply(struct gv_client *client, uint16_t status, const char *content_type,
                     struct gv_slice headers, struct gv_slice body);

#endif
