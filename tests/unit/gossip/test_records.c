/*
 * Loads on their way out, and records of all on their way in, one engine and messages made by hand:
 * when a load is said, and which of two records wins.
 */
#include "stage.h"

#define DAY_MS UINT64_C(86400000)

static void set_load(uint32_t count, uint64_t bytes)
{
    struct gv_gossip_load load = {
        .worker = gv_slice_text("http://w"), .count = count, .bytes = bytes};
    gv_gossip_set_load(here, &load, now);
}

/* What is said of the load now; UINT64_MAX: nothing. */
static uint64_t said_bytes(void)
{
    uint64_t bytes = UINT64_MAX;
    Mesh__Message *message;
    while ((message = next_sent(1, MESH__MESSAGE__BODY_NODE_STATE)) != NULL) {
        if (message->node_state->n_loads == 1) {
            bytes = message->node_state->loads[0]->bytes;
        }
        mesh__message__free_unpacked(message, NULL);
    }
    return bytes;
}

static void begin_with_a_load(uint64_t bytes)
{
    begin();
    meet("x", 2, 20, 1);
    greet(1, true);
    drain();
    set_load(1, bytes);
    CU_ASSERT_EQUAL(said_bytes(), bytes); /* the first at once */
}

/* Both sides of the 5 %, up and down. */
static void a_load_is_said_when_it_changed_by_more_than_a_twentieth(void)
{
    static const uint64_t said[][2] = {
        {1050, UINT64_MAX}, {1051, 1051}, {950, UINT64_MAX}, {949, 949}};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        begin_with_a_load(1000);
        set_load(1, said[i][0]);
        pass(50);
        CU_ASSERT_EQUAL(said_bytes(), said[i][1]);
        end();
    }
    begin_with_a_load(1000);
    set_load(2, 1000); /* one request more is always a change */
    pass(50);
    CU_ASSERT_EQUAL(said_bytes(), 1000);
    end();
}

/* Both sides of the second; and it stops when there is none. */
static void a_load_that_stays_is_said_again_every_second(void)
{
    begin_with_a_load(1000);
    for (int i = 0; i < 3; i++) {
        pass(999);
        CU_ASSERT_EQUAL(said_bytes(), UINT64_MAX);
        CU_ASSERT(gv_gossip_wake_at(here) <= now.now_ms + 1);
        pass(1);
        CU_ASSERT_EQUAL(said_bytes(), 1000);
    }
    set_load(0, 0);
    pass(50);
    CU_ASSERT_EQUAL(said_bytes(), 0);
    pass(1000);
    CU_ASSERT_EQUAL(said_bytes(), UINT64_MAX);
    end();
}

/* With so many sessions that each message counts; with few it is sooner. */
static void a_change_waits_no_longer_than_50_ms_after_the_last(void)
{
    char name[8];
    begin();
    for (uint8_t i = 1; i <= 30; i++) {
        (void)snprintf(name, sizeof name, "x%02u", (unsigned)i);
        meet(name, (uint8_t)(i + 1), 100 + i, i);
        greet(i, true);
        drain();
    }
    set_load(1, 1000);
    CU_ASSERT_EQUAL(said_bytes(), 1000);
    set_load(1, 2000);
    pass(49);
    CU_ASSERT_EQUAL(said_bytes(), UINT64_MAX);
    CU_ASSERT_EQUAL(gv_gossip_wake_at(here), now.now_ms + 1);
    pass(1);
    CU_ASSERT_EQUAL(said_bytes(), 2000);
    end();
}

static void write_setting(const char *name, uint64_t version_ms, const char *origin)
{
    Mesh__Setting setting = MESH__SETTING__INIT;
    Mesh__Setting *list[] = {&setting};
    Mesh__Settings settings = MESH__SETTINGS__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    setting.name = (char *)(uintptr_t)name;
    setting.value = (char *)(uintptr_t)origin;
    setting.origin = (char *)(uintptr_t)origin;
    setting.version_ms = version_ms;
    settings.settings = list;
    settings.n_settings = 1;
    message.body_case = MESH__MESSAGE__BODY_SETTINGS;
    message.settings = &settings;
    send(1, &message);
    drain();
}

static const char *value_of(const char *name)
{
    for (uint32_t i = 0; i < here->setting_count; i++) {
        if (strcmp(here->settings[i].name, name) == 0) {
            return here->settings[i].value;
        }
    }
    return "";
}

static void of_two_settings_of_one_moment_the_greater_writer_wins_in_any_order(void)
{
    begin();
    meet("x", 2, 20, 1);
    write_setting("one", WALL_MS, "a");
    write_setting("one", WALL_MS, "b");
    write_setting("two", WALL_MS, "b");
    write_setting("two", WALL_MS, "a");
    CU_ASSERT_STRING_EQUAL(value_of("one"), "b");
    CU_ASSERT_STRING_EQUAL(value_of("two"), "b");
    write_setting("one", WALL_MS + 1, "a");
    CU_ASSERT_STRING_EQUAL(value_of("one"), "a");
    end();
}

