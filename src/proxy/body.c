/* body.c - see body.h. */
#include "body.h"

#include "engine.h"
#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "grapevine/http/splice.h"
#include "pair.h"
#include <inttypes.h>
#include <stdio.h>

#define RANK_BYTES 16

/* The fields of ours that one leg gets beside a meeting. */
struct additions {
    struct gv_splice_field fields[GV_PAIR_ADDITIONS_MAX];
    size_t count;
    char ranks[2][RANK_BYTES];
};

static void add(struct additions *additions, const char *name, struct gv_slice value)
{
    GV_ASSERT(additions->count < GV_PAIR_ADDITIONS_MAX);
    additions->fields[additions->count++] = (struct gv_splice_field){name, value};
}

static int32_t rank_of(const struct gv_leg *leg)
{
    return leg->target->uri.dp_rank;
}

static void add_rank(struct additions *additions, uint32_t place, const char *name, int32_t rank)
{
    if (rank >= 0) {
        snprintf(additions->ranks[place], RANK_BYTES, "%" PRId32, rank);
        add(additions, name, gv_slice_text(additions->ranks[place]));
    }
}

static bool takes_rid(const struct gv_carrier *carrier, const struct gv_engine *engine)
{
    return engine->abort_path != NULL && carrier->plan.batch_size == 0;
}

/* Several answers to one prompt: the engine gives each a name of its own. */
static bool wants_several(struct gv_slice body)
{
    struct gv_slice sampling;
    struct gv_slice n;
    return (gv_splice_find(body, "n", &n) && !gv_slice_is(n, "1")) ||
           (gv_splice_find(body, "sampling_params", &sampling) &&
            gv_splice_find(sampling, "n", &n) && !gv_slice_is(n, "1"));
}

/* The name by which the engine can be told to stop: a fresh one of ours. A client's own name is
 * left as it is and never told: engines stop every request whose name begins with it, and one that
 * is short or used twice would stop those of others. There the closed connection is the abort. */
static void name_leg(struct gv_carrier *carrier, struct gv_leg *leg, struct additions *additions)
{
    struct gv_slice said;
    struct gv_slice body = gv_buf_slice(&carrier->body);
    if (gv_splice_find(body, "rid", &said) || wants_several(body)) {
        return;
    }
    if (carrier->own_rid[0] == '\0') {
        uint64_t random[2];
        gv_random_bytes(random, sizeof random);
        snprintf(carrier->own_rid, sizeof carrier->own_rid, "\"gv-%016" PRIx64 "%016" PRIx64 "\"",
                 random[0], random[1]);
    }
    leg->rid = gv_slice_text(carrier->own_rid);
    add(additions, "rid", leg->rid);
}

/* ---- one worker ---- */

static enum gv_err make_alone(struct gv_carrier *carrier, const struct gv_worker *worker)
{
    struct gv_leg *leg = &carrier->legs[0];
    const struct gv_engine *engine = gv_engine_find(worker->runtime);
    struct additions additions = {.count = 0};
    leg->body = gv_buf_slice(&carrier->body);
    if (engine->takes_rank_field) {
        add_rank(&additions, 0, "data_parallel_rank", rank_of(leg));
    }
    bool wanted = additions.count > 0 || carrier->proxy->shared->config->abort_requests;
    if (wanted && takes_rid(carrier, engine)) {
        name_leg(carrier, leg, &additions);
    }
    if (additions.count == 0) {
        return GV_OK;
    }
    gv_buf_clear(&carrier->pair_body);
    enum gv_err err = gv_splice(leg->body, additions.fields, additions.count, &carrier->pair_body);
    leg->body = gv_buf_slice(&carrier->pair_body);
    return err;
}

/* ---- a pair that meets ---- */

