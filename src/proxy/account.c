/*
 * account.c - see account.h.
 *
 * What engines report is held against what was forecast (route/forecast.h): for the metrics in
 * every answer, for conclusions only where the forecast was ripe. A cache that has vanished is
 * concluded here, by the node that sees it, and forgotten on all.
 */
#include "account.h"

#include "grapevine/base/log.h"
#include "legs.h"

static uint64_t depth_bytes(const struct gv_carrier *carrier, const struct gv_leg *leg)
{
    uint64_t block_bytes = carrier->proxy->shared->config->block_bytes;
    uint64_t bytes = (uint64_t)leg->decision.depth * block_bytes;
    uint64_t text = carrier->plan.text_bytes;
    return bytes < text ? bytes : text; /* the last block is partial */
}

uint64_t gv_account_predicted(const struct gv_carrier *carrier, const struct gv_leg *leg)
{
    return depth_bytes(carrier, leg) / GV_BYTES_PER_TOKEN;
}

/* ---- what an engine showed ---- */

/* One prompt that an engine has computed, and counted. */
struct counted {
    const struct gv_leg *leg; /* of the engine that computed it */
    uint64_t prompt_tokens;
    uint64_t predicted;
    uint64_t cached;
    bool has_cached;
};

/* It had this a moment ago, and has nothing now: everything it had is gone. */
static void look_for_flush(struct gv_carrier *carrier, const struct counted *counted)
{
    const struct gv_proxy_shared *shared = carrier->proxy->shared;
    const struct gv_leg *leg = counted->leg;
    const struct gv_plan_leg *planned = &carrier->plan.legs[leg - carrier->legs];
    struct gv_watch_seen seen = {
        .prompt = planned->count > 0 ? planned->chain[planned->count - 1] : 0,
        .prompt_tokens = counted->prompt_tokens,
        .predicted = counted->predicted,
        .reported = counted->cached,
        .now_ms = gv_clock_us() / 1000,
        .sent_wall_ms = leg->sent_wall_ms,
    };
    uint64_t since_ms;
    if (!gv_watch_note(gv_load_watch(shared->load, leg->worker), &seen, &since_ms)) {
        return;
    }
    struct gv_operation floor;
    gv_forest_forget(shared->forest, "*", leg->worker, GV_FLOOR_RESTARTED, since_ms, &floor);
    shared->events->publish(shared->owner, &floor);
    gv_log(GV_LOG_WARN, "worker.emptied", GV_STR("worker", leg->target->url),
           GV_UINT("prompts", GV_WATCH_FLUSHED),
           GV_STR("advice", "its cache was emptied, or it restarted unseen; what it held is "
                            "forgotten"));
}

static void learn_prefill(struct gv_carrier *carrier, const struct counted *counted)
{
    const struct gv_leg *leg = counted->leg;
    const struct gv_plan *plan = &carrier->plan;
    if (!leg->is_alone || leg->first_byte_us == 0 || (plan->leg_count == 1 && !plan->stream)) {
        return; /* a whole answer comes when it is complete: its first byte says nothing */
    }
    uint64_t text = plan->text_bytes;
    uint64_t cached = counted->has_cached && counted->cached <= counted->prompt_tokens
                          ? text * counted->cached / counted->prompt_tokens
                          : depth_bytes(carrier, leg);
    if (text - cached >= GV_PREFILL_SAMPLE_BYTES) {
        gv_load_note_prefill(carrier->proxy->shared->load, leg->worker, text - cached,
                             leg->first_byte_us);
    }
}

