/* The key ring: its text, its file and its mode, its limits, and what is derived from it. */
#include "grapevine/seal/keyring.h"
#include "support/suite.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID     "9ea90a6f9b50c44e"
#define SECRET "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static enum gv_err parse(const char *text, struct gv_keyring_fault *fault)
{
    struct gv_keyring *ring = NULL;
    enum gv_err err = gv_keyring_parse(gv_slice_text(text), &ring, fault);
    CU_ASSERT_EQUAL(ring != NULL, err == GV_OK);
    CU_ASSERT_EQUAL(strlen(fault->text) > 0, err != GV_OK);
    gv_keyring_free(ring);
    return err;
}

static void the_text_of_a_ring_is_read_with_comments_and_blanks(void)
{
    struct gv_keyring_fault fault;
    CU_ASSERT_EQUAL(parse("key " ID " " SECRET " active\n", &fault), GV_OK);
    CU_ASSERT_EQUAL(parse("# c\r\n\n  key\t" ID "  " SECRET " active # c\r\n", &fault), GV_OK);
    CU_ASSERT_EQUAL(parse("key " ID " " SECRET " active", &fault), GV_OK);
}

static void a_wrong_line_is_named_with_its_number(void)
{
    static const struct {
        const char *text;
        enum gv_err err;
        unsigned line;
    } cases[] = {{"", GV_EINVAL, 0},
                 {"# nothing\n", GV_EINVAL, 0},
                 {"key " ID " " SECRET "\n", GV_EINVAL, 0},
                 {"\nkeys " ID " " SECRET " active\n", GV_EINVAL, 2},
                 {"key\n", GV_EINVAL, 1},
                 {"key 9ea90a6f9b50c44 " SECRET " active\n", GV_EINVAL, 1},
                 {"key 9ea90a6f9b50c44g " SECRET " active\n", GV_EINVAL, 1},
                 {"key 9ea90a6f9b50c44f " SECRET " active\n", GV_EINVAL, 1},
                 {"key " ID " AAAA active\n", GV_EINVAL, 1},
                 {"key " ID " " SECRET "AAAA active\n", GV_EINVAL, 1},
                 {"key " ID " !!!! active\n", GV_EINVAL, 1},
                 {"key " ID " " SECRET " passive\n", GV_EINVAL, 1},
                 {"key " ID " " SECRET " active now\n", GV_EINVAL, 1},
                 {"key " ID " " SECRET " active\n\nkey " ID " " SECRET "\n", GV_EEXISTS, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gv_keyring_fault fault;
        CU_ASSERT_EQUAL(parse(cases[i].text, &fault), cases[i].err);
        CU_ASSERT_EQUAL(fault.line, cases[i].line);
    }
}

static void a_text_cut_anywhere_before_its_end_is_refused(void)
{
    static const char text[] = "key " ID " " SECRET " active";
    for (size_t len = 0; len < sizeof text - 1; len++) {
        struct gv_keyring *ring = NULL;
        struct gv_keyring_fault fault;
        CU_ASSERT_EQUAL(gv_keyring_parse(gv_slice_of(text, len), &ring, &fault), GV_EINVAL);
        CU_ASSERT_PTR_NULL(ring);
    }
}

static void sixteen_keys_fit_and_no_more(void)
{
    struct gv_key_id id;
    struct gv_keyring *ring = gv_keyring_new();
    for (size_t i = 0; i < GV_KEYRING_KEYS_MAX; i++) {
        CU_ASSERT_EQUAL(gv_keyring_generate(ring, &id), GV_OK);
        CU_ASSERT_TRUE(gv_key_id_equal(gv_keyring_id(ring, i), id));
    }
    CU_ASSERT_EQUAL(gv_keyring_generate(ring, &id), GV_EFULL);
    CU_ASSERT_EQUAL(gv_keyring_count(ring), GV_KEYRING_KEYS_MAX);
    CU_ASSERT_TRUE(gv_key_id_equal(gv_keyring_active(ring), gv_keyring_id(ring, 0)));
    gv_keyring_free(ring);
}

static void the_active_key_cannot_be_removed_and_stays_active_when_others_go(void)
{
    struct gv_key_id ids[3];
    struct gv_key_id none = {{0}};
    struct gv_keyring *ring = gv_keyring_new();
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(gv_keyring_generate(ring, &ids[i]), GV_OK);
    }
    CU_ASSERT_EQUAL(gv_keyring_use(ring, none), GV_ENOTFOUND);
    CU_ASSERT_EQUAL(gv_keyring_use(ring, ids[1]), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_remove(ring, ids[1]), GV_EREFUSED);
    CU_ASSERT_EQUAL(gv_keyring_remove(ring, ids[0]), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_remove(ring, ids[0]), GV_ENOTFOUND);
    CU_ASSERT_TRUE(gv_key_id_equal(gv_keyring_active(ring), ids[1]));
    CU_ASSERT_EQUAL(gv_keyring_remove(ring, ids[2]), GV_OK);
    CU_ASSERT_TRUE(gv_key_id_equal(gv_keyring_active(ring), ids[1]));
    CU_ASSERT_FALSE(gv_keyring_has(ring, ids[2]));
    CU_ASSERT_EQUAL(gv_keyring_count(ring), 1);
    gv_keyring_free(ring);
}

