/*
 * test_vinectl.c - the CLI against real nodes: verdict lines, exit codes.
 */
#include "support/fake.h"
#include "support/suite.h"
#include "support/world.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static char last[2000]; /* line of the last run's output */
static char all[20000]; /* its whole output, cut when longer */

/* Run vinectl against a port; its exit code. */
static int run(uint16_t port, const char *const *args)
{
    struct gv_process vinectl;
    char endpoint[64];
    const char *argv[16] = {"vinectl", "--endpoint", endpoint};
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u", (unsigned)port);
    for (int i = 0; args[i] != NULL && i < 12; i++) {
        argv[3 + i] = args[i];
    }
    CU_ASSERT_TRUE_FATAL(gv_process_start(&vinectl, "vinectl", argv));
    int code = gv_process_wait(&vinectl);
    FILE *file = fopen(vinectl.log, "re");
    char line[sizeof last];
    last[0] = '\0';
    all[0] = '\0';
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        snprintf(last, sizeof last, "%s", line);
        strncat(all, line, sizeof all - strlen(all) - 1);
    }
    if (file != NULL) {
        fclose(file);
    }
    return code;
}

static bool said(const char *words)
{
    bool found = strstr(last, words) != NULL;
    if (!found) {
        printf("expected '%s' in: %s\n", words, last);
    }
    return found;
}

static void any_node_shows_the_whole_cluster_and_ends_with_a_verdict(void)
{
    struct gv_world world = {.node_count = 0};
    gv_world_add_worker(&world, "regular");
    gv_world_add_worker(&world, "regular");
    for (int i = 0; i < 3; i++) {
        gv_world_add_node(&world, NULL);
    }
    CU_ASSERT_TRUE_FATAL(gv_world_await_members(&world, 3));
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    CU_ASSERT_EQUAL(gv_world_chat(&world.nodes[0], "some words to remember", NULL, 0), 200);
    CU_ASSERT_TRUE_FATAL(gv_world_await_agreement(&world));
    for (int i = 0; i < 3; i++) {
        uint16_t port = i < 2 ? world.nodes[i].port : world.nodes[i].metrics_port;
        CU_ASSERT_EQUAL(run(port, ARGS("status")), 0);
        CU_ASSERT_TRUE(said("healthy: 3 nodes"));
        CU_ASSERT_TRUE(said("2 of 2 workers ready"));
    }
    uint16_t port = world.nodes[1].port;
    CU_ASSERT_EQUAL(run(port, ARGS("nodes")), 0);
    CU_ASSERT_TRUE(said("healthy: 3 of 3 nodes alive"));
    CU_ASSERT_EQUAL(run(port, ARGS("workers")), 0);
    CU_ASSERT_TRUE(said("healthy: 2 of 2 workers ready"));
    CU_ASSERT_PTR_NOT_NULL(strstr(all, "as told"));
    CU_ASSERT_EQUAL(run(port, ARGS("tree")), 0);
    CU_ASSERT_TRUE(said("healthy: 1 tries"));
    CU_ASSERT_EQUAL(run(port, ARGS("diff", "--deep")), 0);
    CU_ASSERT_TRUE(said("healthy: all 3 nodes"));

    char path[200];
    snprintf(path, sizeof path, "%s/request.json", gv_test_folder());
    FILE *file = fopen(path, "we");
    char *body = gv_world_chat_body("some words to remember", false);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(body, file);
    fclose(file);
    free(body);
    CU_ASSERT_EQUAL(run(port, ARGS("explain", path)), 0);
    CU_ASSERT_TRUE(said("healthy: all 3 nodes that answered choose http://"));
    CU_ASSERT_PTR_NOT_NULL(strstr(all, "SCORE"));
    CU_ASSERT_EQUAL(run(port, ARGS("explain", "--all-nodes", path)), 0); /* the same, said */
    CU_ASSERT_TRUE(said("healthy: all 3 nodes that answered choose http://"));
    CU_ASSERT_EQUAL(run(port, ARGS("explain", "--one-node", path)), 0);
    CU_ASSERT_TRUE(said("healthy: all 1 nodes that answered choose http://"));
    CU_ASSERT_EQUAL(run(port, ARGS("explain", "-o", "json", path)), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(all, "\"agree\": true"));
    CU_ASSERT_PTR_NOT_NULL(strstr(all, "\"score\":"));

    gv_process_kill(&world.nodes[2].process);
    CU_ASSERT_TRUE(gv_world_await_members(&world, 2));
    CU_ASSERT_EQUAL(run(port, ARGS("status")), 1);
    CU_ASSERT_TRUE(said("DEGRADED: 1 of 3 nodes are not alive"));
    gv_world_end(&world);
}

