/*
 * Datagrams over loopback.
 */
#include "grapevine/base/mem.h"
#include "grapevine/net/datagram.h"
#include "support/suite.h"

static const struct gv_addr loopback = {.family = 4, .ip = {127, 0, 0, 1}};

struct peer {
    struct gv_loop *loop;
    struct gv_datagram *datagram;
    uint32_t count;
    uint32_t stop_at;
    size_t last_len;
    char text[8];
};

static void on_datagram(void *owner, const struct gv_addr *from, struct gv_slice bytes)
{
    struct peer *peer = owner;
    struct gv_addr own = gv_datagram_addr(peer->datagram);
    CU_ASSERT(gv_addr_is_loopback(from));
    CU_ASSERT(from->port != own.port);
    peer->count += 1;
    peer->last_len = bytes.len;
    (void)gv_slice_copy_text(bytes, peer->text, sizeof peer->text);
    if (peer->count == peer->stop_at) {
        gv_loop_stop(peer->loop);
    }
}

static void datagrams_arrive(void)
{
    struct peer a = {.stop_at = 0};
    struct peer b = {.stop_at = 3};
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &a.loop), GV_OK);
    b.loop = a.loop;
    CU_ASSERT_EQUAL_FATAL(gv_datagram_open(a.loop, &loopback, on_datagram, &a, &a.datagram), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_datagram_open(a.loop, &loopback, on_datagram, &b, &b.datagram), GV_OK);
    struct gv_addr to = gv_datagram_addr(b.datagram);
    static uint8_t large[60000];
    CU_ASSERT_EQUAL(gv_datagram_send(a.datagram, &to, gv_slice_of(large, sizeof large)), GV_OK);
    CU_ASSERT_EQUAL(gv_datagram_send(a.datagram, &to, gv_slice_text("")), GV_OK);
    CU_ASSERT_EQUAL(gv_datagram_send(a.datagram, &to, gv_slice_text("two")), GV_OK);
    static uint8_t too_large[70000];
    CU_ASSERT_EQUAL(gv_datagram_send(a.datagram, &to, gv_slice_of(too_large, sizeof too_large)),
                    GV_EIO);
    gv_loop_run(a.loop);
    CU_ASSERT_STRING_EQUAL(b.text, "two");
    struct gv_datagram *taken;
    CU_ASSERT_EQUAL(gv_datagram_open(a.loop, &to, on_datagram, &a, &taken), GV_EEXISTS);
    gv_datagram_close(b.datagram);
    gv_datagram_close(NULL);
    gv_loop_free(a.loop);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), 0);
}

GV_SUITE("net/datagram", GV_CASE(datagrams_arrive))
