/*
 * keyring_file.c - the key ring as text, and on disk.
 */
#include "keyring_inside.h"
#include "seal.h"
#include <stdio.h>

#define KEY_TEXT_BYTES 45 /* base64 of 32 bytes and a NUL */

_Static_assert(KEY_TEXT_BYTES ==
                   sodium_base64_ENCODED_LEN(GV_KEY_BYTES, sodium_base64_VARIANT_ORIGINAL),
               "base64 of a key");

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

/* Cut the next word off the front of `rest`; empty at the end. */
static struct gv_slice next_word(struct gv_slice *rest)
{
    while (rest->len > 0 && is_blank(rest->data[0])) {
        *rest = gv_slice_of(rest->data + 1, rest->len - 1);
    }
    size_t len = 0;
    while (len < rest->len && !is_blank(rest->data[len])) {
        len += 1;
    }
    struct gv_slice word = gv_slice_of(rest->data, len);
    *rest = gv_slice_of(len == 0 ? rest->data : rest->data + len, rest->len - len);
    return word;
}

/* Cut the next line off the front of `rest`, without its newline and its comment. */
static struct gv_slice next_line(struct gv_slice *rest)
{
    const uint8_t *end = memchr(rest->data, '\n', rest->len);
    size_t len = end == NULL ? rest->len : (size_t)(end - rest->data);
    struct gv_slice line = gv_slice_of(rest->data, len);
    size_t taken = end == NULL ? len : len + 1;
    *rest = gv_slice_of(rest->data + taken, rest->len - taken);
    const uint8_t *comment = len == 0 ? NULL : memchr(line.data, '#', len);
    if (comment != NULL) {
        line.len = (size_t)(comment - line.data);
    }
    return line;
}

static enum gv_err blame(struct gv_keyring_fault *fault, const char *text, enum gv_err err)
{
    fault->text = text;
    return err;
}

/* One `key` line: its id, its base64, and whether it is active. */
static enum gv_err read_key(struct gv_keyring *ring, struct gv_slice rest, bool *is_active,
                            struct gv_keyring_fault *fault)
{
    struct gv_slice id_text = next_word(&rest);
    struct gv_slice secret_text = next_word(&rest);
    struct gv_slice mark = next_word(&rest);
    struct gv_key_id id;
    uint8_t secret[GV_KEY_BYTES];
    size_t len = 0;
    *is_active = gv_slice_is(mark, "active");
    if (gv_key_id_parse(id_text, &id) != GV_OK) {
        return blame(fault, "the id must be 16 hex digits: key ID BASE64 [active]", GV_EINVAL);
    }
    if ((mark.len > 0 && !*is_active) || next_word(&rest).len > 0) {
        return blame(fault, "only the word active may follow the key", GV_EINVAL);
    }
    if (sodium_base642bin(secret, sizeof secret, (const char *)secret_text.data, secret_text.len,
                          NULL, &len, NULL, sodium_base64_VARIANT_ORIGINAL) != 0 ||
        len != sizeof secret) {
        sodium_memzero(secret, sizeof secret);
        return blame(fault, "the key must be the base64 of exactly 32 bytes", GV_EINVAL);
    }
    enum gv_err err = GV_OK;
    if (!gv_key_id_equal(gv_key_id_of(secret), id)) {
        err = blame(fault, "the id does not belong to this key; was the line edited?", GV_EINVAL);
    } else {
        err = gv_keyring_add(ring, secret);
        fault->text = err == GV_EEXISTS ? "this key occurs twice" : "more than 16 keys";
    }
    sodium_memzero(secret, sizeof secret);
    return err;
}

/* The `fingerprint` line: what the first key, long removed, was needed for. */
static enum gv_err read_fingerprint(struct gv_keyring *ring, struct gv_slice rest,
                                    struct gv_keyring_fault *fault)
{
    struct gv_slice text = next_word(&rest);
    size_t len = 0;
    if (ring->has_fingerprint || next_word(&rest).len > 0 ||
        sodium_base642bin(ring->fingerprint, GV_KEY_BYTES, (const char *)text.data, text.len, NULL,
                          &len, NULL, sodium_base64_VARIANT_ORIGINAL) != 0 ||
        len != GV_KEY_BYTES) {
        return blame(fault, "fingerprint must be one line with the base64 of exactly 32 bytes",
                     GV_EINVAL);
    }
    ring->has_fingerprint = true;
    return GV_OK;
}