static void what_headers_would_decide_can_be_explained(void)
{
    static const char *const flags[] = {"--policy", "consistent_hashing", NULL};
    struct gv_world world = {.node_count = 0};
    gv_world_add_worker(&world, "regular");
    gv_world_add_worker(&world, "regular");
    struct gv_world_node *node = gv_world_add_node(&world, flags);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    char path[200];
    snprintf(path, sizeof path, "%s/request.json", gv_test_folder());
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs("{\"model\":\"mock-model\",\"messages\":[]}", file);
    fclose(file);
    for (size_t i = 0; i < 2; i++) {
        char choice[128];
        snprintf(choice, sizeof choice, "healthy: all 1 nodes that answered choose %s",
                 world.workers[i].url);
        CU_ASSERT_EQUAL(
            run(node->port, ARGS("explain", "--target-worker", world.workers[i].url, path)), 0);
        CU_ASSERT_TRUE(said(choice));
        CU_ASSERT_PTR_NOT_NULL(strstr(all, "the request names it"));
    }
    CU_ASSERT_EQUAL(run(node->port, ARGS("explain", "--target-worker", "9", path)), 1);
    CU_ASSERT_TRUE(said("DEGRADED: no worker would take it: target_worker_unavailable"));
    CU_ASSERT_EQUAL(run(node->port, ARGS("explain", "--routing-key", "a key & more", path)), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(all, "the routing key has it"));
    CU_ASSERT_EQUAL(run(node->port, ARGS("explain", path)), 0);
    CU_ASSERT_PTR_NULL(strstr(all, "the routing key has it"));
    gv_world_end(&world);
}

static bool printed(const char *words)
{
    bool found = strstr(all, words) != NULL;
    if (!found) {
        printf("expected '%s' in: %s\n", words, all);
    }
    return found;
}

/* The number that follows the first of these words; -1: they are not there. */
static double number_behind(const char *words)
{
    const char *at = strstr(all, words);
    return at == NULL ? -1 : strtod(at + strlen(words), NULL);
}

/* For gv_test_await(): the first two nodes have given up the third. */
static bool is_given_up(void *owner)
{
    struct gv_world *world = owner;
    bool dead = true;
    for (int i = 0; i < 2; i++) {
        struct gv_reply reply;
        gv_talk_ask(world->nodes[i].port, "GET", "/grapevine/v1/nodes", NULL, NULL, &reply);
        dead = dead && strstr(reply.body, "\"status\":\"dead\"") != NULL;
        gv_reply_deinit(&reply);
    }
    return dead;
}

