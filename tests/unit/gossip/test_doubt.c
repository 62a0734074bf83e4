/*
 * When many are doubted at once it is more likely us, or the network: then nobody is buried whose
 * session still brings messages, for ten seconds.
 */
#include "../../../src/gossip/machine.h"
#include "support/blank.h"
#include "support/suite.h"

#include <stdio.h>

#define OTHERS  8
#define STEP_MS 50
#define MASS    3 /* of nine: over a quarter, and three at least */
#define HOLD_MS 10000

static struct gv_gossip *here;

static struct gv_gossip *engine(const char *name, uint64_t boot_id)
{
    const struct gv_gossip_store store = gv_blank_store();
    struct gv_gossip_options options = {
        .cluster_id = "c",
        .boot_id = boot_id,
        .incarnation = boot_id,
        .gossip_addr = {.family = 4, .ip = {10, 0, 0, 1}, .port = (uint16_t)boot_id},
        .seed = 1};
    struct gv_gossip *made = NULL;
    (void)gv_slice_copy_text(gv_slice_text(name), options.node, sizeof options.node);
    CU_ASSERT_EQUAL_FATAL(gv_gossip_new(&options, &store, 0, &made), GV_OK);
    return made;
}

/* Nine members, all in session; the first `doubted` of the others do not answer probes. */
static void begin(uint32_t doubted)
{
    struct gv_now now = {.now_ms = 1000, .wall_ms = 1000000};
    here = engine("here", 100);
    for (uint32_t i = 0; i < OTHERS; i++) {
        char name[8];
        struct gv_gossip_hello hello;
        (void)snprintf(name, sizeof name, "x%u", (unsigned)i);
        struct gv_gossip *peer = engine(name, 200 + i);
        gv_gossip_hello(peer, &hello);
        gv_gossip_opened(here, 1 + i, false, &hello, now);
        gv_gossip_free(peer);
    }
    CU_ASSERT_EQUAL(here->session_count, OTHERS);
    here->now.now_ms += STEP_MS; /* what the sessions brought was before the doubt */
    for (uint32_t i = 0; i < doubted; i++) {
        gv_doubt(here, here->sessions[i]->peer, "here", here->now.now_ms);
    }
}

/* The dead after `ms` more; `is_heard`: sessions bring messages all the while. */
static uint32_t dead_after(uint64_t ms, bool is_heard)
{
    for (uint64_t i = 0; i < ms; i += STEP_MS) {
        here->now.now_ms += STEP_MS;
        for (uint32_t s = 0; is_heard && s < here->session_count; s++) {
            here->sessions[s]->heard_at_ms = here->now.now_ms;
        }
        gv_doubt_tick(here);
    }
    uint32_t dead = 0;
    for (uint32_t i = 0; i < here->peer_count; i++) {
        dead += here->peers[i]->member.status == GV_MEMBER_DEAD;
    }
    return dead;
}

/* Both sides of the ten seconds. */
static void a_mass_of_doubts_buries_nobody_whose_session_works(void)
{
    begin(MASS);
    CU_ASSERT_EQUAL(dead_after(HOLD_MS - STEP_MS, true), 0);
    CU_ASSERT_EQUAL(dead_after(200, true), MASS);
    gv_gossip_free(here);
}

static void a_mass_of_doubts_buries_those_whose_session_is_silent_too(void)
{
    begin(MASS);
    CU_ASSERT_EQUAL(dead_after(HOLD_MS - STEP_MS, false), MASS);
    gv_gossip_free(here);
}

/* The other side of a mass: one fewer is an ordinary death. */
static void fewer_than_a_mass_are_not_held(void)
{
    begin(MASS - 1);
    CU_ASSERT_EQUAL(dead_after(HOLD_MS - STEP_MS, true), MASS - 1);
    gv_gossip_free(here);
}

/* After 0.5, 1, 2, 4, 8 and 16 seconds: a node that went unheard for long gives long, and must not
 * find in the end that it never asked again. */
static void a_doubt_that_lasts_is_asked_about_again(void)
{
    begin(0);
    here->health = 7;
    gv_doubt(here, here->sessions[0]->peer, "here", here->now.now_ms);
    uint64_t asked = here->counters.probes_sent;
    CU_ASSERT_EQUAL(dead_after(450, true), 0);
    CU_ASSERT_EQUAL(here->counters.probes_sent, asked);
    CU_ASSERT_EQUAL(dead_after(STEP_MS, true), 0);
    CU_ASSERT_EQUAL(here->counters.probes_sent, asked + 1);
    CU_ASSERT_EQUAL(dead_after(3500, true), 0);
    CU_ASSERT_EQUAL(here->counters.probes_sent, asked + 4);
    gv_gossip_free(here);
}

GV_SUITE("gossip/doubt", GV_CASE(a_doubt_that_lasts_is_asked_about_again),
         GV_CASE(a_mass_of_doubts_buries_nobody_whose_session_works),
         GV_CASE(a_mass_of_doubts_buries_those_whose_session_is_silent_too),
         GV_CASE(fewer_than_a_mass_are_not_held))
