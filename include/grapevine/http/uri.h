/*
 * uri.h - a worker's URL in parts, and back. RFC 3986, the little of it we need.
 */
#ifndef GV_HTTP_URI_H
#define GV_HTTP_URI_H

#include "grapevine/base/err.h"
#include "grapevine/base/slice.h"

#define GV_URI_BYTES_MAX 512

struct gv_uri {
    char scheme[8];      /* "http" or "https" */
    char host[256];      /* name or address; IPv6 without brackets; lower case */
    uint16_t port;       /* 80 or 443 when the URL has none */
    char prefix[200];    /* path without trailing slash: "" or "/base" */
    char authority[270]; /* for the Host header: "h", "h:8000", "[::1]:8000" */
    int32_t dp_rank;     /* "http://h:1@3" -> 3; -1 without */
};

/**
 * Parse "http://host[:port][/prefix][@rank]". Errors: GV_EINVAL syntax, user info, query or
 * fragment; GV_EUNSUPPORTED a scheme other than http or https; GV_ETOOBIG.
 */
GV_MUST_USE enum gv_err gv_uri_parse(struct gv_slice text, struct gv_uri *uri);

/** The canonical text, by which a worker is known: lower-case host, explicit port when not the
 * default. */
GV_MUST_USE enum gv_err gv_uri_format(const struct gv_uri *uri, char text[GV_URI_BYTES_MAX]);

#endif