static enum gv_err make_met(struct gv_carrier *carrier, uint32_t i, struct gv_pair_meeting *meeting,
                            const struct gv_engine *engine, struct gv_buf *out)
{
    struct gv_leg *leg = &carrier->legs[i];
    struct additions additions = {.count = 0};
    int32_t prefill_rank = rank_of(&carrier->legs[GV_LEG_PREFILL]);
    if (i == GV_LEG_DECODE) {
        add_rank(&additions, 1, "disagg_prefill_dp_rank", prefill_rank);
    }
    add_rank(&additions, 0, "routed_dp_rank", rank_of(leg));
    if (takes_rid(carrier, engine)) {
        name_leg(carrier, leg, &additions);
    }
    meeting->additions = additions.fields;
    meeting->addition_count = additions.count;
    gv_buf_clear(out);
    enum gv_err err = gv_pair_body(gv_buf_slice(&carrier->body), meeting, out);
    leg->body = gv_buf_slice(out);
    return err;
}

static enum gv_err make_pair(struct gv_carrier *carrier, const struct gv_worker *const *workers)
{
    struct gv_leg *prefill = &carrier->legs[GV_LEG_PREFILL];
    struct gv_leg *decode = &carrier->legs[GV_LEG_DECODE];
    uint32_t count = carrier->plan.batch_size == 0 ? 1 : carrier->plan.batch_size;
    uint64_t *rooms = gv_mem_new(GV_MEM_EXCHANGE, count * sizeof *rooms);
    if (rooms == NULL) {
        return GV_ENOMEM;
    }
    gv_random_bytes(rooms, count * sizeof *rooms);
    struct gv_pair_meeting meeting = {
        .host = prefill->target->uri.host,
        .port = workers[GV_LEG_PREFILL]->bootstrap_port,
        .rooms = rooms,
        .batch_size = carrier->plan.batch_size,
    };
    const struct gv_engine *engines[2] = {gv_engine_find(workers[0]->runtime),
                                          gv_engine_find(workers[1]->runtime)};
    bool same = rank_of(prefill) < 0 && rank_of(decode) < 0 &&
                takes_rid(carrier, engines[0]) == takes_rid(carrier, engines[1]);
    enum gv_err err = make_met(carrier, GV_LEG_PREFILL, &meeting, engines[0], &carrier->pair_body);
    if (same) {
        decode->body = prefill->body;
        decode->rid = prefill->rid;
    } else if (err == GV_OK) {
        err = make_met(carrier, GV_LEG_DECODE, &meeting, engines[1], &carrier->decode_body);
    }
    gv_mem_free(GV_MEM_EXCHANGE, rooms);
    return err;
}

/* ---- */

enum gv_err gv_body_make(struct gv_carrier *carrier, const struct gv_worker *const *workers,
                         bool in_turn)
{
    carrier->own_rid[0] = '\0'; /* another attempt has another name */
    for (uint32_t i = 0; i < GV_EXCHANGE_LEGS_MAX; i++) {
        carrier->legs[i].rid = gv_slice_of(NULL, 0);
    }
    if (carrier->plan.leg_count < 2) {
        return make_alone(carrier, workers[0]);
    }
    if (!in_turn) {
        return make_pair(carrier, workers);
    }
    gv_buf_clear(&carrier->pair_body);
    enum gv_err err = gv_pair_prefill_body(gv_buf_slice(&carrier->body), &carrier->pair_body);
    carrier->legs[GV_LEG_PREFILL].body = gv_buf_slice(&carrier->pair_body);
    return err;
}

/* A batch is not handed over: there is one set of parameters, and many prompts. */
enum gv_err gv_body_hand_over(struct gv_carrier *carrier, struct gv_slice answer)
{
    if (carrier->plan.batch_size > 1) {
        answer.len = 0;
    }
    gv_buf_clear(&carrier->decode_body);
    enum gv_err err =
        gv_pair_decode_body(gv_buf_slice(&carrier->body), answer, &carrier->decode_body);
    carrier->legs[GV_LEG_DECODE].body = gv_buf_slice(&carrier->decode_body);
    return err;
}
