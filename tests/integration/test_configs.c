/*
 * test_configs.c - every folder of cluster-configs/ starts as its README says: the files as they
 * are, with only addresses and ports of this machine put over them by flags.
 */
#include "support/certs.h"
#include "support/suite.h"
#include "support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char keys[200];

static void make_keys(void)
{
    struct gv_process vinectl;
    snprintf(keys, sizeof keys, "%s/mesh.keys", gv_test_folder());
    if (access(keys, R_OK) != 0) {
        const char *const argv[] = {"vinectl", "keys", "generate", keys, NULL};
        CU_ASSERT_TRUE_FATAL(gv_process_start(&vinectl, "keys", argv));
        CU_ASSERT_EQUAL_FATAL(gv_process_wait(&vinectl), 0);
    }
}

static void path_of(const char *file, char path[400])
{
    const char *source = getenv("GV_SOURCE");
    snprintf(path, 400, "%s/cluster-configs/%s", source == NULL ? "." : source, file);
}

/* grapevine --config FILE --config-test, with nothing changed but the place of the key ring. */
static void expect_valid(const char *file)
{
    struct gv_process grapevine;
    char path[400];
    path_of(file, path);
    const char *const argv[] = {"grapevine", "--config",      path, "--mesh-keyring",
                                keys,        "--config-test", NULL};
    CU_ASSERT_TRUE_FATAL(gv_process_start(&grapevine, "config-test", argv));
    CU_ASSERT_EQUAL(gv_process_wait(&grapevine), 0);
}

/* Start a node from a file; flags win over the file, so what this machine needs stands in flags. */
static struct gv_world_node *start(struct gv_world *world, const char *file)
{
    char path[400];
    path_of(file, path);
    const char *const flags[] = {"--config", path, "--mesh-keyring", keys, NULL};
    return gv_world_add_node(world, flags);
}

static void three_nodes_form_a_cluster_and_serve(void)
{
    struct gv_world world = {.node_count = 0};
    make_keys();
    expect_valid("three-nodes/node-a.yaml");
    expect_valid("three-nodes/node-b.yaml");
    expect_valid("three-nodes/node-c.yaml");
    gv_world_add_worker(&world, "regular");
    start(&world, "three-nodes/node-a.yaml");
    start(&world, "three-nodes/node-b.yaml");
    start(&world, "three-nodes/node-c.yaml");
    CU_ASSERT_TRUE(gv_world_await_members(&world, 3));
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(gv_world_chat(&world.nodes[i], "hello", NULL, 0), 200);
    }
    gv_world_end(&world);
}

static void prefill_and_decode_pools_serve_together(void)
{
    struct gv_world world = {.node_count = 0};
    make_keys();
    expect_valid("prefill-decode/node.yaml");
    gv_world_add_worker(&world, "prefill");
    gv_world_add_worker(&world, "decode");
    start(&world, "prefill-decode/node.yaml");
    start(&world, "prefill-decode/node.yaml");
    CU_ASSERT_TRUE(gv_world_await_members(&world, 2));
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    CU_ASSERT_EQUAL(gv_world_chat(&world.nodes[0], "hello", NULL, 0), 200);
    CU_ASSERT_EQUAL(gv_world_chat(&world.nodes[1], "hello", NULL, 0), 200);
    CU_ASSERT_EQUAL(gv_world_stat(&world.workers[0], "requests"), 2);
    CU_ASSERT_EQUAL(gv_world_stat(&world.workers[1], "requests"), 2);
    gv_world_end(&world);
}

/* ---- guarded: HTTPS, tenants, operators, settings ---- */

static const char *write_file(const char *name, const char *text)
{
    static char paths[4][200];
    static size_t next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", gv_test_folder(), name);
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    fclose(file);
    CU_ASSERT_EQUAL(chmod(path, 0600), 0);
    return path;
}

/* Does curl get `status` for a chat over HTTPS, with this key? */
static bool is_answered(const struct gv_world_node *node, const char *key, const char *status)
{
    struct gv_process curl;
    char url[80];
    char header[80];
    snprintf(url, sizeof url, "https://localhost:%u/v1/chat/completions", (unsigned)node->port);
    snprintf(header, sizeof header, "Authorization: Bearer %s", key);
    char *body = gv_world_chat_body("hello", false);
    const char *const argv[] = {"/usr/bin/curl",
                                "-sS",
                                "--max-time",
                                "60",
                                "-w",
                                " status=%{http_code}\n",
                                "--cacert",
                                gv_cert("ca.pem"),
                                "-H",
                                header,
                                "-d",
                                body,
                                url,
                                NULL};
    CU_ASSERT_TRUE_FATAL(gv_process_start(&curl, "curl", argv));
    (void)gv_process_wait(&curl);
    free(body);
    char wanted[32];
    snprintf(wanted, sizeof wanted, " status=%s", status);
    return gv_process_await(&curl, wanted, NULL, 0);
}

