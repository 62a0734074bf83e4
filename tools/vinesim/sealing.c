/*
 * sealing.c - see sealing.h. Believing follows cluster/packets: a (sender, start) pair that nobody
 * has met is not believed, and each has a window for as long as the receiver lives.
 */
#include "sealing.h"

#include "grapevine/seal/packet.h"
#include "grapevine/seal/session.h"

#include <stdlib.h>
#include <string.h>

#define RECORDS_MAX 512

struct belief {
    uint64_t boot_id;
    uint64_t sender; /* the hash of its name */
    uint32_t node;
    struct gv_packet_window window;
};

/* What one node holds in one life. */
struct holder {
    struct gv_packet_box box;
    struct gv_identity *identity; /* owned; of all lives */
    struct belief *beliefs;       /* owned */
    uint32_t belief_count, belief_room;
};

/* A packet that was accepted. */
struct record {
    uint32_t to;
    size_t len;
    uint8_t bytes[GV_PACKET_MAX_BYTES];
};

struct sealing {
    struct world *world;                  /* borrowed */
    struct gv_keyring *ring, *other_ring; /* owned */
    struct gv_prng prng;                  /* of the attacker, apart from the world's */
    struct holder *holders;               /* owned; one per node */
    struct gv_session **sessions;         /* owned; by 2 * connection + end; NULL: ended */
    size_t session_room;
    uint64_t taking; /* number whose messages are being taken, plus one */
    bool taking_ended;
    struct gv_buf out, plain;
    struct record records[RECORDS_MAX];
    uint64_t record_count;
    struct sealing_counters counters;
};

#define CLUSTER "sim"

static void must(bool good)
{
    if (!good) {
        abort();
    }
}

static struct gv_keyring *make_ring(void)
{
    struct gv_key_id id;
    struct gv_keyring *ring = gv_keyring_new();
    must(ring != NULL && gv_keyring_generate(ring, &id) == GV_OK &&
         gv_keyring_use(ring, id) == GV_OK);
    return ring;
}

struct sealing *sealing_new(struct world *world)
{
    struct sealing *sealing = calloc(1, sizeof *sealing);
    must(sealing != NULL);
    uint32_t count = world_slots(world);
    sealing->world = world;
    sealing->ring = make_ring();
    sealing->other_ring = make_ring();
    gv_prng_init(&sealing->prng, world->options.seed ^ UINT64_C(0x7365616c));
    gv_buf_init(&sealing->out, GV_MEM_GOSSIP, (size_t)4 << 20);
    gv_buf_init(&sealing->plain, GV_MEM_GOSSIP, GV_PACKET_MAX_BYTES);
    sealing->holders = calloc(count, sizeof *sealing->holders);
    must(sealing->holders != NULL);
    for (uint32_t i = 0; i < count; i++) {
        sealing->holders[i].identity = gv_identity_new();
        must(sealing->holders[i].identity != NULL);
    }
    return sealing;
}

void sealing_free(struct sealing *sealing)
{
    if (sealing == NULL) {
        return;
    }
    for (size_t i = 0; i < sealing->session_room; i++) {
        gv_session_free(sealing->sessions[i]);
    }
    for (uint32_t i = 0; i < world_slots(sealing->world); i++) {
        gv_identity_free(sealing->holders[i].identity);
        free(sealing->holders[i].beliefs);
    }
    gv_keyring_free(sealing->ring);
    gv_keyring_free(sealing->other_ring);
    gv_buf_deinit(&sealing->out);
    gv_buf_deinit(&sealing->plain);
    free(sealing->sessions);
    free(sealing->holders);
    free(sealing);
}

const struct sealing_counters *sealing_counters(const struct sealing *sealing)
{
    return &sealing->counters;
}

/* ---- datagrams ---------------------------------------------------------------------------------
 */

