/* reranking.c - see reranking.h. */
#include "reranking.h"

#include "rerank.h"

void gv_reranking_begin(struct gv_carrier *carrier, const struct gv_head *head)
{
    gv_buf_clear(&carrier->rerank);
    carrier->is_reranking = gv_head_find(head, "content-encoding").data == NULL &&
                            gv_kept_head(&carrier->merged, head) == GV_OK;
}

enum gv_err gv_reranking_body(struct gv_carrier *carrier, struct gv_slice bytes)
{
    return gv_buf_append(&carrier->rerank, bytes);
}

enum gv_err gv_reranking_end(struct gv_carrier *carrier, struct gv_buf *out)
{
    enum gv_err err = gv_rerank_build(gv_buf_slice(&carrier->body), gv_buf_slice(&carrier->rerank),
                                      carrier->client->request_id, gv_clock_wall_ms() / 1000, out);
    carrier->merged.answer.chunked = false;
    carrier->merged.answer.has_content_length = true;
    carrier->merged.answer.content_length = out->len;
    return err;
}
