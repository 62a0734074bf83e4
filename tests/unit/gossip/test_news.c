/*
 * What is new of a member, passed on in a mesh that relays: who is told, and of what.
 */
#include "stage.h"

#define SESSIONS 4

static void tell_of_boot(uint64_t session, const char *name, uint64_t boot_id)
{
    struct gv_member member = {.boot_id = boot_id,
                               .incarnation = WALL_MS + boot_id,
                               .gossip_addr = {.family = 4, .ip = {10, 0, 0, 1}, .port = 3000}};
    (void)gv_slice_copy_text(gv_slice_text(name), member.name, sizeof member.name);
    tell_of(session, &member, 3);
}

/* Members s1 to s4 have sessions of these numbers; of many more it is only known that they are. */
static void begin_in_a_crowd(void)
{
    begin();
    for (uint64_t session = 1; session <= SESSIONS; session++) {
        char name[8];
        (void)snprintf(name, sizeof name, "s%u", (unsigned)session);
        meet(name, 3, 50 + session, session);
        greet(session, true);
    }
    tell_of_a_crowd(1);
}

/* Passed on to each session: names of members, by name; and the bytes. */
struct told {
    char names[64];
    const uint8_t *bytes;
    uint32_t count;
};

static void take_told(struct told told[SESSIONS + 1])
{
    struct gv_effect effect;
    memset(told, 0, sizeof(struct told) * (SESSIONS + 1));
    while (gv_gossip_next_effect(here, &effect)) {
        Mesh__Message *message =
            effect.kind == GV_EFFECT_SEND
                ? mesh__message__unpack(NULL, effect.bytes.len, effect.bytes.data)
                : NULL;
        if (message != NULL && message->body_case == MESH__MESSAGE__BODY_MEMBERS) {
            struct told *to = &told[effect.session];
            to->bytes = effect.bytes.data;
            to->count += 1;
            for (size_t i = 0; i < message->members->n_members; i++) {
                (void)strcat(to->names, message->members->members[i]->node);
                (void)strcat(to->names, " ");
            }
        }
        if (message != NULL) {
            mesh__message__free_unpacked(message, NULL);
        }
    }
}

/* Not over the session that it came from, nor to the member itself; to all others packed once. */
static void news_go_to_all_who_lack_them_packed_once(void)
{
    struct told told[SESSIONS + 1];
    begin_in_a_crowd();
    tell_of_boot(1, "m07", 207);
    tell_of_boot(1, "s2", 252);
    pass(20);
    take_told(told);
    CU_ASSERT_EQUAL(told[1].count, 0);
    CU_ASSERT_STRING_EQUAL(told[2].names, "m07 ");
    CU_ASSERT_STRING_EQUAL(told[3].names, "m07 s2 ");
    CU_ASSERT_STRING_EQUAL(told[4].names, "m07 s2 ");
    CU_ASSERT_PTR_EQUAL(told[3].bytes, told[4].bytes);
    for (uint32_t session = 2; session <= SESSIONS; session++) {
        CU_ASSERT_EQUAL(told[session].count, 1);
    }
    pass(20);
    take_told(told);
    CU_ASSERT_EQUAL(told[2].count + told[3].count + told[4].count, 0);
    end();
}

/* Each of two sessions brings some, and gets what the other one brought. */
static void who_brings_news_gets_those_of_others(void)
{
    struct told told[SESSIONS + 1];
    begin_in_a_crowd();
    tell_of_boot(1, "m07", 207);
    tell_of_boot(3, "m09", 209);
    pass(20);
    take_told(told);
    CU_ASSERT_STRING_EQUAL(told[1].names, "m09 ");
    CU_ASSERT_STRING_EQUAL(told[2].names, "m07 m09 ");
    CU_ASSERT_STRING_EQUAL(told[3].names, "m07 ");
    CU_ASSERT_STRING_EQUAL(told[4].names, "m07 m09 ");
    /* It brought some then, not now. */
    tell_of_boot(2, "m11", 211);
    pass(20);
    take_told(told);
    CU_ASSERT_STRING_EQUAL(told[1].names, "m11 ");
    CU_ASSERT_EQUAL(told[2].count, 0);
    CU_ASSERT_PTR_EQUAL(told[1].bytes, told[4].bytes);
    end();
}

/* Whose State has not come knows nobody yet: it is told all with ours. */
static void who_has_not_greeted_is_not_told(void)
{
    struct told told[SESSIONS + 1];
    begin_in_a_crowd();
    here->sessions[3]->knows_state = false;
    tell_of_boot(1, "m07", 207);
    pass(20);
    take_told(told);
    CU_ASSERT_STRING_EQUAL(told[3].names, "m07 ");
    CU_ASSERT_EQUAL(told[4].count, 0);
    end();
}

GV_SUITE("gossip/news", GV_CASE(news_go_to_all_who_lack_them_packed_once),
         GV_CASE(who_brings_news_gets_those_of_others), GV_CASE(who_has_not_greeted_is_not_told))
