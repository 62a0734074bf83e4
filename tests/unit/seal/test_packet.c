/* Datagrams: what is opened, what is refused, and the edges of the replay window. */
#include "grapevine/seal/packet.h"
#include "support/suite.h"

static struct gv_keyring *fresh_ring(void)
{
    struct gv_key_id id;
    struct gv_keyring *ring = gv_keyring_new();
    CU_ASSERT_PTR_NOT_NULL_FATAL(ring);
    CU_ASSERT_EQUAL(gv_keyring_generate(ring, &id), GV_OK);
    return ring;
}

static struct gv_packet_box box_of(const struct gv_keyring *ring, const char *self)
{
    struct gv_packet_box box;
    CU_ASSERT_EQUAL_FATAL(gv_packet_box_init(&box, ring, "cluster-1", self, 77), GV_OK);
    return box;
}

static struct gv_buf sealed_by(struct gv_packet_box *box, const char *receiver, const char *text)
{
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_NET, GV_PACKET_MAX_BYTES);
    CU_ASSERT_EQUAL_FATAL(gv_packet_seal(box, receiver, 77, gv_slice_text(text), &out), GV_OK);
    return out;
}

/* Open with a new window; nothing may be appended on failure. */
static enum gv_err open_at(const struct gv_packet_box *box, const char *sender,
                           struct gv_slice packet, const char *wanted)
{
    struct gv_packet_window window = {0};
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_NET, GV_PACKET_MAX_BYTES);
    enum gv_err err = gv_packet_open(box, sender, &window, packet, &out);
    if (err == GV_OK) {
        CU_ASSERT_TRUE(gv_slice_is(gv_buf_slice(&out), wanted));
        CU_ASSERT_TRUE(window.highest > 0);
    } else {
        CU_ASSERT_EQUAL(out.len, 0);
        CU_ASSERT_EQUAL(window.highest, 0);
    }
    gv_buf_deinit(&out);
    return err;
}

static void what_is_sealed_for_a_node_is_opened_by_it(void)
{
    struct gv_keyring *ring = fresh_ring();
    for (int keyed = 0; keyed < 2; keyed++) {
        struct gv_packet_box a = box_of(keyed ? ring : NULL, "a");
        struct gv_packet_box b = box_of(keyed ? ring : NULL, "b");
        struct gv_buf packet = sealed_by(&a, "b", "ping");
        struct gv_packet_head head;
        CU_ASSERT_EQUAL(packet.len, 4 + (keyed ? GV_PACKET_OVERHEAD : GV_PACKET_HEAD_BYTES));
        CU_ASSERT_EQUAL(gv_packet_peek(&b, gv_buf_slice(&packet), &head), GV_OK);
        CU_ASSERT_EQUAL(head.is_keyed, keyed == 1);
        CU_ASSERT_EQUAL(head.sender, gv_packet_name_hash("a"));
        CU_ASSERT_EQUAL(head.boot, 77);
        CU_ASSERT_EQUAL(head.counter, 1);
        CU_ASSERT_EQUAL(open_at(&b, "a", gv_buf_slice(&packet), "ping"), GV_OK);
        gv_buf_deinit(&packet);
        packet = sealed_by(&a, "b", "");
        CU_ASSERT_EQUAL(open_at(&b, "a", gv_buf_slice(&packet), ""), GV_OK);
        gv_buf_deinit(&packet);
    }
    gv_keyring_free(ring);
}

static void every_changed_byte_is_noticed(void)
{
    struct gv_keyring *ring = fresh_ring();
    struct gv_packet_box a = box_of(ring, "a");
    struct gv_packet_box b = box_of(ring, "b");
    struct gv_buf packet = sealed_by(&a, "b", "some bytes of gossip");
    for (size_t i = 0; i < packet.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            packet.data[i] ^= (uint8_t)(1u << bit);
            CU_ASSERT_NOT_EQUAL(open_at(&b, "a", gv_buf_slice(&packet), ""), GV_OK);
            packet.data[i] ^= (uint8_t)(1u << bit);
        }
    }
    CU_ASSERT_EQUAL(open_at(&b, "a", gv_buf_slice(&packet), "some bytes of gossip"), GV_OK);
    gv_buf_deinit(&packet);
    gv_keyring_free(ring);
}

