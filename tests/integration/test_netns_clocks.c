/*
 * test_netns_clocks.c - hosts whose clock is set wrong while they run, a disk that is full, a node
 * that stands still for half a minute: each ends in agreement, and is named loudly until then.
 *
 * Hosts are network namespaces (support/hosts.h). The clock of one router is libfaketime's, which
 * reads a file again every second; the full disk is a tmpfs of 64 KiB in a mount namespace of this
 * program. Skipped (exit code 77) without root.
 */
#define _GNU_SOURCE
#include "support/hosts.h"
#include "support/suite.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define SKIPPED  77
#define PAUSE_MS 30000

static void chat_some(struct gv_hosts *hosts, size_t host, int from, int count)
{
    for (int i = from; i < from + count; i++) {
        CU_ASSERT_EQUAL(gv_hosts_chat(hosts, host, i), 200);
    }
}

static void await_whole(struct gv_hosts *hosts)
{
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE_FATAL(gv_hosts_await_alive(hosts, i, 3));
        CU_ASSERT_TRUE_FATAL(gv_hosts_await_ready(hosts, i));
    }
}

static void end_in_agreement(struct gv_hosts *hosts, uint64_t mended_at_ms)
{
    CU_ASSERT_TRUE(gv_hosts_await_agreement(hosts));
    printf("(agreement after %llu ms) ", (unsigned long long)(gv_test_now_ms() - mended_at_ms));
    CU_ASSERT_EQUAL(gv_hosts_vinectl(hosts, 0, "diff", "--deep"), 0);
    gv_hosts_close(hosts);
}

/* ---- clocks ------------------------------------------------------------------------------------
 */

static char clock_file[300];

static void set_clock(const char *offset)
{
    char fresh[320];
    (void)snprintf(fresh, sizeof fresh, "%s.new", clock_file);
    FILE *file = fopen(fresh, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fprintf(file, "%s\n", offset);
    fclose(file);
    CU_ASSERT_EQUAL(rename(fresh, clock_file), 0);
}

/* Three routers; the third one's clock is what set_clock() says. false: cannot be shown. */
static bool start_with_a_clock_of_its_own(struct gv_hosts *hosts)
{
    if (!gv_hosts_have_clocks()) {
        return false;
    }
    (void)snprintf(clock_file, sizeof clock_file, "%s/clock", gv_test_folder());
    set_clock("+0");
    gv_hosts_open(hosts, 3);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE_FATAL(i < 2 ? gv_hosts_start(hosts, i, "10.77.0.1", NULL)
                                   : gv_hosts_start_with_clock(hosts, i, "10.77.0.1",
                                                               "FAKETIME_TIMESTAMP_FILE",
                                                               clock_file));
    }
    await_whole(hosts);
    chat_some(hosts, 0, 0, 10);
    CU_ASSERT_TRUE_FATAL(gv_hosts_await_agreement(hosts));
    return true;
}

static long offset_of_third(struct gv_hosts *hosts)
{
    return gv_hosts_number(hosts, 0, "/grapevine/v1/nodes", "\"name\":\"node-c\"",
                           "clock_offset_ms");
}

struct far {
    struct gv_hosts *hosts;
    long least_ms, most_ms;
};

static bool is_seen(void *owner)
{
    const struct far *far = owner;
    long offset_ms = offset_of_third(far->hosts);
    return offset_ms >= far->least_ms && offset_ms <= far->most_ms;
}

/* The clock of a router that runs is set wrong, everybody is asked, it is set right again. */
static void tell_of_a_clock(const char *offset, long offset_ms, const char *words)
{
    struct gv_hosts hosts;
    if (!start_with_a_clock_of_its_own(&hosts)) {
        return;
    }
    set_clock(offset);
    struct far far = {&hosts, offset_ms - 60000, offset_ms + 60000};
    CU_ASSERT_TRUE(gv_test_await(is_seen, &far, 0));
    CU_ASSERT_TRUE(gv_process_await(&hosts.nodes[0], "mesh.clocks_differ", NULL, 0));
    CU_ASSERT_TRUE(gv_process_await(&hosts.nodes[0], "alarm=clocks_differ", NULL, 0));
    chat_some(&hosts, 0, 100, 10);
    chat_some(&hosts, 2, 200, 10);
    /* Named, and no agreement is claimed. */
    CU_ASSERT_EQUAL(gv_hosts_vinectl(&hosts, 0, "status", NULL), 1);
    CU_ASSERT_TRUE(gv_hosts_vinectl_said(words));
    CU_ASSERT_EQUAL(gv_hosts_vinectl(&hosts, 0, "nodes", "--output=wide"), 1);
    CU_ASSERT_EQUAL(gv_hosts_vinectl(&hosts, 0, "diff", NULL), 1);

    uint64_t mended_at_ms = gv_test_now_ms();
    set_clock("+0");
    far = (struct far){&hosts, -20000, 20000};
    CU_ASSERT_TRUE(gv_test_await(is_seen, &far, 0));
    CU_ASSERT_TRUE(gv_hosts_await_agreement(&hosts));
    chat_some(&hosts, 2, 300, 5); /* stamped now, and taken by all */
    end_in_agreement(&hosts, mended_at_ms);
}

static void a_clock_set_back_an_hour_is_named_and_the_sets_agree_when_it_is_right_again(void)
{
    tell_of_a_clock("-1h", -3600000, "the clock is wrong: node-c by -36");
}

static void a_clock_set_forth_a_day_is_named_and_the_sets_agree_when_it_is_right_again(void)
{
    tell_of_a_clock("+1d", 86400000, "the clock is wrong: node-c by +86");
}