static void every_node_is_asked_for_its_opinion_of_every_other(void)
{
    struct gv_world world = {.node_count = 0};
    gv_world_add_worker(&world, "regular");
    for (int i = 0; i < 3; i++) {
        gv_world_add_node(&world, NULL);
    }
    uint16_t port = world.nodes[0].port;
    CU_ASSERT_TRUE_FATAL(gv_world_await_members(&world, 3));
    CU_ASSERT_EQUAL(run(port, ARGS("wait", "--for", "ready", "--nodes", "3")), 0);
    CU_ASSERT_TRUE(said("healthy: ready after"));
    CU_ASSERT_EQUAL(gv_world_chat(&world.nodes[0], "some words to remember", NULL, 0), 200);
    CU_ASSERT_EQUAL(run(port, ARGS("wait", "--for", "converged", "--nodes", "3")), 0);
    CU_ASSERT_TRUE(said("healthy: converged after"));

    CU_ASSERT_EQUAL(run(port, ARGS("reachability")), 0);
    CU_ASSERT_TRUE(said("healthy: all 3 nodes reach each other"));
    CU_ASSERT_EQUAL(run(port, ARGS("nodes", "-o", "wide")), 0);
    CU_ASSERT_TRUE(printed("OTHERS SAY"));
    CU_ASSERT_TRUE(printed("2 of 2 alive"));
    CU_ASSERT_EQUAL(run(port, ARGS("gossip")), 0);
    CU_ASSERT_TRUE(printed("REFUSED"));
    CU_ASSERT_TRUE(said("healthy: 3 nodes answered"));
    CU_ASSERT_EQUAL(run(port, ARGS("gossip", "-o", "json")), 0);
    CU_ASSERT_TRUE(printed("\"operations_published\": 1"));
    CU_ASSERT_TRUE(number_behind("\"packet_bytes_sent\": ") > 0); /* questions never rest */
    CU_ASSERT_TRUE(number_behind("\"packet_bytes_received\": ") > 0);

    gv_process_kill(&world.nodes[2].process);
    CU_ASSERT_TRUE(gv_test_await(is_given_up, &world, 0));
    CU_ASSERT_EQUAL(run(port, ARGS("reachability")), 1);
    CU_ASSERT_TRUE(said("0 one-sided pairs, 0 pairs apart, 1 nodes silent"));
    CU_ASSERT_EQUAL(run(port, ARGS("nodes", "-o", "wide")), 1);
    CU_ASSERT_TRUE(printed("0 of 2 alive; node-a: dead; node-b: dead"));
    /* The two that are left agree; ready would mean all three. */
    CU_ASSERT_EQUAL(run(port, ARGS("wait", "--for", "converged")), 0);
    CU_ASSERT_EQUAL(run(port, ARGS("wait", "--for", "ready", "--timeout", "0.3")), 124);
    CU_ASSERT_TRUE(said("TIMEOUT: not ready after"));
    CU_ASSERT_EQUAL(
        run(port, ARGS("wait", "--for", "converged", "--nodes", "3", "--timeout", "0.3")), 124);
    CU_ASSERT_TRUE(said("3 nodes, 2 alive, 2 ready, 0 silent, all in one state; --nodes wants 3"));
    gv_world_end(&world);
}

/* Every kind of repair, refusal and drop has a column, and what is wrong an alarm. */
static void gossip_shows_what_is_refused_and_what_somebody_must_look_at(void)
{
    struct gv_world world = {.node_count = 0};
    const char *const other[] = {"--cluster-id", "another", NULL};
    gv_world_add_node(&world, NULL);
    gv_world_add_node(&world, other);
    uint16_t port = world.nodes[1].port;
    CU_ASSERT_TRUE_FATAL(gv_process_await(&world.nodes[1].process, "alarm=peers_refused", NULL, 0));
    (void)run(port, ARGS("gossip", "-o", "wide"));
    CU_ASSERT_TRUE(printed("REFUSED-PEERS"));
    CU_ASSERT_TRUE(printed("MENDED"));
    CU_ASSERT_TRUE(printed("peers_refused: a peer was refused in the last minute"));
    (void)run(port, ARGS("status"));
    CU_ASSERT_TRUE(printed("alarms: node-b: peers_refused"));
    gv_world_end(&world);
}

