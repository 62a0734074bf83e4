/*
 * words.h - texts that are named by many operations, kept once: keys and worker URLs.
 *
 * Reference-counted, so that a word dies with the last operation that names it. `mark` is the
 * word's index in the dictionary of the message being made. Private to gossip.
 */
#ifndef GV_GOSSIP_WORDS_H
#define GV_GOSSIP_WORDS_H

#include "grapevine/base/map.h"

struct gv_word {
    uint32_t refs;       /* takes minus gives */
    uint32_t mark_index; /* meaningful while mark_round is the table's round */
    uint64_t mark_round;
    size_t len; /* bytes of text without its NUL */
    char text[];
};

struct gv_words {
    struct gv_map map; /* text to word; the words are owned */
    uint64_t round;    /* number of the message being made */
};

void gv_words_init(struct gv_words *words, size_t max_count);
void gv_words_deinit(struct gv_words *words);

/** The word of `text`, one reference more. NULL: the table is full or no memory. */
GV_MUST_USE struct gv_word *gv_words_take(struct gv_words *words, struct gv_slice text);

/** Give one reference back. */
void gv_words_give(struct gv_words *words, struct gv_word *word);

#endif
