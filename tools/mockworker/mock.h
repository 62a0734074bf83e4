/*
 * mock.h - what the files of mockworker share: one process, its workers, their connections, jobs.
 *
 * A process (struct mock) serves one or more workers, each an engine on a port of its own. A
 * connection (conn.c) carries one request at a time; a request that generates becomes a job
 * (job.c), whose time the engine tells (engine.c) and whose words answer.c writes. Everything runs
 * on one loop.
 */
#ifndef MOCKWORKER_MOCK_H
#define MOCKWORKER_MOCK_H

#include "engine.h"
#include "grapevine/base/buf.h"
#include "grapevine/http/head.h"
#include "grapevine/http/parser.h"
#include "grapevine/http/prompt.h"
#include "grapevine/net/listener.h"
#include "grapevine/net/loop.h"
#include "grapevine/net/resolve.h"
#include "grapevine/net/timer.h"
#include <jansson.h>

#define MOCK_WORKERS_MAX     256
#define MOCK_MODELS_MAX      16
#define MOCK_FAULTS_MAX      8            /* waiting at once, per worker */
#define MOCK_BODY_BYTES_MAX  (64U << 20)  /* of a request */
#define MOCK_REPLY_BYTES_MAX (256U << 20) /* of one answer */
#define MOCK_RANKS_MAX       64
#define MOCK_ROOMS_MAX       1024 /* bootstrap rooms of one request */

enum mock_role {
    MOCK_REGULAR = 0,
    MOCK_PREFILL,
    MOCK_DECODE
};

/* Whose words it answers in. */
enum mock_kind {
    MOCK_SGLANG = 0,
    MOCK_VLLM,  /* metrics instead of descriptions */
    MOCK_OPENAI /* its models, and nothing else */
};

enum mock_fault_kind {
    MOCK_FAULT_NONE = 0,
    MOCK_FAULT_REFUSE,            /* the port is closed, open connections are reset */
    MOCK_FAULT_ERROR,             /* answer `status` */
    MOCK_FAULT_HANG_BEFORE_HEAD,  /* never answer */
    MOCK_FAULT_HANG_MID_STREAM,   /* stop after `after_bytes` of the body */
    MOCK_FAULT_CLOSE_BEFORE_HEAD, /* close without an answer */
    MOCK_FAULT_CLOSE_MID_STREAM,  /* close after `after_bytes` of the body */
    MOCK_FAULT_SLOW,              /* begin `ms` later */
    MOCK_FAULT_BAD_HTTP,          /* answer what is not HTTP */
    MOCK_FAULT_HEALTH_DOWN,       /* health checks get `status` */
    MOCK_FAULT_GARBAGE_LENGTH,    /* answer with a Content-Length that is no number */
    MOCK_FAULT_COUNT
};

struct mock_fault {
    enum mock_fault_kind kind;
    uint64_t count; /* requests it still hits; UINT64_MAX: until reset */
    uint16_t status;
    uint64_t after_bytes;
    uint64_t ms;
};

struct mock_options {
    const char *host;
    uint16_t port; /* of the first worker; 0: the kernel chooses */
    uint32_t worker_count;
    const char *models[MOCK_MODELS_MAX]; /* borrowed; the first is the served model */
    size_t model_count;
    bool strict_model;           /* 404 for a model that is not in the list */
    struct engine_limits engine; /* with --speed applied */
    uint64_t told_tokens;        /* that it says its cache holds; 0: as many as it does */
    uint32_t output_tokens;      /* when the request does not say */
    uint32_t output_tokens_max;
    uint32_t max_running; /* only told, in metadata */
    enum mock_role role;
    enum mock_kind kind;
    uint32_t dp_size;        /* ranks that it says it has; 1 mostly */
    uint16_t bootstrap_port; /* of the first worker; 0: the kernel chooses */
    uint64_t pd_timeout_ms;
    bool vllm;            /* a pair hands kv_transfer_params on, and has no rooms */
    const char *api_key;  /* NULL: open */
    const char *tls_cert; /* NULL: plain HTTP; rooms are always plain */
    const char *tls_key;
    char *tls_client_ca; /* NULL: clients need no certificate */
};

struct mock {
    struct mock_options options;
    struct gv_loop *loop;            /* owned */
    struct gv_resolver *resolver;    /* owned; NULL unless a decode engine */
    struct gv_tls *tls;              /* owned; NULL: plain */
    struct gv_prompt_reader *reader; /* owned */
    struct gv_buf prompt;            /* owned: canonical text of the request being read */
    struct mock_worker *workers;     /* owned; options.worker_count of them */
    uint64_t next_id;                /* of requests */
};

struct mock_stats {
    uint64_t requests; /* to serving endpoints */
    uint64_t finished;
    uint64_t aborted; /* the client left before the end, or told us to stop */
    uint64_t in_flight;
    uint64_t prompt_tokens;
    uint64_t cached_tokens;
    uint64_t output_tokens;
    uint64_t health_requests;
    uint64_t connections; /* accepted */
    uint64_t aborts;      /* requests to stop one by its name */
    uint64_t rank_requests[MOCK_RANKS_MAX];
};

