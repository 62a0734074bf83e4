#include "support/hosts.h"

#include "support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAKETIME_LIBRARY "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"

static struct gv_world_node at_http(void)
{
    return (struct gv_world_node){.port = GV_HOSTS_HTTP_PORT, .name = "node"};
}

static void start_engines(struct gv_hosts *hosts, size_t host)
{
    gv_lan_enter(&hosts->lan, host);
    bool ok = gv_process_start(&hosts->engines[host], "engines",
                               (const char *const[]){"mockworker", "--port", "9001", "--count", "2",
                                                     "--speed", "0", NULL}) &&
              gv_process_await(&hosts->engines[host], "ready on", NULL, 0);
    gv_lan_leave(&hosts->lan);
    if (!ok) {
        exit(2);
    }
}

void gv_hosts_open(struct gv_hosts *hosts, size_t count)
{
    static unsigned made;
    memset(hosts, 0, sizeof *hosts);
    gv_lan_open(&hosts->lan, count);
    struct gv_process keys;
    snprintf(hosts->keyring, sizeof hosts->keyring, "%s/mesh-%u.keys", gv_test_folder(), made++);
    if (!gv_process_start(
            &keys, "keys",
            (const char *const[]){"vinectl", "keys", "generate", hosts->keyring, NULL}) ||
        gv_process_wait(&keys) != 0) {
        exit(2);
    }
    for (size_t i = 0; i < count; i++) {
        start_engines(hosts, i);
    }
}

void gv_hosts_close(struct gv_hosts *hosts)
{
    for (size_t i = 0; i < hosts->lan.host_count; i++) {
        gv_process_kill(&hosts->nodes[i]);
        gv_process_kill(&hosts->engines[i]);
    }
    gv_lan_close(&hosts->lan);
}

bool gv_hosts_start(struct gv_hosts *hosts, size_t host, const char *seeds,
                    const char *const *flags)
{
    char name[16];
    char url[64];
    const char *address = gv_lan_address(host);
    snprintf(name, sizeof name, "node-%c", (char)('a' + host));
    snprintf(url, sizeof url, "http://%s:%d", address, GV_HOSTS_HTTP_PORT);
    const char *argv[GV_PROCESS_ARGS_MAX] = {"grapevine",
                                             "--host",
                                             "0.0.0.0",
                                             "--port",
                                             "30000",
                                             "--prometheus-port",
                                             "29000",
                                             "--mesh-host",
                                             address,
                                             "--mesh-port",
                                             "39527",
                                             "--mesh-keyring",
                                             hosts->keyring,
                                             "--node-name",
                                             name,
                                             "--advertise-url",
                                             url,
                                             "--threads",
                                             "1",
                                             "--worker-urls",
                                             "http://127.0.0.1:9001",
                                             "http://127.0.0.1:9002",
                                             "--seeds",
                                             seeds,
                                             "--drain-settle-secs",
                                             "0",
                                             "--log-level",
                                             "debug"};
    size_t count = 0;
    while (argv[count] != NULL) {
        count += 1;
    }
    for (size_t i = 0; flags != NULL && flags[i] != NULL; i++) {
        argv[count++] = flags[i];
    }
    gv_lan_enter(&hosts->lan, host);
    bool ok = gv_process_start(&hosts->nodes[host], name, argv) &&
              gv_process_await(&hosts->nodes[host], "node.listening", NULL, 0);
    gv_lan_leave(&hosts->lan);
    return ok;
}

bool gv_hosts_have_clocks(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    bool can_preload = false; /* a sanitizer wants to be first */
#else
    bool can_preload = access(FAKETIME_LIBRARY, R_OK) == 0;
#endif
    if (!can_preload) {
        printf("(without libfaketime, or with a sanitizer: skipped) ");
    }
    return can_preload;
}

