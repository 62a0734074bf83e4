/*
 * json.cc - the one C++ file: json.h by simdjson's on-demand interface. No exception leaves it;
 * simdjson is compiled without them, and allocates by nothrow new.
 */
#define SIMDJSON_EXCEPTIONS         0
#define SIMDJSON_DEVELOPMENT_CHECKS 0

/* Foreign code, and headers of ours that are C first: neither is built with our C++ warnings. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpedantic"
#if defined(__clang__)
#pragma GCC diagnostic ignored "-Wc++20-designator"
#pragma GCC diagnostic ignored "-Wc99-extensions"
#else
#pragma GCC diagnostic ignored "-Wc++20-extensions"
#endif
#include "http/json.h"
extern "C" {
#include "grapevine/base/mem.h"
}
#include <simdjson.h>
#pragma GCC diagnostic pop

#include <cstring>
#include <new>
#include <string_view>

namespace ondemand = simdjson::ondemand;

namespace
{

/* A reader that has grown beyond this for one huge text gives its memory back. */
constexpr size_t keep_bytes = size_t(8) << 20;
constexpr size_t smallest_bytes = size_t(64) << 10;

bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

gv_slice slice_of(std::string_view text)
{
    while (!text.empty() && is_blank(uint8_t(text.back()))) {
        text.remove_suffix(1);
    }
    return gv_slice_of(text.data(), text.size());
}

ondemand::value &value_of(gv_json_value *value)
{
    return *reinterpret_cast<ondemand::value *>(value);
}

gv_json_value *handle_of(ondemand::value &value)
{
    return reinterpret_cast<gv_json_value *>(&value);
}

enum gv_json_kind kind_of(uint8_t c)
{
    switch (c) {
    case '{':
        return GV_JSON_OBJECT;
    case '[':
        return GV_JSON_ARRAY;
    case '"':
        return GV_JSON_STRING;
    case 't':
    case 'f':
        return GV_JSON_BOOL;
    case 'n':
        return GV_JSON_NULL;
    case '-':
        return GV_JSON_NUMBER;
    default:
        return c >= '0' && c <= '9' ? GV_JSON_NUMBER : GV_JSON_BROKEN;
    }
}

/* The bytes where a value starts, up to the next structural one. */
std::string_view token_of(ondemand::value &value)
{
    return value.raw_json_token();
}

gv_err walk_members(ondemand::object &object, gv_json_member_fn on_member, void *owner)
{
    for (auto field : object) {
        std::string_view name;
        ondemand::value value;
        if (field.unescaped_key().get(name) != simdjson::SUCCESS ||
            field.value().get(value) != simdjson::SUCCESS) {
            return GV_EINVAL;
        }
        gv_err err = on_member(owner, gv_slice_of(name.data(), name.size()), handle_of(value));
        if (err != GV_OK) {
            return err;
        }
    }
    return GV_OK;
}

} // namespace

struct gv_json {
    ondemand::parser parser;
    uint8_t *text = nullptr;       /* owned: the padded copy */
    const uint8_t *base = nullptr; /* of the text being read: `text`, or the caller's */
    size_t room = 0; /* bytes that the parser, and `text` without the padding, can take */
};

static void shrink(gv_json *json)
{
    gv_mem_free(GV_MEM_BUFFER, json->text);
    json->text = nullptr;
    json->room = 0;
    json->parser = ondemand::parser();
}

/* Room for a text of `len` bytes; `copies`: and for its copy. */
static gv_err make_room(gv_json *json, size_t len, bool copies)
{
    if (json->room > keep_bytes && len <= keep_bytes) {
        shrink(json);
    }
    if (len > json->room) {
        size_t room = json->room < smallest_bytes ? smallest_bytes : json->room;
        while (room < len) {
            room *= 2;
        }
        shrink(json);
        if (json->parser.allocate(room) != simdjson::SUCCESS) {
            shrink(json);
            return GV_ENOMEM;
        }
        json->room = room;
    }
    if (copies && json->text == nullptr) {
        json->text = static_cast<uint8_t *>(
            gv_mem_resize(GV_MEM_BUFFER, nullptr, json->room + simdjson::SIMDJSON_PADDING));
    }
    return copies && json->text == nullptr ? GV_ENOMEM : GV_OK;
}

/* Set `base` to the text with padding behind it. */
static gv_err pad(gv_json *json, gv_slice text, size_t spare)
{
    bool copies = spare < simdjson::SIMDJSON_PADDING;
    gv_err err = make_room(json, text.len, copies);
    if (err != GV_OK) {
        return err;
    }
    json->base = text.data;
    if (copies) {
        std::memcpy(json->text, text.data, text.len);
        std::memset(json->text + text.len, 0, simdjson::SIMDJSON_PADDING);
        json->base = json->text;
    }
    return GV_OK;
}

