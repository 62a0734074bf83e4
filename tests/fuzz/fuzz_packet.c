/*
 * fuzz_packet.c - what a stranger sends to the UDP port: never believed by a keyed node, and read
 * in bounds by a keyless one.
 */
#include "grapevine/base/assert.h"
#include "grapevine/seal/packet.h"

#define KEYRING "key 9ea90a6f9b50c44e AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= active\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void receive(const struct gv_keyring *ring, struct gv_slice packet)
{
    struct gv_packet_box box;
    struct gv_packet_head head;
    struct gv_packet_window window = {0};
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_GENERAL, GV_PACKET_MAX_BYTES);
    GV_ASSERT(gv_packet_box_init(&box, ring, "cluster", "b", 1) == GV_OK);
    enum gv_err peeked = gv_packet_peek(&box, packet, &head);
    enum gv_err opened = gv_packet_open(&box, "a", &window, packet, &out);
    GV_ASSERT(peeked == GV_OK || opened == peeked);
    GV_ASSERT(opened != GV_OK || ring == NULL);
    GV_ASSERT(opened != GV_OK || out.len == packet.len - GV_PACKET_HEAD_BYTES);
    GV_ASSERT(opened == GV_OK || (out.len == 0 && window.highest == 0));
    if (opened == GV_OK) {
        GV_ASSERT(gv_packet_open(&box, "a", &window, packet, &out) == GV_ESTALE);
    }
    gv_buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gv_keyring *ring;
    struct gv_keyring_fault fault;
    if (ring == NULL) {
        GV_ASSERT(gv_keyring_parse(gv_slice_text(KEYRING), &ring, &fault) == GV_OK);
    }
    receive(NULL, gv_slice_of(data, size));
    receive(ring, gv_slice_of(data, size));
    return 0;
}