static void settings_are_listed_set_and_unset_on_all_nodes(void)
{
    struct gv_world world = {.node_count = 0};
    for (int i = 0; i < 2; i++) {
        gv_world_add_node(&world, NULL);
    }
    CU_ASSERT_TRUE_FATAL(gv_world_await_members(&world, 2));
    uint16_t port = world.nodes[0].port;
    CU_ASSERT_EQUAL(run(port, ARGS("settings", "list")), 0);
    CU_ASSERT_TRUE(said("healthy: 2 nodes go by the same settings"));
    CU_ASSERT_EQUAL(run(port, ARGS("settings", "set", "balance-abs-threshold", "7")), 0);
    CU_ASSERT_TRUE(said("balance-abs-threshold: set to 7"));
    CU_ASSERT_TRUE(gv_world_await_agreement(&world));
    CU_ASSERT_EQUAL(run(world.nodes[1].port, ARGS("settings", "list")), 0);
    CU_ASSERT_TRUE(printed("balance-abs-threshold  7      setting"));
    CU_ASSERT_EQUAL(run(port, ARGS("settings", "set", "balance-abs-threshold", "many")), 2);
    CU_ASSERT_TRUE(said("balance-abs-threshold: 'many' is not a whole number in 0..4294967295"));
    CU_ASSERT_EQUAL(run(port, ARGS("settings", "unset", "balance-abs-threshold")), 0);
    CU_ASSERT_EQUAL(run(port, ARGS("settings", "change")), 2);
    gv_world_end(&world);
}

static void waiting_goes_on_while_nobody_answers(void)
{
    CU_ASSERT_EQUAL(run(1, ARGS("wait", "--for", "ready", "--timeout", "0.3")), 124);
    CU_ASSERT_TRUE(said("TIMEOUT: http://127.0.0.1:1 did not answer for 0."));
}

static void a_mistake_in_the_call_names_itself_and_exits_with_2(void)
{
    CU_ASSERT_EQUAL(run(1, ARGS("stats")), 2);
    CU_ASSERT_TRUE(said("there is no command 'stats'"));
    CU_ASSERT_EQUAL(run(1, ARGS("--colour", "status")), 2);
    CU_ASSERT_TRUE(said("unknown flag '--colour'"));
    CU_ASSERT_EQUAL(run(1, ARGS("--timeout", "0.09", "status")), 2);
    CU_ASSERT_TRUE(said("0.1 to 600"));
    CU_ASSERT_EQUAL(run(1, ARGS("--timeout", "601", "status")), 2);
    CU_ASSERT_EQUAL(run(1, ARGS("explain")), 2);
    CU_ASSERT_EQUAL(run(1, ARGS("wait")), 2);
    CU_ASSERT_EQUAL(run(1, ARGS("wait", "--for", "godot")), 2);
    CU_ASSERT_TRUE(said("--for converged or --for ready"));
    CU_ASSERT_EQUAL(run(1, ARGS("--nodes", "0", "wait", "--for", "ready")), 2);
    CU_ASSERT_EQUAL(run(1, ARGS("--nodes", "2049", "wait", "--for", "ready")), 2);
    CU_ASSERT_EQUAL(run(1, ARGS("-o", "xml", "nodes")), 2);
    CU_ASSERT_EQUAL(run(1, ARGS("nodes", "wide")), 2);
    CU_ASSERT_TRUE(said("nodes takes no argument: 'wide'"));
    CU_ASSERT_EQUAL(run(1, ARGS("--endpoint", "router-1:30000", "nodes")), 2);
    CU_ASSERT_TRUE(said("'router-1:30000' is not http://HOST:PORT"));
    CU_ASSERT_EQUAL(run(1, ARGS("keys", "generate", "/nowhere/at/all")), 1);
    CU_ASSERT_TRUE(said("cannot write /nowhere/at/all: No such file or directory"));
    CU_ASSERT_EQUAL(run(1, ARGS("keys", "install", "/nowhere", "--mesh-keyring", "/nowhere")), 2);
    CU_ASSERT_TRUE(said("/nowhere: no such file; make one with: vinectl keys generate"));
    CU_ASSERT_EQUAL(run(1, ARGS("keys", "use", "12")), 2);
    CU_ASSERT_TRUE(said("'12' is no key id"));
}

