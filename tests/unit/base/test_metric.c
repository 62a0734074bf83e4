/* The registry and its text: types, labels, escaping, limits, threads, memory that runs out. */
#include "grapevine/base/metric.h"
#include "support/suite.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* The part of the rendered text that belongs to a family: owned by the caller. */
static char *rendered(const struct gv_metric_family *family)
{
    struct gv_buf out;
    char head[128];
    gv_buf_init(&out, GV_MEM_NET, 16 << 20);
    CU_ASSERT_EQUAL_FATAL(gv_metric_render(&out), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_buf_append(&out, gv_slice_of("", 1)), GV_OK);
    (void)snprintf(head, sizeof head, "# HELP %s ", family->name);
    char *start = strstr((char *)out.data, head);
    CU_ASSERT_PTR_NOT_NULL_FATAL(start);
    char *end = strstr(start + 1, "# HELP ");
    char *copy = strndup(start, end == NULL ? strlen(start) : (size_t)(end - start));
    gv_buf_deinit(&out);
    return copy;
}

static void expect(const struct gv_metric_family *family, const char *wanted)
{
    char *text = rendered(family);
    CU_ASSERT_STRING_EQUAL(text, wanted);
    free(text);
}

static void a_counter_counts(void)
{
    static const struct gv_metric_family family = {.name = "t_requests_total",
                                                   .help = "Requests.\nBy \\ \"kind\".",
                                                   .type = GV_METRIC_COUNTER,
                                                   .labels = {"kind", "code"}};
    static const char *const a[] = {"chat", "200"};
    static const char *const b[] = {"a\"b\\c\nd", "500"};
    CU_ASSERT_EQUAL(gv_metric_register(&family), GV_OK);
    CU_ASSERT_EQUAL(gv_metric_register(&family), GV_OK);
    gv_metric_add(gv_metric_get(&family, a), 2);
    gv_metric_add(gv_metric_get(&family, a), 1);
    gv_metric_set(gv_metric_get(&family, b), 18014398509481984.0);
    CU_ASSERT_PTR_EQUAL(gv_metric_get(&family, a), gv_metric_get(&family, a));
    CU_ASSERT_EQUAL(gv_metric_value(gv_metric_get(&family, a)), 3.0);
    expect(&family, "# HELP t_requests_total Requests.\\nBy \\\\ \"kind\".\n"
                    "# TYPE t_requests_total counter\n"
                    "t_requests_total{kind=\"chat\",code=\"200\"} 3\n"
                    "t_requests_total{kind=\"a\\\"b\\\\c\\nd\",code=\"500\"} 18014398509481984\n");
}

static void label_values_are_kept_apart(void)
{
    static const struct gv_metric_family family = {
        .name = "t_apart", .help = "Two labels.", .type = GV_METRIC_GAUGE, .labels = {"x", "y"}};
    static const char *const a[] = {"ab", "c"};
    static const char *const b[] = {"a", "bc"};
    CU_ASSERT_PTR_NOT_EQUAL(gv_metric_get(&family, a), gv_metric_get(&family, b));
}

static void a_gauge_shows_any_number(void)
{
    static const struct gv_metric_family family = {
        .name = "t_load", .help = "Load.", .type = GV_METRIC_GAUGE};
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},
                 {-1.5, "-1.5"},
                 {0.1, "0.1"},
                 {1e300, "1e+300"},
                 {1.0 / 3, "0.3333333333333333"},
                 {1e308 * 10, "+Inf"},
                 {-1e308 * 10, "-Inf"},
                 {123456789, "123456789"}};
    struct gv_metric *cell = gv_metric_get(&family, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char wanted[128];
        gv_metric_set(cell, cases[i].value);
        (void)snprintf(wanted, sizeof wanted,
                       "# HELP t_load Load.\n# TYPE t_load gauge\nt_load %s\n", cases[i].text);
        expect(&family, wanted);
    }
    CU_ASSERT_EQUAL(gv_metric_value(cell), 123456789);
}