/* vinectl settings with an operator's key; does it say `words`? */
static bool says_of_settings(const struct gv_world_node *node, const char *key_file,
                             const char *const words[4])
{
    struct gv_process vinectl;
    char url[80];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", (unsigned)node->metrics_port);
    const char *const argv[] = {"vinectl",  "--endpoint", url,      "--api-key-file", key_file,
                                "settings", words[0],     words[1], words[2],         NULL};
    CU_ASSERT_TRUE_FATAL(gv_process_start(&vinectl, "vinectl", argv));
    (void)gv_process_wait(&vinectl);
    return gv_process_has_said(&vinectl, words[3]);
}

struct setting {
    const struct gv_world_node *node;
    const char *key_file;
};

static bool is_set(void *owner)
{
    const struct setting *setting = owner;
    static const char *const words[4] = {"list", NULL, NULL, "0.75"};
    return says_of_settings(setting->node, setting->key_file, words);
}

static bool says_ready(void *owner)
{
    struct gv_reply reply;
    gv_talk_ask(((struct gv_world_node *)owner)->metrics_port, "GET", "/readiness", NULL, NULL,
                &reply);
    bool ready = reply.status == 200;
    gv_reply_deinit(&reply);
    return ready;
}

/* The files that node.yaml names, in the folder that the nodes are then started in. */
static void make_guarded_files(void)
{
    char path[200];
    make_keys();
    snprintf(path, sizeof path, "%s/router.pem", gv_test_folder());
    CU_ASSERT_TRUE(gv_cert_replace("server.pem", path));
    snprintf(path, sizeof path, "%s/router.key", gv_test_folder());
    CU_ASSERT_TRUE(gv_cert_replace("server.key", path));
    (void)write_file("tenants.keys", "acme:sk-acme-1\n");
    (void)write_file("operators.keys", "op1:Olivia:admin:sk-op-1\n");
}

static void start_guarded(struct gv_world *world)
{
    char config[400];
    char before[400];
    path_of("guarded/node.yaml", config);
    CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(before, sizeof before));
    CU_ASSERT_EQUAL_FATAL(chdir(gv_test_folder()), 0);
    const char *const flags[] = {"--config", config, NULL};
    for (int i = 0; i < 2; i++) {
        (void)gv_world_add_node(world, flags);
    }
    CU_ASSERT_EQUAL_FATAL(chdir(before), 0);
}

static void a_guarded_cluster_serves_tenants_and_obeys_operators(void)
{
    struct gv_world world = {.node_count = 0};
    make_guarded_files();
    const char *olivia = write_file("operator.key", "sk-op-1\n");
    gv_world_add_worker(&world, "regular");
    start_guarded(&world);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_TRUE_FATAL(gv_test_await(says_ready, &world.nodes[i], 0));
        CU_ASSERT_TRUE(is_answered(&world.nodes[i], "sk-acme-1", "200"));
        CU_ASSERT_TRUE(is_answered(&world.nodes[i], "sk-nobody", "401"));
    }
    static const char *const change[4] = {"set", "cache-threshold", "0.75", ""};
    (void)says_of_settings(&world.nodes[0], olivia, change);
    struct setting setting = {.node = &world.nodes[1], .key_file = olivia};
    CU_ASSERT_TRUE(gv_test_await(is_set, &setting, 0));
    setting.key_file = write_file("tenant.key", "sk-acme-1\n");
    CU_ASSERT_FALSE(is_set(&setting)); /* a tenant is no operator */
    gv_world_end(&world);
}

/* ---- behind-dns: one name, three addresses of the loopback network
 * ------------------------------- */

/* The name server of the folder, with its port changed in a copy of its file. */
static bool write_dns_file(uint16_t port, char copy[400])
{
    char path[400];
    char line[200];
    path_of("behind-dns/dnsmasq.conf", path);
    snprintf(copy, 400, "%s/dnsmasq.conf", gv_test_folder());
    FILE *from = fopen(path, "re");
    FILE *into = fopen(copy, "we");
    while (from != NULL && into != NULL && fgets(line, sizeof line, from) != NULL) {
        if (strncmp(line, "port=", 5) == 0) {
            snprintf(line, sizeof line, "port=%u\n", (unsigned)port);
        }
        fputs(line, into);
    }
    bool written = from != NULL && into != NULL;
    if (from != NULL) {
        fclose(from);
    }
    if (into != NULL) {
        fclose(into);
    }
    return written;
}

