/*
 * believed.c - see believed.h.
 */
#include "cluster/believed.h"

#include "grapevine/base/mem.h"

#include <string.h>

struct believed {
    struct gv_list by_age;
    uint64_t id[2]; /* name hash, boot: the key */
    char name[GV_PACKET_NAME_MAX];
    struct gv_packet_window window;
};

static struct gv_slice id_slice(const uint64_t id[2])
{
    return gv_slice_of(id, 2 * sizeof id[0]);
}

void gv_believed_init(struct gv_believed *believed, const uint64_t secret[2])
{
    gv_map_init(&believed->pairs, GV_MEM_GOSSIP, GV_BELIEVED_MAX, secret);
    gv_list_init(&believed->ages);
}

static void disbelieve(struct gv_believed *believed, struct believed *who)
{
    (void)gv_map_take(&believed->pairs, id_slice(who->id));
    gv_list_remove(&who->by_age);
    gv_mem_free(GV_MEM_GOSSIP, who);
}

static struct believed *oldest(struct gv_believed *believed)
{
    return GV_CONTAINER(gv_list_first(&believed->ages), struct believed, by_age);
}

void gv_believed_deinit(struct gv_believed *believed)
{
    while (!gv_list_is_empty(&believed->ages)) {
        disbelieve(believed, oldest(believed));
    }
    gv_map_deinit(&believed->pairs);
}

void gv_believed_add(struct gv_believed *believed, const char *node, uint64_t boot_id)
{
    uint64_t id[2] = {gv_packet_name_hash(node), boot_id};
    if (gv_map_find(&believed->pairs, id_slice(id)) != NULL) {
        return;
    }
    if (believed->pairs.count >= GV_BELIEVED_MAX) {
        disbelieve(believed, oldest(believed));
    }
    struct believed *who = gv_mem_new(GV_MEM_GOSSIP, sizeof *who);
    if (who == NULL) {
        return; /* its probes go over TCP until there is memory */
    }
    memcpy(who->id, id, sizeof id);
    gv_slice_copy_text(gv_slice_text(node), who->name, sizeof who->name);
    gv_list_init(&who->by_age);
    if (gv_map_put(&believed->pairs, id_slice(who->id), who) != GV_OK) {
        gv_mem_free(GV_MEM_GOSSIP, who);
        return;
    }
    gv_list_add(&believed->ages, &who->by_age);
}

enum gv_err gv_believed_open(struct gv_believed *believed, const struct gv_packet_box *box,
                             struct gv_slice packet, struct gv_buf *plain, const char **sender)
{
    struct gv_packet_head head;
    gv_buf_clear(plain);
    enum gv_err err = gv_packet_peek(box, packet, &head);
    if (err != GV_OK) {
        return err;
    }
    uint64_t id[2] = {head.sender, head.boot};
    struct believed *who = gv_map_find(&believed->pairs, id_slice(id));
    if (who == NULL) {
        return GV_EAUTH;
    }
    *sender = who->name;
    return gv_packet_open(box, who->name, &who->window, packet, plain);
}
