/*
 * admin.h - what the files of this folder share: a request, its answer, and the table of paths.
 *
 * A handler reads the request and the parts and fills the answer, at once; or it starts a round of
 * questions to workers (round.h), whose end fills it. Everything on the service thread.
 */
#ifndef GV_ADMIN_ADMIN_H
#define GV_ADMIN_ADMIN_H

#include "grapevine/admin/server.h"
#include "grapevine/base/buf.h"

#include <jansson.h>

#define GV_ANSWER_BYTES_MAX (64u * 1024 * 1024)

struct gv_request {
    enum gv_method method;
    const char *path;          /* borrowed; without query */
    const char *query;         /* borrowed; "" without */
    const char *authorization; /* borrowed; "" without */
    struct gv_slice body;      /* borrowed */
    struct gv_addr peer;       /* who asks */
};

struct gv_answer {
    uint16_t status;
    const char *content_type; /* static, or own_type; NULL without body */
    char own_type[128];       /* a worker's */
    char location[80];        /* Location header; "" without */
    const char *authenticate; /* static: WWW-Authenticate header; NULL without */
    struct gv_buf body;       /* owned */
    enum gv_problem problem;  /* unless NONE the body is made from it and `detail` */
    char detail[320];
};

struct gv_round;

typedef void (*gv_handler_fn)(const struct gv_admin_parts *parts, const struct gv_request *request,
                              struct gv_answer *answer);

/** NULL: answered already. */
typedef struct gv_round *(*gv_starter_fn)(const struct gv_admin_parts *parts,
                                          const struct gv_request *request,
                                          struct gv_answer *answer);

void gv_answer_init(struct gv_answer *answer);
void gv_answer_deinit(struct gv_answer *answer);

/** Answer with `json` and free it. NULL (out of memory) becomes an internal error. */
void gv_answer_json(struct gv_answer *answer, uint16_t status, json_t *json);

/** Answer with a problem and what happened, with which values. */
void gv_answer_problem(struct gv_answer *answer, enum gv_problem problem, const char *format, ...)
    GV_PRINTF(3, 4);

/** Answer the reference product's way on /workers: {"error": text, "code": code}. */
void gv_answer_error(struct gv_answer *answer, uint16_t status, const char *code,
                     const char *format, ...) GV_PRINTF(4, 5);

/** Find the handler of method and path, check the key, let it answer. Returns NULL when `answer` is
 * complete, else the round whose end brings another one. */
struct gv_round *gv_routes_answer(const struct gv_admin_parts *parts,
                                  const struct gv_request *request, struct gv_answer *answer);

/** /health, /liveness, /readiness: what the probe port answers. */
bool gv_routes_is_probe(const char *path);

/** The value of `name` in a query string, percent-decoded into `value`; false when absent or too
 * long. */
bool gv_request_parameter(const struct gv_request *request, const char *name, char *value,
                          size_t size);

/** What follows the last '/' of the path: the id in /workers/{id}. */
const char *gv_request_id(const struct gv_request *request);

/* show.c */
void gv_show_models(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
/** As far as it is known without asking. */
void gv_show_model_info(const struct gv_worker *worker, struct gv_answer *answer);
void gv_show_server_info(const struct gv_worker *worker, struct gv_answer *answer);
void gv_show_alive(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
void gv_show_readiness(const struct gv_admin_parts *, const struct gv_request *,
                       struct gv_answer *);
/* relay.c */
struct gv_round *gv_relay_model_info(const struct gv_admin_parts *, const struct gv_request *,
                                     struct gv_answer *);
struct gv_round *gv_relay_server_info(const struct gv_admin_parts *, const struct gv_request *,
                                      struct gv_answer *);
struct gv_round *gv_relay_health_generate(const struct gv_admin_parts *, const struct gv_request *,
                                          struct gv_answer *);
struct gv_round *gv_relay_flush(const struct gv_admin_parts *, const struct gv_request *,
                                struct gv_answer *);
struct gv_round *gv_relay_loads(const struct gv_admin_parts *, const struct gv_request *,
                                struct gv_answer *);
/* cluster.c */
void gv_show_status(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
void gv_show_nodes(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
void gv_show_fleet(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
void gv_show_trees(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
void gv_show_digest(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
/* explain.c */
void gv_show_explain(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
/* keys.c */
void gv_keys_show(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
void gv_keys_install(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
void gv_keys_use(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
void gv_keys_retire(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
/* settings.c */
void gv_settings_list(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
void gv_settings_put(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
void gv_settings_delete(const struct gv_admin_parts *, const struct gv_request *,
                        struct gv_answer *);
/* metrics.c */
void gv_show_metrics(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
/* act.c */
void gv_workers_list(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
void gv_workers_get(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
void gv_workers_add(const struct gv_admin_parts *, const struct gv_request *, struct gv_answer *);
void gv_workers_replace(const struct gv_admin_parts *, const struct gv_request *,
                        struct gv_answer *);
void gv_workers_change(const struct gv_admin_parts *, const struct gv_request *,
                       struct gv_answer *);
void gv_workers_remove(const struct gv_admin_parts *, const struct gv_request *,
                       struct gv_answer *);

/** Register the metric families of this folder. Errors: GV_EFULL, GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_admin_metrics_register(void);

/** What its engine said last, with its age. A new reference, or NULL: it was never asked, or never
 * understood. */
json_t *gv_report_json(const struct gv_admin_parts *parts, const struct gv_worker *worker);

/** A worker as the reference product's WorkerInfo. A new reference, or NULL. */
json_t *gv_worker_json(const struct gv_admin_parts *parts, const struct gv_worker *worker);

#endif
