/*
 * member.c - see member.h.
 */
#include "member.h"

#include "grapevine/base/assert.h"

bool gv_member_is_news(const struct gv_member *known, const struct gv_member *news)
{
    if (news->incarnation != known->incarnation) {
        return news->incarnation > known->incarnation;
    }
    if (news->status != known->status) {
        return news->status > known->status;
    }
    return news->boot_id > known->boot_id; /* two starts in one millisecond */
}

const char *gv_member_status_name(enum gv_member_status status)
{
    switch (status) {
    case GV_MEMBER_ALIVE:
        return "alive";
    case GV_MEMBER_SUSPECT:
        return "suspect";
    case GV_MEMBER_DEAD:
        return "dead";
    case GV_MEMBER_LEFT:
        return "left";
    case GV_MEMBER_STATUS_COUNT:
        break;
    }
    return "?";
}
