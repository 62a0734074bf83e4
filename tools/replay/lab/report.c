/*
 * report.c - the runs side by side: a table for people, JSON for programs.
 */
#include "lab.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static double share(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static double quantile_ms(const struct lab_result *result, double at)
{
    return (double)gv_hist_quantile(&result->first_us, at) / 1000;
}

static void print_head(const struct lab_options *options, const struct corpus *corpus,
                       const struct lab_possible *possible)
{
    double span_s = (double)corpus->prompts[corpus->prompt_count - 1].at_us / 1e6;
    (void)printf("trace       %s: %zu requests in %.0f s (%.1f/s), %.0f tokens each\n",
                 options->trace.trace_file, corpus->prompt_count, span_s,
                 share((double)corpus->prompt_count, span_s),
                 share((double)corpus->tokens, (double)corpus->prompt_count));
    (void)printf("engines     %u: %llu tokens of cache, %.0f tokens/s prefill, %.1f ms a token, "
                 "%u slots\n",
                 options->engines,
                 (unsigned long long)options->engine.capacity_blocks * LAB_BLOCK_TOKENS,
                 1e6 / options->engine.prefill_us_per_token,
                 options->engine.decode_us_per_token / 1000, options->engine.slots);
    (void)printf("situation   %s\n", lab_situation_name(options->situation));
    (void)printf("mesh        the product's gossip engine over a simulated network: %u + %u us one "
                 "way, %.1f %% loss%s%s",
                 options->delay_us == 0 ? 200 : options->delay_us,
                 options->delay_us == 0 && options->jitter_us == 0 ? 800 : options->jitter_us,
                 options->loss * 100, options->no_prefix_sync ? ", NO PREFIX SYNC" : "",
                 options->no_load_sync ? ", NO LOAD SYNC" : "");
    if (options->load_age_ms > 0) {
        (void)printf(", loads told every %u ms", options->load_age_ms);
    }
    (void)printf("\npossible    %.4f one cache that never forgets; %.4f one cache as large as all "
                 "together\n\n",
                 possible->infinite, possible->pooled);
}

static void print_row(const struct lab_possible *possible, const struct lab_result *result)
{
    (void)printf("%-20s %2u  %.4f  %5.3f  %8.0f %8.0f %8.0f  %5.3f  %5.3f  %5.3f  %4.2f %6llu "
                 "%6llu\n",
                 result->contender.name, result->contender.routers, lab_hit_rate(result),
                 share(lab_hit_rate(result), possible->infinite), lab_first_ms(result),
                 quantile_ms(result, 0.5), quantile_ms(result, 0.99), result->spread_requests,
                 result->spread_tokens, result->spread_load, result->busy,
                 (unsigned long long)result->retries, (unsigned long long)result->failed);
}

