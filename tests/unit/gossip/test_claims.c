/*
 * What a member may claim and how much it may say: another's boot gets it nothing, and its words
 * leave room for those of others.
 */
#include "stage.h"

#define ROWS_MAX  100
#define SAID_ONCE 50 /* loads in one message */

static uint32_t rows_max = ROWS_MAX;
static uint32_t load = 1; /* what is said of each worker */

static void begin_small(void)
{
    stage_options.sayings_max = rows_max;
    begin();
}

static void leave(const char *name, uint64_t session)
{
    struct gv_peer *peer = gv_roster_find(here, name);
    CU_ASSERT_PTR_NOT_NULL_FATAL(peer);
    gv_gossip_closed(here, session, NULL, false, now);
    drain();
    peer->member.status = GV_MEMBER_LEFT;
}

static void a_claimed_boot_stays_its_first_holders(void)
{
    begin_small();
    meet("x", 2, 20, 1);
    meet("liar", 3, 20, 2);
    CU_ASSERT_PTR_EQUAL(gv_roster_find_boot(here, 20), gv_roster_find(here, "x"));
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->forged, 1);
    struct gv_origin *of_x = gv_past_open(here, "x", 20);
    struct gv_origin *of_liar = gv_past_open(here, "liar", 20);
    CU_ASSERT_PTR_NOT_EQUAL(of_x, of_liar);
    CU_ASSERT_PTR_EQUAL(gv_past_find_boot(here, 20), of_x);
    end();
}

/* Who came first is not always who told the truth: when that one is gone, the other counts. */
static void a_boot_passes_on_when_its_first_holder_is_gone(void)
{
    begin_small();
    meet("liar", 3, 20, 1);
    meet("x", 2, 20, 2);
    (void)gv_past_open(here, "x", 20);
    CU_ASSERT_PTR_EQUAL(gv_roster_find_boot(here, 20), gv_roster_find(here, "liar"));
    leave("liar", 1);
    gv_roster_remove(here, gv_roster_find(here, "liar"));
    CU_ASSERT_PTR_EQUAL(gv_roster_find_boot(here, 20), gv_roster_find(here, "x"));
    CU_ASSERT_STRING_EQUAL(gv_past_find_boot(here, 20)->name, "x");
    end();
}

/* The boot of the former holder led to a record that was freed with the name. */
static void a_name_that_goes_to_another_key_leaves_no_boot_behind(void)
{
    begin_small();
    meet("x", 2, 20, 1);
    leave("x", 1);
    meet("x", 4, 21, 2);
    CU_ASSERT_PTR_EQUAL(gv_roster_find_boot(here, 21), gv_roster_find(here, "x"));
    CU_ASSERT_PTR_NULL(gv_roster_find_boot(here, 20));
    leave("x", 2);
    gv_roster_remove(here, gv_roster_find(here, "x"));
    CU_ASSERT_PTR_NULL(gv_roster_find_boot(here, 21));
    end();
}

/* The member of this session says loads of workers first, first + 1, ... */
static void say(uint64_t session, uint64_t sequence, uint32_t first, uint32_t count)
{
    static char urls[SAID_ONCE][32];
    static uint8_t bytes[SAID_ONCE * 64];
    Mesh__Load rows[SAID_ONCE];
    Mesh__Load *loads[SAID_ONCE];
    Mesh__NodeState state = MESH__NODE_STATE__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    for (uint32_t i = 0; i < count; i++) {
        mesh__load__init(&rows[i]);
        (void)snprintf(urls[i], sizeof urls[i], "http://w%u", (unsigned)(first + i));
        rows[i].worker = urls[i];
        rows[i].count = load;
        loads[i] = &rows[i];
    }
    state.sequence = sequence;
    state.loads = loads;
    state.n_loads = count;
    message.body_case = MESH__MESSAGE__BODY_NODE_STATE;
    message.node_state = &state;
    size_t len = mesh__message__pack(&message, bytes);
    CU_ASSERT_EQUAL(gv_gossip_message(here, session, gv_slice_of(bytes, len), now), GV_OK);
    drain();
}