bool gv_hosts_start_with_clock(struct gv_hosts *hosts, size_t host, const char *seeds,
                               const char *name, const char *value)
{
    setenv("LD_PRELOAD", FAKETIME_LIBRARY, 1);
    setenv("FAKETIME_CACHE_DURATION", "1", 1);
    setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1", 1);
    setenv(name, value, 1);
    bool started = gv_hosts_start(hosts, host, seeds, NULL);
    unsetenv("LD_PRELOAD");
    unsetenv("FAKETIME_CACHE_DURATION");
    unsetenv("FAKETIME_DONT_FAKE_MONOTONIC");
    unsetenv(name);
    return started;
}

/* ---- questions ---------------------------------------------------------------------------------
 */

static void ask(struct gv_hosts *hosts, size_t host, const char *path, struct gv_reply *reply)
{
    gv_lan_enter(&hosts->lan, host);
    gv_talk_ask(GV_HOSTS_HTTP_PORT, "GET", path, NULL, NULL, reply);
    gv_lan_leave(&hosts->lan);
}

struct wish {
    struct gv_hosts *hosts;
    size_t host;
    int count;
    const char *text; /* url or status */
    char name[16];    /* of the member it is about */
};

static bool sees_alive(void *owner)
{
    const struct wish *wish = owner;
    struct gv_reply reply;
    int count = 0;
    ask(wish->hosts, wish->host, "/grapevine/v1/nodes", &reply);
    for (const char *at = reply.body; (at = strstr(at, "\"status\":\"alive\"")) != NULL; at++) {
        count++;
    }
    gv_reply_deinit(&reply);
    return count == wish->count;
}

static bool says_ready(void *owner)
{
    const struct wish *wish = owner;
    struct gv_reply reply;
    ask(wish->hosts, wish->host, "/readiness", &reply);
    bool ready = reply.status == 200 && gv_reply_number(&reply, "healthy_workers") == 2;
    gv_reply_deinit(&reply);
    return ready;
}

static bool sees_status(void *owner)
{
    const struct wish *wish = owner;
    struct gv_reply reply;
    char wanted[80];
    snprintf(wanted, sizeof wanted, "\"name\":\"%s\",\"status\":\"%s\"", wish->name, wish->text);
    ask(wish->hosts, wish->host, "/grapevine/v1/nodes", &reply);
    bool seen = strstr(reply.body, wanted) != NULL;
    gv_reply_deinit(&reply);
    return seen;
}

static bool knows_not(void *owner)
{
    const struct wish *wish = owner;
    struct gv_reply reply;
    ask(wish->hosts, wish->host, "/grapevine/v1/workers", &reply);
    bool without = reply.status == 200 && strstr(reply.body, wish->text) == NULL;
    gv_reply_deinit(&reply);
    return without;
}

bool gv_hosts_await_alive(struct gv_hosts *hosts, size_t host, int count)
{
    struct wish wish = {.hosts = hosts, .host = host, .count = count};
    return gv_test_await(sees_alive, &wish, 0);
}

bool gv_hosts_await_ready(struct gv_hosts *hosts, size_t host)
{
    struct wish wish = {.hosts = hosts, .host = host};
    return gv_test_await(says_ready, &wish, 0);
}

bool gv_hosts_await_status(struct gv_hosts *hosts, size_t host, size_t about, const char *status)
{
    struct wish wish = {.hosts = hosts, .host = host, .text = status};
    snprintf(wish.name, sizeof wish.name, "node-%c", (char)('a' + about));
    return gv_test_await(sees_status, &wish, 0);
}

bool gv_hosts_await_without(struct gv_hosts *hosts, size_t host, const char *url)
{
    struct wish wish = {.hosts = hosts, .host = host, .text = url};
    return gv_test_await(knows_not, &wish, 0);
}

