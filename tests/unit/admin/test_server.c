/*
 * test_server.c - the admin port over loopback: paths, methods, keys, /workers, and bad input.
 */
#include "grapevine/admin/server.h"
#include "support/process.h"
#include "support/suite.h"
#include "support/talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A node without a data path: fleet, forest, loads, a lone cluster, and the admin port. */
struct fixture {
    struct gv_config config;
    struct gv_proxy_shared shared;
    struct gv_admin_parts parts;
    struct gv_loop *loop;
    struct gv_cluster *cluster;
    struct gv_admin *admin;
    struct gv_fingerprint_secret secret;
    uint16_t port;
    bool ready;
};

static void publish(void *owner, const struct gv_operation *operation)
{
    (void)owner;
    (void)operation;
}

static bool is_ready(void *owner, char reason[GV_PROXY_REASON_BYTES])
{
    const struct fixture *fixture = owner;
    snprintf(reason, GV_PROXY_REASON_BYTES, "syncing");
    return fixture->ready;
}

static const struct gv_proxy_events events = {.publish = publish, .is_ready = is_ready};

static void set_up(struct fixture *fixture, char *const *flags)
{
    char *argv[16] = {"grapevine", "--node-name", "unit", "--prometheus-port", "0"};
    char *environment[] = {NULL};
    int argc = 5;
    memset(fixture, 0, sizeof *fixture);
    for (; flags != NULL && *flags != NULL; flags++) {
        argv[argc++] = *flags;
    }
    CU_ASSERT_EQUAL_FATAL(gv_config_load(argc, argv, environment, &fixture->config), GV_CONFIG_RUN);
    struct gv_proxy_shared *shared = &fixture->shared;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_new(&shared->fleet), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&shared->load), GV_OK);
    CU_ASSERT_EQUAL_FATAL(
        gv_breakers_new(gv_proxy_breaker_limits(&fixture->config), &shared->breakers), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_forest_new((struct gv_forest_limits){.max_bytes = 1 << 24,
                                                                  .touch_interval_s = 5,
                                                                  .max_keys = 16,
                                                                  .worker_blocks = 1000,
                                                                  .min_age_s = 10,
                                                                  .max_ahead_s = 60},
                                        &shared->forest),
                          GV_OK);
    for (int pool = 0; pool < GV_POOL_COUNT; pool++) {
        CU_ASSERT_EQUAL_FATAL(gv_policy_new("cache_aware",
                                            (struct gv_policy_options){.cache_threshold = 0.3,
                                                                       .balance_abs_threshold = 64,
                                                                       .balance_rel_threshold = 1.5,
                                                                       .load_bound = 1.25},
                                            shared->forest, shared->load, &shared->policies[pool]),
                              GV_OK);
    }
    const uint8_t zeros[32] = {0};
    gv_fingerprint_secret_init(&fixture->secret, zeros);
    shared->config = &fixture->config;
    shared->secret = &fixture->secret;
    shared->node_name = "unit";
    shared->loop_count = 1;
    shared->events = &events;
    shared->owner = fixture;
    fixture->ready = true;
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("unit", &fixture->loop), GV_OK);
    CU_ASSERT_EQUAL_FATAL(
        gv_cluster_open(fixture->loop,
                        &(struct gv_cluster_options){.config = &fixture->config,
                                                     .node = "unit",
                                                     .http_url = "http://127.0.0.1:1",
                                                     .fleet = shared->fleet,
                                                     .forest = shared->forest,
                                                     .load = shared->load},
                        &fixture->cluster),
        GV_OK);
    fixture->parts = (struct gv_admin_parts){.shared = shared,
                                             .cluster = fixture->cluster,
                                             .http_url = "http://127.0.0.1:1",
                                             .started_wall_ms = gv_clock_wall_ms()};
    struct gv_addr addr;
    CU_ASSERT_EQUAL_FATAL(gv_addr_parse(gv_slice_text("127.0.0.1:0"), 0, &addr), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_admin_open(fixture->loop, &fixture->parts, &addr, &fixture->admin),
                          GV_OK);
    fixture->port = gv_admin_address(fixture->admin).port;
    CU_ASSERT_EQUAL_FATAL(gv_loop_start(fixture->loop), GV_OK);
}

