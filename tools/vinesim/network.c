/*
 * network.c - datagrams and connections of a simulated world. See world.h.
 *
 * Datagrams are lost, doubled and overtake each other. Connections deliver in order: a lost segment
 * costs time instead; a blocked direction holds everything until it is healed. Each direction sends
 * 125 bytes a microsecond (1 Gbit/s); what waits for that is the sender's queue.
 */
#include "sealing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_PER_US    125
#define POLL_US         20000   /* a blocked direction is looked at again */
#define DIAL_TIMEOUT_US 3000000 /* a connect into a black hole */
#define QUEUE_TOLD      65536   /* a queue shorter than this is not worth telling */

static uint64_t delay_us(struct world *world)
{
    double unit = gv_prng_unit(&world->prng);
    return world->options.delay_us + (uint64_t)(-log(1 - unit) * (double)world->options.jitter_us);
}

static bool chance(struct world *world, double share)
{
    return share > 0 && gv_prng_unit(&world->prng) < share;
}

static uint32_t index_at(const struct gv_addr *addr)
{
    return (uint32_t)addr->ip[2] << 8 | addr->ip[3];
}

/* Now and then the network changes some bits; only where a seal will tell. */
static void damage(struct world *world, struct world_message *message)
{
    if (world->sealing != NULL && chance(world, world->options.corrupt)) {
        sealing_damage(world->sealing, message->bytes, message->len);
        message->is_damaged = true;
    }
}

/* ---- datagrams
 * -----------------------------------------------------------------------------------
 */

static void push_packet(struct world *world, uint32_t to, struct world_message *message)
{
    *queue_push(&world->queue, world->now_us + delay_us(world)) = (struct world_event){
        .kind = WORLD_PACKET, .node = to, .life = world->nodes[to].life, .bytes = message};
}

static void send_packet(struct world *world, uint32_t from, const struct gv_effect *effect)
{
    uint32_t to = index_at(&effect->addr);
    world->packet_bytes += effect->bytes.len;
    world->packets += 1;
    uint32_t copies = chance(world, world->options.loss) ? 0 : 1;
    copies += copies > 0 && chance(world, world->options.duplicate);
    if (world->blocked[from][to] || copies == 0) {
        return;
    }
    struct gv_slice bytes =
        world->sealing == NULL ? effect->bytes : sealing_seal(world->sealing, from, effect);
    for (uint32_t i = 0; i < copies; i++) {
        struct world_message *message = message_new(&world->shelf, bytes);
        damage(world, message);
        message->from = from;
        message->boot_id = effect->boot_id;
        push_packet(world, to, message);
    }
}

/** Bytes that no node sent reach node `to`. */
void world_hostile_packet(struct world *world, uint32_t to, struct gv_slice bytes)
{
    struct world_message *message = message_new(&world->shelf, bytes);
    message->is_hostile = true;
    push_packet(world, to, message);
}

/* ---- connections
 * ---------------------------------------------------------------------------------
 */

/* What concerns the pipe of this number, and the life that holds it. */
static void push_pipe(struct world *world, uint64_t at_us, enum world_event_kind kind,
                      uint64_t number)
{
    const struct world_pipe *pipe = &world->connections[number / 2].end[number % 2];
    *queue_push(&world->queue, at_us) = (struct world_event){
        .kind = kind, .node = pipe->node, .life = pipe->life, .number = number};
}

static void enqueue(struct world *world, uint64_t number, struct world_message *message)
{
    struct world_pipe *pipe = &world->connections[number / 2].end[number % 2];
    uint64_t at_us = message->at_us > pipe->last_at_us ? message->at_us : pipe->last_at_us;
    message->at_us = at_us;
    pipe->last_at_us = at_us;
    if (pipe->tail == NULL) {
        pipe->head = message;
    } else {
        pipe->tail->next = message;
    }
    pipe->tail = message;
    push_pipe(world, at_us, WORLD_ARRIVE, number);
}

