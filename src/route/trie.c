/*
 * trie.c - what an operation does: it finds or makes its path, and raises the stamps along it.
 */
#include "route/trie_in.h"
#include <string.h>

#define FETCH_MAX 64u /* blocks of an insert for whose names the memory is asked at its start */

enum gv_err gv_trie_new(const char *key, struct gv_mem_budget *budget, struct gv_grace *grace,
                        struct gv_trie **trie)
{
    struct gv_trie *made = gv_mem_budget_new(budget, sizeof *made);
    if (made == NULL) {
        return GV_EFULL;
    }
    made->budget = budget;
    made->free_run = GV_RUN_NONE;
    gv_slice_copy_text(gv_slice_text(key), made->key, sizeof made->key);
    made->key_hash = XXH3_64bits(made->key, strlen(made->key));
    gv_cells_init(&made->cells, budget);
    gv_index_init(&made->index, budget, &made->limbo);
    gv_floors_init(&made->floors, budget, &made->limbo);
    enum gv_err err = gv_limbo_init(&made->limbo, grace, &made->cells, budget);
    if (err != GV_OK) {
        gv_mem_budget_free(budget, made, sizeof *made);
        return err;
    }
    *trie = made;
    return GV_OK;
}

void gv_trie_free(struct gv_trie *trie)
{
    if (trie == NULL) {
        return;
    }
    gv_run_free_all(trie);
    gv_limbo_deinit(&trie->limbo);
    gv_cells_deinit(&trie->cells);
    gv_index_deinit(&trie->index);
    gv_floors_deinit(&trie->floors);
    gv_mem_budget_free(trie->budget, trie, sizeof *trie);
}

const char *gv_trie_key(const struct gv_trie *trie)
{
    return trie->key;
}

const struct gv_floors *gv_trie_floors(const struct gv_trie *trie)
{
    return &trie->floors;
}

uint64_t gv_trie_blocks(const struct gv_trie *trie)
{
    return trie->block_count;
}

uint64_t gv_trie_runs(const struct gv_trie *trie)
{
    return trie->run_count;
}

uint64_t gv_trie_version(const struct gv_trie *trie)
{
    return atomic_load_explicit(&trie->version, memory_order_acquire);
}

void gv_trie_succeed(struct gv_trie *trie, const struct gv_trie *old)
{
    atomic_store_explicit(&trie->version, gv_trie_version(old) + 2, memory_order_release);
}

uint64_t gv_trie_bytes(const struct gv_trie *trie)
{
    return sizeof *trie + trie->cells.bytes + gv_index_bytes(&trie->index) +
           trie->page_count * sizeof(struct gv_run_page);
}

/* Nobody else writes it: this is under the trie's lock. Whoever compares versions does so under it,
 * too, and so sees of every write that came between. */
static void turn(struct gv_trie *trie)
{
    uint64_t version = atomic_load_explicit(&trie->version, memory_order_relaxed);
    atomic_store_explicit(&trie->version, version + 1, memory_order_release);
}

void gv_trie_begin(struct gv_trie *trie)
{
    turn(trie);
}

void gv_trie_end(struct gv_trie *trie)
{
    gv_limbo_settle(&trie->limbo);
    turn(trie);
}

/* The place of an anchor that must be known; a placeholder is made when it is not. */
static enum gv_err ensure(struct gv_trie *trie, uint64_t fingerprint, uint32_t depth,
                          struct gv_place *place)
{
    static const struct gv_place nowhere = {.run = GV_RUN_NONE};
    *place = gv_trie_find(trie, fingerprint, depth);
    if (place->run != GV_RUN_NONE) {
        return GV_OK;
    }
    place->offset = 0;
    return gv_run_new(trie, nowhere, depth, &fingerprint, 1, &place->run);
}

/* Raise the stamp of a place and of all before it, as far as links are known. */
static enum gv_err raise_path(struct gv_trie *trie, struct gv_place place, struct gv_span hold)
{
    while (place.run != GV_RUN_NONE) {
        struct gv_run *run = gv_trie_known(trie, place.run);
        bool rose;
        hold.upto = place.offset + 1;
        enum gv_err err = gv_span_raise(trie, run, hold, &rose);
        if (err != GV_OK || !rose) {
            return err;
        }
        place = gv_run_parent(run);
    }
    return GV_OK;
}

/* The link of an orphan has come: what is held below rises along it. */
static enum gv_err adopt(struct gv_trie *trie, uint32_t child, struct gv_place parent)
{
    gv_run_adopt(trie, child, parent);
    struct gv_span_list list = gv_run_spans(gv_trie_known(trie, child));
    enum gv_err err = GV_OK;
    for (uint32_t i = 0; i < list.count && err == GV_OK; i++) {
        /* The first span of each worker is its newest; the others change nothing. */
        err = raise_path(trie, parent, gv_span_at(&list, i));
    }
    return err;
}

/* One step down to a known first block of a run. Errors: GV_EINVAL it follows something else. */
static enum gv_err step(struct gv_trie *trie, struct gv_place *place, struct gv_place child)
{
    const struct gv_run *run = gv_trie_known(trie, child.run);
    if (child.offset != 0) {
        return GV_EINVAL;
    }
    if (gv_run_is_orphan(run)) {
        enum gv_err err = adopt(trie, child.run, *place);
        if (err != GV_OK) {
            return err;
        }
    } else if (run->depth > 0 &&
               (run->parent != place->run || run->parent_offset != place->offset)) {
        return GV_EINVAL;
    }
    *place = child;
    return GV_OK;
}

/* How many fingerprints from the first on are unknown; the first is known to be. What comes after
 * could only be known as an orphan, and an orphan begins with an anchor. */
