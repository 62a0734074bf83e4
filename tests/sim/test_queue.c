/*
 * The queue of events against a list that is searched for its first.
 */
#include "support/suite.h"
#include "vinesim/queue.h"

#include "grapevine/base/prng.h"

#define EVENTS 5000
#define STEPS  20000

struct listed {
    uint64_t at_us, order;
};

static struct listed list[EVENTS];
static size_t listed_count;

static size_t first_listed(void)
{
    size_t first = 0;
    for (size_t i = 1; i < listed_count; i++) {
        bool is_earlier = list[i].at_us != list[first].at_us ? list[i].at_us < list[first].at_us
                                                             : list[i].order < list[first].order;
        first = is_earlier ? i : first;
    }
    return first;
}

static void push(struct queue *queue, uint64_t at_us)
{
    list[listed_count++] = (struct listed){.at_us = at_us, .order = queue->order};
    *queue_push(queue, at_us) = (struct world_event){.number = queue->order - 1};
}

/* Takes the first of both; false: none is due. */
static bool pop(struct queue *queue, uint64_t until_us)
{
    uint64_t at_us;
    struct world_event event;
    const struct world_event *first = queue_first(queue);
    uint64_t number = first == NULL ? UINT64_MAX : first->number;
    if (!queue_pop(queue, until_us, &at_us, &event)) {
        CU_ASSERT(listed_count == 0 || list[first_listed()].at_us > until_us);
        return false;
    }
    size_t at = first_listed();
    CU_ASSERT_EQUAL(at_us, list[at].at_us);
    CU_ASSERT_EQUAL(event.number, list[at].order);
    CU_ASSERT_EQUAL(event.number, number);
    list[at] = list[--listed_count];
    return true;
}

static void events_come_by_time_then_in_the_order_of_asking(void)
{
    struct queue queue = {0};
    struct gv_prng prng;
    gv_prng_init(&prng, 1);
    for (uint32_t step = 0; step < STEPS; step++) {
        uint64_t most = step < STEPS / 2 ? 3 : 1; /* it grows, then it shrinks */
        if (gv_prng_below(&prng, most + 2) < most && listed_count < EVENTS) {
            push(&queue, gv_prng_below(&prng, 1000));
        } else {
            (void)pop(&queue, step % 7 == 0 ? 500 : UINT64_MAX);
        }
    }
    CU_ASSERT(queue.order > EVENTS);
    while (pop(&queue, UINT64_MAX)) {
    }
    CU_ASSERT_EQUAL(listed_count, 0);
    CU_ASSERT_PTR_NULL(queue_first(&queue));
    queue_deinit(&queue);
}

static void what_is_due_later_stays(void)
{
    struct queue queue = {0};
    push(&queue, 11);
    CU_ASSERT_FALSE(pop(&queue, 10));
    CU_ASSERT(pop(&queue, 11));
    CU_ASSERT_FALSE(pop(&queue, UINT64_MAX));
    queue_deinit(&queue);
}

GV_SUITE("sim/queue", GV_CASE(events_come_by_time_then_in_the_order_of_asking),
         GV_CASE(what_is_due_later_stays))