static void each_command_says_what_it_does(void)
{
    static const char *const names[] = {"status", "nodes",   "reachability", "gossip",
                                        "wait",   "workers", "tree",         "explain",
                                        "diff",   "keys",    "settings"};
    CU_ASSERT_EQUAL(run(1, ARGS("--help")), 0);
    char whole[sizeof all];
    snprintf(whole, sizeof whole, "%s", all);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char line[64];
        snprintf(line, sizeof line, "\n  %s", names[i]);
        CU_ASSERT_PTR_NOT_NULL(strstr(whole, line));
        CU_ASSERT_EQUAL(run(1, ARGS(names[i], "--help")), 0);
        snprintf(line, sizeof line, "vinectl %s - ", names[i]);
        CU_ASSERT_EQUAL(strncmp(all, line, strlen(line)), 0);
        snprintf(line, sizeof line, "Usage: vinectl [flags] %s", names[i]);
        CU_ASSERT_TRUE(printed(line));
    }
    CU_ASSERT_EQUAL(run(1, ARGS("keys", "retire", "-h")), 0);
    CU_ASSERT_TRUE(printed("keys retire ID"));
}

static void a_silent_node_exits_with_3(void)
{
    CU_ASSERT_EQUAL(run(1, ARGS("status")), 3);
    CU_ASSERT_TRUE(
        said("http://127.0.0.1:1: the connection was refused; is a node running there?"));
}

static void a_cluster_with_a_key_asks_for_it(void)
{
    struct gv_world world = {.node_count = 0};
    char path[200];
    snprintf(path, sizeof path, "%s/api.key", gv_test_folder());
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs("sesame\n", file);
    fclose(file);
    gv_world_add_worker(&world, "regular");
    struct gv_world_node *node = gv_world_add_node(&world, ARGS("--api-key", "sesame"));
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    CU_ASSERT_EQUAL(run(node->port, ARGS("workers")), 5);
    CU_ASSERT_EQUAL(run(node->port, ARGS("--api-key-file", path, "workers")), 0);
    CU_ASSERT_EQUAL(gv_world_chat(node, "no key", NULL, 0), 401);
    gv_world_end(&world);
}

static void keys_are_made_with_mode_0600_and_never_overwritten(void)
{
    char path[200];
    snprintf(path, sizeof path, "%s/mesh.keys", gv_test_folder());
    CU_ASSERT_EQUAL(run(1, ARGS("keys", "generate", path)), 0);
    CU_ASSERT_TRUE(said("--mesh-keyring"));
    CU_ASSERT_EQUAL(run(1, ARGS("keys", "generate", path)), 2);
    CU_ASSERT_TRUE(said("never overwritten"));
}

/* ---- answers that real nodes give only in situations that take long to bring about --------------
 */

static atomic_size_t made_up_nodes; /* members that the made-up node tells of; itself among them */
static atomic_size_t made_up_sessions; /* of them in session with it */
static atomic_bool made_up_differ; /* the second answer to a question for a digest is another one */
static atomic_int digests_asked;   /* of which each second one is the other node's */

static void say_json(int fd, const char *body)
{
    char head[128];
    snprintf(head, sizeof head,
             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
             strlen(body));
    gv_fake_say(fd, head);
    gv_fake_say(fd, body);
}

