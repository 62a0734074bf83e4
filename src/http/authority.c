/*
 * authority.c - host[:port] and [v6][:port].
 */
#include "http/authority.h"
#include "http/token.h"

#define HOST_BYTES_MAX  255
#define PORT_DIGITS_MAX 5

static bool is_name(struct gv_slice host)
{
    for (size_t i = 0; i < host.len; i++) {
        uint8_t c = host.data[i];
        uint8_t lower = c | 0x20;
        bool ok = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
                  c == '-' || c == '_' || c == '~';
        if (!ok) {
            return false;
        }
    }
    return host.len > 0 && host.len <= HOST_BYTES_MAX;
}

static bool is_v6(struct gv_slice host)
{
    size_t colons = 0;
    for (size_t i = 0; i < host.len; i++) {
        if (host.data[i] == ':') {
            colons += 1;
        } else if (host.data[i] != '.' && gv_token_hex(host.data[i]) < 0) {
            return false;
        }
    }
    return colons >= 2 && colons <= 7 && host.len <= 45; /* the longest text of an address */
}

static bool parse_port(struct gv_slice text, uint16_t *port)
{
    uint64_t value;
    if (text.len > PORT_DIGITS_MAX || !gv_slice_to_u64(text, &value) || value == 0 ||
        value > UINT16_MAX) {
        return false;
    }
    *port = (uint16_t)value;
    return true;
}

bool gv_authority_parse(struct gv_slice text, struct gv_authority *authority)
{
    struct gv_authority result = {0};
    const uint8_t *end;
    if (text.len > 0 && text.data[0] == '[') {
        end = memchr(text.data, ']', text.len);
        if (end == NULL) {
            return false;
        }
        result.host = gv_slice_of(text.data + 1, (size_t)(end - text.data) - 1);
        result.is_ipv6 = true;
        end += 1;
    } else {
        end = text.len == 0 ? NULL : memchr(text.data, ':', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data);
        result.host = gv_slice_of(text.data, len);
        end = text.data + len;
    }
    if (!(result.is_ipv6 ? is_v6(result.host) : is_name(result.host))) {
        return false;
    }
    size_t rest = text.len - (size_t)(end - text.data);
    if (rest > 0 && (end[0] != ':' || !parse_port(gv_slice_of(end + 1, rest - 1), &result.port))) {
        return false;
    }
    *authority = result;
    return true;
}
