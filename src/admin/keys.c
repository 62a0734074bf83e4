/*
 * keys.c - the key ring of this node over HTTP: ids to look at, and the steps of a rotation.
 *
 * A key comes in sealed under one that this node has; none ever goes out. Changing keys needs an
 * API key, also where nothing else does.
 */
#include "grapevine/cluster/keys.h"
#include "admin/admin.h"

#include <string.h>

static json_t *id_json(struct gv_key_id id)
{
    char text[GV_KEY_ID_TEXT_BYTES];
    return json_string(gv_key_id_format(id, text));
}

void gv_keys_show(const struct gv_admin_parts *parts, const struct gv_request *request,
                  struct gv_answer *answer)
{
    (void)request;
    struct gv_cluster_keys keys;
    gv_cluster_keys_list(parts->cluster, &keys);
    json_t *ids = json_array();
    for (uint32_t i = 0; i < keys.count; i++) {
        json_array_append_new(ids, id_json(keys.ids[i]));
    }
    gv_answer_json(answer, 200,
                   json_pack("{s:b, s:b, s:o, s:o, s:o}", "encrypted", keys.count > 0, "applied",
                             (int)keys.applied, "keys", ids, "active", id_json(keys.active),
                             "fingerprint", id_json(keys.fingerprint)));
}

/* The text `name` of the body's object, copied; false when answered with a problem. */
static bool read_member(const struct gv_admin_parts *parts, const struct gv_request *request,
                        const char *name, char *value, size_t size, struct gv_answer *answer)
{
    const struct gv_config *config = parts->shared->config;
    if (config->api_keys.count == 0 && config->control_keys.count == 0) {
        gv_answer_problem(answer, GV_PROBLEM_FORBIDDEN,
                          "keys are changed only on nodes with an --api-key");
        return false;
    }
    json_t *body = json_loadb((const char *)request->body.data, request->body.len,
                              JSON_REJECT_DUPLICATES, NULL);
    const char *text = json_string_value(json_object_get(body, name));
    bool fits = text != NULL && strlen(text) < size;
    if (fits) {
        memcpy(value, text, strlen(text) + 1);
    } else {
        gv_answer_problem(answer, GV_PROBLEM_BAD_FIELD,
                          "the body must be an object with the text '%s'", name);
    }
    json_decref(body);
    return fits;
}

static void tell(struct gv_answer *answer, enum gv_err err, struct gv_key_id id, const char *done)
{
    char text[GV_KEY_ID_TEXT_BYTES];
    (void)gv_key_id_format(id, text);
    if (err == GV_OK) {
        gv_answer_json(answer, 200, json_pack("{s:s, s:s}", "key", text, "status", done));
    } else if (err == GV_EMISMATCH) {
        gv_answer_problem(answer, GV_PROBLEM_KEY_STEP, "this node has no --mesh-keyring");
    } else if (err == GV_ENOTFOUND) {
        gv_answer_problem(answer, GV_PROBLEM_KEY_STEP, "%s: this node does not have the key", text);
    } else if (err == GV_EREFUSED) {
        gv_answer_problem(answer, GV_PROBLEM_KEY_STEP, "%s is in use here; use another one first",
                          text);
    } else if (err == GV_EFULL) {
        gv_answer_problem(answer, GV_PROBLEM_KEY_STEP, "the ring is full; retire a key first");
    } else if (err == GV_EINVAL || err == GV_EAUTH) {
        gv_answer_problem(answer, GV_PROBLEM_KEY_STEP, "this is no key sealed for this node");
    } else { /* GV_EIO, GV_ENOMEM */
        gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "the key ring file was not written: %s",
                          gv_err_text(err));
    }
}

void gv_keys_install(const struct gv_admin_parts *parts, const struct gv_request *request,
                     struct gv_answer *answer)
{
    char sealed[GV_KEY_SEALED_TEXT];
    struct gv_key_id id;
    if (read_member(parts, request, "sealed", sealed, sizeof sealed, answer)) {
        enum gv_err err = gv_cluster_keys_install(parts->cluster, gv_slice_text(sealed), &id);
        if (err == GV_ENOTFOUND) {
            gv_answer_problem(answer, GV_PROBLEM_KEY_STEP,
                              "it is sealed under a key that this node does not have");
        } else {
            tell(answer, err, id, "installed");
        }
    }
}

/* So that an interrupted step can be taken again on all: who has forgotten it already is done. */
static enum gv_err forget(struct gv_cluster *cluster, struct gv_key_id id)
{
    enum gv_err err = gv_cluster_keys_retire(cluster, id);
    return err == GV_ENOTFOUND ? GV_OK : err;
}

/* Use and retire differ in one call. */
static void change(const struct gv_admin_parts *parts, const struct gv_request *request,
                   struct gv_answer *answer,
                   enum gv_err (*how)(struct gv_cluster *, struct gv_key_id), const char *done)
{
    char text[GV_KEY_ID_TEXT_BYTES];
    struct gv_key_id id;
    if (!read_member(parts, request, "id", text, sizeof text, answer)) {
        return;
    }
    if (gv_key_id_parse(gv_slice_text(text), &id) != GV_OK) {
        gv_answer_problem(answer, GV_PROBLEM_BAD_FIELD, "'id' must be 16 hex digits");
        return;
    }
    tell(answer, how(parts->cluster, id), id, done);
}

void gv_keys_use(const struct gv_admin_parts *parts, const struct gv_request *request,
                 struct gv_answer *answer)
{
    change(parts, request, answer, gv_cluster_keys_use, "in use");
}

void gv_keys_retire(const struct gv_admin_parts *parts, const struct gv_request *request,
                    struct gv_answer *answer)
{
    change(parts, request, answer, forget, "retired");
}