void sealing_start(struct sealing *sealing, uint32_t i)
{
    struct holder *holder = &sealing->holders[i];
    const struct world_node *node = &sealing->world->nodes[i];
    holder->belief_count = 0;
    must(gv_packet_box_init(&holder->box, sealing->ring, CLUSTER, node->name, node->boot_id) ==
         GV_OK);
}

static struct belief *belief_in(struct holder *holder, uint64_t sender, uint64_t boot_id)
{
    for (uint32_t i = 0; i < holder->belief_count; i++) {
        struct belief *at = &holder->beliefs[i];
        if (at->boot_id == boot_id && at->sender == sender) {
            return at;
        }
    }
    return NULL;
}

void sealing_believe(struct sealing *sealing, uint32_t i, uint32_t about, uint64_t boot_id)
{
    struct holder *holder = &sealing->holders[i];
    for (uint32_t at = 0; at < holder->belief_count; at++) {
        if (holder->beliefs[at].boot_id == boot_id && holder->beliefs[at].node == about) {
            return;
        }
    }
    if (holder->belief_count == holder->belief_room) {
        holder->belief_room = holder->belief_room == 0 ? 16 : holder->belief_room * 2;
        holder->beliefs = realloc(holder->beliefs, holder->belief_room * sizeof *holder->beliefs);
        must(holder->beliefs != NULL);
    }
    holder->beliefs[holder->belief_count++] =
        (struct belief){.boot_id = boot_id,
                        .sender = gv_packet_name_hash(sealing->world->nodes[about].name),
                        .node = about};
}

struct gv_slice sealing_seal(struct sealing *sealing, uint32_t from, const struct gv_effect *effect)
{
    gv_buf_clear(&sealing->out);
    must(gv_packet_seal(&sealing->holders[from].box, effect->node, effect->boot_id, effect->bytes,
                        &sealing->out) == GV_OK);
    return gv_buf_slice(&sealing->out);
}

static void keep(struct sealing *sealing, uint32_t to, const struct world_message *message)
{
    struct record *record = &sealing->records[sealing->record_count++ % RECORDS_MAX];
    record->to = to;
    record->len = message->len;
    memcpy(record->bytes, message->bytes, message->len);
}

bool sealing_open(struct sealing *sealing, uint32_t i, const struct world_message *message,
                  uint32_t *sender, struct gv_slice *plain)
{
    struct holder *holder = &sealing->holders[i];
    struct gv_slice bytes = gv_slice_of(message->bytes, message->len);
    struct gv_packet_head head;
    struct belief *belief = NULL;
    gv_buf_clear(&sealing->plain);
    enum gv_err err = gv_packet_peek(&holder->box, bytes, &head);
    if (err == GV_OK) {
        belief = belief_in(holder, head.sender, head.boot);
        err = belief == NULL
                  ? GV_EAUTH
                  : gv_packet_open(&holder->box, sealing->world->nodes[belief->node].name,
                                   &belief->window, bytes, &sealing->plain);
    }
    sealing->counters.hostile_sent += message->is_hostile;
    if (err != GV_OK) {
        sealing->counters.packets_refused += !message->is_hostile;
        return false;
    }
    if (message->is_hostile || message->is_damaged) {
        sealing->counters.hostile_accepted += 1;
        world_blame(sealing->world, "%s believed a packet that was repeated, forged or damaged",
                    sealing->world->nodes[i].name);
    }
    sealing->counters.packets_opened += 1;
    keep(sealing, i, message);
    *sender = belief->node;
    *plain = gv_buf_slice(&sealing->plain);
    return true;
}

/* ---- sessions ----------------------------------------------------------------------------------
 */

static struct gv_session *make_session(struct sealing *sealing, uint32_t node, uint32_t end,
                                       struct gv_buf *out)
{
    struct gv_session *made;
    struct gv_session_options options = {.role =
                                             end == 0 ? GV_SESSION_INITIATOR : GV_SESSION_ACCEPTOR,
                                         .ring = sealing->ring,
                                         .identity = sealing->holders[node].identity,
                                         .hello = gv_slice_text(sealing->world->nodes[node].name),
                                         .max_message_bytes = GV_GOSSIP_FRAME_MAX};
    must(gv_session_new(options, out, &made) == GV_OK);
    return made;
}