static void tear_down(struct fixture *fixture)
{
    gv_loop_stop(fixture->loop);
    gv_loop_join(fixture->loop);
    gv_admin_close(fixture->admin);
    gv_cluster_close(fixture->cluster);
    gv_loop_free(fixture->loop);
    for (int pool = 0; pool < GV_POOL_COUNT; pool++) {
        gv_policy_free(fixture->shared.policies[pool]);
    }
    gv_forest_free(fixture->shared.forest);
    gv_load_free(fixture->shared.load);
    gv_breakers_free(fixture->shared.breakers);
    gv_fleet_free(fixture->shared.fleet);
    gv_config_deinit(&fixture->config);
}

static int ask(struct fixture *fixture, const char *method, const char *path, const char *headers,
               const char *body, char *words, size_t size)
{
    struct gv_reply reply;
    gv_talk_ask(fixture->port, method, path, headers, body, &reply);
    int status = reply.status;
    CU_ASSERT_TRUE(reply.whole);
    if (words != NULL) {
        snprintf(words, size, "%s", reply.body);
    }
    gv_reply_deinit(&reply);
    return status;
}

struct waiting {
    struct fixture *fixture;
    const char *words;
    bool wanted;
};

static bool list_says(void *owner)
{
    const struct waiting *waiting = owner;
    char words[4000];
    ask(waiting->fixture, "GET", "/workers", NULL, NULL, words, sizeof words);
    return (strstr(words, waiting->words) != NULL) == waiting->wanted;
}

static void unknown_paths_are_404_and_wrong_methods_405(void)
{
    struct fixture fixture;
    char words[1000];
    set_up(&fixture, NULL);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/nothing", NULL, NULL, words, sizeof words), 404);
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"unknown_path\""));
    CU_ASSERT_EQUAL(ask(&fixture, "DELETE", "/workers", NULL, NULL, words, sizeof words), 405);
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/metrics", NULL, "{}", words, sizeof words), 405);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/workers/a/b", NULL, NULL, words, sizeof words), 404);
    tear_down(&fixture);
}

static void probes_are_open_and_readiness_needs_a_ready_worker(void)
{
    struct fixture fixture;
    char words[1000];
    set_up(&fixture, NULL);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/health", NULL, NULL, words, sizeof words), 200);
    CU_ASSERT_STRING_EQUAL(words, "OK");
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/readiness", NULL, NULL, words, sizeof words), 503);
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "insufficient healthy workers"));
    struct gv_worker worker = {.url = "http://127.0.0.1:9", .model_count = 1, .models = {"m"}};
    CU_ASSERT_EQUAL(gv_fleet_put(fixture.shared.fleet, &worker), GV_OK);
    CU_ASSERT_EQUAL(
        gv_fleet_set_state(fixture.shared.fleet, gv_slice_text(worker.url), GV_WORKER_READY, "", 1),
        GV_OK);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/readiness", NULL, NULL, words, sizeof words), 200);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/v1/models", NULL, NULL, words, sizeof words), 200);
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"id\":\"m\""));
    fixture.ready = false;
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/readiness", NULL, NULL, words, sizeof words), 503);
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "syncing"));
    tear_down(&fixture);
}

static void a_worker_is_added_shown_changed_and_removed(void)
{
    struct fixture fixture;
    char words[4000];
    char id[40] = "";
    char path[80];
    set_up(&fixture, NULL);
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/workers", NULL,
                        "{\"url\":\"http://127.0.0.1:9101\",\"models\":[\"m\"],\"priority\":7}",
                        words, sizeof words),
                    202);
    const char *at = strstr(words, "\"worker_id\":\"");
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    snprintf(id, sizeof id, "%.36s", at + sizeof "\"worker_id\":\"" - 1);
    snprintf(path, sizeof path, "/workers/%s", id);
    struct waiting waiting = {.fixture = &fixture, .words = id, .wanted = true};
    CU_ASSERT_TRUE(gv_test_await(list_says, &waiting, 0));
    CU_ASSERT_EQUAL(ask(&fixture, "GET", path, NULL, NULL, words, sizeof words), 200);
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"priority\":7"));
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"status\":\"pending\""));
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/workers", NULL, "{\"url\":\"http://127.0.0.1:9101\"}",
                        words, sizeof words),
                    409);
    CU_ASSERT_EQUAL(ask(&fixture, "PATCH", path, NULL, "{\"priority\":1000}", words, sizeof words),
                    202);
    waiting.words = "\"priority\":1000";
    CU_ASSERT_TRUE(gv_test_await(list_says, &waiting, 0));
    CU_ASSERT_EQUAL(ask(&fixture, "PATCH", path, NULL, "{\"priority\":1001}", words, sizeof words),
                    400);
    CU_ASSERT_EQUAL(ask(&fixture, "PATCH", path, NULL, "{\"url\":\"x\"}", words, sizeof words),
                    400);
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "'url' cannot be patched"));
    CU_ASSERT_EQUAL(
        ask(&fixture, "PUT", path, NULL, "{\"url\":\"http://127.0.0.1:1\"}", words, sizeof words),
        400);
    CU_ASSERT_EQUAL(ask(&fixture, "DELETE", path, NULL, NULL, words, sizeof words), 202);
    tear_down(&fixture);
}

