/*
 * golden.h - short stories whose traces are kept in tests/sim/golden, byte for byte.
 */
#ifndef VINESIM_GOLDEN_H
#define VINESIM_GOLDEN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

uint32_t golden_count(void);
/** Of the story, and of its file without ".trace". */
const char *golden_name(uint32_t story);
/** Tell the story; its trace goes to `into`. */
void golden_tell(uint32_t story, FILE *into);
/** Write all traces into a directory: `vinesim --golden DIR`. Says what it could not write. */
bool golden_write_all(const char *directory);

#endif
