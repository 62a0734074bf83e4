/*
 * router.c - the router of idle, and what is seen of it from outside: its process, its answers.
 */
#define _GNU_SOURCE
#include "idle.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX      (256 * 1024)
#define READINESS_ASK 20

static char router_http[64], router_metrics[64];
static pid_t router;

void idle_router_start(char **argv, int argc, const uint16_t *ports)
{
    static char urls[IDLE_ENGINES][32];
    int lines[2];
    char **all = calloc((size_t)argc + IDLE_ENGINES + 2, sizeof *all);
    if (all == NULL || pipe(lines) != 0) {
        idle_fail("pipe");
    }
    memcpy(all, argv, (size_t)argc * sizeof *all);
    all[argc] = (char[]){"--worker-urls"};
    for (int i = 0; i < IDLE_ENGINES; i++) {
        snprintf(urls[i], sizeof urls[i], "http://127.0.0.1:%u", (unsigned)ports[i]);
        all[argc + 1 + i] = urls[i];
    }
    router = fork();
    if (router == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlives us */
        dup2(lines[1], STDOUT_FILENO);
        close(lines[0]);
        close(lines[1]);
        execvp(all[0], all);
        perror(all[0]);
        _exit(127);
    }
    close(lines[1]);
    free(all);
    FILE *said = fdopen(lines[0], "r");
    char line[1024] = "";
    if (router < 0 || said == NULL || fgets(line, sizeof line, said) == NULL) {
        idle_fail("the router said nothing");
    }
    const char *http = strstr(line, " http="), *metrics = strstr(line, " metrics=");
    if (http == NULL || metrics == NULL || sscanf(http, " http=%63s", router_http) != 1 ||
        sscanf(metrics, " metrics=%63s", router_metrics) != 1) {
        idle_fail("the router's ports are not in its first line");
    }
}

int idle_router_pid(void)
{
    return router;
}

const char *idle_router_http(void)
{
    return router_http;
}

/* The whole answer to a GET; false: none within 60 s. */
static bool fetch(const char *target, const char *path, char *into, size_t size)
{
    char text[256];
    struct timeval most = {.tv_sec = 60};
    int fd = idle_connect(0, target);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    int len = snprintf(text, sizeof text,
                       "GET %s HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n", path);
    size_t held = 0;
    ssize_t got = send(fd, text, (size_t)len, MSG_NOSIGNAL);
    while (got > 0 && held < size - 1) {
        got = recv(fd, into + held, size - 1 - held, 0);
        held += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    into[held] = '\0';
    return got == 0 && held > 0;
}

bool idle_router_is_ready(void)
{
    static char text[TEXT_MAX];
    return fetch(router_http, "/readiness", text, sizeof text) &&
           strncmp(text, "HTTP/1.1 200", 12) == 0;
}

/* Sum of the lines of a metric that hold `label`; -1: it has none. */
double idle_router_metric(const char *name, const char *label)
{
    static char text[TEXT_MAX];
    double sum = -1;
    if (!fetch(router_metrics, "/metrics", text, sizeof text)) {
        return -1;
    }
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        const char *value = strrchr(line, ' ');
        if (strncmp(line, name, strlen(name)) == 0 && strstr(line, label) != NULL &&
            value != NULL) {
            sum = (sum < 0 ? 0 : sum) + strtod(value, NULL);
        }
    }
    return sum;
}

long idle_router_rss_kb(void)
{
    char path[64];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)router);
    FILE *file = fopen(path, "r");
    if (file == NULL || fscanf(file, "%*s %ld", &pages) != 1) {
        idle_fail(path);
    }
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

uint32_t idle_router_descriptors(void)
{
    char path[64];
    uint32_t count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)router);
    DIR *folder = opendir(path);
    if (folder == NULL) {
        idle_fail(path);
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        count += entry->d_name[0] != '.' ? 1 : 0;
    }
    closedir(folder);
    return count;
}

double idle_router_cpu_s(void)
{
    clockid_t clock;
    struct timespec spent;
    if (clock_getcpuclockid(router, &clock) != 0 || clock_gettime(clock, &spent) != 0) {
        idle_fail("clock of the router");
    }
    return (double)spent.tv_sec + (double)spent.tv_nsec / 1e9;
}

/* Readiness, worst of several, in ms; -1: once it was not ready. */
double idle_router_readiness_ms(void)
{
    double worst = 0;
    for (int i = 0; i < READINESS_ASK; i++) {
        double began = idle_now_s();
        bool ready = idle_router_is_ready();
        double took = (idle_now_s() - began) * 1e3;
        worst = !ready || worst < 0 ? -1 : took > worst ? took : worst;
    }
    return worst;
}

int idle_router_ask(const char *command)
{
    pid_t child = fork();
    if (child == 0) {
        setenv("GV_HTTP", router_http, 1);
        setenv("GV_METRICS", router_metrics, 1);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    return child;
}
