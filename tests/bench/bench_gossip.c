/*
 * bench_gossip - what three nodes say to each other over loopback sockets, and how soon.
 *
 *     bench_gossip [--traffic]
 *
 * --traffic: only what rows G6 and G7 are of, to be looked at with perf or strace.
 *
 * Three real cluster stacks on three loops in one process, sealed with a key ring. The main thread
 * plays the proxies: it records prompts in the tries of one node, publishes them and looks into the
 * tries of the others until they are there. It reads what went over the wire from the loopback
 * interface's counters: meaningful in a network namespace of its own, where tools/bench starts it.
 * Then nodes are killed and return, and one with nothing joins two that hold a million entries.
 */
#define _GNU_SOURCE
#include "grapevine/base/log.h"
#include "grapevine/base/prng.h"
#include "grapevine/cluster/view.h"
#include "grapevine/route/fingerprint.h"
#include "grapevine/seal/keyring.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NODES        3
#define WORKERS      4
#define KEY          "regular::bench-model"
#define BLOCK_BYTES  256
#define OPERATIONS   2000
#define SAMPLES_MAX  20000
#define CHAIN_MAX    2048
#define PATIENCE_US  UINT64_C(20000000)
#define IDLE_US      UINT64_C(4000000)
#define BIG_PROMPTS  8000 /* of 125 own blocks: a million entries */
#define BIG_BLOCKS   125
#define KILLS        5
#define VANISHES     3
#define IN_FLIGHT    64
#define PENDING_MAX  256
#define PENDING_ROOM 32 /* blocks of such a prompt */
#define SECOND_US    UINT64_C(1000000)
#define FOREST_BYTES ((size_t)1 << 30)

struct node {
    char name[16];
    char seed[64];
    char *seeds[1];
    struct gv_config config;
    struct gv_loop *loop;
    struct gv_cluster *cluster;
    struct gv_fleet *fleet;
    struct gv_forest *forest;
    struct gv_load_table *load;
    uint32_t workers[WORKERS]; /* their indexes in this node's fleet */
    bool is_frozen;            /* its loop does not run, its sockets are open */
};

/* A kind of traffic: prompts of `blocks`, the last `fresh` of which nobody has seen. */
struct shape {
    const char *name;
    uint32_t blocks, fresh;
    uint64_t rate; /* prompts a second, over all nodes */
};

static struct gv_keyring *ring;
static struct node nodes[NODES];
static uint64_t chain[CHAIN_MAX];
static uint64_t samples[SAMPLES_MAX];
static struct gv_prng prng;

static void fail(const char *what)
{
    fprintf(stderr, "bench_gossip: %s\n", what);
    exit(1);
}

static void demand(enum gv_err err, const char *what)
{
    if (err != GV_OK) {
        fprintf(stderr, "bench_gossip: %s: %s\n", what, gv_err_name(err));
        exit(1);
    }
}

static void sleep_us(uint64_t us)
{
    struct timespec wait = {.tv_sec = (time_t)(us / SECOND_US),
                            .tv_nsec = (long)(us % SECOND_US) * 1000};
    nanosleep(&wait, NULL);
}

/* ---- measures ---- */

static uint64_t cpu_us_of(clockid_t clock)
{
    struct timespec spent;
    clock_gettime(clock, &spent);
    return (uint64_t)spent.tv_sec * SECOND_US + (uint64_t)spent.tv_nsec / 1000;
}

/* CPU time of all loops: the process without this thread. */
static uint64_t mesh_cpu_us(void)
{
    return cpu_us_of(CLOCK_PROCESS_CPUTIME_ID) - cpu_us_of(CLOCK_THREAD_CPUTIME_ID);
}

/* Bytes that went over loopback, with all headers. */
static uint64_t wire_bytes(void)
{
    FILE *file = fopen("/proc/self/net/dev", "r");
    char line[512];
    uint64_t bytes = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, " lo: %" SCNu64, &bytes) == 1) {
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return bytes;
}