extern "C" {

enum gv_err gv_json_new(struct gv_json **json)
{
    void *memory = gv_mem_new(GV_MEM_BUFFER, sizeof(gv_json));
    if (memory == nullptr) {
        return GV_ENOMEM;
    }
    *json = new (memory) gv_json();
    return GV_OK;
}

void gv_json_free(struct gv_json *json)
{
    if (json != nullptr) {
        shrink(json);
        json->~gv_json();
        gv_mem_free(GV_MEM_BUFFER, json);
    }
}

enum gv_err gv_json_read(struct gv_json *json, struct gv_slice text, size_t spare,
                         gv_json_member_fn on_member, void *owner)
{
    if (text.len == 0) {
        return GV_EINVAL;
    }
    gv_err err = pad(json, text, spare);
    if (err != GV_OK) {
        return err;
    }
    ondemand::document document;
    simdjson::error_code code =
        json->parser.iterate(json->base, text.len, text.len + simdjson::SIMDJSON_PADDING)
            .get(document);
    if (code != simdjson::SUCCESS) {
        return code == simdjson::MEMALLOC ? GV_ENOMEM : GV_EINVAL;
    }
    size_t first = 0;
    while (first < text.len && is_blank(json->base[first])) {
        first += 1;
    }
    if (first == text.len || kind_of(json->base[first]) == GV_JSON_BROKEN) {
        return GV_EINVAL;
    }
    ondemand::object object;
    if (json->base[first] != '{') {
        return GV_EMISMATCH;
    }
    if (document.get_object().get(object) != simdjson::SUCCESS) {
        return GV_EINVAL;
    }
    err = walk_members(object, on_member, owner);
    if (err == GV_OK && document.current_location().error() != simdjson::OUT_OF_BOUNDS) {
        err = GV_EINVAL; /* something follows the object */
    }
    return err;
}

size_t gv_json_offset(const struct gv_json *json, struct gv_slice raw)
{
    return size_t(raw.data - json->base);
}

enum gv_json_kind gv_json_kind(struct gv_json_value *value)
{
    std::string_view token = token_of(value_of(value));
    return token.empty() ? GV_JSON_BROKEN : kind_of(uint8_t(token[0]));
}

enum gv_json_kind gv_json_first_kind(struct gv_json_value *value)
{
    /* the token of an array is its '[' and the blanks behind; the padding ends the text */
    std::string_view token = token_of(value_of(value));
    const uint8_t *at = reinterpret_cast<const uint8_t *>(token.data()) + 1;
    while (is_blank(*at)) {
        at += 1;
    }
    return kind_of(*at);
}

enum gv_err gv_json_members(struct gv_json_value *value, gv_json_member_fn on_member, void *owner)
{
    ondemand::object object;
    if (value_of(value).get_object().get(object) != simdjson::SUCCESS) {
        return GV_EINVAL;
    }
    return walk_members(object, on_member, owner);
}

enum gv_err gv_json_items(struct gv_json_value *value, gv_json_item_fn on_item, void *owner)
{
    ondemand::array array;
    if (value_of(value).get_array().get(array) != simdjson::SUCCESS) {
        return GV_EINVAL;
    }
    for (auto item : array) {
        ondemand::value inner;
        if (item.get(inner) != simdjson::SUCCESS) {
            return GV_EINVAL;
        }
        gv_err err = on_item(owner, handle_of(inner));
        if (err != GV_OK) {
            return err;
        }
    }
    return GV_OK;
}

enum gv_err gv_json_string(struct gv_json_value *value, struct gv_slice *raw)
{
    gv_slice token = slice_of(token_of(value_of(value)));
    if (token.len < 2 || token.data[0] != '"' || token.data[token.len - 1] != '"') {
        return GV_EINVAL;
    }
    *raw = gv_slice_of(token.data + 1, token.len - 2);
    return GV_OK;
}

enum gv_err gv_json_raw(struct gv_json_value *value, struct gv_slice *raw)
{
    std::string_view text;
    ondemand::array array;
    ondemand::object object;
    simdjson::error_code code = simdjson::SUCCESS;
    enum gv_json_kind kind = gv_json_kind(value);
    if (kind == GV_JSON_ARRAY) {
        code = value_of(value).get_array().get(array);
        code = code == simdjson::SUCCESS ? array.raw_json().get(text) : code;
    } else if (kind == GV_JSON_OBJECT) {
        code = value_of(value).get_object().get(object);
        code = code == simdjson::SUCCESS ? object.raw_json().get(text) : code;
    } else {
        text = token_of(value_of(value));
    }
    if (code != simdjson::SUCCESS || kind == GV_JSON_BROKEN) {
        return GV_EINVAL;
    }
    *raw = slice_of(text);
    return GV_OK;
}

enum gv_err gv_json_bool(struct gv_json_value *value, bool *result)
{
    return value_of(value).get_bool().get(*result) == simdjson::SUCCESS ? GV_OK : GV_EINVAL;
}

enum gv_err gv_json_u64(struct gv_json_value *value, uint64_t *result)
{
    return value_of(value).get_uint64().get(*result) == simdjson::SUCCESS ? GV_OK : GV_ERANGE;
}
}
