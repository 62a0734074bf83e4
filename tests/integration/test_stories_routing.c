/*
 * test_stories_routing.c - what users of LLM routers complained about when requests went to the
 * wrong worker, each told with real programs. The comments name the public issue.
 */
#include "support/suite.h"
#include "support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HELD_MAX   128
#define URL_BYTES  600
#define NEVER      "{\"kind\":\"hang_before_head\",\"count\":0}" /* until reset */
#define TEXT_BYTES 900

static struct gv_world world;

static struct gv_world_node *start(int workers, const char *const *flags)
{
    return gv_world_start(&world, workers, flags);
}

/* ---- requests that are held open ---- */

static int held[HELD_MAX];
static size_t held_count;

/* Send a prompt and wait until an engine has it; the answer is left to come. */
static struct gv_world_worker *hold(struct gv_world_node *node, int seed)
{
    char prompt[TEXT_BYTES];
    long before[GV_WORLD_WORKERS_MAX];
    long sum = 0;
    for (size_t i = 0; i < world.worker_count; i++) {
        before[i] = gv_world_stat(&world.workers[i], "requests");
        sum += before[i];
    }
    gv_world_prompt(prompt, sizeof prompt, seed);
    CU_ASSERT_TRUE_FATAL(held_count < HELD_MAX);
    held[held_count++] = gv_world_send_chat(node, prompt, false);
    CU_ASSERT_TRUE_FATAL(gv_world_await_sum(&world, "requests", sum + 1));
    for (size_t i = 0; i < world.worker_count; i++) {
        if (gv_world_stat(&world.workers[i], "requests") > before[i]) {
            return &world.workers[i];
        }
    }
    return NULL;
}

static void let_go(void)
{
    while (held_count > 0) {
        close(held[--held_count]);
    }
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
}

static void chat(struct gv_world_node *node, int seed, char *worker)
{
    char prompt[TEXT_BYTES];
    gv_world_prompt(prompt, sizeof prompt, seed);
    CU_ASSERT_EQUAL(gv_world_chat(node, prompt, worker, URL_BYTES), 200);
}

/* Blocks of the prompt that the chosen worker was said to hold, and blocks in all. */
static void read_match(const struct gv_reply *reply, int *held_blocks, int *blocks)
{
    char match[URL_BYTES] = "";
    CU_ASSERT_TRUE(gv_reply_header(reply, "x-grapevine-match", match, sizeof match));
    CU_ASSERT_EQUAL_FATAL(sscanf(match, "%d/%d", held_blocks, blocks), 2);
}

static void stall_all(void)
{
    for (size_t i = 0; i < world.worker_count; i++) {
        gv_world_fault(&world.workers[i], NEVER);
    }
}

/* Every engine has between `least` and `most` requests. */
static void expect_spread(long least, long most)
{
    for (size_t i = 0; i < world.worker_count; i++) {
        long requests = gv_world_stat(&world.workers[i], "requests");
        if (requests < least || requests > most) {
            printf("worker %zu got %ld, not %ld to %ld\n", i, requests, least, most);
        }
        CU_ASSERT_TRUE(requests >= least && requests <= most);
    }
}

/* ---- the stories ---- */

/* sgl-project/sglang#14305, #14532: on a miss the worker with the smallest tree was chosen, so a
 * stuck worker attracted all new work. */
static void a_stalled_worker_gets_almost_none_of_the_new_prompts(void)
{
    enum {
        PROMPTS = 200
    };
    struct gv_world_node *node = start(4, NULL);
    struct gv_world_worker *stalled = &world.workers[2];
    gv_world_fault(stalled, NEVER);
    for (int i = 0; i < PROMPTS; i++) {
        if (hold(node, i) != stalled) {
            struct gv_reply reply;
            gv_talk_read(held[--held_count], &reply);
            CU_ASSERT_EQUAL(reply.status, 200);
            gv_reply_deinit(&reply);
            close(held[held_count]);
        }
    }
    CU_ASSERT_TRUE(gv_world_stat(stalled, "requests") <= PROMPTS / 50);
    for (size_t i = 0; i < world.worker_count; i++) {
        CU_ASSERT_TRUE(&world.workers[i] == stalled ||
                       gv_world_stat(&world.workers[i], "finished") >= PROMPTS / 10);
    }
    let_go();
    gv_world_end(&world);
}

/* sglang#32983: with one client at a time every miss landed on worker 0. */
static void with_one_client_new_prompts_use_the_memory_of_all_workers(void)
{
    struct gv_world_node *node = start(4, NULL);
    char worker[URL_BYTES];
    for (int i = 0; i < 400; i++) {
        chat(node, i, worker);
    }
    expect_spread(60, 140); /* a fair share is 100; 140 is 35 % */
    gv_world_end(&world);
}