static bool start_dns(struct gv_process *dns, uint16_t port)
{
    static const char *const places[] = {"/usr/sbin/dnsmasq", "/usr/bin/dnsmasq"};
    char copy[400];
    char flag[420];
    if (!write_dns_file(port, copy)) {
        return false;
    }
    snprintf(flag, sizeof flag, "--conf-file=%s", copy);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (access(places[i], X_OK) == 0) {
            const char *const argv[] = {
                places[i], "--keep-in-foreground", "--log-facility=-", "--pid-file=", flag, NULL};
            return gv_process_start(dns, "dnsmasq", argv) &&
                   gv_process_await(dns, "started", NULL, 0);
        }
    }
    return false;
}

/* A port that nothing uses now, and that is below the kernel's range for outgoing connections. */
static uint16_t quiet_port(int nth)
{
    return (uint16_t)(20000 + (getpid() * 7 + nth * 1013) % 10000);
}

static void start_behind_dns(struct gv_process *node, int i, uint16_t dns, uint16_t mesh,
                             char http[64])
{
    char path[400];
    char host[32];
    char name[32];
    char port[8];
    char seeds[64];
    char line[1024];
    char servers[32];
    path_of("behind-dns/node.yaml", path);
    snprintf(host, sizeof host, "127.0.0.%d", i + 1);
    snprintf(name, sizeof name, "dns-%d", i + 1);
    snprintf(port, sizeof port, "%u", (unsigned)mesh);
    snprintf(seeds, sizeof seeds, "grapevine.internal:%u", (unsigned)mesh);
    snprintf(servers, sizeof servers, "127.0.0.1:%u", (unsigned)dns);
    setenv("GRAPEVINE_DNS_SERVERS", servers, 1);
    const char *const argv[] = {"grapevine", "--config",
                                path,        "--mesh-keyring",
                                keys,        "--host",
                                host,        "--port",
                                "0",         "--mesh-host",
                                host,        "--mesh-port",
                                port,        "--seeds",
                                seeds,       "--node-name",
                                name,        "--prometheus-host",
                                host,        "--prometheus-port",
                                "0",         "--threads",
                                "1",         "--log-level",
                                "debug",     NULL};
    CU_ASSERT_TRUE_FATAL(gv_process_start(node, name, argv));
    CU_ASSERT_TRUE_FATAL(gv_process_await(node, "node.listening", line, sizeof line));
    CU_ASSERT_TRUE_FATAL(gv_line_value(line, "http", http, 64));
}

/* A node's view of its members follows its log lines by a moment. */
static bool sees_three_alive(void *owner)
{
    const char *const argv[] = {"vinectl", "--endpoint", owner, "nodes", NULL};
    struct gv_process vinectl;
    CU_ASSERT_TRUE_FATAL(gv_process_start(&vinectl, "vinectl", argv));
    (void)gv_process_wait(&vinectl);
    return gv_process_has_said(&vinectl, "3 of 3 nodes alive");
}

static void routers_behind_one_name_find_each_other_by_it(void)
{
    struct gv_process dns;
    struct gv_process nodes[3];
    char http[3][64];
    make_keys();
    expect_valid("behind-dns/node.yaml");
    uint16_t dns_port = quiet_port(1);
    uint16_t mesh_port = quiet_port(2);
    CU_ASSERT_TRUE_FATAL(start_dns(&dns, dns_port));
    for (int i = 0; i < 3; i++) {
        start_behind_dns(&nodes[i], i, dns_port, mesh_port, http[i]);
    }
    unsetenv("GRAPEVINE_DNS_SERVERS");
    /* The engines do not exist here, so no node gets ready; members are what the name is for. */
    for (int i = 0; i < 3; i++) {
        for (int other = 0; other < 3; other++) {
            char words[32];
            snprintf(words, sizeof words, "member=dns-%d", other + 1);
            if (other != i) {
                CU_ASSERT_TRUE_FATAL(gv_process_await(&nodes[i], words, NULL, 0));
            }
        }
    }
    char endpoint[80];
    snprintf(endpoint, sizeof endpoint, "http://%s", http[1]);
    CU_ASSERT_TRUE(gv_test_await(sees_three_alive, endpoint, 0));
    for (int i = 0; i < 3; i++) {
        gv_process_kill(&nodes[i]);
    }
    gv_process_kill(&dns);
}

GV_SUITE("integration/configs", GV_CASE(three_nodes_form_a_cluster_and_serve),
         GV_CASE(prefill_and_decode_pools_serve_together),
         GV_CASE(a_guarded_cluster_serves_tenants_and_obeys_operators),
         GV_CASE(routers_behind_one_name_find_each_other_by_it))
