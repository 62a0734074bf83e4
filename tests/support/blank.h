/*
 * blank.h - a store for engines whose tries nobody looks at: what is applied is forgotten, there is
 * never anything to give, and all sets are equal.
 */
#ifndef GV_TESTS_SUPPORT_BLANK_H
#define GV_TESTS_SUPPORT_BLANK_H

#include "grapevine/gossip/engine.h"

/** The three calls that an engine needs; the owner and the others are the test's. */
struct gv_gossip_store gv_blank_store(void);

#endif
