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
    char trouble[256];   /* what `err` does not say; "" */
};

/* How to ask: the same for all. */
struct fetch_manner {
    const char *api_key; /* NULL: none */
    const char *ca;      /* https: PEM of who vouches for the nodes; NULL: the system's */
    const char *cert;    /* https: our certificate; NULL: none */
    const char *key;     /* https: its key */
    uint64_t timeout_ms; /* for all of them */
};

/** Carry out `count` requests side by side. */
void fetch_all(struct fetch *fetches, size_t count, const struct fetch_manner *manner);

void fetch_deinit(struct fetch *fetch);

#endif
