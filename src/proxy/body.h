/*
 * body.h - what each leg of an attempt is sent: the client's body, with fields of ours where the
 * worker needs them.
 *
 * A pair gets a meeting (see pair.h); the rank of an engine is named in the words of its kind; and
 * where a body is rewritten anyway, or --abort-requests is set, an engine that aborts by request id
 * gets one of ours, unless the client has given one. Everything else is sent byte for byte.
 *
 * Who may call: legs.c.
 */
#ifndef GV_PROXY_BODY_H
#define GV_PROXY_BODY_H

#include "attempt.h"

/**
 * Make the bodies of this attempt: leg->body and leg->rid of each leg that is sent now.
 * `workers`: of the legs, in their order; `in_turn`: prefill goes first, alone. Errors: GV_EINVAL
 * not an object; as gv_buf_append().
 */
GV_MUST_USE enum gv_err gv_body_make(struct gv_carrier *carrier,
                                     const struct gv_worker *const *workers, bool in_turn);

/** The decode leg's body, once prefill has answered `answer`. Errors: the same. */
GV_MUST_USE enum gv_err gv_body_hand_over(struct gv_carrier *carrier, struct gv_slice answer);

#endif
