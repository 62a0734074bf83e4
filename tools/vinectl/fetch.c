#include "fetch.h"

#include "grapevine/http/parser.h"
#include "grapevine/http/uri.h"
#include "grapevine/http/writer.h"
#include "grapevine/net/loop.h"
#include "grapevine/net/resolve.h"
#include "grapevine/net/stream.h"
#include "grapevine/net/timer.h"

#include <stdio.h>

#define REPLY_MAX ((size_t)64 * 1024 * 1024)

struct batch {
    struct gv_loop *loop;         /* owned */
    struct gv_resolver *resolver; /* owned */
    struct gv_tls *tls;           /* owned; NULL until an https:// URL is asked */
    size_t open_count;            /* requests without a result */
    const struct fetch_manner *manner;
};

#define ADDRS_MAX 16 /* of one name, tried one after the other */

/* One request on its way. */
struct trip {
    struct batch *batch;
    struct fetch *fetch;
    struct gv_uri uri;
    struct gv_stream *stream; /* NULL before the connect and after the close */
    struct gv_parser *parser; /* owned */
    struct gv_addr addrs[ADDRS_MAX];
    size_t addr_count;
    size_t addr_next;
    bool opened; /* somebody took the connection */
    bool ended;
};

static void end(struct trip *trip, enum gv_err err)
{
    if (trip->ended) {
        return;
    }
    trip->ended = true;
    trip->fetch->err = err;
    if (trip->stream != NULL) {
        gv_stream_close(trip->stream);
    }
    trip->batch->open_count -= 1;
    if (trip->batch->open_count == 0) {
        gv_loop_stop(trip->batch->loop);
    }
}

static enum gv_err on_head(void *owner, const struct gv_head *head)
{
    struct trip *trip = owner;
    trip->fetch->status = head->status;
    return GV_OK;
}

static enum gv_err on_body(void *owner, struct gv_slice bytes)
{
    struct trip *trip = owner;
    return gv_buf_append(&trip->fetch->reply, bytes);
}

static enum gv_err on_message_end(void *owner)
{
    end(owner, GV_OK);
    return GV_OK;
}

static const struct gv_parser_events parser_events = {
    .on_head = on_head, .on_body = on_body, .on_message_end = on_message_end};

static enum gv_err write_request(struct trip *trip, struct gv_buf *out)
{
    const struct fetch *fetch = trip->fetch;
    bool posts = fetch->body.data != NULL;
    char target[512];
    snprintf(target, sizeof target, "%s%s", trip->uri.prefix, fetch->path);
    const char *method = fetch->method != NULL ? fetch->method : posts ? "POST" : "GET";
    enum gv_err err = gv_writer_request(out, gv_slice_text(method), gv_slice_text(target),
                                        gv_slice_text(trip->uri.authority));
    if (err == GV_OK && trip->batch->manner->api_key != NULL) {
        char bearer[600];
        snprintf(bearer, sizeof bearer, "Bearer %s", trip->batch->manner->api_key);
        err = gv_writer_header(out, gv_slice_text("Authorization"), gv_slice_text(bearer));
    }
    if (err == GV_OK && posts) {
        err =
            gv_writer_header(out, gv_slice_text("Content-Type"), gv_slice_text("application/json"));
    }
    if (err == GV_OK) {
        err = gv_writer_end_head(out, posts ? fetch->body.len : GV_WRITER_NO_BODY, true);
    }
    return err;
}

static void on_open(void *owner)
{
    struct trip *trip = owner;
    trip->opened = true;
    struct gv_buf head;
    gv_buf_init(&head, GV_MEM_BUFFER, 64 * 1024);
    enum gv_err err = write_request(trip, &head);
    if (err == GV_OK) {
        err = gv_stream_send2(trip->stream, gv_buf_slice(&head), trip->fetch->body);
    }
    gv_buf_deinit(&head);
    if (err != GV_OK && err != GV_EFULL) {
        end(trip, err);
    }
}

static void on_data(void *owner, struct gv_slice bytes)
{
    struct trip *trip = owner;
    size_t used = 0;
    enum gv_err err = trip->ended ? GV_OK : gv_parser_feed(trip->parser, bytes, &used);
    if (err != GV_OK) {
        end(trip, err);
    }
}

static void on_end(void *owner)
{
    struct trip *trip = owner;
    if (!trip->ended && gv_parser_end(trip->parser) != GV_OK) {
        end(trip, GV_ECLOSED);
    }
    end(trip, GV_ECLOSED); /* without effect when the end completed the answer */
}

static bool try_next(struct trip *trip);

static void on_closed(void *owner, enum gv_err why)
{
    struct trip *trip = owner;
    if (!trip->ended) {
        snprintf(trip->fetch->trouble, sizeof trip->fetch->trouble, "%s",
                 gv_stream_trouble(trip->stream));
    }
    trip->stream = NULL;
    if (!trip->ended && !trip->opened && trip->fetch->trouble[0] == '\0' && try_next(trip)) {
        return;
    }
    end(trip, why == GV_OK ? GV_ECLOSED : why);
}

static const struct gv_stream_events stream_events = {
    .on_open = on_open, .on_data = on_data, .on_end = on_end, .on_closed = on_closed};

