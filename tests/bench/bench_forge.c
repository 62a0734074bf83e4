/*
 * bench_forge.c - a stranger at the mesh port who knows everything but the key, ten million times:
 * how much of it is believed? For tools/bench fuzz.
 *
 *     bench_forge [--datagrams N] [--handshakes N] [--seed S]
 *
 * Datagrams go to the very receiver of a node (cluster/believed over seal/packet), whose table
 * holds a hundred believed boots. Every 64th is a real one, fresh from a believed boot: those must
 * all be taken, or the run proves nothing. The others are made from real ones. Handshakes are whole
 * ones of a member, with one bit of what it says turned over, or with a foreign key: none may come
 * to an end. Exits 1 when a forgery was believed, a real one was not, or memory grew past its cap.
 */
#include "../../src/cluster/believed.h"
#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "grapevine/base/prng.h"
#include "grapevine/seal/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SENDERS       100
#define REAL_EVERY    64
#define PLAIN_MAX     1200
#define BOOT          UINT64_C(0xb007)
#define OLD_BOOT      UINT64_C(0xb006)
#define RECEIVER_BOOT 1
#define CAP_BYTES     ((size_t)64 * 1024 * 1024)

enum forgery {
    FORGERY_FLIPPED_BIT = 0,  /* anywhere in a real one that did not arrive */
    FORGERY_REPLAYED,         /* a real one once more */
    FORGERY_OTHER_CLUSTER,    /* sealed with our key for another cluster id */
    FORGERY_OTHER_RECEIVER,   /* sealed for another node of ours */
    FORGERY_EARLIER_RECEIVER, /* sealed for an earlier start of the receiver */
    FORGERY_OLD_BOOT,         /* of a start before that of the believed one */
    FORGERY_FOREIGN_KEY,      /* sealed with another key */
    FORGERY_LIES_ABOUT_KEY,   /* the same, and the head says it were ours */
    FORGERY_OTHER_SENDER,     /* real, but the head names another believed node */
    FORGERY_OTHER_COUNTER,    /* real, but the head tells a later counter */
    FORGERY_CUT,              /* the beginning of a real one */
    FORGERY_KEYLESS,          /* of a cluster without keys */
    FORGERY_NOISE,            /* random bytes behind a proper head */
    FORGERY_COUNT
};

static const char *const names[FORGERY_COUNT] = {
    "one bit turned over", "replayed",      "other cluster id", "other receiver",
    "earlier receiver",    "old boot",      "foreign key",      "lies about key",
    "other sender",        "other counter", "cut short",        "keyless",
    "noise behind a head"};

struct forger {
    struct gv_prng prng;
    struct gv_keyring *ours, *foreign;
    struct gv_packet_box receiver;
    struct gv_packet_box senders[SENDERS], elsewhere[SENDERS], old[SENDERS], strangers[SENDERS],
        keyless[SENDERS];
    struct gv_believed believed;
    struct gv_buf packet, plain;
    uint8_t words[PLAIN_MAX];
    uint64_t tried[FORGERY_COUNT], taken[FORGERY_COUNT];
    uint64_t real, real_taken;
};

static struct gv_keyring *fresh_ring(void)
{
    struct gv_key_id id;
    struct gv_keyring *ring = gv_keyring_new();
    GV_ASSERT(ring != NULL && gv_keyring_generate(ring, &id) == GV_OK);
    return ring;
}

static void make_boxes(struct forger *forger)
{
    GV_ASSERT(gv_packet_box_init(&forger->receiver, forger->ours, "grapevine", "node-r",
                                 RECEIVER_BOOT) == GV_OK);
    for (int i = 0; i < SENDERS; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "node-%d", i);
        bool good =
            gv_packet_box_init(&forger->senders[i], forger->ours, "grapevine", name, BOOT) ==
                GV_OK &&
            gv_packet_box_init(&forger->elsewhere[i], forger->ours, "vineyard", name, BOOT) ==
                GV_OK &&
            gv_packet_box_init(&forger->old[i], forger->ours, "grapevine", name, OLD_BOOT) ==
                GV_OK &&
            gv_packet_box_init(&forger->strangers[i], forger->foreign, "grapevine", name, BOOT) ==
                GV_OK &&
            gv_packet_box_init(&forger->keyless[i], NULL, "grapevine", name, BOOT) == GV_OK;
        GV_ASSERT(good);
        gv_believed_add(&forger->believed, name, BOOT);
    }
}

