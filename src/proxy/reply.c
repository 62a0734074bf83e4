/* reply.c - see reply.h. */
#include "reply.h"

#include "account.h"
#include "grapevine/http/writer.h"
#include <stdio.h>

void gv_reply_sent(struct gv_carrier *carrier, enum gv_err err)
{
    if (err == GV_EFULL) {
        struct gv_leg *leg = &carrier->legs[carrier->exchange.answer_leg];
        gv_upstream_pause(&leg->upstream);
        if (carrier->stalled_since_ms == 0) {
            carrier->stalled_since_ms = gv_carrier_now_ms(carrier);
        }
    } else if (err != GV_OK) {
        gv_client_close(carrier->client); /* on_closed brings GONE */
    }
}

static enum gv_err append_header(struct gv_buf *out, const char *name, const char *value)
{
    return gv_writer_header(out, gv_slice_text(name), gv_slice_text(value));
}

/* "name" for a regular worker, the same behind "prefill-" for the other of a pair. */
static enum gv_err append_leg(const struct gv_carrier *carrier, const struct gv_leg *leg,
                              const char *prefix, struct gv_buf *out)
{
    const struct gv_decision *decision = &leg->decision;
    char match[32];
    char load[16];
    char predicted[32];
    snprintf(match, sizeof match, "%u/%u", decision->depth, decision->block_count);
    snprintf(load, sizeof load, "%u", decision->load);
    snprintf(predicted, sizeof predicted, "%llu",
             (unsigned long long)gv_account_predicted(carrier, leg));
    const struct {
        const char *name;
        const char *value;
    } headers[] = {
        {"rule", gv_rule_name(decision->rule)},
        {"policy", decision->policy},
        {"match", match},
        {"load", load},
        {"predicted-tokens", predicted},
    };
    enum gv_err err = GV_OK;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0] && err == GV_OK; i++) {
        char name[64];
        snprintf(name, sizeof name, "x-grapevine-%s%s", prefix, headers[i].name);
        err = append_header(out, name, headers[i].value);
    }
    return err;
}

static enum gv_err append_decision(const struct gv_carrier *carrier, struct gv_buf *out)
{
    const struct gv_leg *leg = &carrier->legs[carrier->plan.leg_count - 1];
    enum gv_err err = append_header(out, "x-grapevine-worker", leg->target->url);
    if (err == GV_OK) {
        err = append_leg(carrier, leg, "", out);
    }
    if (err == GV_OK && carrier->plan.leg_count == 2) {
        const struct gv_leg *prefill = &carrier->legs[GV_LEG_PREFILL];
        err = append_header(out, "x-grapevine-prefill", prefill->target->url);
        if (err == GV_OK) {
            err = append_leg(carrier, prefill, "prefill-", out);
        }
    }
    if (err == GV_OK && carrier->proxy->shared->node_name != NULL) {
        err = append_header(out, "x-grapevine-node", carrier->proxy->shared->node_name);
    }
    return err;
}

void gv_reply_start(struct gv_carrier *carrier, const struct gv_head *answer, struct gv_slice first)
{
    struct gv_client *client = carrier->client;
    struct gv_buf *extra = &carrier->proxy->lines;
    gv_buf_clear(extra);
    enum gv_err err = gv_request_lines(client, GV_PROBLEM_NONE, extra);
    if (err == GV_OK && carrier->proxy->shared->config->decision_headers && !carrier->passed_kept) {
        err = append_decision(carrier, extra);
    }
    if (err == GV_OK) {
        struct gv_relay_start start = {
            .request = &client->head,
            .answer = answer,
            .extra = gv_buf_slice(extra),
            .first = first,
            .close = gv_client_must_close(client),
        };
        err = gv_relay_start(&carrier->relay, client->stream, &start, &carrier->proxy->scratch);
    }
    gv_reply_sent(carrier, err);
}

void gv_reply_kept(struct gv_carrier *carrier)
{
    struct gv_kept *kept = &carrier->kept;
    kept->answer.chunked = false;
    kept->answer.has_content_length = true;
    kept->answer.content_length = kept->body.len;
    gv_reply_start(carrier, &kept->answer, gv_buf_slice(&kept->body));
}
