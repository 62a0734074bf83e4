/*
 * run.c - runs come, grow, are cut and go; the table that knows them by number, and the index.
 *
 * Called under the trie's lock; readers without it see a run as it was or as it is.
 */
#include "route/trie_in.h"
#include <string.h>

#define MOVE_FACTOR 8u  /* blocks of the index moved for each one added: done long before full */
#define MOVE_MIN    64u /* and at least so many with each write */
#define FETCH_RUNS  8u  /* a run is asked of the memory so many before its turn to be moved */
#define TABLE_FIRST 8u  /* pages */

/* ---- the index: rebuilt beside the work ---- */

/* Entries on their way: each memory access is begun before the first is waited for. */
struct bench {
    struct gv_index_seat seats[GV_INDEX_SEATS];
    uint32_t count;
    bool are_moved; /* not new */
};

static void put_seats(struct gv_trie *trie, struct bench *bench)
{
    for (uint32_t i = 0; i < bench->count; i++) {
        if (bench->are_moved) {
            gv_index_move(&trie->index, bench->seats[i]);
        } else {
            gv_index_add(&trie->index, bench->seats[i]);
        }
    }
    bench->count = 0;
}

/* Those of the blocks from `from` on that the index names. */
static void seat_blocks(struct gv_trie *trie, struct bench *bench, uint32_t number, uint32_t from)
{
    const struct gv_run *run = gv_trie_known(trie, number);
    uint32_t count = gv_run_count(run);
    for (uint32_t i = gv_run_indexed(run, from); i < count; i = gv_run_indexed(run, i + 1)) {
        if (bench->count == GV_INDEX_SEATS) {
            put_seats(trie, bench);
        }
        bench->seats[bench->count] = gv_index_seat(&trie->index, gv_run_block(run, i), number);
        bench->count += 1;
    }
}

/* Seat all that is named of a run which is not yet in the current table. */
static void seat_run(struct gv_trie *trie, struct bench *bench, uint32_t number)
{
    struct gv_run *run = gv_trie_run(trie, number);
    if (run != NULL && run->is_odd != trie->index.is_odd) {
        seat_blocks(trie, bench, number, 0);
        run->is_odd = trie->index.is_odd;
    }
}

static void move_run(struct gv_trie *trie, uint32_t number)
{
    struct bench bench;
    bench.count = 0;
    bench.are_moved = true;
    seat_run(trie, &bench, number);
    put_seats(trie, &bench);
}

/* Ask the memory for a run that will be moved; of a short one, for all of it. */
static void fetch_run(const struct gv_trie *trie, uint32_t number)
{
    const struct gv_run *run = gv_trie_run(trie, number);
    if (run != NULL) {
        __builtin_prefetch(run);
        __builtin_prefetch(&run->words[8]);
        __builtin_prefetch(&run->words[16]);
    }
}

void gv_run_move_some(struct gv_trie *trie, uint64_t blocks)
{
    if (!gv_index_is_moving(&trie->index)) {
        return;
    }
    struct bench bench;
    bench.count = 0;
    bench.are_moved = true;
    uint32_t room = gv_trie_run_room(trie);
    uint64_t moved = 0;
    for (; trie->index.moved_runs < room && moved < blocks; trie->index.moved_runs++) {
        const struct gv_run *run = gv_trie_run(trie, trie->index.moved_runs);
        moved += run != NULL ? gv_run_count(run) / GV_ANCHOR_BLOCKS + 1u : 1u;
        fetch_run(trie, trie->index.moved_runs + FETCH_RUNS);
        seat_run(trie, &bench, trie->index.moved_runs);
    }
    put_seats(trie, &bench);
    if (trie->index.moved_runs >= room) {
        gv_index_moved(&trie->index);
    }
}

static enum gv_err reserve_index(struct gv_trie *trie, uint32_t blocks)
{
    uint32_t more = blocks / GV_ANCHOR_BLOCKS + 2;
    gv_run_move_some(trie, MOVE_MIN + (uint64_t)more * MOVE_FACTOR);
    enum gv_err err = gv_index_reserve(&trie->index, more);
    if (err == GV_EAGAIN) {
        gv_run_move_some(trie, UINT64_MAX);
        err = gv_index_reserve(&trie->index, more);
    }
    return err;
}

