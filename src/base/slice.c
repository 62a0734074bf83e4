/*
 * slice.c - the few questions about borrowed bytes that are too long for a header.
 */
#include "grapevine/base/slice.h"
#include "grapevine/base/assert.h"

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

bool gv_slice_equal_letters(const uint8_t *a, const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (lower(a[i]) != lower(b[i])) {
            return false;
        }
    }
    return true;
}

bool gv_slice_starts_with(struct gv_slice slice, const char *prefix)
{
    size_t len = strlen(prefix);
    return slice.len >= len && (len == 0 || memcmp(slice.data, prefix, len) == 0);
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

struct gv_slice gv_slice_trim(struct gv_slice slice)
{
    while (slice.len > 0 && is_blank(slice.data[0])) {
        slice.data += 1;
        slice.len -= 1;
    }
    while (slice.len > 0 && is_blank(slice.data[slice.len - 1])) {
        slice.len -= 1;
    }
    return slice;
}

bool gv_slice_to_u64(struct gv_slice slice, uint64_t *value)
{
    if (slice.len == 0) {
        return false;
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < slice.len; i++) {
        if (slice.data[i] < '0' || slice.data[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(slice.data[i] - '0');
        if (sum > (UINT64_MAX - digit) / 10) {
            return false;
        }
        sum = sum * 10 + digit;
    }
    *value = sum;
    return true;
}

bool gv_slice_copy_text(struct gv_slice slice, char *text, size_t size)
{
    GV_ASSERT(size >= 1);
    size_t len = slice.len < size ? slice.len : size - 1;
    if (len > 0) {
        memcpy(text, slice.data, len);
    }
    text[len] = '\0';
    return len == slice.len;
}