static uint32_t rows_of(const char *name)
{
    return gv_roster_find(here, name)->sayings.count;
}

/* Both sides of the limit over all, and of the share that everybody has nevertheless. */
static void what_all_say_together_has_a_limit_and_everybody_a_share(void)
{
    begin_small();
    meet("x", 2, 20, 1);
    meet("y", 3, 30, 2);
    say(1, 1, 0, SAID_ONCE);
    say(1, 2, SAID_ONCE, SAID_ONCE);
    CU_ASSERT_EQUAL(rows_of("x"), ROWS_MAX);
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->records_refused, 0);
    say(1, 3, ROWS_MAX, 1);
    CU_ASSERT_EQUAL(rows_of("x"), ROWS_MAX);
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->records_refused, 1);
    say(1, 4, 0, 1); /* what has its row is heard as before */
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->records_refused, 1);
    say(2, 1, 0, SAID_ONCE);
    say(2, 2, SAID_ONCE, SAID_ONCE);
    CU_ASSERT_EQUAL(rows_of("y"), GV_SAYINGS_FAIR);
    CU_ASSERT_EQUAL(here->said_rows, ROWS_MAX + GV_SAYINGS_FAIR);
    leave("x", 1);
    gv_roster_remove(here, gv_roster_find(here, "x")); /* makes room */
    CU_ASSERT_EQUAL(here->said_rows, GV_SAYINGS_FAIR);
    say(2, 3, SAID_ONCE, SAID_ONCE);
    CU_ASSERT_EQUAL(rows_of("y"), 2 * SAID_ONCE);
    end();
}

/* Three nodes, so a third of the room: more than the least that everybody has. */
static void who_says_more_than_all_may_leaves_the_others_an_equal_share(void)
{
    uint32_t share = 2 * SAID_ONCE;
    rows_max = 3 * share;
    CU_ASSERT(share > GV_SAYINGS_FAIR);
    begin_small();
    meet("liar", 2, 20, 1);
    meet("y", 3, 30, 2);
    for (uint32_t i = 0; i < 7; i++) {
        say(1, i + 1, i * SAID_ONCE, SAID_ONCE);
    }
    CU_ASSERT_EQUAL(rows_of("liar"), rows_max);
    uint64_t refused = gv_gossip_counters(here)->records_refused;
    say(2, 1, 0, SAID_ONCE);
    say(2, 2, SAID_ONCE, SAID_ONCE);
    CU_ASSERT_EQUAL(rows_of("y"), share);
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->records_refused, refused);
    say(2, 3, share, 1);
    CU_ASSERT_EQUAL(rows_of("y"), share);
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->records_refused, refused + 1);
    end();
    rows_max = ROWS_MAX;
}

/* Workers come and go, and what is said of them stays: it must not keep the new ones out for ever.
 */
static void a_worker_of_which_nothing_is_left_to_say_makes_way_for_a_new_one(void)
{
    begin_small();
    meet("x", 2, 20, 1);
    load = 0;
    say(1, 1, 0, 1);
    load = 1;
    say(1, 2, 1, SAID_ONCE);
    say(1, 3, 1 + SAID_ONCE, SAID_ONCE - 1);
    CU_ASSERT_EQUAL(rows_of("x"), ROWS_MAX);
    say(1, 4, ROWS_MAX, 1);
    CU_ASSERT_EQUAL(rows_of("x"), ROWS_MAX);
    CU_ASSERT_EQUAL(here->said_rows, ROWS_MAX);
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->records_refused, 0);
    const struct gv_sayings *said = &gv_roster_find(here, "x")->sayings;
    CU_ASSERT_PTR_NULL(gv_sayings_find(said, gv_slice_text("http://w0")));
    CU_ASSERT_PTR_NOT_NULL(gv_sayings_find(said, gv_slice_text("http://w100")));
    load = 0;
    say(1, 5, ROWS_MAX + 1, 2); /* those with something to say stay, ... */
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->records_refused, 2);
    say(1, 6, ROWS_MAX, 1);
    say(1, 7, ROWS_MAX + 1, 2); /* ... and so does what the same message says */
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->records_refused, 3);
    CU_ASSERT_PTR_NOT_NULL(gv_sayings_find(said, gv_slice_text("http://w101")));
    CU_ASSERT_EQUAL(here->said_rows, ROWS_MAX);
    end();
    load = 1;
}

