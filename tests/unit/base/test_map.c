/* The keyed map: the published hash vectors, its limits, its walk, and memory that runs out. */
#include "grapevine/base/map.h"
#include "grapevine/base/prng.h"
#include "support/suite.h"
#include <stdio.h>

static const uint64_t secret[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};

/* From the reference vectors of the SipHash paper: key 00..0f, message 00 01 02 .. of each length.
 */
static void the_hash_is_siphash_2_4(void)
{
    static const struct {
        size_t len;
        uint64_t hash;
    } vectors[] = {{0, UINT64_C(0x726fdb47dd0e0e31)},
                   {1, UINT64_C(0x74f839c593dc67fd)},
                   {7, UINT64_C(0xab0200f58b01d137)},
                   {8, UINT64_C(0x93f5f5799a932462)},
                   {15, UINT64_C(0xa129ca6149be45e5)}};
    uint8_t message[16];
    for (uint8_t i = 0; i < 16; i++) {
        message[i] = i;
    }
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        CU_ASSERT_EQUAL(gv_siphash(secret, gv_slice_of(message, vectors[i].len)), vectors[i].hash);
    }
}

static void what_was_put_is_found_until_it_is_taken(void)
{
    struct gv_map map;
    int one = 1;
    int two = 2;
    gv_map_init(&map, GV_MEM_GENERAL, 10, NULL);
    CU_ASSERT_PTR_NULL(gv_map_find(&map, gv_slice_text("a")));
    CU_ASSERT_PTR_NULL(gv_map_take(&map, gv_slice_text("a")));
    CU_ASSERT_EQUAL(gv_map_put(&map, gv_slice_text("a"), &one), GV_OK);
    CU_ASSERT_EQUAL(gv_map_put(&map, gv_slice_text(""), &two), GV_OK);
    CU_ASSERT_PTR_EQUAL(gv_map_find(&map, gv_slice_text("a")), &one);
    CU_ASSERT_PTR_EQUAL(gv_map_find(&map, gv_slice_text("")), &two);
    CU_ASSERT_EQUAL(gv_map_put(&map, gv_slice_text("a"), &two), GV_OK);
    CU_ASSERT_EQUAL(map.count, 2);
    CU_ASSERT_PTR_EQUAL(gv_map_take(&map, gv_slice_text("a")), &two);
    CU_ASSERT_PTR_NULL(gv_map_find(&map, gv_slice_text("a")));
    CU_ASSERT_EQUAL(map.count, 1);
    gv_map_deinit(&map);
}

static void the_last_key_under_the_limit_fits_and_the_next_does_not(void)
{
    struct gv_map map;
    int value = 0;
    char key[16];
    gv_map_init(&map, GV_MEM_GENERAL, 100, secret);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%d", i);
        CU_ASSERT_EQUAL(gv_map_put(&map, gv_slice_text(key), &value), GV_OK);
    }
    CU_ASSERT_EQUAL(gv_map_put(&map, gv_slice_text("one more"), &value), GV_EFULL);
    CU_ASSERT_EQUAL(map.count, 100);
    CU_ASSERT_EQUAL(gv_map_put(&map, gv_slice_text("k5"), &value), GV_OK);
    CU_ASSERT_PTR_NOT_NULL(gv_map_take(&map, gv_slice_text("k5")));
    CU_ASSERT_EQUAL(gv_map_put(&map, gv_slice_text("one more"), &value), GV_OK);
    gv_map_deinit(&map);
}

static void a_walk_meets_each_key_once_even_while_it_takes_them(void)
{
    struct gv_map map;
    int value = 0;
    char name[16];
    gv_map_init(&map, GV_MEM_GENERAL, 1000, NULL);
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "k%d", i);
        CU_ASSERT_EQUAL(gv_map_put(&map, gv_slice_text(name), &value), GV_OK);
    }
    size_t cursor = 0;
    size_t met = 0;
    struct gv_slice key;
    void *found;
    while (gv_map_next(&map, &cursor, &key, &found)) {
        char copy[16];
        CU_ASSERT_TRUE(gv_slice_copy_text(key, copy, sizeof copy));
        CU_ASSERT_PTR_EQUAL(gv_map_take(&map, gv_slice_text(copy)), &value);
        met += 1;
    }
    CU_ASSERT_EQUAL(met, 500);
    CU_ASSERT_EQUAL(map.count, 0);
    gv_map_deinit(&map);
}

