/*
 * session.c - frames in and out, and the order in which they may come.
 *
 *     frame: length 4 (of what follows) | type 1 | body
 */
#include "grapevine/seal/session.h"
#include "grapevine/base/sm.h"
#include "handshake.h"

#define FRAME_HEAD       5 /* length and type */
#define STREAM_TAG_BYTES crypto_secretstream_xchacha20poly1305_ABYTES
#define HANDSHAKE_MAX                                                                              \
    (1 + GV_OPENING_MAX_BYTES) /* type and body of any frame before ESTABLISHED                    \
                                */

_Static_assert(GV_SESSION_FRAME_OVERHEAD == FRAME_HEAD + STREAM_TAG_BYTES, "as promised");

enum frame_type {
    FRAME_OPENING = 1,
    FRAME_REFUSED = 2,
    FRAME_CONFIRM = 3,
    FRAME_MESSAGE = 4
};

enum state {
    OPENING = 0,
    JUDGING,
    CONFIRMING,
    ESTABLISHED,
    ENDED
};

static const struct gv_sm_state states[] = {
    [OPENING] = {"OPENING", GV_SM_TO(JUDGING) | GV_SM_TO(ENDED)},
    [JUDGING] = {"JUDGING", GV_SM_TO(CONFIRMING) | GV_SM_TO(ENDED)},
    [CONFIRMING] = {"CONFIRMING", GV_SM_TO(ESTABLISHED) | GV_SM_TO(ENDED)},
    [ESTABLISHED] = {"ESTABLISHED", GV_SM_TO(ENDED)},
    [ENDED] = {"ENDED", 0},
};

struct gv_session {
    struct gv_buf in;                   /* owned; bytes not yet used */
    struct gv_buf plain;                /* owned; the message handed out last */
    struct gv_buf own_opening;          /* owned; for the transcript, until accepted */
    const struct gv_keyring *ring;      /* borrowed */
    const struct gv_identity *identity; /* borrowed */
    struct gv_sm sm;
    enum gv_session_role role;
    size_t max_message_bytes;
    size_t used; /* bytes of `in` lent to the caller by the last event */
    bool is_keyed;
    struct gv_key_id own_key; /* our active key */
    struct gv_key_id key;     /* agreed on; zeros until then */
    enum gv_err verdict;      /* of the peer's opening */
    struct gv_session_peer peer;
    uint8_t own_ephemeral[crypto_scalarmult_BYTES];
    uint8_t own_secret[crypto_scalarmult_SCALARBYTES];
    uint8_t peer_ephemeral[crypto_scalarmult_BYTES];
    struct gv_session_keys keys;
    crypto_secretstream_xchacha20poly1305_state push;
    crypto_secretstream_xchacha20poly1305_state pull;
};

static enum gv_session_role other(enum gv_session_role role)
{
    return role == GV_SESSION_INITIATOR ? GV_SESSION_ACCEPTOR : GV_SESSION_INITIATOR;
}

static enum gv_err end(struct gv_session *session, enum gv_err err)
{
    gv_sm_move(&session->sm, ENDED);
    return err;
}

static void write_frame_head(uint8_t *where, enum frame_type type, size_t body_len)
{
    gv_seal_put_u32(where, (uint32_t)(body_len + 1));
    where[4] = (uint8_t)type;
}

static enum gv_err append_frame(struct gv_buf *out, enum frame_type type, struct gv_slice body)
{
    uint8_t *where;
    enum gv_err err = gv_buf_reserve(out, FRAME_HEAD + body.len, &where);
    if (err != GV_OK) {
        return err;
    }
    write_frame_head(where, type, body.len);
    if (body.len > 0) {
        memcpy(where + FRAME_HEAD, body.data, body.len);
    }
    gv_buf_commit(out, FRAME_HEAD + body.len);
    return GV_OK;
}

