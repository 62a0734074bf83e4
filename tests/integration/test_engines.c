/*
 * test_engines.c - the kinds of engines as real programs: what each tells, its ranks, its load, and
 * how it is told to stop.
 */
#include "support/suite.h"
#include "support/world.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TEXT_BYTES 900
#define NEVER      "{\"kind\":\"hang_before_head\",\"count\":0}" /* until reset */

static struct gv_world world;

static struct gv_world_worker *add_engine(const char *role, const char *const *flags)
{
    world.worker_flags = flags;
    return gv_world_add_worker(&world, role);
}

/* What a node says at a path of its admin API, awaited. */
struct wanted {
    struct gv_world_node *node;
    const char *path;
    const char *after;
    const char *name;
    long value;
};

static bool is_said(void *owner)
{
    const struct wanted *wanted = owner;
    return gv_world_number(wanted->node, wanted->path, wanted->after, wanted->name) ==
           wanted->value;
}

static bool await_number(struct gv_world_node *node, const char *path, const char *after,
                         const char *name, long value)
{
    struct wanted wanted = {node, path, after, name, value};
    return gv_test_await(is_said, &wanted, 0);
}

static bool says(struct gv_world_node *node, const char *path, const char *text)
{
    struct gv_reply reply;
    gv_talk_ask(node->port, "GET", path, NULL, NULL, &reply);
    bool does = reply.body != NULL && strstr(reply.body, text) != NULL;
    gv_reply_deinit(&reply);
    return does;
}

static int chat(struct gv_world_node *node, int seed, char *worker)
{
    char prompt[TEXT_BYTES];
    gv_world_prompt(prompt, sizeof prompt, seed);
    return gv_world_chat(node, prompt, worker, 600);
}

static const char workers_path[] = "/grapevine/v1/workers";

static void each_kind_of_engine_is_known_by_its_answers(void)
{
    static const struct {
        const char *const flags[3];
        const char *runtime;
        long capacity;
    } kinds[] = {
        {{"--kind", "sglang", NULL}, "\"runtime_type\":\"sglang\"", 524288},
        {{"--kind", "vllm", NULL}, "\"runtime_type\":\"vllm\"", 524288},
        {{"--kind", "openai", NULL}, "\"runtime_type\":\"openai\"", 0},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        memset(&world, 0, sizeof world);
        add_engine("regular", kinds[i].flags);
        struct gv_world_node *node = gv_world_add_node(&world, NULL);
        CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
        CU_ASSERT_TRUE(says(node, workers_path, kinds[i].runtime));
        CU_ASSERT_EQUAL(gv_world_number(node, workers_path, "", "capacity_tokens"),
                        kinds[i].capacity);
        CU_ASSERT_EQUAL(chat(node, 1, NULL), 200);
        gv_world_end(&world);
    }
}

/* Requests that somebody else sent to an engine are load there, on every node, though one asks. */
static void what_others_sent_an_engine_is_seen_by_all_nodes(void)
{
    static const char *const kinds[][3] = {{"--kind", "sglang", NULL}, {"--kind", "vllm", NULL}};
    static const char *const often[] = {"--load-monitor-interval", "0.2", NULL};
    static const char *const slow[] = {"--decode-ms", "1000", "--speed", "1", "--kind", "", NULL};
    for (size_t i = 0; i < 2; i++) {
        const char *flags[7];
        memcpy(flags, slow, sizeof flags);
        flags[5] = kinds[i][1];
        memset(&world, 0, sizeof world);
        struct gv_world_worker *engine = add_engine("regular", flags);
        struct gv_world_node *one = gv_world_add_node(&world, often);
        struct gv_world_node *two = gv_world_add_node(&world, often);
        CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
        CU_ASSERT_TRUE(await_number(one, workers_path, "\"engine\"", "foreign", 0));
        struct gv_world_node direct = {.port = engine->port};
        int fd = gv_world_send_chat(&direct, "a request of somebody else", true);
        CU_ASSERT_TRUE(await_number(one, workers_path, "\"engine\"", "foreign", 1));
        CU_ASSERT_TRUE(await_number(two, workers_path, "\"engine\"", "foreign", 1));
        CU_ASSERT_TRUE(says(two, "/get_loads", "\"age_ms\""));
        close(fd);
        CU_ASSERT_TRUE(await_number(two, workers_path, "\"engine\"", "foreign", 0));
        int own = gv_world_send_chat(one, "a request of ours", true);
        CU_ASSERT_TRUE(await_number(two, workers_path, "\"engine\"", "running", 1));
        CU_ASSERT_EQUAL(gv_world_number(two, workers_path, "\"engine\"", "foreign"), 0);
        close(own);
        gv_world_end(&world);
    }
}