/* From the answer on it can be asked for, whether or not the fleet has it yet; and it says how far
 * it is. */
static void a_worker_that_was_accepted_is_there_at_once_and_says_how_far_it_is(void)
{
    struct fixture fixture;
    char words[4000];
    char path[80];
    set_up(&fixture, NULL);
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/workers", NULL, "{\"url\":\"http://127.0.0.1:9102\"}",
                        words, sizeof words),
                    202);
    const char *at = strstr(words, "\"worker_id\":\"");
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    snprintf(path, sizeof path, "/workers/%.36s", at + sizeof "\"worker_id\":\"" - 1);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", path, NULL, NULL, words, sizeof words), 200);
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"status\":\"pending\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"job_type\":\"AddWorker\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"is_healthy\":false"));
    struct waiting waiting = {
        .fixture = &fixture, .words = "\"status\":\"processing\"", .wanted = true};
    CU_ASSERT_TRUE(gv_test_await(list_says, &waiting, 0));
    struct gv_slice url = gv_slice_text("http://127.0.0.1:9102");
    CU_ASSERT_EQUAL(gv_fleet_set_state(fixture.shared.fleet, url, GV_WORKER_REFUSED, "no", 1),
                    GV_OK);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", path, NULL, NULL, words, sizeof words), 200);
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"status\":\"failed\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"message\":\"no\""));
    CU_ASSERT_EQUAL(gv_fleet_set_state(fixture.shared.fleet, url, GV_WORKER_READY, "", 1), GV_OK);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", path, NULL, NULL, words, sizeof words), 200);
    CU_ASSERT_PTR_NULL(strstr(words, "job_status")); /* done */
    CU_ASSERT_EQUAL(ask(&fixture, "DELETE", path, NULL, NULL, words, sizeof words), 202);
    tear_down(&fixture);
}

static void a_patch_changes_what_it_names_and_leaves_the_rest(void)
{
    static const char spec[] =
        "{\"url\":\"http://127.0.0.1:9103\",\"worker_type\":\"prefill\",\"bootstrap_port\":8998,"
        "\"labels\":{\"zone\":\"a\",\"rack\":\"7\"},\"health\":{\"timeout_secs\":9}}";
    static const char patch[] =
        "{\"cost\":2.5,\"labels\":{\"zone\":\"b\",\"rack\":null},\"api_key\":\"secret\","
        "\"health\":{\"check_interval_secs\":7,\"disable_health_check\":true}}";
    static const char *const wrongs[] = {"{\"labels\":[]}",
                                         "{\"labels\":{\"a\":1}}",
                                         "{\"health\":1}",
                                         "{\"health\":{\"timeout_secs\":0}}",
                                         "{\"health\":{\"timeout_secs\":86401}}",
                                         "{\"health\":{\"disable_health_check\":1}}",
                                         "{\"worker_type\":\"decode\"}"};
    static const char *const after[] = {"\"cost\":2.5",
                                        "\"labels\":{\"zone\":\"b\"}",
                                        "\"timeout_secs\":9",
                                        "\"check_interval_secs\":7",
                                        "\"disable_health_check\":true",
                                        "\"bootstrap_port\":8998",
                                        "\"priority\":50"};
    struct fixture fixture;
    char words[4000];
    char path[80];
    set_up(&fixture, NULL);
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/workers", NULL, spec, words, sizeof words), 202);
    const char *at = strstr(words, "\"worker_id\":\"");
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    snprintf(path, sizeof path, "/workers/%.36s", at + sizeof "\"worker_id\":\"" - 1);
    struct waiting waiting = {.fixture = &fixture, .words = "\"rack\":\"7\"", .wanted = true};
    CU_ASSERT_TRUE(gv_test_await(list_says, &waiting, 0));
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        CU_ASSERT_EQUAL(ask(&fixture, "PATCH", path, NULL, wrongs[i], NULL, 0), 400);
    }
    CU_ASSERT_EQUAL(ask(&fixture, "PATCH", path, NULL, patch, words, sizeof words), 202);
    waiting.words = "\"cost\":2.5";
    CU_ASSERT_TRUE(gv_test_await(list_says, &waiting, 0));
    CU_ASSERT_EQUAL(ask(&fixture, "GET", path, NULL, NULL, words, sizeof words), 200);
    for (size_t i = 0; i < sizeof after / sizeof after[0]; i++) {
        CU_ASSERT_PTR_NOT_NULL(strstr(words, after[i]));
    }
    CU_ASSERT_PTR_NULL(strstr(words, "secret"));
    tear_down(&fixture);
}

