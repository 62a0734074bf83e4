/*
 * tree.c - which sessions are the links of the spanning tree? Private to gossip, see machine.h.
 *
 * Batches travel at once along the links of one tree, and are only announced on the other sessions
 * (eager push and lazy announcement as in Plumtree; Leitao, Pereira, Rodrigues, 2007). Plumtree
 * finds its tree by pruning links that bring what is known; with many senders at a time every link
 * of a circle does, and all would be pruned. So the tree is found by distance, as bridges do: the
 * root is whoever comes first by a hash of the name, so all who know the same members know it
 * without a vote; every node tells its sessions how far it is, and takes for its parent whoever is
 * nearest. A link that dies is replaced by the next best at once (a graft; the old parent is told
 * to prune).
 *
 *     eager = the session with our parent, those with our children, and those of peers that do not
 *             relay; all sessions while no way to the root is known
 *
 * A child is never chosen as parent, and distances end at 16, so that circles of stale distances
 * dissolve; meanwhile they cost copies, never operations.
 */
#include "machine.h"

/** Nothing came for more than two digests. */
bool gv_channel_is_silent(const struct gv_gossip *gossip, const struct gv_channel *session)
{
    uint64_t patience_ms = 5 * (uint64_t)gossip->options.digest_interval_ms / 2;
    return gossip->now.now_ms >= session->heard_at_ms + patience_ms;
}

static bool can_be_parent(const struct gv_gossip *gossip, const struct gv_channel *session)
{
    return session->knows_state && !session->is_child && session->peer->session == session &&
           session->tree_root == gossip->ring.root && session->tree_distance + 1 < GV_TREE_FAR &&
           !gv_channel_is_silent(gossip, session);
}

static void choose_parent(struct gv_gossip *gossip)
{
    struct gv_tree *tree = &gossip->tree;
    struct gv_channel *best = NULL;
    if (gossip->ring.root_is_self) {
        tree->parent = NULL;
        tree->distance = 0;
        return;
    }
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        struct gv_channel *at = gossip->sessions[i];
        if (!can_be_parent(gossip, at)) {
            continue;
        }
        bool is_nearer = best == NULL || at->tree_distance < best->tree_distance;
        bool stays = best != NULL && at->tree_distance == best->tree_distance && at == tree->parent;
        if (is_nearer || stays) {
            best = at;
        }
    }
    if (best != tree->parent) {
        gossip->counters.grafts += 1;
    }
    tree->parent = best;
    tree->distance = best == NULL ? GV_TREE_FAR : best->tree_distance + 1;
}

/* Say where we stand, to whom it is new. */
static void tell(struct gv_gossip *gossip, struct gv_channel *session)
{
    uint64_t root = gossip->ring.relays ? gossip->ring.root : 0;
    uint32_t distance = gossip->ring.relays ? gossip->tree.distance : 0;
    bool child = gossip->ring.relays && session == gossip->tree.parent;
    if (!session->knows_state ||
        (session->told_root == root && session->told_distance == distance &&
         session->told_child == child)) {
        return;
    }
    session->told_root = root;
    session->told_distance = distance;
    session->told_child = child;
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__Tree tree = MESH__TREE__INIT;
    tree.root = root;
    tree.distance = distance;
    tree.child = child;
    message.body_case = MESH__MESSAGE__BODY_TREE;
    message.tree = &tree;
    gv_wire_send(gossip, session, &message);
}

/** Something may have changed: choose again, and say so. */
void gv_tree_settle(struct gv_gossip *gossip)
{
    struct gv_tree *tree = &gossip->tree;
    bool parent_is_silent = tree->parent != NULL && gv_channel_is_silent(gossip, tree->parent);
    if (!tree->is_dirty && !parent_is_silent) {
        return;
    }
    tree->is_dirty = false;
    if (gossip->ring.relays) {
        choose_parent(gossip);
    }
    for (uint32_t i = 0; i < gossip->session_count; i++) {
        tell(gossip, gossip->sessions[i]);
    }
}

/** The peer says where it stands. */
void gv_tree_take(struct gv_gossip *gossip, struct gv_channel *session, const Mesh__Tree *tree)
{
    bool same = session->tree_root == tree->root && session->tree_distance == tree->distance &&
                session->is_child == tree->child;
    session->tree_root = tree->root;
    session->tree_distance = tree->distance < GV_TREE_FAR ? tree->distance : GV_TREE_FAR;
    session->is_child = tree->child;
    gossip->tree.is_dirty = gossip->tree.is_dirty || !same;
    if (!same) {
        gv_relay_hurry(gossip, session);
    }
}

void gv_tree_session_gone(struct gv_gossip *gossip, const struct gv_channel *session)
{
    if (gossip->tree.parent == session) {
        gossip->tree.parent = NULL;
        gossip->tree.is_dirty = true;
    }
}

/** Does what is new go over this session at once? */
bool gv_tree_is_eager(const struct gv_gossip *gossip, const struct gv_channel *session)
{
    return !gossip->ring.relays || session == gossip->tree.parent || session->is_child ||
           session->tree_root == 0 || gossip->tree.distance == GV_TREE_FAR;
}
