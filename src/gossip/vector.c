/*
 * vector.c - see vector.h.
 */
#include "vector.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/map.h"
#include "grapevine/base/mem.h"
#include "limits.h"

void gv_vector_init(struct gv_vector *vector)
{
    *vector = (struct gv_vector){0};
    gv_map_init(&vector->by_boot, GV_MEM_GOSSIP, GV_VECTOR_MAX, NULL);
}

void gv_vector_deinit(struct gv_vector *vector)
{
    for (uint32_t i = 0; i < vector->count; i++) {
        gv_mem_free(GV_MEM_GOSSIP, vector->origins[i]);
    }
    gv_mem_free(GV_MEM_GOSSIP, vector->origins);
    gv_map_deinit(&vector->by_boot);
    *vector = (struct gv_vector){0};
}

/* Index of (name, boot), or where it belongs. */
static uint32_t place(const struct gv_vector *vector, const char *name, uint64_t boot_id,
                      bool *found)
{
    uint32_t low = 0, high = vector->count;
    *found = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct gv_origin *at = vector->origins[middle];
        int order = strcmp(at->name, name);
        if (order == 0) {
            order = at->boot_id < boot_id ? -1 : at->boot_id > boot_id ? 1 : 0;
        }
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct gv_slice boot_key(const uint64_t *boot_id)
{
    return gv_slice_of(boot_id, sizeof *boot_id);
}

struct gv_origin *gv_vector_find_boot(const struct gv_vector *vector, uint64_t boot_id)
{
    return gv_map_find(&vector->by_boot, boot_key(&boot_id));
}

struct gv_origin *gv_vector_find(const struct gv_vector *vector, const char *name, uint64_t boot_id)
{
    struct gv_origin *first = gv_vector_find_boot(vector, boot_id);
    if (first != NULL && strcmp(first->name, name) == 0) {
        return first; /* as nearly always: boots are random */
    }
    bool found;
    uint32_t at = place(vector, name, boot_id, &found);
    return found ? vector->origins[at] : NULL;
}

struct gv_origin *gv_vector_open(struct gv_vector *vector, const char *name, uint64_t boot_id)
{
    struct gv_origin *origin = gv_vector_find(vector, name, boot_id);
    if (origin != NULL) {
        return origin;
    }
    if (vector->count == GV_VECTOR_MAX) {
        return NULL;
    }
    if (vector->count == vector->room) {
        uint32_t room = vector->room == 0 ? 16 : vector->room * 2;
        struct gv_origin **grown =
            gv_mem_resize(GV_MEM_GOSSIP, vector->origins, room * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        vector->origins = grown;
        vector->room = room;
    }
    origin = gv_mem_new(GV_MEM_GOSSIP, sizeof *origin);
    if (origin == NULL) {
        return NULL;
    }
    bool found, is_first = gv_vector_find_boot(vector, boot_id) == NULL;
    if (!gv_slice_copy_text(gv_slice_text(name), origin->name, sizeof origin->name) ||
        (is_first && gv_map_put(&vector->by_boot, boot_key(&boot_id), origin) != GV_OK)) {
        gv_mem_free(GV_MEM_GOSSIP, origin);
        return NULL;
    }
    origin->boot_id = boot_id;
    origin->vector = vector;
    uint32_t at = place(vector, name, boot_id, &found);
    memmove(vector->origins + at + 1, vector->origins + at,
            (vector->count - at) * sizeof(struct gv_origin *));
    vector->origins[at] = origin;
    vector->count += 1;
    return origin;
}

static void unlink_round(struct gv_origin *origin)
{
    if (origin->newer != NULL) {
        origin->newer->older = origin->older;
    } else if (origin->vector->newest == origin) {
        origin->vector->newest = origin->older;
    }
    if (origin->older != NULL) {
        origin->older->newer = origin->newer;
    }
    origin->newer = NULL;
    origin->older = NULL;
}

void gv_origin_mark(struct gv_origin *origin, uint64_t refused)
{
    struct gv_vector *vector = origin->vector;
    vector->marked -= origin->refused > 0;
    vector->marked += refused > 0;
    origin->refused = refused;
}

void gv_origin_touch(struct gv_origin *origin)
{
    struct gv_vector *vector = origin->vector;
    unlink_round(origin);
    origin->round = ++vector->round;
    origin->older = vector->newest;
    if (vector->newest != NULL) {
        vector->newest->newer = origin;
    }
    vector->newest = origin;
}

static void unlink_wanting(struct gv_vector *vector, const struct gv_origin *origin)
{
    for (struct gv_origin **at = &vector->wanting; *at != NULL; at = &(*at)->next_wanting) {
        if (*at == origin) {
            *at = origin->next_wanting;
            return;
        }
    }
}

void gv_vector_remove(struct gv_vector *vector, struct gv_origin *origin)
{
    bool found;
    uint32_t at = place(vector, origin->name, origin->boot_id, &found);
    GV_ASSERT(found && vector->origins[at] == origin && origin->kept_oldest == NULL);
    unlink_round(origin);
    unlink_wanting(vector, origin);
    gv_origin_mark(origin, 0);
    if (gv_vector_find_boot(vector, origin->boot_id) == origin) {
        (void)gv_map_take(&vector->by_boot, boot_key(&origin->boot_id));
    }
    vector->sums[0] -= origin->counted[0];
    vector->sums[1] -= origin->counted[1];
    memmove(vector->origins + at, vector->origins + at + 1,
            (vector->count - at - 1) * sizeof(struct gv_origin *));
    vector->count -= 1;
    gv_mem_free(GV_MEM_GOSSIP, origin);
}

/* The run above the gap joins the position when nothing is missing between them. */
static void join_ahead(struct gv_origin *origin)
{
    if (origin->ahead_first != 0 && origin->ahead_first <= origin->applied + 1) {
        if (origin->ahead_last > origin->applied) {
            origin->applied = origin->ahead_last;
        }
        if (origin->ahead_stamp > origin->stamp) {
            origin->stamp = origin->ahead_stamp;
        }
        origin->ahead_first = 0;
        origin->ahead_last = 0;
        origin->ahead_stamp = 0;
        origin->asked_at_ms = 0;
    }
}

uint64_t gv_origin_advance(struct gv_origin *origin, uint64_t first, uint64_t count)
{
    GV_ASSERT(first >= 1 && count >= 1);
    uint64_t last = first + count - 1;
    uint64_t known;
    if (first <= origin->applied + 1) {
        known = origin->applied >= last ? count : origin->applied + 1 - first;
        if (last > origin->applied) {
            origin->applied = last;
        }
    } else if (origin->ahead_first != 0 && first >= origin->ahead_first &&
               first <= origin->ahead_last + 1) {
        known = origin->ahead_last >= last ? count : origin->ahead_last + 1 - first;
        if (last > origin->ahead_last) {
            origin->ahead_last = last;
        }
    } else {
        known = 0;
        origin->ahead_first = first;
        origin->ahead_last = last;
        origin->ahead_stamp = 0;
    }
    join_ahead(origin);
    if (known < count) {
        gv_origin_touch(origin);
    }
    return known;
}

void gv_origin_stamp(struct gv_origin *origin, uint64_t sequence, uint32_t stamp)
{
    uint32_t *highest = sequence <= origin->applied ? &origin->stamp : &origin->ahead_stamp;
    *highest = stamp > *highest ? stamp : *highest;
}

void gv_origin_raise(struct gv_origin *origin, uint64_t applied)
{
    if (applied > origin->applied) {
        origin->applied = applied;
        gv_origin_touch(origin);
    }
    join_ahead(origin);
}

bool gv_origin_gap(const struct gv_origin *origin, uint64_t *first, uint64_t *last)
{
    if (origin->ahead_first == 0) {
        return false;
    }
    GV_ASSERT(origin->ahead_first > origin->applied + 1);
    *first = origin->applied + 1;
    *last = origin->ahead_first - 1;
    return true;
}

/* What a position adds to the sums. */
static void weigh(const struct gv_origin *origin, uint64_t weights[2])
{
    static const uint64_t secrets[2][2] = {{0x67726170, 0x6576696e}, {0x6d657368, 0x76656374}};
    weights[0] = 0;
    weights[1] = 0;
    if (origin->applied == 0 || origin->forgotten) {
        return;
    }
    uint8_t text[GV_NODE_NAME_MAX + 16] = {0};
    memcpy(text, origin->name, strlen(origin->name));
    for (uint32_t byte = 0; byte < 8; byte++) {
        text[GV_NODE_NAME_MAX + byte] = (uint8_t)(origin->boot_id >> (8 * byte));
        text[GV_NODE_NAME_MAX + 8 + byte] = (uint8_t)(origin->applied >> (8 * byte));
    }
    for (uint32_t half = 0; half < 2; half++) {
        weights[half] = gv_siphash(secrets[half], gv_slice_of(text, sizeof text));
    }
}

void gv_vector_settle(struct gv_vector *vector)
{
    struct gv_origin *at = vector->newest;
    for (; at != NULL && at->round > vector->counted_round; at = at->older) {
        uint64_t weights[2];
        weigh(at, weights);
        for (uint32_t half = 0; half < 2; half++) {
            vector->sums[half] += weights[half] - at->counted[half];
            at->counted[half] = weights[half];
        }
    }
    vector->counted_round = vector->round;
}

void gv_vector_digest(const struct gv_vector *vector, uint8_t digest[16])
{
    uint64_t sums[2] = {vector->sums[0], vector->sums[1]};
    const struct gv_origin *at = vector->newest;
    for (; at != NULL && at->round > vector->counted_round; at = at->older) {
        uint64_t weights[2];
        weigh(at, weights);
        for (uint32_t half = 0; half < 2; half++) {
            sums[half] += weights[half] - at->counted[half];
        }
    }
    for (uint32_t byte = 0; byte < 16; byte++) {
        digest[byte] = (uint8_t)(sums[byte / 8] >> (8 * (byte % 8)));
    }
}
