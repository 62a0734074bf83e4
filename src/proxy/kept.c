/* kept.c - see kept.h. */
#include "kept.h"

#include "grapevine/base/mem.h"

void gv_kept_init(struct gv_kept *kept)
{
    *kept = (struct gv_kept){.headers = NULL};
    gv_buf_init(&kept->text, GV_MEM_EXCHANGE, GV_KEPT_HEAD_BYTES_MAX);
    gv_buf_init(&kept->body, GV_MEM_EXCHANGE, GV_KEPT_BODY_BYTES_MAX);
}

void gv_kept_drop(struct gv_kept *kept)
{
    gv_mem_free(GV_MEM_EXCHANGE, kept->headers);
    kept->headers = NULL;
    gv_buf_reset(&kept->text);
    gv_buf_reset(&kept->body);
}

enum gv_err gv_kept_head(struct gv_kept *kept, const struct gv_head *head)
{
    gv_kept_drop(kept);
    kept->headers =
        gv_mem_new(GV_MEM_EXCHANGE, (head->header_count + 1) * sizeof(struct gv_header));
    enum gv_err err = kept->headers == NULL ? GV_ENOMEM : GV_OK;
    for (size_t i = 0; i < head->header_count && err == GV_OK; i++) {
        err = gv_buf_append(&kept->text, head->headers[i].name);
        if (err == GV_OK) {
            err = gv_buf_append(&kept->text, head->headers[i].value);
        }
    }
    if (err != GV_OK) {
        return err;
    }
    const uint8_t *at = gv_buf_slice(&kept->text).data;
    for (size_t i = 0; i < head->header_count; i++) {
        size_t name_len = head->headers[i].name.len;
        size_t value_len = head->headers[i].value.len;
        kept->headers[i].name = gv_slice_of(at, name_len);
        kept->headers[i].value = gv_slice_of(at + name_len, value_len);
        at += name_len + value_len;
    }
    kept->answer = *head;
    kept->answer.headers = kept->headers;
    return GV_OK;
}