/* sglang#27547: load was counted from the first byte on, so slow prefills looked idle and the
 * first worker got everything. */
static void a_request_is_counted_when_it_is_sent_not_when_it_answers(void)
{
    struct gv_world_node *node = start(4, NULL);
    stall_all();
    for (int i = 0; i < 60; i++) {
        hold(node, i);
    }
    CU_ASSERT_EQUAL(gv_world_number(node, "/grapevine/v1/status", "", "in_flight"), 60);
    expect_spread(3, 20); /* a fair share is 15; nobody is above 1.25 times that, and one */
    let_go();
    gv_world_end(&world);
}

/* sglang#32195: as soon as loads differed much, prefixes were ignored and the hit rate fell. */
static void out_of_balance_a_prefix_is_followed_to_a_worker_that_has_room(void)
{
    static const char *const flags[] = {"--balance-abs-threshold", "4", NULL};
    struct gv_world_node *node = start(4, flags);
    char idle[URL_BYTES];
    char busy[URL_BYTES];
    int other = 1;
    chat(node, 0, idle);
    do {
        chat(node, ++other, busy);
    } while (strcmp(idle, busy) == 0);
    struct gv_world_worker *crowded = gv_world_worker_at(&world, busy);
    gv_world_fault(crowded, NEVER);
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_PTR_EQUAL(hold(node, other), crowded);
    }
    for (int i = 0; i < 20; i++) { /* 5 against 0: out of balance */
        char worker[URL_BYTES];
        chat(node, 0, worker);
        CU_ASSERT_STRING_EQUAL(worker, idle);
        chat(node, other, worker);
        CU_ASSERT_STRING_NOT_EQUAL(worker, busy);
    }
    let_go();
    gv_world_end(&world);
}

/* vllm-project/aibrix#842, #2365: only one strategy looked at imbalance; with the others a stuck
 * worker got its share of new requests for ever, and they timed out. */
static void a_stuck_worker_gets_no_more_than_the_threshold_whatever_the_policy(void)
{
    enum {
        PROMPTS = 60,
        APART = 4
    };
    static const char *const policies[] = {"round_robin", "random", "prefix_hash", "manual",
                                           "consistent_hashing"};
    for (size_t p = 0; p < sizeof policies / sizeof policies[0]; p++) {
        const char *const flags[] = {
            "--policy", policies[p], "--balance-abs-threshold", "4", "--prefix-hash-load-factor",
            "1000",     NULL};
        struct gv_world_node *node = start(3, flags);
        struct gv_world_worker *stuck = &world.workers[1];
        gv_world_fault(stuck, NEVER);
        for (int i = 0; i < PROMPTS; i++) {
            if (hold(node, i) != stuck) {
                struct gv_reply reply;
                gv_talk_read(held[--held_count], &reply);
                CU_ASSERT_EQUAL(reply.status, 200);
                gv_reply_deinit(&reply);
                close(held[held_count]);
            }
        }
        long got = gv_world_stat(stuck, "requests");
        CU_ASSERT_TRUE(got > 0 && got <= APART + 1); /* out of balance with one more */
        let_go();
        gv_world_end(&world);
    }
}

/* sglang#33625: a few heavy keys made hot workers beside idle ones. */
static void a_hot_prompt_spills_over_before_its_worker_drowns(void)
{
    static const char *const flags[] = {"--balance-abs-threshold", "6", NULL};
    struct gv_world_node *node = start(3, flags);
    stall_all();
    for (int i = 0; i < 45; i++) {
        hold(node, 1);
    }
    expect_spread(10, 23); /* apart by no more than the threshold and one */
    long least = 45;
    long most = 0;
    for (size_t i = 0; i < world.worker_count; i++) {
        long requests = gv_world_stat(&world.workers[i], "requests");
        least = requests < least ? requests : least;
        most = requests > most ? requests : most;
    }
    CU_ASSERT_TRUE(most - least <= 7);
    let_go();
    gv_world_end(&world);
}

/* ai-dynamo/dynamo#8551: round robin reached only some workers, the others idled. */
static void round_robin_reaches_every_worker(void)
{
    static const char *const flags[] = {"--policy", "round_robin", NULL};
    struct gv_world_node *node = start(6, flags);
    for (int i = 0; i < 120; i++) {
        char worker[URL_BYTES];
        chat(node, 1, worker);
    }
    expect_spread(18, 22);
    gv_world_end(&world);
}

/* vllm-project/router#177: power of two looked at loads polled 5 s ago and not at its own requests,
 * so everything ran to one worker. */