static uint32_t unknown_count(const struct gv_trie *trie, const uint64_t *fingerprints,
                              uint32_t count, uint32_t depth)
{
    if (trie->orphan_count == 0) {
        return count;
    }
    uint32_t i = GV_ANCHOR_BLOCKS - 1 - depth % GV_ANCHOR_BLOCKS;
    i += i == 0 ? GV_ANCHOR_BLOCKS : 0;
    while (i < count && gv_trie_find(trie, fingerprints[i], depth + i).run == GV_RUN_NONE) {
        i += GV_ANCHOR_BLOCKS;
    }
    return i < count ? i : count;
}

/* Put `count` unknown fingerprints below `place`; it becomes the place of the last one put. */
static enum gv_err grow(struct gv_trie *trie, struct gv_place *place, const uint64_t *fingerprints,
                        uint32_t count, uint32_t depth)
{
    uint32_t done = 0;
    while (done < count) {
        const struct gv_run *run = gv_trie_run(trie, place->run);
        uint32_t held = run != NULL ? gv_run_count(run) : GV_RUN_MAX;
        bool at_end = run != NULL && place->offset + 1 == held && held < GV_RUN_MAX;
        uint32_t room = at_end ? GV_RUN_MAX - held : GV_RUN_MAX;
        uint32_t part = count - done < room ? count - done : room;
        if (at_end) {
            enum gv_err err = gv_run_extend(trie, place->run, fingerprints + done, part);
            if (err != GV_OK) {
                return err;
            }
            place->offset += part;
        } else {
            uint32_t number;
            enum gv_err err =
                gv_run_new(trie, *place, depth + done, fingerprints + done, part, &number);
            if (err != GV_OK) {
                return err;
            }
            *place = (struct gv_place){.run = number, .offset = part - 1};
        }
        done += part;
    }
    return GV_OK;
}

/* Could a run begin right after `place`? */
static bool may_have_child(const struct gv_trie *trie, struct gv_place place)
{
    const struct gv_run *run = gv_trie_run(trie, place.run);
    return run == NULL || place.offset < run->child_upto || trie->orphan_count > 0;
}

/* From `place` on as many of the fingerprints as can be done in one way; `*done` tells how many. */
static enum gv_err go_on(struct gv_trie *trie, struct gv_place *place, const uint64_t *fingerprints,
                         uint32_t count, uint32_t depth, uint32_t *done)
{
    const struct gv_run *run = gv_trie_run(trie, place->run);
    if (run != NULL && place->offset + 1 < gv_run_count(run)) {
        uint32_t next = place->offset + 1;
        uint32_t left = gv_run_count(run) - next;
        if (gv_run_block(run, next) == fingerprints[0]) {
            *done = gv_run_agree(run, next, fingerprints, left < count ? left : count);
            place->offset += *done;
            return GV_OK;
        }
    }
    struct gv_place child = {.run = GV_RUN_NONE};
    if (may_have_child(trie, *place)) {
        child = gv_trie_find(trie, fingerprints[0], depth);
    }
    if (child.run != GV_RUN_NONE) {
        *done = 1;
        return step(trie, place, child);
    }
    *done = unknown_count(trie, fingerprints, count, depth);
    return grow(trie, place, fingerprints, *done, depth);
}

/* Ask the memory for where the names of an insert will be put. */
static void fetch_names(const struct gv_trie *trie, const struct gv_operation *operation)
{
    uint32_t first = GV_ANCHOR_BLOCKS - 1; /* its depth is a multiple */
    uint32_t upto = operation->count < FETCH_MAX ? operation->count : FETCH_MAX;
    for (uint32_t i = first; i < upto; i += GV_ANCHOR_BLOCKS) {
        gv_index_prefetch_add(&trie->index, operation->fingerprints[i]);
    }
}

static enum gv_err insert(struct gv_trie *trie, const struct gv_operation *operation)
{
    struct gv_place place = {.run = GV_RUN_NONE};
    enum gv_err err = GV_OK;
    fetch_names(trie, operation);
    if (operation->depth > 0) {
        err = ensure(trie, operation->parent, operation->depth - 1, &place);
    }
    uint32_t done = 0;
    for (uint32_t i = 0; i < operation->count && err == GV_OK; i += done) {
        err = go_on(trie, &place, operation->fingerprints + i, operation->count - i,
                    operation->depth + i, &done);
    }
    if (err != GV_OK) {
        return err;
    }
    struct gv_span hold = {.worker = operation->worker, .stamp = operation->stamp};
    return raise_path(trie, place, hold);
}

static enum gv_err touch(struct gv_trie *trie, const struct gv_operation *operation)
{
    struct gv_place place;
    enum gv_err err = ensure(trie, operation->fingerprints[0], operation->depth, &place);
    if (err != GV_OK) {
        return err;
    }
    struct gv_span hold = {.worker = operation->worker, .stamp = operation->stamp};
    return raise_path(trie, place, hold);
}

enum gv_err gv_trie_apply(struct gv_trie *trie, const struct gv_operation *operation)
{
    GV_ASSERT(operation->count >= 1 && operation->worker < GV_WORKERS_MAX);
    GV_ASSERT(gv_operation_is_anchored(operation));
    gv_trie_begin(trie);
    enum gv_err err = gv_floors_open(&trie->floors, operation->worker);
    if (err == GV_OK && operation->kind == GV_OPERATION_TOUCH) {
        err = touch(trie, operation);
    } else if (err == GV_OK) {
        err = insert(trie, operation);
    }
    gv_trie_end(trie);
    return err;
}
