/*
 * sm.h - a state machine that is declared, not implied.
 *
 * A table says which state may follow which; every move is checked, and recorded in the flight
 * recorder. The idea of a declared table with an invariant is dqlite's (src/lib/sm.h).
 */
#ifndef GV_BASE_SM_H
#define GV_BASE_SM_H

#include <stdint.h>

struct gv_sm_state {
    const char *name; /* "FIRST_BYTE" */
    uint32_t next;    /* bit n is set when state n may follow */
};

struct gv_sm {
    const char *machine;              /* "exchange"; static */
    const struct gv_sm_state *states; /* static, indexed by state */
    uint32_t state;
    uint64_t id; /* which one of them, for the flight recorder */
};

#define GV_SM_TO(state) (UINT32_C(1) << (state))

/** Begin in `state`. */
void gv_sm_init(struct gv_sm *sm, const char *machine, const struct gv_sm_state *states,
                uint32_t state, uint64_t id);

/** Move; asserts that the table allows it. */
void gv_sm_move(struct gv_sm *sm, uint32_t next);

/** The name of the current state. */
const char *gv_sm_name(const struct gv_sm *sm);

#endif