static bool make_up(struct gv_fake *fake, int fd)
{
    static _Thread_local char body[64 * 1024];
    size_t len = 0;
    if (gv_fake_was_sent(fake, "/grapevine/v1/digest")) {
        bool is_other = made_up_differ && atomic_fetch_add(&digests_asked, 1) % 2 == 1;
        snprintf(body, sizeof body, "{\"digest\":\"%s\",\"deep\":\"dd\"}", is_other ? "bb" : "aa");
    } else {
        len += (size_t)snprintf(body, sizeof body, "{\"node\":\"n0\",\"nodes\":[");
        for (size_t i = 0; i < made_up_nodes; i++) {
            len += (size_t)snprintf(
                body + len, sizeof body - len,
                "%s{\"name\":\"n%zu\",\"status\":\"alive\",\"self\":%s,\"connected\":%s,"
                "\"http_url\":\"%s\"}",
                i == 0 ? "" : ",", i, i == 0 ? "true" : "false",
                i > 0 && i <= made_up_sessions ? "true" : "false", fake->url);
        }
        snprintf(body + len, sizeof body - len, "]}");
    }
    say_json(fd, body);
    return false;
}

static void answers_that_are_made_up_are_judged_rightly(void)
{
    static struct gv_fake fake;
    gv_fake_start(&fake, make_up);
    /* Beyond 32 nodes most have no session with each other, and are well. */
    made_up_nodes = 40;
    made_up_sessions = 10;
    CU_ASSERT_EQUAL(run(fake.port, ARGS("nodes")), 0);
    CU_ASSERT_TRUE(said("healthy: 40 of 40 nodes alive, 10 in session with n0"));
    made_up_nodes = 24;
    CU_ASSERT_EQUAL(run(fake.port, ARGS("nodes")), 1);
    CU_ASSERT_TRUE(said("DEGRADED: 11 of 24 nodes alive and connected, seen from n0"));
    made_up_sessions = 23;
    CU_ASSERT_EQUAL(run(fake.port, ARGS("nodes")), 0);
    /* Equal tries are not all: records and floors belong to the state, too. */
    made_up_nodes = 2;
    CU_ASSERT_EQUAL(run(fake.port, ARGS("diff", "--deep")), 0);
    made_up_differ = true;
    CU_ASSERT_EQUAL(run(fake.port, ARGS("diff", "--deep")), 1);
    CU_ASSERT_TRUE(said("DEGRADED: 2 nodes hold 2 different states"));
    gv_fake_stop(&fake);
}

/* The id of the first key of a ring file. */
static void read_id(const char *path, char id[64])
{
    FILE *file = fopen(path, "re");
    char line[256];
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    while (fgets(line, sizeof line, file) != NULL && sscanf(line, "key %63s", id) != 1) {
    }
    fclose(file);
}

struct members {
    uint16_t port;
    const char *key_file;
};

static bool are_three_with_the_same_keys(void *owner)
{
    const struct members *members = owner;
    return run(members->port, ARGS("--api-key-file", members->key_file, "keys", "list")) == 0 &&
           strstr(last, "3 nodes have the same keys") != NULL;
}

