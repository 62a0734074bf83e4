/*
 * rivals.h - other ways to find deaths, as parameters of the same detector, to compare with.
 */
#ifndef VINESIM_RIVALS_H
#define VINESIM_RIVALS_H

#include "measure.h"

enum rival {
    RIVAL_OURS = 0,
    RIVAL_PLAIN,      /* our times without Lifeguard: plain SWIM */
    RIVAL_MEMBERLIST, /* the LAN parameters of hashicorp/memberlist, with its Lifeguard */
    RIVAL_COUNT
};

/** Its parameters; static. */
const struct gv_gossip_detector *rival_detector(enum rival rival);

/** As on the command line: ours, plain, memberlist. */
const char *rival_name(enum rival rival);
bool rival_parse(const char *text, enum rival *rival);

/** Print times of detection and false deaths of all three, side by side. `pauses_s`: how long the
 * weather of pauses lasts, in virtual time. False when ours broke a promise. */
bool rivals_print(const struct measure *measure, uint32_t pauses_s);

#endif
