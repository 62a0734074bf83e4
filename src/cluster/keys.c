/*
 * keys.c - two copies of the key ring: `wanted`, under a lock, changed by any thread and written to
 * the file; and `live`, the mesh thread's own, which sessions and packets borrow and which follows.
 *
 * The disk is waited for on the caller's thread, so that the mesh never stands still for it.
 */
#include "grapevine/cluster/keys.h"

#include "shell.h"

struct gv_keys {
    struct gv_mutex change;    /* one change at a time, file included */
    struct gv_mutex lock;      /* guards the rest but `live` */
    struct gv_keyring *wanted; /* owned; NULL: no keys */
    uint64_t wanted_count;     /* changes made ... */
    uint64_t applied_count;    /* ... and followed */
    struct gv_keyring *live;   /* owned; mesh thread */
    const char *path;          /* borrowed from the configuration; "" : nothing is kept */
};

enum gv_err gv_keys_open(struct gv_cluster *cluster)
{
    struct gv_keys *keys = gv_mem_new(GV_MEM_GOSSIP, sizeof *keys);
    if (keys == NULL) {
        return GV_ENOMEM;
    }
    const char *path = cluster->options.config->mesh_keyring;
    cluster->keys = keys;
    gv_mutex_init(&keys->change);
    gv_mutex_init(&keys->lock);
    keys->path = path == NULL ? "" : path;
    if (cluster->options.keyring == NULL) {
        return GV_OK;
    }
    keys->wanted = gv_keyring_clone(cluster->options.keyring);
    keys->live = gv_keyring_clone(cluster->options.keyring);
    return keys->wanted == NULL || keys->live == NULL ? GV_ENOMEM : GV_OK;
}

void gv_keys_close(struct gv_cluster *cluster)
{
    struct gv_keys *keys = cluster->keys;
    if (keys == NULL) {
        return;
    }
    gv_keyring_free(keys->wanted);
    gv_keyring_free(keys->live);
    gv_mutex_deinit(&keys->lock);
    gv_mutex_deinit(&keys->change);
    gv_mem_free(GV_MEM_GOSSIP, keys);
    cluster->keys = NULL;
}

const struct gv_keyring *gv_keys_live(const struct gv_cluster *cluster)
{
    return cluster->keys->live;
}

void gv_keys_follow(struct gv_cluster *cluster)
{
    struct gv_keys *keys = cluster->keys;
    bool moved = false;
    gv_mutex_lock(&keys->lock);
    if (keys->applied_count != keys->wanted_count) {
        keys->applied_count = keys->wanted_count;
        gv_keyring_assign(keys->live, keys->wanted);
        moved = true;
    }
    gv_mutex_unlock(&keys->lock);
    if (moved && cluster->links != NULL) {
        gv_links_rekey(cluster->links);
    }
}

void gv_cluster_keys_list(struct gv_cluster *cluster, struct gv_cluster_keys *list)
{
    struct gv_keys *keys = cluster->keys;
    *list = (struct gv_cluster_keys){.count = 0};
    gv_mutex_lock(&keys->lock);
    list->count = (uint32_t)gv_keyring_count(keys->wanted);
    for (uint32_t i = 0; i < list->count; i++) {
        list->ids[i] = gv_keyring_id(keys->wanted, i);
    }
    list->active = gv_keyring_active(keys->wanted);
    list->fingerprint = gv_keyring_fingerprint_id(keys->wanted);
    list->applied = keys->applied_count == keys->wanted_count;
    gv_mutex_unlock(&keys->lock);
}

/* ---- changes: begin() a copy, change it, finish() ----------------------------------------------
 */

static enum gv_err begin(struct gv_keys *keys, struct gv_keyring **fresh)
{
    *fresh = NULL;
    if (keys->wanted == NULL) {
        return GV_EMISMATCH;
    }
    gv_mutex_lock(&keys->change);
    gv_mutex_lock(&keys->lock);
    *fresh = gv_keyring_clone(keys->wanted);
    gv_mutex_unlock(&keys->lock);
    return *fresh == NULL ? GV_ENOMEM : GV_OK;
}

/* Keep it and make it known, unless the change itself failed with `err`. */
static enum gv_err finish(struct gv_keys *keys, struct gv_keyring *fresh, enum gv_err err,
                          const char *event, struct gv_key_id id)
{
    char text[GV_KEY_ID_TEXT_BYTES];
    bool began = keys->wanted != NULL;
    if (err == GV_OK && keys->path[0] != '\0') {
        err = gv_keyring_save(fresh, keys->path);
    }
    if (err == GV_OK) {
        gv_mutex_lock(&keys->lock);
        gv_keyring_assign(keys->wanted, fresh);
        keys->wanted_count += 1;
        gv_mutex_unlock(&keys->lock);
        gv_log(GV_LOG_INFO, event, GV_STR("key", gv_key_id_format(id, text)));
    } else if (err != GV_EEXISTS) {
        gv_log(GV_LOG_WARN, "key.unchanged", GV_STR("wanted", event),
               GV_STR("key", gv_key_id_format(id, text)), GV_STR("path", keys->path), GV_ERR(err));
    }
    if (began) {
        gv_mutex_unlock(&keys->change);
    }
    gv_keyring_free(fresh);
    return err;
}

enum gv_err gv_cluster_keys_install(struct gv_cluster *cluster, struct gv_slice sealed,
                                    struct gv_key_id *id)
{
    struct gv_keyring *fresh;
    *id = (struct gv_key_id){{0}};
    enum gv_err err = begin(cluster->keys, &fresh);
    if (err == GV_OK) {
        err = gv_keyring_open_key(fresh, sealed, id);
    }
    err = finish(cluster->keys, fresh, err, "key.installed", *id);
    return err == GV_EEXISTS ? GV_OK : err;
}

enum gv_err gv_cluster_keys_use(struct gv_cluster *cluster, struct gv_key_id id)
{
    struct gv_keyring *fresh;
    enum gv_err err = begin(cluster->keys, &fresh);
    if (err == GV_OK) {
        err = gv_keyring_use(fresh, id);
    }
    return finish(cluster->keys, fresh, err, "key.used", id);
}

enum gv_err gv_cluster_keys_retire(struct gv_cluster *cluster, struct gv_key_id id)
{
    struct gv_keyring *fresh;
    enum gv_err err = begin(cluster->keys, &fresh);
    if (err == GV_OK) {
        err = gv_keyring_remove(fresh, id);
    }
    return finish(cluster->keys, fresh, err, "key.retired", id);
}
