/*
 * test_mock_engine.c - the simulated engine keeps time and cache as its header says; its cache
 * against a list that is searched from end to end.
 */
#include "../../tools/mockworker/engine.c"
#include "grapevine/base/prng.h"
#include "support/suite.h"

/* Blocks of 2 tokens (8 bytes), 1 ms per prompt token, 10 ms per output token. */
static void engine_make(struct engine *engine, uint64_t capacity_tokens)
{
    engine_init(engine, (struct engine_limits){.block_tokens = 2,
                                               .capacity_tokens = capacity_tokens,
                                               .prefill_us_per_token = 1000,
                                               .decode_us_per_token = 10000});
}

static struct engine_job job_of(const struct engine *engine, const char *prompt, uint32_t outputs)
{
    struct engine_job job = {.blocks = NULL};
    CU_ASSERT_EQUAL_FATAL(engine_job_init(engine, &job, gv_slice_text(prompt), outputs), GV_OK);
    return job;
}

static void end(struct engine *engine, struct engine_job *job, uint64_t now_us)
{
    engine_remove(engine, job, now_us);
    engine_job_deinit(job);
}

/* Run a prompt alone, to its first token; how much of it was cached. */
static uint64_t cached_when_run(struct engine *engine, const char *prompt, uint64_t *now_us)
{
    struct engine_job job = job_of(engine, prompt, 1);
    engine_submit(engine, &job, *now_us);
    *now_us += 1000 * 1000;
    engine_advance(engine, *now_us);
    CU_ASSERT_EQUAL(job.state, ENGINE_JOB_DECODE);
    uint64_t cached = job.cached_tokens;
    end(engine, &job, *now_us);
    return cached;
}

/* 16 bytes are 4 tokens: 4 ms. Both sides of the first token, of the second, and of the last. */
static void tokens_appear_after_prefill_and_then_at_the_pace_of_decode(void)
{
    struct engine engine;
    engine_make(&engine, 100);
    struct engine_job job = job_of(&engine, "aaaaaaaabbbbbbbb", 3);
    engine_submit(&engine, &job, 5000);
    CU_ASSERT_EQUAL(engine.prefill_done_at_us, 9000);
    engine_advance(&engine, 8999);
    CU_ASSERT_EQUAL(engine_tokens(&engine, &job, 8999), 0);
    engine_advance(&engine, 9000);
    CU_ASSERT_EQUAL(engine_tokens(&engine, &job, 9000), 1);
    CU_ASSERT_EQUAL(engine_tokens(&engine, &job, 18999), 1);
    CU_ASSERT_EQUAL(engine_tokens(&engine, &job, 19000), 2);
    CU_ASSERT_EQUAL(engine_tokens(&engine, &job, 28999), 2);
    CU_ASSERT_EQUAL(engine_tokens(&engine, &job, 29000), 3);
    CU_ASSERT_EQUAL(engine_tokens(&engine, &job, 99000), 3);
    CU_ASSERT_EQUAL(engine_token_at_us(&engine, &job, 2), 29000);
    end(&engine, &job, 99000);
    engine_deinit(&engine);
}

static void prefill_takes_one_job_at_a_time_in_the_order_of_arrival(void)
{
    struct engine engine;
    engine_make(&engine, 100);
    struct engine_job first = job_of(&engine, "aaaaaaaabbbbbbbb", 1);
    struct engine_job second = job_of(&engine, "ccccccccdddddddd", 1);
    engine_submit(&engine, &first, 0);
    engine_submit(&engine, &second, 1000);
    CU_ASSERT_EQUAL(engine.queue_count, 1);
    engine_advance(&engine, 100000); /* nobody looked meanwhile: the times are the same */
    CU_ASSERT_EQUAL(first.first_at_us, 4000);
    CU_ASSERT_EQUAL(second.first_at_us, 8000);
    CU_ASSERT_EQUAL(engine.decode_count, 2);
    end(&engine, &first, 100000);
    end(&engine, &second, 100000);
    engine_deinit(&engine);
}

