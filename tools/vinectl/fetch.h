/*
 * fetch.h - several small HTTP requests at once, and wait for all of them.
 */
#ifndef GV_VINECTL_FETCH_H
#define GV_VINECTL_FETCH_H

#include "grapevine/base/buf.h"
#include "grapevine/base/err.h"

struct fetch {
    const char *url;      /* borrowed: of the node, "http://host:port" */
    const char *path;     /* borrowed: "/grapevine/v1/status" */
    struct gv_slice body; /* borrowed; data NULL: GET, else POST */
    const char *method;   /* static: another one; NULL: as the body says */
    /* the result */
    enum gv_err err;     /* GV_OK: an answer came */
    uint16_t status;     /* of the answer */
    struct gv_buf reply; /* owned; fetch_deinit() */
};

/** Carry out `count` requests side by side within `timeout_ms`; `api_key` may be NULL. */
void fetch_all(struct fetch *fetches, size_t count, uint64_t timeout_ms, const char *api_key);

void fetch_deinit(struct fetch *fetch);

#endif
