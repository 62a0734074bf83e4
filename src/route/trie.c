/*
 * trie.c - the changes: runs grow, spans rise, floors fall on them, the dead are swept.
 */
#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "route/trie_in.h"
#include <string.h>
#include <xxhash.h>

#define PAGE_BYTES      (GV_RUNS_IN_PAGE * sizeof(struct gv_run))
#define PAGE_ROOM_FIRST 8u
#define MOVE_FACTOR     8u /* blocks of the index moved for each block added: done long before full */
#define MOVE_MIN        64u /* and at least so many with each write */
#define PREFETCH_AHEAD  12u

enum gv_err gv_trie_new(const char *key, struct gv_mem_budget *budget, struct gv_trie **trie)
{
    struct gv_trie *made = gv_mem_budget_new(budget, sizeof *made);
    if (made == NULL) {
        return GV_EFULL;
    }
    made->budget = budget;
    made->free_run = GV_INDEX_NONE;
    gv_slice_copy_text(gv_slice_text(key), made->key, sizeof made->key);
    made->key_hash = XXH3_64bits(made->key, strlen(made->key));
    gv_cells_init(&made->cells, budget);
    gv_index_init(&made->index, budget);
    gv_floors_init(&made->floors, budget);
    *trie = made;
    return GV_OK;
}

static void run_clear(struct gv_trie *trie, struct gv_run *run)
{
    gv_cells_give(&trie->cells, run->blocks, run->room);
    if (run->span_room > 0) {
        gv_cells_give(&trie->cells, (uint64_t *)(void *)run->spans.many, run->span_room);
    }
    memset(run, 0, sizeof *run);
}

void gv_trie_free(struct gv_trie *trie)
{
    if (trie == NULL) {
        return;
    }
    for (uint32_t i = 0; i < gv_trie_run_room(trie); i++) {
        struct gv_run *run = gv_trie_run(trie, i);
        if (run->blocks != NULL) {
            run_clear(trie, run);
        }
    }
    for (uint32_t i = 0; i < trie->page_count; i++) {
        gv_mem_budget_free(trie->budget, trie->pages[i], PAGE_BYTES);
    }
    gv_mem_budget_free(trie->budget, trie->pages, trie->page_room * sizeof *trie->pages);
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
    return trie->version;
}

uint64_t gv_trie_bytes(const struct gv_trie *trie)
{
    return sizeof *trie + trie->cells.bytes + gv_index_bytes(&trie->index) +
           trie->page_count * PAGE_BYTES + trie->page_room * sizeof *trie->pages;
}

/* ---- the index: rebuilt beside the work ---- */

static void move_run(struct gv_trie *trie, uint32_t number)
{
    struct gv_run *run = gv_trie_run(trie, number);
    uint32_t old = run->blocks != NULL ? run->count - (uint32_t)run->fresh_count : 0;
    for (uint32_t i = 0; i < old; i++) {
        if (i + PREFETCH_AHEAD < old) {
            gv_index_prefetch(&trie->index, run->blocks[i + PREFETCH_AHEAD]);
        }
        gv_index_move(&trie->index, run->blocks[i], number);
    }
    run->fresh_count = 0;
}

/* Move on with a rebuild of the index, for about `blocks` blocks. */
static void move_some(struct gv_trie *trie, uint64_t blocks)
{
    uint32_t room = gv_trie_run_room(trie);
    uint64_t moved = 0;
    while (gv_index_is_moving(&trie->index) && moved < blocks) {
        if (trie->index.moved_runs >= room) {
            gv_index_moved(&trie->index);
            return;
        }
        moved += gv_trie_run(trie, trie->index.moved_runs)->count + 1u;
        move_run(trie, trie->index.moved_runs);
        trie->index.moved_runs += 1;
    }
}

/* No memory for a second table: clear the tombstones out of the one there is. */
static enum gv_err refill_index(struct gv_trie *trie, uint64_t more)
{
    uint64_t room = trie->index.tables[0].bucket_count * GV_INDEX_SLOTS;
    if (room == 0 || trie->index.count + more > room / 4 * 3) {
        return GV_EFULL; /* it would be full again at once */
    }
    gv_index_empty(&trie->index);
    for (uint32_t i = 0; i < gv_trie_run_room(trie); i++) {
        move_run(trie, i);
    }
    return GV_OK;
}

