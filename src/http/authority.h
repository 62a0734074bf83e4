/*
 * authority.h - host and port, as in a Host header or a URL. RFC 3986, 3.2, less user info, empty
 * hosts, empty ports, port 0, zones and commas.
 *
 * Private to http. Pure; any thread.
 */
#ifndef GV_HTTP_AUTHORITY_H
#define GV_HTTP_AUTHORITY_H

#include "grapevine/base/slice.h"

struct gv_authority {
    struct gv_slice host; /* borrowed from the text; IPv6 without brackets */
    uint16_t port;        /* 0: none was given */
    bool is_ipv6;
};

/** Split `text`. false when it is no host[:port]. */
bool gv_authority_parse(struct gv_slice text, struct gv_authority *authority);

#endif
