/*
 * shelf.c - see shelf.h.
 */
#include "shelf.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"

void gv_shelf_init(struct gv_shelf *shelf, size_t max_bytes)
{
    *shelf = (struct gv_shelf){.max_bytes = max_bytes};
}

static size_t size_of(const struct gv_kept *kept)
{
    return sizeof *kept + kept->len;
}

/* The oldest of all is also the oldest of its log: both lists go by age. */
static void drop_oldest(struct gv_shelf *shelf)
{
    struct gv_kept *kept = shelf->oldest;
    struct gv_origin *origin = kept->origin;
    if (origin != NULL) {
        GV_ASSERT(origin->kept_oldest == kept);
        origin->kept_oldest = kept->next_of_log;
        if (origin->kept_oldest == NULL) {
            origin->kept_newest = NULL;
        } else {
            origin->kept_oldest->prev_of_log = NULL;
        }
    }
    shelf->oldest = kept->next;
    if (shelf->oldest == NULL) {
        shelf->newest = NULL;
    }
    shelf->bytes -= size_of(kept);
    gv_mem_free(GV_MEM_GOSSIP, kept);
}

void gv_shelf_deinit(struct gv_shelf *shelf)
{
    while (shelf->oldest != NULL) {
        drop_oldest(shelf);
    }
}

void gv_shelf_keep(struct gv_shelf *shelf, struct gv_origin *origin, uint64_t first, uint64_t last,
                   struct gv_slice message)
{
    size_t bytes = sizeof(struct gv_kept) + message.len;
    if (bytes > shelf->max_bytes) {
        return;
    }
    while (shelf->bytes + bytes > shelf->max_bytes) {
        drop_oldest(shelf);
    }
    struct gv_kept *kept = gv_mem_new(GV_MEM_GOSSIP, bytes);
    if (kept == NULL) {
        return;
    }
    kept->origin = origin;
    kept->first = first;
    kept->last = last;
    kept->len = message.len;
    memcpy(kept->bytes, message.data, message.len);
    if (shelf->newest != NULL) {
        shelf->newest->next = kept;
    } else {
        shelf->oldest = kept;
    }
    shelf->newest = kept;
    if (origin->kept_newest != NULL) {
        kept->prev_of_log = origin->kept_newest;
        origin->kept_newest->next_of_log = kept;
    } else {
        origin->kept_oldest = kept;
    }
    origin->kept_newest = kept;
    shelf->bytes += bytes;
}

uint32_t gv_shelf_find(const struct gv_origin *origin, uint64_t first, uint64_t last,
                       const struct gv_kept *found[GV_SHELF_LOOK_MAX])
{
    const struct gv_kept *at = origin->kept_newest;
    for (uint32_t i = 1; at != NULL && at->prev_of_log != NULL && i < GV_SHELF_LOOK_MAX; i++) {
        at = at->prev_of_log;
    }
    uint32_t count = 0;
    for (; at != NULL; at = at->next_of_log) {
        if (at->last >= first && at->first <= last) {
            found[count++] = at;
        }
    }
    return count;
}

void gv_shelf_forget(struct gv_origin *origin)
{
    for (struct gv_kept *at = origin->kept_oldest; at != NULL;) {
        struct gv_kept *next = at->next_of_log;
        at->origin = NULL;
        at->next_of_log = NULL;
        at->prev_of_log = NULL;
        at = next;
    }
    origin->kept_oldest = NULL;
    origin->kept_newest = NULL;
}
