/*
 * splice.c - one strict walk over the body, which finds the top-level members to drop.
 *
 * The walk checks the whole grammar, with a stack of bits instead of recursion, so that what goes
 * out is valid JSON whenever something goes out.
 */
#include "grapevine/http/splice.h"
#include "grapevine/base/assert.h"
#include "http/token.h"

#define DEPTH_MAX 1024

struct walk {
    const uint8_t *at;
    const uint8_t *end;
    size_t depth;
    uint8_t is_object[DEPTH_MAX / 8]; /* one bit for each open bracket */
};

static void skip_blanks(struct walk *walk)
{
    while (walk->at < walk->end &&
           (*walk->at == ' ' || *walk->at == '\n' || *walk->at == '\t' || *walk->at == '\r')) {
        walk->at += 1;
    }
}

static bool take(struct walk *walk, uint8_t c)
{
    if (walk->at == walk->end || *walk->at != c) {
        return false;
    }
    walk->at += 1;
    return true;
}

/* Does any byte of `word` need a closer look inside a string: a quote, a backslash, a control
 * character? May say yes for nothing, never no for something. */
static bool is_special(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = UINT64_C(0x8080808080808080);
    uint64_t quote = word ^ (ones * '"');
    uint64_t slash = word ^ (ones * '\\');
    return (((quote - ones) & ~quote) | ((slash - ones) & ~slash) |
            ((word - ones * 0x20) & ~word)) &
           tops;
}

static bool skip_escape(struct walk *walk)
{
    if (walk->at == walk->end) {
        return false;
    }
    uint8_t c = *walk->at++;
    if (c != 'u') {
        return c != 0 && strchr("\"\\/bfnrt", c) != NULL;
    }
    for (int i = 0; i < 4; i++) {
        if (walk->at == walk->end || gv_token_hex(*walk->at) < 0) {
            return false;
        }
        walk->at += 1;
    }
    return true;
}

/* A string; `*inside` is what stands between its quotes. */
static bool skip_string(struct walk *walk, struct gv_slice *inside)
{
    if (!take(walk, '"')) {
        return false;
    }
    const uint8_t *from = walk->at;
    while (walk->at < walk->end) {
        uint64_t word;
        while ((size_t)(walk->end - walk->at) >= sizeof word) {
            memcpy(&word, walk->at, sizeof word);
            if (is_special(word)) {
                break;
            }
            walk->at += sizeof word;
        }
        if (walk->at == walk->end) {
            return false;
        }
        uint8_t c = *walk->at++;
        if (c == '"') {
            *inside = gv_slice_of(from, (size_t)(walk->at - from) - 1);
            return true;
        }
        if (c < 0x20 || (c == '\\' && !skip_escape(walk))) {
            return false;
        }
    }
    return false;
}

static bool skip_digits(struct walk *walk)
{
    const uint8_t *from = walk->at;
    while (walk->at < walk->end && *walk->at >= '0' && *walk->at <= '9') {
        walk->at += 1;
    }
    return walk->at > from;
}

static bool skip_number(struct walk *walk)
{
    (void)take(walk, '-');
    if (!take(walk, '0') && !skip_digits(walk)) {
        return false;
    }
    if (take(walk, '.') && !skip_digits(walk)) {
        return false;
    }
    if (take(walk, 'e') || take(walk, 'E')) {
        (void)(take(walk, '+') || take(walk, '-'));
        return skip_digits(walk);
    }
    return true;
}

static bool skip_word(struct walk *walk, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(walk->end - walk->at) < len || memcmp(walk->at, word, len) != 0) {
        return false;
    }
    walk->at += len;
    return true;
}

/* A string, number, true, false or null. */
static bool skip_scalar(struct walk *walk)
{
    struct gv_slice inside;
    switch (*walk->at) {
    case '"':
        return skip_string(walk, &inside);
    case 't':
        return skip_word(walk, "true");
    case 'f':
        return skip_word(walk, "false");
    case 'n':
        return skip_word(walk, "null");
    default:
        return skip_number(walk);
    }
}