/* Made when the first https:// URL is met: who asks none needs no authorities. */
static enum gv_err secure(struct trip *trip)
{
    struct batch *batch = trip->batch;
    const struct fetch_manner *manner = batch->manner;
    if (batch->tls == NULL) {
        const struct gv_tls_options options = {.name = "nodes",
                                               .side = GV_TLS_CONNECTING,
                                               .cert_path = manner->cert,
                                               .key_path = manner->key,
                                               .ca_paths = (char *const *)(uintptr_t)&manner->ca,
                                               .ca_count = manner->ca == NULL ? 0 : 1};
        enum gv_err err = gv_tls_open(&options, &batch->tls, trip->fetch->trouble);
        if (err != GV_OK) {
            return err;
        }
    }
    return gv_stream_secure(trip->stream, batch->tls, trip->uri.host);
}

/* The name of all nodes has many addresses, and any node will do: connect to the next of them. */
static bool try_next(struct trip *trip)
{
    enum gv_err err = GV_EREFUSED;
    while (err != GV_OK && trip->addr_next < trip->addr_count) {
        const struct gv_stream_limits limits = {.high_mark_bytes = REPLY_MAX,
                                                .low_mark_bytes = REPLY_MAX / 2};
        err = gv_stream_connect(trip->batch->loop, &trip->addrs[trip->addr_next], &stream_events,
                                trip, limits, &trip->stream);
        trip->addr_next += 1;
    }
    if (err == GV_OK && strcmp(trip->uri.scheme, "https") == 0) {
        err = secure(trip);
        if (err != GV_OK) {
            end(trip, err);
        }
    }
    return err == GV_OK || trip->ended;
}

static void on_resolved(void *owner, enum gv_err err, const struct gv_addr *addrs, size_t count,
                        uint32_t ttl_s)
{
    struct trip *trip = owner;
    (void)ttl_s;
    if (trip->ended) {
        return;
    }
    if (err == GV_OK) {
        trip->addr_count = count < ADDRS_MAX ? count : ADDRS_MAX;
        memcpy(trip->addrs, addrs, trip->addr_count * sizeof addrs[0]);
        if (!try_next(trip)) {
            end(trip, GV_EREFUSED);
        }
    } else {
        end(trip, err);
    }
}

static void begin(struct trip *trip)
{
    const struct gv_parser_limits limits = {.head_bytes = 64 * 1024,
                                            .uri_bytes = 8192,
                                            .header_count = 128,
                                            .body_bytes = REPLY_MAX,
                                            .chunk_ext_bytes = 1024,
                                            .trailer_bytes = 4096};
    enum gv_err err = gv_uri_parse(gv_slice_text(trip->fetch->url), &trip->uri);
    if (err == GV_OK) {
        err = gv_parser_new(GV_PARSER_RESPONSE, limits, &parser_events, trip, &trip->parser);
    }
    if (err == GV_OK) {
        err = gv_resolve(trip->batch->resolver, trip->uri.host, trip->uri.port, on_resolved, trip);
    }
    if (err != GV_OK) {
        end(trip, err);
    }
}

struct clock {
    struct trip *trips;
    size_t count;
};

static void on_timeout(void *owner)
{
    struct clock *clock = owner;
    for (size_t i = 0; i < clock->count; i++) {
        end(&clock->trips[i], GV_ETIMEOUT);
    }
}

static void run(struct batch *batch, struct trip *trips, size_t count)
{
    struct clock clock = {.trips = trips, .count = count};
    struct gv_timer *timer = NULL;
    if (gv_timer_open(batch->loop, on_timeout, &clock, &timer) != GV_OK) {
        on_timeout(&clock);
        return;
    }
    gv_timer_start(timer, batch->manner->timeout_ms, 0);
    for (size_t i = 0; i < count; i++) {
        begin(&trips[i]);
    }
    if (batch->open_count > 0) {
        gv_loop_run(batch->loop);
    }
    gv_timer_close(timer);
}

void fetch_all(struct fetch *fetches, size_t count, const struct fetch_manner *manner)
{
    struct batch batch = {.open_count = count, .manner = manner};
    struct trip *trips = gv_mem_new(GV_MEM_GENERAL, (count + 1) * sizeof *trips);
    for (size_t i = 0; i < count; i++) {
        fetches[i].err = GV_ENOMEM;
        gv_buf_init(&fetches[i].reply, GV_MEM_BUFFER, REPLY_MAX);
    }
    if (trips == NULL || gv_loop_new("vinectl", &batch.loop) != GV_OK) {
        gv_mem_free(GV_MEM_GENERAL, trips);
        return;
    }
    if (count > 0 && gv_resolver_open(batch.loop, &batch.resolver) == GV_OK) {
        for (size_t i = 0; i < count; i++) {
            trips[i].batch = &batch;
            trips[i].fetch = &fetches[i];
        }
        run(&batch, trips, count);
        gv_resolver_close(batch.resolver);
    }
    gv_loop_free(batch.loop);
    gv_tls_free(batch.tls);
    for (size_t i = 0; i < count; i++) {
        gv_parser_free(trips[i].parser);
    }
    gv_mem_free(GV_MEM_GENERAL, trips);
}

void fetch_deinit(struct fetch *fetch)
{
    gv_buf_deinit(&fetch->reply);
}