/* Both sides of the limits; what is within them comes whole through the mesh's record. */
static void labels_have_511_bytes_and_numbers_of_health_a_day(void)
{
    struct fixture fixture;
    char words[4000];
    char path[80];
    char labels[600];
    char patch[700];
    set_up(&fixture, NULL);
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/workers", NULL, "{\"url\":\"http://127.0.0.1:9105\"}",
                        words, sizeof words),
                    202);
    const char *at = strstr(words, "\"worker_id\":\"");
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    snprintf(path, sizeof path, "/workers/%.36s", at + sizeof "\"worker_id\":\"" - 1);
    struct waiting waiting = {.fixture = &fixture, .words = ":9105", .wanted = true};
    CU_ASSERT_TRUE(gv_test_await(list_says, &waiting, 0));
    for (int len = 512; len >= 511; len--) {
        int frame = (int)strlen("{\"a\":\"\"}");
        snprintf(labels, sizeof labels, "{\"a\":\"%0*d\"}", len - frame, 7);
        CU_ASSERT_EQUAL(strlen(labels), (size_t)len);
        snprintf(patch, sizeof patch, "{\"labels\":%s,\"health\":{\"check_interval_secs\":86400}}",
                 labels);
        CU_ASSERT_EQUAL(ask(&fixture, "PATCH", path, NULL, patch, NULL, 0), len <= 511 ? 202 : 400);
    }
    waiting.words = labels;
    CU_ASSERT_TRUE(gv_test_await(list_says, &waiting, 0));
    waiting.words = "\"check_interval_secs\":86400";
    CU_ASSERT_TRUE(gv_test_await(list_says, &waiting, 0));
    tear_down(&fixture);
}

/* What was registered as one engine is changed and removed as one, by the id it was given. */
static void ranks_are_shown_changed_and_removed_by_the_id_of_their_engine(void)
{
    struct fixture fixture;
    char words[4000];
    char path[80];
    struct gv_worker engine = {.url = "http://127.0.0.1:9104"};
    set_up(&fixture, NULL);
    for (int i = 0; i < 2; i++) {
        char spec[GV_WORKER_URL_MAX + 32];
        snprintf(spec, sizeof spec, "{\"url\":\"%s@%d\"}", engine.url, i);
        CU_ASSERT_EQUAL(ask(&fixture, "POST", "/workers", NULL, spec, NULL, 0), 202);
        struct waiting waiting = {.fixture = &fixture,
                                  .words = i == 0 ? "\"dp_rank\":0" : "\"dp_rank\":1",
                                  .wanted = true};
        CU_ASSERT_TRUE(gv_test_await(list_says, &waiting, 0));
    }
    gv_worker_identify(&engine);
    snprintf(path, sizeof path, "/workers/%s", engine.id);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", path, NULL, NULL, words, sizeof words), 200);
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"url\":\"http://127.0.0.1:9104\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"dp_size\":2"));
    CU_ASSERT_EQUAL(
        ask(&fixture, "POST", "/workers", NULL, "{\"url\":\"http://127.0.0.1:9104\"}", NULL, 0),
        409);
    CU_ASSERT_EQUAL(
        ask(&fixture, "PUT", path, NULL, "{\"url\":\"http://127.0.0.1:9104\"}", NULL, 0), 400);
    CU_ASSERT_EQUAL(ask(&fixture, "PATCH", path, NULL, "{\"priority\":3}", NULL, 0), 202);
    struct waiting old = {.fixture = &fixture, .words = "\"priority\":50", .wanted = false};
    CU_ASSERT_TRUE(gv_test_await(list_says, &old, 0)); /* of both */
    CU_ASSERT_EQUAL(ask(&fixture, "DELETE", path, NULL, NULL, words, sizeof words), 202);
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"url\":\"http://127.0.0.1:9104\""));
    struct waiting gone = {.fixture = &fixture, .words = "9104@", .wanted = false};
    CU_ASSERT_TRUE(gv_test_await(list_says, &gone, 0));
    tear_down(&fixture);
}

