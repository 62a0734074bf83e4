/*
 * test_exchange_pair.c - two legs, prefill and decode: what the failure of one means to the other.
 */
#include "story.h"

static void a_pair_answers_with_decode_whatever_order_its_legs_speak_in(void)
{
    struct story story = begin(3);
    picked(&story, 2);
    head(&story, GV_LEG_DECODE, 200, true);
    head(&story, GV_LEG_PREFILL, 200, true);
    body(&story, GV_LEG_PREFILL);
    ends(&story, GV_LEG_PREFILL);
    body(&story, GV_LEG_DECODE);
    ends(&story, GV_LEG_DECODE);
    EXPECT(story, "relay 1; finish; end; ");
}

static void a_prefill_that_is_late_is_ended_with_the_answer(void)
{
    struct story story = begin(3);
    picked(&story, 2);
    head(&story, GV_LEG_DECODE, 200, true);
    body(&story, GV_LEG_DECODE);
    ends(&story, GV_LEG_DECODE);
    EXPECT(story, "relay 1; cancel 0; finish; end; ");
}

static void a_failed_prefill_ends_decode_at_once_and_a_new_pair_is_tried(void)
{
    struct story story = begin(2);
    picked(&story, 2);
    head(&story, GV_LEG_DECODE, 200, true);
    breaks(&story, GV_LEG_PREFILL, GV_CAUSE_CLOSED, true);
    picked(&story, 2);
    head(&story, GV_LEG_PREFILL, 500, true);
    EXPECT(story, "blame 0 for closed; cancel 1; pick; "
                  "blame 0 for status; cancel 0; cancel 1; answer prefill_failed; end; ");
}

static void a_failed_decode_ends_prefill_at_once_and_only_decode_is_blamed(void)
{
    struct story story = begin(2);
    picked(&story, 2);
    breaks(&story, GV_LEG_DECODE, GV_CAUSE_CONNECT, true);
    picked(&story, 2);
    head(&story, GV_LEG_DECODE, 503, true);
    body(&story, GV_LEG_DECODE);
    ends(&story, GV_LEG_DECODE);
    EXPECT(story, "blame 1 for connect; cancel 0; pick; "
                  "blame 1 for status; cancel 0; relay 1; finish; end; ");
}

static void what_prefill_finds_wrong_with_the_request_is_the_answer(void)
{
    struct story story = begin(2);
    picked(&story, 2);
    head(&story, GV_LEG_PREFILL, 422, true);
    body(&story, GV_LEG_PREFILL);
    ends(&story, GV_LEG_PREFILL);
    EXPECT(story, "cancel 1; relay 0; finish; end; ");
}

static void what_prefill_says_of_itself_is_not_kept_but_what_it_says_of_the_request_is(void)
{
    struct story story = begin(2);
    picked(&story, 2);
    head(&story, GV_LEG_PREFILL, 500, true);
    nobody_is_there(&story, GV_PROBLEM_NO_PAIR);
    EXPECT(story, "blame 0 for status; cancel 0; cancel 1; pick; answer prefill_failed; end; ");
    story = begin(2);
    picked(&story, 2);
    head(&story, GV_LEG_PREFILL, 429, true);
    ends(&story, GV_LEG_PREFILL);
    nobody_is_there(&story, GV_PROBLEM_NO_PAIR);
    EXPECT(story, "blame 0 for status; keep 0; cancel 1; pick; answer what was kept; end; ");
}

static void once_decode_speaks_a_late_prefill_failure_cuts_nobody(void)
{
    struct story story = begin(2);
    picked(&story, 2);
    head(&story, GV_LEG_DECODE, 200, true);
    body(&story, GV_LEG_DECODE);
    breaks(&story, GV_LEG_PREFILL, GV_CAUSE_CLOSED, true);
    ends(&story, GV_LEG_DECODE);
    EXPECT(story, "relay 1; blame 0 for closed; finish; end; ");
    story = begin(2);
    picked(&story, 2);
    head(&story, GV_LEG_DECODE, 200, true);
    body(&story, GV_LEG_DECODE);
    head(&story, GV_LEG_PREFILL, 500, true);
    ends(&story, GV_LEG_DECODE);
    EXPECT(story, "relay 1; blame 0 for status; cancel 0; finish; end; ");
}

GV_SUITE("scenario/exchange_pair",
         GV_CASE(what_prefill_says_of_itself_is_not_kept_but_what_it_says_of_the_request_is),
         GV_CASE(a_pair_answers_with_decode_whatever_order_its_legs_speak_in),
         GV_CASE(a_prefill_that_is_late_is_ended_with_the_answer),
         GV_CASE(a_failed_prefill_ends_decode_at_once_and_a_new_pair_is_tried),
         GV_CASE(a_failed_decode_ends_prefill_at_once_and_only_decode_is_blamed),
         GV_CASE(what_prefill_finds_wrong_with_the_request_is_the_answer),
         GV_CASE(once_decode_speaks_a_late_prefill_failure_cuts_nobody))
