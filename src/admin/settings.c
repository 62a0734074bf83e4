/*
 * settings.c - settings of the whole cluster over HTTP: what holds, set one, unset one.
 *
 * Checked here, against the ranges of the options of the same names; the mesh carries what passed.
 */
#include "admin/admin.h"
#include "grapevine/cluster/view.h"
#include "grapevine/config/option.h"
#include "grapevine/config/setting.h"

#include <string.h>

static const struct gv_gossip_setting *find(const struct gv_gossip_setting *settings,
                                            uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(settings[i].name, name) == 0) {
            return &settings[i];
        }
    }
    return NULL;
}

/* What of it holds on this node, why, and within which limits it may be changed. */
static json_t *setting_json(const struct gv_admin_parts *parts, const char *name,
                            const struct gv_gossip_setting *set)
{
    struct gv_settings started = gv_settings_of(parts->shared->config);
    struct gv_settings now = started;
    char why[GV_SETTING_WHY_BYTES];
    char flag[GV_SETTING_VALUE_MAX] = "";
    char value[GV_SETTING_VALUE_MAX] = "";
    char range[GV_OPTION_NAME_BYTES] = "";
    bool obeyed = set != NULL && gv_setting_read(name, set->value, &now, why) == GV_OK;
    const struct gv_option *option = gv_option_find(gv_slice_text(name));
    if (option != NULL && gv_setting_format(name, &started, flag, sizeof flag) == GV_OK) {
        obeyed = obeyed && gv_setting_format(name, &now, value, sizeof value) == GV_OK;
        gv_option_range(option, range);
    }
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", name, "value",
                             obeyed ? value : flag, "started_with", flag, "source",
                             obeyed        ? "setting"
                             : set != NULL ? "ignored"
                                           : "start",
                             "range", range);
    if (json != NULL && option != NULL) {
        json_object_set_new(json, "help", json_string(option->help));
    }
    if (json != NULL && set != NULL) {
        json_object_set_new(json, "set_to", json_string(set->value));
        json_object_set_new(json, "origin", json_string(set->origin));
        json_object_set_new(json, "version_ms", json_integer((json_int_t)set->version_ms));
    }
    return json;
}

void gv_settings_list(const struct gv_admin_parts *parts, const struct gv_request *request,
                      struct gv_answer *answer)
{
    (void)request;
    struct gv_gossip_setting settings[GV_SETTINGS_MAX];
    uint32_t count = gv_cluster_settings(parts->cluster, settings);
    json_t *list = json_array();
    const char *const *names = gv_setting_names();
    for (size_t i = 0; names[i] != NULL; i++) {
        json_array_append_new(list, setting_json(parts, names[i], find(settings, count, names[i])));
    }
    for (uint32_t i = 0; i < count; i++) { /* of nodes with another version */
        struct gv_settings ignored = gv_settings_of(parts->shared->config);
        char text[GV_SETTING_VALUE_MAX];
        if (gv_setting_format(settings[i].name, &ignored, text, sizeof text) != GV_OK) {
            json_array_append_new(list, setting_json(parts, settings[i].name, &settings[i]));
        }
    }
    gv_answer_json(answer, 200,
                   json_pack("{s:s, s:o}", "node", parts->shared->node_name, "settings", list));
}

static void write_setting(const struct gv_admin_parts *parts, const char *name, const char *value,
                          struct gv_answer *answer)
{
    enum gv_err err = gv_cluster_put_setting(parts->cluster, name, value);
    if (err != GV_OK) {
        gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "%s was not written: %s", name,
                          gv_err_text(err));
        return;
    }
    gv_answer_json(answer, 200,
                   value == NULL ? json_pack("{s:s, s:s}", "name", name, "status", "unset")
                                 : json_pack("{s:s, s:s, s:s}", "name", name, "value", value,
                                             "status", "set"));
}

/* The body: {"value": "0.5"}; a number or a flag is taken as it is written. */
static bool read_value(const struct gv_request *request, char *value, size_t size)
{
    json_t *body = json_loadb((const char *)request->body.data, request->body.len,
                              JSON_REJECT_DUPLICATES, NULL);
    const json_t *given = json_object_get(body, "value");
    const char *text = json_string_value(given);
    bool fits = text != NULL && strlen(text) < size;
    if (fits) {
        memcpy(value, text, strlen(text) + 1);
    } else if (json_is_number(given)) {
        size_t len = json_dumpb(given, value, size - 1, JSON_ENCODE_ANY | JSON_REAL_PRECISION(10));
        fits = len > 0 && len < size;
        value[fits ? len : 0] = '\0';
    }
    json_decref(body);
    return fits;
}

void gv_settings_put(const struct gv_admin_parts *parts, const struct gv_request *request,
                     struct gv_answer *answer)
{
    const char *name = gv_request_id(request);
    struct gv_settings settings = gv_settings_of(parts->shared->config);
    char value[GV_SETTING_VALUE_MAX];
    char why[GV_SETTING_WHY_BYTES];
    if (!read_value(request, value, sizeof value)) {
        gv_answer_problem(answer, GV_PROBLEM_BAD_FIELD,
                          "the body must be an object with a 'value', a text or a number");
    } else if (gv_setting_read(name, value, &settings, why) != GV_OK) {
        gv_answer_problem(answer, GV_PROBLEM_BAD_FIELD, "%s", why);
    } else {
        write_setting(parts, name, value, answer);
    }
}

void gv_settings_delete(const struct gv_admin_parts *parts, const struct gv_request *request,
                        struct gv_answer *answer)
{
    struct gv_gossip_setting settings[GV_SETTINGS_MAX];
    uint32_t count = gv_cluster_settings(parts->cluster, settings);
    const char *name = gv_request_id(request);
    if (find(settings, count, name) == NULL) {
        gv_answer_problem(answer, GV_PROBLEM_BAD_FIELD, "'%.60s' is not set", name);
        return;
    }
    write_setting(parts, name, NULL, answer);
}
