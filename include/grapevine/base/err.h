/*
 * err.h - the world's trouble, as one list of codes.
 *
 * A function that can fail returns enum gv_err; GV_OK is 0; results go out through the last
 * parameters and are untouched on failure. Our own mistakes are assertions (assert.h), and a peer's
 * nonsense is one of these codes plus a counter. No text travels: words for people are made at the
 * edge (http/problem.c, vinectl) from the code plus context.
 */
#ifndef GV_BASE_ERR_H
#define GV_BASE_ERR_H

#if defined(__GNUC__)
#define GV_MUST_USE                   __attribute__((warn_unused_result))
#define GV_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#define GV_NORETURN                   __attribute__((noreturn))
#else
#define GV_MUST_USE
#define GV_PRINTF(format_at, args_at)
#define GV_NORETURN
#endif

#define GV_ERR_LIST(X)                                                                             \
    X(OK, "ok")                                                                                    \
    X(EINVAL, "invalid argument or input")                                                         \
    X(ERANGE, "value out of its range")                                                            \
    X(ENOMEM, "out of memory")                                                                     \
    X(EFULL, "a limit is reached")                                                                 \
    X(ETOOBIG, "larger than its limit")                                                            \
    X(ENOTFOUND, "not found")                                                                      \
    X(EEXISTS, "exists already")                                                                   \
    X(EREFUSED, "refused")                                                                         \
    X(ECLOSED, "closed")                                                                           \
    X(ETIMEOUT, "timed out")                                                                       \
    X(EPROTO, "the peer broke the protocol")                                                       \
    X(EAUTH, "not authenticated")                                                                  \
    X(EMISMATCH, "the two sides disagree")                                                         \
    X(EIO, "input or output failed")                                                               \
    X(EAGAIN, "not now, try later")                                                                \
    X(ECANCELED, "canceled")                                                                       \
    X(EUNSUPPORTED, "not supported")                                                               \
    X(ESTALE, "older than what is known")

enum gv_err {
#define GV_ERR_ENUM(name, text) GV_##name,
    GV_ERR_LIST(GV_ERR_ENUM)
#undef GV_ERR_ENUM
    GV_ERR_COUNT
};

/** "GV_EINVAL" for GV_EINVAL; "GV_E?" for a number that is no code. Static storage. */
const char *gv_err_name(enum gv_err err);

/** The short English text of a code, for logs. Static storage. */
const char *gv_err_text(enum gv_err err);

#endif
