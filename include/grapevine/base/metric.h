/*
 * metric.h - counters, gauges and histograms, and their Prometheus text.
 *
 * A family is declared once, in a static table of the folder that owns it, and registered at start.
 * A cell is one family with its label values; look it up once and keep the pointer. Cells live
 * until the process ends. Adding is one relaxed atomic; any thread. Pure folders (route, http,
 * gossip) do not use this: they count in their own structs and a shell copies the numbers.
 *
 * Text format: Prometheus exposition format 0.0.4.
 */
#ifndef GV_BASE_METRIC_H
#define GV_BASE_METRIC_H

#include "grapevine/base/buf.h"
#include "grapevine/base/err.h"

#define GV_METRIC_LABELS_MAX 6
#define GV_METRIC_CELLS_MAX  4096 /* cells per family; beyond it one shared cell "other" */

enum gv_metric_type {
    GV_METRIC_COUNTER = 0, /* name ends in _total */
    GV_METRIC_GAUGE,
    GV_METRIC_HISTOGRAM /* of seconds or bytes; name ends in the unit */
};

struct gv_metric_family {
    const char *name; /* "gv_http_requests_total" */
    const char *help; /* one sentence */
    enum gv_metric_type type;
    const char *labels[GV_METRIC_LABELS_MAX]; /* names, NULL-terminated when fewer */
    const double *bounds;                     /* histogram: rising upper bounds, without +Inf */
    size_t bound_count;
};

struct gv_metric; /* a cell */

/** Make a family known; it must stay valid for ever. The same pointer twice is harmless. */
GV_MUST_USE enum gv_err gv_metric_register(const struct gv_metric_family *family);

/**
 * The cell of `family` with these label values, one per label name, in order (`values` may be NULL
 * for none). Never NULL: over the limit of cells, or out of memory, it is a cell whose label values
 * are all "other".
 */
struct gv_metric *gv_metric_get(const struct gv_metric_family *family, const char *const *values);

/** Forget a cell whose subject is gone; its pointer must not be used afterwards. */
void gv_metric_drop(const struct gv_metric_family *family, const char *const *values);

void gv_metric_add(struct gv_metric *metric, uint64_t n); /* counter */
void gv_metric_set(struct gv_metric *metric,
                   double value); /* gauge; counter mirrored from a struct */
void gv_metric_observe(struct gv_metric *metric, double value); /* histogram */
double gv_metric_value(const struct gv_metric *metric); /* counter, gauge; histogram: count */

/** Append the whole registry as text. Errors as gv_buf_append(). */
GV_MUST_USE enum gv_err gv_metric_render(struct gv_buf *out);

/** Upper bounds in seconds for request times: 1 ms .. 600 s. */
extern const double gv_metric_seconds_bounds[];
extern const size_t gv_metric_seconds_bound_count;

#endif