/* Records of workers first, first + 1, ..., each as large as it may be. */
static void write_workers(uint64_t session, uint32_t first, uint32_t count)
{
    static char url[SAID_ONCE][GV_GOSSIP_URL_MAX + 1];
    static char model[GV_GOSSIP_MODEL_MAX + 1], labels[GV_GOSSIP_LABELS_MAX + 1];
    char *models[GV_GOSSIP_MODELS_MAX], origin[] = "liar";
    Mesh__Worker rows[SAID_ONCE], *list[SAID_ONCE];
    Mesh__Workers workers = MESH__WORKERS__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    CU_ASSERT_FATAL(count <= SAID_ONCE);
    memset(model, 'm', GV_GOSSIP_MODEL_MAX);
    memset(labels, 'l', GV_GOSSIP_LABELS_MAX);
    for (uint32_t i = 0; i < GV_GOSSIP_MODELS_MAX; i++) {
        models[i] = model;
    }
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(url[i], sizeof url[i], "http://%0*u", GV_GOSSIP_URL_MAX - 7,
                       (unsigned)(first + i));
        mesh__worker__init(&rows[i]);
        rows[i].url = url[i];
        rows[i].origin = origin;
        rows[i].version_ms = now.wall_ms;
        rows[i].labels = labels;
        rows[i].models = models;
        rows[i].n_models = GV_GOSSIP_MODELS_MAX;
        list[i] = &rows[i];
    }
    workers.workers = list;
    workers.n_workers = count;
    message.body_case = MESH__MESSAGE__BODY_WORKERS;
    message.workers = &workers;
    send(session, &message);
    drain();
}

/* Who connects is sent all worker records at once. A member that fills the table must not make that
 * so much that no session of anybody lasts. */
static void a_table_full_of_the_largest_records_does_not_overflow_a_new_session(void)
{
    struct gv_gossip_hello hello;
    struct gv_effect effect;
    uint8_t key = 3;
    size_t bytes = 0;
    begin_small();
    meet("liar", 2, 20, 1);
    for (uint32_t i = 0; i < GV_RECORDS_MAX / 32; i++) {
        write_workers(1, i * 32, 32);
    }
    CU_ASSERT(gv_gossip_counters(here)->records_refused > 0);
    CU_ASSERT(here->workers.count > 700);
    struct gv_gossip *y = engine("y", &key, 30);
    gv_gossip_hello(y, &hello);
    gv_gossip_opened(here, 2, false, &hello, now);
    while (gv_gossip_next_effect(here, &effect)) {
        CU_ASSERT(effect.kind != GV_EFFECT_CLOSE);
        bytes += effect.kind == GV_EFFECT_SEND && effect.session == 2 ? effect.bytes.len : 0;
    }
    CU_ASSERT(bytes > GV_RECORDS_BYTES / 2);
    CU_ASSERT(bytes <=
              here->options.session_queue_bytes + 64 * 1024); /* twice it would be closed */
    gv_gossip_free(y);
    end();
}

#define BOOT_TOLD 77 /* of a log that only the donor knows */