static void a_bad_worker_is_refused_with_the_field_that_is_wrong(void)
{
    static const struct {
        const char *body;
        const char *words;
    } cases[] = {
        {"", "not a JSON object"},
        {"[]", "not a JSON object"},
        {"{\"url\":1}", "'url' is missing"},
        {"{\"url\":\"ftp://h\"}", "'url' is not of the form"},
        {"{\"url\":\"grpc://h\"}", "not of the form http://"},
        {"{\"url\":\"http://h\",\"models\":\"m\"}", "'models' must be an array"},
        {"{\"url\":\"http://h\",\"models\":[\"\"]}", "'models' must hold names"},
        {"{\"url\":\"http://h\",\"worker_type\":\"encode\"}", "regular, prefill or decode"},
        {"{\"url\":\"http://h\",\"bootstrap_port\":0}", "1 to 65535"},
        {"{\"url\":\"http://h\",\"bootstrap_port\":65536}", "1 to 65535"},
        {"{\"url\":\"http://h\",\"cost\":-1}", "'cost'"},
        {"{\"url\":\"http://h\",\"connection_mode\":\"grpc\"}", "'connection_mode'"},
        {"{\"url\":\"http://h\",\"url\":\"http://i\"}", "duplicate"},
    };
    struct fixture fixture;
    char words[1000];
    set_up(&fixture, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CU_ASSERT_EQUAL(ask(&fixture, "POST", "/workers", NULL, cases[i].body, words, sizeof words),
                        400);
        if (strstr(words, cases[i].words) == NULL) {
            printf("%s: %s\n", cases[i].body, words);
            CU_FAIL("the answer names the field");
        }
    }
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/workers/x", NULL, NULL, words, sizeof words), 400);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/workers/00000000-0000-8000-8000-000000000000", NULL,
                        NULL, words, sizeof words),
                    404);
    tear_down(&fixture);
}

static void mesh_keys_are_changed_only_with_an_api_key(void)
{
    static const char id[] = "{\"id\":\"1f0c1f0c1f0c1f0c\"}";
    static const char bearer[] = "Authorization: Bearer sesame\r\n";
    struct fixture fixture;
    set_up(&fixture, NULL); /* everything else is open on this node */
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/grapevine/v1/keys", NULL, NULL, NULL, 0), 200);
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/grapevine/v1/keys/use", NULL, id, NULL, 0), 403);
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/grapevine/v1/keys/retire", NULL, id, NULL, 0), 403);
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/grapevine/v1/keys/install", NULL, id, NULL, 0), 403);
    tear_down(&fixture);
    char *flags[] = {"--api-key", "sesame", NULL};
    set_up(&fixture, flags);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/grapevine/v1/keys", NULL, NULL, NULL, 0), 401);
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/grapevine/v1/keys/use", NULL, id, NULL, 0), 401);
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/grapevine/v1/keys/use", bearer, id, NULL, 0), 409);
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/grapevine/v1/keys/use", bearer, "[]", NULL, 0), 400);
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/grapevine/v1/keys/use", bearer, "{\"id\":1}", NULL, 0),
                    400);
    tear_down(&fixture);
}

