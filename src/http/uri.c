/*
 * uri.c - "http://host:port/prefix@rank" taken apart and put together.
 */
#include "grapevine/http/uri.h"
#include "grapevine/base/assert.h"
#include "http/authority.h"
#include "http/token.h"
#include <stdio.h>

#define RANK_MAX 65535

static uint16_t default_port(const char *scheme)
{
    return strcmp(scheme, "https") == 0 ? 443 : 80;
}

/* Take "scheme://" off `*text`. */
static enum gv_err take_scheme(struct gv_slice *text, char scheme[8])
{
    size_t len = 0;
    while (len < text->len && gv_token_is_char(text->data[len])) {
        len += 1;
    }
    struct gv_slice name = gv_slice_of(text->data, len);
    if (len == 0 || text->len - len < 3 || memcmp(text->data + len, "://", 3) != 0) {
        return GV_EINVAL;
    }
    if (gv_slice_equal_nocase(name, gv_slice_text("http"))) {
        memcpy(scheme, "http", 5);
    } else if (gv_slice_equal_nocase(name, gv_slice_text("https"))) {
        memcpy(scheme, "https", 6);
    } else {
        return GV_EUNSUPPORTED;
    }
    *text = gv_slice_of(text->data + len + 3, text->len - len - 3);
    return GV_OK;
}

/* Take "@rank" off the end of `*text`. An '@' before anything else is user info: refused. */
static enum gv_err take_rank(struct gv_slice *text, int32_t *rank)
{
    *rank = -1;
    const uint8_t *at = text->len == 0 ? NULL : memchr(text->data, '@', text->len);
    if (at == NULL) {
        return GV_OK;
    }
    size_t len = (size_t)(at - text->data);
    uint64_t value;
    if (!gv_slice_to_u64(gv_slice_of(at + 1, text->len - len - 1), &value) || value > RANK_MAX) {
        return GV_EINVAL;
    }
    *rank = (int32_t)value;
    text->len = len;
    return GV_OK;
}

static enum gv_err copy_prefix(struct gv_slice path, char prefix[200])
{
    while (path.len > 0 && path.data[path.len - 1] == '/') {
        path.len -= 1;
    }
    for (size_t i = 0; i < path.len; i++) {
        if (!gv_token_is_uri_char(path.data[i]) || path.data[i] == '?') {
            return GV_EINVAL;
        }
    }
    return gv_slice_copy_text(path, prefix, 200) ? GV_OK : GV_ETOOBIG;
}

static void write_authority(struct gv_uri *uri, bool is_ipv6)
{
    const char *open = is_ipv6 ? "[" : "";
    const char *shut = is_ipv6 ? "]" : "";
    int len = 0;
    if (uri->port == default_port(uri->scheme)) {
        len = snprintf(uri->authority, sizeof uri->authority, "%s%s%s", open, uri->host, shut);
    } else {
        len = snprintf(uri->authority, sizeof uri->authority, "%s%s%s:%u", open, uri->host, shut,
                       (unsigned)uri->port);
    }
    GV_ASSERT(len > 0 && (size_t)len < sizeof uri->authority);
}

enum gv_err gv_uri_parse(struct gv_slice text, struct gv_uri *uri)
{
    struct gv_uri result = {.dp_rank = -1};
    if (text.len >= GV_URI_BYTES_MAX) {
        return GV_ETOOBIG;
    }
    enum gv_err err = take_scheme(&text, result.scheme);
    if (err == GV_OK) {
        err = take_rank(&text, &result.dp_rank);
    }
    if (err != GV_OK) {
        return err;
    }
    const uint8_t *slash = text.len == 0 ? NULL : memchr(text.data, '/', text.len);
    size_t len = slash == NULL ? text.len : (size_t)(slash - text.data);
    struct gv_authority authority;
    if (!gv_authority_parse(gv_slice_of(text.data, len), &authority)) {
        return GV_EINVAL;
    }
    err = copy_prefix(gv_slice_of(text.data + len, text.len - len), result.prefix);
    if (err != GV_OK) {
        return err;
    }
    for (size_t i = 0; i < authority.host.len; i++) {
        uint8_t c = authority.host.data[i];
        result.host[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    result.port = authority.port == 0 ? default_port(result.scheme) : authority.port;
    write_authority(&result, authority.is_ipv6);
    *uri = result;
    return GV_OK;
}

enum gv_err gv_uri_format(const struct gv_uri *uri, char text[GV_URI_BYTES_MAX])
{
    char rank[16] = "";
    if (uri->dp_rank >= 0) {
        (void)snprintf(rank, sizeof rank, "@%d", (int)uri->dp_rank);
    }
    char whole[GV_URI_BYTES_MAX];
    int len = snprintf(whole, sizeof whole, "%s://%s%s%s", uri->scheme, uri->authority, uri->prefix,
                       rank);
    if (len < 0 || (size_t)len >= sizeof whole) {
        return GV_ETOOBIG;
    }
    memcpy(text, whole, (size_t)len + 1);
    return GV_OK;
}