static bool agree(void *owner)
{
    struct gv_hosts *hosts = owner;
    char first[2][40] = {"", ""};
    for (size_t i = 0; i < hosts->lan.host_count; i++) {
        struct gv_reply reply;
        char digest[40] = "";
        char deep[40] = "";
        if (hosts->nodes[i].pid == 0) {
            continue;
        }
        ask(hosts, i, "/grapevine/v1/digest?deep=1", &reply);
        gv_reply_text(&reply, "digest", digest, sizeof digest);
        gv_reply_text(&reply, "deep", deep, sizeof deep);
        gv_reply_deinit(&reply);
        if (deep[0] == '\0' || (first[0][0] != '\0' &&
                                (strcmp(first[0], digest) != 0 || strcmp(first[1], deep) != 0))) {
            return false;
        }
        memcpy(first[0], digest, sizeof digest);
        memcpy(first[1], deep, sizeof deep);
    }
    return true;
}

bool gv_hosts_await_agreement(struct gv_hosts *hosts)
{
    return gv_test_await(agree, hosts, 0);
}

int gv_hosts_chat(struct gv_hosts *hosts, size_t host, int seed)
{
    struct gv_world_node node = at_http();
    char prompt[2000];
    gv_world_prompt(prompt, sizeof prompt, seed);
    gv_lan_enter(&hosts->lan, host);
    int status = gv_world_chat(&node, prompt, NULL, 0);
    gv_lan_leave(&hosts->lan);
    return status;
}

int gv_hosts_chat_begin(struct gv_hosts *hosts, size_t host, int seed)
{
    char prompt[2000];
    char head[200];
    gv_world_prompt(prompt, sizeof prompt, seed);
    char *body = gv_world_chat_body(prompt, false);
    gv_lan_enter(&hosts->lan, host);
    int fd = gv_talk_connect(GV_HOSTS_HTTP_PORT);
    gv_lan_leave(&hosts->lan);
    snprintf(head, sizeof head,
             "POST /v1/chat/completions HTTP/1.1\r\nHost: node\r\nContent-Length: %zu\r\n\r\n",
             strlen(body));
    if (fd >= 0) {
        gv_talk_send_text(fd, head);
        gv_talk_send_text(fd, body);
    }
    free(body);
    return fd;
}

long gv_hosts_number(struct gv_hosts *hosts, size_t host, const char *path, const char *after,
                     const char *name)
{
    struct gv_world_node node = at_http();
    gv_lan_enter(&hosts->lan, host);
    long number = gv_world_number(&node, path, after, name);
    gv_lan_leave(&hosts->lan);
    return number;
}

int gv_hosts_remove_worker(struct gv_hosts *hosts, size_t host, const char *url)
{
    struct gv_world_node node = at_http();
    gv_lan_enter(&hosts->lan, host);
    int status = gv_world_remove_worker(&node, url);
    gv_lan_leave(&hosts->lan);
    return status;
}

void gv_hosts_fault(struct gv_hosts *hosts, size_t host, const char *json)
{
    gv_lan_enter(&hosts->lan, host);
    for (uint16_t port = 9001; port <= 9002; port++) {
        struct gv_world_worker worker = {.port = port};
        gv_world_fault(&worker, json);
    }
    gv_lan_leave(&hosts->lan);
}

static struct gv_process vinectl; /* the last run */

bool gv_hosts_vinectl_said(const char *words)
{
    return gv_process_has_said(&vinectl, words);
}

int gv_hosts_vinectl(struct gv_hosts *hosts, size_t host, const char *command, const char *flag)
{
    gv_lan_enter(&hosts->lan, host);
    bool started =
        gv_process_start(&vinectl, "vinectl",
                         (const char *const[]){"vinectl", "--endpoint", "http://127.0.0.1:30000",
                                               command, flag, NULL});
    gv_lan_leave(&hosts->lan);
    int code = started ? gv_process_wait(&vinectl) : -1;
    char line[512];
    FILE *file = code == 0 ? NULL : fopen(vinectl.log, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        fputs(line, stdout);
    }
    if (file != NULL) {
        fclose(file);
    }
    return code;
}