static void a_histogram_is_cumulative_and_its_bounds_are_inclusive(void)
{
    static const double bounds[] = {0.1, 1, 10};
    static const struct gv_metric_family family = {.name = "t_seconds",
                                                   .help = "Time.",
                                                   .type = GV_METRIC_HISTOGRAM,
                                                   .labels = {"x"},
                                                   .bounds = bounds,
                                                   .bound_count = 3};
    static const char *const value[] = {"v"};
    struct gv_metric *cell = gv_metric_get(&family, value);
    gv_metric_observe(cell, 0.1);
    gv_metric_observe(cell, 0.25);
    gv_metric_observe(cell, 10);
    gv_metric_observe(cell, 11);
    CU_ASSERT_EQUAL(gv_metric_value(cell), 4);
    expect(&family, "# HELP t_seconds Time.\n# TYPE t_seconds histogram\n"
                    "t_seconds_bucket{x=\"v\",le=\"0.1\"} 1\n"
                    "t_seconds_bucket{x=\"v\",le=\"1\"} 2\n"
                    "t_seconds_bucket{x=\"v\",le=\"10\"} 3\n"
                    "t_seconds_bucket{x=\"v\",le=\"+Inf\"} 4\n"
                    "t_seconds_sum{x=\"v\"} 21.35\n"
                    "t_seconds_count{x=\"v\"} 4\n");
}

static void the_usual_bounds_rise_from_a_millisecond_to_ten_minutes(void)
{
    CU_ASSERT_EQUAL(gv_metric_seconds_bounds[0], 0.001);
    CU_ASSERT_EQUAL(gv_metric_seconds_bounds[gv_metric_seconds_bound_count - 1], 600);
    for (size_t i = 1; i < gv_metric_seconds_bound_count; i++) {
        CU_ASSERT_TRUE(gv_metric_seconds_bounds[i] > gv_metric_seconds_bounds[i - 1]);
    }
}

static void two_families_of_one_name_are_refused(void)
{
    static const struct gv_metric_family a = {.name = "t_twice", .help = "One."};
    static const struct gv_metric_family b = {.name = "t_twice", .help = "Two."};
    CU_ASSERT_EQUAL(gv_metric_register(&a), GV_OK);
    CU_ASSERT_EQUAL(gv_metric_register(&b), GV_EEXISTS);
    gv_metric_add(gv_metric_get(&b, NULL), 1); /* goes nowhere, and harms nobody */
    expect(&a, "# HELP t_twice One.\n# TYPE t_twice counter\n");
}

static void a_dropped_cell_is_forgotten_and_may_come_back(void)
{
    static const struct gv_metric_family family = {
        .name = "t_dropped", .help = "Gone.", .type = GV_METRIC_GAUGE, .labels = {"worker"}};
    static const char *const value[] = {"http://w:1"};
    static const char *const unknown[] = {"http://w:2"};
    gv_metric_set(gv_metric_get(&family, value), 5);
    gv_metric_drop(&family, unknown);
    gv_metric_drop(&family, value);
    expect(&family, "# HELP t_dropped Gone.\n# TYPE t_dropped gauge\n");
    CU_ASSERT_EQUAL(gv_metric_value(gv_metric_get(&family, value)), 0);
}

static void beyond_the_limit_of_cells_all_share_one(void)
{
    static const struct gv_metric_family family = {
        .name = "t_many_total", .help = "Many.", .labels = {"model"}};
    struct gv_metric *last = NULL;
    char name[24];
    const char *const value[] = {name};
    for (int i = 0; i < GV_METRIC_CELLS_MAX; i++) {
        (void)snprintf(name, sizeof name, "m%d", i);
        struct gv_metric *cell = gv_metric_get(&family, value);
        CU_ASSERT_PTR_NOT_EQUAL(cell, last);
        last = cell;
    }
    (void)snprintf(name, sizeof name, "one more");
    struct gv_metric *shared = gv_metric_get(&family, value);
    CU_ASSERT_PTR_NOT_EQUAL(shared, last);
    gv_metric_add(shared, 7);
    (void)snprintf(name, sizeof name, "and another");
    CU_ASSERT_PTR_EQUAL(gv_metric_get(&family, value), shared);
    char *text = rendered(&family);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "t_many_total{model=\"other\"} 7\n"));
    free(text);
}

