/*
 * judgement.h - may this peer come in? Its hello beside ours, and what is told when not.
 *
 * Private to cluster/. The mesh thread.
 */
#ifndef GV_CLUSTER_JUDGEMENT_H
#define GV_CLUSTER_JUDGEMENT_H

#include "links.h"

#define GV_JUDGEMENT_VALUE_BYTES GV_CLUSTER_ID_MAX

/* Why a peer is refused; the number travels. */
enum gv_refusal {
    GV_REFUSAL_NONE = 0,
    GV_REFUSAL_CLUSTER = 1,
    GV_REFUSAL_BLOCK = 2,
    GV_REFUSAL_PROTOCOL = 3,
    GV_REFUSAL_KEY = 4,
    GV_REFUSAL_HELLO = 5
};

struct gv_judgement {
    enum gv_refusal refusal;
    const char *what;
    char ours[GV_JUDGEMENT_VALUE_BYTES];
    char theirs[GV_JUDGEMENT_VALUE_BYTES];
};

/** Judge what the peer has shown; fills the link's hello. Key first: whoever has another key is a
 * stranger whatever else it says. */
void gv_judgement_make(struct gv_link *link, const struct gv_session_event *event,
                       struct gv_judgement *judgement);

/** What an operator can do about a refusal. */
const char *gv_judgement_advice(const struct gv_judgement *judgement);

/** Count a refusal. */
void gv_judgement_count(struct gv_cluster_counters *counters, enum gv_refusal refusal);

#endif
