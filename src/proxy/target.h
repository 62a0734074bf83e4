/*
 * target.h - the workers as one loop sees them: addresses and connections.
 *
 * A target is made on first sight of its worker and lives as long as the loop's targets. Its
 * connections are line.c's; the last part of this header is what target.c asks of them.
 *
 * Who may call: line.c, and the proxy's files through line.h. One thread.
 */
#ifndef GV_PROXY_TARGET_H
#define GV_PROXY_TARGET_H

#include "grapevine/base/list.h"
#include "grapevine/config/config.h"
#include "grapevine/http/uri.h"
#include "grapevine/net/resolve.h"
#include "grapevine/net/tls.h"
#include "grapevine/route/fleet.h"

#define GV_TARGET_ADDRS_MAX 8

struct gv_targets;

struct gv_target {
    struct gv_targets *targets; /* borrowed */
    uint32_t index;             /* the worker's */
    char url[GV_WORKER_URL_MAX];
    struct gv_uri uri;
    struct gv_addr addrs[GV_TARGET_ADDRS_MAX];
    uint32_t addr_count; /* 0: to be looked up */
    uint32_t addr_at;    /* the one to use; the next after a failed connection */
    bool is_secure;      /* https:// */
    bool is_numeric;     /* the URL holds an address: nothing to look up */
    bool is_looking;
    uint64_t addrs_until_ms;
    struct gv_list idle;    /* lines, oldest first */
    struct gv_list waiting; /* lines that wait for an address */
    uint32_t idle_count;
    char trouble[GV_TLS_TROUBLE_BYTES]; /* of the last failed handshake; "" since one was good */
};

/* Private to target.c and line.c. */
struct gv_targets {
    struct gv_loop *loop;
    const struct gv_config *config;
    struct gv_tls *tls; /* borrowed; NULL: https:// is not spoken */
    struct gv_resolver *resolver;
    struct gv_target **by_index; /* owned; each owned */
    uint32_t room;
    struct gv_list lines; /* every line with a stream that is not idle */
    uint32_t line_count;  /* lines with a stream, in any state */
    uint32_t idle_count;
    bool closing;
    void (*on_closed)(void *owner);
    void *owner;
};

/** `config` and `tls` (for https:// workers, may be NULL) are borrowed. Errors: GV_ENOMEM, as
 * gv_resolver_open(). */
GV_MUST_USE enum gv_err gv_targets_open(struct gv_loop *loop, const struct gv_config *config,
                                        struct gv_tls *tls, struct gv_targets **targets);

/**
 * Drop every line without callbacks to their users. `on_closed` comes when the last is gone; the
 * targets are freed when it returns.
 */
void gv_targets_close(struct gv_targets *targets, void (*on_closed)(void *owner), void *owner);

/**
 * The target of `worker`, made on first sight; never freed before the targets.
 * Errors: GV_EUNSUPPORTED https without the means for it; GV_EINVAL; GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_target_get(struct gv_targets *targets, const struct gv_worker *worker,
                                      struct gv_target **target);

/** The target of index, or NULL when none was made. */
struct gv_target *gv_target_find(const struct gv_targets *targets, uint32_t index);

/** The time of the target's loop. */
uint64_t gv_target_now_ms(const struct gv_target *target);

/** Close idle lines past their time, and all of workers that are not in `view`. */
void gv_targets_sweep(struct gv_targets *targets, const struct gv_fleet_view *view);

/** Idle lines over all targets. */
uint32_t gv_targets_idle_count(const struct gv_targets *targets);

/** The last line is gone after gv_targets_close(). */
void gv_targets_free(struct gv_targets *targets);

/** Does the target know where to connect right now? */
bool gv_target_knows_address(const struct gv_target *target, uint64_t now_ms);

/** Look its address up, then gv_lines_connect(). Errors: as gv_resolve(). */
GV_MUST_USE enum gv_err gv_target_look_up(struct gv_target *target);

/** Its address was no good: use the next one, and look them up again. */
void gv_target_pass_address(struct gv_target *target);

/** Look its address up when it is old: a name may have moved while its lines were busy. */
void gv_target_refresh(struct gv_target *target);

/* ---- line.c ---- */

/** Connect the lines that waited for an address, or lose them when there is none. */
void gv_lines_connect(struct gv_target *target);

/** Close idle lines to addresses that the target no longer has. */
void gv_lines_drop_moved(struct gv_target *target);

/** Close idle lines that are idle for longer than `idle_ms`. */
void gv_lines_drop_idle(struct gv_target *target, uint64_t idle_ms);

/** Close every line without telling its user. */
void gv_lines_close(struct gv_targets *targets);

#endif