static void print_table(const struct lab_options *options, const struct corpus *corpus,
                        const struct lab_possible *possible, const struct lab_result *results,
                        uint32_t count)
{
    print_head(options, corpus, possible);
    (void)printf("%-20s %2s  %6s  %5s  %8s %8s %8s  %-19s  %4s %6s %6s\n", "", "", "hit", "of",
                 "to first", "token,", "ms", "spread over engines", "", "", "");
    (void)printf("%-20s %2s  %6s  %5s  %8s %8s %8s  %5s  %5s  %5s  %4s %6s %6s\n", "contender", "n",
                 "rate", "poss.", "mean", "p50", "p99", "req.", "tok.", "load", "busy", "retr.",
                 "failed");
    for (uint32_t i = 0; i < count; i++) {
        print_row(possible, &results[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct lab_result *result = &results[i];
        if (result->node_blocks > 0) {
            (void)printf("%s%-20s a node remembers %llu blocks in %.1f MiB", i == 0 ? "\n" : "",
                         result->contender.name, (unsigned long long)result->node_blocks,
                         (double)result->node_bytes / 1048576);
            (void)printf("; forecast hit rate %.4f, %.4f wrongly",
                         share((double)result->forecast_tokens, (double)result->prompt_tokens),
                         share((double)result->overrated_tokens, (double)result->prompt_tokens));
            if (result->contender.routers > 1) {
                (void)printf("; mesh %.0f bytes a request, seen everywhere in %.1f ms (p99)",
                             share((double)result->mesh_bytes, (double)result->requests),
                             (double)result->visible_p99_us / 1000);
            }
            (void)printf("\n");
        }
        if (result->trouble[0] != '\0') {
            (void)printf("%-20s the mesh broke a promise: %s\n", result->contender.name,
                         result->trouble);
        }
    }
}

static json_t *buckets_json(const struct lab_result *result)
{
    json_t *json = json_array();
    for (uint32_t i = 0; i < LAB_BUCKETS; i++) {
        const struct lab_bucket *bucket = &result->buckets[i];
        json_array_append_new(
            json, json_pack("{s:f,s:f}", "hit_rate",
                            share((double)bucket->cached_tokens, (double)bucket->prompt_tokens),
                            "first_token_ms",
                            share(bucket->first_sum_us / 1000, (double)bucket->first_count)));
    }
    return json;
}

static json_t *result_json(const struct lab_possible *possible, const struct lab_result *result)
{
    json_t *json =
        json_pack("{s:s,s:I,s:f,s:f,s:f,s:f,s:f}", "contender", result->contender.name, "routers",
                  (json_int_t)result->contender.routers, "hit_rate", lab_hit_rate(result),
                  "of_possible", share(lab_hit_rate(result), possible->infinite),
                  "first_token_ms_mean", lab_first_ms(result), "first_token_ms_p50",
                  quantile_ms(result, 0.5), "first_token_ms_p99", quantile_ms(result, 0.99));
    json_object_set_new(json, "spread_requests", json_real(result->spread_requests));
    json_object_set_new(json, "spread_tokens", json_real(result->spread_tokens));
    json_object_set_new(json, "spread_load", json_real(result->spread_load));
    json_object_set_new(
        json, "forecast_hit_rate",
        json_real(share((double)result->forecast_tokens, (double)result->prompt_tokens)));
    json_object_set_new(
        json, "overrated",
        json_real(share((double)result->overrated_tokens, (double)result->prompt_tokens)));
    json_object_set_new(json, "busy", json_real(result->busy));
    json_object_set_new(json, "requests", json_integer((json_int_t)result->requests));
    json_object_set_new(json, "retries", json_integer((json_int_t)result->retries));
    json_object_set_new(json, "failed", json_integer((json_int_t)result->failed));
    json_object_set_new(json, "node_bytes", json_integer((json_int_t)result->node_bytes));
    json_object_set_new(json, "node_blocks", json_integer((json_int_t)result->node_blocks));
    json_object_set_new(json, "mesh_bytes", json_integer((json_int_t)result->mesh_bytes));
    json_object_set_new(json, "visible_p99_us", json_integer((json_int_t)result->visible_p99_us));
    json_object_set_new(json, "trouble", json_string(result->trouble));
    json_object_set_new(json, "over_time", buckets_json(result));
    return json;
}

static void print_json(const struct lab_options *options, const struct corpus *corpus,
                       const struct lab_possible *possible, const struct lab_result *results,
                       uint32_t count)
{
    json_t *json =
        json_pack("{s:s,s:s,s:I,s:I,s:I,s:f,s:f}", "trace", options->trace.trace_file, "situation",
                  lab_situation_name(options->situation), "requests",
                  (json_int_t)corpus->prompt_count, "engines", (json_int_t)options->engines,
                  "cache_tokens", (json_int_t)(options->engine.capacity_blocks * LAB_BLOCK_TOKENS),
                  "possible_infinite", possible->infinite, "possible_pooled", possible->pooled);
    json_t *rows = json_array();
    for (uint32_t i = 0; i < count; i++) {
        json_array_append_new(rows, result_json(possible, &results[i]));
    }
    json_object_set_new(json, "results", rows);
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    (void)printf("%s\n", text == NULL ? "{}" : text);
    free(text);
    json_decref(json);
}

void lab_print(const struct lab_options *options, const struct corpus *corpus,
               const struct lab_possible *possible, const struct lab_result *results,
               uint32_t count)
{
    if (options->json) {
        print_json(options, corpus, possible, results, count);
    } else {
        print_table(options, corpus, possible, results, count);
    }
}