static struct gv_gossip_counters counters_of(const struct node *node)
{
    struct gv_cluster_view view;
    demand(gv_cluster_view_get(node->cluster, &view), "view");
    struct gv_gossip_counters counters = view.gossip;
    gv_cluster_view_deinit(&view);
    return counters;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void print_samples(const char *id, const char *what, uint32_t count, const char *goal)
{
    qsort(samples, count, sizeof samples[0], by_value);
    printf("%-4s %-52s p50 %8.2f   p99 %8.2f   max %8.2f   %s\n", id, what,
           (double)samples[count / 2] / 1000.0, (double)samples[count - 1 - count / 100] / 1000.0,
           (double)samples[count - 1] / 1000.0, goal);
    fflush(stdout);
}

static void print_value(const char *id, const char *what, double value, const char *goal)
{
    printf("%-4s %-52s %12.2f   %s\n", id, what, value, goal);
    fflush(stdout);
}

/* ---- nodes ---- */

static void open_node(struct node *node, uint32_t number, const struct node *towards)
{
    struct gv_forest_limits limits = {.max_bytes = FOREST_BYTES,
                                      .touch_interval_s = 5,
                                      .max_keys = 16,
                                      .worker_blocks = UINT64_C(1) << 32,
                                      .min_age_s = 10,
                                      .max_ahead_s = 60};
    memset(node, 0, sizeof *node);
    snprintf(node->name, sizeof node->name, "node-%u", (unsigned)number);
    node->config = (struct gv_config){.host = "127.0.0.1",
                                      .cluster_id = "bench",
                                      .mesh_host = "127.0.0.1",
                                      .mesh_advertise_host = "",
                                      .mesh_keyring = "",
                                      .state_dir = "",
                                      .advertise_url = "",
                                      .worker_api_key = "",
                                      .node_name = node->name,
                                      .enable_mesh = 1,
                                      .block_bytes = BLOCK_BYTES,
                                      .max_tree_bytes = UINT64_C(1) << 40,
                                      .mesh_sync_timeout_ms = 5000};
    if (towards != NULL) {
        struct gv_addr addr = gv_cluster_addr(towards->cluster);
        gv_addr_format(&addr, node->seed);
        node->seeds[0] = node->seed;
        node->config.seeds = (struct gv_config_list){.items = node->seeds, .count = 1};
    }
    demand(gv_fleet_new(&node->fleet), "fleet");
    demand(gv_forest_new(limits, &node->forest), "forest");
    demand(gv_load_new(&node->load), "load");
    demand(gv_loop_new(node->name, &node->loop), "loop");
    struct gv_cluster_options options = {.config = &node->config,
                                         .node = node->name,
                                         .http_url = "http://127.0.0.1:1",
                                         .keyring = ring,
                                         .fleet = node->fleet,
                                         .forest = node->forest,
                                         .load = node->load};
    demand(gv_cluster_open(node->loop, &options, &node->cluster), "cluster");
    demand(gv_loop_start(node->loop), "thread");
}

static void freeze(struct node *node)
{
    if (!node->is_frozen) {
        gv_loop_stop(node->loop);
        gv_loop_join(node->loop);
        node->is_frozen = true;
    }
}

/* As when its process is killed: no word to the others, the kernel closes what was open. */
static void kill_node(struct node *node)
{
    freeze(node);
    gv_cluster_close(node->cluster);
    gv_loop_free(node->loop);
    gv_load_free(node->load);
    gv_forest_free(node->forest);
    gv_fleet_free(node->fleet);
    node->cluster = NULL;
}

static uint32_t count_members(const struct node *node, enum gv_member_status status)
{
    struct gv_cluster_view view;
    demand(gv_cluster_view_get(node->cluster, &view), "view");
    uint32_t count = view.status_count[status];
    gv_cluster_view_deinit(&view);
    return count;
}

/* Until node 0 and node 1 count that many of them alive. */
static uint64_t await_alive(uint32_t node_count, uint32_t alive)
{
    uint64_t began = gv_clock_us();
    for (uint32_t i = 0; i < node_count; i++) {
        while (count_members(&nodes[i], GV_MEMBER_ALIVE) != alive) {
            if (gv_clock_us() - began > PATIENCE_US) {
                fail("the nodes do not agree on who is alive");
            }
            sleep_us(500);
        }
    }
    return gv_clock_us() - began;
}

static uint64_t await_dead(uint64_t began)
{
    for (uint32_t i = 0; i < 2; i++) {
        while (count_members(&nodes[i], GV_MEMBER_DEAD) == 0) {
            demand(gv_clock_us() - began > PATIENCE_US ? GV_ETIMEOUT : GV_OK, "a dead node");
            sleep_us(500);
        }
    }
    return gv_clock_us() - began;
}

static void await_synced(const struct node *node)
{
    uint64_t began = gv_clock_us();
    while (!gv_cluster_is_synced(node->cluster)) {
        demand(gv_clock_us() - began > PATIENCE_US ? GV_ETIMEOUT : GV_OK, "a node out of step");
        sleep_us(200);
    }
}

static void find_workers(struct node *node)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        char url[64];
        snprintf(url, sizeof url, "http://10.0.0.%u:8000", (unsigned)i + 1);
        demand(gv_fleet_index(node->fleet, gv_slice_text(url), &node->workers[i]), "index");
    }
}