static void a_removed_job_frees_prefill_for_the_next_at_once(void)
{
    struct engine engine;
    engine_make(&engine, 100);
    struct engine_job first = job_of(&engine, "aaaaaaaabbbbbbbb", 1);
    struct engine_job second = job_of(&engine, "ccccccccdddddddd", 1);
    struct engine_job third = job_of(&engine, "eeeeeeeeffffffff", 1);
    engine_submit(&engine, &first, 0);
    engine_submit(&engine, &second, 0);
    engine_submit(&engine, &third, 0);
    end(&engine, &second, 500); /* while queued */
    end(&engine, &first, 1000); /* while in prefill */
    engine_advance(&engine, 10000);
    CU_ASSERT_EQUAL(third.first_at_us, 5000);
    end(&engine, &third, 10000);
    CU_ASSERT_EQUAL(engine_cached_tokens(&engine), 4); /* the third only */
    engine_deinit(&engine);
}

static void only_whole_blocks_of_an_equal_prefix_are_cached(void)
{
    struct engine engine;
    engine_make(&engine, 100);
    uint64_t now_us = 0;
    CU_ASSERT_EQUAL(cached_when_run(&engine, "aaaaaaaabbbbbbbbcccc", &now_us), 0);
    CU_ASSERT_EQUAL(cached_when_run(&engine, "aaaaaaaabbbbbbbbccccdddd", &now_us), 4);
    CU_ASSERT_EQUAL(cached_when_run(&engine, "aaaaaaaaXbbbbbbbcccc", &now_us), 2);
    CU_ASSERT_EQUAL(cached_when_run(&engine, "bbbbbbbbcccc", &now_us), 0); /* no prefix */
    engine_deinit(&engine);
}

static void the_last_token_of_a_prompt_is_always_computed(void)
{
    struct engine engine;
    engine_make(&engine, 100);
    uint64_t now_us = 0;
    (void)cached_when_run(&engine, "aaaaaaaabbbbbbbb", &now_us);
    struct engine_job job = job_of(&engine, "aaaaaaaabbbbbbbb", 1);
    engine_submit(&engine, &job, now_us);
    CU_ASSERT_EQUAL(job.cached_tokens, 3);
    CU_ASSERT_EQUAL(engine.prefill_done_at_us, now_us + 1000);
    end(&engine, &job, now_us);
    engine_deinit(&engine);
}

/* Room for 3 blocks. The prefix that two prompts share is younger than what follows it. */
static void what_was_used_longest_ago_is_evicted_and_a_prefix_outlives_its_ends(void)
{
    struct engine engine;
    engine_make(&engine, 6);
    uint64_t now_us = 0;
    (void)cached_when_run(&engine, "aaaaaaaabbbbbbbb----", &now_us);
    (void)cached_when_run(&engine, "aaaaaaaacccccccc----", &now_us);
    CU_ASSERT_EQUAL(engine_cached_tokens(&engine), 6);
    (void)cached_when_run(&engine, "aaaaaaaadddddddd----", &now_us); /* evicts ..bbbb */
    CU_ASSERT_EQUAL(cached_when_run(&engine, "aaaaaaaacccccccc----", &now_us), 4);
    CU_ASSERT_EQUAL(cached_when_run(&engine, "aaaaaaaabbbbbbbb----", &now_us), 2);
    engine_flush(&engine);
    CU_ASSERT_EQUAL(cached_when_run(&engine, "aaaaaaaacccccccc----", &now_us), 0);
    engine_deinit(&engine);
}

static void without_capacity_nothing_is_cached_and_without_time_nothing_waits(void)
{
    struct engine engine;
    engine_init(&engine, (struct engine_limits){.block_tokens = 2});
    for (int i = 0; i < 2; i++) {
        struct engine_job job = job_of(&engine, "aaaaaaaabbbbbbbb", 1000);
        engine_submit(&engine, &job, 7);
        CU_ASSERT_EQUAL(job.cached_tokens, 0);
        CU_ASSERT_EQUAL(engine_tokens(&engine, &job, 7), 1000);
        end(&engine, &job, 7);
    }
    engine_deinit(&engine);
}

static void a_prefilled_job_decodes_at_once_and_leaves_the_cache_alone(void)
{
    struct engine engine;
    engine_make(&engine, 100);
    struct engine_job job = job_of(&engine, "aaaaaaaabbbbbbbb", 2);
    engine_submit_prefilled(&engine, &job, 99, 1000);
    CU_ASSERT_EQUAL(job.cached_tokens, 3); /* cannot be more than all but one */
    CU_ASSERT_EQUAL(engine_tokens(&engine, &job, 1000), 1);
    CU_ASSERT_EQUAL(engine_tokens(&engine, &job, 11000), 2);
    end(&engine, &job, 11000);
    CU_ASSERT_EQUAL(engine_cached_tokens(&engine), 0);
    engine_deinit(&engine);
}