static void no_ring_is_a_ring_without_keys(void)
{
    CU_ASSERT_EQUAL(gv_keyring_count(NULL), 0);
    CU_ASSERT_TRUE(gv_key_id_is_none(gv_keyring_active(NULL)));
    CU_ASSERT_FALSE(gv_keyring_has(NULL, (struct gv_key_id){{1}}));
    gv_keyring_free(NULL);
}

static void an_id_is_written_and_read_the_same(void)
{
    char text[GV_KEY_ID_TEXT_BYTES];
    struct gv_key_id id;
    CU_ASSERT_EQUAL(gv_key_id_parse(gv_slice_text(ID), &id), GV_OK);
    CU_ASSERT_STRING_EQUAL(gv_key_id_format(id, text), ID);
    CU_ASSERT_STRING_EQUAL(gv_key_id_format((struct gv_key_id){{0}}, text), "none");
    CU_ASSERT_EQUAL(gv_key_id_parse(gv_slice_text(ID "0"), &id), GV_EINVAL);
    CU_ASSERT_EQUAL(gv_key_id_parse(gv_slice_text(""), &id), GV_EINVAL);
}

static void derived_keys_differ_by_key_purpose_and_context(void)
{
    uint8_t keys[5][GV_KEY_BYTES];
    struct gv_key_id first;
    struct gv_key_id second;
    struct gv_slice none = gv_slice_text("");
    struct gv_keyring *ring = gv_keyring_new();
    CU_ASSERT_EQUAL(gv_keyring_generate(ring, &first), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_generate(ring, &second), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_derive(ring, first, GV_KEY_FINGERPRINT, none, keys[0]), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_derive(ring, first, GV_KEY_SESSION, none, keys[1]), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_derive(ring, first, GV_KEY_PACKET, none, keys[2]), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_derive(ring, first, GV_KEY_PACKET, gv_slice_text("7"), keys[3]),
                    GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_derive(ring, second, GV_KEY_FINGERPRINT, none, keys[4]), GV_OK);
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < i; j++) {
            CU_ASSERT_NOT_EQUAL(memcmp(keys[i], keys[j], GV_KEY_BYTES), 0);
        }
    }
    CU_ASSERT_EQUAL(gv_keyring_derive(ring, first, GV_KEY_FINGERPRINT, none, keys[1]), GV_OK);
    CU_ASSERT_EQUAL(memcmp(keys[0], keys[1], GV_KEY_BYTES), 0);
    CU_ASSERT_EQUAL(gv_keyring_derive(ring, (struct gv_key_id){{9}}, GV_KEY_SESSION, none, keys[1]),
                    GV_ENOTFOUND);
    gv_keyring_free(ring);
}

static void a_ring_is_saved_privately_and_read_back_the_same(void)
{
    char folder[] = "/tmp/keyring-XXXXXX";
    char path[64];
    struct gv_key_id ids[2];
    struct stat about;
    struct gv_keyring_fault fault;
    struct gv_keyring *ring = gv_keyring_new();
    struct gv_keyring *again = NULL;
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/ring", folder);
    CU_ASSERT_EQUAL(gv_keyring_load(path, &again, &fault), GV_ENOTFOUND);
    CU_ASSERT_EQUAL(gv_keyring_generate(ring, &ids[0]), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_generate(ring, &ids[1]), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_use(ring, ids[1]), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_save(ring, path), GV_OK);
    CU_ASSERT_EQUAL(stat(path, &about), 0);
    CU_ASSERT_EQUAL(about.st_mode & 0777, 0600);
    CU_ASSERT_EQUAL(gv_keyring_load(path, &again, &fault), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_count(again), 2);
    CU_ASSERT_TRUE(gv_key_id_equal(gv_keyring_active(again), ids[1]));
    CU_ASSERT_TRUE(gv_key_id_equal(gv_keyring_id(again, 0), ids[0]));
    gv_keyring_free(again);
    gv_keyring_free(ring);
    (void)unlink(path);
    CU_ASSERT_EQUAL(rmdir(folder), 0); /* and nothing else was left in it */
}

