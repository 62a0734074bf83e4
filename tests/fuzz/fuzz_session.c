/*
 * fuzz_session.c - what a stranger sends to the mesh port: the same events however it was cut, and
 * never a message, since no stranger can sign for this start's ephemeral key.
 */
#include "grapevine/base/assert.h"
#include "grapevine/seal/session.h"

#include <stdio.h>
#include <string.h>

#define MESSAGE_BYTES_MAX 4096
#define PIECES_MAX        24 /* that an input is cut into */
#define KEYRING           "key 9ea90a6f9b50c44e AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= active\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_opened(struct gv_session *session, const struct gv_session_event *event,
                      struct gv_buf *out)
{
    GV_ASSERT(event->bytes.len <= GV_SESSION_HELLO_MAX);
    enum gv_err err = gv_session_accept(session, out);
    GV_ASSERT(err == event->verdict || (event->verdict == GV_OK && err == GV_EAUTH));
    if (err != GV_OK) {
        GV_ASSERT(gv_session_refuse(session, 1, "no", out) == GV_OK);
    }
}

/* Take all events; false when the session has ended. */
static bool drain(struct gv_session *session, struct gv_buf *out, struct gv_buf *trace)
{
    struct gv_session_event event;
    do {
        enum gv_err err = gv_session_next(session, &event);
        GV_ASSERT(event.type != GV_SESSION_MESSAGE && event.type != GV_SESSION_ESTABLISHED);
        if (err != GV_OK) {
            GV_ASSERT(gv_buf_append_format(trace, "%s;", gv_err_name(err)) == GV_OK);
            return false;
        }
        if (event.type != GV_SESSION_NONE) {
            GV_ASSERT(gv_buf_append_format(trace, "%d %s %u ", (int)event.type,
                                           gv_err_name(event.verdict), event.code) == GV_OK);
            GV_ASSERT(gv_buf_append(trace, event.bytes) == GV_OK);
        }
        if (event.type == GV_SESSION_OPENED) {
            on_opened(session, &event, out);
        }
    } while (event.type != GV_SESSION_NONE);
    return true;
}

static void listen_to(struct gv_slice bytes, size_t step, const struct gv_keyring *ring,
                      const struct gv_identity *identity, struct gv_buf *trace)
{
    struct gv_session *session = NULL;
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_GENERAL, 1 << 16);
    gv_buf_init(trace, GV_MEM_GENERAL, 1 << 20);
    GV_ASSERT(gv_session_new((struct gv_session_options){.role = GV_SESSION_ACCEPTOR,
                                                         .ring = ring,
                                                         .identity = identity,
                                                         .hello = gv_slice_text("me"),
                                                         .max_message_bytes = MESSAGE_BYTES_MAX},
                             &out, &session) == GV_OK);
    for (size_t at = 0; at < bytes.len; at += step) {
        size_t take = step < bytes.len - at ? step : bytes.len - at;
        GV_ASSERT(gv_session_feed(session, gv_slice_of(bytes.data + at, take)) == GV_OK);
        if (!drain(session, &out, trace)) {
            break;
        }
    }
    gv_session_free(session);
    gv_buf_deinit(&out);
}

/* Whole and cut; true: it got as far as an opening, before which no key matters. */
static bool try_as(struct gv_slice bytes, const struct gv_keyring *ring,
                   const struct gv_identity *identity)
{
    struct gv_buf whole;
    struct gv_buf cut;
    size_t step = bytes.len == 0 ? 1 : 1u + bytes.data[0] % 7u;
    if (step < bytes.len / PIECES_MAX) {
        step = bytes.len / PIECES_MAX; /* every frame's head is cut somewhere, in some input */
    }
    listen_to(bytes, bytes.len == 0 ? 1 : bytes.len, ring, identity, &whole);
    listen_to(bytes, step, ring, identity, &cut);
    GV_ASSERT(gv_slice_equal(gv_buf_slice(&whole), gv_buf_slice(&cut)));
    char opened[16];
    (void)snprintf(opened, sizeof opened, "%d ", (int)GV_SESSION_OPENED);
    bool is_opened = whole.len > strlen(opened) && memcmp(whole.data, opened, strlen(opened)) == 0;
    gv_buf_deinit(&whole);
    gv_buf_deinit(&cut);
    return is_opened;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gv_keyring *ring;
    static struct gv_identity *identity;
    struct gv_keyring_fault fault;
    if (identity == NULL) {
        identity = gv_identity_new();
        GV_ASSERT(identity != NULL);
        GV_ASSERT(gv_keyring_parse(gv_slice_text(KEYRING), &ring, &fault) == GV_OK);
    }
    if (size > GV_SESSION_FEED_MAX) {
        return 0;
    }
    struct gv_slice bytes = gv_slice_of(data, size);
    if (try_as(bytes, ring, identity)) {
        (void)try_as(bytes, NULL, identity);
    }
    return 0;
}
