/*
 * test_netns.c - the mesh between real hosts: cables pulled, one direction lost, programs stopped
 * and killed, clocks wrong, strangers at the door. Each story ends in agreement or in a clear
 * refusal.
 *
 * Every host is a network namespace (support/lan.h) with a router and two engines of its own. The
 * engines have the same addresses on all hosts, http://127.0.0.1:9001 and :9002, so that a router
 * that is cut off can still serve. Skipped (exit code 77) without root.
 */
#define _GNU_SOURCE
#include "support/hosts.h"
#include "support/suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SKIPPED        77
#define DEATH_BOUND_MS 15000 /* a vanished host is declared dead; measured: under 3 s */
#define HEAL_BOUND_MS  30000 /* all digests equal after the cable is back; measured: under 4 s */
#define PROVE_BOUND_MS 20000 /* a stranger is shut out; the limit is 5 s */
#define FIRST          "http://127.0.0.1:9001"
#define SECOND         "http://127.0.0.1:9002"

/* ---- three hosts, one seed ---------------------------------------------------------------------
 */

static void start_three(struct gv_hosts *hosts)
{
    gv_hosts_open(hosts, 3);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE_FATAL(gv_hosts_start(hosts, i, "10.77.0.1", NULL));
    }
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE_FATAL(gv_hosts_await_alive(hosts, i, 3));
        CU_ASSERT_TRUE_FATAL(gv_hosts_await_ready(hosts, i));
    }
}

static void chat_some(struct gv_hosts *hosts, size_t host, int from, int count)
{
    for (int i = from; i < from + count; i++) {
        CU_ASSERT_EQUAL(gv_hosts_chat(hosts, host, i), 200);
    }
}

static void end_in_agreement(struct gv_hosts *hosts, uint64_t healed_at_ms)
{
    CU_ASSERT_TRUE(gv_hosts_await_agreement(hosts));
    uint64_t took_ms = gv_test_now_ms() - healed_at_ms;
    CU_ASSERT_TRUE(took_ms <= HEAL_BOUND_MS);
    printf("(agreement after %llu ms) ", (unsigned long long)took_ms);
    CU_ASSERT_EQUAL(gv_hosts_vinectl(hosts, 0, "diff", "--deep"), 0);
    gv_hosts_close(hosts);
}

static void three_hosts_find_each_other_through_one_seed(void)
{
    struct gv_hosts hosts;
    start_three(&hosts);
    for (size_t i = 0; i < 3; i++) {
        chat_some(&hosts, i, 10 * (int)i, 10);
    }
    CU_ASSERT_TRUE(gv_hosts_await_agreement(&hosts));
    CU_ASSERT_EQUAL(gv_hosts_vinectl(&hosts, 1, "status", NULL), 0);
    end_in_agreement(&hosts, gv_test_now_ms());
}

/* ---- cables ------------------------------------------------------------------------------------
 */

struct in_flight {
    struct gv_hosts *hosts;
    long wanted;
};

static bool is_in_flight_there(void *owner)
{
    const struct in_flight *in_flight = owner;
    for (size_t i = 0; i < 2; i++) {
        long sum = 0;
        for (const char *const *url = (const char *const[]){FIRST, SECOND, NULL}; *url; url++) {
            sum += gv_hosts_number(in_flight->hosts, i, "/grapevine/v1/workers", *url, "in_flight");
        }
        if (sum != in_flight->wanted) {
            return false;
        }
    }
    return true;
}