static enum gv_err reserve_index(struct gv_trie *trie, uint32_t more)
{
    move_some(trie, MOVE_MIN + (uint64_t)more * MOVE_FACTOR);
    enum gv_err err = gv_index_reserve(&trie->index, more);
    if (err == GV_EAGAIN) {
        move_some(trie, UINT64_MAX);
        err = gv_index_reserve(&trie->index, more);
    }
    if (err == GV_EFULL) {
        err = refill_index(trie, more);
    }
    return err;
}

static void index_blocks(struct gv_trie *trie, uint32_t number, const uint64_t *blocks,
                         uint32_t count)
{
    struct gv_run *run = gv_trie_run(trie, number);
    for (uint32_t i = 0; i < count; i++) {
        if (i + PREFETCH_AHEAD < count) {
            gv_index_prefetch(&trie->index, blocks[i + PREFETCH_AHEAD]);
        }
        gv_index_add(&trie->index, blocks[i], number);
    }
    if (gv_index_is_moving(&trie->index) && number >= trie->index.moved_runs) {
        run->fresh_count = (uint16_t)(run->fresh_count + count);
    }
    trie->block_count += count;
}

/* Take the blocks from `keep` on out of the index and off the run. */
static void cut_run(struct gv_trie *trie, uint32_t number, uint32_t keep)
{
    struct gv_run *run = gv_trie_run(trie, number);
    bool is_unmoved = gv_index_is_moving(&trie->index) && number >= trie->index.moved_runs;
    for (uint32_t i = run->count; i > keep; i--) {
        bool is_waiting = is_unmoved && run->fresh_count == 0;
        gv_index_remove(&trie->index, run->blocks[i - 1], number, is_waiting);
        if (run->fresh_count > 0) {
            run->fresh_count -= 1;
        }
    }
    trie->block_count -= run->count - keep;
    run->count = (uint16_t)keep;
}

/* ---- runs ---- */

static enum gv_err page_new(struct gv_trie *trie)
{
    if ((trie->page_count + 1) * GV_RUNS_IN_PAGE > GV_INDEX_RUNS_MAX) {
        return GV_EFULL;
    }
    if (trie->page_count == trie->page_room) {
        uint32_t room = trie->page_room == 0 ? PAGE_ROOM_FIRST : trie->page_room * 2;
        struct gv_run **pages = gv_mem_budget_new(trie->budget, room * sizeof *pages);
        if (pages == NULL) {
            return GV_EFULL;
        }
        if (trie->page_count > 0) {
            memcpy(pages, trie->pages, trie->page_count * sizeof *pages);
        }
        gv_mem_budget_free(trie->budget, trie->pages, trie->page_room * sizeof *pages);
        trie->pages = pages;
        trie->page_room = room;
    }
    struct gv_run *page = gv_mem_budget_new(trie->budget, PAGE_BYTES);
    if (page == NULL) {
        return GV_EFULL;
    }
    uint32_t first = trie->page_count * GV_RUNS_IN_PAGE;
    trie->pages[trie->page_count] = page;
    trie->page_count += 1;
    for (uint32_t i = GV_RUNS_IN_PAGE; i > 0; i--) {
        page[i - 1].parent = trie->free_run;
        trie->free_run = first + i - 1;
    }
    return GV_OK;
}

static void run_free(struct gv_trie *trie, uint32_t number)
{
    struct gv_run *run = gv_trie_run(trie, number);
    cut_run(trie, number, 0);
    if (run->is_orphan) {
        trie->orphan_count -= 1;
    }
    run_clear(trie, run);
    run->parent = trie->free_run;
    trie->free_run = number;
    trie->run_count -= 1;
}

