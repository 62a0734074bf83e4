/*
 * backoff.c - see backoff.h.
 */
#include "backoff.h"

static struct gv_backoff_slot *find(struct gv_backoff *backoff, const struct gv_addr *addr)
{
    for (uint32_t i = 0; i < GV_BACKOFF_SLOTS; i++) {
        struct gv_backoff_slot *slot = &backoff->slots[i];
        if (slot->delay_ms > 0 && gv_addr_equal(&slot->addr, addr)) {
            return slot;
        }
    }
    return NULL;
}

void gv_backoff_add(struct gv_backoff *backoff, const struct gv_addr *addr, uint64_t now_ms)
{
    struct gv_backoff_slot *slot = find(backoff, addr);
    if (slot == NULL) { /* take a free slot, or the one that is over first */
        slot = &backoff->slots[0];
        for (uint32_t i = 1; i < GV_BACKOFF_SLOTS; i++) {
            if (backoff->slots[i].until_ms < slot->until_ms) {
                slot = &backoff->slots[i];
            }
        }
        *slot = (struct gv_backoff_slot){.addr = *addr};
    }
    slot->delay_ms = slot->delay_ms == 0 ? GV_BACKOFF_LEAST_MS : slot->delay_ms * 2;
    slot->delay_ms = slot->delay_ms > GV_BACKOFF_MOST_MS ? GV_BACKOFF_MOST_MS : slot->delay_ms;
    slot->until_ms = now_ms + slot->delay_ms;
}

void gv_backoff_remove(struct gv_backoff *backoff, const struct gv_addr *addr)
{
    struct gv_backoff_slot *slot = find(backoff, addr);
    if (slot != NULL) {
        *slot = (struct gv_backoff_slot){.delay_ms = 0};
    }
}

bool gv_backoff_has(struct gv_backoff *backoff, const struct gv_addr *addr, uint64_t now_ms)
{
    const struct gv_backoff_slot *slot = find(backoff, addr);
    return slot != NULL && now_ms < slot->until_ms;
}
