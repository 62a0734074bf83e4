/*
 * outbox.c - see outbox.h.
 */
#include "outbox.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"

struct gv_outbox_blob {
    struct gv_outbox_blob *next; /* owned */
    size_t len;                  /* bytes behind this head */
};

void gv_outbox_init(struct gv_outbox *outbox)
{
    *outbox = (struct gv_outbox){0};
}

static void drop_blobs(struct gv_outbox *outbox)
{
    while (outbox->blobs != NULL) {
        struct gv_outbox_blob *blob = outbox->blobs;
        outbox->blobs = blob->next;
        gv_mem_free(GV_MEM_GOSSIP, blob);
    }
}

void gv_outbox_deinit(struct gv_outbox *outbox)
{
    drop_blobs(outbox);
    gv_mem_free(GV_MEM_GOSSIP, outbox->effects);
    *outbox = (struct gv_outbox){0};
}

void gv_outbox_begin(struct gv_outbox *outbox)
{
    GV_ASSERT(outbox->next <= outbox->count);
    if (outbox->next == outbox->count) {
        outbox->next = 0;
        outbox->count = 0;
        drop_blobs(outbox);
    }
}

uint8_t *gv_outbox_bytes(struct gv_outbox *outbox, size_t bytes)
{
    struct gv_outbox_blob *blob = gv_mem_new(GV_MEM_GOSSIP, sizeof *blob + bytes);
    if (blob == NULL) {
        return NULL;
    }
    blob->len = bytes;
    blob->next = outbox->blobs;
    outbox->blobs = blob;
    return (uint8_t *)(blob + 1);
}

bool gv_outbox_add(struct gv_outbox *outbox, const struct gv_effect *effect)
{
    if (outbox->count == outbox->room) {
        size_t room = outbox->room == 0 ? 64 : outbox->room * 2;
        struct gv_effect *grown =
            gv_mem_resize(GV_MEM_GOSSIP, outbox->effects, room * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        outbox->effects = grown;
        outbox->room = room;
    }
    outbox->effects[outbox->count++] = *effect;
    return true;
}

bool gv_outbox_next(struct gv_outbox *outbox, struct gv_effect *effect)
{
    if (outbox->next == outbox->count) {
        return false;
    }
    *effect = outbox->effects[outbox->next++];
    return true;
}