static void a_packet_cut_at_any_offset_is_refused(void)
{
    struct gv_keyring *ring = fresh_ring();
    struct gv_packet_box a = box_of(ring, "a");
    struct gv_packet_box b = box_of(ring, "b");
    struct gv_buf packet = sealed_by(&a, "b", "some bytes of gossip");
    for (size_t len = 0; len < packet.len; len++) {
        enum gv_err wanted = len < GV_PACKET_OVERHEAD ? GV_EPROTO : GV_EAUTH;
        CU_ASSERT_EQUAL(open_at(&b, "a", gv_slice_of(packet.data, len), ""), wanted);
    }
    gv_buf_deinit(&packet);
    gv_keyring_free(ring);
}

static void a_packet_for_another_receiver_sender_or_cluster_is_refused(void)
{
    struct gv_keyring *ring = fresh_ring();
    struct gv_packet_box a = box_of(ring, "a");
    struct gv_packet_box c = box_of(ring, "c");
    struct gv_packet_box b = box_of(ring, "b");
    struct gv_packet_box elsewhere;
    struct gv_buf packet = sealed_by(&a, "b", "ping");
    struct gv_slice bytes = gv_buf_slice(&packet);
    CU_ASSERT_EQUAL(gv_packet_box_init(&elsewhere, ring, "cluster-2", "b", 1), GV_OK);
    CU_ASSERT_EQUAL(open_at(&c, "a", bytes, ""), GV_EAUTH);
    CU_ASSERT_EQUAL(open_at(&b, "x", bytes, ""), GV_EAUTH);
    CU_ASSERT_EQUAL(open_at(&elsewhere, "a", bytes, ""), GV_EAUTH);
    CU_ASSERT_EQUAL(open_at(&b, "a", bytes, "ping"), GV_OK);
    gv_buf_deinit(&packet);
    gv_keyring_free(ring);
}

static void an_unknown_key_and_a_missing_key_are_told_by_the_head(void)
{
    struct gv_keyring *ring = fresh_ring();
    struct gv_keyring *other = fresh_ring();
    struct gv_packet_box keyed = box_of(ring, "a");
    struct gv_packet_box keyless = box_of(NULL, "b");
    struct gv_packet_box stranger = box_of(other, "b");
    struct gv_packet_head head;
    struct gv_buf packet = sealed_by(&keyed, "b", "ping");
    CU_ASSERT_EQUAL(gv_packet_peek(&keyless, gv_buf_slice(&packet), &head), GV_EMISMATCH);
    CU_ASSERT_EQUAL(gv_packet_peek(&stranger, gv_buf_slice(&packet), &head), GV_EMISMATCH);
    CU_ASSERT_TRUE(gv_key_id_equal(head.key, gv_keyring_active(ring)));
    CU_ASSERT_EQUAL(open_at(&stranger, "a", gv_buf_slice(&packet), ""), GV_EMISMATCH);
    gv_buf_deinit(&packet);
    packet = sealed_by(&keyless, "a", "ping");
    CU_ASSERT_EQUAL(gv_packet_peek(&keyed, gv_buf_slice(&packet), &head), GV_EMISMATCH);
    CU_ASSERT_FALSE(head.is_keyed);
    gv_buf_deinit(&packet);
    gv_keyring_free(ring);
    gv_keyring_free(other);
}

static void an_older_key_of_the_ring_still_opens(void)
{
    struct gv_key_id newer;
    struct gv_keyring *ring = fresh_ring();
    struct gv_packet_box a = box_of(ring, "a");
    struct gv_packet_box b = box_of(ring, "b");
    struct gv_buf packet = sealed_by(&a, "b", "ping");
    CU_ASSERT_EQUAL(gv_keyring_generate(ring, &newer), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_use(ring, newer), GV_OK);
    CU_ASSERT_EQUAL(open_at(&b, "a", gv_buf_slice(&packet), "ping"), GV_OK);
    gv_buf_deinit(&packet);
    gv_keyring_free(ring);
}

