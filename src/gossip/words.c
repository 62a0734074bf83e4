/*
 * words.c - see words.h.
 */
#include "words.h"

#include "grapevine/base/assert.h"

void gv_words_init(struct gv_words *words, size_t max_count)
{
    words->round = 0;
    gv_map_init(&words->map, GV_MEM_GOSSIP, max_count, NULL);
}

void gv_words_deinit(struct gv_words *words)
{
    size_t cursor = 0;
    struct gv_slice key;
    void *word;
    while (gv_map_next(&words->map, &cursor, &key, &word)) {
        gv_mem_free(GV_MEM_GOSSIP, word);
    }
    gv_map_deinit(&words->map);
}

struct gv_word *gv_words_take(struct gv_words *words, struct gv_slice text)
{
    struct gv_word *word = gv_map_find(&words->map, text);
    if (word != NULL) {
        word->refs += 1;
        return word;
    }
    word = gv_mem_new(GV_MEM_GOSSIP, sizeof *word + text.len + 1);
    if (word == NULL) {
        return NULL;
    }
    word->refs = 1;
    word->len = text.len;
    memcpy(word->text, text.data, text.len);
    if (gv_map_put(&words->map, text, word) != GV_OK) {
        gv_mem_free(GV_MEM_GOSSIP, word);
        return NULL;
    }
    return word;
}

void gv_words_give(struct gv_words *words, struct gv_word *word)
{
    GV_ASSERT(word->refs >= 1);
    word->refs -= 1;
    if (word->refs == 0) {
        void *taken = gv_map_take(&words->map, gv_slice_of(word->text, word->len));
        GV_ASSERT(taken == word);
        gv_mem_free(GV_MEM_GOSSIP, word);
    }
}