static void a_host_that_vanishes_is_dead_its_load_is_gone_and_it_comes_back_by_itself(void)
{
    struct gv_hosts hosts;
    start_three(&hosts);
    chat_some(&hosts, 0, 0, 10);
    CU_ASSERT_TRUE_FATAL(gv_hosts_await_agreement(&hosts));
    gv_hosts_fault(&hosts, 2, "{\"kind\":\"hang_before_head\",\"count\":8}");
    int asking = gv_hosts_chat_begin(&hosts, 2, 500);
    CU_ASSERT_TRUE_FATAL(asking >= 0);
    struct in_flight in_flight = {.hosts = &hosts, .wanted = 1};
    CU_ASSERT_TRUE(gv_test_await(is_in_flight_there, &in_flight, 0));

    gv_lan_cut(&hosts.lan, 2, true);
    uint64_t cut_at_ms = gv_test_now_ms();
    for (size_t i = 0; i < 2; i++) {
        CU_ASSERT_TRUE(gv_hosts_await_status(&hosts, i, 2, "dead"));
    }
    uint64_t took_ms = gv_test_now_ms() - cut_at_ms;
    CU_ASSERT_TRUE(took_ms <= DEATH_BOUND_MS);
    printf("(dead after %llu ms) ", (unsigned long long)took_ms);
    in_flight.wanted = 0;
    CU_ASSERT_TRUE(gv_test_await(is_in_flight_there, &in_flight, 0));
    close(asking);

    uint64_t healed_at_ms = gv_test_now_ms();
    gv_lan_cut(&hosts.lan, 2, false);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(gv_hosts_await_alive(&hosts, i, 3));
    }
    end_in_agreement(&hosts, healed_at_ms);
}

static void both_sides_of_a_partition_work_on_and_become_one_again(void)
{
    struct gv_hosts hosts;
    start_three(&hosts);
    chat_some(&hosts, 0, 0, 10);
    CU_ASSERT_TRUE_FATAL(gv_hosts_await_agreement(&hosts));
    gv_lan_cut(&hosts.lan, 2, true);
    CU_ASSERT_TRUE(gv_hosts_await_alive(&hosts, 0, 2));
    CU_ASSERT_TRUE(gv_hosts_await_alive(&hosts, 2, 1));
    CU_ASSERT_EQUAL(gv_hosts_vinectl(&hosts, 0, "reachability", "--timeout=1"), 1);
    chat_some(&hosts, 0, 100, 20);
    chat_some(&hosts, 1, 200, 20);
    chat_some(&hosts, 2, 300, 20);
    /* Removed on one side while the other goes on filling it: it must not come back. */
    CU_ASSERT_EQUAL(gv_hosts_remove_worker(&hosts, 0, SECOND), 202);
    chat_some(&hosts, 2, 400, 20);

    uint64_t healed_at_ms = gv_test_now_ms();
    gv_lan_cut(&hosts.lan, 2, false);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(gv_hosts_await_alive(&hosts, i, 3));
    }
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(gv_hosts_await_without(&hosts, i, SECOND));
        CU_ASSERT_TRUE(gv_hosts_number(&hosts, i, "/grapevine/v1/workers", FIRST, "blocks") > 0);
    }
    end_in_agreement(&hosts, healed_at_ms);
}

struct probing {
    struct gv_hosts *hosts;
    long wanted[2]; /* probes sent by the first and the third */
};

static bool has_probed(void *owner)
{
    const struct probing *probing = owner;
    for (size_t i = 0; i < 2; i++) {
        if (gv_hosts_number(probing->hosts, 2 * i, "/grapevine/v1/status", "", "probes_sent") <
            probing->wanted[i]) {
            return false;
        }
    }
    return true;
}

