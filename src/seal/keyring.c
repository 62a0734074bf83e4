/*
 * keyring.c - the keys in memory: names, one active, and keys derived for a purpose.
 *
 * Derivation is keyed BLAKE2b over the purpose and the context.
 */
#include "keyring_inside.h"
#include "seal.h"

#define CONTEXT_MAX_BYTES 64

static void check(const struct gv_keyring *ring)
{
    GV_ASSERT(ring->count <= GV_KEYRING_KEYS_MAX);
    GV_ASSERT(ring->count == 0 || ring->active < ring->count);
}

const char *gv_key_id_format(struct gv_key_id id, char text[GV_KEY_ID_TEXT_BYTES])
{
    if (gv_key_id_is_none(id)) {
        memcpy(text, "none", sizeof "none");
        return text;
    }
    return sodium_bin2hex(text, GV_KEY_ID_TEXT_BYTES, id.bytes, sizeof id.bytes);
}

enum gv_err gv_key_id_parse(struct gv_slice text, struct gv_key_id *id)
{
    struct gv_key_id read;
    size_t len;
    if (text.len != 2 * GV_KEY_ID_BYTES ||
        sodium_hex2bin(read.bytes, sizeof read.bytes, (const char *)text.data, text.len, NULL, &len,
                       NULL) != 0 ||
        len != sizeof read.bytes) {
        return GV_EINVAL;
    }
    *id = read;
    return GV_OK;
}

