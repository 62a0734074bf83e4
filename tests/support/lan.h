/*
 * lan.h - several hosts on one machine: network namespaces behind a switch of their own.
 *
 * Host number i has the address 10.77.0.(i+1) on eth0 and a loopback of its own; the switch has
 * 10.77.0.254. Nothing here has a name: a namespace lives as long as somebody is inside or holds
 * its descriptor, so the kernel takes everything away when the test program ends, however it ends,
 * and any number of test programs may run side by side.
 *
 *     gv_lan_enter(lan, 1);     programs and sockets made now are on host 1
 *     gv_lan_leave(lan);        back to where the test began
 *
 * Needs root. For one thread.
 */
#ifndef GV_TESTS_SUPPORT_LAN_H
#define GV_TESTS_SUPPORT_LAN_H

#include <stdbool.h>
#include <stddef.h>

#define GV_LAN_HOSTS_MAX 4
#define GV_LAN_SWITCH    GV_LAN_HOSTS_MAX /* for gv_lan_enter(): where the switch itself is */

struct gv_lan {
    int home;                         /* descriptors of namespaces */
    int places[GV_LAN_HOSTS_MAX + 1]; /* the hosts, and the switch last; -1 none */
    size_t host_count;
};

/** Is this process allowed to make hosts? When not, says why in one line. */
bool gv_lan_is_possible(void);

/** Make `host_count` hosts that all see each other; what fails ends the program. */
void gv_lan_open(struct gv_lan *lan, size_t host_count);
void gv_lan_close(struct gv_lan *lan);

void gv_lan_enter(const struct gv_lan *lan, size_t place);
void gv_lan_leave(const struct gv_lan *lan);

/** Pull the host's cable out of the switch, or put it back. Nobody is told anything. */
void gv_lan_cut(const struct gv_lan *lan, size_t host, bool is_cut);

/** What `from` sends to `to` is lost, without an error for the one that sends; or no longer. */
void gv_lan_deafen(const struct gv_lan *lan, size_t from, size_t to, bool is_deaf);

/** The address of a host, "10.77.0.1"; the switch's for GV_LAN_SWITCH. Static. */
const char *gv_lan_address(size_t place);

#endif