/* generate, install, use, retire: each on all three nodes, or on none. */
static void keys_are_rotated_on_all_nodes_step_by_step(void)
{
    struct gv_world world = {.node_count = 0};
    char rings[3][200];
    char fresh[200];
    char key_file[200];
    char id[64] = "";
    char old[64] = "";
    snprintf(key_file, sizeof key_file, "%s/rotate.key", gv_test_folder());
    snprintf(fresh, sizeof fresh, "%s/fresh.keys", gv_test_folder());
    FILE *file = fopen(key_file, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs("sesame\n", file);
    fclose(file);
    snprintf(rings[0], sizeof rings[0], "%s/node0.keys", gv_test_folder());
    CU_ASSERT_EQUAL(run(1, ARGS("keys", "generate", rings[0])), 0);
    CU_ASSERT_EQUAL(run(1, ARGS("keys", "generate", fresh)), 0);
    for (int i = 0; i < 3; i++) {
        if (i > 0) {
            char command[512];
            snprintf(rings[i], sizeof rings[i], "%s/node%d.keys", gv_test_folder(), i);
            snprintf(command, sizeof command, "cp -p %s %s", rings[0], rings[i]);
            CU_ASSERT_EQUAL_FATAL(system(command), 0);
        }
        gv_world_add_node(&world, ARGS("--api-key", "sesame", "--mesh-keyring", rings[i]));
    }
    uint16_t port = world.nodes[1].port;
    struct members members = {port, key_file};
    CU_ASSERT_TRUE_FATAL(gv_test_await(are_three_with_the_same_keys, &members, 0));
    read_id(fresh, id);
    read_id(rings[0], old);

    CU_ASSERT_EQUAL(run(port, ARGS("--api-key-file", key_file, "keys", "use", id)), 1);
    CU_ASSERT_TRUE(said("no node has the key"));
    CU_ASSERT_EQUAL(run(port, ARGS("keys", "list")), 5);
    CU_ASSERT_EQUAL(run(port, ARGS("--api-key-file", key_file, "--mesh-keyring", rings[0], "keys",
                                   "install", fresh)),
                    0);
    CU_ASSERT_TRUE(said("done on all 3 nodes"));
    CU_ASSERT_EQUAL(run(port, ARGS("--api-key-file", key_file, "keys", "retire", old)), 1);
    CU_ASSERT_TRUE(said("still uses"));
    CU_ASSERT_EQUAL(run(port, ARGS("--api-key-file", key_file, "keys", "use", id)), 0);
    CU_ASSERT_EQUAL(run(port, ARGS("--api-key-file", key_file, "keys", "retire", old)), 0);
    CU_ASSERT_TRUE(said("done on all 3 nodes"));
    CU_ASSERT_EQUAL(run(port, ARGS("--api-key-file", key_file, "keys", "list")), 0);
    CU_ASSERT_TRUE(said("healthy: 3 nodes have the same keys"));
    /* Taken again, or mistyped: nobody has it. */
    CU_ASSERT_EQUAL(run(port, ARGS("--api-key-file", key_file, "keys", "retire", old)), 1);
    CU_ASSERT_TRUE(said("no node has the key"));
    char kept[64] = "";
    read_id(rings[2], kept);
    CU_ASSERT_STRING_EQUAL(kept, id);
    CU_ASSERT_TRUE(gv_test_await(are_three_with_the_same_keys, &members, 0));
    /* Who is away meanwhile would come back with what it has now. */
    gv_process_signal(&world.nodes[2].process, SIGTERM);
    CU_ASSERT_EQUAL(gv_process_wait(&world.nodes[2].process), 0);
    CU_ASSERT_EQUAL(run(port, ARGS("--api-key-file", key_file, "keys", "use", id)), 0);
    CU_ASSERT_TRUE(printed("1 nodes have left: whoever of them starts again needs the ring"));
    CU_ASSERT_TRUE(printed("done on all 2 nodes"));
    gv_world_end(&world);
}

GV_SUITE("integration/vinectl", GV_CASE(any_node_shows_the_whole_cluster_and_ends_with_a_verdict),
         GV_CASE(what_headers_would_decide_can_be_explained),
         GV_CASE(every_node_is_asked_for_its_opinion_of_every_other),
         GV_CASE(gossip_shows_what_is_refused_and_what_somebody_must_look_at),
         GV_CASE(settings_are_listed_set_and_unset_on_all_nodes),
         GV_CASE(waiting_goes_on_while_nobody_answers),
         GV_CASE(a_mistake_in_the_call_names_itself_and_exits_with_2),
         GV_CASE(each_command_says_what_it_does), GV_CASE(a_silent_node_exits_with_3),
         GV_CASE(answers_that_are_made_up_are_judged_rightly),
         GV_CASE(a_cluster_with_a_key_asks_for_it),
         GV_CASE(keys_are_made_with_mode_0600_and_never_overwritten),
         GV_CASE(keys_are_rotated_on_all_nodes_step_by_step))
