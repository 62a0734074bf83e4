#define _GNU_SOURCE
#include "support/lan.h"

#include "support/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMMAND_BYTES 512

static const char *const addresses[] = {"10.77.0.1", "10.77.0.2", "10.77.0.3", "10.77.0.4",
                                        "10.77.0.254"};

const char *gv_lan_address(size_t place)
{
    return addresses[place];
}

static void fail(const char *what)
{
    printf("lan: %s: %s\n", what, strerror(errno));
    exit(2);
}

static int here(void)
{
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fail("/proc/self/ns/net");
    }
    return fd;
}

static void go(int namespace)
{
    if (setns(namespace, CLONE_NEWNET) != 0) {
        fail("setns");
    }
}

void gv_lan_enter(const struct gv_lan *lan, size_t place)
{
    go(lan->places[place]);
}

void gv_lan_leave(const struct gv_lan *lan)
{
    go(lan->home);
}

/* Run a shell command at `place`; the exit code. */
__attribute__((format(printf, 3, 4))) static int run(const struct gv_lan *lan, size_t place,
                                                     const char *format, ...)
{
    char command[COMMAND_BYTES];
    struct gv_process process;
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    gv_lan_enter(lan, place);
    bool started =
        gv_process_start(&process, "ip", (const char *const[]){"/bin/sh", "-ec", command, NULL});
    gv_lan_leave(lan);
    int code = started ? gv_process_wait(&process) : -1;
    if (code != 0) {
        printf("lan: exit code %d of: %s (see %s)\n", code, command, process.log);
    }
    return code;
}

static void demand(int code)
{
    if (code != 0) {
        exit(2);
    }
}

bool gv_lan_is_possible(void)
{
    if (geteuid() != 0) {
        printf("SKIPPED: hosts of our own need root (network namespaces)\n");
        return false;
    }
    struct gv_lan lan = {.home = here(), .places = {-1, -1, -1, -1, -1}};
    bool possible = unshare(CLONE_NEWNET) == 0;
    if (!possible) {
        printf("SKIPPED: network namespaces are not permitted here: %s\n", strerror(errno));
        close(lan.home);
        return false;
    }
    lan.places[GV_LAN_SWITCH] = here();
    gv_lan_leave(&lan);
    possible =
        run(&lan, GV_LAN_SWITCH, "ip link add lan type bridge && ip link add v type veth") == 0;
    if (!possible) {
        printf("SKIPPED: `ip` (iproute2), bridges or veth pairs are missing or not permitted\n");
    }
    close(lan.places[GV_LAN_SWITCH]);
    close(lan.home);
    return possible;
}

void gv_lan_open(struct gv_lan *lan, size_t host_count)
{
    *lan = (struct gv_lan){.home = here(), .host_count = host_count};
    for (size_t i = 0; i <= GV_LAN_HOSTS_MAX; i++) {
        lan->places[i] = -1;
        if (i < host_count || i == GV_LAN_SWITCH) {
            if (unshare(CLONE_NEWNET) != 0) {
                fail("unshare");
            }
            lan->places[i] = here();
            gv_lan_leave(lan);
        }
    }
    demand(run(lan, GV_LAN_SWITCH,
               "ip link set lo up; ip link add lan type bridge forward_delay 0; "
               "ip link set lan up; ip addr add %s/24 dev lan",
               addresses[GV_LAN_SWITCH]));
    for (size_t i = 0; i < host_count; i++) {
        demand(run(lan, GV_LAN_SWITCH,
                   "ip link add h%zu type veth peer name eth0 netns /proc/%ld/fd/%d; "
                   "ip link set h%zu master lan up",
                   i, (long)getpid(), lan->places[i], i));
        demand(run(lan, i, "ip link set lo up; ip addr add %s/24 dev eth0; ip link set eth0 up",
                   addresses[i]));
    }
}

void gv_lan_close(struct gv_lan *lan)
{
    for (size_t i = 0; i <= GV_LAN_HOSTS_MAX; i++) {
        if (lan->places[i] >= 0) {
            close(lan->places[i]);
            lan->places[i] = -1;
        }
    }
    close(lan->home);
}

void gv_lan_cut(const struct gv_lan *lan, size_t host, bool is_cut)
{
    demand(run(lan, GV_LAN_SWITCH, "ip link set h%zu %s", host, is_cut ? "down" : "up"));
}

/* To a station that nobody is: the frames leave, and no switch port takes them. */
void gv_lan_deafen(const struct gv_lan *lan, size_t from, size_t to, bool is_deaf)
{
    demand(is_deaf ? run(lan, from,
                         "ip neigh replace %s lladdr 02:00:00:00:00:01 nud permanent dev eth0",
                         addresses[to])
                   : run(lan, from, "ip neigh del %s dev eth0", addresses[to]));
}