static void put_workers(void)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct gv_worker worker = {.pool = GV_POOL_REGULAR, .bootstrap_port = -1, .priority = 50};
        snprintf(worker.url, sizeof worker.url, "http://10.0.0.%u:8000", (unsigned)i + 1);
        demand(gv_cluster_put_worker(nodes[0].cluster, &worker), "worker");
    }
    for (uint32_t n = 0; n < NODES; n++) {
        uint32_t count = 0;
        for (uint64_t began = gv_clock_us(); count != WORKERS;) {
            const struct gv_fleet_view *view = gv_fleet_acquire(nodes[n].fleet);
            count = view->count;
            gv_fleet_release(nodes[n].fleet, view);
            if (gv_clock_us() - began > PATIENCE_US) {
                fail("the workers are not known everywhere");
            }
            sleep_us(1000);
        }
        find_workers(&nodes[n]);
    }
}

/* ---- prompts ---- */

static void make_chain(const struct shape *shape)
{
    for (uint32_t i = shape->blocks - shape->fresh; i < shape->blocks; i++) {
        chain[i] = gv_prng_next(&prng) | 1;
    }
}

static void publish(struct node *node, uint32_t worker, uint32_t blocks)
{
    struct gv_operation operation;
    if (!gv_forest_record(node->forest, KEY, chain, blocks, node->workers[worker],
                          gv_clock_wall_ms(), &operation)) {
        fail("a new prompt makes no operation");
    }
    gv_cluster_publish(node->cluster, &operation);
}

static bool holds(struct node *node, uint32_t worker, uint32_t blocks)
{
    uint32_t depth = 0;
    gv_forest_match(node->forest, KEY, chain, blocks, &node->workers[worker], 1, &depth);
    return depth == blocks;
}

/* The shared part of the prompts, known everywhere before anything is counted. */
static void begin_shape(const struct shape *shape)
{
    for (uint32_t i = 0; i < shape->blocks; i++) {
        chain[i] = gv_prng_next(&prng) | 1;
    }
    for (uint32_t w = 0; w < WORKERS; w++) {
        publish(&nodes[0], w, shape->blocks);
        uint64_t began = gv_clock_us();
        for (uint32_t n = 1; n < NODES; n++) {
            while (!holds(&nodes[n], w, shape->blocks)) {
                if (gv_clock_us() - began > PATIENCE_US) {
                    fail("a prompt does not arrive");
                }
                sched_yield();
            }
        }
    }
}

static void wait_until(uint64_t due_us)
{
    uint64_t now = gv_clock_us();
    if (now < due_us) {
        sleep_us(due_us - now);
    }
}

/* One prompt at a time: published on one node, looked for on the two others without pause. */
static void measure_visibility(const char *id, const struct shape *shape)
{
    char what[80];
    begin_shape(shape);
    uint64_t due_us = gv_clock_us();
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        due_us += SECOND_US / shape->rate + gv_prng_below(&prng, 1000); /* no step with any timer */
        wait_until(due_us);
        make_chain(shape);
        uint64_t began = gv_clock_us();
        publish(&nodes[i % NODES], i % WORKERS, shape->blocks);
        for (uint32_t n = 0; n < NODES; n++) {
            while (!holds(&nodes[n], i % WORKERS, shape->blocks)) {
                if (gv_clock_us() - began > PATIENCE_US) {
                    fail("a prompt does not arrive");
                }
                sched_yield();
            }
        }
        samples[i] = gv_clock_us() - began;
    }
    snprintf(what, sizeof what, "visible on all, ms (%s, %" PRIu64 "/s)", shape->name, shape->rate);
    print_samples(id, what, OPERATIONS, "goal: p99 25");
}

/* A prompt that is not known to be everywhere yet. */
struct pending {
    uint64_t chain[PENDING_ROOM];
    uint64_t began_us;
    uint32_t worker;
};

static bool is_everywhere(const struct pending *pending, uint32_t blocks)
{
    for (uint32_t n = 0; n < NODES; n++) {
        uint32_t depth = 0;
        gv_forest_match(nodes[n].forest, KEY, pending->chain, blocks,
                        &nodes[n].workers[pending->worker], 1, &depth);
        if (depth != blocks) {
            return false;
        }
    }
    return true;
}

