/* The node's key pair: signatures, and the file it may live in. */
#include "grapevine/seal/identity.h"
#include "support/suite.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void a_signature_holds_for_its_message_and_signer_only(void)
{
    uint8_t signature[GV_SIGNATURE_BYTES];
    struct gv_identity *a = gv_identity_new();
    struct gv_identity *b = gv_identity_new();
    struct gv_slice text = gv_slice_text("I am alive, incarnation 7");
    gv_identity_sign(a, text, signature);
    CU_ASSERT_EQUAL(gv_identity_verify(gv_identity_public(a), text, signature), GV_OK);
    CU_ASSERT_EQUAL(gv_identity_verify(gv_identity_public(b), text, signature), GV_EAUTH);
    CU_ASSERT_EQUAL(gv_identity_verify(gv_identity_public(a),
                                       gv_slice_text("I am alive, incarnation 8"), signature),
                    GV_EAUTH);
    for (size_t i = 0; i < GV_SIGNATURE_BYTES; i++) {
        signature[i] ^= 1;
        CU_ASSERT_EQUAL(gv_identity_verify(gv_identity_public(a), text, signature), GV_EAUTH);
        signature[i] ^= 1;
    }
    gv_identity_free(a);
    gv_identity_free(b);
}

static void two_identities_differ(void)
{
    struct gv_identity *a = gv_identity_new();
    struct gv_identity *b = gv_identity_new();
    CU_ASSERT_NOT_EQUAL(memcmp(gv_identity_public(a), gv_identity_public(b), GV_IDENTITY_BYTES), 0);
    gv_identity_free(a);
    gv_identity_free(b);
    gv_identity_free(NULL);
}

static void an_identity_survives_in_its_file(void)
{
    char folder[] = "/tmp/identity-XXXXXX";
    char path[64];
    struct stat about;
    struct gv_identity *first = NULL;
    struct gv_identity *again = NULL;
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/node.key", folder);
    CU_ASSERT_EQUAL_FATAL(gv_identity_load(path, &first), GV_OK);
    CU_ASSERT_EQUAL(stat(path, &about), 0);
    CU_ASSERT_EQUAL(about.st_mode & 0777, 0600);
    CU_ASSERT_EQUAL_FATAL(gv_identity_load(path, &again), GV_OK);
    CU_ASSERT_EQUAL(memcmp(gv_identity_public(first), gv_identity_public(again), GV_IDENTITY_BYTES),
                    0);
    gv_identity_free(again);
    again = NULL;
    CU_ASSERT_EQUAL(chmod(path, 0644), 0);
    CU_ASSERT_EQUAL(gv_identity_load(path, &again), GV_EREFUSED);
    CU_ASSERT_PTR_NULL(again);
    gv_identity_free(first);
    (void)unlink(path);
    CU_ASSERT_EQUAL(rmdir(folder), 0);
}

static void a_file_cut_at_any_offset_is_no_identity(void)
{
    char folder[] = "/tmp/identity-XXXXXX";
    char path[64];
    struct stat about;
    struct gv_identity *identity = NULL;
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/node.key", folder);
    CU_ASSERT_EQUAL_FATAL(gv_identity_load(path, &identity), GV_OK);
    gv_identity_free(identity);
    identity = NULL;
    CU_ASSERT_EQUAL(stat(path, &about), 0);
    for (off_t len = about.st_size - 1; len >= 0; len--) {
        CU_ASSERT_EQUAL(truncate(path, len), 0);
        CU_ASSERT_EQUAL(gv_identity_load(path, &identity), GV_EINVAL);
    }
    CU_ASSERT_EQUAL(truncate(path, 1000), 0);
    CU_ASSERT_EQUAL(gv_identity_load(path, &identity), GV_EINVAL);
    CU_ASSERT_PTR_NULL(identity);
    (void)unlink(path);
    CU_ASSERT_EQUAL(rmdir(folder), 0);
    CU_ASSERT_EQUAL(gv_identity_load("/nowhere/at/all", &identity), GV_EIO);
}

GV_SUITE("seal/identity", GV_CASE(a_signature_holds_for_its_message_and_signer_only),
         GV_CASE(two_identities_differ), GV_CASE(an_identity_survives_in_its_file),
         GV_CASE(a_file_cut_at_any_offset_is_no_identity))
