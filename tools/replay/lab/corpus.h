/*
 * corpus.h - all prompts of a trace as one compressed trie, so that a run of blocks that never
 * parts in the whole trace is one number.
 *
 * A segment is such a run: the blocks between two places where prompts part or end. A prompt is a
 * path of whole segments. What an engine caches and what a simulated router remembers is kept by
 * segment, which is exact, and hundreds of times less work than by block.
 *
 * Blocks are named by the router's own fingerprints (route/fingerprint). Text becomes a request
 * body, which http/prompt reads as a router would. A trace that has only block ids is converted:
 * each id stands for as many blocks of LAB_BLOCK_TOKENS as it has tokens, and the fingerprints are
 * those of a text in which each block is 16 bytes: its id and its place in the id. Equal ids give
 * equal fingerprints, as equal text would.
 *
 * Read-only once made. One thread.
 */
#ifndef REPLAY_LAB_CORPUS_H
#define REPLAY_LAB_CORPUS_H

#include "replay/replay.h"

#define LAB_BLOCK_BYTES  256 /* of prompt, as --block-bytes */
#define LAB_BLOCK_TOKENS 64
#define LAB_NONE         UINT32_MAX

struct corpus_segment {
    uint32_t parent; /* LAB_NONE: a first block */
    uint32_t count;  /* blocks */
    size_t label;    /* of its first block, in corpus.labels */
};

struct corpus_prompt {
    uint64_t at_us;
    uint64_t session;
    uint64_t tokens;
    uint32_t output_tokens;
    uint32_t block_count; /* of fingerprints, the last maybe partial */
    uint32_t full_count;  /* whole blocks: what a cache can hold */
    uint32_t end;         /* last segment; LAB_NONE: no block */
    size_t path;          /* of its first segment, in corpus.paths */
    uint32_t path_count;
};

struct corpus {
    struct corpus_prompt *prompts; /* owned, as all; in the order of time */
    size_t prompt_count;
    struct corpus_segment *segments;
    size_t segment_count;
    uint64_t *labels; /* fingerprints */
    size_t label_count;
    uint32_t *paths;
    size_t path_count;
    uint32_t longest; /* blocks of the longest prompt */
    uint64_t tokens;  /* of all prompts */
};

/** Make it of a trace. false: out of memory, or a text that http/prompt refuses. */
bool corpus_make(struct corpus *corpus, const struct trace *trace, const struct options *options);
void corpus_free(struct corpus *corpus);

/** The fingerprints of a prompt, into `chain` (room for corpus.longest). */
void corpus_chain(const struct corpus *corpus, const struct corpus_prompt *prompt, uint64_t *chain);

#endif
