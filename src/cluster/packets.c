/*
 * packets.c - the UDP half of the mesh: probes and small news, each sealed on its own.
 *
 * A datagram is believed when its (sender, boot) is, see believed.h. Everything else is dropped and
 * counted, and nothing is ever answered to it. A packet is for one start of its receiver, so that
 * what was recorded before a restart cannot be played back after it.
 */
#include "cluster/believed.h"
#include "shell.h"

#include <string.h>

struct gv_packets {
    struct gv_cluster *cluster; /* borrowed */
    struct gv_datagram *datagram;
    struct gv_packet_box box;
    struct gv_believed believed;
    struct gv_buf sealed;
    struct gv_buf plain;
};

void gv_packets_believe(struct gv_packets *packets, const char *node, uint64_t boot_id)
{
    gv_believed_add(&packets->believed, node, boot_id);
}

static void drop(struct gv_packets *packets, enum gv_err err)
{
    if (err == GV_ESTALE) {
        packets->cluster->counters.packets_replayed += 1;
    } else {
        packets->cluster->counters.packets_unsealed += 1;
    }
}

static void on_datagram(void *owner, const struct gv_addr *from, struct gv_slice bytes)
{
    struct gv_packets *packets = owner;
    struct gv_cluster *cluster = packets->cluster;
    if (cluster->closing) {
        return;
    }
    const char *sender = NULL;
    enum gv_err err =
        gv_believed_open(&packets->believed, &packets->box, bytes, &packets->plain, &sender);
    if (err != GV_OK) {
        drop(packets, err);
        return;
    }
    gv_gossip_packet(cluster->gossip, from, sender, gv_buf_slice(&packets->plain), gv_shell_now());
    gv_shell_settle(cluster);
}

void gv_packets_carry(struct gv_packets *packets, const struct gv_effect *effect)
{
    gv_buf_clear(&packets->sealed);
    packets->box.under = gv_links_packet_key(packets->cluster->links);
    enum gv_err err = gv_packet_seal(&packets->box, effect->node, effect->boot_id, effect->bytes,
                                     &packets->sealed);
    if (err == GV_OK) {
        err = gv_datagram_send(packets->datagram, &effect->addr, gv_buf_slice(&packets->sealed));
    }
    if (err != GV_OK) {
        packets->cluster->counters.packets_unsent += 1; /* as good as lost on the way */
    }
}

enum gv_err gv_packets_open(struct gv_cluster *cluster, struct gv_addr addr,
                            struct gv_packets **packets)
{
    struct gv_packets *made = gv_mem_new(GV_MEM_GOSSIP, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    made->cluster = cluster;
    uint64_t secret[2];
    gv_random_bytes(secret, sizeof secret);
    gv_believed_init(&made->believed, secret);
    gv_buf_init(&made->sealed, GV_MEM_GOSSIP, GV_PACKET_MAX_BYTES);
    gv_buf_init(&made->plain, GV_MEM_GOSSIP, GV_PACKET_MAX_BYTES);
    enum gv_err err =
        gv_packet_box_init(&made->box, gv_keys_live(cluster), cluster->options.config->cluster_id,
                           cluster->node, cluster->boot_id);
    if (err == GV_OK) {
        err = gv_datagram_open(cluster->loop, &addr, on_datagram, made, &made->datagram);
    }
    if (err != GV_OK) {
        gv_packets_close(made);
        return err;
    }
    *packets = made;
    return GV_OK;
}

void gv_packets_close(struct gv_packets *packets)
{
    if (packets == NULL) {
        return;
    }
    gv_datagram_close(packets->datagram);
    gv_believed_deinit(&packets->believed);
    gv_buf_deinit(&packets->sealed);
    gv_buf_deinit(&packets->plain);
    gv_mem_free(GV_MEM_GOSSIP, packets);
}
