/*
 * fuzz_keyring.c - the text of a key ring: what is read is written and read again the same.
 */
#include "grapevine/base/assert.h"
#include "grapevine/seal/keyring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gv_keyring *ring = NULL;
    struct gv_keyring *again = NULL;
    struct gv_keyring_fault fault;
    struct gv_buf text;
    if (gv_keyring_parse(gv_slice_of(data, size), &ring, &fault) != GV_OK) {
        GV_ASSERT(ring == NULL && fault.text[0] != '\0');
        return 0;
    }
    gv_buf_init(&text, GV_MEM_GENERAL, GV_KEYRING_FILE_BYTES);
    GV_ASSERT(gv_keyring_format(ring, &text) == GV_OK);
    GV_ASSERT(gv_keyring_parse(gv_buf_slice(&text), &again, &fault) == GV_OK);
    GV_ASSERT(gv_keyring_count(ring) == gv_keyring_count(again));
    GV_ASSERT(gv_key_id_equal(gv_keyring_active(ring), gv_keyring_active(again)));
    gv_keyring_wipe(&text);
    gv_keyring_free(again);
    gv_keyring_free(ring);
    return 0;
}
