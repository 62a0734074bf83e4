/* Quantiles to 3 %, against a sorted array. */
#include "grapevine/base/hist.h"
#include "grapevine/base/prng.h"
#include "support/suite.h"
#include <stdlib.h>

static struct gv_hist hist;
static struct gv_hist other;

static void an_empty_histogram_says_zero(void)
{
    gv_hist_init(&hist);
    CU_ASSERT_EQUAL(gv_hist_quantile(&hist, 0.5), 0);
    CU_ASSERT_EQUAL(gv_hist_mean(&hist), 0.0);
}

static void small_values_are_exact(void)
{
    gv_hist_init(&hist);
    for (uint64_t i = 1; i <= 50; i++) {
        gv_hist_add(&hist, i);
    }
    CU_ASSERT_EQUAL(gv_hist_quantile(&hist, 0.0), 1);
    CU_ASSERT_EQUAL(gv_hist_quantile(&hist, 0.5), 25);
    CU_ASSERT_EQUAL(gv_hist_quantile(&hist, 1.0), 50);
    CU_ASSERT_EQUAL(gv_hist_mean(&hist), 25.5);
}

static void the_edges_of_64_bits_fit(void)
{
    gv_hist_init(&hist);
    gv_hist_add(&hist, UINT64_MAX);
    CU_ASSERT_EQUAL(gv_hist_quantile(&hist, 0.5), UINT64_MAX);
    gv_hist_add(&hist, 0);
    CU_ASSERT_EQUAL(gv_hist_quantile(&hist, 0.5), 0);
    CU_ASSERT_EQUAL(hist.max, UINT64_MAX);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static void quantiles_are_right_to_3_percent(void)
{
    static uint64_t values[10000];
    struct gv_prng prng;
    gv_prng_init(&prng, 5);
    gv_hist_init(&hist);
    gv_hist_init(&other);
    for (size_t i = 0; i < 10000; i++) {
        values[i] = gv_prng_next(&prng) >> gv_prng_below(&prng, 60);
        gv_hist_add(i % 2 == 0 ? &hist : &other, values[i]);
    }
    gv_hist_merge(&hist, &other);
    CU_ASSERT_EQUAL(hist.count, 10000);
    qsort(values, 10000, sizeof values[0], by_value);
    for (unsigned percent = 1; percent <= 100; percent++) {
        double wanted = (double)values[percent * 100 - 1];
        double found = (double)gv_hist_quantile(&hist, percent / 100.0);
        CU_ASSERT_TRUE(found >= wanted && found <= wanted * 1.0314);
    }
    CU_ASSERT_EQUAL(hist.max, values[9999]);
}

GV_SUITE("base/hist", GV_CASE(an_empty_histogram_says_zero), GV_CASE(small_values_are_exact),
         GV_CASE(the_edges_of_64_bits_fit), GV_CASE(quantiles_are_right_to_3_percent))
