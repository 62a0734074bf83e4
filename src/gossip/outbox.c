/*
 * outbox.c - see outbox.h.
 */
#include "outbox.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"

void gv_outbox_init(struct gv_outbox *outbox)
{
    *outbox = (struct gv_outbox){0};
    gv_arena_init(&outbox->bytes, GV_MEM_GOSSIP, SIZE_MAX); /* sessions have limits, and paces */
}

void gv_outbox_deinit(struct gv_outbox *outbox)
{
    gv_arena_deinit(&outbox->bytes);
    gv_mem_free(GV_MEM_GOSSIP, outbox->effects);
    *outbox = (struct gv_outbox){0};
}

void gv_outbox_begin(struct gv_outbox *outbox)
{
    GV_ASSERT(outbox->next <= outbox->count);
    if (outbox->next == outbox->count) {
        outbox->next = 0;
        outbox->count = 0;
        gv_arena_reset(&outbox->bytes);
    }
}

uint8_t *gv_outbox_bytes(struct gv_outbox *outbox, size_t bytes)
{
    return gv_arena_take_raw(&outbox->bytes, bytes);
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
