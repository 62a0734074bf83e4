/*
 * routes.c - THE table of paths that a router answers itself, and who may ask for them.
 */
#include "admin/door.h"

#include <stdlib.h>
#include <string.h>

struct route {
    enum gv_method method;
    const char *path; /* a trailing "/{id}" stands for one more segment */
    bool open;        /* needs no key */
    gv_handler_fn handle;
    gv_starter_fn start; /* in place of handle: workers are asked */
};

#define KNOWN(name, path, open, handle)                                                            \
    {                                                                                              \
        GV_METHOD_##name, path, open, handle, NULL                                                 \
    }
#define ASKED(name, path, open, start)                                                             \
    {                                                                                              \
        GV_METHOD_##name, path, open, NULL, start                                                  \
    }

static const struct route routes[] = {
    KNOWN(GET, "/metrics", true, gv_show_metrics),
    KNOWN(GET, "/health", true, gv_show_alive),
    KNOWN(GET, "/liveness", true, gv_show_alive),
    KNOWN(GET, "/readiness", true, gv_show_readiness),
    KNOWN(GET, "/v1/models", true, gv_show_models),
    ASKED(GET, "/get_model_info", true, gv_relay_model_info),
    ASKED(GET, "/get_server_info", true, gv_relay_server_info),
    ASKED(GET, "/health_generate", true, gv_relay_health_generate),
    ASKED(POST, "/flush_cache", false, gv_relay_flush),
    ASKED(GET, "/get_loads", false, gv_relay_loads),
    KNOWN(GET, "/workers", false, gv_workers_list),
    KNOWN(POST, "/workers", false, gv_workers_add),
    KNOWN(GET, "/workers/{id}", false, gv_workers_get),
    KNOWN(PUT, "/workers/{id}", false, gv_workers_replace),
    KNOWN(PATCH, "/workers/{id}", false, gv_workers_change),
    KNOWN(DELETE, "/workers/{id}", false, gv_workers_remove),
    KNOWN(GET, "/grapevine/v1/status", false, gv_show_status),
    KNOWN(GET, "/grapevine/v1/nodes", false, gv_show_nodes),
    KNOWN(GET, "/grapevine/v1/workers", false, gv_show_fleet),
    KNOWN(GET, "/grapevine/v1/trees", false, gv_show_trees),
    KNOWN(GET, "/grapevine/v1/digest", false, gv_show_digest),
    KNOWN(GET, "/grapevine/v1/keys", false, gv_keys_show),
    KNOWN(POST, "/grapevine/v1/keys/install", false, gv_keys_install),
    KNOWN(POST, "/grapevine/v1/keys/use", false, gv_keys_use),
    KNOWN(POST, "/grapevine/v1/keys/retire", false, gv_keys_retire),
    KNOWN(GET, "/grapevine/v1/settings", false, gv_settings_list),
    KNOWN(PUT, "/grapevine/v1/settings/{id}", false, gv_settings_put),
    KNOWN(DELETE, "/grapevine/v1/settings/{id}", false, gv_settings_delete),
    KNOWN(POST, "/grapevine/v1/explain", false, gv_show_explain),
};

static bool matches(const struct route *route, const char *path)
{
    const char *id = strstr(route->path, "/{id}");
    if (id == NULL) {
        return strcmp(route->path, path) == 0;
    }
    size_t stem = (size_t)(id - route->path);
    return strncmp(route->path, path, stem) == 0 && path[stem] == '/' && path[stem + 1] != '\0' &&
           strchr(path + stem + 1, '/') == NULL;
}

/* Asking is no change, also where it takes a body. */
static bool changes(const struct route *route)
{
    return route->method != GV_METHOD_GET && route->handle != gv_show_explain;
}

/* Is the visitor let in? Changes, and attempts at them, are noted. */
static bool admit(const struct route *route, const struct gv_admin_parts *parts,
                  const struct gv_request *request, struct gv_answer *answer)
{
    struct gv_visitor visitor;
    if (route->open) {
        return true;
    }
    bool admitted = gv_door_admit(parts, request, &visitor, answer);
    if (changes(route)) {
        gv_door_note(request, &visitor, admitted);
    }
    return admitted;
}

struct gv_round *gv_routes_answer(const struct gv_admin_parts *parts,
                                  const struct gv_request *request, struct gv_answer *answer)
{
    bool known = false;
    enum gv_method method = request->method == GV_METHOD_HEAD ? GV_METHOD_GET : request->method;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!matches(&routes[i], request->path)) {
            continue;
        }
        known = true;
        if (routes[i].method != method) {
            continue;
        }
        if (!admit(&routes[i], parts, request, answer)) {
            return NULL;
        }
        if (routes[i].start != NULL) {
            return routes[i].start(parts, request, answer);
        }
        routes[i].handle(parts, request, answer);
        return NULL;
    }
    gv_answer_problem(answer, known ? GV_PROBLEM_BAD_METHOD : GV_PROBLEM_NO_ROUTE, "%.200s",
                      request->path);
    return NULL;
}

bool gv_routes_is_probe(const char *path)
{
    return strcmp(path, "/health") == 0 || strcmp(path, "/liveness") == 0 ||
           strcmp(path, "/readiness") == 0;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decode from..end into value; false when it does not fit or is malformed. */
static bool decode(const char *from, const char *end, char *value, size_t size)
{
    size_t len = 0;
    while (from < end) {
        char c = *from++;
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            if (end - from < 2 || hex(from[0]) < 0 || hex(from[1]) < 0) {
                return false;
            }
            c = (char)(hex(from[0]) * 16 + hex(from[1]));
            from += 2;
        }
        if (c == '\0' || len + 1 >= size) {
            return false;
        }
        value[len++] = c;
    }
    value[len] = '\0';
    return true;
}

bool gv_request_parameter(const struct gv_request *request, const char *name, char *value,
                          size_t size)
{
    size_t name_len = strlen(name);
    for (const char *at = request->query; *at != '\0';) {
        const char *end = at + strcspn(at, "&");
        if (strncmp(at, name, name_len) == 0 && at[name_len] == '=') {
            return decode(at + name_len + 1, end, value, size);
        }
        at = *end == '&' ? end + 1 : end;
    }
    return false;
}

const char *gv_request_id(const struct gv_request *request)
{
    return strrchr(request->path, '/') + 1;
}