/* Many prompts at once: published at the rate, looked for in between. */
static void measure_rush(const struct shape *shape)
{
    static struct pending pending[PENDING_MAX];
    uint32_t pending_count = 0, done = 0;
    char what[80];
    begin_shape(shape);
    uint64_t began = gv_clock_us();
    for (uint32_t i = 0; i < OPERATIONS || pending_count > 0; i++) {
        wait_until(began + (uint64_t)i * SECOND_US / shape->rate);
        for (uint32_t p = pending_count; p-- > 0;) {
            if (is_everywhere(&pending[p], shape->blocks)) {
                samples[done++] = gv_clock_us() - pending[p].began_us;
                pending[p] = pending[--pending_count];
            }
        }
        if (i < OPERATIONS) {
            make_chain(shape);
            struct pending *added = &pending[pending_count++];
            memcpy(added->chain, chain, shape->blocks * sizeof chain[0]);
            added->worker = i % WORKERS;
            added->began_us = gv_clock_us();
            publish(&nodes[i % NODES], added->worker, shape->blocks);
        }
        if (pending_count == PENDING_MAX || gv_clock_us() - began > PATIENCE_US) {
            fail("prompts do not arrive as fast as they are published");
        }
    }
    snprintf(what, sizeof what, "visible on all, ms (%s, %" PRIu64 "/s)", shape->name, shape->rate);
    print_samples("G1", what, done, "goal: p99 25");
}

/* As routers under load do: every node publishes, and requests are in flight on every worker. */
static void measure_traffic(const struct shape *shape, uint32_t count, double idle_bytes_s)
{
    char what[80];
    begin_shape(shape);
    sleep_us(SECOND_US / 2);
    struct gv_gossip_counters before[NODES];
    for (uint32_t n = 0; n < NODES; n++) {
        before[n] = counters_of(&nodes[n]);
    }
    uint64_t wire = wire_bytes();
    uint64_t cpu = mesh_cpu_us();
    uint64_t began = gv_clock_us();
    for (uint32_t i = 0; i < count; i++) {
        wait_until(began + (uint64_t)i * SECOND_US / shape->rate);
        struct node *node = &nodes[i % NODES];
        make_chain(shape);
        gv_load_take(node->load, node->workers[i % WORKERS], shape->fresh * BLOCK_BYTES);
        publish(node, i % WORKERS, shape->blocks);
        if (i >= IN_FLIGHT) {
            uint32_t ended = i - IN_FLIGHT; /* that many are always in flight */
            gv_load_give(nodes[ended % NODES].load, nodes[ended % NODES].workers[ended % WORKERS],
                         shape->fresh * BLOCK_BYTES);
        }
    }
    while (!holds(&nodes[count % NODES], (count - 1) % WORKERS, shape->blocks)) {
        sched_yield();
    }
    double seconds = (double)(gv_clock_us() - began) / 1e6;
    cpu = mesh_cpu_us() - cpu;
    sleep_us(SECOND_US / 4); /* views follow within 100 ms */
    double wired = (double)(wire_bytes() - wire) - idle_bytes_s * (seconds + 0.25);
    uint64_t plain = 0;
    for (uint32_t n = 0; n < NODES; n++) {
        plain += counters_of(&nodes[n]).bytes_sent - before[n].bytes_sent;
    }
    double shares = (double)count * (NODES - 1);
    snprintf(what, sizeof what, "bytes per request per peer, plain (%s)", shape->name);
    print_value("G6", what, (double)plain / shares, "goal: 80");
    snprintf(what, sizeof what, "  on the wire with all headers, %" PRIu64 "/s", shape->rate);
    print_value("G6", what, wired / shares, "");
    snprintf(what, sizeof what, "share of a core for the mesh, %%, %" PRIu64 " requests/s a node",
             shape->rate / NODES);
    print_value("G7", what, (double)cpu / 1e4 / NODES / seconds, "goal: 3 at 1,000/s");
}

static double measure_idle(void)
{
    struct gv_gossip_counters before = counters_of(&nodes[0]);
    uint64_t wire = wire_bytes();
    uint64_t cpu = mesh_cpu_us();
    sleep_us(IDLE_US);
    struct gv_gossip_counters after = counters_of(&nodes[0]);
    double seconds = (double)IDLE_US / 1e6;
    double bytes_s = (double)(wire_bytes() - wire) / seconds;
    print_value("G5", "idle, kbit/s out per node with all headers", bytes_s * 8 / 1000 / NODES,
                "goal: 50");
    print_value("G5", "  of that session bytes/s, plain",
                (double)(after.bytes_sent - before.bytes_sent) / seconds, "");
    print_value("G5", "  datagrams/s", (double)(after.packets_sent - before.packets_sent) / seconds,
                "");
    print_value("G5", "  share of a core, %", (double)(mesh_cpu_us() - cpu) / 1e4 / seconds / NODES,
                "");
    return bytes_s;
}