static void an_engine_with_ranks_is_a_worker_for_each(void)
{
    static const char *const ranked[] = {"--dp-size", "3", NULL};
    static const char *const aware[] = {"--dp-aware", "--decision-headers",
                                        "--load-monitor-interval", "0.2", NULL};
    memset(&world, 0, sizeof world);
    struct gv_world_worker *engine = add_engine("regular", ranked);
    struct gv_world_node *node = gv_world_add_node(&world, aware);
    CU_ASSERT_TRUE_FATAL(await_number(node, "/readiness", "", "healthy_workers", 3));
    CU_ASSERT_EQUAL(gv_world_number(node, "/workers", "", "total"), 3);
    char whole[80];
    snprintf(whole, sizeof whole, "\"url\":\"%s\"", engine->url);
    CU_ASSERT_FALSE(says(node, "/workers", whole)); /* only as its ranks */
    CU_ASSERT_EQUAL(gv_world_number(node, workers_path, "", "capacity_tokens"), 524288 / 3);
    char first[600];
    char again[600];
    long counts[3] = {0};
    for (int seed = 0; seed < 12; seed++) {
        CU_ASSERT_EQUAL(chat(node, seed, first), 200);
        CU_ASSERT_EQUAL(chat(node, seed, again), 200);
        CU_ASSERT_STRING_EQUAL(first, again); /* a prefix belongs to a rank */
        const char *rank = strrchr(first, '@');
        CU_ASSERT_PTR_NOT_NULL_FATAL(rank);
        CU_ASSERT_TRUE_FATAL(rank[1] >= '0' && rank[1] <= '2' && rank[2] == '\0');
        counts[rank[1] - '0'] += 2;
    }
    char told[64];
    snprintf(told, sizeof told, "\"rank_requests\":[%ld,%ld,%ld]", counts[0], counts[1], counts[2]);
    struct gv_world_node direct = {.port = engine->port};
    CU_ASSERT_TRUE(says(&direct, "/_mock/stats", told));
    CU_ASSERT_TRUE(says(&direct, "/_mock/stats", "\\\"data_parallel_rank\\\":"));
    CU_ASSERT_TRUE(says(&direct, "/_mock/stats", "[\"X-Data-Parallel-Rank\",\""));
    CU_ASSERT_TRUE(await_number(node, workers_path, "\"engine\"", "running", 0));
    gv_world_end(&world);
}

static void the_legs_of_a_pair_are_told_each_others_ranks(void)
{
    static const char *const ranked[] = {"--dp-size", "2", "--pd-timeout-ms", "60000", NULL};
    static const char *const aware[] = {"--dp-aware", "--pd-disaggregation", NULL};
    memset(&world, 0, sizeof world);
    struct gv_world_worker *prefill = add_engine("prefill", ranked);
    struct gv_world_worker *decode = add_engine("decode", ranked);
    struct gv_world_node *node = gv_world_add_node(&world, aware);
    CU_ASSERT_TRUE_FATAL(await_number(node, "/readiness", "", "healthy_workers", 4));
    CU_ASSERT_EQUAL(chat(node, 1, NULL), 200);
    struct gv_world_node at_prefill = {.port = prefill->port};
    struct gv_world_node at_decode = {.port = decode->port};
    CU_ASSERT_TRUE(says(&at_prefill, "/_mock/stats", "\\\"routed_dp_rank\\\":"));
    CU_ASSERT_FALSE(says(&at_prefill, "/_mock/stats", "disagg_prefill_dp_rank"));
    CU_ASSERT_TRUE(says(&at_decode, "/_mock/stats", "\\\"routed_dp_rank\\\":"));
    CU_ASSERT_TRUE(says(&at_decode, "/_mock/stats", "\\\"disagg_prefill_dp_rank\\\":"));
    gv_world_end(&world);
}

static void a_client_that_leaves_is_told_to_both_engines_of_a_pair(void)
{
    static const char *const patient[] = {"--pd-timeout-ms", "60000", NULL};
    memset(&world, 0, sizeof world);
    struct gv_world_worker *prefill = add_engine("prefill", patient);
    struct gv_world_worker *decode = add_engine("decode", patient);
    struct gv_world_node *node = gv_world_add_node(&world, NULL);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    gv_world_fault(prefill, NEVER);
    gv_world_fault(decode, NEVER);
    int fd = gv_world_send_chat(node, "nobody waits for this", true);
    CU_ASSERT_TRUE(gv_world_await_stat(prefill, "requests", 1));
    CU_ASSERT_TRUE(gv_world_await_stat(decode, "requests", 1));
    close(fd);
    CU_ASSERT_TRUE(gv_world_await_stat(prefill, "aborts", 1));
    CU_ASSERT_TRUE(gv_world_await_stat(decode, "aborts", 1));
    gv_world_end(&world);
}