/* What is in `out` of one side goes to the other, which answers. False: it refused. */
static bool carry(struct sealing *sealing, struct gv_session *to, struct gv_buf *from,
                  struct gv_buf *answer)
{
    struct gv_session_event event = {.type = GV_SESSION_NONE};
    if (gv_prng_unit(&sealing->world->prng) < sealing->world->options.corrupt) {
        sealing_damage(sealing, from->data + from->start, from->len);
    }
    enum gv_err err = gv_session_feed(to, gv_buf_slice(from));
    gv_buf_clear(from);
    do {
        err = err == GV_OK ? gv_session_next(to, &event) : err;
        if (err == GV_OK && event.type == GV_SESSION_OPENED) {
            err = event.verdict == GV_OK ? gv_session_accept(to, answer) : event.verdict;
        }
    } while (err == GV_OK && event.type != GV_SESSION_NONE);
    return err == GV_OK;
}

bool sealing_connect(struct sealing *sealing, uint64_t connection)
{
    struct gv_session **ends;
    struct gv_buf out[2];
    if (connection * 2 + 2 > sealing->session_room) {
        size_t room = sealing->session_room == 0 ? 512 : sealing->session_room * 2;
        sealing->sessions = realloc(sealing->sessions, room * sizeof(struct gv_session *));
        must(sealing->sessions != NULL);
        memset(sealing->sessions + sealing->session_room, 0,
               (room - sealing->session_room) * sizeof(struct gv_session *));
        sealing->session_room = room;
    }
    ends = sealing->sessions + connection * 2;
    for (uint32_t end = 0; end < 2; end++) {
        gv_buf_init(&out[end], GV_MEM_GOSSIP, 65536);
        ends[end] = make_session(sealing, sealing->world->connections[connection].end[end].node,
                                 end, &out[end]);
    }
    bool good = true;
    while (good && (out[0].len > 0 || out[1].len > 0)) {
        uint32_t from = out[0].len > 0 ? 0 : 1;
        good = carry(sealing, ends[1 - from], &out[from], &out[1 - from]);
    }
    good = good && gv_session_is_established(ends[0]) && gv_session_is_established(ends[1]);
    gv_buf_deinit(&out[0]);
    gv_buf_deinit(&out[1]);
    if (!good) {
        sealing->counters.handshakes_refused += 1;
        sealing_hang_up(sealing, connection * 2);
        sealing_hang_up(sealing, connection * 2 + 1);
    }
    return good;
}

struct gv_slice sealing_frame(struct sealing *sealing, uint64_t number, struct gv_slice bytes)
{
    gv_buf_clear(&sealing->out);
    must(gv_session_send(sealing->sessions[number], bytes, &sealing->out) == GV_OK);
    return gv_buf_slice(&sealing->out);
}

void sealing_feed(struct sealing *sealing, uint64_t number, struct gv_slice bytes)
{
    sealing->taking = number + 1;
    sealing->taking_ended = gv_session_feed(sealing->sessions[number], bytes) != GV_OK;
}

bool sealing_next(struct sealing *sealing, uint64_t number, struct gv_slice *message,
                  enum gv_err *err)
{
    struct gv_session_event event = {.type = GV_SESSION_NONE};
    *err = GV_OK;
    if (!sealing->taking_ended) {
        *err = gv_session_next(sealing->sessions[number], &event);
    }
    if (*err == GV_OK && event.type == GV_SESSION_MESSAGE) {
        *message = event.bytes;
        return true;
    }
    sealing->counters.frames_refused += *err != GV_OK;
    sealing->taking = 0;
    if (sealing->taking_ended) {
        sealing_hang_up(sealing, number);
    }
    return false;
}