/* ---- death and return ---- */

static void measure_deaths(void)
{
    for (uint32_t i = 0; i < KILLS; i++) {
        uint64_t began = gv_clock_us();
        kill_node(&nodes[2]);
        samples[i] = await_dead(began);
        open_node(&nodes[2], 2, &nodes[0]);
        await_alive(NODES, NODES);
    }
    print_samples("G3", "killed (kernel closes), dead on both others, ms", KILLS, "goal: p99 1000");
    for (uint32_t i = 0; i < VANISHES; i++) {
        uint64_t began = gv_clock_us();
        freeze(&nodes[2]);
        samples[i] = await_dead(began);
        kill_node(&nodes[2]);
        open_node(&nodes[2], 2, &nodes[0]);
        await_alive(NODES, NODES);
    }
    print_samples("G3", "vanished (silence), dead on both others, ms", VANISHES, "goal: p99 2500");
}

static void measure_join(void)
{
    struct gv_forest_stats stats;
    struct shape big = {.blocks = BIG_BLOCKS, .fresh = BIG_BLOCKS};
    kill_node(&nodes[2]);
    (void)await_dead(gv_clock_us());
    for (uint32_t i = 0; i < BIG_PROMPTS; i++) {
        make_chain(&big);
        publish(&nodes[0], i % WORKERS, BIG_BLOCKS);
        if (i % 8 == 7) { /* as fast as node 1 follows */
            while (!holds(&nodes[1], i % WORKERS, BIG_BLOCKS)) {
                sched_yield();
            }
        }
    }
    gv_forest_stats(nodes[0].forest, &stats);
    uint64_t entries = stats.entries;
    uint64_t began = gv_clock_us();
    open_node(&nodes[2], 2, &nodes[0]);
    await_synced(&nodes[2]);
    uint64_t took = gv_clock_us() - began;
    gv_forest_stats(nodes[2].forest, &stats);
    printf("%-4s %-52s %12.2f   goal: 1000 (%" PRIu64 " entries, the joiner holds %" PRIu64 ")\n",
           "G4", "join, from open to synced, ms", (double)took / 1000.0, entries, stats.entries);
    struct gv_gossip_counters counters = counters_of(&nodes[2]);
    print_value("G4", "  snapshots begun at the joiner", (double)counters.snapshots_received, "");
    print_value("G4", "  bytes received per entry",
                (double)counters.bytes_received / (double)entries, "");
}

static const struct shape chat = {"chat: 24 blocks, 12 new", 24, 12, 200};
static const struct shape agent = {"agentic: 1,900 blocks, 100 new", 1900, 100, 200};
static const struct shape busy_chat = {"chat: 12 new blocks", 24, 12, 3000};
static const struct shape busy_agent = {"agentic: 100 new blocks", 1900, 100, 3000};
static const struct shape touch = {"1 new block", 24, 1, 3000};

static void begin(void)
{
    struct gv_key_id id;
    gv_log_set_level(GV_LOG_ERROR);
    gv_prng_init(&prng, 1);
    ring = gv_keyring_new();
    demand(ring == NULL ? GV_ENOMEM : GV_OK, "key ring");
    demand(gv_keyring_generate(ring, &id), "key");
    for (uint32_t i = 0; i < NODES; i++) {
        open_node(&nodes[i], i, i > 0 ? &nodes[0] : NULL);
    }
    await_alive(NODES, NODES);
    for (uint32_t i = 0; i < NODES; i++) {
        await_synced(&nodes[i]);
    }
    put_workers();
}

int main(int argc, char **argv)
{
    bool only_traffic = argc > 1 && strcmp(argv[1], "--traffic") == 0;
    begin();
    if (!only_traffic) {
        measure_visibility("G1", &chat);
        measure_visibility("G1", &agent);
        measure_rush(&busy_chat);
        sleep_us(SECOND_US);
    }
    double idle_bytes_s = measure_idle();
    measure_traffic(&touch, 6000, idle_bytes_s);
    measure_traffic(&busy_chat, 6000, idle_bytes_s);
    measure_traffic(&busy_agent, 3000, idle_bytes_s);
    if (!only_traffic) {
        measure_deaths();
        find_workers(&nodes[2]);
        measure_join();
    }
    for (uint32_t i = 0; i < NODES; i++) {
        kill_node(&nodes[i]);
    }
    gv_keyring_free(ring);
    return 0;
}
