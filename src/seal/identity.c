/*
 * identity.c - an Ed25519 pair, in memory or in a file of one line: `identity BASE64-OF-SEED`.
 */
#include "grapevine/seal/identity.h"
#include "grapevine/seal/keyring.h"
#include "seal.h"

#define FILE_MAX_BYTES 256
#define WORD           "identity "
#define SEED_TEXT_BYTES                                                                            \
    sodium_base64_ENCODED_LEN(crypto_sign_SEEDBYTES, sodium_base64_VARIANT_ORIGINAL)

_Static_assert(GV_IDENTITY_BYTES == crypto_sign_PUBLICKEYBYTES, "public half");
_Static_assert(GV_SIGNATURE_BYTES == crypto_sign_BYTES, "signature");

/* Lies in guarded, locked memory of libsodium. */
struct gv_identity {
    uint8_t public_half[crypto_sign_PUBLICKEYBYTES];
    uint8_t secret_half[crypto_sign_SECRETKEYBYTES];
};

static struct gv_identity *new_from_seed(const uint8_t seed[crypto_sign_SEEDBYTES])
{
    struct gv_identity *identity = sodium_malloc(sizeof *identity);
    if (identity != NULL) {
        GV_ASSERT(crypto_sign_seed_keypair(identity->public_half, identity->secret_half, seed) ==
                  0);
    }
    return identity;
}

struct gv_identity *gv_identity_new(void)
{
    gv_seal_ready();
    uint8_t seed[crypto_sign_SEEDBYTES];
    randombytes_buf(seed, sizeof seed);
    struct gv_identity *identity = new_from_seed(seed);
    sodium_memzero(seed, sizeof seed);
    return identity;
}

void gv_identity_free(struct gv_identity *identity)
{
    sodium_free(identity); /* wipes */
}

static enum gv_err read_identity(struct gv_slice text, struct gv_identity **identity)
{
    uint8_t seed[crypto_sign_SEEDBYTES];
    size_t len = 0;
    size_t word_len = sizeof WORD - 1;
    if (!gv_slice_starts_with(text, WORD) || text.data[text.len - 1] != '\n') {
        return GV_EINVAL;
    }
    const char *base64 = (const char *)text.data + word_len;
    enum gv_err err = GV_EINVAL;
    if (sodium_base642bin(seed, sizeof seed, base64, text.len - word_len - 1, NULL, &len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) == 0 &&
        len == sizeof seed) {
        struct gv_identity *read = new_from_seed(seed);
        err = read == NULL ? GV_ENOMEM : GV_OK;
        *identity = read == NULL ? *identity : read;
    }
    sodium_memzero(seed, sizeof seed);
    return err;
}

static enum gv_err create(const char *path, struct gv_identity **identity)
{
    struct gv_identity *made = gv_identity_new();
    if (made == NULL) {
        return GV_ENOMEM;
    }
    uint8_t seed[crypto_sign_SEEDBYTES];
    char line[sizeof WORD + SEED_TEXT_BYTES] = WORD;
    size_t word_len = sizeof WORD - 1;
    GV_ASSERT(crypto_sign_ed25519_sk_to_seed(seed, made->secret_half) == 0);
    sodium_bin2base64(line + word_len, SEED_TEXT_BYTES, seed, sizeof seed,
                      sodium_base64_VARIANT_ORIGINAL);
    size_t len = strlen(line);
    line[len] = '\n'; /* in the place of the NUL */
    enum gv_err err = gv_secret_file_write(path, gv_slice_of(line, len + 1));
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(line, sizeof line);
    if (err != GV_OK) {
        gv_identity_free(made);
        return err;
    }
    *identity = made;
    return GV_OK;
}

enum gv_err gv_identity_load(const char *path, struct gv_identity **identity)
{
    gv_seal_ready();
    struct gv_buf text;
    gv_buf_init(&text, GV_MEM_GENERAL, FILE_MAX_BYTES);
    enum gv_err err = gv_secret_file_read(path, &text);
    if (err == GV_OK) {
        err = read_identity(gv_buf_slice(&text), identity);
    } else if (err == GV_ENOTFOUND) {
        err = create(path, identity);
    } else if (err == GV_ETOOBIG) {
        err = GV_EINVAL;
    }
    gv_keyring_wipe(&text);
    return err;
}

const uint8_t *gv_identity_public(const struct gv_identity *identity)
{
    return identity->public_half;
}

void gv_identity_sign(const struct gv_identity *identity, struct gv_slice message,
                      uint8_t signature[GV_SIGNATURE_BYTES])
{
    GV_ASSERT(crypto_sign_detached(signature, NULL, message.data, message.len,
                                   identity->secret_half) == 0);
}

enum gv_err gv_identity_verify(const uint8_t who[GV_IDENTITY_BYTES], struct gv_slice message,
                               const uint8_t signature[GV_SIGNATURE_BYTES])
{
    bool ok = crypto_sign_verify_detached(signature, message.data, message.len, who) == 0;
    return ok ? GV_OK : GV_EAUTH;
}