static void seal_for(struct forger *forger, struct gv_packet_box *box, const char *receiver,
                     uint64_t receiver_boot)
{
    size_t len = 1 + (size_t)gv_prng_below(&forger->prng, 256); /* as most probes are */
    gv_buf_clear(&forger->packet);
    GV_ASSERT(gv_packet_seal(box, receiver, receiver_boot, gv_slice_of(forger->words, len),
                             &forger->packet) == GV_OK);
}

static void seal(struct forger *forger, struct gv_packet_box *box, const char *receiver)
{
    seal_for(forger, box, receiver, RECEIVER_BOOT);
}

static bool is_believed(struct forger *forger)
{
    const char *sender;
    return gv_believed_open(&forger->believed, &forger->receiver, gv_buf_slice(&forger->packet),
                            &forger->plain, &sender) == GV_OK;
}

/* Bytes of the packet, to be changed. */
static uint8_t *bytes_of(struct forger *forger)
{
    return (uint8_t *)(uintptr_t)gv_buf_slice(&forger->packet).data;
}

static void forge(struct forger *forger, enum forgery kind)
{
    uint32_t at = (uint32_t)gv_prng_below(&forger->prng, SENDERS);
    struct gv_packet_box *sender = &forger->senders[at];
    switch (kind) {
    case FORGERY_FLIPPED_BIT:
    case FORGERY_OTHER_SENDER:
    case FORGERY_OTHER_COUNTER:
    case FORGERY_CUT:
    case FORGERY_NOISE:
        seal(forger, sender, "node-r");
        break;
    case FORGERY_REPLAYED:
        seal(forger, sender, "node-r");
        forger->real += 1;
        forger->real_taken += is_believed(forger);
        return;
    case FORGERY_OTHER_CLUSTER:
        forger->elsewhere[at].counter = sender->counter;
        seal(forger, &forger->elsewhere[at], "node-r");
        return;
    case FORGERY_OTHER_RECEIVER:
        seal(forger, sender, "node-s");
        return;
    case FORGERY_EARLIER_RECEIVER:
        seal_for(forger, sender, "node-r", RECEIVER_BOOT + 1);
        return;
    case FORGERY_OLD_BOOT:
        seal(forger, &forger->old[at], "node-r");
        return;
    case FORGERY_FOREIGN_KEY:
    case FORGERY_LIES_ABOUT_KEY:
        forger->strangers[at].counter = sender->counter;
        seal(forger, &forger->strangers[at], "node-r");
        break;
    case FORGERY_KEYLESS:
        forger->keyless[at].counter = sender->counter;
        seal(forger, &forger->keyless[at], "node-r");
        return;
    case FORGERY_COUNT:
        return;
    }
    uint8_t *bytes = bytes_of(forger);
    size_t len = forger->packet.len;
    if (kind == FORGERY_FLIPPED_BIT) {
        size_t bit = (size_t)gv_prng_below(&forger->prng, len * 8);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    } else if (kind == FORGERY_LIES_ABOUT_KEY) {
        struct gv_packet_box *real = &forger->senders[at];
        uint8_t head[GV_PACKET_HEAD_BYTES];
        memcpy(head, bytes, sizeof head);
        seal(forger, real, "node-r"); /* for its key id */
        memcpy(head + 2, bytes_of(forger) + 2, 8);
        seal(forger, &forger->strangers[at], "node-r");
        memcpy(bytes_of(forger) + 2, head + 2, 8);
    } else if (kind == FORGERY_OTHER_SENDER) {
        uint64_t hash = gv_packet_name_hash(forger->senders[(at + 1) % SENDERS].self);
        bool little = bytes[10] == (uint8_t)gv_packet_name_hash(sender->self);
        for (unsigned i = 0; i < 8; i++) {
            bytes[10 + i] = (uint8_t)(hash >> (8 * (little ? i : 7 - i)));
        }
    } else if (kind == FORGERY_OTHER_COUNTER) {
        bytes[26 + gv_prng_below(&forger->prng, 8)] += 1;
    } else if (kind == FORGERY_CUT) {
        forger->packet.len = (size_t)gv_prng_below(&forger->prng, len);
    } else if (kind == FORGERY_NOISE) {
        for (size_t i = GV_PACKET_HEAD_BYTES; i < len; i++) {
            bytes[i] = (uint8_t)gv_prng_next(&forger->prng);
        }
    }
}

