/*
 * guard.h - the strict reader in front of llhttp.
 *
 * It cuts the bytes of one message into head, body data and the lines between, looks at every byte
 * that is not body data, and says which bytes llhttp may see. It is written because the packaged
 * llhttp takes folded headers, bare CR and LF, HTTP/0.9, no Host or two, and has no limits.
 *
 *     START -> HEAD -> (the parser reads the head, then says how the body is framed)
 *     LENGTH ----------------------------------------------------------------> END
 *     CHUNK_SIZE -> [EXTENSION] -> DATA -> DATA_CR -> DATA_LF -> CHUNK_SIZE ...
 *         size 0 -> TRAILERS ------------------------------------------------> END
 *     UNTIL_CLOSE (never ends by itself)
 *
 * The head is copied into the guard's buffer; body data is stepped over in whole spans, never
 * looked at. Works the same however the input is cut. Private to http: the parser drives it. Pure.
 */
#ifndef GV_HTTP_GUARD_H
#define GV_HTTP_GUARD_H

#include "grapevine/http/parser.h"

enum gv_guard_state {
    GV_GUARD_START = 0,
    GV_GUARD_START_LF, /* one blank line before a request is forgiven */
    GV_GUARD_HEAD,
    GV_GUARD_HEAD_DONE, /* waits for gv_guard_begin_body() */
    GV_GUARD_LENGTH,
    GV_GUARD_UNTIL_CLOSE,
    GV_GUARD_CHUNK_SIZE,
    GV_GUARD_CHUNK_EXTENSION,
    GV_GUARD_CHUNK_LF,
    GV_GUARD_DATA,
    GV_GUARD_DATA_CR,
    GV_GUARD_DATA_LF,
    GV_GUARD_TRAILER_START,
    GV_GUARD_TRAILER_NAME,
    GV_GUARD_TRAILER_VALUE,
    GV_GUARD_TRAILER_LF,
    GV_GUARD_TRAILERS_LF,
    GV_GUARD_END
};

enum gv_guard_kind {
    GV_GUARD_HIDE = 0, /* taken; llhttp must not see them */
    GV_GUARD_SHOW      /* taken; llhttp sees them */
};

struct gv_guard {
    struct gv_parser_limits limits;
    enum gv_parser_kind kind;
    enum gv_guard_state state;
    struct gv_buf text;        /* owned: the head, line by line */
    size_t line_at;            /* where the unfinished line starts in `text` */
    struct gv_head line;       /* what the first line said */
    struct gv_header *headers; /* owned: of the lines seen; NULL until a head has one */
    uint32_t header_room;      /* at most limits.header_count, rounded up */
    uint32_t header_count;     /* header lines seen */
    bool blank_line_used;      /* the forgiven one */
    uint8_t size_digits;       /* of the current chunk size line */
    uint64_t left_bytes;       /* of LENGTH or DATA */
    uint64_t body_bytes;       /* announced so far */
    size_t extension_bytes;    /* this message */
    size_t trailer_bytes;      /* this message */
    enum gv_problem problem;   /* after an error */
};

void gv_guard_init(struct gv_guard *guard, enum gv_parser_kind kind,
                   struct gv_parser_limits limits);
void gv_guard_deinit(struct gv_guard *guard);

/** Be ready for the next message; keeps the memory. */
void gv_guard_reset(struct gv_guard *guard);

/**
 * Take some of `bytes` (len > 0): `*taken` bytes, all of them to be treated as `*kind` says. Stops
 * by itself at HEAD_DONE and END. Errors: as gv_parser_feed(); then guard->problem says why.
 */
GV_MUST_USE enum gv_err gv_guard_step(struct gv_guard *guard, struct gv_slice bytes, size_t *taken,
                                      enum gv_guard_kind *kind);

/** In HEAD_DONE: fill `head` with the first line and the headers. Borrowed from the guard until the
 * next message. */
void gv_guard_fill_head(const struct gv_guard *guard, struct gv_head *head);

/** In HEAD_DONE: the body is LENGTH (`bytes`), CHUNK_SIZE, UNTIL_CLOSE, or none (END). Errors:
 * GV_ETOOBIG. */
GV_MUST_USE enum gv_err gv_guard_begin_body(struct gv_guard *guard, enum gv_guard_state framing,
                                            uint64_t bytes);

/** Set guard->problem; the error that belongs to it. */
enum gv_err gv_guard_refuse(struct gv_guard *guard, enum gv_problem problem);

#endif