struct mock_worker {
    struct mock *mock;                      /* borrowed */
    struct gv_listener *listener;           /* owned; NULL while refusing */
    struct gv_listener *bootstrap_listener; /* owned; prefill role only */
    struct gv_timer *timer;                 /* owned: the next thing due */
    uint16_t port;
    uint16_t bootstrap_port;
    char name[72]; /* "127.0.0.1:9001" */
    struct engine engine;
    struct gv_list conns; /* struct conn by `link`, owned by their streams */
    struct gv_list jobs;  /* struct job by `link` */
    struct gv_list rooms; /* struct room by `link`: announced by prefill requests */
    struct mock_fault faults[MOCK_FAULTS_MAX];
    size_t fault_count;
    uint64_t refuse_until_us; /* ENGINE_NEVER: until reset */
    struct mock_stats stats;
    uint64_t started_wall_ms;
    uint64_t generation;     /* grows with each restart */
    char *last_head;         /* owned: JSON text of the last serving request; NULL: none */
    struct gv_buf last_body; /* owned */
};

enum conn_state {
    CONN_READING = 0, /* a request, or nothing yet */
    CONN_DELAYED,     /* complete; begins at resume_at_us */
    CONN_ANSWERING,   /* a job or a room runs, or a fault has stopped it */
    CONN_CLOSING
};

struct conn {
    struct gv_list link;
    struct mock_worker *worker; /* borrowed */
    struct gv_stream *stream;   /* borrowed: ours to close */
    struct gv_parser *parser;   /* owned */
    struct gv_buf unread;       /* owned: bytes behind the current request */
    struct gv_buf body;         /* owned: of the current request */
    struct gv_buf out;          /* owned: the answer's bytes not yet sent */
    char *head_json;            /* owned: the current request's head, for stats */
    char *target;               /* owned */
    char *authorization;        /* owned; NULL without */
    enum gv_method method;
    enum conn_state state;
    bool complete; /* the parser has seen a whole message */
    bool keep_alive;
    bool http_1_0;           /* no chunks; the end is the close */
    bool chunked;            /* the answer under way */
    bool bootstrap;          /* came in at the bootstrap port */
    bool serving;            /* counted in stats.in_flight */
    bool aborted;            /* somebody told us to stop the request that is served */
    bool stopped;            /* a fault ended the answer; swallow the rest */
    struct mock_fault fault; /* of the current request; NONE mostly */
    uint64_t sent_body_bytes;
    uint64_t resume_at_us; /* CONN_DELAYED; or the deadline of waiting_room */
    bool waiting;          /* for the room below */
    uint64_t waiting_room;
    struct job *job; /* NULL, or the job that answers here */
};

/* conn.c: bytes to requests, answers to bytes. */
void conn_accept(struct mock_worker *worker, struct gv_stream *stream, bool bootstrap);
/** Answer with a whole body, e.g. conn_reply(conn, 200, "text/plain", slice). */
void conn_reply(struct conn *conn, uint16_t status, const char *type, struct gv_slice body);
/** Answer with JSON; `json` is moved. */
void conn_reply_json(struct conn *conn, uint16_t status, json_t *json);
/** Answer as an engine says an error. */
void conn_error(struct conn *conn, uint16_t status, const char *message);
/** Send bytes that are no HTTP answer (may be none), then close or hang. */
void conn_raw(struct conn *conn, struct gv_slice bytes, bool close);
/** Begin, go on with (one chunk a call), send off and end a stream of server-sent events. */
void conn_stream_begin(struct conn *conn);
void conn_stream(struct conn *conn, struct gv_slice bytes);
void conn_stream_flush(struct conn *conn);
void conn_stream_end(struct conn *conn);
/** Read the next request, after an answer that was given later than the request came. */
void conn_go_on(struct conn *conn);
/** Close every connection of the worker with a reset. */
void conn_reset_all(struct mock_worker *worker);

/* api.c: which endpoint is it? */
void api_handle(struct conn *conn);
/** Go on with a request that a fault had delayed. */
void api_resume(struct conn *conn);

/* control.c: faults on demand, and what was counted. */
void control_handle(struct conn *conn, struct gv_slice path, struct gv_slice query);
/** The fault that hits a request (`health`: a health check) now; one is used up. */
struct mock_fault control_take_fault(struct mock_worker *worker, bool health);

/* job.c: a request that generates. */
void job_start(struct conn *conn, enum gv_endpoint endpoint);
/** The client is gone. */
void job_abort(struct job *job);
/** Write what has become due; called by the worker's timer. */
void job_run_all(struct mock_worker *worker, uint64_t now_us);
/** When the next job needs a look; ENGINE_NEVER: none does. */
uint64_t job_due_at_us(const struct mock_worker *worker);
/** Stop the jobs whose request id is `rid`, or all with NULL; how many. */
size_t job_abort_by_id(struct mock_worker *worker, const char *rid);

/* worker.c: ports and the clock of one worker. */
GV_MUST_USE enum gv_err worker_open(struct mock_worker *worker, uint32_t index);
/** Close its ports and timer; connections are closed by the loop's end. */
void worker_close(struct mock_worker *worker);
/** Free what it holds; after the loop's end. */
void worker_deinit(struct mock_worker *worker);
/** Look at the clock soon: run what is due, set the timer for what comes next. */
void worker_wake(struct mock_worker *worker);
/** Close the port for `ms`, or with 0 until worker_listen(). */
void worker_refuse(struct mock_worker *worker, uint64_t ms);
GV_MUST_USE enum gv_err worker_listen(struct mock_worker *worker);
/** As an engine that was started again: no cache, no connections, a new start time. */
void worker_restart(struct mock_worker *worker);

/** The role's name as SGLang says it: "null" (regular), "prefill", "decode". */
const char *mock_role_name(enum mock_role role);

#endif