static void write_worker(const char *name, uint64_t version_ms)
{
    char origin[] = "x";
    Mesh__Worker worker = MESH__WORKER__INIT;
    Mesh__Worker *list[] = {&worker};
    Mesh__Workers workers = MESH__WORKERS__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    worker.url = (char *)(uintptr_t)name;
    worker.origin = origin;
    worker.version_ms = version_ms;
    workers.workers = list;
    workers.n_workers = 1;
    message.body_case = MESH__MESSAGE__BODY_WORKERS;
    message.workers = &workers;
    send(1, &message);
    drain();
}

/* Else it could not be changed for as long as that lies ahead. Both sides. */
static void a_record_dated_over_a_day_ahead_is_refused_and_counted(void)
{
    begin();
    meet("x", 2, 20, 1);
    write_worker("http://w1", WALL_MS + DAY_MS);
    write_setting("near", WALL_MS + DAY_MS, "x");
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->refused_stamps, 0);
    write_worker("http://w2", WALL_MS + DAY_MS + 1);
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->refused_stamps, 1);
    write_setting("far", WALL_MS + DAY_MS + 1, "x");
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->refused_stamps, 2);
    write_worker("http://w3", UINT64_MAX);
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->refused_stamps, 3);
    CU_ASSERT_EQUAL(here->workers.count, 1);
    CU_ASSERT_STRING_EQUAL(value_of("near"), "x");
    CU_ASSERT_STRING_EQUAL(value_of("far"), "");
    end();
}

/* Whoever changes it has seen it, however far ahead the clock was that dated it. */
static void a_late_clock_does_not_lose_a_change_of_a_worker(void)
{
    struct gv_gossip_worker gone = {.url = gv_slice_text("http://w"), .deleted = true};
    begin();
    meet("x", 2, 20, 1);
    write_worker("http://w", WALL_MS + 1000);
    CU_ASSERT_EQUAL(gv_gossip_put_worker(here, &gone, now), GV_OK);
    drain();
    CU_ASSERT_EQUAL_FATAL(here->workers.count, 1);
    CU_ASSERT_TRUE(gv_worker_table_at(&here->workers, 0)->deleted);
    CU_ASSERT_EQUAL(gv_worker_table_at(&here->workers, 0)->version_ms, WALL_MS + 1001);
    end();
}

static uint32_t heard_load(uint64_t sequence, uint32_t count)
{
    char url[] = "http://w";
    Mesh__Load load = MESH__LOAD__INIT;
    Mesh__Load *loads[] = {&load};
    Mesh__NodeState state = MESH__NODE_STATE__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    load.worker = url;
    load.count = count;
    state.sequence = sequence;
    state.loads = loads;
    state.n_loads = 1;
    message.body_case = MESH__MESSAGE__BODY_NODE_STATE;
    message.node_state = &state;
    send(1, &message);
    drain();
    return gv_sayings_find(&gv_roster_find(here, "x")->sayings, gv_slice_text(url))->count;
}

static void of_what_a_node_says_the_newest_counts_however_it_comes(void)
{
    begin();
    meet("x", 2, 20, 1);
    CU_ASSERT_EQUAL(heard_load(2, 5), 5);
    CU_ASSERT_EQUAL(heard_load(1, 9), 5);
    CU_ASSERT_EQUAL(heard_load(2, 7), 5);
    CU_ASSERT_EQUAL(heard_load(3, 1), 1);
    end();
}

/* All that node a says, over this session. */
static void say_whole(uint64_t session, uint64_t sequence)
{
    Mesh__NodeState state = MESH__NODE_STATE__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    state.sequence = sequence;
    state.whole = true;
    message.body_case = MESH__MESSAGE__BODY_NODE_STATE;
    message.node_state = &state;
    send(session, &message);
}

/* How often are these sessions asked now for what node a has said? */
static uint32_t asked(uint64_t first, uint64_t last)
{
    uint32_t count = 0;
    struct gv_effect effect;
    gv_gossip_tick(here, now);
    while (gv_gossip_next_effect(here, &effect)) {
        if (effect.kind == GV_EFFECT_SEND && effect.session >= first && effect.session <= last) {
            Mesh__Message *message =
                mesh__message__unpack(NULL, effect.bytes.len, effect.bytes.data);
            CU_ASSERT_PTR_NOT_NULL_FATAL(message);
            count += message->body_case == MESH__MESSAGE__BODY_STATE_REQUEST &&
                     message->state_request->boot_id == 20;
            mesh__message__free_unpacked(message, NULL);
        }
    }
    return count;
}

/* x passes for dead and comes back over two sessions that cross: what it says does not count yet.
 */
static struct gv_peer *back_over_two_sessions(void)
{
    begin();
    meet("a", 2, 20, 1);
    struct gv_peer *a = gv_roster_find(here, "a");
    CU_ASSERT_PTR_NOT_NULL_FATAL(a);
    gv_gossip_closed(here, 1, NULL, false, now);
    gv_roster_set_status(here, a, GV_MEMBER_DEAD);
    meet("a", 2, 20, 2);
    meet("a", 2, 20, 3);
    CU_ASSERT_EQUAL_FATAL(a->member.status, GV_MEMBER_DEAD);
    say_whole(2, 5);
    say_whole(3, 5);
    drain();
    return a;
}