/* ---- a pause -----------------------------------------------------------------------------------
 */

static bool has_passed(void *owner)
{
    return gv_test_now_ms() >= *(uint64_t *)owner;
}

static void a_node_that_stood_still_for_30_s_is_in_step_again(void)
{
    struct gv_hosts hosts;
    gv_hosts_open(&hosts, 3);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE_FATAL(gv_hosts_start(&hosts, i, "10.77.0.1", NULL));
    }
    await_whole(&hosts);
    chat_some(&hosts, 1, 0, 10);
    uint64_t until_ms = gv_test_now_ms() + PAUSE_MS;
    gv_process_signal(&hosts.nodes[2], SIGSTOP);
    CU_ASSERT_TRUE(gv_hosts_await_status(&hosts, 0, 2, "dead"));
    chat_some(&hosts, 0, 100, 20);
    CU_ASSERT_TRUE(gv_test_await(has_passed, &until_ms, 2 * PAUSE_MS));
    long deaths = gv_hosts_number(&hosts, 0, "/grapevine/v1/status", "", "deaths");
    uint64_t mended_at_ms = gv_test_now_ms();
    gv_process_signal(&hosts.nodes[2], SIGCONT);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(gv_hosts_await_alive(&hosts, i, 3));
    }
    chat_some(&hosts, 2, 200, 10);
    CU_ASSERT_TRUE(gv_hosts_await_agreement(&hosts));
    /* Waking up, it has accused nobody. */
    CU_ASSERT_EQUAL(gv_hosts_number(&hosts, 2, "/grapevine/v1/status", "", "deaths"), 0);
    CU_ASSERT_EQUAL(gv_hosts_number(&hosts, 0, "/grapevine/v1/status", "", "deaths"), deaths);
    end_in_agreement(&hosts, mended_at_ms);
}

/* ---- a full disk -------------------------------------------------------------------------------
 */

static bool fill(const char *dir)
{
    static const char block[4096];
    char path[400];
    (void)snprintf(path, sizeof path, "%s/ballast", dir);
    FILE *file = fopen(path, "we");
    bool full = false;
    while (file != NULL && !full) {
        full = fwrite(block, 1, sizeof block, file) != sizeof block || fflush(file) != 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return full && errno == ENOSPC;
}

/* For gv_test_await(): the file names a member that came late. */
static bool knows_the_third(void *owner)
{
    char text[4096] = "";
    FILE *file = fopen(owner, "re");
    size_t len = file == NULL ? 0 : fread(text, 1, sizeof text - 1, file);
    text[len] = '\0';
    if (file != NULL) {
        fclose(file);
    }
    return strstr(text, " node-c") != NULL;
}

static void a_full_disk_is_told_changes_nothing_and_is_written_when_there_is_room(void)
{
    struct gv_hosts hosts;
    char dir[300];
    char state[320];
    char ballast[320];
    (void)snprintf(dir, sizeof dir, "%s/full", gv_test_folder());
    (void)snprintf(state, sizeof state, "%s/mesh.state", dir);
    (void)snprintf(ballast, sizeof ballast, "%s/ballast", dir);
    CU_ASSERT_EQUAL_FATAL(mkdir(dir, 0700), 0);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", dir, "tmpfs", 0, "size=64k,mode=0700") != 0) {
        printf("(no disk of our own: %s: skipped) ", strerror(errno));
        return;
    }
    gv_hosts_open(&hosts, 3);
    CU_ASSERT_TRUE_FATAL(fill(dir));
    CU_ASSERT_TRUE_FATAL(
        gv_hosts_start(&hosts, 0, "10.77.0.2", (const char *const[]){"--state-dir", dir, NULL}));
    CU_ASSERT_TRUE(gv_process_await(&hosts.nodes[0], "state.unwritten", NULL, 0));
    CU_ASSERT_TRUE(gv_process_await(&hosts.nodes[0], "alarm=state_unwritten", NULL, 0));
    for (size_t i = 1; i < 3; i++) {
        CU_ASSERT_TRUE_FATAL(gv_hosts_start(&hosts, i, "10.77.0.1", NULL));
    }
    await_whole(&hosts);
    chat_some(&hosts, 0, 0, 10);
    CU_ASSERT_TRUE(gv_hosts_await_agreement(&hosts));
    CU_ASSERT_FALSE(knows_the_third(state));
    CU_ASSERT_TRUE(gv_hosts_number(&hosts, 0, "/grapevine/v1/status", "", "state_failed") >= 1);

    CU_ASSERT_EQUAL(unlink(ballast), 0);
    CU_ASSERT_TRUE(gv_test_await(knows_the_third, state, 0));
    end_in_agreement(&hosts, gv_test_now_ms());
    CU_ASSERT_EQUAL(umount2(dir, MNT_DETACH), 0);
}

static const struct gv_case cases[] = {
    GV_CASE(a_clock_set_back_an_hour_is_named_and_the_sets_agree_when_it_is_right_again),
    GV_CASE(a_clock_set_forth_a_day_is_named_and_the_sets_agree_when_it_is_right_again),
    GV_CASE(a_node_that_stood_still_for_30_s_is_in_step_again),
    GV_CASE(a_full_disk_is_told_changes_nothing_and_is_written_when_there_is_room),
};

int main(int argc, char **argv)
{
    if (!gv_lan_is_possible()) {
        return SKIPPED;
    }
    return gv_suite_main("integration/netns clocks", cases, sizeof cases / sizeof cases[0], argc,
                         argv);
}