/* For a receiver that no longer has our active key. */
static void a_chosen_key_of_the_ring_seals_and_one_that_is_gone_does_not(void)
{
    struct gv_key_id newer;
    struct gv_keyring *ring = fresh_ring();
    struct gv_key_id old = gv_keyring_active(ring);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_generate(ring, &newer), GV_OK);
    for (int gone = 0; gone < 2; gone++) {
        struct gv_packet_box a = box_of(ring, "a");
        struct gv_packet_box b = box_of(ring, "b");
        struct gv_packet_head head;
        a.under = newer;
        if (gone) {
            CU_ASSERT_EQUAL_FATAL(gv_keyring_remove(ring, newer), GV_OK);
        }
        struct gv_buf packet = sealed_by(&a, "b", "ping");
        CU_ASSERT_EQUAL_FATAL(gv_packet_peek(&b, gv_buf_slice(&packet), &head), GV_OK);
        CU_ASSERT_TRUE(gv_key_id_equal(head.key, gone ? old : newer));
        CU_ASSERT_EQUAL(open_at(&b, "a", gv_buf_slice(&packet), "ping"), GV_OK);
        gv_buf_deinit(&packet);
    }
    gv_keyring_free(ring);
}

static void a_packet_is_believed_once(void)
{
    struct gv_keyring *ring = fresh_ring();
    for (int keyed = 0; keyed < 2; keyed++) {
        struct gv_packet_box a = box_of(keyed ? ring : NULL, "a");
        struct gv_packet_box b = box_of(keyed ? ring : NULL, "b");
        struct gv_packet_window window = {0};
        struct gv_buf first = sealed_by(&a, "b", "1");
        struct gv_buf second = sealed_by(&a, "b", "2");
        struct gv_buf out;
        gv_buf_init(&out, GV_MEM_NET, 100);
        struct gv_slice one = gv_buf_slice(&first);
        struct gv_slice two = gv_buf_slice(&second);
        CU_ASSERT_EQUAL(gv_packet_open(&b, "a", &window, two, &out), GV_OK);
        CU_ASSERT_EQUAL(gv_packet_open(&b, "a", &window, one, &out), GV_OK);
        CU_ASSERT_EQUAL(gv_packet_open(&b, "a", &window, two, &out), GV_ESTALE);
        CU_ASSERT_EQUAL(gv_packet_open(&b, "a", &window, one, &out), GV_ESTALE);
        CU_ASSERT_TRUE(gv_slice_is(gv_buf_slice(&out), "21"));
        gv_buf_deinit(&out);
        gv_buf_deinit(&first);
        gv_buf_deinit(&second);
    }
    gv_keyring_free(ring);
}

static void the_window_reaches_back_exactly_2048_counters(void)
{
    struct gv_packet_window window = {0};
    CU_ASSERT_FALSE(gv_packet_window_is_new(&window, 0));
    gv_packet_window_add(&window, 5000);
    CU_ASSERT_FALSE(gv_packet_window_is_new(&window, 5000));
    CU_ASSERT_FALSE(gv_packet_window_is_new(&window, 5000 - 2048));
    CU_ASSERT_TRUE(gv_packet_window_is_new(&window, 5000 - 2047));
    gv_packet_window_add(&window, 5000 - 2047);
    CU_ASSERT_FALSE(gv_packet_window_is_new(&window, 5000 - 2047));
    gv_packet_window_add(&window, 5001);
    CU_ASSERT_FALSE(gv_packet_window_is_new(&window, 5001 - 2048));
    CU_ASSERT_TRUE(gv_packet_window_is_new(&window, 5001 - 2047));
    CU_ASSERT_TRUE(gv_packet_window_is_new(&window, UINT64_MAX));
    gv_packet_window_add(&window, UINT64_MAX);
    CU_ASSERT_FALSE(gv_packet_window_is_new(&window, UINT64_MAX));
    CU_ASSERT_FALSE(gv_packet_window_is_new(&window, 5001));
    CU_ASSERT_TRUE(gv_packet_window_is_new(&window, UINT64_MAX - 2047));
    CU_ASSERT_FALSE(gv_packet_window_is_new(&window, UINT64_MAX - 2048));
}

/* Jumps of 1, just under, at and over the window: the array of flags is the stupid and right one.
 */
static void the_window_agrees_with_a_list_of_all_that_was_seen(void)
{
    static bool seen[40000];
    static const uint64_t steps[] = {1, 2, 63, 64, 65, 2046, 2047, 2048, 2049, 1, 3, 4100};
    struct gv_packet_window window = {0};
    uint64_t highest = 0;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        highest += steps[i];
        gv_packet_window_add(&window, highest);
        seen[highest] = true;
        uint64_t older = highest > 7 ? highest - 7 : highest;
        if (gv_packet_window_is_new(&window, older)) {
            gv_packet_window_add(&window, older);
            seen[older] = true;
        }
        for (uint64_t counter = 1; counter <= highest; counter++) {
            bool wanted = highest - counter < 2048 && !seen[counter];
            CU_ASSERT_EQUAL(gv_packet_window_is_new(&window, counter), wanted);
        }
    }
}