static void a_file_that_others_may_touch_is_refused_with_the_way_out(void)
{
    static const mode_t wrong[] = {0640, 0604, 0620, 0602, 0610, 0601, 0644};
    static const mode_t right[] = {0600, 0400};
    char path[] = "/tmp/keyring-XXXXXX";
    static const char text[] = "key " ID " " SECRET " active\n";
    struct gv_keyring_fault fault;
    struct gv_keyring *ring = NULL;
    int fd = mkstemp(path);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CU_ASSERT_EQUAL(fchmod(fd, wrong[i]), 0);
        CU_ASSERT_EQUAL(gv_keyring_load(path, &ring, &fault), GV_EREFUSED);
        CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "chmod 600"));
    }
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        CU_ASSERT_EQUAL(fchmod(fd, right[i]), 0);
        CU_ASSERT_EQUAL(gv_keyring_load(path, &ring, &fault), GV_OK);
        gv_keyring_free(ring);
    }
    CU_ASSERT_EQUAL(gv_keyring_load("/tmp", &ring, &fault), GV_EIO);
    CU_ASSERT_EQUAL(ftruncate(fd, GV_KEYRING_FILE_BYTES + 1), 0);
    CU_ASSERT_EQUAL(gv_keyring_load(path, &ring, &fault), GV_ETOOBIG);
    CU_ASSERT_EQUAL(ftruncate(fd, GV_KEYRING_FILE_BYTES), 0);
    CU_ASSERT_EQUAL(gv_keyring_load(path, &ring, &fault), GV_EINVAL);
    (void)close(fd);
    (void)unlink(path);
}

static void a_ring_that_cannot_be_written_leaves_nothing_behind(void)
{
    struct gv_key_id id;
    struct gv_keyring *ring = gv_keyring_new();
    CU_ASSERT_EQUAL(gv_keyring_generate(ring, &id), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_save(ring, "/nowhere/at/all"), GV_EIO);
    size_t before = gv_mem_used(GV_MEM_GENERAL);
    uint64_t nth = 1;
    for (;; nth++) {
        gv_mem_fail_nth(nth);
        enum gv_err err = gv_keyring_save(ring, "/nowhere/at/all");
        gv_mem_fail_nth(0);
        CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_GENERAL), before);
        if (err == GV_EIO) {
            break;
        }
        CU_ASSERT_EQUAL(err, GV_ENOMEM);
    }
    CU_ASSERT_TRUE(nth > 2);
    gv_keyring_free(ring);
}

/* ---- rotation ----------------------------------------------------------------------------------
 */

static struct gv_keyring *one_key(struct gv_key_id *id)
{
    struct gv_keyring *ring = gv_keyring_new();
    CU_ASSERT_PTR_NOT_NULL_FATAL(ring);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_generate(ring, id), GV_OK);
    return ring;
}

static void fingerprints_outlive_the_key_they_came_from(void)
{
    struct gv_key_id first;
    struct gv_key_id second;
    uint8_t before[GV_KEY_BYTES];
    uint8_t after[GV_KEY_BYTES];
    struct gv_keyring *ring = one_key(&first);
    struct gv_keyring *read = NULL;
    struct gv_keyring_fault fault;
    struct gv_buf text;
    gv_buf_init(&text, GV_MEM_GENERAL, GV_KEYRING_FILE_BYTES);
    CU_ASSERT_EQUAL(gv_keyring_fingerprint(ring, before), GV_OK);
    struct gv_key_id fingerprint = gv_keyring_fingerprint_id(ring);
    CU_ASSERT_EQUAL(gv_keyring_generate(ring, &second), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_use(ring, second), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_remove(ring, first), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_format(ring, &text), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_parse(gv_buf_slice(&text), &read, &fault), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_fingerprint(read, after), GV_OK);
    CU_ASSERT_EQUAL(memcmp(before, after, sizeof before), 0);
    CU_ASSERT_TRUE(gv_key_id_equal(gv_keyring_fingerprint_id(read), fingerprint));
    CU_ASSERT_EQUAL(gv_keyring_count(read), 1);
    gv_keyring_wipe(&text);
    gv_keyring_free(read);
    gv_keyring_free(ring);
}