static void drop_pipe(struct world *world, struct world_pipe *pipe)
{
    while (pipe->head != NULL) {
        struct world_message *message = pipe->head;
        pipe->head = message->next;
        message_free(&world->shelf, message);
    }
    pipe->tail = NULL;
}

void world_free_pipes(struct world *world)
{
    for (size_t i = 0; i < world->connection_count; i++) {
        drop_pipe(world, &world->connections[i].end[0]);
        drop_pipe(world, &world->connections[i].end[1]);
    }
}

/* End `end` of connection `number` is gone; the other one will hear of it. */
static void hang_up(struct world *world, uint64_t connection, uint32_t end, bool reset,
                    bool tell_other)
{
    struct world_pipe *mine = &world->connections[connection].end[end];
    struct world_pipe *other = &world->connections[connection].end[1 - end];
    mine->open = false;
    drop_pipe(world, mine);
    if (world->sealing != NULL) {
        sealing_hang_up(world->sealing, connection * 2 + end);
    }
    if (other->open && tell_other) {
        struct world_message *message = message_new(&world->shelf, gv_slice_of(NULL, 0));
        message->is_end = true;
        message->is_reset = reset;
        message->at_us = world->now_us + delay_us(world);
        enqueue(world, connection * 2 + (1 - end), message);
    }
}

static uint32_t end_of(const struct world_connection *connection, uint32_t node, uint32_t life)
{
    for (uint32_t end = 0; end < 2; end++) {
        if (connection->end[end].node == node && connection->end[end].life == life &&
            connection->end[end].open) {
            return end;
        }
    }
    return 2;
}

/* How long the wire between the two ends of a connection takes for so many bytes. */
static uint64_t wire_us(const struct world *world, uint64_t connection, size_t bytes)
{
    uint64_t rate = (uint64_t)BYTES_PER_US * 1000000;
    for (uint32_t end = 0; end < 2; end++) {
        uint64_t own = world->nodes[world->connections[connection].end[end].node].bytes_per_s;
        rate = own != 0 && own < rate ? own : rate;
    }
    return bytes * 1000000 / rate;
}

static void tell_queue(struct world *world, uint64_t number)
{
    struct world_pipe *pipe = &world->connections[number / 2].end[number % 2];
    struct world_node *node = &world->nodes[pipe->node];
    if (!pipe->open || node->engine == NULL || node->life != pipe->life) {
        return;
    }
    uint64_t left_us =
        pipe->busy_until_us > world->now_us ? pipe->busy_until_us - world->now_us : 0;
    size_t queued = (size_t)(left_us * 1000000 / wire_us(world, number / 2, 1000000));
    world->queue_most = queued > world->queue_most ? queued : world->queue_most;
    if (queued < QUEUE_TOLD && pipe->queued < QUEUE_TOLD) {
        return;
    }
    pipe->queued = queued;
    gv_gossip_queued(node->engine, number / 2 + 1, queued);
    if (queued >= QUEUE_TOLD) {
        push_pipe(world, world->now_us + left_us / 2 + 10, WORLD_DRAIN, number);
    }
}

static void send_message(struct world *world, uint32_t from, const struct gv_effect *effect)
{
    uint64_t connection = effect->session - 1;
    uint32_t end = end_of(&world->connections[connection], from, world->nodes[from].life);
    world->session_bytes += effect->bytes.len;
    world->session_messages += 1;
    if (end == 2) {
        return;
    }
    struct world_pipe *mine = &world->connections[connection].end[end];
    uint64_t start_us = mine->busy_until_us > world->now_us ? mine->busy_until_us : world->now_us;
    mine->busy_until_us = start_us + wire_us(world, connection, effect->bytes.len);
    if (world->connections[connection].end[1 - end].open) {
        struct gv_slice bytes =
            world->sealing == NULL
                ? effect->bytes
                : sealing_frame(world->sealing, connection * 2 + end, effect->bytes);
        struct world_message *message = message_new(&world->shelf, bytes);
        damage(world, message);
        message->at_us = mine->busy_until_us + delay_us(world);
        while (chance(world, world->options.loss)) {
            message->at_us += WORLD_RESEND_US;
        }
        enqueue(world, connection * 2 + (1 - end), message);
    }
    tell_queue(world, connection * 2 + end);
}

