/*
 * flight.h - the last events of this thread, kept for the moment an assertion fails.
 *
 * A ring of 256 small records per thread; writing one is a few stores. Printed by
 * gv_assert_failed().
 */
#ifndef GV_BASE_FLIGHT_H
#define GV_BASE_FLIGHT_H

#include <stdint.h>

/** Record `what` (static text) with two numbers that mean something to its author. */
void gv_flight_note(const char *what, uint64_t a, uint64_t b);

/** Write this thread's ring to `fd`, oldest first. Safe in a signal handler. */
void gv_flight_print(int fd);

#endif