/* A donor that is in step gives us a snapshot: one position, and nothing else. */
static void join_from(uint64_t session, uint32_t stamp)
{
    char name[] = "gone";
    Mesh__State state = MESH__STATE__INIT;
    Mesh__Position position = MESH__POSITION__INIT;
    Mesh__Position *positions[] = {&position};
    Mesh__SnapshotChunk chunk = MESH__SNAPSHOT_CHUNK__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    state.synced = true;
    message.body_case = MESH__MESSAGE__BODY_STATE;
    message.state = &state;
    send(session, &message);
    drain();
    CU_ASSERT_TRUE_FATAL(gv_snapshot_is_taking(here));
    position.node = name;
    position.boot_id = BOOT_TOLD;
    position.applied = 5;
    position.stamp = stamp;
    position.heard = stamp;
    chunk.id = here->taking.shares[0].id;
    chunk.positions = positions;
    chunk.n_positions = 1;
    message.body_case = MESH__MESSAGE__BODY_SNAPSHOT_CHUNK;
    message.snapshot_chunk = &chunk;
    send(session, &message);
    chunk.number = 1;
    chunk.n_positions = 0;
    chunk.last = true;
    send(session, &message);
    drain();
    CU_ASSERT_FALSE_FATAL(gv_snapshot_is_taking(here));
}

/* A position that tells of far stamps would make what is missing of that log look as if it came
 * later than all there is: no snapshot would bring it. And the log would be spoken of for ever.
 * Both sides of what a clock may be ahead. */
static void a_position_from_the_far_future_is_believed_to_be_of_now(void)
{
    static const struct {
        uint32_t told, believed;
    } rows[] = {{STAMP_NOW + GV_STAMP_AHEAD_MAX_S, STAMP_NOW + GV_STAMP_AHEAD_MAX_S},
                {STAMP_NOW + GV_STAMP_AHEAD_MAX_S + 1, STAMP_NOW},
                {UINT32_MAX, STAMP_NOW}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin_small();
        meet("x", 2, 20, 1);
        join_from(1, rows[i].told);
        const struct gv_origin *origin = gv_vector_find(&here->vector, "gone", BOOT_TOLD);
        CU_ASSERT_PTR_NOT_NULL_FATAL(origin);
        CU_ASSERT_EQUAL(origin->applied, 5);
        CU_ASSERT_EQUAL(gv_past_newest(origin), rows[i].believed);
        CU_ASSERT_EQUAL(gv_snapshot_since(origin), rows[i].believed - 120);
        end();
    }
}

