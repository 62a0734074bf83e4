/* tls_crowd.c - see tls_crowd.h. */
#include "tls_crowd.h"

#include "grapevine/base/assert.h"
#include <openssl/rand.h>
#include <string.h>
#include <time.h>

void gv_tls_crowd_init(struct gv_tls_crowd *crowd)
{
    if (RAND_bytes((unsigned char *)crowd->seeds, sizeof crowd->seeds) != 1) {
        crowd->seeds[0] = (uint64_t)time(NULL); /* worse, but no reason not to serve */
        crowd->seeds[1] = ~crowd->seeds[0];
    }
}

/* What one host cannot change: all of an IPv4 address, also as IPv6 writes it, or a /64. */
static uint64_t name_of(const struct gv_addr *addr)
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    uint64_t name = 0;
    if (addr->family == 4) {
        memcpy(&name, addr->ip, 4);
    } else if (memcmp(addr->ip, mapped, sizeof mapped) == 0) {
        memcpy(&name, addr->ip + sizeof mapped, 4);
    } else {
        memcpy(&name, addr->ip, 8);
    }
    return name;
}

static atomic_uint *counter(struct gv_tls_crowd *crowd, uint32_t row, uint64_t name)
{
    uint64_t hash = (name ^ crowd->seeds[row]) * UINT64_C(0x9E3779B97F4A7C15);
    hash = (hash ^ hash >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    hash ^= hash >> 32;
    return &crowd->counts[row][hash % GV_TLS_CROWD_COUNTERS];
}

bool gv_tls_crowd_enter(struct gv_tls_crowd *crowd, const struct gv_addr *addr, uint32_t most)
{
    uint64_t name = name_of(addr);
    unsigned least = UINT32_MAX;
    for (uint32_t row = 0; row < GV_TLS_CROWD_ROWS; row++) {
        unsigned before = atomic_fetch_add(counter(crowd, row, name), 1);
        least = before < least ? before : least;
    }
    if (least >= most) {
        gv_tls_crowd_leave(crowd, addr);
        return false;
    }
    return true;
}

void gv_tls_crowd_leave(struct gv_tls_crowd *crowd, const struct gv_addr *addr)
{
    uint64_t name = name_of(addr);
    for (uint32_t row = 0; row < GV_TLS_CROWD_ROWS; row++) {
        unsigned before = atomic_fetch_sub(counter(crowd, row, name), 1);
        GV_ASSERT(before >= 1); /* who leaves had entered */
    }
}
