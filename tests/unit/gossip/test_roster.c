/*
 * What is kept beside the members, so that a large cluster need not be looked through for every
 * word: how many are of which status, when the next of them is to be dialed, and whose record rides
 * on datagrams. After any news it is what looking through all of them gives.
 */
#include "stage.h"

#include "grapevine/base/prng.h"

#define MEMBERS 12

static void check_counts(void)
{
    struct gv_counts seen = {0};
    uint32_t riding = 0;
    for (uint32_t i = 0; i < here->peer_count; i++) {
        enum gv_member_status status = here->peers[i]->member.status;
        seen.active += status <= GV_MEMBER_SUSPECT;
        seen.suspect += status == GV_MEMBER_SUSPECT;
        seen.gone += status == GV_MEMBER_DEAD || status == GV_MEMBER_LEFT;
        riding += here->peers[i]->news_left > 0;
    }
    CU_ASSERT_EQUAL(here->counts.active, seen.active);
    CU_ASSERT_EQUAL(here->counts.suspect, seen.suspect);
    CU_ASSERT_EQUAL(here->counts.gone, seen.gone);
    CU_ASSERT_EQUAL(gv_gossip_active(here), seen.active);
    CU_ASSERT_EQUAL(here->news_riding, riding);
    CU_ASSERT_EQUAL(here->self->news_left, 0); /* it is in every datagram anyway */
}

/* Nobody is to be dialed, and no attempt ends, before the engine looks for such. */
static void check_dials(void)
{
    for (uint32_t i = 0; i < here->peer_count; i++) {
        const struct gv_peer *peer = here->peers[i];
        bool is_wanted = peer != here->self && peer->member.gossip_addr.family != 0 &&
                         peer->session == NULL && gv_ring_names(here, peer);
        CU_ASSERT(peer->dialing || !is_wanted || here->dial_due_ms <= peer->dial_at_ms);
        CU_ASSERT(!peer->dialing || here->dial_due_ms <= peer->dialed_at_ms + 10000);
    }
    CU_ASSERT(gv_gossip_wake_at(here) <= here->dial_due_ms);
}

/* One tells something of any of them: another status, life, key or address, each with luck. */
static void say_something(struct gv_prng *prng)
{
    uint32_t which = (uint32_t)gv_prng_below(prng, MEMBERS);
    uint8_t key = (uint8_t)(3 + gv_prng_below(prng, 8) / 7);
    struct gv_member member = {
        .boot_id = 100 + which + 100 * gv_prng_below(prng, 2),
        .incarnation = WALL_MS + gv_prng_below(prng, 50),
        .status = (enum gv_member_status)gv_prng_below(prng, GV_MEMBER_STATUS_COUNT),
        .gossip_addr = {.family = 4, .ip = {10, 0, 0, 1}, .port = (uint16_t)(3000 + which)}};
    (void)snprintf(member.name, sizeof member.name, "m%02u", (unsigned)which);
    tell_of(1, &member, key);
}

static void run(uint64_t seed, uint32_t member_max)
{
    struct gv_prng prng;
    gv_prng_init(&prng, seed);
    stage_options.forget_after_s = 20;
    stage_options.member_max = member_max;
    begin();
    meet("teller", 2, 99, 1);
    uint64_t session = 2;
    for (uint32_t step = 0; step < 400; step++) {
        uint32_t which = (uint32_t)gv_prng_below(&prng, MEMBERS);
        char name[8];
        (void)snprintf(name, sizeof name, "m%02u", (unsigned)which);
        say_something(&prng);
        check_counts();
        if (gv_prng_below(&prng, 8) == 0) {
            meet(name, 3, 100 + which, session++);
        }
        if (gv_prng_below(&prng, 8) == 0 && session > 2) {
            bool reset = gv_prng_below(&prng, 2) == 0;
            gv_gossip_closed(here, 2 + gv_prng_below(&prng, session - 2), NULL, reset, now);
        }
        if (gv_prng_below(&prng, 8) == 0) {
            struct gv_addr addr = {
                .family = 4, .ip = {10, 0, 0, 1}, .port = (uint16_t)(3000 + which)};
            gv_gossip_closed(here, 0, &addr, false, now);
        }
        check_dials();
        if (gv_prng_below(&prng, 2) == 0) {
            pass(gv_prng_below(&prng, 3000));
            greet(1, true); /* it is still there */
        }
        drain();
        check_counts();
        check_dials();
    }
    end();
}

static void what_is_kept_is_what_looking_gives(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        run(seed, 0);
    }
}

/* Room for eight: the longest gone make way. */
static void it_is_so_when_there_is_no_room_for_all(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        run(seed, 8);
    }
}

static void it_is_so_for_who_leaves(void)
{
    begin();
    meet("teller", 2, 99, 1);
    gv_gossip_leave(here, now);
    CU_ASSERT_EQUAL(here->counts.active, 1);
    check_counts();
    end();
}

GV_SUITE("gossip/roster", GV_CASE(what_is_kept_is_what_looking_gives),
         GV_CASE(it_is_so_when_there_is_no_room_for_all), GV_CASE(it_is_so_for_who_leaves))
