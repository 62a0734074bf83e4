/*
 * test_uri.c - the URL of a worker in parts, and back to the one text it is known by.
 */
#include "grapevine/http/uri.h"
#include "support/suite.h"
#include <stdio.h>

static void a_url_is_read_into_its_parts(void)
{
    struct gv_uri uri;
    CU_ASSERT_EQUAL(gv_uri_parse(gv_slice_text("http://Worker-1.local:8000/base/x/@3"), &uri),
                    GV_OK);
    CU_ASSERT_STRING_EQUAL(uri.scheme, "http");
    CU_ASSERT_STRING_EQUAL(uri.host, "worker-1.local");
    CU_ASSERT_EQUAL(uri.port, 8000);
    CU_ASSERT_STRING_EQUAL(uri.prefix, "/base/x");
    CU_ASSERT_STRING_EQUAL(uri.authority, "worker-1.local:8000");
    CU_ASSERT_EQUAL(uri.dp_rank, 3);
}

static void two_spellings_of_a_url_have_one_text(void)
{
    static const struct {
        const char *url;
        const char *text;
        const char *authority;
    } rows[] = {
        {"http://h", "http://h", "h"},
        {"HTTP://H/", "http://h", "h"},
        {"http://h:80", "http://h", "h"},
        {"http://h:8080//", "http://h:8080", "h:8080"},
        {"https://h:443/p", "https://h/p", "h"},
        {"https://h:80", "https://h:80", "h:80"},
        {"http://h:443", "http://h:443", "h:443"},
        {"http://10.0.0.1:1", "http://10.0.0.1:1", "10.0.0.1:1"},
        {"http://[::1]:8000", "http://[::1]:8000", "[::1]:8000"},
        {"http://[FE80::1]/x", "http://[fe80::1]/x", "[fe80::1]"},
        {"http://h:1@0", "http://h:1@0", "h:1"},
        {"http://my_box:65535/p@12", "http://my_box:65535/p@12", "my_box:65535"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gv_uri uri;
        char text[GV_URI_BYTES_MAX];
        CU_ASSERT_EQUAL(gv_uri_parse(gv_slice_text(rows[i].url), &uri), GV_OK);
        CU_ASSERT_EQUAL(gv_uri_format(&uri, text), GV_OK);
        CU_ASSERT_STRING_EQUAL(text, rows[i].text);
        CU_ASSERT_STRING_EQUAL(uri.authority, rows[i].authority);
    }
}

static void what_is_no_url_of_a_worker_is_refused(void)
{
    static const struct {
        const char *url;
        enum gv_err err;
    } rows[] = {
        {"", GV_EINVAL},
        {"h:8000", GV_EINVAL},
        {"://h", GV_EINVAL},
        {"http:/h", GV_EINVAL},
        {"http://", GV_EINVAL},
        {"http:///x", GV_EINVAL},
        {"http://:80", GV_EINVAL},
        {"http://h:", GV_EINVAL},
        {"http://h:0", GV_EINVAL},
        {"http://h:65536", GV_EINVAL},
        {"http://h:8x", GV_EINVAL},
        {"http://user@h:80", GV_EINVAL},
        {"http://user:pw@h", GV_EINVAL},
        {"http://h@", GV_EINVAL},
        {"http://h@-1", GV_EINVAL},
        {"http://h@65536", GV_EINVAL},
        {"http://h/x?y", GV_EINVAL},
        {"http://h?y", GV_EINVAL},
        {"http://h/x#y", GV_EINVAL},
        {"http://h /x", GV_EINVAL},
        {"http://h/x y", GV_EINVAL},
        {"http://h/\xc3\xa4", GV_EINVAL},
        {"http://h\r\nX: y", GV_EINVAL},
        {"http://[::1", GV_EINVAL},
        {"http://[x]", GV_EINVAL},
        {"http://[::1]x", GV_EINVAL},
        {"http://a,b", GV_EINVAL},
        {"ftp://h", GV_EUNSUPPORTED},
        {"grpc://h:1", GV_EUNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gv_uri uri = {.port = 7};
        enum gv_err err = gv_uri_parse(gv_slice_text(rows[i].url), &uri);
        if (err != rows[i].err) {
            printf("%s: %s\n", gv_err_name(err), rows[i].url);
        }
        CU_ASSERT_EQUAL(err, rows[i].err);
        CU_ASSERT_EQUAL(uri.port, 7); /* untouched */
    }
}

/* "http://" and `host` times 'a', "/" and `prefix` times 'b'. */
static enum gv_err parse_long(size_t host, size_t prefix, struct gv_uri *uri)
{
    char text[2048] = "http://";
    memset(text + 7, 'a', host);
    text[7 + host] = '/';
    memset(text + 8 + host, 'b', prefix);
    return gv_uri_parse(gv_slice_of(text, 8 + host + prefix), uri);
}

static void lengths_have_limits(void)
{
    struct gv_uri uri;
    char text[GV_URI_BYTES_MAX];
    CU_ASSERT_EQUAL(parse_long(255, 198, &uri), GV_OK);
    CU_ASSERT_EQUAL(gv_uri_format(&uri, text), GV_OK);
    CU_ASSERT_EQUAL(parse_long(256, 1, &uri), GV_EINVAL);
    CU_ASSERT_EQUAL(parse_long(1, 199, &uri), GV_ETOOBIG);
    CU_ASSERT_EQUAL(parse_long(1, 600, &uri), GV_ETOOBIG);
}

GV_SUITE("http/uri", GV_CASE(a_url_is_read_into_its_parts),
         GV_CASE(two_spellings_of_a_url_have_one_text),
         GV_CASE(what_is_no_url_of_a_worker_is_refused), GV_CASE(lengths_have_limits))