bool gv_key_id_equal(struct gv_key_id a, struct gv_key_id b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

bool gv_key_id_is_none(struct gv_key_id id)
{
    return gv_key_id_equal(id, (struct gv_key_id){{0}});
}

struct gv_key_id gv_key_id_of(const uint8_t secret[GV_KEY_BYTES])
{
    static const char purpose[] = "grapevine key id";
    uint8_t digest[crypto_generichash_BYTES];
    struct gv_key_id id;
    GV_ASSERT(crypto_generichash(digest, sizeof digest, (const uint8_t *)purpose, sizeof purpose,
                                 secret, GV_KEY_BYTES) == 0);
    memcpy(id.bytes, digest, sizeof id.bytes);
    return id;
}

struct gv_keyring *gv_keyring_new(void)
{
    gv_seal_ready();
    struct gv_keyring *ring = sodium_malloc(sizeof *ring);
    if (ring != NULL) {
        memset(ring, 0, sizeof *ring);
    }
    return ring;
}

void gv_keyring_free(struct gv_keyring *ring)
{
    sodium_free(ring); /* wipes */
}

struct gv_keyring *gv_keyring_clone(const struct gv_keyring *ring)
{
    struct gv_keyring *copy = gv_keyring_new();
    if (copy != NULL) {
        *copy = *ring;
    }
    return copy;
}

void gv_keyring_assign(struct gv_keyring *ring, const struct gv_keyring *from)
{
    check(from);
    *ring = *from; /* unused places are zeros in both */
}

void gv_keyring_wipe(struct gv_buf *buf)
{
    if (buf->data != NULL) {
        sodium_memzero(buf->data, buf->room);
    }
    gv_buf_reset(buf);
}

static const struct gv_key *find(const struct gv_keyring *ring, struct gv_key_id id)
{
    for (size_t i = 0; ring != NULL && i < ring->count; i++) {
        if (gv_key_id_equal(ring->keys[i].id, id)) {
            return &ring->keys[i];
        }
    }
    return NULL;
}

enum gv_err gv_keyring_add(struct gv_keyring *ring, const uint8_t secret[GV_KEY_BYTES])
{
    check(ring);
    struct gv_key_id id = gv_key_id_of(secret);
    if (find(ring, id) != NULL) {
        return GV_EEXISTS;
    }
    if (ring->count == GV_KEYRING_KEYS_MAX) {
        return GV_EFULL;
    }
    struct gv_key *key = &ring->keys[ring->count];
    key->id = id;
    memcpy(key->secret, secret, GV_KEY_BYTES);
    ring->count += 1;
    return GV_OK;
}

enum gv_err gv_keyring_generate(struct gv_keyring *ring, struct gv_key_id *id)
{
    uint8_t secret[GV_KEY_BYTES];
    randombytes_buf(secret, sizeof secret);
    enum gv_err err = gv_keyring_add(ring, secret);
    sodium_memzero(secret, sizeof secret);
    if (err == GV_OK) {
        *id = ring->keys[ring->count - 1].id;
    }
    return err;
}

enum gv_err gv_keyring_use(struct gv_keyring *ring, struct gv_key_id id)
{
    check(ring);
    const struct gv_key *key = find(ring, id);
    if (key == NULL) {
        return GV_ENOTFOUND;
    }
    ring->active = (size_t)(key - ring->keys);
    return GV_OK;
}

enum gv_err gv_keyring_remove(struct gv_keyring *ring, struct gv_key_id id)
{
    check(ring);
    const struct gv_key *key = find(ring, id);
    if (key == NULL) {
        return GV_ENOTFOUND;
    }
    size_t index = (size_t)(key - ring->keys);
    if (index == ring->active) {
        return GV_EREFUSED;
    }
    if (index == 0 && !ring->has_fingerprint) {
        GV_ASSERT(gv_keyring_fingerprint(ring, ring->fingerprint) == GV_OK);
        ring->has_fingerprint = true;
    }
    size_t behind = ring->count - index - 1;
    memmove(&ring->keys[index], &ring->keys[index + 1], behind * sizeof ring->keys[0]);
    ring->count -= 1;
    sodium_memzero(&ring->keys[ring->count], sizeof ring->keys[0]);
    ring->active -= ring->active > index ? 1 : 0;
    check(ring);
    return GV_OK;
}

size_t gv_keyring_count(const struct gv_keyring *ring)
{
    return ring == NULL ? 0 : ring->count;
}

struct gv_key_id gv_keyring_id(const struct gv_keyring *ring, size_t index)
{
    GV_ASSERT(ring != NULL && index < ring->count);
    return ring->keys[index].id;
}

bool gv_keyring_has(const struct gv_keyring *ring, struct gv_key_id id)
{
    return find(ring, id) != NULL;
}

struct gv_key_id gv_keyring_active(const struct gv_keyring *ring)
{
    if (ring == NULL || ring->count == 0) {
        return (struct gv_key_id){{0}};
    }
    check(ring);
    return ring->keys[ring->active].id;
}

enum gv_err gv_keyring_derive(const struct gv_keyring *ring, struct gv_key_id id,
                              enum gv_key_purpose purpose, struct gv_slice context,
                              uint8_t key[GV_KEY_BYTES])
{
    static const char *const labels[] = {[GV_KEY_FINGERPRINT] = "grapevine fingerprint 1",
                                         [GV_KEY_TRANSFER] = "grapevine transfer 1",
                                         [GV_KEY_SESSION] = "grapevine session 1",
                                         [GV_KEY_PACKET] = "grapevine packet 1"};
    GV_ASSERT((size_t)purpose < sizeof labels / sizeof labels[0]);
    GV_ASSERT(context.len <= CONTEXT_MAX_BYTES);
    const struct gv_key *from = find(ring, id);
    if (from == NULL) {
        return GV_ENOTFOUND;
    }
    uint8_t message[32 + CONTEXT_MAX_BYTES];
    size_t label_len = strlen(labels[purpose]) + 1; /* its NUL parts it from the context */
    memcpy(message, labels[purpose], label_len);
    if (context.len > 0) {
        memcpy(message + label_len, context.data, context.len);
    }
    GV_ASSERT(crypto_generichash(key, GV_KEY_BYTES, message, label_len + context.len, from->secret,
                                 GV_KEY_BYTES) == 0);
    return GV_OK;
}

enum gv_err gv_keyring_fingerprint(const struct gv_keyring *ring, uint8_t seed[GV_KEY_BYTES])
{
    if (ring->has_fingerprint) {
        memcpy(seed, ring->fingerprint, GV_KEY_BYTES);
        return GV_OK;
    }
    return ring->count == 0 ? GV_ENOTFOUND
                            : gv_keyring_derive(ring, ring->keys[0].id, GV_KEY_FINGERPRINT,
                                                gv_slice_of(NULL, 0), seed);
}

struct gv_key_id gv_keyring_fingerprint_id(const struct gv_keyring *ring)
{
    uint8_t seed[GV_KEY_BYTES];
    if (ring == NULL || gv_keyring_fingerprint(ring, seed) != GV_OK) {
        return (struct gv_key_id){{0}};
    }
    struct gv_key_id id = gv_key_id_of(seed);
    sodium_memzero(seed, sizeof seed);
    return id;
}
