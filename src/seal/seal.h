/*
 * seal.h - what the files of this folder share: a ready libsodium, and secrets in files.
 */
#ifndef GV_SEAL_SEAL_H
#define GV_SEAL_SEAL_H

#include "grapevine/base/assert.h"
#include "grapevine/base/buf.h"
#include "grapevine/base/err.h"
#include "grapevine/base/slice.h"
#include <sodium.h>

/** Make libsodium ready; cheap when it is. Any thread. */
static inline void gv_seal_ready(void)
{
    GV_ASSERT(sodium_init() >= 0);
}

/** Big-endian numbers, as they travel. */
static inline void gv_seal_put_u16(uint8_t *where, uint16_t value)
{
    where[0] = (uint8_t)(value >> 8);
    where[1] = (uint8_t)(value & 0xff);
}

static inline void gv_seal_put_u32(uint8_t *where, uint32_t value)
{
    gv_seal_put_u16(where, (uint16_t)(value >> 16));
    gv_seal_put_u16(where + 2, (uint16_t)(value & 0xffff));
}

static inline void gv_seal_put_u64(uint8_t *where, uint64_t value)
{
    gv_seal_put_u32(where, (uint32_t)(value >> 32));
    gv_seal_put_u32(where + 4, (uint32_t)(value & UINT32_MAX));
}

static inline uint16_t gv_seal_get_u16(const uint8_t *from)
{
    return (uint16_t)((unsigned)from[0] << 8 | from[1]);
}

static inline uint32_t gv_seal_get_u32(const uint8_t *from)
{
    return (uint32_t)gv_seal_get_u16(from) << 16 | gv_seal_get_u16(from + 2);
}

static inline uint64_t gv_seal_get_u64(const uint8_t *from)
{
    return (uint64_t)gv_seal_get_u32(from) << 32 | gv_seal_get_u32(from + 4);
}

/**
 * Read a file that only its owner may touch, into `out`, in one allocation.
 * Errors: GV_ENOTFOUND; GV_EREFUSED group or others may read or write it; GV_ETOOBIG over the limit
 *         of `out`; GV_EIO; GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_secret_file_read(const char *path, struct gv_buf *out);

/** Write it anew, mode 0600, all or nothing. Errors: GV_EIO, GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_secret_file_write(const char *path, struct gv_slice bytes);

#endif