static void a_fingerprint_line_is_the_base64_of_32_bytes_and_comes_once(void)
{
    static const char key[] = "key 9ea90a6f9b50c44e AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= "
                              "active\n";
    static const char *const wrong[] = {"fingerprint\n", "fingerprint AAEC\n",
                                        "fingerprint AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= "
                                        "more\n"};
    static const char line[] = "fingerprint AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
    char text[512];
    for (size_t i = 0; i < 5; i++) {
        struct gv_keyring *ring = NULL;
        struct gv_keyring_fault fault;
        bool is_good = i == 4;
        (void)snprintf(text, sizeof text, "%s%s%s", key, i < 3 ? wrong[i] : line,
                       i == 3 ? line : "");
        CU_ASSERT_EQUAL(gv_keyring_parse(gv_slice_text(text), &ring, &fault),
                        is_good ? GV_OK : GV_EINVAL);
        CU_ASSERT_EQUAL(fault.line, is_good ? 0 : i == 3 ? 3 : 2);
        gv_keyring_free(ring);
    }
}

static void a_sealed_key_is_opened_only_with_the_key_it_was_sealed_under(void)
{
    struct gv_key_id old_id;
    struct gv_key_id new_id;
    struct gv_key_id other_id;
    struct gv_key_id id;
    struct gv_keyring *present = one_key(&old_id);
    struct gv_keyring *fresh = one_key(&new_id);
    struct gv_keyring *other = one_key(&other_id);
    char sealed[GV_KEY_SEALED_TEXT];
    CU_ASSERT_EQUAL(gv_keyring_seal_key(fresh, old_id, present, sealed), GV_ENOTFOUND);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_seal_key(fresh, new_id, present, sealed), GV_OK);
    CU_ASSERT_EQUAL(strlen(sealed), GV_KEY_SEALED_TEXT - 1);
    CU_ASSERT_EQUAL(gv_keyring_open_key(other, gv_slice_text(sealed), &id), GV_ENOTFOUND);
    CU_ASSERT_EQUAL(gv_keyring_open_key(present, gv_slice_of(sealed, 175), &id), GV_EINVAL);
    for (size_t i = 16; i < GV_KEY_SEALED_TEXT - 1; i += 5) { /* every part but `under` */
        char damaged[GV_KEY_SEALED_TEXT];
        memcpy(damaged, sealed, sizeof damaged);
        damaged[i] = damaged[i] == '0' ? '1' : '0';
        CU_ASSERT_EQUAL(gv_keyring_open_key(present, gv_slice_text(damaged), &id), GV_EAUTH);
    }
    CU_ASSERT_EQUAL(gv_keyring_count(present), 1);
    CU_ASSERT_EQUAL(gv_keyring_open_key(present, gv_slice_text(sealed), &id), GV_OK);
    CU_ASSERT_TRUE(gv_key_id_equal(id, new_id) && gv_keyring_has(present, new_id));
    CU_ASSERT_TRUE(gv_key_id_equal(gv_keyring_active(present), old_id));
    CU_ASSERT_EQUAL(gv_keyring_open_key(present, gv_slice_text(sealed), &id), GV_EEXISTS);
    gv_keyring_free(present);
    gv_keyring_free(fresh);
    gv_keyring_free(other);
}

GV_SUITE("seal/keyring", GV_CASE(the_text_of_a_ring_is_read_with_comments_and_blanks),
         GV_CASE(a_wrong_line_is_named_with_its_number),
         GV_CASE(a_text_cut_anywhere_before_its_end_is_refused),
         GV_CASE(sixteen_keys_fit_and_no_more),
         GV_CASE(the_active_key_cannot_be_removed_and_stays_active_when_others_go),
         GV_CASE(no_ring_is_a_ring_without_keys), GV_CASE(an_id_is_written_and_read_the_same),
         GV_CASE(derived_keys_differ_by_key_purpose_and_context),
         GV_CASE(a_ring_is_saved_privately_and_read_back_the_same),
         GV_CASE(a_file_that_others_may_touch_is_refused_with_the_way_out),
         GV_CASE(a_ring_that_cannot_be_written_leaves_nothing_behind),
         GV_CASE(fingerprints_outlive_the_key_they_came_from),
         GV_CASE(a_fingerprint_line_is_the_base64_of_32_bytes_and_comes_once),
         GV_CASE(a_sealed_key_is_opened_only_with_the_key_it_was_sealed_under))
