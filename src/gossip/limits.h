/*
 * limits.h - every limit of the mesh's wire and tables, in one place. Private to gossip.
 *
 * Checked right after unpacking (codec.c); unpacking itself runs in an arena of
 * GV_UNPACK_BYTES_MAX, so that no message can ask for more memory than that.
 */
#ifndef GV_GOSSIP_LIMITS_H
#define GV_GOSSIP_LIMITS_H

#include "grapevine/gossip/engine.h"

#define GV_LOG_EPOCH_S UINT64_C(1577836800) /* stamps count from 2020-01-01, in Unix seconds */

#define GV_STAMP_AHEAD_MAX_S 60 /* of our clock; what is stamped later is refused */

#define GV_SEQUENCE_MAX (UINT64_MAX / 4) /* no node says or publishes so much */

#define GV_UNPACK_BYTES_MAX   (16 * 1024 * 1024) /* memory of one unpacked message */
#define GV_GOSSIP_URL_MAX     511                /* bytes of a worker's URL */
#define GV_GOSSIP_KEY_MAX     279                /* bytes of "pool::model" */
#define GV_GOSSIP_MODEL_MAX   255
#define GV_GOSSIP_MODELS_MAX  16
#define GV_GOSSIP_REASON_MAX  255
#define GV_GOSSIP_RUNTIME_MAX 15
#define GV_GOSSIP_LABELS_MAX  511

#define GV_BATCH_OPERATIONS_MAX 16384 /* operations in one batch or chunk */
#define GV_OPERATION_PRINTS_MAX 16384 /* fingerprints in one operation */
#define GV_DICTIONARY_MAX       16384 /* keys, or workers, in one batch or chunk */
#define GV_VECTOR_MAX           4096  /* origins known: (node, boot) */
#define GV_STATE_MEMBERS_MAX    256   /* members in one State, or Members */
#define GV_ROSTER_SUMS          32    /* shares of the names, when rosters are compared */
#define GV_WORKERS_BYTES        (64 * 1024)
#define GV_NODE_STATE_MAX       512   /* loads and opinions in one NodeState */
#define GV_NEWS_MAX             16    /* members in one packet */
#define GV_RECORDS_MAX          16384 /* worker records; loads and opinions per node */

/* Of all worker records as they travel: whoever connects is sent them all at once, and they must
 * find room in the queue of a session. */
#define GV_RECORDS_BYTES   (4 * 1024 * 1024)
#define GV_RECORD_OVERHEAD 64 /* of one, besides its texts */

/* Of all other nodes together: 1,000 of them with 240 workers each and 22 tenants. Beyond it
 * whoever says more than an equal share of it, and than GV_SAYINGS_FAIR, finds room only where it
 * has nothing left to say: nobody's many words leave others without any, and there are never more
 * than twice as many. */
#define GV_SAYINGS_MAX  262144
#define GV_SAYINGS_FAIR 64

#define GV_RANGE_BYTES          (32 * 1024)  /* of operations in one message of a range */
#define GV_SNAPSHOT_CHUNK_BYTES (64 * 1024)  /* of operations in one chunk */
#define GV_PACE_BYTES           (512 * 1024) /* ranges and chunks wait while more is queued */

#define GV_SILENT_SESSION_MS 30000 /* without a whole message; 256 KiB may take as long */
#define GV_STUCK_SESSION_MS  4000  /* without one, and then its node was heard by datagram */

#define GV_SESSIONS_PER_MEMBER_MAX 4
#define GV_DIALS_MAX               4096

#endif
