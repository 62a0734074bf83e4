/*
 * keys.c - vinectl keys generate [FILE]: a key ring with one fresh key, readable by its owner only.
 */
#include "grapevine/seal/keyring.h"
#include "vinectl.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum outcome to_stdout(const struct gv_keyring *ring)
{
    struct gv_buf text;
    gv_buf_init(&text, GV_MEM_GENERAL, GV_KEYRING_FILE_BYTES);
    enum gv_err err = gv_keyring_format(ring, &text);
    if (err == GV_OK) {
        struct gv_slice bytes = gv_buf_slice(&text);
        fwrite(bytes.data, 1, bytes.len, stdout);
    }
    gv_keyring_wipe(&text);
    return err == GV_OK ? OUTCOME_OK : OUTCOME_DEGRADED;
}

static enum outcome to_file(const struct gv_keyring *ring, struct gv_key_id id, const char *path)
{
    if (access(path, F_OK) == 0) {
        fprintf(stderr,
                "vinectl: %s exists; a key ring is never overwritten, choose another name\n", path);
        return OUTCOME_USAGE;
    }
    enum gv_err err = gv_keyring_save(ring, path);
    if (err != GV_OK) {
        fprintf(stderr, "vinectl: cannot write %s: %s\n", path, gv_err_text(err));
        return OUTCOME_DEGRADED;
    }
    char text[GV_KEY_ID_TEXT_BYTES];
    printf("key %s written to %s (mode 0600). Copy the file to every node and start each with\n"
           "    --mesh-keyring %s\n",
           gv_key_id_format(id, text), path, path);
    return OUTCOME_OK;
}

enum outcome keys_command(const struct context *context)
{
    if (context->arg_count < 1 || context->arg_count > 2 ||
        strcmp(context->args[0], "generate") != 0) {
        fputs("vinectl: usage: vinectl keys generate [FILE]\n", stderr);
        return OUTCOME_USAGE;
    }
    struct gv_keyring *ring = gv_keyring_new();
    struct gv_key_id id;
    enum outcome outcome = OUTCOME_DEGRADED;
    if (ring == NULL || gv_keyring_generate(ring, &id) != GV_OK) {
        fputs("vinectl: no key could be made: out of memory\n", stderr);
    } else if (context->arg_count == 1) {
        outcome = to_stdout(ring);
    } else {
        outcome = to_file(ring, id, context->args[1]);
    }
    gv_keyring_free(ring);
    return outcome;
}
