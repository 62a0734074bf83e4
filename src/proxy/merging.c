/* merging.c - see merging.h. */
#include "merging.h"

#include "reply.h"

#define GV_MERGING_PIECE_BYTES (256u * 1024) /* of a merged answer, sent at a time */

bool gv_merging_is_wanted(const struct gv_carrier *carrier)
{
    return carrier->plan.leg_count == 2 && carrier->plan.logprobs && !gv_legs_are_in_turn(carrier);
}

void gv_merging_begin(struct gv_carrier *carrier, const struct gv_head *head)
{
    if (gv_head_find(head, "content-encoding").data != NULL ||
        gv_kept_head(&carrier->merged, head) != GV_OK) {
        return;
    }
    struct gv_slice type = gv_head_find(head, "content-type");
    carrier->is_merging = true;
    carrier->merge.stream = gv_slice_starts_with(type, "text/event-stream");
    carrier->merged.answer.has_content_length = false; /* known at the end, or never */
}

/* Pass on what came out of the merge; false: the carrier is gone. */
static bool pass_merged(struct gv_carrier *carrier, struct gv_slice bytes)
{
    struct gv_client *client = carrier->client;
    while (bytes.len > 0 && client->carrier == carrier) {
        size_t len = bytes.len < GV_MERGING_PIECE_BYTES ? bytes.len : GV_MERGING_PIECE_BYTES;
        struct gv_slice piece = gv_slice_of(bytes.data, len);
        if (carrier->relay.started) {
            gv_reply_sent(carrier, gv_relay_body(&carrier->relay, piece, &carrier->proxy->scratch));
        } else {
            gv_carrier_run(
                carrier, (struct gv_exchange_event){.kind = GV_EXCHANGE_BODY, .leg = GV_LEG_DECODE},
                piece);
        }
        bytes = gv_slice_of(bytes.data + len, bytes.len - len);
    }
    return client->carrier == carrier;
}

void gv_merging_go_on(struct gv_carrier *carrier, struct gv_slice bytes, bool last)
{
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_BUFFER, SIZE_MAX / 2);
    enum gv_err err = gv_merge_feed(&carrier->merge, bytes, &out);
    if (err == GV_OK && last) {
        err = gv_merge_end(&carrier->merge, &out);
    }
    if (last && !carrier->merge.stream && !carrier->relay.started) {
        carrier->merged.answer.has_content_length = true;
        carrier->merged.answer.content_length = out.len;
    }
    if (err != GV_OK) {
        gv_client_close(carrier->client); /* no memory; on_closed brings GONE */
    } else if (pass_merged(carrier, gv_buf_slice(&out)) && last) {
        gv_carrier_run(carrier,
                       (struct gv_exchange_event){.kind = GV_EXCHANGE_END, .leg = GV_LEG_DECODE},
                       (struct gv_slice){.data = NULL, .len = 0});
    }
    gv_buf_deinit(&out);
}

void gv_merging_body(struct gv_carrier *carrier, struct gv_slice bytes)
{
    if (carrier->prefill_done) {
        gv_merging_go_on(carrier, bytes, false);
        return;
    }
    gv_upstream_pause(&carrier->legs[GV_LEG_DECODE].upstream);
    if (gv_merge_hold(&carrier->merge, bytes) != GV_OK) {
        gv_client_close(carrier->client);
    }
}

void gv_merging_prefill_end(struct gv_carrier *carrier)
{
    gv_merge_prefill_end(&carrier->merge);
    carrier->prefill_done = true;
    if (carrier->is_merging) {
        gv_upstream_resume(&carrier->legs[GV_LEG_DECODE].upstream, gv_carrier_now_ms(carrier));
        gv_merging_go_on(carrier, (struct gv_slice){.data = NULL, .len = 0}, carrier->decode_done);
    }
}