static void a_direction_that_is_lost_kills_nobody_whom_others_reach(void)
{
    struct gv_hosts hosts;
    start_three(&hosts);
    gv_lan_deafen(&hosts.lan, 0, 2, true);
    chat_some(&hosts, 0, 0, 10);
    chat_some(&hosts, 2, 100, 10);
    /* Long enough for a death, were there to be one: several probes each way go unanswered. */
    struct probing probing = {.hosts = &hosts};
    for (size_t i = 0; i < 2; i++) {
        probing.wanted[i] =
            16 + gv_hosts_number(&hosts, 2 * i, "/grapevine/v1/status", "", "probes_sent");
    }
    CU_ASSERT_TRUE(gv_test_await(has_probed, &probing, 0));
    long whole = gv_hosts_number(&hosts, 1, "/grapevine/v1/status", "\"forest\"", "entries");
    long heard = gv_hosts_number(&hosts, 2, "/grapevine/v1/status", "\"forest\"", "entries");
    printf("(%ld of %ld entries on the deaf side) ", heard, whole);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(gv_hosts_number(&hosts, i, "/grapevine/v1/status", "", "deaths"), 0);
    }
    uint64_t healed_at_ms = gv_test_now_ms();
    gv_lan_deafen(&hosts.lan, 0, 2, false);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(gv_hosts_await_alive(&hosts, i, 3));
    }
    end_in_agreement(&hosts, healed_at_ms);
}

/* ---- processes ---------------------------------------------------------------------------------
 */

static void a_node_that_was_stopped_comes_back_and_revives_nothing(void)
{
    struct gv_hosts hosts;
    start_three(&hosts);
    chat_some(&hosts, 1, 0, 20);
    CU_ASSERT_TRUE_FATAL(gv_hosts_await_agreement(&hosts));
    gv_process_signal(&hosts.nodes[1], SIGSTOP);
    CU_ASSERT_TRUE(gv_hosts_await_status(&hosts, 0, 1, "dead"));
    CU_ASSERT_EQUAL(gv_hosts_remove_worker(&hosts, 0, SECOND), 202);
    CU_ASSERT_TRUE(gv_hosts_await_without(&hosts, 2, SECOND));
    uint64_t healed_at_ms = gv_test_now_ms();
    gv_process_signal(&hosts.nodes[1], SIGCONT);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(gv_hosts_await_alive(&hosts, i, 3));
        CU_ASSERT_TRUE(gv_hosts_await_without(&hosts, i, SECOND));
    }
    CU_ASSERT_TRUE(gv_hosts_await_agreement(&hosts));
    chat_some(&hosts, 1, 100, 10);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(gv_hosts_await_without(&hosts, i, SECOND));
    }
    end_in_agreement(&hosts, healed_at_ms);
}

/* For gv_test_await(): a state directory that names as many other members. */
static bool remembers_two(void *owner)
{
    char text[4096] = "";
    FILE *file = fopen(owner, "re");
    size_t len = file == NULL ? 0 : fread(text, 1, sizeof text - 1, file);
    text[len] = '\0';
    if (file != NULL) {
        fclose(file);
    }
    const char *first = strstr(text, "\nmember ");
    return first != NULL && strstr(first + 1, "\nmember ") != NULL;
}

static void all_killed_at_once_find_each_other_by_what_they_remember(void)
{
    struct gv_hosts hosts;
    char dirs[3][200];
    char path[700];
    gv_hosts_open(&hosts, 3);
    for (size_t i = 0; i < 3; i++) {
        snprintf(dirs[i], sizeof dirs[i], "%s/state-%zu-%ld", gv_test_folder(), i, (long)getpid());
        CU_ASSERT_TRUE_FATAL(gv_hosts_start(&hosts, i, "10.77.0.1",
                                            (const char *const[]){"--state-dir", dirs[i], NULL}));
    }
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/mesh.state", dirs[i]);
        CU_ASSERT_TRUE_FATAL(gv_hosts_await_alive(&hosts, i, 3));
        CU_ASSERT_TRUE(gv_test_await(remembers_two, path, 0));
    }
    for (size_t i = 0; i < 3; i++) {
        gv_process_kill(&hosts.nodes[i]);
    }
    for (size_t i = 0; i < 3; i++) { /* a name that nobody answers for */
        CU_ASSERT_TRUE_FATAL(gv_hosts_start(&hosts, i, "nowhere.cluster.internal",
                                            (const char *const[]){"--state-dir", dirs[i], NULL}));
    }
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(gv_hosts_await_alive(&hosts, i, 3));
        CU_ASSERT_TRUE(gv_hosts_await_ready(&hosts, i));
    }
    end_in_agreement(&hosts, gv_test_now_ms());
}

