/*
 * kept.h - a worker's answer that outlives its connection: head, and perhaps body, copied.
 *
 * Who may call: carrier.c, merging.c. One thread.
 */
#ifndef GV_PROXY_KEPT_H
#define GV_PROXY_KEPT_H

#include "grapevine/base/buf.h"
#include "grapevine/http/head.h"

#define GV_KEPT_HEAD_BYTES_MAX (256u * 1024)
#define GV_KEPT_BODY_BYTES_MAX (64u * 1024)

/* A worker's answer that asked to try elsewhere, whole, for when nothing is left to try. */
struct gv_kept {
    struct gv_head answer;     /* slices point into text */
    struct gv_header *headers; /* owned */
    struct gv_buf text;        /* owned: names and values */
    struct gv_buf body;        /* owned */
};

/** Empty; allocates nothing. */
void gv_kept_init(struct gv_kept *kept);

/** Free what is held; it is empty again. */
void gv_kept_drop(struct gv_kept *kept);

/** Copy the head: it dies with its connection. Errors: as gv_buf_append(). */
GV_MUST_USE enum gv_err gv_kept_head(struct gv_kept *kept, const struct gv_head *head);

#endif