/* Every path that a router answers itself, and whether everybody may ask for it. */
static const struct {
    const char *method;
    const char *path;
    bool open;
} doors[] = {
    {"GET", "/metrics", true},
    {"GET", "/health", true},
    {"GET", "/liveness", true},
    {"GET", "/readiness", true},
    {"GET", "/v1/models", true},
    {"GET", "/get_model_info", true},
    {"GET", "/get_server_info", true},
    {"GET", "/health_generate", true},
    {"POST", "/flush_cache", false},
    {"GET", "/get_loads", false},
    {"GET", "/workers", false},
    {"POST", "/workers", false},
    {"GET", "/workers/x", false},
    {"PUT", "/workers/x", false},
    {"PATCH", "/workers/x", false},
    {"DELETE", "/workers/x", false},
    {"GET", "/grapevine/v1/status", false},
    {"GET", "/grapevine/v1/nodes", false},
    {"GET", "/grapevine/v1/workers", false},
    {"GET", "/grapevine/v1/trees", false},
    {"GET", "/grapevine/v1/digest", false},
    {"GET", "/grapevine/v1/keys", false},
    {"POST", "/grapevine/v1/keys/install", false},
    {"POST", "/grapevine/v1/keys/use", false},
    {"POST", "/grapevine/v1/keys/retire", false},
    {"GET", "/grapevine/v1/settings", false},
    {"PUT", "/grapevine/v1/settings/log-level", false},
    {"DELETE", "/grapevine/v1/settings/log-level", false},
    {"POST", "/grapevine/v1/explain", false},
};

static void every_door_but_the_open_ones_wants_an_admins_key(void)
{
    static const struct {
        const char *header;
        int refused; /* 0: let in */
    } visitors[] = {
        {NULL, 401},
        {"Authorization: Bearer sesame\r\n", 401}, /* a client's */
        {"Authorization: Bearer bobs\r\n", 403},   /* a user's */
        {"Authorization: Bearer \r\n", 401},
        {"Authorization: Basic anns\r\n", 401},
        {"Authorization: Bearer anns\r\n", 0},
    };
    struct fixture fixture;
    char *flags[] = {"--api-key",
                     "sesame",
                     "--control-plane-api-keys",
                     "1:ann:admin:anns",
                     "--control-plane-api-keys",
                     "2:bob:user:bobs",
                     NULL};
    set_up(&fixture, flags);
    for (size_t i = 0; i < sizeof doors / sizeof doors[0]; i++) {
        for (size_t k = 0; k < sizeof visitors / sizeof visitors[0]; k++) {
            int status = ask(&fixture, doors[i].method, doors[i].path, visitors[k].header,
                             strcmp(doors[i].method, "POST") == 0 ? "{" : NULL, NULL, 0);
            if (doors[i].open || visitors[k].refused == 0) {
                CU_ASSERT(status != 401 && status != 403 && status != 405);
            } else {
                CU_ASSERT_EQUAL(status, visitors[k].refused);
            }
        }
    }
    tear_down(&fixture);
}

static void keys_guard_what_is_not_public(void)
{
    struct fixture fixture;
    char *flags[] = {"--api-key", "sesame", NULL};
    set_up(&fixture, flags);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/workers", NULL, NULL, NULL, 0), 401);
    CU_ASSERT_EQUAL(
        ask(&fixture, "GET", "/workers", "Authorization: Bearer sesam\r\n", NULL, NULL, 0), 401);
    CU_ASSERT_EQUAL(
        ask(&fixture, "GET", "/workers", "Authorization: bearer sesame\r\n", NULL, NULL, 0), 401);
    CU_ASSERT_EQUAL(
        ask(&fixture, "GET", "/workers", "Authorization: Bearer sesame\r\n", NULL, NULL, 0), 200);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/grapevine/v1/status", NULL, NULL, NULL, 0), 401);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/metrics", NULL, NULL, NULL, 0), 200);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/health", NULL, NULL, NULL, 0), 200);
    tear_down(&fixture);
}

