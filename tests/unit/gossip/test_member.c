/* Which of two records of a member is the newer, and for how long one that is gone is known. */
#include "../../../src/gossip/machine.h"
#include "../../../src/gossip/member.h"
#include "support/blank.h"
#include "support/suite.h"

#define FORGET_S 100

static void the_incarnation_decides_then_the_worse_status_then_the_boot(void)
{
    const struct gv_member known = {.incarnation = 5, .status = GV_MEMBER_SUSPECT, .boot_id = 7};
    static const struct {
        uint64_t incarnation;
        enum gv_member_status status;
        uint64_t boot_id;
        bool is_news;
    } rows[] = {{5, GV_MEMBER_SUSPECT, 7, false}, {5, GV_MEMBER_ALIVE, 9, false},
                {5, GV_MEMBER_DEAD, 1, true},     {5, GV_MEMBER_LEFT, 1, true},
                {4, GV_MEMBER_LEFT, 9, false},    {6, GV_MEMBER_ALIVE, 1, true},
                {5, GV_MEMBER_SUSPECT, 8, true},  {5, GV_MEMBER_SUSPECT, 6, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gv_member news = {.incarnation = rows[i].incarnation,
                                 .status = rows[i].status,
                                 .boot_id = rows[i].boot_id};
        CU_ASSERT_EQUAL(gv_member_is_news(&known, &news), rows[i].is_news);
        /* A merge: of two that differ one wins, whoever came first. */
        bool differs = news.incarnation != known.incarnation || news.status != known.status ||
                       news.boot_id != known.boot_id;
        CU_ASSERT_EQUAL(gv_member_is_news(&news, &known), differs && !rows[i].is_news);
    }
}

/* Both sides of the limit; who is alive, or in session, is never forgotten. */
static void who_is_gone_is_forgotten_after_its_time_and_nobody_else(void)
{
    const struct gv_gossip_store store = gv_blank_store();
    struct gv_gossip_options options = {.node = "here",
                                        .cluster_id = "c",
                                        .boot_id = 1,
                                        .incarnation = 1,
                                        .forget_after_s = FORGET_S,
                                        .seed = 1};
    static const char *const names[] = {"alive", "dead", "left"};
    static const enum gv_member_status statuses[] = {GV_MEMBER_ALIVE, GV_MEMBER_DEAD,
                                                     GV_MEMBER_LEFT};
    struct gv_gossip *here = NULL;
    CU_ASSERT_EQUAL_FATAL(gv_gossip_new(&options, &store, 1000, &here), GV_OK);
    here->now.now_ms = 1000;
    for (int i = 0; i < 3; i++) {
        struct gv_peer *peer = gv_roster_open(here, names[i]);
        CU_ASSERT_PTR_NOT_NULL_FATAL(peer);
        peer->member.status = GV_MEMBER_STATUS_COUNT; /* anything is a change */
        gv_roster_set_status(here, peer, statuses[i]);
    }
    here->now.now_ms += FORGET_S * 1000;
    gv_roster_sweep(here);
    CU_ASSERT_EQUAL(here->peer_count, 4);
    here->now.now_ms += 1;
    gv_roster_sweep(here);
    CU_ASSERT_EQUAL(here->peer_count, 2);
    CU_ASSERT_PTR_NOT_NULL(gv_roster_find(here, "here"));
    CU_ASSERT_PTR_NOT_NULL(gv_roster_find(here, "alive"));
    gv_gossip_free(here);
}

GV_SUITE("gossip/member", GV_CASE(the_incarnation_decides_then_the_worse_status_then_the_boot),
         GV_CASE(who_is_gone_is_forgotten_after_its_time_and_nobody_else))
