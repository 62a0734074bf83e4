/*
 * local.h - a request that the router answers itself, on its way to the service thread and back.
 *
 * Made on a data loop for every path that is not an inference endpoint (/workers and /grapevine,
 * /v1/models, /get_model_info, /get_server_info, /metrics, ...) with its body collected; /health,
 * /liveness and /readiness are answered on the loop and never come here. Moved to the holder by
 * gv_proxy_events.local, who answers exactly once with gv_local_reply(), on any thread, at once or
 * later. A client that has gone meanwhile is no concern of the one who answers.
 *
 * Who may call: the proxy makes calls, admin answers them.
 */
#ifndef GV_PROXY_LOCAL_H
#define GV_PROXY_LOCAL_H

#include "grapevine/base/addr.h"
#include "grapevine/http/head.h"
#include "grapevine/http/problem.h"

#define GV_LOCAL_BODY_MAX    (8u * 1024 * 1024) /* bytes of a request body; more is 413 */
#define GV_LOCAL_HEADERS_MAX 8                  /* extra headers of an answer */
#define GV_LOCAL_CALLS_MAX   1024               /* unanswered per loop; more is 503 */

/* All texts owned by the call, NUL-terminated, never NULL. */
struct gv_local_call {
    enum gv_method method;
    char *path;           /* without query, as sent (not percent-decoded) */
    char *query;          /* after '?'; "" without */
    char *authorization;  /* value of the header; "" without. Never logged. */
    char *content_type;   /* value of the header; "" without */
    char *request_id;     /* taken or minted; echoed by the proxy */
    struct gv_slice body; /* owned; empty without */
    struct gv_addr peer;  /* the client */
};

struct gv_local_header {
    const char *name;
    const char *value;
};

struct gv_local_answer {
    uint16_t status;
    const char *content_type;              /* NULL: no body header */
    const struct gv_local_header *headers; /* extra; may be NULL */
    size_t header_count;                   /* at most GV_LOCAL_HEADERS_MAX */
    struct gv_slice body;
};

/** Answer `call` and free it; everything in `answer` is copied. Any thread, exactly once. */
void gv_local_reply(struct gv_local_call *call, const struct gv_local_answer *answer);

/** Answer with a problem's status and OpenAI-shaped body; `detail` may be NULL. */
void gv_local_reply_problem(struct gv_local_call *call, enum gv_problem problem,
                            const char *detail);

/** Answer with JSON text. */
void gv_local_reply_json(struct gv_local_call *call, uint16_t status, struct gv_slice json);

#endif