static void control_plane_keys_have_roles_and_only_admins_come_in(void)
{
    struct fixture fixture;
    char words[1000];
    char *flags[] = {"--api-key",
                     "sesame",
                     "--control-plane-api-keys",
                     "1:ann:admin:a:b",
                     "--control-plane-api-keys",
                     "2:bob:user:bobs",
                     NULL};
    set_up(&fixture, flags);
    struct gv_reply reply;
    gv_talk_ask(fixture.port, "GET", "/workers", NULL, NULL, &reply);
    char value[64] = "";
    CU_ASSERT_EQUAL(reply.status, 401);
    CU_ASSERT_TRUE(gv_reply_header(&reply, "WWW-Authenticate", value, sizeof value));
    CU_ASSERT_STRING_EQUAL(value, "Bearer realm=\"control-plane\"");
    gv_reply_deinit(&reply);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/workers", "Authorization: Bearer sesame\r\n", NULL,
                        words, sizeof words),
                    401); /* the clients' */
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "Invalid authentication token"));
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/workers", "Authorization: Bearer bobs\r\n", NULL, words,
                        sizeof words),
                    403);
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "Admin role required for control plane access"));
    CU_ASSERT_EQUAL(
        ask(&fixture, "GET", "/workers", "Authorization: Bearer a:b\r\n", NULL, NULL, 0), 200);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/workers", "Authorization: Bearer a\r\n", NULL, NULL, 0),
                    401);
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/workers", "Authorization: Bearer bobs\r\n",
                        "{\"url\":\"http://127.0.0.1:9\"}", NULL, 0),
                    403);
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/workers", "Authorization: Bearer a:b\r\n",
                        "{\"url\":\"http://127.0.0.1:9\"}", NULL, 0),
                    202);
    CU_ASSERT_EQUAL(ask(&fixture, "GET", "/health", NULL, NULL, NULL, 0), 200);
    tear_down(&fixture);
}

static void explain_names_the_winner_and_the_candidates(void)
{
    struct fixture fixture;
    char words[4000];
    static const char body[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\","
                               "\"content\":\"hello\"}]}";
    set_up(&fixture, NULL);
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/grapevine/v1/explain", NULL, body, words, sizeof words),
                    200);
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"worker\":\"\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"problem\":\"no_available_workers\""));
    for (int i = 0; i < 2; i++) {
        struct gv_worker worker = {.model_count = 1, .models = {"m"}};
        snprintf(worker.url, sizeof worker.url, "http://127.0.0.1:%d", 9 + i);
        CU_ASSERT_EQUAL(gv_fleet_put(fixture.shared.fleet, &worker), GV_OK);
        CU_ASSERT_EQUAL(gv_fleet_set_state(fixture.shared.fleet, gv_slice_text(worker.url),
                                           GV_WORKER_READY, "", 1),
                        GV_OK);
    }
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/grapevine/v1/explain", NULL, body, words, sizeof words),
                    200);
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"key\":\"regular::m\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"rule\":\"miss\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(words, "\"eligible\":2"));
    CU_ASSERT_EQUAL(ask(&fixture, "POST", "/grapevine/v1/explain?endpoint=%2Fnope", NULL, body,
                        words, sizeof words),
                    400);
    tear_down(&fixture);
}

static void every_metric_has_help_and_type_and_the_port_keeps_connections(void)
{
    struct fixture fixture;
    struct gv_reply reply;
    set_up(&fixture, NULL);
    int fd = gv_talk_connect(fixture.port);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_TRUE(gv_talk_send_text(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
        gv_talk_read(fd, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "# TYPE gv_info gauge"));
        CU_ASSERT_PTR_NOT_NULL(
            strstr(reply.body, "gv_workers{pool=\"regular\",state=\"ready\"} 0"));
        gv_reply_deinit(&reply);
    }
    CU_ASSERT_TRUE(gv_talk_send_text(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"));
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 400);
    gv_reply_deinit(&reply);
    char byte;
    CU_ASSERT_EQUAL(read(fd, &byte, 1), 0); /* closed after a broken request */
    close(fd);
    tear_down(&fixture);
}

GV_SUITE("admin/server", GV_CASE(unknown_paths_are_404_and_wrong_methods_405),
         GV_CASE(probes_are_open_and_readiness_needs_a_ready_worker),
         GV_CASE(a_worker_is_added_shown_changed_and_removed),
         GV_CASE(a_worker_that_was_accepted_is_there_at_once_and_says_how_far_it_is),
         GV_CASE(a_patch_changes_what_it_names_and_leaves_the_rest),
         GV_CASE(labels_have_511_bytes_and_numbers_of_health_a_day),
         GV_CASE(ranks_are_shown_changed_and_removed_by_the_id_of_their_engine),
         GV_CASE(a_bad_worker_is_refused_with_the_field_that_is_wrong),
         GV_CASE(keys_guard_what_is_not_public),
         GV_CASE(every_door_but_the_open_ones_wants_an_admins_key),
         GV_CASE(control_plane_keys_have_roles_and_only_admins_come_in),
         GV_CASE(mesh_keys_are_changed_only_with_an_api_key),
         GV_CASE(explain_names_the_winner_and_the_candidates),
         GV_CASE(every_metric_has_help_and_type_and_the_port_keeps_connections))
