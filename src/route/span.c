/*
 * span.c - who holds how much of a run: raised by operations, buried by the sweep.
 *
 * One span is kept in the run itself. Of several, one may be replaced in its place; whatever else
 * changes makes a new array, so that a reader sees the list as it was or as it is.
 */
#include "route/trie_in.h"
#include <string.h>

static struct gv_spans *many_of(const struct gv_run *run)
{
    uint64_t word = atomic_load_explicit(&run->spans, memory_order_relaxed);
    return (word & 1) != 0 || word == 0 ? NULL : (struct gv_spans *)(uintptr_t)word;
}

static uint32_t words_of(const struct gv_spans *many)
{
    return 1 + many->room;
}

void gv_span_drop(struct gv_trie *trie, struct gv_run *run)
{
    struct gv_spans *many = many_of(run);
    if (many != NULL) {
        gv_limbo_put_array(&trie->limbo, (uint64_t *)(void *)many, words_of(many));
    }
}

/* An array for `count` spans, none set; NULL: no memory. */
static struct gv_spans *many_new(struct gv_trie *trie, uint32_t count)
{
    uint32_t words = gv_cells_room(1 + count);
    struct gv_spans *many = (struct gv_spans *)(void *)gv_cells_take(&trie->cells, words);
    if (many != NULL) {
        many->count = count;
        many->room = words - 1;
    }
    return many;
}

static void set_spans(struct gv_trie *trie, struct gv_run *run, uint64_t word)
{
    struct gv_spans *old = many_of(run);
    atomic_store_explicit(&run->spans, word, memory_order_release);
    if (old != NULL) {
        gv_limbo_put_array(&trie->limbo, (uint64_t *)(void *)old, words_of(old));
    }
}

uint32_t gv_span_first(const struct gv_span_list *list, uint32_t worker)
{
    uint32_t low = 0; /* all before belong to workers before */
    uint32_t left = list->count;
    while (left > 0) {
        /* Which half is as good as random: no jump to be guessed, but an addition. */
        uint32_t half = (left + 1) / 2;
        low += gv_span_at(list, low + half - 1).worker < worker ? half : 0;
        left -= half;
    }
    return low;
}

/* Which spans of `list` a hold makes superfluous. */
struct gap {
    uint32_t first;
    uint32_t end;
    uint32_t from; /* the newer steps before reach up to here */
    bool is_split; /* the step at `end` is older and goes on deeper */
};

/* false: all is held already, at least as freshly. */
static bool find_gap(const struct gv_span_list *list, struct gv_span hold, struct gap *gap)
{
    uint32_t p = gv_span_first(list, hold.worker);
    uint32_t end = p;
    while (end < list->count && gv_span_at(list, end).worker == hold.worker) {
        end++;
    }
    *gap = (struct gap){0};
    for (; p < end && gv_span_at(list, p).stamp > hold.stamp; p++) {
        gap->from = gv_span_at(list, p).upto;
    }
    if (gap->from >= hold.upto || (p < end && gv_span_at(list, p).stamp == hold.stamp &&
                                   gv_span_at(list, p).upto >= hold.upto)) {
        return false;
    }
    gap->first = p;
    while (p < end && gv_span_at(list, p).upto <= hold.upto) {
        p++;
    }
    gap->end = p;
    gap->is_split = p < end;
    return true;
}

/* The histogram: what was held under older stamps is now held under the new one. */
static void recount(struct gv_trie *trie, const struct gv_span_list *list, const struct gap *gap,
                    struct gv_span hold)
{
    uint32_t at = gap->from;
    for (uint32_t i = gap->first; i < gap->end; i++) {
        struct gv_span span = gv_span_at(list, i);
        gv_floors_remove(&trie->floors, hold.worker, span.stamp, span.upto - at);
        at = span.upto;
    }
    if (gap->is_split) {
        gv_floors_remove(&trie->floors, hold.worker, gv_span_at(list, gap->end).stamp,
                         hold.upto - at);
    }
    gv_floors_add(&trie->floors, hold.worker, hold.stamp, hold.upto - gap->from);
}

/* The steps in the gap, neither newer nor deeper, become the one new step. */
enum gv_err gv_span_raise(struct gv_trie *trie, struct gv_run *run, struct gv_span hold, bool *rose)
{
    struct gv_span_list list = gv_run_spans(run);
    struct gv_spans *old = many_of(run);
    struct gap gap;
    *rose = find_gap(&list, hold, &gap);
    if (!*rose) {
        return GV_OK;
    }
    uint32_t count = list.count + 1 - (gap.end - gap.first);
    bool is_in_place = old != NULL && gap.end == gap.first + 1;
    struct gv_spans *made = NULL;
    if (!is_in_place && count > 1) {
        made = many_new(trie, count);
        if (made == NULL) {
            return GV_EFULL;
        }
        for (uint32_t i = 0; i < gap.first; i++) {
            made->packed[i] = gv_span_pack(gv_span_at(&list, i));
        }
        made->packed[gap.first] = gv_span_pack(hold);
        for (uint32_t i = gap.end; i < list.count; i++) {
            made->packed[gap.first + 1 + i - gap.end] = gv_span_pack(gv_span_at(&list, i));
        }
    }
    recount(trie, &list, &gap, hold);
    if (is_in_place) {
        atomic_store_explicit(&old->packed[gap.first], gv_span_pack(hold), memory_order_relaxed);
        return GV_OK;
    }
    set_spans(trie, run, made != NULL ? (uint64_t)(uintptr_t)made : gv_span_pack(hold));
    return GV_OK;
}

uint32_t gv_span_bury(struct gv_trie *trie, struct gv_run *run, uint32_t dead_since_s)
{
    struct gv_span_list list = gv_run_spans(run);
    uint32_t kept = 0;
    uint32_t upto = 0;
    uint32_t upto_before = 0;
    uint64_t last = 0;
    for (uint32_t i = 0; i < list.count; i++) {
        struct gv_span span = gv_span_at(&list, i);
        upto_before = span.upto > upto_before ? span.upto : upto_before;
        if (span.stamp > gv_floors_settled(&trie->floors, span.worker, dead_since_s)) {
            upto = span.upto > upto ? span.upto : upto;
            last = gv_span_pack(span);
            kept++;
        }
    }
    if (kept == list.count) {
        return upto;
    }
    if (kept <= 1) {
        set_spans(trie, run, last);
        return upto;
    }
    struct gv_spans *made = many_new(trie, kept);
    if (made == NULL) {
        return upto_before; /* another time */
    }
    kept = 0;
    for (uint32_t i = 0; i < list.count; i++) {
        struct gv_span span = gv_span_at(&list, i);
        if (span.stamp > gv_floors_settled(&trie->floors, span.worker, dead_since_s)) {
            made->packed[kept++] = gv_span_pack(span);
        }
    }
    set_spans(trie, run, (uint64_t)(uintptr_t)made);
    return upto;
}