static void push_dial(struct world *world, uint32_t from, uint32_t to, uint64_t at_us)
{
    *queue_push(&world->queue, at_us) = (struct world_event){
        .kind = WORLD_DIAL, .node = from, .life = world->nodes[from].life, .number = to};
}

static void dial(struct world *world, uint32_t from, const struct gv_effect *effect)
{
    uint32_t to = index_at(&effect->addr);
    bool lost = world->blocked[from][to] || world->blocked[to][from];
    uint64_t wait_us = lost ? DIAL_TIMEOUT_US : 2 * delay_us(world) + delay_us(world);
    push_dial(world, from, to, world->now_us + wait_us);
}

/** Carry out what the engine of node `i` wants, until it wants nothing more. */
void world_settle(struct world *world, uint32_t i)
{
    struct world_node *node = &world->nodes[i];
    struct gv_effect effect;
    while (gv_gossip_next_effect(node->engine, &effect)) {
        switch (effect.kind) {
        case GV_EFFECT_SEND:
            world_mix(world, effect.bytes.data, effect.bytes.len);
            send_message(world, i, &effect);
            break;
        case GV_EFFECT_PACKET:
            world_mix(world, effect.bytes.data, effect.bytes.len);
            send_packet(world, i, &effect);
            break;
        case GV_EFFECT_CONNECT:
            dial(world, i, &effect);
            break;
        case GV_EFFECT_CLOSE: {
            uint64_t connection = effect.session - 1;
            uint32_t end = end_of(&world->connections[connection], i, node->life);
            if (end < 2) {
                hang_up(world, connection, end, false, true);
            }
            break;
        }
        case GV_EFFECT_READY:
            node->ready_at_us = world->now_us;
            world_note(world, "%s ready", node->name);
            break;
        case GV_EFFECT_CONFLICT:
            world_note(world, "%s in slot %u gives way to another of its name", node->name, i);
            *queue_push(&world->queue, world->now_us) =
                (struct world_event){.kind = WORLD_END, .node = i, .life = node->life};
            break;
        case GV_EFFECT_LOG:
            break;
        }
    }
    world_arm(world, i);
}

/* ---- arrivals
 * ------------------------------------------------------------------------------------
 */

static uint64_t make_connection(struct world *world, uint32_t from, uint32_t to)
{
    if (world->connection_count == world->connection_room) {
        world->connection_room = world->connection_room == 0 ? 256 : world->connection_room * 2;
        world->connections =
            realloc(world->connections, world->connection_room * sizeof *world->connections);
        if (world->connections == NULL) {
            abort();
        }
    }
    struct world_connection *made = &world->connections[world->connection_count];
    memset(made, 0, sizeof *made);
    made->end[0].node = from;
    made->end[0].life = world->nodes[from].life;
    made->end[1].node = to;
    made->end[1].life = world->nodes[to].life;
    made->end[0].open = true;
    made->end[1].open = true;
    return world->connection_count++;
}

static void dialed(struct world *world, uint32_t from, uint32_t to)
{
    struct world_node *caller = &world->nodes[from];
    struct world_node *callee = &world->nodes[to];
    bool lost = world->blocked[from][to] || world->blocked[to][from];
    bool waits = !lost && callee->engine != NULL && callee->paused_until_us > world->now_us;
    if (waits) { /* its kernel accepts; it answers when it goes on */
        push_dial(world, from, to, callee->paused_until_us);
        return;
    }
    if (lost || callee->engine == NULL) {
        gv_gossip_closed(caller->engine, 0, &callee->addr, false, world_now(world, from));
        world_settle(world, from);
        return;
    }
    uint64_t connection = make_connection(world, from, to);
    if (world->sealing != NULL && !sealing_connect(world->sealing, connection)) {
        world->connections[connection].end[0].open = false;
        world->connections[connection].end[1].open = false;
        gv_gossip_closed(caller->engine, 0, &callee->addr, false, world_now(world, from));
        world_settle(world, from);
        return;
    }
    struct gv_gossip_hello hello[2];
    gv_gossip_hello(caller->engine, &hello[0]);
    gv_gossip_hello(callee->engine, &hello[1]);
    hello[1].dialed = callee->addr;
    gv_gossip_opened(callee->engine, connection + 1, false, &hello[0], world_now(world, to));
    world_settle(world, to);
    if (from != to || world->connections[connection].end[0].open) {
        gv_gossip_opened(caller->engine, connection + 1, true, &hello[1], world_now(world, from));
        world_settle(world, from);
    }
}

