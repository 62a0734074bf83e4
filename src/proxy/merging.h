/*
 * merging.h - the answer of a pair whose log-probabilities are put together, on its way to the
 * client: decode's bytes are held until prefill has said everything, then pass through the merge.
 *
 * Who may call: carrier.c. One thread.
 */
#ifndef GV_PROXY_MERGING_H
#define GV_PROXY_MERGING_H

#include "legs.h"

/** Is this an exchange whose two answers become one? */
bool gv_merging_is_wanted(const struct gv_carrier *carrier);

/** Decode's head: from here on its answer passes through the merge, if that can be. */
void gv_merging_begin(struct gv_carrier *carrier, const struct gv_head *head);

/** Bytes of decode's answer. */
void gv_merging_body(struct gv_carrier *carrier, struct gv_slice bytes);

/** Bytes of decode's answer, or none; `last`: it is complete. The carrier may be gone. */
void gv_merging_go_on(struct gv_carrier *carrier, struct gv_slice bytes, bool last);

/** Prefill has said everything: decode's answer may go on. The carrier may be gone. */
void gv_merging_prefill_end(struct gv_carrier *carrier);

#endif
