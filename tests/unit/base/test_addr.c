/* Addresses from text and back. */
#include "grapevine/base/addr.h"
#include "support/suite.h"

static void what_is_read_is_written_the_same(void)
{
    static const char *const texts[] = {"1.2.3.4:80",
                                        "0.0.0.0:0",
                                        "255.255.255.255:65535",
                                        "[::1]:80",
                                        "[::]:0",
                                        "[fd00::12:3]:30000",
                                        "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535"};
    static const char last[] = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
    char text[GV_ADDR_TEXT_BYTES];
    struct gv_addr addr;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        CU_ASSERT_EQUAL(gv_addr_parse(gv_slice_text(texts[i]), 0, &addr), GV_OK);
        CU_ASSERT_STRING_EQUAL(gv_addr_format(&addr, text), i == 6 ? last : texts[i]);
    }
}

static void a_bare_address_takes_the_default_port_if_there_is_one(void)
{
    static const char *const texts[] = {"10.0.0.1", "::1", "[::1]"};
    struct gv_addr addr;
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(gv_addr_parse(gv_slice_text(texts[i]), 0, &addr), GV_EINVAL);
        CU_ASSERT_EQUAL(gv_addr_parse(gv_slice_text(texts[i]), 30000, &addr), GV_OK);
        CU_ASSERT_EQUAL(addr.port, 30000);
    }
    CU_ASSERT_EQUAL(gv_addr_parse(gv_slice_text("10.0.0.1:5"), 30000, &addr), GV_OK);
    CU_ASSERT_EQUAL(addr.port, 5);
}

static void what_is_no_address_is_refused(void)
{
    static const char *const texts[] = {
        "",           ":",          ":80",        "1.2.3:80",      "1.2.3.4:",    "1.2.3.4:65536",
        "1.2.3.4:-1", "1.2.3.4: 1", "1.2.3.4:1x", "256.1.1.1:1",   "node:80",     "[::1]",
        "[::1",       "[::1]80",    "[::1]:",     "[1.2.3.4]:1",   "[::1]:65536", "[]:1",
        "01.2.3.4:1", "[::g]:1",    "::1:80x",    "1.2.3.4:000080"};
    struct gv_addr addr = {.port = 9};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        CU_ASSERT_EQUAL(gv_addr_parse(gv_slice_text(texts[i]), 0, &addr), GV_EINVAL);
        CU_ASSERT_EQUAL(addr.port, 9);
    }
    CU_ASSERT_EQUAL(gv_addr_parse(gv_slice_of("1.2.3.4\0:80", 11), 0, &addr), GV_EINVAL);
}

static struct gv_addr addr_of(const char *text)
{
    struct gv_addr addr = {.family = 0};
    CU_ASSERT_EQUAL(gv_addr_parse(gv_slice_text(text), 0, &addr), GV_OK);
    return addr;
}

static void loopback_and_unspecified_are_known_in_both_families(void)
{
    struct gv_addr none = {.family = 0};
    char text[GV_ADDR_TEXT_BYTES];
    struct gv_addr a = addr_of("127.255.0.1:1");
    struct gv_addr b = addr_of("[::1]:1");
    struct gv_addr c = addr_of("128.0.0.1:1");
    struct gv_addr d = addr_of("[::2]:1");
    struct gv_addr e = addr_of("0.0.0.0:1");
    struct gv_addr f = addr_of("[::]:1");
    CU_ASSERT_TRUE(gv_addr_is_loopback(&a) && gv_addr_is_loopback(&b));
    CU_ASSERT_FALSE(gv_addr_is_loopback(&c) || gv_addr_is_loopback(&d));
    CU_ASSERT_FALSE(gv_addr_is_loopback(&none));
    CU_ASSERT_TRUE(gv_addr_is_unspecified(&e) && gv_addr_is_unspecified(&f));
    CU_ASSERT_TRUE(gv_addr_is_unspecified(&none));
    CU_ASSERT_FALSE(gv_addr_is_unspecified(&a) || gv_addr_is_unspecified(&b));
    CU_ASSERT_STRING_EQUAL(gv_addr_format(&none, text), "-");
}

static void equal_means_family_address_and_port(void)
{
    struct gv_addr a = addr_of("1.2.3.4:1");
    struct gv_addr same = addr_of("1.2.3.4:1");
    struct gv_addr port = addr_of("1.2.3.4:2");
    struct gv_addr ip = addr_of("1.2.3.5:1");
    struct gv_addr family = addr_of("[102:304::]:1");
    CU_ASSERT_TRUE(gv_addr_equal(&a, &same));
    CU_ASSERT_FALSE(gv_addr_equal(&a, &port));
    CU_ASSERT_FALSE(gv_addr_equal(&a, &ip));
    CU_ASSERT_FALSE(gv_addr_equal(&a, &family));
}

GV_SUITE("base/addr", GV_CASE(what_is_read_is_written_the_same),
         GV_CASE(a_bare_address_takes_the_default_port_if_there_is_one),
         GV_CASE(what_is_no_address_is_refused),
         GV_CASE(loopback_and_unspecified_are_known_in_both_families),
         GV_CASE(equal_means_family_address_and_port))
