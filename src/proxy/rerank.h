/*
 * rerank.h - the answer to a rerank request, made of what the engine returned: an array of scores.
 *
 * Engines of SGLang's kind answer with the bare array; clients expect an object. What is an object
 * already passes as it stands. Pure.
 */
#ifndef GV_PROXY_RERANK_H
#define GV_PROXY_RERANK_H

#include "grapevine/base/buf.h"

#define GV_RERANK_BYTES_MAX (64u * 1024 * 1024) /* of an engine's answer */

/**
 * Append {"results", "model", "usage", "object", "id", "created"} made of `answer`, in its order;
 * only the first top_k of `request`, and null for documents when it says return_documents: false.
 * Errors: GV_EINVAL the answer is neither an array of objects nor an object; as gv_buf_append().
 */
GV_MUST_USE enum gv_err gv_rerank_build(struct gv_slice request, struct gv_slice answer,
                                        const char *id, uint64_t created_s, struct gv_buf *out);

#endif