static void a_receiver_that_was_started_anew_refuses_what_was_for_its_former_life(void)
{
    struct gv_keyring *ring = fresh_ring();
    struct gv_packet_box a = box_of(ring, "a");
    struct gv_packet_box b = box_of(ring, "b");
    struct gv_buf packet = sealed_by(&a, "b", "hello");
    CU_ASSERT_EQUAL(open_at(&b, "a", gv_buf_slice(&packet), "hello"), GV_OK);
    b.boot = 78;
    CU_ASSERT_EQUAL(open_at(&b, "a", gv_buf_slice(&packet), "hello"), GV_EAUTH);
    gv_buf_deinit(&packet);
    gv_keyring_free(ring);
}

static void a_gossip_datagram_fits_and_the_limit_is_exact(void)
{
    static char text[GV_PACKET_PLAIN_MAX + 2];
    memset(text, 'x', sizeof text);
    struct gv_keyring *ring = fresh_ring();
    struct gv_packet_box a = box_of(ring, "a");
    struct gv_packet_box b = box_of(ring, "b");
    struct gv_packet_head head;
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_NET, 2 * GV_PACKET_MAX_BYTES);
    CU_ASSERT_EQUAL(gv_packet_seal(&a, "b", 77, gv_slice_of(text, GV_PACKET_PLAIN_MAX + 1), &out),
                    GV_ETOOBIG);
    CU_ASSERT_EQUAL(out.len, 0);
    CU_ASSERT_EQUAL(gv_packet_seal(&a, "b", 77, gv_slice_of(text, GV_PACKET_PLAIN_MAX), &out),
                    GV_OK);
    CU_ASSERT_EQUAL(out.len, GV_PACKET_MAX_BYTES);
    CU_ASSERT_EQUAL(gv_packet_peek(&b, gv_buf_slice(&out), &head), GV_OK);
    CU_ASSERT_EQUAL(gv_buf_append_text(&out, "x"), GV_OK);
    CU_ASSERT_EQUAL(gv_packet_peek(&b, gv_buf_slice(&out), &head), GV_EPROTO);
    gv_buf_deinit(&out);
    gv_keyring_free(ring);
}

static void names_fit_up_to_their_limits_and_no_further(void)
{
    char name[GV_PACKET_CLUSTER_MAX + 1];
    struct gv_packet_box box;
    memset(name, 'n', sizeof name);
    name[GV_PACKET_NAME_MAX] = '\0';
    CU_ASSERT_EQUAL(gv_packet_box_init(&box, NULL, "c", name, 1), GV_ETOOBIG);
    name[GV_PACKET_NAME_MAX - 1] = '\0';
    CU_ASSERT_EQUAL(gv_packet_box_init(&box, NULL, "c", name, 1), GV_OK);
    memset(name, 'n', sizeof name);
    name[GV_PACKET_CLUSTER_MAX] = '\0';
    CU_ASSERT_EQUAL(gv_packet_box_init(&box, NULL, name, "a", 1), GV_ETOOBIG);
    name[GV_PACKET_CLUSTER_MAX - 1] = '\0';
    CU_ASSERT_EQUAL(gv_packet_box_init(&box, NULL, name, "a", 1), GV_OK);
}

GV_SUITE("seal/packet", GV_CASE(what_is_sealed_for_a_node_is_opened_by_it),
         GV_CASE(every_changed_byte_is_noticed), GV_CASE(a_packet_cut_at_any_offset_is_refused),
         GV_CASE(a_packet_for_another_receiver_sender_or_cluster_is_refused),
         GV_CASE(an_unknown_key_and_a_missing_key_are_told_by_the_head),
         GV_CASE(an_older_key_of_the_ring_still_opens),
         GV_CASE(a_chosen_key_of_the_ring_seals_and_one_that_is_gone_does_not),
         GV_CASE(a_packet_is_believed_once), GV_CASE(the_window_reaches_back_exactly_2048_counters),
         GV_CASE(the_window_agrees_with_a_list_of_all_that_was_seen),
         GV_CASE(a_receiver_that_was_started_anew_refuses_what_was_for_its_former_life),
         GV_CASE(a_gossip_datagram_fits_and_the_limit_is_exact),
         GV_CASE(names_fit_up_to_their_limits_and_no_further))