/* ---- strangers ---------------------------------------------------------------------------------
 */

static int connect_mesh(struct gv_hosts *hosts, size_t from, size_t to)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(GV_HOSTS_MESH_PORT)};
    inet_pton(AF_INET, gv_lan_address(to), &addr.sin_addr);
    gv_lan_enter(&hosts->lan, from);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    gv_lan_leave(&hosts->lan);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (const struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

struct stranger {
    int fd;
    const uint8_t *words; /* what it sends, a byte a second; NULL: nothing */
    size_t len, sent;
    uint64_t next_at_ms;
    bool is_shut_out;
};

static void step(struct stranger *stranger)
{
    char answer[64];
    ssize_t got = recv(stranger->fd, answer, sizeof answer, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        stranger->is_shut_out = true;
    } else if (stranger->sent < stranger->len && gv_test_now_ms() >= stranger->next_at_ms) {
        stranger->next_at_ms = gv_test_now_ms() + 1000;
        (void)send(stranger->fd, stranger->words + stranger->sent++, 1, MSG_NOSIGNAL);
    }
}

struct strangers {
    struct stranger items[3];
};

static bool are_shut_out(void *owner)
{
    struct strangers *strangers = owner;
    bool all = true;
    for (size_t i = 0; i < 3; i++) {
        if (!strangers->items[i].is_shut_out) {
            step(&strangers->items[i]);
        }
        all = all && strangers->items[i].is_shut_out;
    }
    return all;
}

static void strangers_are_shut_out_counted_and_disturb_nobody(void)
{
    static const uint8_t opening[] = {0,  0,  0,  200, 1,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9,
                                      10, 11, 12, 13,  14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24};
    static const char garbage[] = "GET / HTTP/1.1\r\nHost: mesh\r\n\r\n";
    struct gv_hosts hosts;
    start_three(&hosts);
    long before = gv_hosts_number(&hosts, 2, "/grapevine/v1/status", "", "refused_handshake");
    struct strangers strangers = {.items = {{.words = opening, .len = sizeof opening}, {.fd = 0}}};
    for (size_t i = 0; i < 3; i++) {
        strangers.items[i].fd = connect_mesh(&hosts, 0, 2);
    }
    CU_ASSERT_TRUE(send(strangers.items[2].fd, garbage, sizeof garbage - 1, MSG_NOSIGNAL) > 0);
    chat_some(&hosts, 2, 0, 10);
    CU_ASSERT_TRUE(gv_test_await(are_shut_out, &strangers, PROVE_BOUND_MS));
    for (size_t i = 0; i < 3; i++) {
        close(strangers.items[i].fd);
    }
    CU_ASSERT_EQUAL(gv_hosts_number(&hosts, 2, "/grapevine/v1/status", "", "refused_handshake"),
                    before + 3);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(gv_hosts_number(&hosts, i, "/grapevine/v1/status", "", "deaths"), 0);
        CU_ASSERT_TRUE(gv_hosts_await_alive(&hosts, i, 3));
    }
    end_in_agreement(&hosts, gv_test_now_ms());
}

/* ---- clocks ------------------------------------------------------------------------------------
 */

static bool says_clocks_differ(struct gv_hosts *hosts, size_t host)
{
    return gv_process_await(&hosts->nodes[host], "mesh.clocks_differ", NULL, 0);
}

static long refused_stamps(struct gv_hosts *hosts, size_t host)
{
    return gv_hosts_number(hosts, host, "/grapevine/v1/status", "", "refused_stamps");
}

static long entries(struct gv_hosts *hosts, size_t host)
{
    return gv_hosts_number(hosts, host, "/grapevine/v1/status", "\"forest\"", "entries");
}