/* The same told in a vector, by a member that we are in step with. */
static void a_log_heard_of_with_a_far_stamp_is_no_younger_than_now(void)
{
    char name[] = "gone";
    Mesh__Position position = MESH__POSITION__INIT;
    Mesh__Position *positions[] = {&position};
    Mesh__Vector vector = MESH__VECTOR__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    begin_small();
    meet("x", 2, 20, 1);
    join_from(1, STAMP_NOW);
    position.node = name;
    position.boot_id = BOOT_TOLD + 1;
    position.applied = 5;
    position.heard = UINT32_MAX;
    vector.positions = positions;
    vector.n_positions = 1;
    vector.answer = true;
    message.body_case = MESH__MESSAGE__BODY_VECTOR;
    message.vector = &vector;
    send(1, &message);
    drain();
    const struct gv_origin *origin = gv_vector_find(&here->vector, "gone", BOOT_TOLD + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(origin);
    CU_ASSERT_EQUAL(gv_past_newest(origin), STAMP_NOW);
    end();
}

/* The load of the only worker in what the engine sends to this session now; to be freed. */
static Mesh__Message *sent_load(uint64_t session)
{
    struct gv_effect effect;
    Mesh__Message *found = NULL;
    while (gv_gossip_next_effect(here, &effect)) {
        if (effect.kind != GV_EFFECT_SEND || effect.session != session || found != NULL) {
            continue;
        }
        Mesh__Message *message = mesh__message__unpack(NULL, effect.bytes.len, effect.bytes.data);
        CU_ASSERT_PTR_NOT_NULL_FATAL(message);
        if (message->body_case == MESH__MESSAGE__BODY_NODE_STATE &&
            message->node_state->n_loads == 1) {
            found = message;
        } else {
            mesh__message__free_unpacked(message, NULL);
        }
    }
    return found;
}

/* Shares of tries are reckoned from what all nodes have seen of engines: who missed it gets all of
 * it from whoever has it, as if the node itself had said it. */
static void who_asks_what_a_node_has_said_gets_what_it_learned_as_well(void)
{
    char url[] = "http://w";
    Mesh__Learned learned = MESH__LEARNED__INIT;
    Mesh__EngineReport report = MESH__ENGINE_REPORT__INIT;
    Mesh__Load load_said = MESH__LOAD__INIT;
    Mesh__Load *loads[] = {&load_said};
    Mesh__NodeState state = MESH__NODE_STATE__INIT;
    Mesh__StateRequest request = MESH__STATE_REQUEST__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    begin_small();
    meet("x", 2, 20, 1);
    meet("y", 3, 30, 2);
    learned.prefill_bytes = 1;
    learned.prefill_us = 2;
    learned.forecasts = 3;
    learned.predicted = 4;
    learned.reported = 5;
    learned.trust = 600;
    report.age_ms = 100;
    report.running = 7;
    report.used_tokens = 8;
    load_said.worker = url;
    load_said.count = 9;
    load_said.bytes = 10;
    load_said.prompt_bytes = 11;
    load_said.prompt_tokens = 12;
    load_said.learned = &learned;
    load_said.report = &report;
    state.sequence = 1;
    state.loads = loads;
    state.n_loads = 1;
    message.body_case = MESH__MESSAGE__BODY_NODE_STATE;
    message.node_state = &state;
    send(1, &message);
    drain();
    now.now_ms += 50;
    request.boot_id = 20;
    message.body_case = MESH__MESSAGE__BODY_STATE_REQUEST;
    message.state_request = &request;
    send(2, &message);
    Mesh__Message *answer = sent_load(2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(answer);
    CU_ASSERT_TRUE(answer->node_state->whole);
    const Mesh__Load *told = answer->node_state->loads[0];
    CU_ASSERT_PTR_NOT_NULL_FATAL(told->learned);
    CU_ASSERT_PTR_NOT_NULL_FATAL(told->report);
    CU_ASSERT_EQUAL(told->count, 9);
    CU_ASSERT_EQUAL(told->bytes, 10);
    CU_ASSERT_EQUAL(told->prompt_bytes, 11);
    CU_ASSERT_EQUAL(told->prompt_tokens, 12);
    CU_ASSERT_EQUAL(told->learned->prefill_bytes, 1);
    CU_ASSERT_EQUAL(told->learned->prefill_us, 2);
    CU_ASSERT_EQUAL(told->learned->forecasts, 3);
    CU_ASSERT_EQUAL(told->learned->predicted, 4);
    CU_ASSERT_EQUAL(told->learned->reported, 5);
    CU_ASSERT_EQUAL(told->learned->trust, 600);
    CU_ASSERT_EQUAL(told->report->age_ms, 150);
    CU_ASSERT_EQUAL(told->report->running, 7);
    CU_ASSERT_EQUAL(told->report->used_tokens, 8);
    mesh__message__free_unpacked(answer, NULL);
    end();
}

GV_SUITE("gossip/claims", GV_CASE(who_asks_what_a_node_has_said_gets_what_it_learned_as_well),

         GV_CASE(a_table_full_of_the_largest_records_does_not_overflow_a_new_session),
         GV_CASE(a_position_from_the_far_future_is_believed_to_be_of_now),
         GV_CASE(a_log_heard_of_with_a_far_stamp_is_no_younger_than_now),
         GV_CASE(a_claimed_boot_stays_its_first_holders),
         GV_CASE(a_boot_passes_on_when_its_first_holder_is_gone),
         GV_CASE(a_name_that_goes_to_another_key_leaves_no_boot_behind),
         GV_CASE(what_all_say_together_has_a_limit_and_everybody_a_share),
         GV_CASE(who_says_more_than_all_may_leaves_the_others_an_equal_share),
         GV_CASE(a_worker_of_which_nothing_is_left_to_say_makes_way_for_a_new_one))
