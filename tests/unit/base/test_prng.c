/* Repeatable randomness, checked against the published algorithms. */
#include "grapevine/base/prng.h"
#include "support/suite.h"

/* splitmix64 from 0 begins e220a8397b1dcdaf (reference code of Vigna). */
static void seeding_is_splitmix64(void)
{
    struct gv_prng prng;
    gv_prng_init(&prng, 0);
    CU_ASSERT_EQUAL(prng.state[0], UINT64_C(0xe220a8397b1dcdaf));
    CU_ASSERT_EQUAL(prng.state[1], UINT64_C(0x6e789e6aa1b965f4));
}

/* The first outputs of xoshiro256** from the state 1, 2, 3, 4 (as in rand_xoshiro's tests). */
static void the_numbers_are_xoshiro256_star_star(void)
{
    static const uint64_t wanted[] = {11520, 0, 1509978240, 1215971899390074240};
    struct gv_prng prng = {{1, 2, 3, 4}};
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(gv_prng_next(&prng), wanted[i]);
    }
}

static void the_same_seed_tells_the_same_story(void)
{
    struct gv_prng a;
    struct gv_prng b;
    struct gv_prng c;
    gv_prng_init(&a, 42);
    gv_prng_init(&b, 42);
    gv_prng_init(&c, 43);
    for (int i = 0; i < 100; i++) {
        uint64_t number = gv_prng_next(&a);
        CU_ASSERT_EQUAL(gv_prng_next(&b), number);
        CU_ASSERT_NOT_EQUAL(gv_prng_next(&c), number);
    }
}

static void numbers_below_a_bound_are_below_it_and_even(void)
{
    struct gv_prng prng;
    unsigned counts[3] = {0, 0, 0};
    gv_prng_init(&prng, 1);
    CU_ASSERT_EQUAL(gv_prng_below(&prng, 1), 0);
    for (int i = 0; i < 30000; i++) {
        uint64_t number = gv_prng_below(&prng, 3);
        CU_ASSERT_TRUE_FATAL(number < 3);
        counts[number] += 1;
    }
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(counts[i] > 9500 && counts[i] < 10500);
    }
    for (int i = 0; i < 100; i++) {
        CU_ASSERT_TRUE(gv_prng_below(&prng, UINT64_MAX) < UINT64_MAX);
        double unit = gv_prng_unit(&prng);
        CU_ASSERT_TRUE(unit >= 0.0 && unit < 1.0);
    }
}

GV_SUITE("base/prng", GV_CASE(seeding_is_splitmix64), GV_CASE(the_numbers_are_xoshiro256_star_star),
         GV_CASE(the_same_seed_tells_the_same_story),
         GV_CASE(numbers_below_a_bound_are_below_it_and_even))