static void deliver_plain(struct world *world, uint32_t to, uint64_t connection,
                          struct gv_slice bytes)
{
    if (gv_gossip_message(world->nodes[to].engine, connection + 1, bytes, world_now(world, to)) !=
        GV_OK) {
        world_blame(world, "%s found a message malformed", world->nodes[to].name);
    }
    world_settle(world, to);
}

/* The bytes go through the session's seal; a damaged frame ends it. */
static void deliver_sealed(struct world *world, uint32_t to, uint64_t number,
                           const struct world_message *message)
{
    uint64_t connection = number / 2;
    struct gv_slice plain;
    enum gv_err err;
    sealing_feed(world->sealing, number, gv_slice_of(message->bytes, message->len));
    while (sealing_next(world->sealing, number, &plain, &err)) {
        deliver_plain(world, to, connection, plain);
    }
    if (err != GV_OK && world->connections[connection].end[number % 2].open) {
        world_note(world, "%s ends a session: %s", world->nodes[to].name, gv_err_name(err));
        hang_up(world, connection, (uint32_t)(number % 2), false, true);
        gv_gossip_closed(world->nodes[to].engine, connection + 1, NULL, false,
                         world_now(world, to));
        world_settle(world, to);
    }
}

static void deliver(struct world *world, uint64_t number, struct world_message *message)
{
    uint64_t connection = number / 2;
    uint32_t to = world->connections[connection].end[number % 2].node;
    if (message->is_end) {
        hang_up(world, connection, (uint32_t)(number % 2), false, false);
        gv_gossip_closed(world->nodes[to].engine, connection + 1, NULL, message->is_reset,
                         world_now(world, to));
        world_settle(world, to);
    } else if (world->sealing != NULL) {
        deliver_sealed(world, to, number, message);
    } else {
        deliver_plain(world, to, connection, gv_slice_of(message->bytes, message->len));
    }
}

/* Whatever is due at one end; while its direction is blocked somebody looks again, once. */
static void arrive(struct world *world, const struct world_event *event, bool lives)
{
    for (;;) {
        struct world_pipe *pipe = &world->connections[event->number / 2].end[event->number % 2];
        uint32_t sender = world->connections[event->number / 2].end[1 - event->number % 2].node;
        if (!lives || !pipe->open || pipe->head == NULL || pipe->head->at_us > world->now_us) {
            return;
        }
        if (world->blocked[sender][pipe->node]) {
            if (pipe->poll_at_us <= world->now_us) {
                pipe->poll_at_us = world->now_us + POLL_US;
                *queue_push(&world->queue, pipe->poll_at_us) = *event;
            }
            return;
        }
        struct world_message *message = pipe->head;
        pipe->head = message->next;
        if (pipe->head == NULL) {
            pipe->tail = NULL;
        }
        deliver(world, event->number, message);
        message_free(&world->shelf, message);
    }
}

static void take_packet(struct world *world, const struct world_event *event)
{
    const struct world_message *message = event->bytes;
    uint32_t from = message->from;
    struct gv_slice plain = gv_slice_of(message->bytes, message->len);
    if (!message->is_hostile && world->blocked[from][event->node]) {
        return;
    }
    bool opens =
        world->sealing == NULL
            ? message->boot_id == world->nodes[event->node].boot_id /* as a seal binds it */
            : sealing_open(world->sealing, event->node, message, &from, &plain);
    if (!opens) {
        return;
    }
    gv_gossip_packet(world->nodes[event->node].engine, &world->nodes[from].addr,
                     world->nodes[from].name, plain, world_now(world, event->node));
    world_settle(world, event->node);
}