/* Our opening: the active key first, then the others, so that a rotation can go on. */
static enum gv_err make_opening(struct gv_session *session, struct gv_slice hello)
{
    struct gv_opening opening = {
        .version = GV_SESSION_VERSION, .role = session->role, .hello = hello};
    if (session->is_keyed) {
        opening.keys[0] = session->own_key;
        opening.key_count = 1;
    }
    for (size_t i = 0; i < gv_keyring_count(session->ring); i++) {
        struct gv_key_id id = gv_keyring_id(session->ring, i);
        if (!gv_key_id_equal(id, session->own_key)) {
            opening.keys[opening.key_count] = id;
            opening.key_count += 1;
        }
    }
    memcpy(opening.ephemeral, session->own_ephemeral, sizeof opening.ephemeral);
    memcpy(opening.identity, gv_identity_public(session->identity), sizeof opening.identity);
    return gv_opening_encode(&opening, &session->own_opening);
}

static enum gv_err begin(struct gv_session *session, struct gv_slice hello, struct gv_buf *out)
{
    randombytes_buf(session->own_secret, sizeof session->own_secret);
    GV_ASSERT(crypto_scalarmult_base(session->own_ephemeral, session->own_secret) == 0);
    enum gv_err err = make_opening(session, hello);
    if (err != GV_OK) {
        return err;
    }
    return append_frame(out, FRAME_OPENING, gv_buf_slice(&session->own_opening));
}

