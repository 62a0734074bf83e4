/*
 * settings.c - small named values of the whole cluster: the newest version wins. Private, see
 * machine.h.
 *
 * A setting is passed on by whoever learns something new from it, as worker records are, and lives
 * as long as any node does. One that was unset stays as such for a time, so that unsetting wins,
 * too. What a name means, and whether its value makes sense, is the shell's matter: an engine also
 * carries settings that only newer nodes understand.
 */
#include "grapevine/base/assert.h"
#include "grapevine/base/map.h"
#include "machine.h"

static bool is_expired(const struct gv_gossip_setting *setting, uint64_t before_ms)
{
    return setting->deleted && setting->version_ms < before_ms;
}

static struct gv_gossip_setting *find(struct gv_gossip *gossip, const char *name)
{
    for (uint32_t i = 0; i < gossip->setting_count; i++) {
        if (strcmp(gossip->settings[i].name, name) == 0) {
            return &gossip->settings[i];
        }
    }
    return NULL;
}

/* Room for a name that is not there; NULL: GV_SETTINGS_MAX are. */
static struct gv_gossip_setting *open_row(struct gv_gossip *gossip)
{
    for (uint32_t i = 0; i < gossip->setting_count; i++) {
        if (is_expired(&gossip->settings[i], gv_records_expiry_ms(gossip))) {
            return &gossip->settings[i];
        }
    }
    return gossip->setting_count == GV_SETTINGS_MAX ? NULL
                                                    : &gossip->settings[gossip->setting_count++];
}

static bool is_newer(const struct gv_gossip_setting *a, const struct gv_gossip_setting *b)
{
    return a->version_ms != b->version_ms ? a->version_ms > b->version_ms
                                          : strcmp(a->origin, b->origin) > 0;
}

/** A hash over all settings, but for those that were unset long ago. */
uint64_t gv_settings_digest(const struct gv_gossip *gossip)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < gossip->setting_count; i++) {
        const struct gv_gossip_setting *setting = &gossip->settings[i];
        if (!is_expired(setting, gv_records_expiry_ms(gossip))) {
            uint64_t secret[2] = {setting->version_ms, 0x73657474};
            secret[1] ^= gv_siphash(secret, gv_slice_text(setting->name));
            sum += gv_siphash(secret, gv_slice_text(setting->origin));
        }
    }
    return sum;
}

/* Messages in `rows` and `list`, each with room for `count`, of settings from `from` on. */
static void send_rows(struct gv_gossip *gossip, const struct gv_gossip_setting *from, size_t count,
                      struct gv_channel *to, const struct gv_channel *except)
{
    Mesh__Setting rows[GV_SETTINGS_MAX];
    Mesh__Setting *list[GV_SETTINGS_MAX];
    Mesh__Settings settings = MESH__SETTINGS__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    if (count == 0) {
        return;
    }
    GV_ASSERT(count <= GV_SETTINGS_MAX);
    for (size_t i = 0; i < count; i++) {
        mesh__setting__init(&rows[i]);
        rows[i].name = (char *)(uintptr_t)from[i].name;
        rows[i].value = (char *)(uintptr_t)from[i].value;
        rows[i].origin = (char *)(uintptr_t)from[i].origin;
        rows[i].version_ms = from[i].version_ms;
        rows[i].deleted = from[i].deleted;
        list[i] = &rows[i];
    }
    settings.settings = list;
    settings.n_settings = count;
    message.body_case = MESH__MESSAGE__BODY_SETTINGS;
    message.settings = &settings;
    if (to != NULL) {
        gv_wire_send(gossip, to, &message);
    } else {
        gv_wire_broadcast_eager(gossip, &message, except);
    }
}

/** All settings to one session. */
void gv_settings_send(struct gv_gossip *gossip, struct gv_channel *session)
{
    send_rows(gossip, gossip->settings, gossip->setting_count, session, NULL);
}

/* Take it in and pass it on. Errors: GV_ESTALE not newer than what is held; GV_EFULL. */
static enum gv_err take(struct gv_gossip *gossip, const struct gv_gossip_setting *setting,
                        const struct gv_channel *except)
{
    struct gv_gossip_setting *row = find(gossip, setting->name);
    if (row != NULL && !is_newer(setting, row)) {
        return GV_ESTALE;
    }
    row = row == NULL ? open_row(gossip) : row;
    if (row == NULL) {
        return GV_EFULL;
    }
    *row = *setting;
    if (gossip->store.setting_changed != NULL) {
        gossip->store.setting_changed(gossip->store.owner, row);
    }
    send_rows(gossip, row, 1, NULL, except);
    return GV_OK;
}

void gv_settings_take(struct gv_gossip *gossip, struct gv_channel *session,
                      const Mesh__Settings *settings)
{
    for (size_t i = 0; i < settings->n_settings; i++) {
        const Mesh__Setting *from = settings->settings[i];
        struct gv_gossip_setting setting = {.version_ms = from->version_ms,
                                            .deleted = from->deleted != 0};
        (void)gv_slice_copy_text(gv_slice_text(from->name), setting.name, sizeof setting.name);
        (void)gv_slice_copy_text(gv_slice_text(from->value), setting.value, sizeof setting.value);
        (void)gv_slice_copy_text(gv_slice_text(from->origin), setting.origin,
                                 sizeof setting.origin);
        if (setting.version_ms > gossip->now.wall_ms + GV_INCARNATION_AHEAD_MAX_MS) {
            gossip->counters.refused_stamps += 1;
        } else if (!is_expired(&setting, gv_records_expiry_ms(gossip)) &&
                   take(gossip, &setting, session) == GV_EFULL) {
            gossip->counters.records_refused += 1;
        }
    }
}

/** As gv_workers_redate(). */
void gv_settings_redate(struct gv_gossip *gossip, uint64_t back_ms)
{
    for (uint32_t i = 0; i < gossip->setting_count; i++) {
        struct gv_gossip_setting *setting = &gossip->settings[i];
        uint64_t version_ms = gv_clocks_redate(gossip, setting->version_ms, back_ms);
        if (version_ms != setting->version_ms) {
            setting->version_ms = version_ms;
            send_rows(gossip, setting, 1, NULL, NULL);
        }
    }
}

enum gv_err gv_gossip_put_setting(struct gv_gossip *gossip, const char *name, const char *value,
                                  struct gv_now now)
{
    struct gv_gossip_setting setting = {.version_ms = now.wall_ms, .deleted = value == NULL};
    gossip->now = now;
    gv_outbox_begin(&gossip->outbox);
    if (name[0] == '\0' ||
        !gv_slice_copy_text(gv_slice_text(name), setting.name, sizeof setting.name) ||
        !gv_slice_copy_text(gv_slice_text(value == NULL ? "" : value), setting.value,
                            sizeof setting.value)) {
        return GV_EINVAL;
    }
    memcpy(setting.origin, gossip->self->member.name, sizeof setting.origin);
    const struct gv_gossip_setting *known = find(gossip, name);
    if (value == NULL && (known == NULL || known->deleted)) {
        return GV_ENOTFOUND;
    }
    if (known != NULL && known->version_ms >= setting.version_ms) {
        setting.version_ms = known->version_ms + 1;
    }
    return take(gossip, &setting, NULL);
}

uint32_t gv_gossip_settings(const struct gv_gossip *gossip,
                            struct gv_gossip_setting settings[GV_SETTINGS_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < gossip->setting_count; i++) {
        if (!gossip->settings[i].deleted) {
            settings[count++] = gossip->settings[i];
        }
    }
    return count;
}
