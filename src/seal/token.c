/*
 * token.c - equal length for unequal texts: both are hashed, the hashes are compared.
 */
#include "grapevine/seal/token.h"
#include "seal.h"

static void hash(struct gv_slice text, uint8_t digest[crypto_generichash_BYTES])
{
    GV_ASSERT(crypto_generichash(digest, crypto_generichash_BYTES, text.data, text.len, NULL, 0) ==
              0);
}

bool gv_token_equal(struct gv_slice given, struct gv_slice wanted)
{
    uint8_t a[crypto_generichash_BYTES];
    uint8_t b[crypto_generichash_BYTES];
    gv_seal_ready();
    hash(given, a);
    hash(wanted, b);
    bool is_equal = sodium_memcmp(a, b, sizeof a) == 0;
    sodium_memzero(a, sizeof a);
    sodium_memzero(b, sizeof b);
    return is_equal;
}

struct gv_token_hash gv_token_hash(struct gv_slice token)
{
    struct gv_token_hash made;
    _Static_assert(sizeof made.bytes == crypto_generichash_BYTES, "a hash is kept whole");
    gv_seal_ready();
    hash(token, made.bytes);
    return made;
}

bool gv_token_hash_equal(const struct gv_token_hash *a, const struct gv_token_hash *b)
{
    return sodium_memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool gv_token_is_any(struct gv_slice given, const char *const *wanted, size_t count)
{
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        bool is_equal = gv_token_equal(given, gv_slice_text(wanted[i]));
        found = found || is_equal;
    }
    return found;
}
