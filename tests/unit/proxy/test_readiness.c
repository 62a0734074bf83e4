/* test_readiness.c - when a node says that it may be sent requests, and with which words. */
#include "grapevine/proxy/readiness.h"
#include "support/suite.h"

#include <stdio.h>
#include <string.h>

static bool holder_is_ready;

static bool is_ready(void *owner, char reason[GV_PROXY_REASON_BYTES])
{
    (void)owner;
    snprintf(reason, GV_PROXY_REASON_BYTES, "syncing");
    return holder_is_ready;
}

static const struct gv_proxy_events events = {.is_ready = is_ready};

struct case_row {
    uint32_t regular, prefill, decode;
    bool pd;
    bool ready;
};

static void a_node_is_ready_when_what_is_ready_can_serve_somebody(void)
{
    static const struct case_row rows[] = {
        {0, 0, 0, false, false}, {1, 0, 0, false, true}, {0, 1, 0, false, false},
        {0, 0, 1, false, false}, {0, 1, 1, false, true}, {0, 0, 0, true, false},
        {1, 0, 0, true, false},  {1, 1, 0, true, false}, {0, 1, 1, true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gv_config config = {.pd_disaggregation = rows[i].pd ? 1 : 0};
        struct gv_fleet_view view = {
            .count = 5, .ready_count = {rows[i].regular, rows[i].prefill, rows[i].decode}};
        struct gv_proxy_shared shared = {.config = &config, .events = &events};
        char text[GV_READINESS_BYTES];
        holder_is_ready = true;
        CU_ASSERT_EQUAL(gv_readiness_has_workers(&config, &view), rows[i].ready);
        CU_ASSERT_EQUAL(gv_readiness_judge(&shared, &view, false, text), rows[i].ready);
        CU_ASSERT_EQUAL(strstr(text, "\"status\":\"ready\"") != NULL, rows[i].ready);
    }
}

static void why_it_is_not_ready_is_said(void)
{
    struct gv_config config = {.pd_disaggregation = 0};
    struct gv_fleet_view view = {.count = 3, .ready_count = {0, 1, 1}};
    struct gv_proxy_shared shared = {.config = &config, .events = &events};
    char text[GV_READINESS_BYTES];
    holder_is_ready = false;
    CU_ASSERT_FALSE(gv_readiness_judge(&shared, &view, false, text));
    CU_ASSERT_STRING_EQUAL(text, "{\"status\":\"not ready\",\"reason\":\"syncing\"}");
    CU_ASSERT_FALSE(gv_readiness_judge(&shared, &view, true, text));
    CU_ASSERT_STRING_EQUAL(text, "{\"status\":\"not ready\",\"reason\":\"draining\"}");
    holder_is_ready = true;
    CU_ASSERT_TRUE(gv_readiness_judge(&shared, &view, false, text));
    CU_ASSERT_STRING_EQUAL(text,
                           "{\"status\":\"ready\",\"healthy_workers\":2,\"total_workers\":3}");
    view.ready_count[GV_POOL_DECODE] = 0;
    CU_ASSERT_FALSE(gv_readiness_judge(&shared, &view, false, text));
    CU_ASSERT_STRING_EQUAL(
        text, "{\"status\":\"not ready\",\"reason\":\"insufficient healthy workers\"}");
}

GV_SUITE("proxy/readiness", GV_CASE(a_node_is_ready_when_what_is_ready_can_serve_somebody),
         GV_CASE(why_it_is_not_ready_is_said))