/* Name the blocks from `from` on. */
static void index_blocks(struct gv_trie *trie, uint32_t number, uint32_t from)
{
    struct bench bench;
    bench.count = 0;
    bench.are_moved = false;
    seat_blocks(trie, &bench, number, from);
    put_seats(trie, &bench);
    trie->block_count += gv_run_count(gv_trie_known(trie, number)) - from;
}

/* Forget the names of the blocks from `keep` on. */
static void unindex_blocks(struct gv_trie *trie, uint32_t number, uint32_t keep)
{
    move_run(trie, number); /* so that they are all in the current table */
    const struct gv_run *run = gv_trie_known(trie, number);
    uint32_t count = gv_run_count(run);
    for (uint32_t i = gv_run_indexed(run, keep); i < count; i = gv_run_indexed(run, i + 1)) {
        gv_index_remove(&trie->index, gv_run_block(run, i), number);
    }
    trie->block_count -= count - keep;
}

/* ---- the table ---- */

static struct gv_run_table *table_of(const struct gv_trie *trie)
{
    return atomic_load_explicit(&trie->table, memory_order_relaxed);
}

static _Atomic uintptr_t *entry_of(const struct gv_trie *trie, uint32_t number)
{
    struct gv_run_page *page = atomic_load_explicit(
        &table_of(trie)->pages[number / GV_RUNS_IN_PAGE], memory_order_relaxed);
    return &page->runs[number % GV_RUNS_IN_PAGE];
}

static size_t table_bytes(uint32_t room)
{
    return sizeof(struct gv_run_table) + room * sizeof(struct gv_run_page *);
}

static enum gv_err widen_table(struct gv_trie *trie)
{
    struct gv_run_table *old = table_of(trie);
    uint32_t room = old == NULL ? TABLE_FIRST : old->room * 2;
    struct gv_run_table *made = gv_mem_budget_new(trie->budget, table_bytes(room));
    if (made == NULL) {
        return GV_EFULL;
    }
    made->room = room;
    for (uint32_t i = 0; i < trie->page_count; i++) {
        made->pages[i] = atomic_load_explicit(&old->pages[i], memory_order_relaxed);
    }
    atomic_store_explicit(&trie->table, made, memory_order_release);
    if (old != NULL) {
        gv_limbo_put(&trie->limbo, old, table_bytes(old->room));
    }
    return GV_OK;
}

static enum gv_err page_new(struct gv_trie *trie)
{
    if ((trie->page_count + 1) * GV_RUNS_IN_PAGE > GV_INDEX_RUNS_MAX) {
        return GV_EFULL;
    }
    if (table_of(trie) == NULL || trie->page_count == table_of(trie)->room) {
        enum gv_err err = widen_table(trie);
        if (err != GV_OK) {
            return err;
        }
    }
    struct gv_run_page *page = gv_mem_budget_new(trie->budget, sizeof *page);
    if (page == NULL) {
        return GV_EFULL;
    }
    uint32_t first = trie->page_count * GV_RUNS_IN_PAGE;
    for (uint32_t i = GV_RUNS_IN_PAGE; i > 0; i--) {
        page->runs[i - 1] = (uintptr_t)trie->free_run << 1 | 1;
        trie->free_run = first + i - 1;
    }
    atomic_store_explicit(&table_of(trie)->pages[trie->page_count], page, memory_order_release);
    trie->page_count += 1;
    return GV_OK;
}

void gv_run_publish(struct gv_trie *trie, uint32_t number, const struct gv_run *run)
{
    atomic_store_explicit(entry_of(trie, number), (uintptr_t)run, memory_order_release);
}

/* ---- runs ---- */

static void hang(struct gv_trie *trie, struct gv_run *run, struct gv_place parent)
{
    struct gv_run *above = gv_trie_known(trie, parent.run);
    run->parent = parent.run & GV_RUN_NONE;
    run->parent_offset = parent.offset & ((1u << 14) - 1);
    above->child_count += 1;
    if (above->child_upto < parent.offset + 1) {
        above->child_upto = (uint16_t)(parent.offset + 1);
    }
}

