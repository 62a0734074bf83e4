#include "grapevine/route/fingerprint.h"
#include "support/suite.h"

#include <string.h>

static const uint8_t zero_key[32] = {0};

static struct gv_fingerprint_secret secret_of(uint8_t first)
{
    uint8_t key[32] = {0};
    struct gv_fingerprint_secret secret;
    key[0] = first;
    gv_fingerprint_secret_init(&secret, key);
    return secret;
}

static uint8_t prompt[16 * 300];

static uint32_t chain_of(const struct gv_fingerprint_secret *secret, const char *key, size_t len,
                         uint64_t *chain, uint32_t max_count)
{
    return gv_fingerprint_chain(secret, key, gv_slice_of(prompt, len), 16, chain, max_count);
}

static void a_partial_block_counts_as_its_own(void)
{
    struct gv_fingerprint_secret secret = secret_of(0);
    uint64_t chain[8];
    CU_ASSERT_EQUAL(chain_of(&secret, "regular::m", 0, chain, 8), 0);
    CU_ASSERT_EQUAL(chain_of(&secret, "regular::m", 1, chain, 8), 1);
    CU_ASSERT_EQUAL(chain_of(&secret, "regular::m", 16, chain, 8), 1);
    CU_ASSERT_EQUAL(chain_of(&secret, "regular::m", 17, chain, 8), 2);
    CU_ASSERT_EQUAL(chain_of(&secret, "regular::m", sizeof prompt, chain, 8), 8);
}

/* Changing one byte changes every fingerprint from its block on and none before. */
static void a_fingerprint_names_the_whole_prefix(void)
{
    struct gv_fingerprint_secret secret = secret_of(0);
    uint64_t before[10];
    uint64_t after[10];
    memset(prompt, 'a', sizeof prompt);
    CU_ASSERT_EQUAL(chain_of(&secret, "regular::m", 160, before, 10), 10);
    prompt[16 * 4 + 3] = 'b';
    CU_ASSERT_EQUAL(chain_of(&secret, "regular::m", 160, after, 10), 10);
    for (int i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(before[i] == after[i], i < 4);
        CU_ASSERT_NOT_EQUAL(before[i], 0);
    }
    prompt[16 * 4 + 3] = 'a';
}

static void the_order_of_blocks_matters(void)
{
    struct gv_fingerprint_secret secret = secret_of(0);
    uint64_t ab[2];
    uint64_t ba[2];
    memset(prompt, 'a', 16);
    memset(prompt + 16, 'b', 16);
    chain_of(&secret, "regular::m", 32, ab, 2);
    memset(prompt, 'b', 16);
    memset(prompt + 16, 'a', 16);
    chain_of(&secret, "regular::m", 32, ba, 2);
    CU_ASSERT_NOT_EQUAL(ab[1], ba[1]);
    memset(prompt, 'a', sizeof prompt);
}

static void pools_models_and_secrets_have_nothing_in_common(void)
{
    struct gv_fingerprint_secret one = secret_of(1);
    struct gv_fingerprint_secret two = secret_of(2);
    struct gv_fingerprint_secret again = secret_of(1);
    uint64_t chains[5][4];
    chain_of(&one, "prefill::m", 64, chains[0], 4);
    chain_of(&one, "decode::m", 64, chains[1], 4);
    chain_of(&one, "prefill::n", 64, chains[2], 4);
    chain_of(&two, "prefill::m", 64, chains[3], 4);
    chain_of(&again, "prefill::m", 64, chains[4], 4);
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_NOT_EQUAL(chains[0][i], chains[1][i]);
        CU_ASSERT_NOT_EQUAL(chains[0][i], chains[2][i]);
        CU_ASSERT_NOT_EQUAL(chains[0][i], chains[3][i]);
        CU_ASSERT_EQUAL(chains[0][i], chains[4][i]);
    }
}

/* Nodes of different builds must agree, so the values themselves are part of the protocol. */
static void the_values_never_change(void)
{
    struct gv_fingerprint_secret secret;
    uint64_t chain[2];
    gv_fingerprint_secret_init(&secret, zero_key);
    uint32_t count = gv_fingerprint_chain(
        &secret, "regular::unknown", gv_slice_text("Once upon a time in the west"), 16, chain, 2);
    CU_ASSERT_EQUAL(count, 2);
    CU_ASSERT_EQUAL(chain[0], UINT64_C(0xDD32B0A74C174080));
    CU_ASSERT_EQUAL(chain[1], UINT64_C(0x83AD9D6D4FD419D6));
    CU_ASSERT_EQUAL(gv_fingerprint_rendezvous(7, gv_slice_text("http://w1:80")),
                    UINT64_C(0xE4966F00964C28BD));
}

/* A mesh has processors of several kinds, and what hashes by theirs must not show: short and long
 * blocks take different ways through the hash, and long ones the processor's widest. */
static void every_processor_names_alike(void)
{
    static const struct {
        uint32_t block_bytes;
        uint64_t last;
    } rows[] = {
        {16, UINT64_C(0x2cd89d1a500a3644)},   {100, UINT64_C(0xed18f2975d382ca5)},
        {240, UINT64_C(0xd9683d27960c5331)},  {241, UINT64_C(0xfdd4c2853c18ea09)},
        {256, UINT64_C(0xe8513576222af542)},  {1024, UINT64_C(0x4c60b78f2fe0211f)},
        {4096, UINT64_C(0xebfbfc61f0d58082)},
    };
    struct gv_fingerprint_secret secret = secret_of(7);
    uint64_t chain[300];
    for (size_t i = 0; i < sizeof prompt; i++) {
        prompt[i] = (uint8_t)(i * 31 + i / 256);
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t count =
            gv_fingerprint_chain(&secret, "regular::m", gv_slice_of(prompt, sizeof prompt),
                                 rows[i].block_bytes, chain, 300);
        CU_ASSERT_EQUAL_FATAL(count,
                              (sizeof prompt + rows[i].block_bytes - 1) / rows[i].block_bytes);
        CU_ASSERT_EQUAL(chain[count - 1], rows[i].last);
    }
}

GV_SUITE("route/fingerprint", GV_CASE(a_partial_block_counts_as_its_own),
         GV_CASE(a_fingerprint_names_the_whole_prefix), GV_CASE(the_order_of_blocks_matters),
         GV_CASE(pools_models_and_secrets_have_nothing_in_common), GV_CASE(the_values_never_change),
         GV_CASE(every_processor_names_alike))
