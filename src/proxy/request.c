/*
 * request.c - the head of a request: where it goes, whether it may, what it is called, and the
 * lines that every answer to it carries.
 */
#include "grapevine/base/assert.h"
#include "grapevine/http/cors.h"
#include "grapevine/http/writer.h"
#include "grapevine/proxy/tenants.h"
#include "grapevine/seal/token.h"
#include "parts.h"

/* Open to everybody: probes of load balancers, and what lists models. */
static bool is_public(struct gv_slice path)
{
    static const char *const paths[] = {"/health",         "/liveness",       "/readiness",
                                        "/v1/models",      "/get_model_info", "/get_server_info",
                                        "/health_generate"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (gv_slice_is(path, paths[i])) {
            return true;
        }
    }
    return false;
}

/* Administration is asked for an operator's key where there are such keys: a request can show only
 * one. /metrics has no door behind this one. */
static bool has_own_door(const struct gv_client *client, struct gv_slice path)
{
    return client->route == GV_ROUTE_LOCAL && !gv_slice_is(path, "/metrics") &&
           client->proxy->shared->config->control_keys.count > 0;
}

static bool is_authorized(struct gv_client *client, const struct gv_head *head)
{
    const struct gv_proxy_shared *shared = client->proxy->shared;
    const struct gv_config_list *keys = &shared->config->api_keys;
    bool is_open = keys->count == 0 && shared->tenants == NULL;
    client->tenant = NULL;
    if (is_open || is_public(head->path) || has_own_door(client, head->path)) {
        return true;
    }
    struct gv_slice value = gv_head_find(head, "authorization");
    static const char scheme[] = "Bearer ";
    if (!gv_slice_starts_with(value, scheme)) {
        return false;
    }
    struct gv_slice token =
        gv_slice_of(value.data + sizeof scheme - 1, value.len - (sizeof scheme - 1));
    if (shared->tenants != NULL) {
        client->tenant = gv_tenants_find(shared->tenants, token);
    }
    return gv_token_is_any(token, (const char *const *)keys->items, keys->count) ||
           client->tenant != NULL;
}

static enum gv_client_route route_of(struct gv_client *client, const struct gv_head *head)
{
    if (head->method == GV_METHOD_OPTIONS) {
        return GV_ROUTE_OPTIONS;
    }
    if (gv_endpoint_find(head->path, &client->endpoint)) {
        return GV_ROUTE_WORKER;
    }
    bool is_probe = gv_slice_is(head->path, "/health") || gv_slice_is(head->path, "/liveness") ||
                    gv_slice_is(head->path, "/readiness");
    return is_probe ? GV_ROUTE_PROBE : GV_ROUTE_LOCAL;
}

enum gv_problem gv_request_judge(struct gv_client *client, const struct gv_head *head)
{
    client->route = route_of(client, head);
    bool is_preflight = client->route == GV_ROUTE_OPTIONS; /* browsers send it without the key */
    if (!is_preflight && !is_authorized(client, head)) {
        return GV_PROBLEM_UNAUTHORIZED;
    }
    if (client->route == GV_ROUTE_WORKER && head->method != GV_METHOD_POST) {
        return GV_PROBLEM_BAD_METHOD;
    }
    if (client->route == GV_ROUTE_PROBE && head->method != GV_METHOD_GET &&
        head->method != GV_METHOD_HEAD) {
        return GV_PROBLEM_BAD_METHOD;
    }
    if (head->method == GV_METHOD_OTHER) {
        return GV_PROBLEM_BAD_METHOD;
    }
    if (client->route != GV_ROUTE_WORKER && head->has_content_length &&
        head->content_length > GV_LOCAL_BODY_MAX) {
        return GV_PROBLEM_BODY_TOO_BIG;
    }
    return GV_PROBLEM_NONE;
}

const char *gv_request_tenant(const struct gv_client *client)
{
    return client->head_seen && client->tenant != NULL ? client->tenant->name : "";
}

/* ---- its name ---- */

#define GV_REQUEST_ID_RANDOM 24u /* random characters behind the prefix */

