/*
 * report.c - what an engine said of itself when it was asked last, and how old that is.
 */
#include "admin/admin.h"

json_t *gv_report_json(const struct gv_admin_parts *parts, const struct gv_worker *worker)
{
    struct gv_load_report report;
    if (!gv_load_heard(parts->shared->load, worker->index, &report)) {
        return NULL;
    }
    uint64_t now_ms = gv_clock_us() / 1000;
    uint64_t age_ms = now_ms > report.at_ms ? now_ms - report.at_ms : 0;
    uint64_t stale_ms = parts->shared->config->load_monitor_interval_ms * GV_LOAD_STALE_INTERVALS;
    json_t *json =
        json_pack("{s:I, s:I, s:I, s:I, s:b, s:s}", "running", (json_int_t)report.running,
                  "waiting", (json_int_t)report.waiting, "foreign", (json_int_t)report.foreign,
                  "age_ms", (json_int_t)age_ms, "stale", (int)(age_ms > stale_ms), "asked_by",
                  report.is_own ? "this node" : "another node");
    if (json != NULL && report.usage_permille != GV_LOAD_USAGE_UNKNOWN) {
        json_object_set_new(json, "token_usage", json_real(report.usage_permille / 1000.0));
    }
    if (json != NULL && report.used_tokens > 0) {
        json_object_set_new(json, "used_tokens", json_integer((json_int_t)report.used_tokens));
    }
    return json;
}
