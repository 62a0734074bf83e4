/*
 * test_netns_dns.c - DNS that changes under a cluster: a dnsmasq on the switch of three hosts,
 * whose records come late, grow, shrink and go.
 *
 * Needs root and dnsmasq; skipped (exit code 77) without.
 */
#define _GNU_SOURCE
#include "support/hosts.h"
#include "support/suite.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SKIPPED 77
#define NAME    "mesh.cluster.internal"

/* The name service: its records are a file that is read again at SIGHUP. */
struct dns {
    struct gv_process process;
    char path[256];
};

static void write_records(const struct dns *dns, const char *records)
{
    FILE *file = fopen(dns->path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(records, file);
    fclose(file);
}

static void start_dns(struct gv_hosts *hosts, struct dns *dns, const char *records,
                      const char *const *flags)
{
    char addn[300];
    const char *argv[24] = {"/usr/sbin/dnsmasq",
                            "--keep-in-foreground",
                            "--conf-file=/dev/null",
                            "--no-hosts",
                            "--no-resolv",
                            "--user=root",
                            "--pid-file=",
                            "--listen-address=10.77.0.254",
                            "--bind-interfaces",
                            "--local-ttl=1",
                            "--local=/cluster.internal/",
                            "--log-facility=-",
                            addn};
    size_t count = 13;
    snprintf(dns->path, sizeof dns->path, "%s/records-%ld", gv_test_folder(), (long)getpid());
    snprintf(addn, sizeof addn, "--addn-hosts=%s", dns->path);
    write_records(dns, records);
    for (size_t i = 0; flags != NULL && flags[i] != NULL; i++) {
        argv[count++] = flags[i];
    }
    gv_lan_enter(&hosts->lan, GV_LAN_SWITCH);
    CU_ASSERT_TRUE_FATAL(gv_process_start(&dns->process, "dnsmasq", argv));
    CU_ASSERT_TRUE_FATAL(gv_process_await(&dns->process, "read ", NULL, 0));
    gv_lan_leave(&hosts->lan);
}

static void change_records(struct dns *dns, const char *records)
{
    write_records(dns, records);
    gv_process_signal(&dns->process, SIGHUP);
}

static void end(struct gv_hosts *hosts, struct dns *dns)
{
    CU_ASSERT_TRUE(gv_hosts_await_agreement(hosts));
    gv_process_kill(&dns->process);
    gv_hosts_close(hosts);
}

static void await_alive(struct gv_hosts *hosts, size_t from, size_t to, int count)
{
    for (size_t i = from; i <= to; i++) {
        CU_ASSERT_TRUE_FATAL(gv_hosts_await_alive(hosts, i, count));
    }
}

/* vinectl on the first host, asking whoever of the name answers. */
static int ask_any(struct gv_hosts *hosts)
{
    struct gv_process vinectl;
    const char *const argv[] = {"vinectl", "--endpoint", "http://" NAME ":30000", "nodes", NULL};
    gv_lan_enter(&hosts->lan, 0);
    CU_ASSERT_TRUE_FATAL(gv_process_start(&vinectl, "vinectl", argv));
    gv_lan_leave(&hosts->lan);
    return gv_process_wait(&vinectl);
}

static void the_cluster_follows_the_records_of_its_name(void)
{
    struct gv_hosts hosts;
    struct dns dns;
    gv_hosts_open(&hosts, 3);
    start_dns(&hosts, &dns, "", NULL);
    /* Before there is a record: each runs alone, and is ready all the same. */
    for (size_t i = 0; i < 2; i++) {
        CU_ASSERT_TRUE_FATAL(gv_hosts_start(&hosts, i, NAME, NULL));
        CU_ASSERT_TRUE_FATAL(gv_hosts_await_ready(&hosts, i));
        CU_ASSERT_TRUE(gv_hosts_await_alive(&hosts, i, 1));
    }
    /* A alone is in it, and is not its own seed; B, which asks again and again, finds it. */
    change_records(&dns, "10.77.0.1 " NAME "\n");
    await_alive(&hosts, 0, 1, 2);
    /* All three, before C runs: an address that does not answer disturbs nobody. */
    change_records(&dns, "10.77.0.1 " NAME "\n10.77.0.2 " NAME "\n10.77.0.3 " NAME "\n");
    CU_ASSERT_TRUE_FATAL(gv_hosts_start(&hosts, 2, NAME, NULL));
    await_alive(&hosts, 0, 2, 3);
    CU_ASSERT_TRUE(gv_hosts_await_agreement(&hosts));
    /* Without A: those that know each other stay; who starts anew comes in through the others. */
    change_records(&dns, "10.77.0.2 " NAME "\n10.77.0.3 " NAME "\n");
    gv_process_kill(&hosts.nodes[2]);
    await_alive(&hosts, 0, 1, 2);
    for (int i = 0; i < 4; i++) {            /* each address comes first in turn; C does not run */
        CU_ASSERT_EQUAL(ask_any(&hosts), 1); /* not 3: B answers, and finds C missing */
    }
    CU_ASSERT_TRUE_FATAL(gv_hosts_start(&hosts, 2, NAME, NULL));
    await_alive(&hosts, 0, 2, 3);
    CU_ASSERT_EQUAL(gv_hosts_chat(&hosts, 0, 1), 200);
    end(&hosts, &dns);
}

static void service_records_name_host_and_port(void)
{
    static const char srv[] = "srv:_grapevine._tcp.cluster.internal";
    struct gv_hosts hosts;
    struct dns dns;
    gv_hosts_open(&hosts, 3);
    start_dns(&hosts, &dns, "10.77.0.1 a.cluster.internal\n10.77.0.2 b.cluster.internal\n",
              (const char *const[]){
                  "--srv-host=_grapevine._tcp.cluster.internal,a.cluster.internal,39527",
                  "--srv-host=_grapevine._tcp.cluster.internal,b.cluster.internal,39527", NULL});
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE_FATAL(gv_hosts_start(&hosts, i, srv, NULL));
    }
    await_alive(&hosts, 0, 2, 3);
    end(&hosts, &dns);
}

