/*
 * sweep.c - what dies: floors fall on a trie, and the dead are swept a few runs at a time.
 */
#include "route/trie_in.h"

static void recount(struct gv_trie *trie, uint32_t worker)
{
    gv_floors_clear(&trie->floors, worker);
    for (uint32_t i = 0; i < gv_trie_run_room(trie); i++) {
        const struct gv_run *run = gv_trie_run(trie, i);
        if (run == NULL) {
            continue;
        }
        struct gv_span_list list = gv_run_spans(run);
        uint32_t from = 0;
        for (uint32_t j = gv_span_first(&list, worker); j < list.count; j++) {
            struct gv_span span = gv_span_at(&list, j);
            if (span.worker != worker) {
                break;
            }
            gv_floors_add(&trie->floors, worker, span.stamp, span.upto - from);
            from = span.upto;
        }
    }
}

enum gv_err gv_trie_raise_floor(struct gv_trie *trie, uint32_t worker, uint32_t stamp, bool for_all,
                                uint32_t now_s)
{
    bool is_cut;
    gv_trie_begin(trie);
    enum gv_err err = gv_floors_raise(&trie->floors, worker, stamp, for_all, now_s, &is_cut);
    if (err == GV_OK && is_cut) {
        recount(trie, worker);
    }
    gv_trie_end(trie);
    return err;
}

/* Free a run that nobody holds, and what it hung on when that was all that kept it. */
static void free_up(struct gv_trie *trie, uint32_t number)
{
    while (number != GV_RUN_NONE) {
        const struct gv_run *run = gv_trie_known(trie, number);
        if (run->child_count > 0 || gv_run_spans(run).count > 0) {
            return;
        }
        uint32_t above = run->parent;
        gv_run_free(trie, number);
        number = above;
    }
}

static void sweep_run(struct gv_trie *trie, uint32_t number, uint32_t dead_since_s)
{
    struct gv_run *run = gv_trie_run(trie, number);
    if (run == NULL) {
        return;
    }
    uint32_t upto = gv_span_bury(trie, run, dead_since_s);
    if (upto == 0 && run->child_count == 0) {
        free_up(trie, number);
        return;
    }
    /* What nobody holds goes, but for that on which others hang. */
    uint32_t keep = upto > run->child_upto ? upto : run->child_upto;
    if (keep > 0 && keep < gv_run_count(run) && gv_run_cut(trie, number, keep) != GV_OK) {
        return; /* no memory for the shorter array: another time */
    }
}

/* From the last run to the first: most hang on one that is older, so they go before it. */
uint64_t gv_trie_sweep(struct gv_trie *trie, uint32_t dead_since_s, uint32_t max_runs,
                       bool *wrapped)
{
    uint64_t before = trie->block_count;
    gv_trie_begin(trie);
    if (trie->sweep_left == 0) {
        trie->sweep_left = gv_trie_run_room(trie);
    }
    for (uint32_t i = 0; i < max_runs && trie->sweep_left > 0; i++) {
        trie->sweep_left -= 1;
        sweep_run(trie, trie->sweep_left, dead_since_s);
    }
    *wrapped = trie->sweep_left == 0;
    if (*wrapped) {
        gv_index_fit(&trie->index);
    }
    gv_run_move_some(trie, (uint64_t)max_runs * 8);
    gv_trie_end(trie);
    return before - trie->block_count;
}