static const char *id_prefix(const struct gv_client *client)
{
    if (client->route != GV_ROUTE_WORKER) {
        return "req-";
    }
    switch (client->endpoint) {
    case GV_ENDPOINT_CHAT:
        return "chatcmpl-";
    case GV_ENDPOINT_COMPLETIONS:
        return "cmpl-";
    case GV_ENDPOINT_GENERATE:
        return "gnt-";
    case GV_ENDPOINT_EMBEDDINGS:
    case GV_ENDPOINT_RERANK:
    case GV_ENDPOINT_CLASSIFY:
    case GV_ENDPOINT_COUNT:
        break;
    }
    return "req-";
}

static const struct gv_head unread = {.method = GV_METHOD_OTHER};

/* The id that the client gave, in the first header of `names` that has one. */
static bool take_id(struct gv_client *client, const struct gv_head *head, const char *const *names,
                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct gv_slice given = gv_head_find(head, names[i]);
        if (given.len > 0 && given.len < sizeof client->request_id) {
            (void)gv_slice_copy_text(given, client->request_id, sizeof client->request_id);
            return true;
        }
    }
    return false;
}

/* Each draw of 64 bits makes eight of the characters. */
void gv_request_name(struct gv_client *client, const struct gv_head *head)
{
    if (head == NULL) {
        client->route = GV_ROUTE_LOCAL;
        head = &unread;
    }
    static const char *const usual[] = {"x-request-id", "x-correlation-id", "x-trace-id",
                                        "request-id"};
    const struct gv_config_list *own = &client->proxy->shared->config->request_id_headers;
    if (own->count > 0 ? take_id(client, head, (const char *const *)own->items, own->count)
                       : take_id(client, head, usual, sizeof usual / sizeof usual[0])) {
        return;
    }
    static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const char *prefix = id_prefix(client);
    size_t len = strlen(prefix);
    memcpy(client->request_id, prefix, len);
    for (size_t i = 0; i < GV_REQUEST_ID_RANDOM; i += 8) {
        uint64_t drawn = gv_prng_next(&client->proxy->prng);
        uint64_t halves[2] = {drawn & UINT32_MAX, drawn >> 32};
        for (size_t j = 0; j < 8; j++) { /* the next digit of a fraction, in base 62 */
            uint64_t digit = halves[j / 4] * 62;
            halves[j / 4] = digit & UINT32_MAX;
            client->request_id[len++] = alphabet[digit >> 32];
        }
    }
    client->request_id[len] = '\0';
}

/* ---- its answers ---- */

static struct gv_cors cors_of(const struct gv_client *client)
{
    const struct gv_config_list *origins = &client->proxy->shared->config->cors_allowed_origins;
    return (struct gv_cors){.origins = origins->items, .count = origins->count};
}

/* 405 must say what would have been right. */
static const char *allowed(const struct gv_client *client)
{
    switch (client->route) {
    case GV_ROUTE_WORKER:
        return "POST, OPTIONS";
    case GV_ROUTE_PROBE:
        return "GET, HEAD, OPTIONS";
    case GV_ROUTE_LOCAL:
    case GV_ROUTE_OPTIONS:
        break;
    }
    return "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
}

enum gv_err gv_request_lines(const struct gv_client *client, enum gv_problem problem,
                             struct gv_buf *out)
{
    struct gv_cors cors = cors_of(client);
    enum gv_err err =
        gv_writer_header(out, gv_slice_text("x-request-id"), gv_slice_text(client->request_id));
    if (err != GV_OK || !client->head_seen) {
        return err;
    }
    if (problem == GV_PROBLEM_BAD_METHOD) {
        err = gv_writer_header(out, gv_slice_text("Allow"), gv_slice_text(allowed(client)));
    }
    if (problem == GV_PROBLEM_UNAUTHORIZED) {
        err = gv_writer_header(out, gv_slice_text("WWW-Authenticate"), gv_slice_text("Bearer"));
    }
    if (problem == GV_PROBLEM_TENANT_LIMIT) {
        err = gv_buf_append_format(out, "Retry-After: %u\r\n", client->retry_after_s);
    }
    if (err != GV_OK) {
        return err;
    }
    return client->route == GV_ROUTE_OPTIONS ? gv_cors_preflight(&cors, &client->head, out)
                                             : gv_cors_answer(&cors, &client->head, out);
}