static void a_cluster_outlives_its_name_service(void)
{
    struct gv_hosts hosts;
    struct dns dns;
    gv_hosts_open(&hosts, 3);
    start_dns(&hosts, &dns, "10.77.0.1 " NAME "\n10.77.0.2 " NAME "\n", NULL);
    for (size_t i = 0; i < 2; i++) {
        CU_ASSERT_TRUE_FATAL(gv_hosts_start(&hosts, i, NAME, NULL));
    }
    await_alive(&hosts, 0, 1, 2);
    gv_process_kill(&dns.process);
    /* Started while nobody answers; found when somebody does. The others do not even notice. */
    CU_ASSERT_TRUE_FATAL(gv_hosts_start(&hosts, 2, NAME, NULL));
    CU_ASSERT_TRUE_FATAL(gv_hosts_await_ready(&hosts, 2));
    CU_ASSERT_EQUAL(gv_hosts_chat(&hosts, 2, 1), 200);
    CU_ASSERT_EQUAL(gv_hosts_number(&hosts, 0, "/grapevine/v1/status", "", "suspicions"), 0);
    start_dns(&hosts, &dns, "10.77.0.1 " NAME "\n10.77.0.2 " NAME "\n", NULL);
    await_alive(&hosts, 0, 2, 3);
    end(&hosts, &dns);
}

static const struct gv_case cases[] = {
    GV_CASE(the_cluster_follows_the_records_of_its_name),
    GV_CASE(service_records_name_host_and_port),
    GV_CASE(a_cluster_outlives_its_name_service),
};

int main(int argc, char **argv)
{
    if (access("/usr/sbin/dnsmasq", X_OK) != 0) {
        printf("SKIPPED: /usr/sbin/dnsmasq (dnsmasq-base) is not installed\n");
        return SKIPPED;
    }
    if (!gv_lan_is_possible()) {
        return SKIPPED;
    }
    setenv("GRAPEVINE_DNS_SERVERS", "10.77.0.254:53", 1);
    return gv_suite_main("integration/netns_dns", cases, sizeof cases / sizeof cases[0], argc,
                         argv);
}
