/*
 * ask.h - one small question to one worker on the router's own behalf, answered whole or not at
 * all.
 *
 * For what the router passes on or collects (GET /get_model_info, POST /flush_cache, ...), not for
 * requests of clients: no retries, no breaker, no load. Connections are pooled like those of
 * probes. Everything on the thread of the asker's loop.
 */
#ifndef GV_PROXY_ASK_H
#define GV_PROXY_ASK_H

#include "grapevine/config/config.h"
#include "grapevine/http/head.h"
#include "grapevine/net/loop.h"
#include "grapevine/net/tls.h"
#include "grapevine/proxy/exchange.h"
#include "grapevine/route/worker.h"

#define GV_ASK_BODY_MAX (16u * 1024 * 1024) /* a longer answer is none */
#define GV_ASK_TYPE_MAX 128                 /* bytes of a content type; a longer one is not told */

struct gv_asker;

struct gv_ask_question {
    const struct gv_worker *worker; /* borrowed for the call */
    const char *method;             /* "GET", "POST": with an empty body */
    const char *path;               /* below the worker's URL, with query; at most 1 KiB */
    uint64_t timeout_ms;
};

struct gv_ask_answer {
    enum gv_cause cause;      /* NONE: the rest is the worker's answer */
    uint16_t status;          /* 0 with a cause */
    const char *content_type; /* "" without */
    struct gv_slice body;
};

/** `answer` is borrowed for the call. */
typedef void (*gv_ask_fn)(void *owner, const struct gv_ask_answer *answer);

/** `config` and `tls` (for https:// workers, may be NULL) are borrowed. Errors: GV_ENOMEM; as
 * gv_resolver_open(). */
GV_MUST_USE enum gv_err gv_asker_open(struct gv_loop *loop, const struct gv_config *config,
                                      struct gv_tls *tls, struct gv_asker **asker);

/** End every question without an answer; freed by the loop later. NULL is fine. */
void gv_asker_close(struct gv_asker *asker);

/** Ask. `on_answer` comes once, never from inside, unless the asker is closed before. Errors:
 * GV_EUNSUPPORTED not plain http; GV_EINVAL; GV_ENOMEM; GV_EFULL; GV_EIO; then none comes. */
GV_MUST_USE enum gv_err gv_ask(struct gv_asker *asker, const struct gv_ask_question *question,
                               gv_ask_fn on_answer, void *owner);

#endif