enum gv_err gv_session_new(struct gv_session_options options, struct gv_buf *out,
                           struct gv_session **session)
{
    GV_ASSERT(options.identity != NULL);
    GV_ASSERT(options.max_message_bytes >= 1 && options.max_message_bytes <= UINT32_MAX / 2);
    gv_seal_ready();
    if (options.hello.len > GV_SESSION_HELLO_MAX) {
        return GV_ETOOBIG;
    }
    struct gv_session *made = gv_mem_new(GV_MEM_GOSSIP, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    size_t message_max = options.max_message_bytes + GV_SESSION_FRAME_OVERHEAD;
    size_t frame_max = message_max > HANDSHAKE_MAX + 4 ? message_max : HANDSHAKE_MAX + 4;
    gv_buf_init(&made->in, GV_MEM_GOSSIP, frame_max + GV_SESSION_FEED_MAX);
    gv_buf_init(&made->plain, GV_MEM_GOSSIP, options.max_message_bytes);
    gv_buf_init(&made->own_opening, GV_MEM_GOSSIP, GV_OPENING_MAX_BYTES);
    made->role = options.role;
    made->ring = options.ring;
    made->identity = options.identity;
    made->max_message_bytes = options.max_message_bytes;
    made->is_keyed = gv_keyring_count(options.ring) > 0;
    made->own_key = gv_keyring_active(options.ring);
    gv_sm_init(&made->sm, "session", states, OPENING, 0);
    enum gv_err err = begin(made, options.hello, out);
    if (err != GV_OK) {
        gv_session_free(made);
        return err;
    }
    *session = made;
    return GV_OK;
}

static void wipe_buf(struct gv_buf *buf)
{
    if (buf->data != NULL) {
        sodium_memzero(buf->data, buf->room);
    }
    gv_buf_deinit(buf);
}

void gv_session_free(struct gv_session *session)
{
    if (session == NULL) {
        return;
    }
    wipe_buf(&session->in);
    wipe_buf(&session->plain);
    wipe_buf(&session->own_opening);
    sodium_memzero(session, sizeof *session);
    gv_mem_free(GV_MEM_GOSSIP, session);
}

/* Give back what the last event lent. */
static void settle(struct gv_session *session)
{
    gv_buf_consume(&session->in, session->used);
    session->used = 0;
    gv_buf_clear(&session->plain);
}

enum gv_err gv_session_feed(struct gv_session *session, struct gv_slice bytes)
{
    if (session->sm.state == ENDED) {
        return GV_ECLOSED;
    }
    if (bytes.len > GV_SESSION_FEED_MAX) {
        return GV_ETOOBIG;
    }
    settle(session);
    return gv_buf_append(&session->in, bytes);
}

/* How long a frame may be, type included, in the present state. */
static size_t frame_limit(const struct gv_session *session)
{
    if (session->sm.state != ESTABLISHED) {
        return HANDSHAKE_MAX;
    }
    return 1 + session->max_message_bytes + (session->is_keyed ? STREAM_TAG_BYTES : 0);
}

static bool peer_has(const struct gv_opening *opening, struct gv_key_id id)
{
    for (size_t i = 0; i < opening->key_count; i++) {
        if (gv_key_id_equal(opening->keys[i], id)) {
            return true;
        }
    }
    return false;
}

/* The key that both sides pick from the same two lists; see session.h. */
static bool pick_key(const struct gv_session *session, const struct gv_opening *theirs,
                     struct gv_key_id *key)
{
    bool we_began = session->role == GV_SESSION_INITIATOR;
    struct gv_key_id first = we_began ? session->own_key : theirs->keys[0];
    struct gv_key_id second = we_began ? theirs->keys[0] : session->own_key;
    if (gv_keyring_has(session->ring, first) && peer_has(theirs, first)) {
        *key = first;
        return true;
    }
    if (gv_keyring_has(session->ring, second) && peer_has(theirs, second)) {
        *key = second;
        return true;
    }
    bool found = false;
    for (size_t i = 0; i < theirs->key_count; i++) {
        struct gv_key_id id = theirs->keys[i];
        if (gv_keyring_has(session->ring, id) &&
            (!found || memcmp(id.bytes, key->bytes, sizeof id.bytes) < 0)) {
            *key = id;
            found = true;
        }
    }
    return found;
}

static enum gv_err judge(struct gv_session *session, const struct gv_opening *theirs)
{
    if (theirs->version != GV_SESSION_VERSION || (theirs->key_count > 0) != session->is_keyed) {
        return GV_EMISMATCH;
    }
    if (session->is_keyed && !pick_key(session, theirs, &session->key)) {
        return GV_EMISMATCH;
    }
    return GV_OK;
}

static enum gv_err on_opening(struct gv_session *session, struct gv_slice body,
                              struct gv_session_event *event)
{
    struct gv_opening theirs;
    enum gv_err err = gv_opening_decode(body, &theirs);
    if (err != GV_OK) {
        return end(session, err);
    }
    bool is_readable = theirs.version == GV_SESSION_VERSION;
    if (is_readable &&
        (theirs.role != other(session->role) ||
         memcmp(theirs.ephemeral, session->own_ephemeral, sizeof theirs.ephemeral) == 0)) {
        return end(session, GV_EPROTO); /* two initiators, or our own opening come back */
    }
    session->peer.version = theirs.version;
    session->peer.key = theirs.keys[0]; /* zeros when there is none */
    session->peer.has_our_key = peer_has(&theirs, session->own_key);
    memcpy(session->peer.identity, theirs.identity, sizeof theirs.identity);
    memcpy(session->peer_ephemeral, theirs.ephemeral, sizeof theirs.ephemeral);
    session->verdict = judge(session, &theirs);
    if (session->verdict == GV_OK) {
        struct gv_slice own = gv_buf_slice(&session->own_opening);
        bool we_began = session->role == GV_SESSION_INITIATOR;
        gv_handshake_transcript(we_began ? own : body, we_began ? body : own,
                                session->keys.transcript);
    }
    gv_sm_move(&session->sm, JUDGING);
    *event = (struct gv_session_event){
        .type = GV_SESSION_OPENED, .verdict = session->verdict, .bytes = theirs.hello};
    return GV_OK;
}

static enum gv_err on_confirm(struct gv_session *session, struct gv_slice body,
                              struct gv_session_event *event)
{
    uint8_t header[crypto_secretstream_xchacha20poly1305_HEADERBYTES];
    enum gv_session_role peer_role = other(session->role);
    enum gv_err err = gv_confirm_decode(&session->keys, peer_role, session->peer.identity, body,
                                        session->is_keyed ? header : NULL);
    if (err != GV_OK) {
        return end(session, err);
    }
    if (session->is_keyed) {
        GV_ASSERT(crypto_secretstream_xchacha20poly1305_init_pull(
                      &session->pull, header, session->keys.stream[peer_role]) == 0);
    }
    sodium_memzero(&session->keys, sizeof session->keys);
    gv_sm_move(&session->sm, ESTABLISHED);
    *event = (struct gv_session_event){.type = GV_SESSION_ESTABLISHED};
    return GV_OK;
}

/* Code and text; only printable ASCII reaches the caller's log. */
static enum gv_err on_refused(struct gv_session *session, struct gv_slice body,
                              struct gv_session_event *event)
{
    if (body.len < 4) {
        return end(session, GV_EPROTO);
    }
    size_t len = body.len - 4;
    if (len > GV_SESSION_TEXT_MAX - 1) {
        len = GV_SESSION_TEXT_MAX - 1;
    }
    uint8_t text[GV_SESSION_TEXT_MAX];
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = body.data[4 + i];
        text[i] = byte >= 0x20 && byte < 0x7f ? byte : '?';
    }
    gv_buf_reset(&session->plain);
    gv_buf_init(&session->plain, GV_MEM_GOSSIP, GV_SESSION_TEXT_MAX);
    enum gv_err err = gv_buf_append(&session->plain, gv_slice_of(text, len));
    if (err != GV_OK) {
        return end(session, err);
    }
    *event = (struct gv_session_event){.type = GV_SESSION_REFUSED,
                                       .bytes = gv_buf_slice(&session->plain),
                                       .code = gv_seal_get_u32(body.data)};
    return end(session, GV_OK);
}