/* Of two that crossed one ends, before or after the question went over it. */
static void who_came_back_is_asked_over_the_session_that_stays(void)
{
    struct gv_peer *a = back_over_two_sessions();
    gv_gossip_closed(here, 3, NULL, false, now);
    gv_roster_set_status(here, a, GV_MEMBER_ALIVE);
    CU_ASSERT_EQUAL(asked(2, 2), 1);
    end();

    a = back_over_two_sessions();
    gv_roster_set_status(here, a, GV_MEMBER_ALIVE);
    CU_ASSERT_EQUAL(asked(3, 3), 1);
    gv_gossip_closed(here, 3, NULL, false, now);
    pass(1900);
    CU_ASSERT_EQUAL(asked(2, 2), 0);
    now.now_ms += 400;
    CU_ASSERT_EQUAL(asked(2, 2), 1);
    say_whole(2, 4); /* its own word, though others may tell of more */
    pass(5000);
    CU_ASSERT_EQUAL(asked(2, 2), 0);
    end();
}

static void tell_of_a(uint64_t boot_id, uint64_t incarnation)
{
    struct gv_member a = {.name = "a",
                          .boot_id = boot_id,
                          .incarnation = incarnation,
                          .gossip_addr = {.family = 4, .ip = {10, 0, 0, 1}, .port = 2002}};
    tell_of(2, &a, 2);
}

/* A twin of node a is heard of and gives way. What a said before, or meanwhile, was dropped, and it
 * has no reason to say it again. */
static void whose_twin_gave_way_is_asked_what_it_said(void)
{
    for (int meanwhile = 0; meanwhile < 2; meanwhile++) {
        begin();
        meet("b", 3, 30, 2);
        if (!meanwhile) {
            meet("a", 2, 20, 1);
            say_whole(1, 5);
        }
        tell_of_a(21, WALL_MS + 10);
        if (meanwhile) {
            meet("a", 2, 20, 1);
            say_whole(1, 5);
        }
        CU_ASSERT_EQUAL(asked(1, 2), 0);
        CU_ASSERT_EQUAL(gv_roster_find(here, "a")->said, 0);
        tell_of_a(20, WALL_MS + 11);
        CU_ASSERT_EQUAL(asked(1, 1), 1);
        say_whole(1, 5);
        CU_ASSERT_EQUAL(gv_roster_find(here, "a")->said, 5);
        pass(5000);
        CU_ASSERT_EQUAL(asked(1, 1), 0);
        end();
    }
}

static void announce(uint64_t session, uint64_t boot_id, uint64_t said)
{
    Mesh__Announce announced = MESH__ANNOUNCE__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    announced.sayers = &boot_id;
    announced.n_sayers = 1;
    announced.said = &said;
    announced.n_said = 1;
    message.body_case = MESH__MESSAGE__BODY_ANNOUNCE;
    message.announce = &announced;
    send(session, &message);
}

/* With many nodes it is announced once by each that knows: when the session that told of it last
 * has ended, another is asked; and not for ever, for it may be a lie. */
static void what_others_told_of_is_asked_for_when_they_are_gone(void)
{
    char name[8];
    begin();
    meet("a", 2, 20, 100);
    gv_gossip_closed(here, 100, NULL, false, now);
    for (uint8_t i = 1; i <= 30; i++) {
        (void)snprintf(name, sizeof name, "x%02u", (unsigned)i);
        meet(name, (uint8_t)(i + 2), 100u + i, i);
        greet(i, true);
    }
    announce(30, 20, 7);
    gv_gossip_closed(here, 30, NULL, false, now);
    drain();
    now.now_ms += 300;
    CU_ASSERT_EQUAL(asked(1, 29), 1);
    uint32_t asks = 1;
    for (int i = 0; i < 20; i++) {
        now.now_ms += 2300;
        asks += asked(1, 29);
    }
    CU_ASSERT_EQUAL(asks, 6);
    end();
}

GV_SUITE("gossip/records", GV_CASE(what_others_told_of_is_asked_for_when_they_are_gone),
         GV_CASE(who_came_back_is_asked_over_the_session_that_stays),
         GV_CASE(whose_twin_gave_way_is_asked_what_it_said),
         GV_CASE(a_late_clock_does_not_lose_a_change_of_a_worker),
         GV_CASE(of_what_a_node_says_the_newest_counts_however_it_comes),
         GV_CASE(a_load_is_said_when_it_changed_by_more_than_a_twentieth),
         GV_CASE(a_load_that_stays_is_said_again_every_second),
         GV_CASE(a_change_waits_no_longer_than_50_ms_after_the_last),
         GV_CASE(of_two_settings_of_one_moment_the_greater_writer_wins_in_any_order),
         GV_CASE(a_record_dated_over_a_day_ahead_is_refused_and_counted))