static void power_of_two_sees_the_requests_it_has_just_sent(void)
{
    static const char *const flags[] = {"--policy", "power_of_two", NULL};
    struct gv_world_node *node = start(4, flags);
    stall_all();
    for (int i = 0; i < 60; i++) {
        hold(node, 1);
    }
    expect_spread(9, 21); /* a fair share is 15 */
    let_go();
    gv_world_end(&world);
}

/* ai-dynamo/dynamo#589: several routers saw the same idle worker and ran to it together. */
static void what_one_router_has_sent_the_others_count_as_load(void)
{
    struct gv_world_node *first = start(3, NULL);
    struct gv_world_node *second = gv_world_add_node(&world, NULL);
    CU_ASSERT_TRUE_FATAL(gv_world_await_members(&world, 2));
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    char busy[URL_BYTES];
    chat(first, 1, busy);
    struct gv_world_worker *crowded = gv_world_worker_at(&world, busy);
    gv_world_fault(crowded, NEVER);
    for (int i = 0; i < 12; i++) {
        CU_ASSERT_PTR_EQUAL(hold(first, 1), crowded);
    }
    CU_ASSERT_TRUE(gv_world_await_load(second, busy, 12));
    for (int i = 100; i < 130; i++) {
        char worker[URL_BYTES];
        chat(second, i, worker);
        CU_ASSERT_STRING_NOT_EQUAL(worker, busy);
    }
    let_go();
    CU_ASSERT_TRUE(gv_world_await_load(second, busy, 0));
    gv_world_end(&world);
}

/* vllm-project/production-stack#1045: without the chat's own form in the key no turn of a
 * conversation ever matched. */
static void a_conversation_stays_with_its_worker_turn_after_turn(void)
{
    struct gv_world_node *node = start(4, NULL);
    static char turns[16000];
    char first[URL_BYTES] = "";
    int asked_before = 0;
    turns[0] = '\0';
    for (int turn = 0; turn < 8; turn++) {
        struct gv_reply reply;
        static char body[17000];
        char text[TEXT_BYTES];
        char worker[URL_BYTES] = "";
        gv_world_prompt(text, sizeof text, turn);
        size_t len = strlen(turns);
        snprintf(turns + len, sizeof turns - len, "%s{\"role\":\"user\",\"content\":\"%s\"}",
                 turn == 0 ? "" : ",{\"role\":\"assistant\",\"content\":\"Tell me more.\"},", text);
        snprintf(body, sizeof body, "{\"model\":\"mock-model\",\"messages\":[%s]}", turns);
        gv_talk_ask(node->port, "POST", "/v1/chat/completions", NULL, body, &reply);
        CU_ASSERT_TRUE(gv_reply_header(&reply, "x-grapevine-worker", worker, sizeof worker));
        if (turn == 0) {
            snprintf(first, sizeof first, "%s", worker);
        } else {
            CU_ASSERT_TRUE(gv_reply_number(&reply, "cached_tokens") > 150L * turn);
        }
        int known;
        int asked;
        read_match(&reply, &known, &asked);
        CU_ASSERT_TRUE(known >= asked_before - 1 && known < asked); /* all but a half-full block */
        asked_before = asked;
        CU_ASSERT_STRING_EQUAL(worker, first);
        gv_reply_deinit(&reply);
    }
    gv_world_end(&world);
}

/* The sum over all cells of a metric that has labels. */
static double metric(struct gv_world_node *node, const char *name)
{
    struct gv_reply reply;
    char line[96];
    double sum = 0;
    gv_talk_ask(node->metrics_port, "GET", "/metrics", NULL, NULL, &reply);
    snprintf(line, sizeof line, "\n%s{", name);
    for (const char *at = reply.body; (at = strstr(at, line)) != NULL;) {
        at = strstr(at, "} ") + 2;
        sum += strtod(at, NULL);
    }
    gv_reply_deinit(&reply);
    return sum;
}

/* sglang#21199: cache-aware routing was slower than round robin, and nobody could see whether its
 * predictions came true. */
static void what_the_router_predicts_the_engines_confirm(void)
{
    struct gv_world_node *node = start(4, NULL);
    char worker[URL_BYTES];
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 20; i++) {
            chat(node, i, worker);
        }
    }
    double predicted = metric(node, "gv_cached_tokens_predicted_total");
    double reported = metric(node, "gv_cached_tokens_reported_total");
    CU_ASSERT_TRUE(predicted > 80 * 150); /* 4 of 5 rounds, of some 225 tokens each */
    CU_ASSERT_TRUE(reported > 0.8 * predicted && reported < 1.2 * predicted);
    CU_ASSERT_TRUE((double)gv_world_sum(&world, "cached_tokens") >= reported);
    gv_world_end(&world);
}

