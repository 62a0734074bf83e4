/*
 * report.c - what was measured, for people (aligned lines, a verdict last) or for programs (JSON).
 */
#include "replay.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const outcome_names[] = {
#define CALL_OUTCOME_NAME(name, text) text,
    CALL_OUTCOME_LIST(CALL_OUTCOME_NAME)
#undef CALL_OUTCOME_NAME
};

static double share(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (double)part / (double)whole;
}

/* Standard deviation over mean, of the requests or the tokens per worker. Workers that got nothing
 * count when --workers says how many there are. */
static double variation(const struct options *options, const struct measured *measured, bool tokens)
{
    size_t count = measured->worker_count;
    if (options->worker_count > count) {
        count = options->worker_count;
    }
    if (count == 0) {
        return 0;
    }
    double sum = 0;
    double squares = 0;
    for (size_t i = 0; i < measured->worker_count; i++) {
        double value =
            (double)(tokens ? measured->workers[i].prompt_tokens : measured->workers[i].requests);
        sum += value;
        squares += value * value;
    }
    double mean = sum / (double)count;
    double variance = squares / (double)count - mean * mean;
    return mean > 0 && variance > 0 ? sqrt(variance) / mean : 0;
}

static uint64_t failed(const struct measured *measured)
{
    return measured->finished - measured->outcomes[CALL_OK];
}

static double hit_rate(const struct measured *measured)
{
    return share(measured->cached_tokens, measured->prompt_tokens);
}

/* Why the verdict is bad; NULL: it is good. */
static const char *complaint(const struct options *options, const struct measured *measured)
{
    if (failed(measured) > 0) {
        return "requests failed";
    }
    if (measured->asked > measured->agreed) {
        return "the routers disagree";
    }
    if (!options->dry && hit_rate(measured) < options->hit_at_least) {
        return "the hit rate is too low";
    }
    return NULL;
}

static double ms(const struct gv_hist *hist, double quantile)
{
    return (double)gv_hist_quantile(hist, quantile) / 1000;
}

static void print_errors(const struct measured *measured)
{
    (void)printf("errors              %llu", (unsigned long long)failed(measured));
    const char *before = "  (";
    for (int i = CALL_OK + 1; i < CALL_OUTCOME_COUNT; i++) {
        if (measured->outcomes[i] > 0 && i != CALL_STATUS) {
            (void)printf("%s%s: %llu", before, outcome_names[i],
                         (unsigned long long)measured->outcomes[i]);
            before = ", ";
        }
    }
    for (int status = 0; status < REPLAY_STATUS_MAX; status++) {
        if (measured->statuses[status] > 0) {
            (void)printf("%sstatus %d: %llu", before, status,
                         (unsigned long long)measured->statuses[status]);
            before = ", ";
        }
    }
    (void)printf("%s\n", before[0] == ',' ? ")" : "");
}

static void print_possible(const struct options *options, const struct trace *trace,
                           const struct possible *possible)
{
    (void)printf("possible hit rate   %.4f  one cache that never forgets\n",
                 share(possible->infinite_tokens, possible->tokens));
    if (options->pool_tokens > 0) {
        (void)printf("                    %.4f  one cache of %llu tokens\n",
                     share(possible->pooled_tokens, possible->tokens),
                     (unsigned long long)options->pool_tokens);
    }
    (void)printf("trace               %zu requests, %llu prompt tokens in %.0f s",
                 trace->request_count, (unsigned long long)possible->tokens, trace->span_s);
    if (options->rate > 0) {
        (void)printf(", sent at %g/s\n", options->rate);
    } else {
        (void)printf(", sent %g times as fast\n", options->speed);
    }
}

static void print_measured(const struct options *options, const struct measured *measured)
{
    (void)printf("requests            %llu sent in %.1f s, %llu answered, at most %llu at once\n",
                 (unsigned long long)measured->sent, measured->took_s,
                 (unsigned long long)measured->outcomes[CALL_OK],
                 (unsigned long long)measured->peak);
    print_errors(measured);
    (void)printf("retries             %llu  at another router\n",
                 (unsigned long long)measured->retries);
    if (measured->held > 0) {
        (void)printf("held back           %llu times by --concurrency-max: not an open loop\n",
                     (unsigned long long)measured->held);
    }
    (void)printf("hit rate            %.4f  %llu of %llu prompt tokens\n", hit_rate(measured),
                 (unsigned long long)measured->cached_tokens,
                 (unsigned long long)measured->prompt_tokens);
    if (measured->without_usage > 0) {
        (void)printf("                    %llu answers told no token counts\n",
                     (unsigned long long)measured->without_usage);
    }
    (void)printf("first token, ms     p50 %.1f   p90 %.1f   p99 %.1f\n",
                 ms(&measured->first_us, 0.5), ms(&measured->first_us, 0.9),
                 ms(&measured->first_us, 0.99));
    (void)printf("whole answer, ms    p50 %.1f   p90 %.1f   p99 %.1f\n",
                 ms(&measured->total_us, 0.5), ms(&measured->total_us, 0.9),
                 ms(&measured->total_us, 0.99));
    (void)printf("spread over workers %.3f by requests, %.3f by tokens (deviation / mean)\n",
                 variation(options, measured, false), variation(options, measured, true));
    for (size_t i = 0; i < measured->rule_count; i++) {
        (void)printf("%-19s %-14s %8llu requests\n", i == 0 ? "decided by" : "",
                     measured->rules[i].name, (unsigned long long)measured->rules[i].requests);
    }
    for (size_t i = 0; i < measured->worker_count; i++) {
        (void)printf("  %-34s %8llu requests %12llu tokens\n", measured->workers[i].name,
                     (unsigned long long)measured->workers[i].requests,
                     (unsigned long long)measured->workers[i].prompt_tokens);
    }
    for (size_t i = 0; i < options->router_count; i++) {
        (void)printf("  router %-27s %8llu requests\n", options->routers[i].uri.authority,
                     (unsigned long long)options->routers[i].sent);
    }
}