static void a_label_value_without_end_goes_to_the_shared_cell(void)
{
    static char value[4096];
    static const struct gv_metric_family family = {
        .name = "t_long", .help = "Long.", .type = GV_METRIC_GAUGE, .labels = {"model"}};
    static const char *const values[] = {value};
    memset(value, 'm', sizeof value - 1);
    gv_metric_set(gv_metric_get(&family, values), 1);
    expect(&family, "# HELP t_long Long.\n# TYPE t_long gauge\nt_long{model=\"other\"} 1\n");
}

static void out_of_memory_costs_the_cell_its_name_but_no_caller_anything(void)
{
    static const struct gv_metric_family family = {
        .name = "t_poor_total", .help = "Poor.", .labels = {"x"}};
    static const char *const value[] = {"too long to lie in a table"};
    size_t before = gv_mem_used(GV_MEM_GENERAL);
    gv_mem_fail_nth(1);
    CU_ASSERT_EQUAL(gv_metric_register(&family), GV_ENOMEM);
    gv_mem_fail_nth(2);
    CU_ASSERT_EQUAL(gv_metric_register(&family), GV_ENOMEM);
    gv_mem_fail_nth(0);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_GENERAL), before);
    CU_ASSERT_EQUAL(gv_metric_register(&family), GV_OK);
    struct gv_metric *shared = NULL;
    for (uint64_t nth = 1; nth <= 4; nth++) {
        gv_mem_fail_nth(nth);
        struct gv_metric *cell = gv_metric_get(&family, value);
        gv_mem_fail_nth(0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(cell);
        CU_ASSERT_TRUE(shared == NULL || cell == shared);
        shared = cell;
        gv_metric_add(cell, 1);
    }
    CU_ASSERT_PTR_NOT_EQUAL(gv_metric_get(&family, value), shared);
    CU_ASSERT_EQUAL(gv_metric_value(shared), 4);
}

static void a_page_that_is_too_small_is_an_error(void)
{
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_NET, 10);
    CU_ASSERT_EQUAL(gv_metric_render(&out), GV_ETOOBIG);
    gv_buf_deinit(&out);
}

static const double thread_bounds[] = {1};
static const struct gv_metric_family thread_family = {.name = "t_threads",
                                                      .help = "Threads.",
                                                      .type = GV_METRIC_HISTOGRAM,
                                                      .bounds = thread_bounds,
                                                      .bound_count = 1};

static void *observe_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < 2000; i++) {
        gv_metric_observe(gv_metric_get(&thread_family, NULL), i % 2 == 0 ? 0.5 : 1.5);
    }
    return NULL;
}

static void nothing_is_lost_between_threads(void)
{
    pthread_t threads[4];
    CU_ASSERT_EQUAL(gv_metric_register(&thread_family), GV_OK);
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(pthread_create(&threads[i], NULL, observe_many, NULL), 0);
    }
    free(rendered(&thread_family)); /* rendering meanwhile is allowed */
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(pthread_join(threads[i], NULL), 0);
    }
    expect(&thread_family, "# HELP t_threads Threads.\n# TYPE t_threads histogram\n"
                           "t_threads_bucket{le=\"1\"} 4000\n"
                           "t_threads_bucket{le=\"+Inf\"} 8000\n"
                           "t_threads_sum 8000\nt_threads_count 8000\n");
}

GV_SUITE("base/metric", GV_CASE(a_counter_counts), GV_CASE(label_values_are_kept_apart),
         GV_CASE(a_gauge_shows_any_number),
         GV_CASE(a_histogram_is_cumulative_and_its_bounds_are_inclusive),
         GV_CASE(the_usual_bounds_rise_from_a_millisecond_to_ten_minutes),
         GV_CASE(two_families_of_one_name_are_refused),
         GV_CASE(a_dropped_cell_is_forgotten_and_may_come_back),
         GV_CASE(beyond_the_limit_of_cells_all_share_one),
         GV_CASE(a_label_value_without_end_goes_to_the_shared_cell),
         GV_CASE(out_of_memory_costs_the_cell_its_name_but_no_caller_anything),
         GV_CASE(a_page_that_is_too_small_is_an_error), GV_CASE(nothing_is_lost_between_threads))
