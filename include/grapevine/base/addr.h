/*
 * addr.h - an IP address and a port, as a value. No lookups happen here.
 */
#ifndef GV_BASE_ADDR_H
#define GV_BASE_ADDR_H

#include "grapevine/base/err.h"
#include "grapevine/base/slice.h"

#define GV_ADDR_TEXT_BYTES 56 /* "[...39...]:65535" and a NUL */

struct gv_addr {
    uint8_t family; /* 4, 6, or 0: unset */
    uint8_t ip[16]; /* network order; 4 bytes used for family 4 */
    uint16_t port;  /* host order */
};

/**
 * Read "1.2.3.4:80", "[::1]:80", or with `default_port` > 0 also the bare address.
 * Errors: GV_EINVAL not a numeric address, or no port and no default.
 */
GV_MUST_USE enum gv_err gv_addr_parse(struct gv_slice text, uint16_t default_port,
                                      struct gv_addr *addr);

/** Write "1.2.3.4:80" or "[::1]:80" into `text`; returns `text`. "-" when unset. */
const char *gv_addr_format(const struct gv_addr *addr, char text[GV_ADDR_TEXT_BYTES]);

/** Same family, address and port. */
bool gv_addr_equal(const struct gv_addr *a, const struct gv_addr *b);

/** 127.0.0.0/8 or ::1. */
bool gv_addr_is_loopback(const struct gv_addr *addr);

/** 0.0.0.0 or ::, or unset. */
bool gv_addr_is_unspecified(const struct gv_addr *addr);

#endif
