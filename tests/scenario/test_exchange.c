/*
 * test_exchange.c - one answer from one worker: how it is passed on, and what ends it early.
 */
#include "story.h"

static void a_good_answer_is_passed_on_and_ends_it(void)
{
    struct story story = begin(3);
    picked(&story, 1);
    head(&story, 0, 200, true);
    body(&story, 0);
    body(&story, 0);
    ends(&story, 0);
    EXPECT(story, "relay 0; finish; end; ");
}

static void an_answer_without_a_body_is_passed_on_at_its_end(void)
{
    struct story story = begin(3);
    picked(&story, 1);
    head(&story, 0, 204, true);
    ends(&story, 0);
    EXPECT(story, "relay 0; finish; end; ");
}

static void after_the_first_byte_nothing_is_tried_again(void)
{
    struct story story = begin(3);
    picked(&story, 1);
    head(&story, 0, 200, true);
    body(&story, 0);
    breaks(&story, 0, GV_CAUSE_TIMEOUT, true);
    EXPECT(story, "relay 0; blame 0 for timeout; cut; end; ");
}

static void a_client_that_leaves_while_an_answer_is_kept_ends_it(void)
{
    struct story story = begin(3);
    picked(&story, 1);
    head(&story, 0, 503, true);
    client_leaves(&story);
    EXPECT(story, "blame 0 for status; keep 0; cancel 0; end; ");
    story = begin(3);
    picked(&story, 1);
    head(&story, 0, 503, true);
    time_passes(&story, 10000);
    EXPECT(story, "blame 0 for status; keep 0; blame 0 for timeout; cancel 0; "
                  "answer upstream_timeout; end; ");
}

static void a_status_that_does_not_is_passed_on_and_nobody_is_blamed(void)
{
    static const uint16_t statuses[] = {301, 400, 401, 404, 422, 501, 505};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct story story = begin(2);
        picked(&story, 1);
        head(&story, 0, statuses[i], true);
        body(&story, 0);
        ends(&story, 0);
        EXPECT(story, "relay 0; finish; end; ");
    }
}

static void a_client_that_leaves_ends_every_leg(void)
{
    struct story story = begin(3);
    picked(&story, 2);
    client_leaves(&story);
    EXPECT(story, "cancel 0; cancel 1; end; ");
    ends(&story, 1);
    EXPECT(story, "cancel 0; cancel 1; end; ");
}

static void a_client_that_leaves_during_a_pause_ends_it(void)
{
    struct story story = begin(3);
    picked(&story, 1);
    breaks_hopefully(&story, GV_CAUSE_CONNECT);
    client_leaves(&story);
    time_passes(&story, 1000);
    EXPECT(story, "blame 0 for connect; wait 50; end; ");
}

static void the_total_time_holds_on_both_sides_of_its_last_millisecond(void)
{
    struct story story = begin(3);
    picked(&story, 1);
    time_passes(&story, 9999);
    EXPECT(story, "");
    time_passes(&story, 1);
    EXPECT(story, "blame 0 for timeout; cancel 0; answer upstream_timeout; end; ");
    story = begin(3);
    picked(&story, 1);
    head(&story, 0, 200, true);
    body(&story, 0);
    time_passes(&story, 9998);
    EXPECT(story, "relay 0; blame 0 for timeout; cancel 0; cut; end; ");
}

static void nobody_at_the_start_is_said_at_once_and_nobody_later_is_said_as_the_failure(void)
{
    struct story story = begin(3);
    nobody_is_there(&story, GV_PROBLEM_NO_AVAILABLE);
    EXPECT(story, "answer no_available_workers; end; ");
    story = begin(3);
    picked(&story, 1);
    breaks(&story, 0, GV_CAUSE_CONNECT, true);
    nobody_is_there(&story, GV_PROBLEM_NO_AVAILABLE);
    EXPECT(story, "blame 0 for connect; pick; answer upstream_connect_failed; end; ");
}

GV_SUITE("scenario/exchange", GV_CASE(a_good_answer_is_passed_on_and_ends_it),
         GV_CASE(an_answer_without_a_body_is_passed_on_at_its_end),
         GV_CASE(after_the_first_byte_nothing_is_tried_again),
         GV_CASE(a_client_that_leaves_while_an_answer_is_kept_ends_it),
         GV_CASE(a_status_that_does_not_is_passed_on_and_nobody_is_blamed),
         GV_CASE(a_client_that_leaves_ends_every_leg),
         GV_CASE(a_client_that_leaves_during_a_pause_ends_it),
         GV_CASE(the_total_time_holds_on_both_sides_of_its_last_millisecond),
         GV_CASE(nobody_at_the_start_is_said_at_once_and_nobody_later_is_said_as_the_failure))
