/*
 * job.h - a request that generates, from its body to its last token. Private to job.c, answer.c and
 * room.c.
 */
#ifndef MOCKWORKER_JOB_H
#define MOCKWORKER_JOB_H

#include "mock.h"
#include "room.h"

struct job {
    struct gv_list link;
    struct mock_worker *worker; /* borrowed */
    struct conn *conn;          /* borrowed */
    struct engine_job work;
    json_t *body; /* owned: the request */
    enum gv_endpoint endpoint;
    bool stream;
    bool include_usage; /* stream_options.include_usage */
    bool logprobs;
    bool batch;           /* /generate answers with an array */
    bool cut;             /* finish_reason "length" */
    uint32_t item_count;  /* choices or texts; at least 1 */
    uint32_t sent_tokens; /* of the stream */
    bool begun;           /* the stream's head is out */
    char *model_json;     /* owned: the model's name with its quotes */
    char id[40];          /* hexadecimal, or the request's own "rid" */
    uint32_t rank;        /* that the request is for */
    uint64_t created_s;
    uint64_t deadline_us; /* for the other leg; ENGINE_NEVER without */
    struct room *rooms;   /* owned: prefill announces, decode fetches */
    uint32_t room_count;
    uint32_t rooms_open; /* not yet taken (prefill) or fetched (decode) */
    bool failed;         /* an answer says so already, or is about to */
    char trouble[512];   /* what the answer will say */
};

/* answer.c: the words. */
/** Send tokens `from` .. `to` - 1 as events, one chunk each. */
void answer_tokens(struct job *job, uint32_t from, uint32_t to);
/** Send the end of the stream, or the whole answer. */
void answer_end(struct job *job);

#endif