void sealing_hang_up(struct sealing *sealing, uint64_t number)
{
    if (sealing->taking == number + 1) {
        sealing->taking_ended = true; /* freed when its bytes are not in use any more */
        return;
    }
    gv_session_free(sealing->sessions[number]);
    sealing->sessions[number] = NULL;
}

/* ---- harm --------------------------------------------------------------------------------------
 */

void sealing_damage(struct sealing *sealing, uint8_t *bytes, size_t len)
{
    uint32_t bits = gv_prng_below(&sealing->prng, 2) == 0 ? 1 : 3; /* odd: never what it was */
    for (uint32_t i = 0; i < bits && len > 0; i++) {
        uint64_t bit = gv_prng_below(&sealing->prng, len * 8);
        bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
}

/* Somebody well made, but not one of us. */
static void forge(struct sealing *sealing, enum hostile_kind kind, uint32_t to,
                  struct gv_buf *packet)
{
    const struct world *world = sealing->world;
    uint32_t sender = (to + 1) % world->options.node_count;
    uint8_t plain[64];
    struct gv_packet_box box = {0};
    for (size_t i = 0; i < sizeof plain; i++) {
        plain[i] = (uint8_t)gv_prng_below(&sealing->prng, 256);
    }
    const struct gv_keyring *ring = kind == HOSTILE_KEY       ? sealing->other_ring
                                    : kind == HOSTILE_KEYLESS ? NULL
                                                              : sealing->ring;
    uint64_t boot_id = world->nodes[sender].boot_id + (kind == HOSTILE_BOOT);
    must(gv_packet_box_init(&box, ring, kind == HOSTILE_CLUSTER ? "other" : CLUSTER,
                            world->nodes[sender].name, boot_id) == GV_OK);
    box.counter = UINT64_C(1) << 40; /* new to every window */
    must(gv_packet_seal(&box, world->nodes[to].name, world->nodes[to].boot_id,
                        gv_slice_of(plain, sizeof plain), packet) == GV_OK);
}

static void replay(struct sealing *sealing, enum hostile_kind kind, uint32_t *to,
                   struct gv_buf *packet)
{
    uint64_t known = sealing->record_count < RECORDS_MAX ? sealing->record_count : RECORDS_MAX;
    const struct record *record = &sealing->records[gv_prng_below(&sealing->prng, known)];
    size_t len = kind == HOSTILE_CUT ? gv_prng_below(&sealing->prng, record->len) : record->len;
    must(gv_buf_append(packet, gv_slice_of(record->bytes, len)) == GV_OK);
    if (kind == HOSTILE_FLIPPED) {
        sealing_damage(sealing, packet->data + packet->start, packet->len);
    }
    bool strays = kind == HOSTILE_ASTRAY && sealing->world->options.node_count > 1;
    *to = strays ? (record->to + 1) % sealing->world->options.node_count : record->to;
}

void sealing_attack(struct sealing *sealing, enum hostile_kind kind)
{
    struct world *world = sealing->world;
    uint32_t to = (uint32_t)gv_prng_below(&sealing->prng, world->options.node_count);
    struct gv_buf packet;
    gv_buf_init(&packet, GV_MEM_GOSSIP, GV_PACKET_MAX_BYTES);
    if (kind <= HOSTILE_CUT && sealing->record_count > 0) {
        replay(sealing, kind, &to, &packet);
    } else if (kind <= HOSTILE_GARBAGE) {
        uint64_t len = gv_prng_below(&sealing->prng, 300);
        for (uint64_t i = 0; i < len; i++) {
            uint8_t byte = (uint8_t)gv_prng_below(&sealing->prng, 256);
            must(gv_buf_append(&packet, gv_slice_of(&byte, 1)) == GV_OK);
        }
    } else {
        forge(sealing, kind, to, &packet);
    }
    sealing->counters.sent_by_kind[kind] += 1;
    world_hostile_packet(world, to, gv_buf_slice(&packet));
    gv_buf_deinit(&packet);
}