static void learn(struct gv_carrier *carrier, const struct gv_leg *leg)
{
    const struct gv_proxy_shared *shared = carrier->proxy->shared;
    const struct gv_usage *usage = &carrier->usage;
    const struct gv_plan *plan = &carrier->plan;
    if (!usage->found[GV_USAGE_PROMPT] || usage->tokens[GV_USAGE_PROMPT] == 0 || !plan->records ||
        plan->batch_size > 0 || plan->text_bytes == 0) {
        return;
    }
    uint64_t prompt_tokens = usage->tokens[GV_USAGE_PROMPT];
    struct counted counted = {
        .leg = leg,
        .prompt_tokens = prompt_tokens,
        .predicted = (uint64_t)((double)prompt_tokens * (double)depth_bytes(carrier, leg) /
                                (double)plan->text_bytes),
        .cached = usage->found[GV_USAGE_CACHED] ? usage->tokens[GV_USAGE_CACHED] : 0,
        .has_cached = gv_load_reports(shared->load, leg->worker, (uint32_t)plan->endpoint,
                                      usage->found[GV_USAGE_CACHED]),
    };
    gv_load_note_prompt(shared->load, leg->worker, plan->text_bytes, prompt_tokens);
    learn_prefill(carrier, &counted);
    if (counted.has_cached && leg->is_ripe && counted.predicted > 0) {
        gv_load_note_forecast(shared->load, leg->worker, counted.predicted, counted.cached);
        look_for_flush(carrier, &counted);
    }
}

/* ---- the line ---- */

static uint16_t status_of(const struct gv_carrier *carrier)
{
    if (carrier->passed_kept) {
        return carrier->kept.answer.status;
    }
    if (carrier->relay.started) {
        return carrier->legs[carrier->exchange.answer_leg].answer.status;
    }
    return carrier->problem != GV_PROBLEM_NONE ? gv_problem_status(carrier->problem) : 499;
}

static uint64_t between(uint64_t from_us, uint64_t to_us)
{
    return from_us > 0 && to_us > from_us ? to_us - from_us : 0;
}

static struct gv_access_delays delays_of(const struct gv_carrier *carrier)
{
    uint64_t came_us = carrier->client->started_us;
    const struct gv_leg *first = &carrier->legs[0];
    bool sent = first->target != NULL && first->upstream.sent_us > 0;
    return (struct gv_access_delays){
        .wait_us = between(came_us, carrier->began_us),
        .decide_us = between(carrier->began_us, carrier->decided_us),
        .connect_us = sent ? between(first->upstream.begun_us, first->upstream.sent_us) : 0,
        .total_us = sent ? between(came_us, first->upstream.sent_us) : 0,
        .is_whole = sent && carrier->exchange.attempt == 1,
    };
}

void gv_account_close(struct gv_carrier *carrier)
{
    struct gv_client *client = carrier->client;
    const struct gv_usage *usage = &carrier->usage;
    bool is_pair = carrier->plan.leg_count == 2;
    const struct gv_leg *leg = &carrier->legs[is_pair ? GV_LEG_DECODE : 0];
    const struct gv_leg *computing = &carrier->legs[is_pair ? GV_LEG_PREFILL : 0];
    uint32_t attempts = carrier->exchange.attempt;
    struct gv_access_record record = {
        .endpoint = (uint32_t)client->endpoint,
        .method = client->head.method_text,
        .path = client->head.path,
        .status = status_of(carrier),
        .outcome = carrier->outcome,
        .worker = leg->target != NULL ? leg->target->url : "",
        .prefill = is_pair && computing->target != NULL ? computing->target->url : "",
        .decision = leg->target != NULL ? &leg->decision : NULL,
        .prefill_decision = is_pair && computing->target != NULL ? &computing->decision : NULL,
        .key = leg->target != NULL ? carrier->plan.legs[leg - carrier->legs].key : "",
        .predicted_tokens =
            computing->target != NULL ? gv_account_predicted(carrier, computing) : 0,
        .has_cached = usage->found[GV_USAGE_CACHED],
        .cached_tokens = usage->tokens[GV_USAGE_CACHED],
        .delays = delays_of(carrier),
        .first_byte_us = carrier->first_byte_us,
        .total_us = gv_clock_us() - client->started_us,
        .body_bytes = carrier->relay.body_bytes,
        .retry_count = attempts > 0 ? attempts - 1 : 0,
        .request_id = client->request_id,
        .tenant = gv_request_tenant(client),
        .client = gv_stream_peer(client->stream),
    };
    gv_access_note(&carrier->proxy->access, &record);
    if (leg->target == NULL || computing->target == NULL) {
        return;
    }
    if (record.has_cached) {
        gv_access_cached(computing->target->url, record.predicted_tokens, record.cached_tokens);
    }
    if (record.status == 200) {
        learn(carrier, computing);
    }
}