/* A run of `count` (at most GV_RUN_MAX) blocks below `parent`; 0 at a depth makes an orphan. */
static enum gv_err run_new(struct gv_trie *trie, uint64_t parent, uint32_t depth,
                           const uint64_t *blocks, uint32_t count, uint32_t *number)
{
    GV_ASSERT(count >= 1 && count <= GV_RUN_MAX);
    enum gv_err err = reserve_index(trie, count);
    if (err == GV_OK && trie->free_run == GV_INDEX_NONE) {
        err = page_new(trie);
    }
    if (err != GV_OK) {
        return err;
    }
    uint64_t *array = gv_cells_take(&trie->cells, count);
    if (array == NULL) {
        return GV_EFULL;
    }
    memcpy(array, blocks, count * sizeof *array);
    *number = trie->free_run;
    struct gv_run *run = gv_trie_run(trie, *number);
    trie->free_run = (uint32_t)run->parent;
    *run = (struct gv_run){.blocks = array,
                           .parent = parent,
                           .depth = depth,
                           .count = (uint16_t)count,
                           .room = (uint16_t)gv_cells_room(count),
                           .is_orphan = parent == 0 && depth > 0};
    trie->orphan_count += run->is_orphan ? 1 : 0;
    trie->run_count += 1;
    index_blocks(trie, *number, blocks, count);
    return GV_OK;
}

/* Append to a run that has the room in its count. */
static enum gv_err run_extend(struct gv_trie *trie, uint32_t number, const uint64_t *blocks,
                              uint32_t count)
{
    enum gv_err err = reserve_index(trie, count);
    if (err != GV_OK) {
        return err;
    }
    struct gv_run *run = gv_trie_run(trie, number);
    uint32_t need = run->count + count;
    GV_ASSERT(need <= GV_RUN_MAX);
    if (need > run->room) {
        /* An eighth more than needed, since a run that grew once (a conversation) grows again. */
        uint32_t room = gv_cells_room(need + need / 8);
        room = room < GV_RUN_MAX ? room : GV_RUN_MAX;
        uint64_t *array = gv_cells_take(&trie->cells, room);
        if (array == NULL) {
            return GV_EFULL;
        }
        memcpy(array, run->blocks, run->count * sizeof *array);
        gv_cells_give(&trie->cells, run->blocks, run->room);
        run->blocks = array;
        run->room = (uint16_t)room;
    }
    memcpy(run->blocks + run->count, blocks, count * sizeof *blocks);
    run->count = (uint16_t)need;
    index_blocks(trie, number, blocks, count);
    return GV_OK;
}

/* ---- spans ---- */

static struct gv_span *spans_of(struct gv_run *run)
{
    return run->span_room == 0 ? &run->spans.one : run->spans.many;
}

/* Room for one more span. */
static enum gv_err spans_grow(struct gv_trie *trie, struct gv_run *run)
{
    if (run->span_count < (run->span_room == 0 ? 1 : run->span_room)) {
        return GV_OK;
    }
    uint32_t room = gv_cells_room(run->span_count + 1u + run->span_count / 4u);
    if (room > UINT16_MAX) {
        return GV_EFULL;
    }
    struct gv_span *spans = (struct gv_span *)(void *)gv_cells_take(&trie->cells, room);
    if (spans == NULL) {
        return GV_EFULL;
    }
    memcpy(spans, spans_of(run), run->span_count * sizeof *spans);
    if (run->span_room > 0) {
        gv_cells_give(&trie->cells, (uint64_t *)(void *)run->spans.many, run->span_room);
    }
    run->spans.many = spans;
    run->span_room = (uint16_t)room;
    return GV_OK;
}