static void print_agreement(const struct options *options, const struct measured *measured)
{
    (void)printf("agreement           %llu of %llu prompts: all %zu routers name the same worker",
                 (unsigned long long)measured->agreed, (unsigned long long)measured->asked,
                 options->router_count);
    if (measured->unanswered > 0) {
        (void)printf(" (%llu without an answer)", (unsigned long long)measured->unanswered);
    }
    (void)printf("\n");
}

static void print_table(const struct options *options, const struct trace *trace,
                        const struct possible *possible, const struct measured *measured)
{
    print_possible(options, trace, possible);
    if (!options->dry) {
        print_measured(options, measured);
    }
    if (measured->asked > 0) {
        print_agreement(options, measured);
    }
    const char *wrong = complaint(options, measured);
    (void)printf("verdict             %s%s\n",
                 wrong == NULL ? "good" : "BAD: ", wrong == NULL ? "" : wrong);
}

static json_t *errors_json(const struct measured *measured)
{
    json_t *json = json_object();
    for (int i = CALL_OK + 1; i < CALL_OUTCOME_COUNT; i++) {
        if (measured->outcomes[i] > 0 && i != CALL_STATUS) {
            json_object_set_new(json, outcome_names[i],
                                json_integer((json_int_t)measured->outcomes[i]));
        }
    }
    for (int status = 0; status < REPLAY_STATUS_MAX; status++) {
        if (measured->statuses[status] > 0) {
            char name[32];
            (void)snprintf(name, sizeof name, "status %d", status);
            json_object_set_new(json, name, json_integer((json_int_t)measured->statuses[status]));
        }
    }
    return json;
}

static json_t *quantiles_json(const struct gv_hist *hist)
{
    return json_pack("{s:f,s:f,s:f,s:f}", "p50", ms(hist, 0.5), "p90", ms(hist, 0.9), "p99",
                     ms(hist, 0.99), "mean", gv_hist_mean(hist) / 1000);
}

static json_t *workers_json(const struct measured *measured)
{
    json_t *json = json_array();
    for (size_t i = 0; i < measured->worker_count; i++) {
        json_array_append_new(json, json_pack("{s:s,s:I,s:I}", "worker", measured->workers[i].name,
                                              "requests", (json_int_t)measured->workers[i].requests,
                                              "prompt_tokens",
                                              (json_int_t)measured->workers[i].prompt_tokens));
    }
    return json;
}

static json_t *rules_json(const struct measured *measured)
{
    json_t *json = json_object();
    for (size_t i = 0; i < measured->rule_count; i++) {
        json_object_set_new(json, measured->rules[i].name,
                            json_integer((json_int_t)measured->rules[i].requests));
    }
    return json;
}

static void print_json(const struct options *options, const struct trace *trace,
                       const struct possible *possible, const struct measured *measured)
{
    const char *wrong = complaint(options, measured);
    json_t *json = json_pack(
        "{s:I,s:f,s:f,s:I,s:I,s:I,s:I,s:I,s:f,s:I,s:I,s:f}", "trace_requests",
        (json_int_t)trace->request_count, "possible_hit_rate",
        share(possible->infinite_tokens, possible->tokens), "possible_pooled_hit_rate",
        share(possible->pooled_tokens, possible->tokens), "sent", (json_int_t)measured->sent,
        "answered", (json_int_t)measured->outcomes[CALL_OK], "failed", (json_int_t)failed(measured),
        "retries", (json_int_t)measured->retries, "held_back", (json_int_t)measured->held, "took_s",
        measured->took_s, "prompt_tokens", (json_int_t)measured->prompt_tokens, "cached_tokens",
        (json_int_t)measured->cached_tokens, "hit_rate", hit_rate(measured));
    json_object_set_new(json, "errors", errors_json(measured));
    json_object_set_new(json, "first_token_ms", quantiles_json(&measured->first_us));
    json_object_set_new(json, "whole_answer_ms", quantiles_json(&measured->total_us));
    json_object_set_new(json, "request_variation", json_real(variation(options, measured, false)));
    json_object_set_new(json, "token_variation", json_real(variation(options, measured, true)));
    json_object_set_new(json, "workers", workers_json(measured));
    json_object_set_new(json, "decided_by", rules_json(measured));
    json_object_set_new(json, "agreement_asked", json_integer((json_int_t)measured->asked));
    json_object_set_new(json, "agreement_agreed", json_integer((json_int_t)measured->agreed));
    json_object_set_new(json, "verdict", json_string(wrong == NULL ? "good" : wrong));
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    (void)printf("%s\n", text == NULL ? "{}" : text);
    free(text);
    json_decref(json);
}

int report_print(const struct options *options, const struct trace *trace,
                 const struct possible *possible, const struct measured *measured)
{
    if (options->json) {
        print_json(options, trace, possible, measured);
    } else {
        print_table(options, trace, possible, measured);
    }
    return complaint(options, measured) == NULL ? 0 : 1;
}