static bool open_bracket(struct walk *walk, bool is_object)
{
    if (walk->depth == DEPTH_MAX) {
        return false;
    }
    uint8_t bit = (uint8_t)(1u << (walk->depth & 7));
    uint8_t *byte = &walk->is_object[walk->depth >> 3];
    *byte = (uint8_t)(is_object ? *byte | bit : *byte & ~bit);
    walk->depth += 1;
    walk->at += 1;
    return true;
}

static bool in_object(const struct walk *walk)
{
    size_t top = walk->depth - 1;
    return (walk->is_object[top >> 3] >> (top & 7)) & 1;
}

/* A member's name and its colon, with the blanks around. */
static bool skip_name(struct walk *walk, struct gv_slice *name)
{
    skip_blanks(walk);
    if (!skip_string(walk, name)) {
        return false;
    }
    skip_blanks(walk);
    return take(walk, ':');
}

/* After a value: close brackets that end here; `*more` when a comma says that another value follows
 * inside a bracket deeper than `floor`. */
static bool close_brackets(struct walk *walk, size_t floor, bool *more)
{
    *more = false;
    while (walk->depth > floor) {
        skip_blanks(walk);
        if (take(walk, ',')) {
            struct gv_slice name;
            *more = true;
            return !in_object(walk) || skip_name(walk, &name);
        }
        if (!take(walk, in_object(walk) ? '}' : ']')) {
            return false;
        }
        walk->depth -= 1;
    }
    return true;
}

/* One whole value, however deep. */
static bool skip_value(struct walk *walk)
{
    size_t floor = walk->depth;
    bool more = true;
    while (more) {
        skip_blanks(walk);
        if (walk->at == walk->end) {
            return false;
        }
        bool is_object = *walk->at == '{';
        if (is_object || *walk->at == '[') {
            if (!open_bracket(walk, is_object)) {
                return false;
            }
            skip_blanks(walk);
            struct gv_slice name;
            bool is_empty = walk->at < walk->end && *walk->at == (is_object ? '}' : ']');
            if (!is_empty) {
                if (is_object && !skip_name(walk, &name)) {
                    return false;
                }
                continue; /* the first value inside */
            }
        } else if (!skip_scalar(walk)) {
            return false;
        }
        if (!close_brackets(walk, floor, &more)) {
            return false;
        }
    }
    return true;
}

/* The character of the escape at `at` (behind its backslash) and its length; above 0x7f only that
 * it is none of ASCII matters. */
static uint32_t unescape(const uint8_t *at, size_t *len)
{
    static const char letters[] = "bfnrt";
    static const uint8_t characters[] = {8, 12, 10, 13, 9};
    *len = 1;
    if (*at == 'u') {
        *len = 5;
        uint32_t point = 0;
        for (int i = 1; i <= 4; i++) {
            point = (point << 4) | (uint32_t)gv_token_hex(at[i]);
        }
        return point;
    }
    const char *letter = strchr(letters, *at);
    return letter == NULL ? *at : characters[letter - letters];
}

/* Does this raw name, whose escapes have been checked, spell `wanted`? */
static bool spells(struct gv_slice name, const char *wanted)
{
    size_t i = 0;
    for (; i < name.len && *wanted != 0; wanted++) {
        uint32_t point = name.data[i++];
        if (point == '\\') {
            size_t len;
            point = unescape(name.data + i, &len);
            i += len;
        }
        if (point != (uint8_t)*wanted) {
            return false;
        }
    }
    return i == name.len && *wanted == 0;
}

static bool is_replaced(struct gv_slice name, const struct gv_splice_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (spells(name, fields[i].name)) {
            return true;
        }
    }
    return false;
}

static enum gv_err append_fields(const struct gv_splice_field *fields, size_t count,
                                 struct gv_buf *out)
{
    for (size_t i = 0; i < count; i++) {
        enum gv_err err = gv_buf_append_format(out, "%s\"%s\":", i == 0 ? "" : ",", fields[i].name);
        if (err == GV_OK) {
            err = gv_buf_append(out, fields[i].value);
        }
        if (err != GV_OK) {
            return err;
        }
    }
    return GV_OK;
}

/* What has been kept and not yet written, and whether a comma must stand before it. */
struct kept {
    const uint8_t *from; /* NULL: nothing waits */
    const uint8_t *to;
    bool needs_comma;
};

