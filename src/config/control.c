/* control.c - see control.h. */
#include "grapevine/config/control.h"

static bool take(struct gv_slice *text, struct gv_slice *part)
{
    const uint8_t *colon = text->len == 0 ? NULL : memchr(text->data, ':', text->len);
    if (colon == NULL || colon == text->data) {
        return false;
    }
    *part = gv_slice_of(text->data, (size_t)(colon - text->data));
    *text = gv_slice_of(colon + 1, text->len - part->len - 1);
    return true;
}

bool gv_control_key_read(const char *text, struct gv_control_key *key)
{
    struct gv_slice rest = gv_slice_text(text);
    struct gv_slice role;
    if (!take(&rest, &key->id) || !take(&rest, &key->name) || !take(&rest, &role) ||
        rest.len == 0) {
        return false;
    }
    key->role = gv_slice_is(role, "admin") ? GV_CONTROL_ADMIN : GV_CONTROL_USER;
    key->key = rest;
    return key->role == GV_CONTROL_ADMIN || gv_slice_is(role, "user");
}
