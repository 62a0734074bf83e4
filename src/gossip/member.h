/*
 * member.h - which of two records of a member is the news: the order of SWIM. Private to gossip.
 *
 * A higher incarnation wins; at equal incarnation alive < suspect < dead < left. The order is total
 * for one boot, so merging is commutative, associative and idempotent.
 */
#ifndef GV_GOSSIP_MEMBER_H
#define GV_GOSSIP_MEMBER_H

#include "grapevine/gossip/engine.h"

/** Does (incarnation, status) of `news` replace what `known` says? */
bool gv_member_is_news(const struct gv_member *known, const struct gv_member *news);

/** "alive", "suspect", "dead", "left". */
const char *gv_member_status_name(enum gv_member_status status);

#endif
