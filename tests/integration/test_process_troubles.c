/*
 * test_process_troubles.c - what a machine and its operators do to a running node: descriptors that
 * run out, standard files that are closed, full or unread, signals by the thousand, a stop and a
 * continue. Clocks that jump and disks that are full are in netns_clocks, files that are no files
 * in unit/config.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* prlimit() */
#endif
#include "support/suite.h"
#include "support/world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIVENESS "GET /liveness HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static struct gv_world world;

static struct gv_world_node *start(void)
{
    return gv_world_start(&world, 1, NULL);
}

/* ---- no descriptors left ---- */

/* Processor time that the process has used, in ticks of 10 ms. */
static long used_ticks(pid_t pid)
{
    char path[64];
    char text[1024] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[len] = '\0';
    long user = 0;
    long system = 0;
    const char *at = strrchr(text, ')');
    CU_ASSERT_FATAL(
        at != NULL &&
        sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system) == 2);
    return user + system;
}

static bool has_passed(void *owner)
{
    return gv_test_now_ms() >= *(uint64_t *)owner;
}

/* Connections that cannot be accepted wait in the kernel; nobody spins for them. */
static void without_descriptors_a_node_waits_and_does_not_spin(void)
{
    enum {
        CLIENTS = 5
    };
    struct gv_world_node *node = start();
    pid_t pid = node->process.pid;
    struct rlimit before;
    int fds[CLIENTS];
    CU_ASSERT_EQUAL_FATAL(prlimit(pid, RLIMIT_NOFILE, NULL, &before), 0);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    CU_ASSERT_EQUAL_FATAL(prlimit(pid, RLIMIT_NOFILE, &none, NULL), 0);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = gv_talk_connect(node->port);
        CU_ASSERT_TRUE(gv_talk_send_text(fds[i], LIVENESS));
    }
    CU_ASSERT_TRUE(gv_process_await(&node->process, "listener.pause", NULL, 0));
    long ticks = used_ticks(pid);
    uint64_t until_ms = gv_test_now_ms() + 1500;
    CU_ASSERT_TRUE(gv_test_await(has_passed, &until_ms, 0));
    CU_ASSERT_TRUE(used_ticks(pid) - ticks < 100); /* one that spins takes 150 a thread */
    CU_ASSERT_EQUAL_FATAL(prlimit(pid, RLIMIT_NOFILE, &before, NULL), 0);
    for (int i = 0; i < CLIENTS; i++) { /* late, but all */
        struct gv_reply reply;
        gv_talk_read(fds[i], &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        gv_reply_deinit(&reply);
        close(fds[i]);
    }
    gv_world_end(&world);
}

/* ---- standard files ---- */

static uint16_t free_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&addr, len), 0);
    CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    return ntohs(addr.sin_port);
}

static bool is_alive(void *owner)
{
    struct gv_reply reply;
    gv_talk_ask(*(uint16_t *)owner, "GET", "/liveness", NULL, NULL, &reply);
    bool alive = reply.status == 200;
    gv_reply_deinit(&reply);
    return alive;
}

/* Everything that a connection says until its end is one answer, and nothing else. */
static void answers_clean(uint16_t port)
{
    char got[8192];
    size_t len = 0;
    ssize_t more;
    int fd = gv_talk_connect(port);
    CU_ASSERT_TRUE(gv_talk_send_text(fd, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" LIVENESS));
    while (len < sizeof got - 1 && (more = recv(fd, got + len, sizeof got - 1 - len, 0)) > 0) {
        len += (size_t)more;
    }
    got[len] = '\0';
    CU_ASSERT_EQUAL(strncmp(got, "HTTP/1.1 404 ", 13), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "}}HTTP/1.1 200 OK\r\n"));
    CU_ASSERT_PTR_NULL(strstr(got, "access"));
    close(fd);
}

/* `files` as bash says it, e.g. ">&- 2>&-". */
static void lives_with(const char *files)
{
    char command[1024];
    const char *bin = getenv("GV_BIN");
    uint16_t port = free_port();
    snprintf(command, sizeof command,
             "exec %s/grapevine --host 127.0.0.1 --port %u --prometheus-host 127.0.0.1 "
             "--prometheus-port 0 --threads 1 --log-level debug %s",
             bin == NULL ? "build/dev/bin" : bin, (unsigned)port, files);
    const char *const argv[] = {"/bin/bash", "-c", command, NULL};
    struct gv_process process;
    CU_ASSERT_TRUE_FATAL(gv_process_start(&process, "bare", argv));
    CU_ASSERT_TRUE_FATAL(gv_test_await(is_alive, &port, 0));
    for (int i = 0; i < 20; i++) {
        answers_clean(port);
    }
    gv_process_signal(&process, SIGTERM);
    CU_ASSERT_EQUAL(gv_process_wait(&process), 0);
}

static void a_node_with_closed_standard_files_writes_into_nobodys_connection(void)
{
    lives_with(">&- 2>&-");
    lives_with("<&- >&- 2>&-");
    lives_with("2>&-");
}

static void a_log_that_nobody_reads_or_that_is_full_stops_nobody(void)
{
    lives_with("2>/dev/full");
    lives_with("2> >(head -n 1 >&2)"); /* a pipe whose reader goes after the first line */
}

/* ---- signals ---- */

static void ten_thousand_hangups_and_broken_pipes_change_nothing(void)
{
    struct gv_world_node *node = start();
    for (int i = 0; i < 10000; i++) {
        gv_process_signal(&node->process, i % 10 == 9 ? SIGPIPE : SIGHUP);
        if (i % 1000 == 0) {
            CU_ASSERT_EQUAL(gv_world_chat(node, "between two signals", NULL, 0), 200);
        }
    }
    CU_ASSERT_EQUAL(gv_world_chat(node, "after all signals", NULL, 0), 200);
    gv_world_end(&world);
}

/* What came while it stood still is answered, a stream under way goes on. */
static void a_node_that_was_stopped_goes_on_where_it_was(void)
{
    static const char *const slow[] = {"--speed",         "1", "--decode-ms", "100",
                                       "--output-tokens", "4", NULL};
    struct gv_reply reply;
    char got[8192];
    memset(&world, 0, sizeof world);
    world.worker_flags = slow;
    gv_world_add_worker(&world, "regular");
    struct gv_world_node *node = gv_world_add_node(&world, NULL);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    int stream = gv_world_send_chat(node, "a stream", true);
    CU_ASSERT_TRUE(gv_talk_read_until(stream, "data: ", got, sizeof got));
    gv_process_signal(&node->process, SIGSTOP);
    int waiting = gv_world_send_chat(node, "while it stands still", false);
    int gone = gv_world_send_chat(node, "nobody waits for this", false);
    gv_talk_reset(gone);
    CU_ASSERT_TRUE(gv_world_await_stat(&world.workers[0], "finished", 1)); /* the engine went on */
    gv_process_signal(&node->process, SIGCONT);
    CU_ASSERT_TRUE(gv_talk_read_until(stream, "[DONE]", got, sizeof got));
    gv_talk_read(waiting, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    close(stream);
    close(waiting);
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

GV_SUITE("integration/process_troubles",
         GV_CASE(without_descriptors_a_node_waits_and_does_not_spin),
         GV_CASE(a_node_with_closed_standard_files_writes_into_nobodys_connection),
         GV_CASE(a_log_that_nobody_reads_or_that_is_full_stops_nobody),
         GV_CASE(ten_thousand_hangups_and_broken_pipes_change_nothing),
         GV_CASE(a_node_that_was_stopped_goes_on_where_it_was))