static void an_empty_prompt_is_one_token_and_no_output_is_one_output(void)
{
    struct engine engine;
    engine_make(&engine, 100);
    struct engine_job job = job_of(&engine, "", 0);
    CU_ASSERT_EQUAL(job.prompt_tokens, 1);
    CU_ASSERT_EQUAL(job.output_tokens, 1);
    engine_job_deinit(&job);
    struct engine_job none = {.blocks = NULL};
    gv_mem_fail_nth(1);
    CU_ASSERT_EQUAL(engine_job_init(&engine, &none, gv_slice_text("aaaaaaaa"), 1), GV_ENOMEM);
    gv_mem_fail_nth(0);
    engine_deinit(&engine);
}

/* --- the cache against a list, newest last, of prefixes as texts --- */

#define LIST_MAX 64

struct list {
    char prefixes[LIST_MAX][64];
    size_t count;
    size_t capacity;
};

static size_t find_in(const struct list *list, const char *prefix)
{
    size_t at = 0;
    while (at < list->count && strcmp(list->prefixes[at], prefix) != 0) {
        at += 1;
    }
    return at;
}

static void list_remove(struct list *list, size_t at)
{
    memmove(list->prefixes[at], list->prefixes[at + 1],
            (list->count - at - 1) * sizeof list->prefixes[0]);
    list->count -= 1;
}

/* The same prompt as the engine's: how many blocks are there, then they are, newest the first. */
static uint64_t list_run(struct list *list, const char *prompt)
{
    char prefix[64];
    size_t blocks = strlen(prompt) / 8;
    size_t held = 0;
    for (; held < blocks; held++) {
        (void)gv_slice_copy_text(gv_slice_of(prompt, (held + 1) * 8), prefix, sizeof prefix);
        if (find_in(list, prefix) == list->count) {
            break;
        }
    }
    for (size_t i = blocks; i > 0; i--) {
        (void)gv_slice_copy_text(gv_slice_of(prompt, i * 8), prefix, sizeof prefix);
        size_t at = find_in(list, prefix);
        if (at < list->count) {
            list_remove(list, at);
        }
        strcpy(list->prefixes[list->count++], prefix);
    }
    while (list->count > list->capacity) {
        list_remove(list, 0);
    }
    return held * 2;
}

static void the_cache_holds_what_a_searched_list_holds(void)
{
    struct gv_prng prng;
    gv_prng_init(&prng, 11);
    uint64_t hits = 0;
    for (size_t capacity = 0; capacity < 24; capacity++) {
        struct engine engine;
        engine_make(&engine, capacity * 2);
        struct list list = {.count = 0, .capacity = capacity};
        uint64_t now_us = 0;
        for (int i = 0; i < 300; i++) {
            char prompt[64] = "";
            uint64_t blocks = gv_prng_below(&prng, 6);
            for (uint64_t b = 0; b < blocks; b++) {
                memset(prompt + 8 * b, 'a' + (int)gv_prng_below(&prng, 3), 8);
            }
            strcat(prompt, "tail");
            uint64_t expected = list_run(&list, prompt);
            uint64_t found = cached_when_run(&engine, prompt, &now_us);
            CU_ASSERT_EQUAL(found, expected);
            hits += found;
            CU_ASSERT_EQUAL(engine_cached_tokens(&engine), list.count * 2);
        }
        engine_deinit(&engine);
    }
    CU_ASSERT(hits > 1000);
}

GV_SUITE("mockworker/engine", GV_CASE(tokens_appear_after_prefill_and_then_at_the_pace_of_decode),
         GV_CASE(prefill_takes_one_job_at_a_time_in_the_order_of_arrival),
         GV_CASE(a_removed_job_frees_prefill_for_the_next_at_once),
         GV_CASE(only_whole_blocks_of_an_equal_prefix_are_cached),
         GV_CASE(the_last_token_of_a_prompt_is_always_computed),
         GV_CASE(what_was_used_longest_ago_is_evicted_and_a_prefix_outlives_its_ends),
         GV_CASE(without_capacity_nothing_is_cached_and_without_time_nothing_waits),
         GV_CASE(a_prefilled_job_decodes_at_once_and_leaves_the_cache_alone),
         GV_CASE(an_empty_prompt_is_one_token_and_no_output_is_one_output),
         GV_CASE(the_cache_holds_what_a_searched_list_holds))
