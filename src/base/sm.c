/*
 * sm.c - the one place where a declared machine changes its state.
 */
#include "grapevine/base/sm.h"
#include "grapevine/base/assert.h"
#include "grapevine/base/flight.h"
#include <stddef.h>

void gv_sm_init(struct gv_sm *sm, const char *machine, const struct gv_sm_state *states,
                uint32_t state, uint64_t id)
{
    GV_ASSERT(machine != NULL && states != NULL && state < 32);
    GV_ASSERT(states[state].name != NULL);
    *sm = (struct gv_sm){.machine = machine, .states = states, .state = state, .id = id};
    gv_flight_note(machine, id, state);
}

void gv_sm_move(struct gv_sm *sm, uint32_t next)
{
    gv_flight_note(sm->machine, sm->id, next);
    GV_ASSERT(next < 32);
    GV_ASSERT((sm->states[sm->state].next & GV_SM_TO(next)) != 0);
    sm->state = next;
}

const char *gv_sm_name(const struct gv_sm *sm)
{
    return sm->states[sm->state].name;
}
