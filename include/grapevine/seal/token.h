/*
 * token.h - comparing API keys without telling by the time taken how much was right. Any thread.
 */
#ifndef GV_SEAL_TOKEN_H
#define GV_SEAL_TOKEN_H

#include "grapevine/base/slice.h"

/** Are they the same bytes? Both are hashed first, so that neither length nor content shows. */
bool gv_token_equal(struct gv_slice given, struct gv_slice wanted);

/** Is `given` one of `count` texts? Looks at all of them whatever it finds; false for none. */
bool gv_token_is_any(struct gv_slice given, const char *const *wanted, size_t count);

/* A token that is looked for often, or kept: what it hashes to. */
struct gv_token_hash {
    uint8_t bytes[32];
};

struct gv_token_hash gv_token_hash(struct gv_slice token);

/** Takes the same time whatever they are. */
bool gv_token_hash_equal(const struct gv_token_hash *a, const struct gv_token_hash *b);

#endif