static void throw_datagrams(struct forger *forger, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (i % REAL_EVERY == 0) {
            seal(forger, &forger->senders[i / REAL_EVERY % SENDERS], "node-r");
            forger->real += 1;
            forger->real_taken += is_believed(forger);
        }
        enum forgery kind = (enum forgery)(i % FORGERY_COUNT);
        forge(forger, kind);
        forger->tried[kind] += 1;
        forger->taken[kind] += is_believed(forger);
    }
}

/* ---- handshakes ---- */

struct side {
    struct gv_session *session;
    struct gv_buf out;
    bool established, ended;
};

static void open_side(struct side *side, enum gv_session_role role, const struct gv_keyring *ring,
                      const struct gv_identity *identity)
{
    *side = (struct side){.established = false};
    gv_buf_init(&side->out, GV_MEM_NET, 1 << 16);
    GV_ASSERT(gv_session_new((struct gv_session_options){.role = role,
                                                         .ring = ring,
                                                         .identity = identity,
                                                         .hello = gv_slice_text("node"),
                                                         .max_message_bytes = 4096},
                             &side->out, &side->session) == GV_OK);
}

static void drive(struct side *side)
{
    struct gv_session_event event = {.type = GV_SESSION_NONE};
    do {
        if (side->ended || gv_session_next(side->session, &event) != GV_OK) {
            side->ended = true;
            return;
        }
        if (event.type == GV_SESSION_OPENED &&
            gv_session_accept(side->session, &side->out) != GV_OK) {
            side->ended = true;
        }
        side->established = side->established || event.type == GV_SESSION_ESTABLISHED;
    } while (event.type != GV_SESSION_NONE);
}

/* What `from` says goes to `to`; the bit number `*flip` of it is turned over on the way. */
static void carry(struct side *from, struct side *to, uint64_t *flip)
{
    size_t bits = from->out.len * 8;
    if (*flip < bits) {
        ((uint8_t *)(uintptr_t)gv_buf_slice(&from->out).data)[*flip / 8] ^=
            (uint8_t)(1u << (*flip % 8));
    }
    *flip = *flip < bits ? UINT64_MAX : *flip - bits;
    if (!to->ended && gv_session_feed(to->session, gv_buf_slice(&from->out)) != GV_OK) {
        to->ended = true;
    }
    gv_buf_clear(&from->out);
    drive(to);
}

/* Does the acceptor take a handshake whose initiator has `ring`, one bit of it turned over? Returns
 * how many bits it said. */
static uint64_t shake(struct forger *forger, const struct gv_identity *identity,
                      const struct gv_keyring *ring, uint64_t flip, bool *is_taken)
{
    struct side a;
    struct side b;
    uint64_t never = UINT64_MAX;
    uint64_t said = 0;
    open_side(&a, GV_SESSION_INITIATOR, ring, identity);
    open_side(&b, GV_SESSION_ACCEPTOR, forger->ours, identity);
    for (int i = 0; i < 3; i++) {
        said += a.out.len * 8;
        carry(&a, &b, &flip);
        carry(&b, &a, &never);
    }
    *is_taken = b.established;
    gv_session_free(a.session);
    gv_session_free(b.session);
    gv_buf_deinit(&a.out);
    gv_buf_deinit(&b.out);
    return said;
}