static enum gv_err on_message(struct gv_session *session, const uint8_t *frame_head,
                              struct gv_slice body, struct gv_session_event *event)
{
    if (!session->is_keyed) {
        *event = (struct gv_session_event){.type = GV_SESSION_MESSAGE, .bytes = body};
        return GV_OK;
    }
    if (body.len < STREAM_TAG_BYTES) {
        return end(session, GV_EPROTO);
    }
    uint8_t *where;
    size_t len = body.len - STREAM_TAG_BYTES;
    enum gv_err err = gv_buf_reserve(&session->plain, len, &where);
    if (err != GV_OK) {
        return end(session, err);
    }
    unsigned char tag;
    if (crypto_secretstream_xchacha20poly1305_pull(&session->pull, where, NULL, &tag, body.data,
                                                   body.len, frame_head, FRAME_HEAD) != 0 ||
        tag != crypto_secretstream_xchacha20poly1305_TAG_MESSAGE) {
        return end(session, GV_EAUTH);
    }
    gv_buf_commit(&session->plain, len);
    *event = (struct gv_session_event){.type = GV_SESSION_MESSAGE,
                                       .bytes = gv_buf_slice(&session->plain)};
    return GV_OK;
}

/* One whole frame; which types may come is decided by the state. */
static enum gv_err on_frame(struct gv_session *session, const uint8_t *frame, size_t body_len,
                            struct gv_session_event *event)
{
    struct gv_slice body = gv_slice_of(frame + FRAME_HEAD, body_len);
    unsigned type = frame[4];
    switch ((enum state)session->sm.state) {
    case OPENING:
        return type == FRAME_OPENING ? on_opening(session, body, event) : end(session, GV_EPROTO);
    case CONFIRMING:
        if (type == FRAME_REFUSED) {
            return on_refused(session, body, event);
        }
        return type == FRAME_CONFIRM ? on_confirm(session, body, event) : end(session, GV_EPROTO);
    case ESTABLISHED:
        return type == FRAME_MESSAGE ? on_message(session, frame, body, event)
                                     : end(session, GV_EPROTO);
    case JUDGING:
    case ENDED:
        break;
    }
    GV_ASSERT(false); /* gv_session_next() does not read on in these states */
    return GV_EPROTO;
}

enum gv_err gv_session_next(struct gv_session *session, struct gv_session_event *event)
{
    *event = (struct gv_session_event){.type = GV_SESSION_NONE};
    if (session->sm.state == ENDED) {
        return GV_ECLOSED;
    }
    settle(session);
    struct gv_slice in = gv_buf_slice(&session->in);
    if (session->sm.state == JUDGING || in.len < 4) {
        return GV_OK;
    }
    size_t len = gv_seal_get_u32(in.data);
    if (len < 1) {
        return end(session, GV_EPROTO);
    }
    if (len > frame_limit(session)) {
        return end(session, GV_ETOOBIG);
    }
    if (in.len < 4 + len) {
        return GV_OK;
    }
    session->used = 4 + len;
    return on_frame(session, in.data, len - 1, event);
}