/* For gv_test_await(): the first two hold the same. */
static bool two_are_equal(void *owner)
{
    return entries(owner, 0) > 0 && entries(owner, 0) == entries(owner, 1);
}

/* Two routers with the right time, a third with another; all are asked. false: cannot be shown. */
static bool start_apart(struct gv_hosts *hosts, const char *offset)
{
    if (!gv_hosts_have_clocks()) {
        return false;
    }
    gv_hosts_open(hosts, 3);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE_FATAL(
            i < 2 ? gv_hosts_start(hosts, i, "10.77.0.1", NULL)
                  : gv_hosts_start_with_clock(hosts, 2, "10.77.0.1", "FAKETIME", offset));
        CU_ASSERT_TRUE_FATAL(gv_hosts_await_ready(hosts, i));
    }
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE_FATAL(gv_hosts_await_alive(hosts, i, 3));
    }
    chat_some(hosts, 0, 0, 10);
    chat_some(hosts, 2, 100, 10);
    return true;
}

static void a_clock_that_is_late_refuses_what_seems_to_come_from_the_future(void)
{
    struct gv_hosts hosts;
    if (!start_apart(&hosts, "-1h")) {
        return;
    }
    CU_ASSERT_TRUE(says_clocks_differ(&hosts, 2));
    CU_ASSERT_TRUE(refused_stamps(&hosts, 2) >= 10);
    CU_ASSERT_TRUE(gv_test_await(two_are_equal, &hosts, 0));
    CU_ASSERT_EQUAL(refused_stamps(&hosts, 0) + refused_stamps(&hosts, 1), 0);
    CU_ASSERT_EQUAL(gv_hosts_chat(&hosts, 2, 200), 200);
    gv_hosts_close(&hosts);
}

static void a_clock_that_is_early_moves_nobody_elses(void)
{
    struct gv_hosts hosts;
    if (!start_apart(&hosts, "+1d")) {
        return;
    }
    CU_ASSERT_TRUE(says_clocks_differ(&hosts, 0));
    CU_ASSERT_TRUE(says_clocks_differ(&hosts, 1));
    CU_ASSERT_EQUAL(refused_stamps(&hosts, 2), 0);
    CU_ASSERT_TRUE(gv_test_await(two_are_equal, &hosts, 0));
    long before = entries(&hosts, 0);
    chat_some(&hosts, 1, 200, 10); /* stamped by the right clock still */
    CU_ASSERT_TRUE(gv_test_await(two_are_equal, &hosts, 0));
    CU_ASSERT_TRUE(entries(&hosts, 0) > before);
    gv_hosts_close(&hosts);
}

static const struct gv_case cases[] = {
    GV_CASE(three_hosts_find_each_other_through_one_seed),
    GV_CASE(a_host_that_vanishes_is_dead_its_load_is_gone_and_it_comes_back_by_itself),
    GV_CASE(both_sides_of_a_partition_work_on_and_become_one_again),
    GV_CASE(a_direction_that_is_lost_kills_nobody_whom_others_reach),
    GV_CASE(a_node_that_was_stopped_comes_back_and_revives_nothing),
    GV_CASE(all_killed_at_once_find_each_other_by_what_they_remember),
    GV_CASE(strangers_are_shut_out_counted_and_disturb_nobody),
    GV_CASE(a_clock_that_is_late_refuses_what_seems_to_come_from_the_future),
    GV_CASE(a_clock_that_is_early_moves_nobody_elses),
};

int main(int argc, char **argv)
{
    if (!gv_lan_is_possible()) {
        return SKIPPED;
    }
    setenv("GRAPEVINE_DNS_SERVERS", "10.77.0.254:53", 1); /* where nobody answers */
    return gv_suite_main("integration/netns", cases, sizeof cases / sizeof cases[0], argc, argv);
}
