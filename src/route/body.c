/*
 * body.c - the memory of a run: small arrays only, however long the run.
 *
 * A short run is one array: header and blocks. A long one is a header with the first block and
 * pointers to pieces of GV_PIECE_BLOCKS, the last of which is as short as it can be. So a run that
 * grows copies no more than one piece, and all memory is in the few sizes of cells.h: none of it is
 * ever too oddly shaped to be used again.
 *
 * What readers may hold is never written to again: blocks beyond `count` are written once, before
 * the count says so; a piece that is replaced, and whatever a cut leaves, is copied.
 */
#include "route/trie_in.h"
#include <string.h>

#define GROWTH_SHARE 8u /* a last piece that grew once grows again: so much room more */

static uint32_t pieces_for(uint32_t blocks)
{
    return (blocks + GV_PIECE_BLOCKS - 1) / GV_PIECE_BLOCKS;
}

/* Words of the header's own array; `room` in blocks. */
static uint32_t words_for(uint32_t room, bool is_long)
{
    return is_long ? gv_cells_room(GV_RUN_WORDS + 1 + pieces_for(room)) : GV_RUN_WORDS + room;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint64_t *piece_of(const struct gv_run *run, uint32_t number)
{
    return (uint64_t *)(uintptr_t)run->words[1 + number];
}

static void set_piece(struct gv_run *run, uint32_t number, const uint64_t *piece)
{
    atomic_store_explicit((_Atomic uint64_t *)&run->words[1 + number], (uint64_t)(uintptr_t)piece,
                          memory_order_release);
}

static uint32_t piece_room(uint32_t room, uint32_t number)
{
    return least(room - number * GV_PIECE_BLOCKS, GV_PIECE_BLOCKS);
}

static void set_count(struct gv_run *run, uint32_t count, bool is_long)
{
    atomic_store_explicit(&run->count, (uint16_t)(count | (is_long ? GV_RUN_LONG : 0)),
                          memory_order_release);
}

/* Write blocks for which there is room. */
static void put(struct gv_run *run, uint32_t at, const uint64_t *blocks, uint32_t count)
{
    if (!gv_run_is_long(run)) {
        memcpy(run->words + at, blocks, count * sizeof *blocks);
        return;
    }
    while (count > 0) {
        uint32_t from = at % GV_PIECE_BLOCKS;
        uint32_t part = least(GV_PIECE_BLOCKS - from, count);
        memcpy(piece_of(run, at / GV_PIECE_BLOCKS) + from, blocks, part * sizeof *blocks);
        at += part;
        blocks += part;
        count -= part;
    }
}

void gv_run_copy(const struct gv_run *run, uint32_t from, uint32_t count, uint64_t *out)
{
    for (uint32_t done = 0; done < count;) {
        uint32_t at = from + done;
        uint32_t part = gv_run_is_long(run) ? GV_PIECE_BLOCKS - at % GV_PIECE_BLOCKS : count;
        part = least(part, count - done);
        memcpy(out + done, gv_run_is_long(run) ? gv_run_at(run, at) : run->words + at,
               part * sizeof *out);
        done += part;
    }
}

/* An array as `like`, for that room; NULL: no memory. */
static struct gv_run *header_new(struct gv_trie *trie, const struct gv_run *like, uint32_t room,
                                 bool is_long)
{
    uint64_t *array = gv_cells_take(&trie->cells, words_for(room, is_long));
    struct gv_run *run = (struct gv_run *)(void *)array;
    if (run == NULL) {
        return NULL;
    }
    run->spans = atomic_load_explicit(&like->spans, memory_order_relaxed);
    run->depth = like->depth;
    run->count = is_long ? GV_RUN_LONG : 0;
    run->room = (uint16_t)room;
    run->child_upto = like->child_upto;
    run->parent = like->parent;
    run->parent_offset = like->parent_offset;
    run->child_count = like->child_count;
    run->is_odd = like->is_odd;
    return run;
}

static void drop_header(struct gv_trie *trie, struct gv_run *run)
{
    gv_limbo_put_array(&trie->limbo, (uint64_t *)(void *)run,
                       words_for(run->room, gv_run_is_long(run)));
}

/* Retire the pieces from `first` on. */
static void drop_pieces(struct gv_trie *trie, struct gv_run *run, uint32_t first)
{
    for (uint32_t i = first; gv_run_is_long(run) && i < pieces_for(run->room); i++) {
        gv_limbo_put_array(&trie->limbo, piece_of(run, i), piece_room(run->room, i));
    }
}

void gv_body_drop(struct gv_trie *trie, struct gv_run *run)
{
    drop_pieces(trie, run, 0);
    drop_header(trie, run);
}

void gv_body_free(struct gv_trie *trie, struct gv_run *run)
{
    bool is_long = gv_run_is_long(run);
    for (uint32_t i = 0; is_long && i < pieces_for(run->room); i++) {
        gv_cells_give(&trie->cells, piece_of(run, i), piece_room(run->room, i));
    }
    gv_cells_give(&trie->cells, (uint64_t *)(void *)run, words_for(run->room, is_long));
}

/* Add pieces to a long run of whole pieces, whose header has the room, until there is room for
 * `need`. */
static enum gv_err add_pieces(struct gv_trie *trie, struct gv_run *run, uint32_t need)
{
    while (run->room < need) {
        uint32_t words = gv_cells_room(least(need - run->room, GV_PIECE_BLOCKS));
        uint64_t *piece = gv_cells_take(&trie->cells, words);
        if (piece == NULL) {
            return GV_EFULL;
        }
        set_piece(run, pieces_for(run->room), piece);
        run->room = (uint16_t)(run->room + words);
    }
    return GV_OK;
}

struct gv_run *gv_body_new(struct gv_trie *trie, const struct gv_run *like, const uint64_t *blocks,
                           uint32_t count)
{
    bool is_long = count > GV_SHORT_MAX;
    uint32_t room = is_long ? count : gv_cells_room(GV_RUN_WORDS + count) - GV_RUN_WORDS;
    struct gv_run *run = header_new(trie, like, room, is_long);
    if (run == NULL) {
        return NULL;
    }
    if (is_long) {
        uint32_t words = words_for(room, true);
        run->room = 0;
        if (add_pieces(trie, run, count) != GV_OK) {
            for (uint32_t i = 0; i < pieces_for(run->room); i++) {
                gv_cells_give(&trie->cells, piece_of(run, i), piece_room(run->room, i));
            }
            gv_cells_give(&trie->cells, (uint64_t *)(void *)run, words);
            return NULL;
        }
        run->words[0] = blocks[0];
    }
    put(run, 0, blocks, count);
    set_count(run, count, is_long);
    return run;
}

/* A short run becomes a long one. */
static enum gv_err lengthen(struct gv_trie *trie, uint32_t number, uint32_t need)
{
    struct gv_run *run = gv_trie_known(trie, number);
    uint32_t count = gv_run_count(run);
    struct gv_run *made = header_new(trie, run, need, true);
    if (made == NULL) {
        return GV_EFULL;
    }
    uint32_t words = words_for(need, true);
    made->room = 0;
    if (add_pieces(trie, made, need) != GV_OK) {
        for (uint32_t i = 0; i < pieces_for(made->room); i++) {
            gv_cells_give(&trie->cells, piece_of(made, i), piece_room(made->room, i));
        }
        gv_cells_give(&trie->cells, (uint64_t *)(void *)made, words);
        return GV_EFULL;
    }
    made->words[0] = run->words[0];
    put(made, 0, run->words, count);
    set_count(made, count, true);
    gv_run_publish(trie, number, made);
    drop_header(trie, run);
    return GV_OK;
}

/* The last piece of a long run in more room: for `need` blocks in all, if one piece can. */
static enum gv_err widen_last(struct gv_trie *trie, struct gv_run *run, uint32_t need)
{
    uint32_t last = pieces_for(run->room) - 1;
    uint32_t room = piece_room(run->room, last);
    uint32_t wanted = need - last * GV_PIECE_BLOCKS;
    if (room == GV_PIECE_BLOCKS) {
        return GV_OK;
    }
    uint32_t words = gv_cells_room(least(wanted + wanted / GROWTH_SHARE, GV_PIECE_BLOCKS));
    uint64_t *piece = gv_cells_take(&trie->cells, words);
    if (piece == NULL) {
        return GV_EFULL;
    }
    uint64_t *old = piece_of(run, last);
    memcpy(piece, old, room * sizeof *piece);
    set_piece(run, last, piece);
    run->room = (uint16_t)(run->room - room + words);
    gv_limbo_put_array(&trie->limbo, old, room);
    return GV_OK;
}

/* Room for `need` blocks in a long run. */
static enum gv_err grow_long(struct gv_trie *trie, uint32_t number, uint32_t need)
{
    struct gv_run *run = gv_trie_known(trie, number);
    enum gv_err err = widen_last(trie, run, need);
    if (err != GV_OK || run->room >= need) {
        return err;
    }
    uint32_t pieces = pieces_for(run->room);
    if (words_for(need, true) != words_for(run->room, true)) {
        /* The header's array for all of them; until they come, it counts as one for these. */
        uint32_t room = run->room;
        struct gv_run *made = header_new(trie, run, need, true);
        if (made == NULL) {
            return GV_EFULL;
        }
        memcpy(made->words, run->words, (1 + pieces) * sizeof *made->words);
        made->room = (uint16_t)room;
        uint32_t words = words_for(need, true);
        err = add_pieces(trie, made, need);
        if (err != GV_OK) {
            for (uint32_t i = pieces; i < pieces_for(made->room); i++) {
                gv_cells_give(&trie->cells, piece_of(made, i), piece_room(made->room, i));
            }
            gv_cells_give(&trie->cells, (uint64_t *)(void *)made, words);
            return err;
        }
        set_count(made, gv_run_count(run), true);
        gv_run_publish(trie, number, made);
        drop_header(trie, run);
        return GV_OK;
    }
    return add_pieces(trie, run, need);
}

/* Room for `need` blocks in a short run that stays one. */
static enum gv_err grow_short(struct gv_trie *trie, uint32_t number, uint32_t need)
{
    struct gv_run *run = gv_trie_known(trie, number);
    uint32_t count = gv_run_count(run);
    uint32_t room = least(need + need / GROWTH_SHARE, GV_SHORT_MAX);
    room = gv_cells_room(GV_RUN_WORDS + room) - GV_RUN_WORDS;
    struct gv_run *made = header_new(trie, run, room, false);
    if (made == NULL) {
        return GV_EFULL;
    }
    put(made, 0, run->words, count);
    set_count(made, count, false);
    gv_run_publish(trie, number, made);
    drop_header(trie, run);
    return GV_OK;
}

enum gv_err gv_body_append(struct gv_trie *trie, uint32_t number, const uint64_t *blocks,
                           uint32_t count)
{
    const struct gv_run *run = gv_trie_known(trie, number);
    uint32_t old = gv_run_count(run);
    uint32_t need = old + count;
    enum gv_err err = GV_OK;
    if (need > run->room && gv_run_is_long(run)) {
        err = grow_long(trie, number, need);
    } else if (need > run->room) {
        err = need > GV_SHORT_MAX ? lengthen(trie, number, need) : grow_short(trie, number, need);
    }
    if (err != GV_OK) {
        return err;
    }
    struct gv_run *grown = gv_trie_known(trie, number);
    put(grown, old, blocks, count);
    set_count(grown, need, gv_run_is_long(grown));
    return GV_OK;
}

struct gv_run *gv_body_cut(struct gv_trie *trie, struct gv_run *run, uint32_t keep)
{
    uint64_t few[GV_PIECE_BLOCKS];
    if (keep <= GV_SHORT_MAX) {
        gv_run_copy(run, 0, keep, few);
        return gv_body_new(trie, run, few, keep);
    }
    /* Whole pieces are shared with the old header, which readers may hold; the last is copied. */
    uint32_t last = pieces_for(keep) - 1;
    uint32_t left = keep - last * GV_PIECE_BLOCKS;
    uint32_t words = gv_cells_room(left);
    struct gv_run *made = header_new(trie, run, last * GV_PIECE_BLOCKS + words, true);
    uint64_t *piece = gv_cells_take(&trie->cells, words);
    if (made == NULL || piece == NULL) {
        if (made != NULL) {
            gv_cells_give(&trie->cells, (uint64_t *)(void *)made, words_for(made->room, true));
        }
        if (piece != NULL) {
            gv_cells_give(&trie->cells, piece, words);
        }
        return NULL;
    }
    memcpy(made->words, run->words, (1 + last) * sizeof *made->words);
    gv_run_copy(run, keep - left, left, piece);
    set_piece(made, last, piece);
    set_count(made, keep, true);
    return made;
}

void gv_body_drop_cut(struct gv_trie *trie, struct gv_run *old, const struct gv_run *cut)
{
    drop_pieces(trie, old, gv_run_is_long(cut) ? pieces_for(gv_run_count(cut)) - 1 : 0);
    drop_header(trie, old);
}
