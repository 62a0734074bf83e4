/*
 * replies.h - what fake workers answer in tests of the proxy, and the request they are sent.
 */
#ifndef GV_TESTS_SUPPORT_REPLIES_H
#define GV_TESTS_SUPPORT_REPLIES_H

#include "support/fake.h"
#include "support/process.h"
#include "support/rig.h"
#include "support/talk.h"

#define GV_FAKE_EVENTS                                                                             \
    "data: {\"a\":1}\n\ndata: \xc3\xa4\xf0\x9f\x8d\x87\r\n\r\n: ping\n\ndata: [DONE]\n\n"

#define GV_RIG_CHAT "/v1/chat/completions"
#define GV_RIG_BODY                                                                                \
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello there, worker\"}]}"

/** A small JSON answer, kept alive. */
bool gv_fake_hello(struct gv_fake *fake, int fd);

/** The same, and the connection ends without having said so. */
bool gv_fake_hello_and_close(struct gv_fake *fake, int fd);

/** GV_FAKE_EVENTS, a byte a chunk. */
bool gv_fake_stream(struct gv_fake *fake, int fd);

/** 503 with a text. */
bool gv_fake_busy(struct gv_fake *fake, int fd);

/** 400 with a text. */
bool gv_fake_bad_request(struct gv_fake *fake, int fd);

/** The head, and then nothing before any body byte. */
bool gv_fake_head_and_die(struct gv_fake *fake, int fd);

/** One event and then nothing, for ever. */
bool gv_fake_one_event(struct gv_fake *fake, int fd);

/** One event and then the end, in the middle. */
bool gv_fake_cut(struct gv_fake *fake, int fd);

/** Nothing at all, until the router hangs up. */
bool gv_fake_never(struct gv_fake *fake, int fd);

/** Has the router hung up on it? `owner` is the fake. */
bool gv_fake_saw_the_end(void *owner);

/** Send GV_RIG_BODY to the proxy of the rig; give the reply to gv_reply_deinit(). */
void gv_rig_chat(struct gv_rig *rig, struct gv_reply *reply);

#endif
