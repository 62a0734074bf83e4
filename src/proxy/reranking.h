/*
 * reranking.h - the answer of a rerank request on its way to the client: held until it is whole,
 * then made into what clients expect (rerank.h).
 *
 * Who may call: carrier.c. One thread.
 */
#ifndef GV_PROXY_RERANKING_H
#define GV_PROXY_RERANKING_H

#include "legs.h"

/** A good answer's head: is its body to be held? An answer with a coding of its own passes. */
void gv_reranking_begin(struct gv_carrier *carrier, const struct gv_head *head);

/** Bytes of it. Errors: as gv_buf_append(). */
GV_MUST_USE enum gv_err gv_reranking_body(struct gv_carrier *carrier, struct gv_slice bytes);

/** It is complete: append what the client gets. Errors: as gv_rerank_build(). */
GV_MUST_USE enum gv_err gv_reranking_end(struct gv_carrier *carrier, struct gv_buf *out);

#endif
