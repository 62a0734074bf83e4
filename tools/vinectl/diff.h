/*
 * diff.h - do all nodes agree? Shared by `diff` and `status`.
 */
#ifndef GV_VINECTL_DIFF_H
#define GV_VINECTL_DIFF_H

#include "ask.h"

/**
 * Ask all nodes for their digests, up to five times a fifth of a second apart while they differ:
 * under traffic two nodes are rarely asked at the same instant. `*groups` is how many different
 * digests there are among the nodes that answered. The answers are of the last round.
 */
bool diff_ask(const struct context *context, struct answers *answers, size_t *groups,
              enum outcome *outcome);

#endif
