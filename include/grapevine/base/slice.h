/*
 * slice.h - some bytes that somebody else owns.
 */
#ifndef GV_BASE_SLICE_H
#define GV_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct gv_slice {
    const uint8_t *data; /* borrowed; may be NULL when len is 0 */
    size_t len;          /* bytes */
};

/** A slice of `len` bytes at `data`. */
static inline struct gv_slice gv_slice_of(const void *data, size_t len)
{
    return (struct gv_slice){.data = (const uint8_t *)data, .len = len};
}

/** A constant slice of a literal, without counting its bytes at run time. */
#define GV_SLICE(literal)                                                                          \
    {                                                                                              \
        .data = (const uint8_t *)("" literal), .len = sizeof(literal) - 1                          \
    }

/** The bytes of a NUL-terminated text, without its NUL. */
static inline struct gv_slice gv_slice_text(const char *text)
{
    return gv_slice_of(text, strlen(text));
}

/** Same length, same bytes. Not constant in time: never for secrets. */
static inline bool gv_slice_equal(struct gv_slice a, struct gv_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/** Same as a NUL-terminated text. */
static inline bool gv_slice_is(struct gv_slice a, const char *text)
{
    return gv_slice_equal(a, gv_slice_text(text));
}

/** Same but for the case of ASCII letters. */
bool gv_slice_equal_letters(const uint8_t *a, const uint8_t *b, size_t len);
static inline bool gv_slice_equal_nocase(struct gv_slice a, struct gv_slice b)
{
    /* Most that differ differ in their first bytes, by more than the bit between the cases. */
    return a.len == b.len && (a.len == 0 || ((a.data[0] ^ b.data[0]) & 0xdf) == 0) &&
           gv_slice_equal_letters(a.data, b.data, a.len);
}

/** Starts with `prefix`. */
bool gv_slice_starts_with(struct gv_slice slice, const char *prefix);

/** Without blanks and tabs at both ends. */
struct gv_slice gv_slice_trim(struct gv_slice slice);

/**
 * Decimal digits only, no sign, no blanks, at least one digit.
 * false: empty, other bytes, or over UINT64_MAX; `*value` is then untouched.
 */
bool gv_slice_to_u64(struct gv_slice slice, uint64_t *value);

/** Copy into `text` with a NUL, cut at size - 1 bytes; true when it fitted whole. size >= 1. */
bool gv_slice_copy_text(struct gv_slice slice, char *text, size_t size);

#endif
