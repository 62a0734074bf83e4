/* test_cors.c - which pages of browsers may ask, and how they are told. */
#include "grapevine/base/mem.h"
#include "grapevine/http/cors.h"
#include "support/suite.h"

static char first_origin[] = "https://chat.example";
static char second_origin[] = "https://b.example:8443";
static char *const origins[] = {first_origin, second_origin};
static const struct gv_cors any = {NULL, 0};
static const struct gv_cors listed = {origins, 2};

static struct gv_header headers[4];

static struct gv_head page(const char *origin)
{
    headers[0] = (struct gv_header){gv_slice_text("Origin"), gv_slice_text(origin)};
    headers[1] =
        (struct gv_header){gv_slice_text("Access-Control-Request-Method"), gv_slice_text("POST")};
    headers[2] = (struct gv_header){gv_slice_text("Access-Control-Request-Headers"),
                                    gv_slice_text("authorization,x-own")};
    return (struct gv_head){.headers = headers, .header_count = 3};
}

typedef enum gv_err (*lines_fn)(const struct gv_cors *, const struct gv_head *, struct gv_buf *);

static void says(lines_fn lines, const struct gv_cors *cors, const struct gv_head *head,
                 const char *wanted)
{
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_BUFFER, 4096);
    CU_ASSERT_EQUAL(lines(cors, head, &out), GV_OK);
    CU_ASSERT(gv_slice_is(gv_buf_slice(&out), wanted));
    gv_buf_deinit(&out);
}

static void without_configured_origins_any_page_may_ask(void)
{
    struct gv_head head = page("https://anyone.example");
    says(gv_cors_answer, &any, &head,
         "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: *\r\n");
    says(gv_cors_preflight, &any, &head,
         "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: *\r\n"
         "Access-Control-Allow-Methods: POST\r\n"
         "Access-Control-Allow-Headers: authorization,x-own\r\nAccess-Control-Max-Age: 3600\r\n");
}

static void with_origins_only_their_pages_may(void)
{
    struct gv_head head = page("https://b.example:8443");
    says(gv_cors_answer, &listed, &head,
         "Vary: Origin\r\nAccess-Control-Allow-Origin: https://b.example:8443\r\n"
         "Access-Control-Expose-Headers: x-request-id\r\n");
    says(gv_cors_preflight, &listed, &head,
         "Vary: Origin\r\nAccess-Control-Allow-Origin: https://b.example:8443\r\n"
         "Access-Control-Expose-Headers: x-request-id\r\n"
         "Access-Control-Allow-Methods: GET, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
         "Access-Control-Allow-Headers: authorization, content-type\r\n"
         "Access-Control-Max-Age: 3600\r\n");
    static const char *const strangers[] = {"https://chat.example.evil", "http://chat.example",
                                            "https://chat.exampl", "null", "*"};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        head = page(strangers[i]);
        says(gv_cors_answer, &listed, &head, "Vary: Origin\r\n");
        says(gv_cors_preflight, &listed, &head, "Vary: Origin\r\n");
    }
}

static void what_is_no_page_hears_nothing_of_it(void)
{
    struct gv_head head = {.header_count = 0};
    says(gv_cors_answer, &any, &head, "");
    says(gv_cors_preflight, &any, &head, "");
    CU_ASSERT_FALSE(gv_cors_is_ours(&head, gv_slice_text("Access-Control-Allow-Origin")));
}

static void a_workers_own_words_are_dropped_only_for_a_page(void)
{
    struct gv_head head = page("https://a");
    CU_ASSERT_TRUE(gv_cors_is_ours(&head, gv_slice_text("access-control-allow-Origin")));
    CU_ASSERT_FALSE(gv_cors_is_ours(&head, gv_slice_text("access-control")));
    CU_ASSERT_FALSE(gv_cors_is_ours(&head, gv_slice_text("content-type")));
}

static void a_full_buffer_is_said(void)
{
    struct gv_head head = page("https://a");
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_BUFFER, 8);
    CU_ASSERT_EQUAL(gv_cors_preflight(&any, &head, &out), GV_ETOOBIG);
    CU_ASSERT_EQUAL(gv_cors_answer(&listed, &head, &out), GV_ETOOBIG);
    gv_buf_deinit(&out);
}

GV_SUITE("http/cors", GV_CASE(without_configured_origins_any_page_may_ask),
         GV_CASE(with_origins_only_their_pages_may), GV_CASE(what_is_no_page_hears_nothing_of_it),
         GV_CASE(a_workers_own_words_are_dropped_only_for_a_page), GV_CASE(a_full_buffer_is_said))
