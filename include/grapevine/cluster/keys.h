/*
 * keys.h - the key ring of a running node: shown, and rotated. Only ids are ever shown.
 *
 * A change is written to the file of --mesh-keyring first, then made known to the mesh thread,
 * which follows within a tenth of a second (`applied`). Sessions whose key left the ring are closed
 * and opened anew under one that is there. Any thread; one caller at a time waits for the disk.
 */
#ifndef GV_CLUSTER_KEYS_H
#define GV_CLUSTER_KEYS_H

#include "grapevine/cluster/cluster.h"
#include "grapevine/seal/keyring.h"

struct gv_cluster_keys {
    uint32_t count; /* 0: this node has no keys */
    struct gv_key_id ids[GV_KEYRING_KEYS_MAX];
    struct gv_key_id active;
    struct gv_key_id fingerprint; /* equal on nodes that know prompts by the same numbers */
    bool applied;                 /* the mesh uses what is shown */
};

void gv_cluster_keys_list(struct gv_cluster *cluster, struct gv_cluster_keys *keys);

/**
 * Add a key that gv_keyring_seal_key() sealed; it can be understood from then on, and is not yet
 * used. Errors: those of gv_keyring_open_key(), GV_OK for a key that is there; GV_EMISMATCH
 * this node has no keys; GV_EIO the file could not be written, and nothing has changed; GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_cluster_keys_install(struct gv_cluster *cluster, struct gv_slice sealed,
                                                struct gv_key_id *id);

/** Seal with this key from now on. Errors: GV_ENOTFOUND; GV_EMISMATCH, GV_EIO, GV_ENOMEM as above.
 */
GV_MUST_USE enum gv_err gv_cluster_keys_use(struct gv_cluster *cluster, struct gv_key_id id);

/** Remove a key that is not in use. Errors: GV_ENOTFOUND; GV_EREFUSED it is in use; as above. */
GV_MUST_USE enum gv_err gv_cluster_keys_retire(struct gv_cluster *cluster, struct gv_key_id id);

#endif
