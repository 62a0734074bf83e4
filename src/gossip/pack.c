/*
 * pack.c - see pack.h.
 */
#include "pack.h"

#include "grapevine/base/assert.h"
#include "limits.h"

#define OPERATION_BYTES 32 /* about what one takes on the wire besides its fingerprints */

bool gv_pack_init(struct gv_pack *pack, struct gv_arena *arena, struct gv_words *keys,
                  struct gv_words *workers, size_t room)
{
    *pack = (struct gv_pack){
        .arena = arena, .room = room, .key_round = ++keys->round, .worker_round = ++workers->round};
    pack->operations = gv_arena_take(arena, room * sizeof(Mesh__TreeOp *));
    pack->keys = gv_arena_take(arena, room * sizeof(char *));
    pack->workers = gv_arena_take(arena, room * sizeof(char *));
    return pack->operations != NULL && pack->keys != NULL && pack->workers != NULL;
}

/* The word's index in a dictionary, entering it at first use. */
static uint32_t enter(struct gv_word *word, uint64_t round, struct gv_pack *pack, char **texts,
                      size_t *count)
{
    if (word->mark_round != round) {
        word->mark_round = round;
        word->mark_index = (uint32_t)*count;
        texts[(*count)++] = word->text;
        pack->bytes += word->len + 3;
    }
    return word->mark_index;
}

bool gv_pack_add(struct gv_pack *pack, const struct gv_gossip_operation *operation,
                 struct gv_word *key, struct gv_word *worker)
{
    if (pack->count == pack->room) {
        return false;
    }
    Mesh__TreeOp *op = gv_arena_take(pack->arena, sizeof *op);
    if (op == NULL) {
        return false;
    }
    mesh__tree_op__init(op);
    op->kind = (Mesh__OpKind)operation->kind;
    op->key = enter(key, pack->key_round, pack, pack->keys, &pack->key_count);
    op->worker = enter(worker, pack->worker_round, pack, pack->workers, &pack->worker_count);
    op->stamp = operation->stamp;
    op->reason = operation->reason;
    op->depth = operation->depth;
    op->parent = operation->parent;
    op->n_fingerprints = operation->count;
    op->fingerprints = (uint64_t *)(uintptr_t)operation->fingerprints;
    pack->operations[pack->count++] = op;
    pack->bytes += OPERATION_BYTES + (size_t)operation->count * 8;
    return true;
}

bool gv_operation_is_valid(const struct gv_gossip_operation *operation)
{
    if (operation->key.len == 0 || operation->key.len > GV_GOSSIP_KEY_MAX ||
        operation->worker.len == 0 || operation->worker.len > GV_GOSSIP_URL_MAX ||
        operation->count > GV_OPERATION_PRINTS_MAX) {
        return false;
    }
    switch (operation->kind) {
    case 0:
        return operation->count >= 1;
    case 1:
        return operation->count == 1;
    case 2:
        return operation->count == 0;
    default: /* a number from the caller, not an enum */
        return false;
    }
}

void gv_operation_in(const Mesh__TreeOp *op, char *const *keys, char *const *workers,
                     struct gv_gossip_operation *operation)
{
    *operation = (struct gv_gossip_operation){.kind = (uint8_t)op->kind,
                                              .key = gv_slice_text(keys[op->key]),
                                              .worker = gv_slice_text(workers[op->worker]),
                                              .stamp = op->stamp,
                                              .reason = op->reason,
                                              .depth = op->depth,
                                              .parent = op->parent,
                                              .fingerprints = op->fingerprints,
                                              .count = (uint32_t)op->n_fingerprints};
}