/* The first span of `worker` or of a later one. */
static uint32_t first_span(const struct gv_run *run, uint32_t worker)
{
    const struct gv_span *spans = gv_run_spans(run);
    uint32_t low = 0;
    uint32_t high = run->span_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (spans[middle].worker < worker) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/*
 * Let `worker` hold the first `upto` blocks with at least `stamp`. `*rose` is false when it did.
 * The steps from `p` to before `q`, neither newer nor deeper, become the one new step.
 */
static enum gv_err raise_run(struct gv_trie *trie, struct gv_run *run, uint32_t upto,
                             struct gv_span hold, bool *rose)
{
    uint32_t p = first_span(run, hold.worker);
    struct gv_span *spans = spans_of(run);
    uint32_t from = 0; /* how far the kept, newer steps reach */
    *rose = false;
    for (; p < run->span_count && spans[p].worker == hold.worker && spans[p].stamp > hold.stamp;
         p++) {
        from = spans[p].upto;
    }
    if (from >= upto || (p < run->span_count && spans[p].worker == hold.worker &&
                         spans[p].stamp == hold.stamp && spans[p].upto >= upto)) {
        return GV_OK;
    }
    uint32_t q = p;
    while (q < run->span_count && spans[q].worker == hold.worker && spans[q].upto <= upto) {
        q++;
    }
    bool is_split = q < run->span_count && spans[q].worker == hold.worker;
    if (p == q) {
        enum gv_err err = spans_grow(trie, run);
        if (err != GV_OK) {
            return err;
        }
        spans = spans_of(run);
    }
    uint32_t at = from;
    for (uint32_t i = p; i < q; i++) {
        gv_floors_remove(&trie->floors, hold.worker, spans[i].stamp, spans[i].upto - at);
        at = spans[i].upto;
    }
    if (is_split) {
        gv_floors_remove(&trie->floors, hold.worker, spans[q].stamp, upto - at);
    }
    gv_floors_add(&trie->floors, hold.worker, hold.stamp, upto - from);
    memmove(spans + p + 1, spans + q, (run->span_count - q) * sizeof *spans);
    spans[p] = (struct gv_span){.worker = hold.worker, .upto = (uint16_t)upto, .stamp = hold.stamp};
    run->span_count = (uint16_t)(run->span_count + 1 - (q - p));
    *rose = true;
    return GV_OK;
}

/* The place of a fingerprint that must be known; a placeholder is made when it is not. */
static enum gv_err ensure(struct gv_trie *trie, uint64_t fingerprint, uint32_t depth,
                          struct gv_place *place)
{
    *place = gv_trie_find(trie, fingerprint, depth);
    if (place->run != GV_INDEX_NONE) {
        return GV_OK;
    }
    place->offset = 0;
    return run_new(trie, 0, depth, &fingerprint, 1, &place->run);
}

/* Raise the stamp of a place and of all before it, as far as links are known. */
static enum gv_err raise_path(struct gv_trie *trie, struct gv_place place, struct gv_span hold)
{
    for (;;) {
        struct gv_run *run = gv_trie_run(trie, place.run);
        bool rose;
        enum gv_err err = raise_run(trie, run, place.offset + 1, hold, &rose);
        if (err != GV_OK || !rose || run->is_orphan || run->depth == 0) {
            return err;
        }
        /* The parent may have been swept, dead, before this child: it comes back with the child. */
        err = ensure(trie, run->parent, run->depth - 1, &place);
        if (err != GV_OK) {
            return err;
        }
    }
}

/* The link of an orphan has come: what is held below rises along it. */
static enum gv_err adopt(struct gv_trie *trie, uint32_t child, uint64_t parent,
                         struct gv_place place)
{
    struct gv_run *run = gv_trie_run(trie, child);
    run->parent = parent;
    run->is_orphan = false;
    trie->orphan_count -= 1;
    enum gv_err err = GV_OK;
    for (uint32_t i = 0; i < run->span_count && err == GV_OK; i++) {
        /* The first span of each worker is its newest; the others change nothing. */
        err = raise_path(trie, place, gv_run_spans(run)[i]);
    }
    return err;
}

/* How many fingerprints from the first on are unknown; the first is known to be. What comes after
 * may be known all the same: as an orphan, or as the dead child of a swept parent. */
static uint32_t unknown_count(const struct gv_trie *trie, const uint64_t *fingerprints,
                              uint32_t count, uint32_t depth)
{
    uint32_t i = 1;
    while (i < count && gv_trie_find(trie, fingerprints[i], depth + i).run == GV_INDEX_NONE) {
        if (i + PREFETCH_AHEAD < count) {
            gv_index_prefetch(&trie->index, fingerprints[i + PREFETCH_AHEAD]);
        }
        i++;
    }
    return i;
}

/* Put `count` unknown fingerprints below `place`; it becomes the place of the last one put. */
static enum gv_err grow(struct gv_trie *trie, struct gv_place *place, uint64_t parent,
                        const uint64_t *fingerprints, uint32_t count, uint32_t depth)
{
    uint32_t done = 0;
    while (done < count) {
        uint32_t left = count - done;
        enum gv_err err;
        if (place->run != GV_INDEX_NONE) {
            const struct gv_run *run = gv_trie_run(trie, place->run);
            uint32_t room = GV_RUN_MAX - run->count;
            if (place->offset + 1 == run->count && room > 0) {
                uint32_t part = left < room ? left : room;
                err = run_extend(trie, place->run, fingerprints + done, part);
                if (err != GV_OK) {
                    return err;
                }
                place->offset += part;
                done += part;
                continue;
            }
        }
        uint32_t part = left < GV_RUN_MAX ? left : GV_RUN_MAX;
        err = run_new(trie, done > 0 ? fingerprints[done - 1] : parent, depth + done,
                      fingerprints + done, part, &place->run);
        if (err != GV_OK) {
            return err;
        }
        place->offset = part - 1;
        done += part;
    }
    return GV_OK;
}

/* One step down to a known child. Errors: GV_EINVAL it has another parent. */
static enum gv_err step(struct gv_trie *trie, struct gv_place *place, struct gv_place child,
                        uint64_t parent)
{
    if (child.offset != 0) {
        const struct gv_run *run = gv_trie_run(trie, child.run);
        if (run->blocks[child.offset - 1] != parent) {
            return GV_EINVAL;
        }
    } else {
        struct gv_run *run = gv_trie_run(trie, child.run);
        if (run->is_orphan) {
            enum gv_err err = adopt(trie, child.run, parent, *place);
            if (err != GV_OK) {
                return err;
            }
        } else if (run->parent != parent) {
            return GV_EINVAL;
        }
    }
    *place = child;
    return GV_OK;
}

static enum gv_err insert(struct gv_trie *trie, const struct gv_operation *operation)
{
    struct gv_place place = {.run = GV_INDEX_NONE};
    uint64_t parent = operation->parent;
    enum gv_err err = GV_OK;
    if (operation->depth > 0) {
        err = ensure(trie, parent, operation->depth - 1, &place);
    }
    for (uint32_t i = 1; i < operation->count && i <= PREFETCH_AHEAD; i++) {
        gv_index_prefetch(&trie->index, operation->fingerprints[i]);
    }
    for (uint32_t i = 0; i < operation->count && err == GV_OK;) {
        const uint64_t *at = operation->fingerprints + i;
        uint32_t depth = operation->depth + i;
        struct gv_place child = gv_trie_find(trie, *at, depth);
        uint32_t count = 1;
        if (child.run != GV_INDEX_NONE) {
            err = step(trie, &place, child, parent);
        } else {
            count = unknown_count(trie, at, operation->count - i, depth);
            err = grow(trie, &place, parent, at, count, depth);
        }
        parent = at[count - 1];
        i += count;
    }
    if (err != GV_OK) {
        return err;
    }
    struct gv_span hold = {.worker = (uint16_t)operation->worker, .stamp = operation->stamp};
    return raise_path(trie, place, hold);
}

static enum gv_err touch(struct gv_trie *trie, const struct gv_operation *operation)
{
    struct gv_place place;
    enum gv_err err = ensure(trie, operation->fingerprints[0], operation->depth, &place);
    if (err != GV_OK) {
        return err;
    }
    struct gv_span hold = {.worker = (uint16_t)operation->worker, .stamp = operation->stamp};
    return raise_path(trie, place, hold);
}

enum gv_err gv_trie_apply(struct gv_trie *trie, const struct gv_operation *operation)
{
    GV_ASSERT(operation->count >= 1 && operation->worker < GV_WORKERS_MAX);
    trie->version += 1;
    enum gv_err err = gv_floors_open(&trie->floors, operation->worker);
    if (err != GV_OK) {
        return err;
    }
    return operation->kind == GV_OPERATION_TOUCH ? touch(trie, operation) : insert(trie, operation);
}

/* ---- floors and sweeping ---- */

static void recount(struct gv_trie *trie, uint32_t worker)
{
    gv_floors_clear(&trie->floors, worker);
    for (uint32_t i = 0; i < gv_trie_run_room(trie); i++) {
        const struct gv_run *run = gv_trie_run(trie, i);
        uint32_t from = 0;
        for (uint32_t j = run->blocks != NULL ? first_span(run, worker) : run->span_count;
             j < run->span_count && gv_run_spans(run)[j].worker == worker; j++) {
            const struct gv_span *span = &gv_run_spans(run)[j];
            gv_floors_add(&trie->floors, worker, span->stamp, span->upto - from);
            from = span->upto;
        }
    }
}

enum gv_err gv_trie_raise_floor(struct gv_trie *trie, uint32_t worker, uint32_t stamp, bool for_all,
                                uint32_t now_s)
{
    bool is_cut;
    trie->version += 1;
    enum gv_err err = gv_floors_raise(&trie->floors, worker, stamp, for_all, now_s, &is_cut);
    if (err == GV_OK && is_cut) {
        recount(trie, worker);
    }
    return err;
}

/* Drop the spans that died long enough ago; what no span covers is nobody's. */
static uint32_t bury(struct gv_trie *trie, struct gv_run *run, uint32_t dead_since_s)
{
    struct gv_span *spans = spans_of(run);
    uint32_t kept = 0;
    uint32_t upto = 0;
    for (uint32_t i = 0; i < run->span_count; i++) {
        if (spans[i].stamp <= gv_floors_settled(&trie->floors, spans[i].worker, dead_since_s)) {
            continue;
        }
        upto = spans[i].upto > upto ? spans[i].upto : upto;
        spans[kept] = spans[i];
        kept++;
    }
    run->span_count = (uint16_t)kept;
    if (run->span_room > 0 && kept <= 1) {
        struct gv_span *many = run->spans.many;
        struct gv_span one = kept == 1 ? many[0] : (struct gv_span){0};
        gv_cells_give(&trie->cells, (uint64_t *)(void *)many, run->span_room);
        run->span_room = 0;
        run->spans.one = one;
    }
    return upto;
}

/* Give back most of what a cut run no longer needs; not essential, so never an error. */
static void run_shrink(struct gv_trie *trie, struct gv_run *run)
{
    uint32_t room = gv_cells_room(run->count);
    if (room + room / 4 >= run->room) {
        return;
    }
    uint64_t *array = gv_cells_take(&trie->cells, room);
    if (array == NULL) {
        return;
    }
    memcpy(array, run->blocks, run->count * sizeof *array);
    gv_cells_give(&trie->cells, run->blocks, run->room);
    run->blocks = array;
    run->room = (uint16_t)room;
}

uint64_t gv_trie_sweep(struct gv_trie *trie, uint32_t dead_since_s, uint32_t max_runs,
                       bool *wrapped)
{
    uint64_t before = trie->block_count;
    uint32_t room = gv_trie_run_room(trie);
    trie->version += 1;
    *wrapped = false;
    for (uint32_t i = 0; i < max_runs && trie->sweep_at < room; i++, trie->sweep_at++) {
        struct gv_run *run = gv_trie_run(trie, trie->sweep_at);
        if (run->blocks == NULL) {
            continue;
        }
        uint32_t upto = bury(trie, run, dead_since_s);
        if (upto == 0) {
            run_free(trie, trie->sweep_at);
        } else if (upto < run->count) {
            cut_run(trie, trie->sweep_at, upto);
            run_shrink(trie, run);
        }
    }
    if (trie->sweep_at >= room) {
        trie->sweep_at = 0;
        *wrapped = true;
        gv_index_fit(&trie->index);
    }
    move_some(trie, (uint64_t)max_runs * MOVE_FACTOR);
    return before - trie->block_count;
}
