/*
 * account.h - what an exchange leaves behind when it ends: a log line, metrics, and what its engine
 * showed of itself.
 *
 * Who may call: carrier.c, legs.c, reply.c. One thread.
 */
#ifndef GV_PROXY_ACCOUNT_H
#define GV_PROXY_ACCOUNT_H

#include "attempt.h"

#define GV_BYTES_PER_TOKEN      4u /* of a prompt, roughly, until an engine has counted */
#define GV_PREFILL_SAMPLE_BYTES UINT64_C(4096) /* fewer to compute say more of all else */

/** Before its legs are given back: log, count, learn. */
void gv_account_close(struct gv_carrier *carrier);

/** Tokens that the trie says the worker of `leg` has cached, for people. */
uint64_t gv_account_predicted(const struct gv_carrier *carrier, const struct gv_leg *leg);

#endif
