/*
 * exchange.h - the life of one request as a declared state machine.
 *
 *               picked                    first body byte
 *    CHOOSING ----------> WAITING ----------------------------> RELAYING
 *      ^   |                |  |                                   |
 *      |   | nobody         |  | failed, nobody else is there yet  |
 *      |   v                |  v                                   |
 *      | ENDED <------------|-BACKOFF                              |
 *      |   ^                |    |                                 |
 *      +---|----------------+----+ failed, another one is there    |
 *          +-------------------------------------------------------+ end, cut, client gone
 *
 * A worker on which the request failed is not asked again for it. With nobody else there, BACKOFF
 * waits for somebody to come (another worker gets well, a breaker lets a trial through), each pause
 * as long as the backoff and counted as an attempt; where nobody can come it ends at once. One
 * exception: a worker that refuses for now (429, or 503 with Retry-After) did not fail; it may be
 * asked again after the pause it asks for, when that is not longer than the longest backoff.
 *
 * A request on which GV_EXCHANGE_DEATHS_MAX workers died (it was sent whole, and the connection
 * broke before an answer) may be what kills them: no further worker gets it.
 *
 * An answer whose status asks to try elsewhere is kept (its head and a bounded body, for a bounded
 * time) before the next try: when nothing is left to try, it is passed on, and not words of ours.
 *
 * One leg goes to a worker; with prefill and decode two legs go out at once, leg 0 to the prefill
 * worker, leg 1 to the decode worker, whose answer is the client's. Nothing is passed to the
 * client before the answer's first body byte (or its end), so everything before that can be tried
 * again. This file decides what happens next; the carrier (src/proxy/carrier.c) does it.
 *
 * Pure: no input or output, no clock, no random number, no allocation.
 */
#ifndef GV_PROXY_EXCHANGE_H
#define GV_PROXY_EXCHANGE_H

#include "grapevine/base/sm.h"
#include "grapevine/http/problem.h"

#define GV_EXCHANGE_LEGS_MAX   2
#define GV_LEG_PREFILL         0 /* with two legs */
#define GV_LEG_DECODE          1
#define GV_EXCHANGE_KEEP_MS    250 /* how long a retry waits for the answer that is kept */
#define GV_EXCHANGE_DEATHS_MAX 3

enum gv_exchange_state {
    GV_EXCHANGE_CHOOSING = 0,
    GV_EXCHANGE_WAITING,
    GV_EXCHANGE_BACKOFF,
    GV_EXCHANGE_RELAYING,
    GV_EXCHANGE_ENDED,
    GV_EXCHANGE_STATE_COUNT
};

/* What broke a leg. */
enum gv_cause {
    GV_CAUSE_NONE = 0,
    GV_CAUSE_CONNECT, /* refused, unreachable, no address */
    GV_CAUSE_TLS,     /* no handshake: its certificate, or ours, or something else */
    GV_CAUSE_TIMEOUT, /* of connecting, of the first byte, or of silence */
    GV_CAUSE_CLOSED,  /* closed before its answer was complete */
    GV_CAUSE_BAD,     /* its answer is not HTTP */
    GV_CAUSE_STATUS,  /* it answered with a status that asks to try elsewhere */
    GV_CAUSE_COUNT
};

struct gv_exchange_limits {
    uint32_t max_attempts; /* in total; at least 1 */
    uint64_t initial_backoff_ms;
    uint64_t max_backoff_ms; /* jitter included */
    double backoff_multiplier;
    double jitter_factor; /* 0..1: share of a backoff that is drawn */
    uint64_t total_ms;    /* from the start to the end; 0: no limit */
};

enum gv_exchange_event_kind {
    GV_EXCHANGE_PICKED = 0, /* leg_count workers were chosen and the requests are on their way */
    GV_EXCHANGE_UNPICKED,   /* no worker; problem says why */
    GV_EXCHANGE_HEAD,       /* leg answered with status */
    GV_EXCHANGE_BODY,       /* first body byte of leg */
    GV_EXCHANGE_END,        /* leg's answer is complete */
    GV_EXCHANGE_BROKE,      /* leg failed by cause */
    GV_EXCHANGE_TOO_MUCH,   /* the answer being kept is larger than what is kept */
    GV_EXCHANGE_GONE,       /* the client is gone */
    GV_EXCHANGE_TICK        /* time has passed */
};