enum gv_err gv_session_accept(struct gv_session *session, struct gv_buf *out)
{
    GV_ASSERT(session->sm.state == JUDGING);
    if (session->verdict != GV_OK) {
        return session->verdict;
    }
    uint8_t header[crypto_secretstream_xchacha20poly1305_HEADERBYTES];
    uint8_t confirm[GV_CONFIRM_MAX_BYTES];
    if (session->is_keyed) {
        uint8_t cluster_key[GV_KEY_BYTES];
        enum gv_err err = gv_keyring_derive(session->ring, session->key, GV_KEY_SESSION,
                                            gv_slice_of(NULL, 0), cluster_key);
        if (err != GV_OK) {
            return GV_EMISMATCH; /* removed from the ring since the opening */
        }
        err = gv_handshake_derive(&session->keys, cluster_key, session->own_secret,
                                  session->peer_ephemeral);
        sodium_memzero(cluster_key, sizeof cluster_key);
        if (err != GV_OK) {
            return err;
        }
        GV_ASSERT(crypto_secretstream_xchacha20poly1305_init_push(
                      &session->push, header, session->keys.stream[session->role]) == 0);
    }
    size_t len = gv_confirm_encode(&session->keys, session->role, session->identity,
                                   session->is_keyed ? header : NULL, confirm);
    enum gv_err err = append_frame(out, FRAME_CONFIRM, gv_slice_of(confirm, len));
    if (err != GV_OK) {
        return err;
    }
    sodium_memzero(session->own_secret, sizeof session->own_secret);
    gv_buf_reset(&session->own_opening);
    gv_sm_move(&session->sm, CONFIRMING);
    return GV_OK;
}

enum gv_err gv_session_refuse(struct gv_session *session, uint32_t code, const char *text,
                              struct gv_buf *out)
{
    GV_ASSERT(session->sm.state == JUDGING);
    uint8_t body[4 + GV_SESSION_TEXT_MAX];
    gv_seal_put_u32(body, code);
    (void)gv_slice_copy_text(gv_slice_text(text), (char *)body + 4, GV_SESSION_TEXT_MAX);
    size_t len = 4 + strlen((const char *)body + 4);
    return end(session, append_frame(out, FRAME_REFUSED, gv_slice_of(body, len)));
}

enum gv_err gv_session_send(struct gv_session *session, struct gv_slice message, struct gv_buf *out)
{
    if (session->sm.state != ESTABLISHED) {
        return session->sm.state == ENDED ? GV_ECLOSED : GV_EAGAIN;
    }
    if (message.len > session->max_message_bytes) {
        return GV_ETOOBIG;
    }
    if (!session->is_keyed) {
        return append_frame(out, FRAME_MESSAGE, message);
    }
    uint8_t *where;
    size_t len = message.len + STREAM_TAG_BYTES;
    enum gv_err err = gv_buf_reserve(out, FRAME_HEAD + len, &where);
    if (err != GV_OK) {
        return err;
    }
    write_frame_head(where, FRAME_MESSAGE, len);
    GV_ASSERT(crypto_secretstream_xchacha20poly1305_push(
                  &session->push, where + FRAME_HEAD, NULL, message.data, message.len, where,
                  FRAME_HEAD, crypto_secretstream_xchacha20poly1305_TAG_MESSAGE) == 0);
    gv_buf_commit(out, FRAME_HEAD + len);
    return GV_OK;
}

const struct gv_session_peer *gv_session_peer(const struct gv_session *session)
{
    return &session->peer;
}

struct gv_key_id gv_session_own_key(const struct gv_session *session)
{
    return session->own_key;
}

struct gv_key_id gv_session_key(const struct gv_session *session)
{
    bool is_agreed = session->sm.state == ESTABLISHED;
    return is_agreed ? session->key : (struct gv_key_id){{0}};
}

bool gv_session_is_established(const struct gv_session *session)
{
    return session->sm.state == ESTABLISHED;
}
