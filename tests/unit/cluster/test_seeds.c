/*
 * test_seeds.c - what counts as a seed, and how often its name is looked up.
 */
#include "../../../src/cluster/shell.h"
#include "support/suite.h"

#include <stdio.h>
#include <string.h>

#define MESH_PORT 39527

static enum gv_err parse(const char *text, struct gv_seed_name *seed)
{
    memset(seed, 0, sizeof *seed);
    return gv_seed_parse(gv_slice_text(text), MESH_PORT, seed);
}

static void a_numeric_address_needs_no_lookup(void)
{
    struct gv_seed_name seed;
    CU_ASSERT_EQUAL_FATAL(parse("10.0.0.2:4000", &seed), GV_OK);
    CU_ASSERT_TRUE(seed.is_numeric);
    CU_ASSERT_EQUAL(seed.addr.port, 4000);
    CU_ASSERT_EQUAL_FATAL(parse("[2001:db8::1]:4000", &seed), GV_OK);
    CU_ASSERT_TRUE(seed.is_numeric);
    CU_ASSERT_EQUAL(seed.addr.family, 6);
    CU_ASSERT_EQUAL(seed.addr.port, 4000);
}

static void without_a_port_a_seed_has_the_mesh_port(void)
{
    struct gv_seed_name seed;
    CU_ASSERT_EQUAL_FATAL(parse("10.0.0.2", &seed), GV_OK);
    CU_ASSERT_EQUAL(seed.addr.port, MESH_PORT);
    CU_ASSERT_EQUAL_FATAL(parse("node-a.example", &seed), GV_OK);
    CU_ASSERT_FALSE(seed.is_numeric);
    CU_ASSERT_EQUAL(seed.port, MESH_PORT);
    CU_ASSERT_STRING_EQUAL(seed.host, "node-a.example");
}

static void a_name_may_have_a_port(void)
{
    struct gv_seed_name seed;
    CU_ASSERT_EQUAL_FATAL(parse("routers.svc:1", &seed), GV_OK);
    CU_ASSERT_STRING_EQUAL(seed.host, "routers.svc");
    CU_ASSERT_EQUAL(seed.port, 1);
    CU_ASSERT_EQUAL_FATAL(parse("routers.svc:65535", &seed), GV_OK);
    CU_ASSERT_EQUAL(seed.port, 65535);
    CU_ASSERT_EQUAL(parse("routers.svc:0", &seed), GV_EINVAL);
    CU_ASSERT_EQUAL(parse("routers.svc:65536", &seed), GV_EINVAL);
    CU_ASSERT_EQUAL(parse("routers.svc:", &seed), GV_EINVAL);
    CU_ASSERT_EQUAL(parse("routers.svc:x", &seed), GV_EINVAL);
}

static void a_service_name_keeps_its_prefix(void)
{
    struct gv_seed_name seed;
    CU_ASSERT_EQUAL_FATAL(parse("srv:_mesh._tcp.example", &seed), GV_OK);
    CU_ASSERT_FALSE(seed.is_numeric);
    CU_ASSERT_STRING_EQUAL(seed.host, "srv:_mesh._tcp.example");
    CU_ASSERT_EQUAL(parse("srv:", &seed), GV_EINVAL);
}

static void nonsense_is_no_seed(void)
{
    struct gv_seed_name seed;
    CU_ASSERT_EQUAL(parse("", &seed), GV_EINVAL);
    CU_ASSERT_EQUAL(parse("   ", &seed), GV_EINVAL);
    CU_ASSERT_EQUAL(parse("http://a:1", &seed), GV_EINVAL);
    CU_ASSERT_EQUAL(parse("a b:1", &seed), GV_EINVAL);
    CU_ASSERT_EQUAL(parse("0.0.0.0:1", &seed), GV_EINVAL);
    CU_ASSERT_EQUAL(parse("10.0.0.2:0", &seed), GV_EINVAL);
}

static void a_seed_has_a_longest_name(void)
{
    struct gv_seed_name seed;
    char text[sizeof seed.host + 1];
    memset(text, 'a', sizeof text);
    text[sizeof seed.host - 1] = '\0';
    CU_ASSERT_EQUAL(parse(text, &seed), GV_OK);
    text[sizeof seed.host - 1] = 'a';
    text[sizeof seed.host] = '\0';
    CU_ASSERT_EQUAL(parse(text, &seed), GV_EINVAL);
}

static void a_name_is_looked_up_again_as_its_ttl_says_within_bounds(void)
{
    CU_ASSERT_EQUAL(gv_seed_wait_ms(GV_OK, 0), 5000);
    CU_ASSERT_EQUAL(gv_seed_wait_ms(GV_OK, 5), 5000);
    CU_ASSERT_EQUAL(gv_seed_wait_ms(GV_OK, 6), 6000);
    CU_ASSERT_EQUAL(gv_seed_wait_ms(GV_OK, 30), 30000);
    CU_ASSERT_EQUAL(gv_seed_wait_ms(GV_OK, 31), 30000);
    CU_ASSERT_EQUAL(gv_seed_wait_ms(GV_OK, UINT32_MAX), 30000);
}

static void a_name_that_failed_is_tried_again_soon(void)
{
    CU_ASSERT_EQUAL(gv_seed_wait_ms(GV_ENOTFOUND, 3600), 5000);
}

GV_SUITE("cluster/seeds", GV_CASE(a_numeric_address_needs_no_lookup),
         GV_CASE(without_a_port_a_seed_has_the_mesh_port), GV_CASE(a_name_may_have_a_port),
         GV_CASE(a_service_name_keeps_its_prefix), GV_CASE(nonsense_is_no_seed),
         GV_CASE(a_seed_has_a_longest_name),
         GV_CASE(a_name_is_looked_up_again_as_its_ttl_says_within_bounds),
         GV_CASE(a_name_that_failed_is_tried_again_soon))
