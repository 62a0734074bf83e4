/* door.c - see door.h. */
#include "admin/door.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/log.h"
#include "grapevine/config/control.h"
#include "grapevine/seal/token.h"
#include <string.h>

/* The bytes behind "Bearer "; false: there are none. */
static bool read_bearer(const struct gv_request *request, struct gv_slice *given)
{
    static const char bearer[] = "Bearer ";
    if (strncmp(request->authorization, bearer, sizeof bearer - 1) != 0) {
        return false;
    }
    *given = gv_slice_text(request->authorization + sizeof bearer - 1);
    return true;
}

/* Looks at all of them, whatever it finds. */
static bool find_control_key(const struct gv_config_list *keys, struct gv_slice given,
                             struct gv_control_key *found)
{
    bool any = false;
    for (size_t i = 0; i < keys->count; i++) {
        struct gv_control_key key;
        bool reads = gv_control_key_read(keys->items[i], &key);
        GV_ASSERT(reads); /* the configuration was checked */
        if (gv_token_equal(given, key.key)) {
            *found = key;
            any = true;
        }
    }
    return any;
}

/* No key was shown: say which kind is wanted. */
static void ask_for_key(struct gv_answer *answer)
{
    const enum gv_problem problem = GV_PROBLEM_UNAUTHORIZED;
    answer->status = gv_problem_status(problem);
    answer->content_type = "application/json";
    answer->authenticate = "Bearer realm=\"control-plane\"";
    if (gv_problem_body(problem, "a control-plane key is needed: 'Authorization: Bearer KEY'",
                        &answer->body) != GV_OK) {
        gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "out of memory");
    }
}

static bool admit_control(const struct gv_config *config, const struct gv_request *request,
                          struct gv_visitor *visitor, struct gv_answer *answer)
{
    struct gv_slice given;
    struct gv_control_key key;
    if (!read_bearer(request, &given)) {
        ask_for_key(answer);
        return false;
    }
    if (!find_control_key(&config->control_keys, given, &key)) {
        gv_answer_problem(answer, GV_PROBLEM_UNAUTHORIZED, "Invalid authentication token");
        return false;
    }
    visitor->id = key.id;
    visitor->name = key.name;
    if (key.role != GV_CONTROL_ADMIN) {
        gv_answer_problem(answer, GV_PROBLEM_FORBIDDEN,
                          "Admin role required for control plane access");
        return false;
    }
    return true;
}

bool gv_door_admit(const struct gv_admin_parts *parts, const struct gv_request *request,
                   struct gv_visitor *visitor, struct gv_answer *answer)
{
    const struct gv_config *config = parts->shared->config;
    const struct gv_config_list *keys = &config->api_keys;
    *visitor = (struct gv_visitor){.id = gv_slice_of(NULL, 0), .name = gv_slice_of(NULL, 0)};
    if (config->control_keys.count > 0) {
        return admit_control(config, request, visitor, answer);
    }
    struct gv_slice given;
    bool open = keys->count == 0 && parts->shared->tenants == NULL;
    if (open || (read_bearer(request, &given) &&
                 gv_token_is_any(given, (const char *const *)keys->items, keys->count))) {
        return true;
    }
    gv_answer_problem(answer, GV_PROBLEM_UNAUTHORIZED, "%.200s needs 'Authorization: Bearer KEY'",
                      request->path);
    return false;
}

void gv_door_note(const struct gv_request *request, const struct gv_visitor *visitor, bool admitted)
{
    char peer[GV_ADDR_TEXT_BYTES];
    bool named = visitor->id.len > 0;
    gv_log(admitted ? GV_LOG_INFO : GV_LOG_WARN, "admin.audit",
           GV_STR("method", gv_method_name(request->method)), GV_STR("path", request->path),
           GV_STR("peer", gv_addr_format(&request->peer, peer)),
           GV_BYTES("key_id", named ? visitor->id : gv_slice_text("-")),
           GV_BYTES("key_name", named ? visitor->name : gv_slice_text("-")),
           GV_STR("outcome", admitted ? "admitted" : "refused"));
}