static enum gv_err flush(struct kept *kept, struct gv_buf *out)
{
    if (kept->from == NULL) {
        return GV_OK;
    }
    enum gv_err err = kept->needs_comma ? gv_buf_append(out, gv_slice_of(",", 1)) : GV_OK;
    if (err == GV_OK) {
        err = gv_buf_append(out, gv_slice_of(kept->from, (size_t)(kept->to - kept->from)));
    }
    kept->from = NULL;
    kept->needs_comma = true;
    return err;
}

/* The members of the top-level object, behind its '{'; ends behind its '}'. */
static enum gv_err copy_members(struct walk *walk, const struct gv_splice_field *fields,
                                size_t count, struct gv_buf *out)
{
    struct kept kept = {.needs_comma = count > 0};
    skip_blanks(walk);
    bool more = walk->at < walk->end && *walk->at != '}';
    while (more) {
        skip_blanks(walk);
        const uint8_t *from = walk->at;
        struct gv_slice name;
        if (!skip_name(walk, &name) || !skip_value(walk)) {
            return GV_EINVAL;
        }
        if (is_replaced(name, fields, count)) {
            enum gv_err err = flush(&kept, out);
            if (err != GV_OK) {
                return err;
            }
        } else {
            kept.from = kept.from == NULL ? from : kept.from;
            kept.to = walk->at;
        }
        skip_blanks(walk);
        more = take(walk, ',');
    }
    if (!take(walk, '}')) {
        return GV_EINVAL;
    }
    return flush(&kept, out);
}

static enum gv_err splice(struct walk *walk, const struct gv_splice_field *fields, size_t count,
                          struct gv_buf *out)
{
    skip_blanks(walk);
    if (!take(walk, '{')) {
        return GV_EINVAL;
    }
    enum gv_err err = gv_buf_append(out, gv_slice_of("{", 1));
    if (err == GV_OK) {
        err = append_fields(fields, count, out);
    }
    if (err == GV_OK) {
        err = copy_members(walk, fields, count, out);
    }
    skip_blanks(walk);
    if (err == GV_OK && walk->at != walk->end) {
        err = GV_EINVAL; /* something follows the object */
    }
    return err == GV_OK ? gv_buf_append(out, gv_slice_of("}", 1)) : err;
}

enum gv_err gv_splice(struct gv_slice body, const struct gv_splice_field *fields, size_t count,
                      struct gv_buf *out)
{
    if (body.len == 0) {
        return GV_EINVAL;
    }
    struct walk walk = {.at = body.data, .end = body.data + body.len};
    size_t had = out->len;
    enum gv_err err = splice(&walk, fields, count, out);
    if (err != GV_OK) {
        GV_ASSERT(out->len >= had);
        out->len = had; /* nothing of a failed splice stays */
    }
    return err;
}

bool gv_splice_find(struct gv_slice object, const char *name, struct gv_slice *value)
{
    struct walk walk = {.at = object.data, .end = object.data + object.len};
    skip_blanks(&walk);
    if (object.len == 0 || !take(&walk, '{')) {
        return false;
    }
    skip_blanks(&walk);
    bool found = false;
    bool more = walk.at < walk.end && *walk.at != '}';
    while (more) {
        struct gv_slice at;
        if (!skip_name(&walk, &at)) {
            return false;
        }
        skip_blanks(&walk);
        const uint8_t *from = walk.at;
        if (!skip_value(&walk)) {
            return false;
        }
        if (spells(at, name)) {
            *value = gv_slice_of(from, (size_t)(walk.at - from));
            found = true;
        }
        skip_blanks(&walk);
        more = take(&walk, ',');
    }
    return found && take(&walk, '}');
}

bool gv_splice_next(struct gv_slice *array, struct gv_slice *element)
{
    struct walk walk = {.at = array->data, .end = array->data + array->len};
    skip_blanks(&walk);
    if (array->len == 0 || !(take(&walk, '[') || take(&walk, ','))) {
        return false;
    }
    skip_blanks(&walk);
    const uint8_t *from = walk.at;
    if (walk.at == walk.end || *walk.at == ']' || !skip_value(&walk)) {
        return false;
    }
    *element = gv_slice_of(from, (size_t)(walk.at - from));
    *array = gv_slice_of(walk.at, (size_t)(walk.end - walk.at));
    return true;
}
