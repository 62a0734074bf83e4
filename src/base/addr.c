/*
 * addr.c - addresses from text and back.
 */
#include "grapevine/base/addr.h"
#include <arpa/inet.h>
#include <stdio.h>

static bool read_port(struct gv_slice text, uint16_t *port)
{
    uint64_t number;
    if (text.len > 5 || !gv_slice_to_u64(text, &number) || number > UINT16_MAX) {
        return false;
    }
    *port = (uint16_t)number;
    return true;
}

static bool read_ip(struct gv_slice text, int family, struct gv_addr *addr)
{
    char copy[INET6_ADDRSTRLEN];
    if (memchr(text.data, '\0', text.len) != NULL || !gv_slice_copy_text(text, copy, sizeof copy)) {
        return false;
    }
    addr->family = family == AF_INET ? 4 : 6;
    return inet_pton(family, copy, addr->ip) == 1;
}

static struct gv_slice from(struct gv_slice text, size_t start)
{
    return gv_slice_of(text.data + start, text.len - start);
}

/* "[ip]" or "[ip]:port"; `text` begins with the bracket. */
static bool read_bracketed(struct gv_slice text, struct gv_addr *addr)
{
    const uint8_t *end = memchr(text.data, ']', text.len);
    if (end == NULL) {
        return false;
    }
    size_t at = (size_t)(end - text.data);
    if (!read_ip(gv_slice_of(text.data + 1, at - 1), AF_INET6, addr)) {
        return false;
    }
    struct gv_slice rest = from(text, at + 1);
    if (rest.len == 0) {
        return addr->port != 0;
    }
    return rest.data[0] == ':' && read_port(from(rest, 1), &addr->port);
}

static bool read_plain(struct gv_slice text, struct gv_addr *addr)
{
    const uint8_t *colon = memchr(text.data, ':', text.len);
    if (colon == NULL) {
        return addr->port != 0 && read_ip(text, AF_INET, addr);
    }
    size_t at = (size_t)(colon - text.data);
    struct gv_slice rest = from(text, at + 1);
    if (rest.len > 0 && memchr(rest.data, ':', rest.len) != NULL) {
        return addr->port != 0 && read_ip(text, AF_INET6, addr);
    }
    return read_ip(gv_slice_of(text.data, at), AF_INET, addr) && read_port(rest, &addr->port);
}

enum gv_err gv_addr_parse(struct gv_slice text, uint16_t default_port, struct gv_addr *addr)
{
    struct gv_addr read = {.port = default_port};
    if (text.len == 0) {
        return GV_EINVAL;
    }
    bool ok = text.data[0] == '[' ? read_bracketed(text, &read) : read_plain(text, &read);
    if (!ok) {
        return GV_EINVAL;
    }
    *addr = read;
    return GV_OK;
}

const char *gv_addr_format(const struct gv_addr *addr, char text[GV_ADDR_TEXT_BYTES])
{
    char ip[INET6_ADDRSTRLEN] = "";
    if (addr->family == 4 && inet_ntop(AF_INET, addr->ip, ip, sizeof ip) != NULL) {
        (void)snprintf(text, GV_ADDR_TEXT_BYTES, "%s:%u", ip, (unsigned)addr->port);
    } else if (addr->family == 6 && inet_ntop(AF_INET6, addr->ip, ip, sizeof ip) != NULL) {
        (void)snprintf(text, GV_ADDR_TEXT_BYTES, "[%s]:%u", ip, (unsigned)addr->port);
    } else {
        (void)snprintf(text, GV_ADDR_TEXT_BYTES, "-");
    }
    return text;
}

static size_t ip_bytes(const struct gv_addr *addr)
{
    return addr->family == 4 ? 4 : addr->family == 6 ? 16 : 0;
}

bool gv_addr_equal(const struct gv_addr *a, const struct gv_addr *b)
{
    return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, ip_bytes(a)) == 0;
}

bool gv_addr_is_loopback(const struct gv_addr *addr)
{
    static const uint8_t one[16] = {[15] = 1};
    if (addr->family == 4) {
        return addr->ip[0] == 127;
    }
    return addr->family == 6 && memcmp(addr->ip, one, sizeof one) == 0;
}

bool gv_addr_is_unspecified(const struct gv_addr *addr)
{
    static const uint8_t zero[16] = {0};
    return memcmp(addr->ip, zero, ip_bytes(addr)) == 0;
}