struct gv_exchange_event {
    enum gv_exchange_event_kind kind;
    uint32_t leg;            /* HEAD, BODY, END, BROKE */
    uint32_t leg_count;      /* PICKED */
    uint16_t status;         /* HEAD */
    enum gv_cause cause;     /* BROKE */
    bool was_sent;           /* BROKE: the whole request had been given to the worker */
    enum gv_problem problem; /* UNPICKED */
    bool asks_back;          /* HEAD: the worker asks to be called again, and ... */
    uint64_t retry_after_ms; /* ... after that long */
    /* Of every event that may lead to another try (all but PICKED, UNPICKED, BODY, GONE): */
    bool another; /* a worker is eligible that has not failed here yet */
    bool hope;    /* without one: there is one that may become eligible */
    bool spent;   /* the retry budget is spent */
    double draw;  /* in [0, 1), for the jitter */
};

/* What the carrier must do now, in the order of the fields. */
struct gv_exchange_effects {
    int32_t blame;       /* the leg that failed, or -1 */
    enum gv_cause cause; /* of the blame, or of the retry */
    bool asks_back;      /* the worker of the blame asks to be called again */
    bool retry;          /* another try begins: pay for it */
    bool forgive;        /* the worker that asked to be called again last may be chosen again */
    bool keep;           /* keep the answer of keep_leg from now on */
    bool cancel[GV_EXCHANGE_LEGS_MAX]; /* end this leg at once */
    bool pick;                         /* choose (again) */
    bool wait;                         /* send TICK at wake_at_ms, and when somebody comes */
    bool relay;                        /* pass the answer of relay_leg on, head first */
    uint32_t relay_leg;
    bool finish;            /* the answer is complete */
    bool cut;               /* the answer cannot be completed: cut the client */
    bool answer_kept;       /* pass the kept answer on */
    enum gv_problem answer; /* tell the client this, unless NONE */
    bool ended;             /* the exchange is over */
};

struct gv_exchange_leg {
    bool out;        /* sent, and neither complete, broken nor cancelled */
    uint16_t status; /* 0 before its head */
};

struct gv_exchange {
    struct gv_sm sm;
    struct gv_exchange_limits limits;
    uint64_t started_at_ms;
    uint64_t wake_at_ms; /* meaningful in BACKOFF */
    uint32_t attempt;    /* 1 with the first pick; pauses in vain count */
    uint32_t death_count;
    uint32_t leg_count;
    uint32_t answer_leg;          /* whose answer is the client's */
    enum gv_problem last_problem; /* of the attempt before; NONE: it was a status */
    enum gv_cause last_cause;     /* of the attempt before */
    bool keeping;                 /* the answer of keep_leg is being kept */
    bool has_kept;                /* a whole answer is kept */
    uint32_t keep_leg;
    uint64_t keep_until_ms; /* meaningful while keeping */
    uint64_t back_at_ms;    /* when the worker may be asked that asked for it last; 0: none did */
    struct gv_exchange_leg legs[GV_EXCHANGE_LEGS_MAX];
};

/** Begin, CHOOSING; the first effect is "pick". `id` is for the flight recorder. */
void gv_exchange_init(struct gv_exchange *exchange, struct gv_exchange_limits limits,
                      uint64_t now_ms, uint64_t id);

/**
 * Something happened at `now_ms`; `*effects` says what to do. Events of a leg that is not out are
 * old news and change nothing; so does every event once ENDED.
 */
void gv_exchange_step(struct gv_exchange *exchange, const struct gv_exchange_event *event,
                      uint64_t now_ms, struct gv_exchange_effects *effects);

enum gv_exchange_state gv_exchange_state(const struct gv_exchange *exchange);

/** Does an answer of this status say: not now, call again? 429; 503 where it has a Retry-After. */
bool gv_exchange_asks_back(uint16_t status, bool has_retry_after);

/** 408, 429, 500, 502, 503, 504. */
bool gv_exchange_is_retryable(uint16_t status);

/** "connect", "timeout", ...: the label in metrics and logs. */
const char *gv_cause_name(enum gv_cause cause);

#endif
