/*
 * answer.c - the little of RFC 1035 and RFC 2782 that SRV needs.
 */
#include "answer.h"

#include <string.h>

#define HEADER_BYTES    12
#define QUESTION_BYTES  4  /* type and class, behind the name */
#define RECORD_BYTES    10 /* type, class, TTL and length, behind the name */
#define SRV_FIXED_BYTES 6  /* priority, weight and port, before the target */
#define TYPE_SRV        33
#define CLASS_IN        1
#define JUMPS_MAX       64

static uint16_t read16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t read32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/*
 * Read the name at `at` into `text` (may be NULL) and set `*next` behind it. Compressed names jump
 * backwards; a message of loops is stopped by JUMPS_MAX. A byte that is no letter, digit, '-', '_'
 * fails: such a name could not be looked up, and must not reach a log.
 */
static bool read_name(struct gv_slice message, size_t at, char *text, size_t *next)
{
    size_t len = 0;
    bool jumped = false;
    for (int jumps = 0; jumps < JUMPS_MAX;) {
        if (at >= message.len) {
            return false;
        }
        uint8_t label = message.data[at];
        if ((label & 0xc0) == 0xc0) {
            if (at + 2 > message.len) {
                return false;
            }
            if (!jumped) {
                *next = at + 2;
                jumped = true;
            }
            at = (size_t)(label & 0x3f) << 8 | message.data[at + 1];
            jumps += 1;
            continue;
        }
        if (label == 0) {
            *next = jumped ? *next : at + 1;
            if (text != NULL) {
                text[len] = '\0';
            }
            return true;
        }
        if ((label & 0xc0) != 0 || at + 1 + label > message.len ||
            len + label + 2 > GV_SRV_NAME_BYTES) {
            return false;
        }
        if (text != NULL) {
            for (size_t i = 0; i < label; i++) {
                uint8_t c = message.data[at + 1 + i];
                bool is_fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                               (c >= '0' && c <= '9') || c == '-' || c == '_';
                if (!is_fine) {
                    return false;
                }
            }
            if (len > 0) {
                text[len] = '.';
            }
            memcpy(text + len + (len > 0 ? 1 : 0), message.data + at + 1, label);
        }
        len += label + (len > 0 ? 1u : 0u);
        at += 1 + (size_t)label;
    }
    return false;
}

static bool comes_before(const struct gv_srv_record *a, const struct gv_srv_record *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->weight > b->weight;
}

/* Put `record` behind those that come before it; equals keep their order. */
static void insert(struct gv_srv_record *records, size_t count, const struct gv_srv_record *record)
{
    size_t at = count;
    while (at > 0 && comes_before(record, &records[at - 1])) {
        records[at] = records[at - 1];
        at -= 1;
    }
    records[at] = *record;
}

/* Where the answers begin. */
static bool skip_questions(struct gv_slice message, size_t *at)
{
    if (message.len < HEADER_BYTES) {
        return false;
    }
    uint16_t questions = read16(message.data + 4);
    *at = HEADER_BYTES;
    for (uint16_t i = 0; i < questions; i++) {
        if (!read_name(message, *at, NULL, at) || *at + QUESTION_BYTES > message.len) {
            return false;
        }
        *at += QUESTION_BYTES;
    }
    return true;
}

enum gv_err gv_srv_decode(struct gv_slice message, struct gv_srv_record records[GV_SRV_MAX],
                          size_t *count, uint32_t *ttl_s)
{
    size_t at;
    if (!skip_questions(message, &at)) {
        return GV_EPROTO;
    }
    uint16_t answers = read16(message.data + 6);
    size_t found = 0;
    uint32_t least_s = UINT32_MAX;
    for (uint16_t i = 0; i < answers; i++) {
        if (!read_name(message, at, NULL, &at) || at + RECORD_BYTES > message.len) {
            return GV_EPROTO;
        }
        const uint8_t *fixed = message.data + at;
        size_t data_len = read16(fixed + 8);
        at += RECORD_BYTES;
        if (at + data_len > message.len) {
            return GV_EPROTO;
        }
        if (read16(fixed) == TYPE_SRV && read16(fixed + 2) == CLASS_IN) {
            struct gv_srv_record record;
            size_t end;
            if (data_len <= SRV_FIXED_BYTES ||
                !read_name(message, at + SRV_FIXED_BYTES, record.target, &end) ||
                end != at + data_len) {
                return GV_EPROTO;
            }
            record.priority = read16(message.data + at);
            record.weight = read16(message.data + at + 2);
            record.port = read16(message.data + at + 4);
            least_s = read32(fixed + 4) < least_s ? read32(fixed + 4) : least_s;
            if (record.target[0] != '\0' && found < GV_SRV_MAX) {
                insert(records, found, &record);
                found += 1;
            }
        }
        at += data_len;
    }
    *count = found;
    *ttl_s = least_s == UINT32_MAX ? 0 : least_s;
    return GV_OK;
}
