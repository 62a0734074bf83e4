/*
 * packets.c - the UDP half of the mesh: probes and small news, each sealed on its own.
 *
 * A datagram is believed when its (sender, boot) is: that boot has finished a handshake with us, or
 * a member told us of it. Everything else is dropped and counted, and nothing is ever answered to
 * it. Each (sender, boot) keeps its replay window for as long as this process remembers it, so that
 * an old boot cannot be played back either.
 */
#include "grapevine/seal/packet.h"
#include "shell.h"

#include <string.h>

#define BELIEVED_MAX 8192 /* (node, boot) pairs; beyond it the oldest is forgotten */

struct believed {
    struct gv_list by_age;
    uint64_t id[2]; /* name hash, boot: the key */
    char name[GV_NODE_NAME_MAX];
    struct gv_packet_window window;
};

struct gv_packets {
    struct gv_cluster *cluster; /* borrowed */
    struct gv_datagram *datagram;
    struct gv_packet_box box;
    struct gv_map believed; /* id -> struct believed, owned */
    struct gv_list ages;    /* the same, oldest first */
    struct gv_buf sealed;
    struct gv_buf plain;
};

static struct gv_slice id_slice(const uint64_t id[2])
{
    return gv_slice_of(id, 2 * sizeof id[0]);
}

static void disbelieve(struct gv_packets *packets, struct believed *who)
{
    (void)gv_map_take(&packets->believed, id_slice(who->id));
    gv_list_remove(&who->by_age);
    gv_mem_free(GV_MEM_GOSSIP, who);
}

void gv_packets_believe(struct gv_packets *packets, const char *node, uint64_t boot_id)
{
    uint64_t id[2] = {gv_packet_name_hash(node), boot_id};
    if (gv_map_find(&packets->believed, id_slice(id)) != NULL) {
        return;
    }
    if (packets->believed.count >= BELIEVED_MAX) {
        disbelieve(packets, GV_CONTAINER(gv_list_first(&packets->ages), struct believed, by_age));
    }
    struct believed *who = gv_mem_new(GV_MEM_GOSSIP, sizeof *who);
    if (who == NULL) {
        return; /* its probes go over TCP until there is memory */
    }
    memcpy(who->id, id, sizeof id);
    gv_slice_copy_text(gv_slice_text(node), who->name, sizeof who->name);
    gv_list_init(&who->by_age);
    if (gv_map_put(&packets->believed, id_slice(who->id), who) != GV_OK) {
        gv_mem_free(GV_MEM_GOSSIP, who);
        return;
    }
    gv_list_add(&packets->ages, &who->by_age);
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
    struct gv_packet_head head;
    enum gv_err err = gv_packet_peek(&packets->box, bytes, &head);
    if (err != GV_OK) {
        drop(packets, err);
        return;
    }
    uint64_t id[2] = {head.sender, head.boot};
    struct believed *who = gv_map_find(&packets->believed, id_slice(id));
    if (who == NULL) {
        drop(packets, GV_EAUTH);
        return;
    }
    gv_buf_clear(&packets->plain);
    err = gv_packet_open(&packets->box, who->name, &who->window, bytes, &packets->plain);
    if (err != GV_OK) {
        drop(packets, err);
        return;
    }
    gv_gossip_packet(cluster->gossip, from, who->name, gv_buf_slice(&packets->plain),
                     gv_shell_now());
    gv_shell_settle(cluster);
}

void gv_packets_carry(struct gv_packets *packets, const struct gv_effect *effect)
{
    gv_buf_clear(&packets->sealed);
    enum gv_err err = gv_packet_seal(&packets->box, effect->node, effect->bytes, &packets->sealed);
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
    gv_map_init(&made->believed, GV_MEM_GOSSIP, BELIEVED_MAX, secret);
    gv_list_init(&made->ages);
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
    while (!gv_list_is_empty(&packets->ages)) {
        disbelieve(packets, GV_CONTAINER(gv_list_first(&packets->ages), struct believed, by_age));
    }
    gv_map_deinit(&packets->believed);
    gv_buf_deinit(&packets->sealed);
    gv_buf_deinit(&packets->plain);
    gv_mem_free(GV_MEM_GOSSIP, packets);
}