enum gv_err gv_run_new(struct gv_trie *trie, struct gv_place parent, uint32_t depth,
                       const uint64_t *blocks, uint32_t count, uint32_t *number)
{
    GV_ASSERT(count >= 1 && count <= GV_RUN_MAX && depth < GV_FINGERPRINTS_MAX);
    gv_index_prefetch_add(&trie->index, blocks[0]);
    enum gv_err err = reserve_index(trie, count);
    if (err == GV_OK && trie->free_run == GV_RUN_NONE) {
        err = page_new(trie);
    }
    if (err != GV_OK) {
        return err;
    }
    struct gv_run fresh = {.depth = (uint16_t)depth, .parent = GV_RUN_NONE};
    fresh.is_odd = trie->index.is_odd;
    struct gv_run *run = gv_body_new(trie, &fresh, blocks, count);
    if (run == NULL) {
        return GV_EFULL;
    }
    if (parent.run != GV_RUN_NONE) {
        hang(trie, run, parent);
    }
    *number = trie->free_run;
    trie->free_run = (uint32_t)(*entry_of(trie, *number) >> 1);
    trie->orphan_count += gv_run_is_orphan(run) ? 1 : 0;
    trie->run_count += 1;
    gv_run_publish(trie, *number, run);
    index_blocks(trie, *number, 0);
    return GV_OK;
}

enum gv_err gv_run_extend(struct gv_trie *trie, uint32_t number, const uint64_t *blocks,
                          uint32_t count)
{
    enum gv_err err = reserve_index(trie, count);
    if (err != GV_OK) {
        return err;
    }
    move_run(trie, number); /* what is added now goes to the current table */
    uint32_t old = gv_run_count(gv_trie_known(trie, number));
    GV_ASSERT(old + count <= GV_RUN_MAX);
    err = gv_body_append(trie, number, blocks, count);
    if (err == GV_OK) {
        index_blocks(trie, number, old);
    }
    return err;
}

void gv_run_adopt(struct gv_trie *trie, uint32_t number, struct gv_place parent)
{
    struct gv_run *run = gv_trie_known(trie, number);
    GV_ASSERT(gv_run_is_orphan(run));
    trie->orphan_count -= 1;
    hang(trie, run, parent);
}

enum gv_err gv_run_cut(struct gv_trie *trie, uint32_t number, uint32_t keep)
{
    struct gv_run *run = gv_trie_known(trie, number);
    GV_ASSERT(keep >= 1 && keep >= run->child_upto && keep < gv_run_count(run));
    struct gv_run *made = gv_body_cut(trie, run, keep);
    if (made == NULL) {
        return GV_EFULL;
    }
    unindex_blocks(trie, number, keep);
    made->is_odd = trie->index.is_odd;
    gv_run_publish(trie, number, made);
    gv_body_drop_cut(trie, run, made);
    return GV_OK;
}

void gv_run_free(struct gv_trie *trie, uint32_t number)
{
    struct gv_run *run = gv_trie_known(trie, number);
    GV_ASSERT(run->child_count == 0);
    unindex_blocks(trie, number, 0);
    if (gv_run_is_orphan(run)) {
        trie->orphan_count -= 1;
    } else if (run->parent != GV_RUN_NONE) {
        struct gv_run *above = gv_trie_known(trie, run->parent);
        GV_ASSERT(above->child_count > 0);
        above->child_count -= 1;
        above->child_upto = above->child_count > 0 ? above->child_upto : 0;
    }
    atomic_store_explicit(entry_of(trie, number), (uintptr_t)trie->free_run << 1 | 1,
                          memory_order_release);
    trie->free_run = number;
    trie->run_count -= 1;
    gv_span_drop(trie, run);
    gv_body_drop(trie, run);
}

void gv_run_free_all(struct gv_trie *trie)
{
    for (uint32_t i = 0; i < gv_trie_run_room(trie); i++) {
        struct gv_run *run = gv_trie_run(trie, i);
        if (run != NULL) {
            gv_span_drop(trie, run);
            gv_body_free(trie, run);
        }
    }
    struct gv_run_table *table = table_of(trie);
    for (uint32_t i = 0; i < trie->page_count; i++) {
        gv_mem_budget_free(trie->budget, table->pages[i], sizeof(struct gv_run_page));
    }
    gv_mem_budget_free(trie->budget, table, table != NULL ? table_bytes(table->room) : 0);
}