void world_network_step(struct world *world, const struct world_event *event, bool lives)
{
    switch ((enum world_event_kind)event->kind) {
    case WORLD_PACKET:
        if (lives) {
            take_packet(world, event);
        }
        break;
    case WORLD_ARRIVE:
        arrive(world, event, lives);
        break;
    case WORLD_DIAL:
        if (lives) {
            dialed(world, event->node, (uint32_t)event->number);
        }
        break;
    case WORLD_DRAIN:
        if (lives) {
            tell_queue(world, event->number);
            world_arm(world, event->node);
        }
        break;
    case WORLD_END:
        if (lives) {
            world_end_node(world, event->node, true, false);
        }
        break;
    case WORLD_TICK:
        break;
    }
}

/* ---- weather
 * -------------------------------------------------------------------------------------
 */

void world_end_node(struct world *world, uint32_t i, bool tell, bool reset)
{
    uint32_t life = world->nodes[i].life;
    world_end_life(world, i);
    for (size_t at = 0; at < world->connection_count; at++) {
        uint32_t end = end_of(&world->connections[at], i, life);
        if (end < 2) {
            hang_up(world, at, end, reset, tell);
        }
    }
}

void world_cut(struct world *world, uint32_t a, uint32_t b)
{
    world_note(world, "sessions of %s and %s are cut", world->nodes[a].name, world->nodes[b].name);
    for (size_t at = 0; at < world->connection_count; at++) {
        uint32_t end = end_of(&world->connections[at], a, world->nodes[a].life);
        if (end == 2 || world->connections[at].end[1 - end].node != b) {
            continue;
        }
        for (uint32_t side = 0; side < 2; side++) {
            struct world_pipe *pipe = &world->connections[at].end[side];
            if (pipe->open) {
                drop_pipe(world, pipe);
                struct world_message *message = message_new(&world->shelf, gv_slice_of(NULL, 0));
                message->is_end = true;
                message->is_reset = true;
                message->at_us = world->now_us + delay_us(world);
                pipe->last_at_us = 0;
                enqueue(world, at * 2 + side, message);
            }
        }
    }
}

/* What was on its way over a crawling wire arrives at the speed of the new one. */
static void retime(struct world *world, uint64_t number)
{
    struct world_pipe *pipe = &world->connections[number / 2].end[number % 2];
    struct world_pipe *sender = &world->connections[number / 2].end[1 - number % 2];
    uint64_t at_us = world->now_us + delay_us(world);
    for (struct world_message *at = pipe->head; at != NULL; at = at->next) {
        at_us += wire_us(world, number / 2, at->len);
        at->at_us = at_us;
        pipe->last_at_us = at_us;
        push_pipe(world, at_us, WORLD_ARRIVE, number);
    }
    sender->busy_until_us = at_us;
}

void world_set_rate(struct world *world, uint32_t i, uint64_t bytes_per_s)
{
    struct world_node *node = &world->nodes[i];
    node->bytes_per_s = bytes_per_s;
    world->wires_were_slow = world->wires_were_slow || bytes_per_s != 0;
    node->disturbed_at_us = world->now_us + 1;
    world_note(world, "sessions of %s carry %llu bytes/s", node->name,
               (unsigned long long)bytes_per_s);
    for (size_t at = 0; at < world->connection_count; at++) {
        const struct world_pipe *ends = world->connections[at].end;
        if ((ends[0].node == i || ends[1].node == i) && (ends[0].open || ends[1].open)) {
            retime(world, at * 2);
            retime(world, at * 2 + 1);
            tell_queue(world, at * 2);
            tell_queue(world, at * 2 + 1);
        }
    }
}
