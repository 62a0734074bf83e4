/*
 * answer.h - SRV records out of a DNS answer, with their TTL. Pure.
 *
 * c-ares 1.18 reads SRV records but drops the TTL; so we read the message ourselves. The bytes come
 * from the network and are not trusted. Private to net/.
 */
#ifndef GV_NET_ANSWER_H
#define GV_NET_ANSWER_H

#include "grapevine/base/err.h"
#include "grapevine/base/slice.h"

#define GV_SRV_MAX        64  /* records taken of one answer */
#define GV_SRV_NAME_BYTES 256 /* of a target, with its NUL */

struct gv_srv_record {
    uint16_t priority; /* lower first */
    uint16_t weight;   /* higher first among equals */
    uint16_t port;
    char target[GV_SRV_NAME_BYTES];
};

/**
 * Read the SRV records of `message` in the order they are to be tried. A target "." (no such
 * service) is left out. Errors: GV_EPROTO the message is broken; nothing is set.
 */
GV_MUST_USE enum gv_err gv_srv_decode(struct gv_slice message,
                                      struct gv_srv_record records[GV_SRV_MAX], size_t *count,
                                      uint32_t *ttl_s);

#endif