/* smg-project/smg#1419: a request without a model, or for an unknown one, went to a random worker
 * of any model. */
static void a_model_that_nobody_serves_is_refused_and_given_to_no_worker(void)
{
    static const char *const other[] = {"--model", "another-model", NULL};
    memset(&world, 0, sizeof world);
    gv_world_add_worker(&world, "regular");
    world.worker_flags = other;
    gv_world_add_worker(&world, "regular");
    struct gv_world_node *node = gv_world_add_node(&world, NULL);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    static const struct {
        const char *body;
        int status;
    } cases[] = {
        {"{\"model\":\"no-such-model\",\"messages\":[]}", 404},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"who?\"}]}", 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gv_reply reply;
        char type[64] = "";
        gv_talk_ask(node->port, "POST", "/v1/chat/completions", NULL, cases[i].body, &reply);
        CU_ASSERT_EQUAL(reply.status, cases[i].status);
        CU_ASSERT_TRUE(gv_reply_text(&reply, "type", type, sizeof type));
        CU_ASSERT_STRING_EQUAL(type, "invalid_request_error");
        gv_reply_deinit(&reply);
    }
    CU_ASSERT_EQUAL(gv_world_sum(&world, "requests"), 0);
    gv_world_end(&world);
}

static bool knows_both(void *owner)
{
    return gv_world_number(owner, "/readiness", "", "healthy_workers") == 2;
}

/* vllm-project/router#299: workers that were found later skipped the cache-aware bookkeeping. */
static void a_worker_added_later_is_chosen_by_the_same_rules(void)
{
    struct gv_world_node *node = start(1, NULL);
    struct gv_world_worker *late = gv_world_add_worker(&world, "regular");
    char body[700];
    struct gv_reply reply;
    snprintf(body, sizeof body, "{\"url\":\"%s\"}", late->url);
    gv_talk_ask(node->port, "POST", "/workers", NULL, body, &reply);
    CU_ASSERT_EQUAL(reply.status, 202);
    gv_reply_deinit(&reply);
    CU_ASSERT_TRUE_FATAL(gv_test_await(knows_both, node, 0));
    int seed = -1;
    char worker[URL_BYTES] = "";
    while (strcmp(worker, late->url) != 0 && seed < 60) { /* misses reach it */
        chat(node, ++seed, worker);
    }
    CU_ASSERT_STRING_EQUAL_FATAL(worker, late->url);
    char prompt[TEXT_BYTES];
    gv_world_prompt(prompt, sizeof prompt, seed);
    char *again = gv_world_chat_body(prompt, false);
    for (int i = 0; i < 5; i++) { /* prefixes lead to it: what it was given is known */
        int known;
        int asked;
        gv_talk_ask(node->port, "POST", "/v1/chat/completions", NULL, again, &reply);
        CU_ASSERT_TRUE(gv_reply_header(&reply, "x-grapevine-worker", worker, sizeof worker));
        CU_ASSERT_STRING_EQUAL(worker, late->url);
        read_match(&reply, &known, &asked);
        CU_ASSERT_TRUE(asked > 0);
        CU_ASSERT_EQUAL(known, asked);
        gv_reply_deinit(&reply);
    }
    free(again);
    gv_world_fault(late, NEVER);
    hold(node, seed); /* its load is seen */
    CU_ASSERT_EQUAL(gv_world_load(node, late->url), 1);
    let_go();
    gv_world_end(&world);
}

GV_SUITE("integration/stories_routing",
         GV_CASE(a_stalled_worker_gets_almost_none_of_the_new_prompts),
         GV_CASE(with_one_client_new_prompts_use_the_memory_of_all_workers),
         GV_CASE(a_request_is_counted_when_it_is_sent_not_when_it_answers),
         GV_CASE(out_of_balance_a_prefix_is_followed_to_a_worker_that_has_room),
         GV_CASE(a_stuck_worker_gets_no_more_than_the_threshold_whatever_the_policy),
         GV_CASE(a_hot_prompt_spills_over_before_its_worker_drowns),
         GV_CASE(round_robin_reaches_every_worker),
         GV_CASE(power_of_two_sees_the_requests_it_has_just_sent),
         GV_CASE(what_one_router_has_sent_the_others_count_as_load),
         GV_CASE(a_conversation_stays_with_its_worker_turn_after_turn),
         GV_CASE(what_the_router_predicts_the_engines_confirm),
         GV_CASE(a_model_that_nobody_serves_is_refused_and_given_to_no_worker),
         GV_CASE(a_worker_added_later_is_chosen_by_the_same_rules))
