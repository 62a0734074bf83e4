/*
 * judgement.c - see judgement.h.
 */
#include "judgement.h"

#include <stdio.h>
#include <string.h>

static void write_fingerprint(uint64_t fingerprint, char value[GV_JUDGEMENT_VALUE_BYTES])
{
    struct gv_key_id id;
    _Static_assert(GV_KEY_ID_TEXT_BYTES <= GV_JUDGEMENT_VALUE_BYTES, "an id fits");
    memcpy(id.bytes, &fingerprint, sizeof id.bytes);
    (void)gv_key_id_format(id, value);
}

static void judge_hello(const struct gv_gossip_hello *mine, const struct gv_gossip_hello *theirs,
                        struct gv_judgement *judgement)
{
    if (strcmp(mine->cluster_id, theirs->cluster_id) != 0) {
        judgement->refusal = GV_REFUSAL_CLUSTER;
        judgement->what = "cluster_id";
        (void)snprintf(judgement->ours, GV_JUDGEMENT_VALUE_BYTES, "%s", mine->cluster_id);
        (void)snprintf(judgement->theirs, GV_JUDGEMENT_VALUE_BYTES, "%s", theirs->cluster_id);
    } else if (mine->block_bytes != theirs->block_bytes) {
        judgement->refusal = GV_REFUSAL_BLOCK;
        judgement->what = "block_bytes";
        (void)snprintf(judgement->ours, GV_JUDGEMENT_VALUE_BYTES, "%u", mine->block_bytes);
        (void)snprintf(judgement->theirs, GV_JUDGEMENT_VALUE_BYTES, "%u", theirs->block_bytes);
    } else if (mine->fingerprint != theirs->fingerprint && mine->fingerprint != 0 &&
               theirs->fingerprint != 0) {
        judgement->refusal = GV_REFUSAL_KEY;
        judgement->what = "fingerprint";
        write_fingerprint(mine->fingerprint, judgement->ours);
        write_fingerprint(theirs->fingerprint, judgement->theirs);
    } else if (mine->protocol_min > theirs->protocol_max ||
               theirs->protocol_min > mine->protocol_max) {
        judgement->refusal = GV_REFUSAL_PROTOCOL;
        judgement->what = "protocol";
        (void)snprintf(judgement->ours, GV_JUDGEMENT_VALUE_BYTES, "%u..%u", mine->protocol_min,
                       mine->protocol_max);
        (void)snprintf(judgement->theirs, GV_JUDGEMENT_VALUE_BYTES, "%u..%u", theirs->protocol_min,
                       theirs->protocol_max);
    }
}

void gv_judgement_make(struct gv_link *link, const struct gv_session_event *event,
                       struct gv_judgement *judgement)
{
    const struct gv_session_peer *peer = gv_session_peer(link->session);
    bool readable = gv_gossip_hello_decode(event->bytes, &link->hello) == GV_OK;
    if (!readable) {
        memset(&link->hello, 0, sizeof link->hello);
    }
    if (peer->version != GV_SESSION_VERSION) {
        judgement->refusal = GV_REFUSAL_PROTOCOL;
        judgement->what = "session_version";
        (void)snprintf(judgement->ours, GV_JUDGEMENT_VALUE_BYTES, "%u",
                       (unsigned)GV_SESSION_VERSION);
        (void)snprintf(judgement->theirs, GV_JUDGEMENT_VALUE_BYTES, "%u", (unsigned)peer->version);
    } else if (event->verdict != GV_OK) {
        char id[GV_KEY_ID_TEXT_BYTES];
        judgement->refusal = GV_REFUSAL_KEY;
        judgement->what = "key";
        (void)snprintf(judgement->ours, GV_JUDGEMENT_VALUE_BYTES, "%s",
                       gv_key_id_format(gv_session_own_key(link->session), id));
        (void)snprintf(judgement->theirs, GV_JUDGEMENT_VALUE_BYTES, "%s",
                       gv_key_id_format(peer->key, id));
    } else if (!readable) {
        judgement->refusal = GV_REFUSAL_HELLO;
        judgement->what = "hello";
        (void)snprintf(judgement->ours, GV_JUDGEMENT_VALUE_BYTES, "%s", "readable");
        (void)snprintf(judgement->theirs, GV_JUDGEMENT_VALUE_BYTES, "%s", "nonsense");
    } else {
        struct gv_gossip_hello mine;
        gv_gossip_hello(link->links->cluster->gossip, &mine);
        judge_hello(&mine, &link->hello, judgement);
    }
}

const char *gv_judgement_advice(const struct gv_judgement *judgement)
{
    static const struct {
        const char *what;
        const char *advice;
    } rows[] = {
        {"cluster_id", "give both the same --cluster-id, or this node other --seeds"},
        {"block_bytes", "give both the same --block-bytes"},
        {"fingerprint", "the keys are the same, the fingerprint lines are not: copy the whole "
                        "--mesh-keyring file of a node that took part in the rotation"},
        {"key", "give both the same --mesh-keyring file; after a rotation that of a node that "
                "took part"},
        {"protocol", "bring both to the same version"},
        {"session_version", "bring both to the same version"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].what, judgement->what) == 0) {
            return rows[i].advice;
        }
    }
    return "is this a node of grapevine?";
}

void gv_judgement_count(struct gv_cluster_counters *counters, enum gv_refusal refusal)
{
    switch (refusal) {
    case GV_REFUSAL_CLUSTER:
        counters->refused_cluster += 1;
        break;
    case GV_REFUSAL_BLOCK:
        counters->refused_block += 1;
        break;
    case GV_REFUSAL_PROTOCOL:
        counters->refused_protocol += 1;
        break;
    case GV_REFUSAL_KEY:
        counters->refused_key += 1;
        break;
    case GV_REFUSAL_NONE:
    case GV_REFUSAL_HELLO:
        counters->refused_handshake += 1;
        break;
    }
}