/* Short keys lie in the table, longer ones outside; where is where that changes. */
static void keys_of_any_length_are_told_apart(void)
{
    struct gv_map map;
    int values[40][2];
    char name[48];
    gv_map_init(&map, GV_MEM_GENERAL, 100, NULL);
    for (size_t len = 1; len < 40; len++) {
        for (size_t last = 0; last < 2; last++) {
            memset(name, 'k', len);
            name[len - 1] = (char)('a' + last);
            CU_ASSERT_EQUAL(gv_map_put(&map, gv_slice_of(name, len), &values[len][last]), GV_OK);
        }
    }
    memset(name, 'x', sizeof name);
    for (size_t len = 1; len < 40; len++) {
        for (size_t last = 0; last < 2; last++) {
            memset(name, 'k', len);
            name[len - 1] = (char)('a' + last);
            struct gv_slice key = gv_slice_of(name, len);
            CU_ASSERT_PTR_EQUAL(gv_map_find(&map, key), &values[len][last]);
            CU_ASSERT_PTR_EQUAL(gv_map_take(&map, key), &values[len][last]);
            CU_ASSERT_PTR_NULL(gv_map_find(&map, key));
        }
    }
    CU_ASSERT_EQUAL(map.count, 0);
    gv_map_deinit(&map);
}

/* 400 keys, put and taken at random: the array of flags is the stupid and right one. */
static void it_agrees_with_an_array_over_random_puts_and_takes(void)
{
    struct gv_map map;
    struct gv_prng prng;
    bool is_there[400] = {false};
    int values[400];
    gv_map_init(&map, GV_MEM_GENERAL, 400, NULL);
    gv_prng_init(&prng, 7);
    for (int step = 0; step < 20000; step++) {
        size_t i = (size_t)gv_prng_below(&prng, 400);
        char name[32];
        snprintf(name, sizeof name, i % 2 == 0 ? "key-%zu" : "key-of-some-length-%zu", i);
        struct gv_slice key = gv_slice_text(name);
        CU_ASSERT_PTR_EQUAL(gv_map_find(&map, key), is_there[i] ? &values[i] : NULL);
        if (gv_prng_below(&prng, 2) == 0) {
            CU_ASSERT_EQUAL(gv_map_put(&map, key, &values[i]), GV_OK);
            is_there[i] = true;
        } else {
            CU_ASSERT_PTR_EQUAL(gv_map_take(&map, key), is_there[i] ? &values[i] : NULL);
            is_there[i] = false;
        }
    }
    CU_ASSERT_TRUE(map.room <= 2048);
    gv_map_deinit(&map);
}

static void a_put_that_runs_out_of_memory_changes_nothing(void)
{
    struct gv_map map;
    int value = 0;
    char name[32];
    size_t before = gv_mem_used(GV_MEM_FLEET);
    gv_map_init(&map, GV_MEM_FLEET, 1000, NULL);
    size_t failures = 0;
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "key-beyond-its-slot-%d", i);
        for (uint64_t nth = 1;; nth++) {
            gv_mem_fail_nth(nth);
            enum gv_err err = gv_map_put(&map, gv_slice_text(name), &value);
            gv_mem_fail_nth(0);
            if (err == GV_OK) {
                break;
            }
            CU_ASSERT_EQUAL(err, GV_ENOMEM);
            CU_ASSERT_EQUAL(map.count, (size_t)i);
            CU_ASSERT_PTR_NULL(gv_map_find(&map, gv_slice_text(name)));
            failures += 1;
        }
    }
    CU_ASSERT_TRUE(failures > 50);
    gv_map_deinit(&map);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_FLEET), before);
}

GV_SUITE("base/map", GV_CASE(the_hash_is_siphash_2_4),
         GV_CASE(what_was_put_is_found_until_it_is_taken),
         GV_CASE(keys_of_any_length_are_told_apart),
         GV_CASE(the_last_key_under_the_limit_fits_and_the_next_does_not),
         GV_CASE(a_walk_meets_each_key_once_even_while_it_takes_them),
         GV_CASE(it_agrees_with_an_array_over_random_puts_and_takes),
         GV_CASE(a_put_that_runs_out_of_memory_changes_nothing))