static enum gv_err read_lines(struct gv_keyring *ring, struct gv_slice text,
                              struct gv_keyring_fault *fault)
{
    size_t active_count = 0;
    while (text.len > 0) {
        fault->line += 1;
        struct gv_slice line = next_line(&text);
        struct gv_slice word = next_word(&line);
        if (word.len == 0) {
            continue;
        }
        if (gv_slice_is(word, "fingerprint")) {
            enum gv_err err = read_fingerprint(ring, line, fault);
            if (err != GV_OK) {
                return err;
            }
            continue;
        }
        if (!gv_slice_is(word, "key")) {
            return blame(fault, "a line must begin with the word key, or be a # comment",
                         GV_EINVAL);
        }
        bool is_active = false;
        enum gv_err err = read_key(ring, line, &is_active, fault);
        if (err != GV_OK) {
            return err;
        }
        if (is_active) {
            ring->active = ring->count - 1;
            active_count += 1;
        }
    }
    fault->line = 0;
    if (active_count != 1) {
        return blame(fault, "exactly one key must be marked active", GV_EINVAL);
    }
    return GV_OK;
}

enum gv_err gv_keyring_parse(struct gv_slice text, struct gv_keyring **ring,
                             struct gv_keyring_fault *fault)
{
    *fault = (struct gv_keyring_fault){.line = 0, .text = "out of memory"};
    struct gv_keyring *read = gv_keyring_new();
    if (read == NULL) {
        return GV_ENOMEM;
    }
    enum gv_err err = read_lines(read, text, fault);
    if (err != GV_OK) {
        gv_keyring_free(read);
        return err;
    }
    *fault = (struct gv_keyring_fault){.line = 0, .text = ""};
    *ring = read;
    return GV_OK;
}

static const char *explain(enum gv_err err)
{
    if (err == GV_ENOTFOUND) {
        return "no such file; make one with: vinectl keys generate";
    }
    if (err == GV_EREFUSED) {
        return "other users may read or write it; mend this with: chmod 600 FILE";
    }
    if (err == GV_ETOOBIG) {
        return "longer than 16 KiB: this is no key ring";
    }
    return err == GV_ENOMEM ? "out of memory" : "cannot be read";
}

enum gv_err gv_keyring_load(const char *path, struct gv_keyring **ring,
                            struct gv_keyring_fault *fault)
{
    struct gv_buf text;
    gv_buf_init(&text, GV_MEM_GENERAL, GV_KEYRING_FILE_BYTES);
    enum gv_err err = gv_secret_file_read(path, &text);
    if (err == GV_OK) {
        err = gv_keyring_parse(gv_buf_slice(&text), ring, fault);
    } else {
        *fault = (struct gv_keyring_fault){.line = 0, .text = explain(err)};
    }
    gv_keyring_wipe(&text);
    return err;
}

enum gv_err gv_keyring_format(const struct gv_keyring *ring, struct gv_buf *out)
{
    static const char head[] = "# Cluster keys of Grapevine: keep this file secret (mode 0600).\n"
                               "# key ID BASE64 [active]\n";
    /* One allocation, so that growing leaves no copy of a key behind in the heap. */
    uint8_t *where;
    enum gv_err err = gv_buf_reserve(out, sizeof head + (ring->count + 1) * 80, &where);
    if (err != GV_OK) {
        return err;
    }
    err = gv_buf_append_text(out, head);
    for (size_t i = 0; i < ring->count && err == GV_OK; i++) {
        char id[GV_KEY_ID_TEXT_BYTES];
        char secret[KEY_TEXT_BYTES];
        char line[80];
        sodium_bin2base64(secret, sizeof secret, ring->keys[i].secret, GV_KEY_BYTES,
                          sodium_base64_VARIANT_ORIGINAL);
        (void)snprintf(line, sizeof line, "key %s %s%s\n", gv_key_id_format(ring->keys[i].id, id),
                       secret, i == ring->active ? " active" : "");
        err = gv_buf_append_text(out, line);
        sodium_memzero(secret, sizeof secret);
        sodium_memzero(line, sizeof line);
    }
    if (ring->has_fingerprint && err == GV_OK) {
        char seed[KEY_TEXT_BYTES];
        sodium_bin2base64(seed, sizeof seed, ring->fingerprint, GV_KEY_BYTES,
                          sodium_base64_VARIANT_ORIGINAL);
        err = gv_buf_append_format(out, "fingerprint %s\n", seed);
        sodium_memzero(seed, sizeof seed);
    }
    return err;
}

enum gv_err gv_keyring_save(const struct gv_keyring *ring, const char *path)
{
    struct gv_buf text;
    gv_buf_init(&text, GV_MEM_GENERAL, GV_KEYRING_FILE_BYTES);
    enum gv_err err = gv_keyring_format(ring, &text);
    if (err == GV_OK) {
        err = gv_secret_file_write(path, gv_buf_slice(&text));
    }
    gv_keyring_wipe(&text);
    return err;
}