/* Returns how many were believed that must not be; UINT64_MAX: a real one was not. */
static uint64_t throw_handshakes(struct forger *forger, uint64_t count)
{
    struct gv_identity *identity = gv_identity_new();
    uint64_t wrong = 0;
    bool is_taken;
    GV_ASSERT(identity != NULL);
    uint64_t bits = shake(forger, identity, forger->ours, UINT64_MAX, &is_taken);
    bool is_real_taken = is_taken;
    for (uint64_t i = 0; i < count; i++) {
        if (i % 16 == 15) {
            (void)shake(forger, identity, forger->foreign, UINT64_MAX, &is_taken);
        } else {
            (void)shake(forger, identity, forger->ours, gv_prng_below(&forger->prng, bits),
                        &is_taken);
        }
        wrong += is_taken;
    }
    gv_identity_free(identity);
    return is_real_taken ? wrong : UINT64_MAX;
}

static double seconds_since(const struct timespec *began)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) / 1e9;
}

static bool report(const struct forger *forger, double seconds)
{
    uint64_t tried = 0;
    uint64_t taken = 0;
    for (int i = 0; i < FORGERY_COUNT; i++) {
        printf("  %-22s %10llu tried %6llu believed\n", names[i],
               (unsigned long long)forger->tried[i], (unsigned long long)forger->taken[i]);
        tried += forger->tried[i];
        taken += forger->taken[i];
    }
    printf("datagrams: %llu forged, %llu believed; %llu real, %llu believed; %.0f a second\n",
           (unsigned long long)tried, (unsigned long long)taken, (unsigned long long)forger->real,
           (unsigned long long)forger->real_taken, (double)(tried + forger->real) / seconds);
    return taken == 0 && forger->real == forger->real_taken;
}

int main(int argc, char **argv)
{
    static struct forger forger;
    uint64_t datagrams = 10000000;
    uint64_t handshakes = 20000;
    uint64_t seed = 1;
    const uint64_t secret[2] = {1, 2};
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t *value = strcmp(argv[i], "--datagrams") == 0    ? &datagrams
                          : strcmp(argv[i], "--handshakes") == 0 ? &handshakes
                          : strcmp(argv[i], "--seed") == 0       ? &seed
                                                                 : NULL;
        if (value == NULL) {
            fprintf(stderr, "bench_forge: unknown argument '%s'\n", argv[i]);
            return 2;
        }
        *value = strtoull(argv[i + 1], NULL, 10);
    }
    gv_prng_init(&forger.prng, seed);
    forger.ours = fresh_ring();
    forger.foreign = fresh_ring();
    gv_believed_init(&forger.believed, secret);
    gv_buf_init(&forger.packet, GV_MEM_GOSSIP, GV_PACKET_MAX_BYTES);
    gv_buf_init(&forger.plain, GV_MEM_GOSSIP, GV_PACKET_MAX_BYTES);
    make_boxes(&forger);
    struct timespec began;
    clock_gettime(CLOCK_MONOTONIC, &began);
    throw_datagrams(&forger, datagrams);
    bool good = report(&forger, seconds_since(&began));
    clock_gettime(CLOCK_MONOTONIC, &began);
    uint64_t wrong = throw_handshakes(&forger, handshakes);
    printf("handshakes: %llu with a bit turned over or a foreign key, %s; %.0f a second\n",
           (unsigned long long)handshakes,
           wrong == 0            ? "0 believed"
           : wrong == UINT64_MAX ? "and a real one was refused"
                                 : "SOME BELIEVED",
           (double)handshakes / seconds_since(&began));
    size_t held = gv_mem_used(GV_MEM_GOSSIP) + gv_mem_used(GV_MEM_NET);
    printf("memory held by the receiver: %zu KiB\n", held / 1024);
    good = good && wrong == 0 && held <= CAP_BYTES;
    gv_believed_deinit(&forger.believed);
    gv_buf_deinit(&forger.packet);
    gv_buf_deinit(&forger.plain);
    gv_keyring_free(forger.ours);
    gv_keyring_free(forger.foreign);
    printf("%s\n", good ? "good: nothing forged, replayed or foreign was believed" : "BAD");
    return good ? 0 : 1;
}