static void alone_an_engine_is_told_when_it_was_asked_for(void)
{
    static const char *const asked[] = {"--abort-requests", NULL};
    for (int i = 0; i < 2; i++) {
        memset(&world, 0, sizeof world);
        struct gv_world_worker *engine = gv_world_add_worker(&world, "regular");
        struct gv_world_node *node = gv_world_add_node(&world, i == 0 ? asked : NULL);
        CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
        CU_ASSERT_EQUAL(chat(node, 1, NULL), 200); /* whole: nothing to stop */
        gv_world_fault(engine, NEVER);
        int fd = gv_world_send_chat(node, "nobody waits for this", true);
        CU_ASSERT_TRUE(gv_world_await_stat(engine, "requests", 2));
        struct gv_world_node direct = {.port = engine->port};
        CU_ASSERT_EQUAL(says(&direct, "/_mock/stats", "\\\"rid\\\":\\\"gv-"), i == 0);
        close(fd);
        CU_ASSERT_TRUE(gv_world_await_stat(engine, "in_flight", 0));
        if (i == 0) {
            CU_ASSERT_TRUE(gv_world_await_stat(engine, "aborts", 1));
        } else {
            CU_ASSERT_EQUAL(gv_world_stat(engine, "aborts"), 0);
        }
        gv_world_end(&world);
    }
}

/* What an engine can hold is counted in what its own tokens are, and alike on all nodes. */
static void all_nodes_learn_what_an_engine_holds_from_what_it_counts(void)
{
    static const char *const small[] = {"--capacity-tokens", "40000", "--bytes-per-token", "2",
                                        NULL};
    memset(&world, 0, sizeof world);
    add_engine("regular", small);
    struct gv_world_node *one = gv_world_add_node(&world, NULL);
    struct gv_world_node *two = gv_world_add_node(&world, NULL);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    CU_ASSERT_TRUE(await_number(one, workers_path, "", "capacity_blocks", 40000 * 4 / 256));
    CU_ASSERT_TRUE(await_number(two, workers_path, "", "capacity_blocks", 40000 * 4 / 256));
    static char prompt[20001];
    memset(prompt, 'a', sizeof prompt - 1);
    CU_ASSERT_EQUAL(gv_world_chat(one, prompt, NULL, 0), 200);
    CU_ASSERT_TRUE(await_number(one, workers_path, "", "capacity_blocks", 40000 * 2 / 256));
    CU_ASSERT_TRUE(await_number(two, workers_path, "", "capacity_blocks", 40000 * 2 / 256));
    struct gv_world_node *late = gv_world_add_node(&world, NULL); /* it has seen nothing */
    CU_ASSERT_TRUE(await_number(late, workers_path, "", "capacity_blocks", 40000 * 2 / 256));
    gv_world_end(&world);
}

static void a_rerank_answer_is_built_of_an_engines_scores(void)
{
    memset(&world, 0, sizeof world);
    gv_world_add_worker(&world, "regular");
    struct gv_world_node *node = gv_world_add_node(&world, NULL);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    static const char *const paths[] = {"/rerank", "/v1/rerank"};
    for (int i = 0; i < 2; i++) {
        struct gv_reply reply;
        gv_talk_ask(node->port, "POST", paths[i], NULL,
                    "{\"query\":\"q\",\"documents\":[\"a\",\"b\"],\"top_k\":1}", &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        CU_ASSERT_TRUE(reply.whole);
        static const char begins[] = "{\"results\":[{\"score\":1.000000,\"document\":\"b\"";
        CU_ASSERT_EQUAL(strncmp(reply.body, begins, sizeof begins - 1), 0);
        CU_ASSERT_PTR_NULL(strstr(reply.body, "\"document\":\"a\""));
        CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "\"object\":\"rerank\""));
        gv_reply_deinit(&reply);
    }
    gv_world_end(&world);
}

GV_SUITE("integration/engines", GV_CASE(each_kind_of_engine_is_known_by_its_answers),
         GV_CASE(what_others_sent_an_engine_is_seen_by_all_nodes),
         GV_CASE(all_nodes_learn_what_an_engine_holds_from_what_it_counts),
         GV_CASE(an_engine_with_ranks_is_a_worker_for_each),
         GV_CASE(a_rerank_answer_is_built_of_an_engines_scores),
         GV_CASE(the_legs_of_a_pair_are_told_each_others_ranks),
         GV_CASE(a_client_that_leaves_is_told_to_both_engines_of_a_pair),
         GV_CASE(alone_an_engine_is_told_when_it_was_asked_for))
