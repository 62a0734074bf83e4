/* test_rerank.c - a client's rerank answer, made of an engine's array. */
#include "../../../src/proxy/rerank.h"
#include "support/suite.h"

#define ITEMS                                                                                      \
    "[{\"score\":0.9,\"document\":\"b\",\"index\":1},{\"score\":0.5,\"document\":\"a\",\"index\":" \
    "0}]"

static void expect(const char *request, const char *answer, const char *wanted)
{
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_BUFFER, 1 << 20);
    enum gv_err err =
        gv_rerank_build(gv_slice_text(request), gv_slice_text(answer), "rr-1", 7, &out);
    CU_ASSERT_EQUAL(err, wanted == NULL ? GV_EINVAL : GV_OK);
    if (wanted != NULL) {
        CU_ASSERT_TRUE(gv_slice_is(gv_buf_slice(&out), wanted));
    }
    gv_buf_deinit(&out);
}

static void an_array_of_scores_becomes_an_answer(void)
{
    expect("{\"model\":\"m\",\"query\":\"q\",\"documents\":[\"a\",\"b\"]}", ITEMS,
           "{\"results\":" ITEMS ",\"model\":\"m\",\"usage\":null,\"object\":\"rerank\","
           "\"id\":\"rr-1\",\"created\":7}");
    expect("{}", "[]",
           "{\"results\":[],\"model\":\"unknown\",\"usage\":null,\"object\":\"rerank\","
           "\"id\":\"rr-1\",\"created\":7}");
}

static void top_k_and_return_documents_are_honoured(void)
{
    expect("{\"top_k\":1,\"return_documents\":false}", ITEMS,
           "{\"results\":[{\"document\":null,\"score\":0.9,\"index\":1}],\"model\":\"unknown\","
           "\"usage\":null,"
           "\"object\":\"rerank\",\"id\":\"rr-1\",\"created\":7}");
    expect("{\"top_k\":3,\"return_documents\":true}", ITEMS,
           "{\"results\":" ITEMS ",\"model\":\"unknown\",\"usage\":null,\"object\":\"rerank\","
           "\"id\":\"rr-1\",\"created\":7}");
}

static void an_object_passes_and_other_shapes_are_no_answer(void)
{
    expect("{}", "{\"results\":[ ]}", "{\"results\":[ ]}");
    expect("{}", "[1]", NULL);
    expect("{}", "7", NULL);
    expect("{}", "[{", NULL);
    expect("{}", "[{}", NULL);
    expect("{}", "[{}]]", NULL);
    expect("{}", "[{},]", NULL);
    expect("{}", "", NULL);
}

/* Header values may hold tabs and any byte above 0x7f; between quotes they would be no JSON. */
static void an_id_that_is_no_plain_text_is_left_out(void)
{
    static const char *const ids[] = {"a\tb", "a\"b", "a\\b", "a\xff", "a\x7f"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct gv_buf out;
        gv_buf_init(&out, GV_MEM_BUFFER, 1 << 20);
        CU_ASSERT_EQUAL(gv_rerank_build(gv_slice_text("{}"), gv_slice_text("[]"), ids[i], 7, &out),
                        GV_OK);
        CU_ASSERT_TRUE(gv_slice_is(gv_buf_slice(&out),
                                   "{\"results\":[],\"model\":\"unknown\",\"usage\":null,"
                                   "\"object\":\"rerank\",\"id\":\"\",\"created\":7}"));
        gv_buf_deinit(&out);
    }
}

GV_SUITE("proxy/rerank", GV_CASE(an_array_of_scores_becomes_an_answer),
         GV_CASE(top_k_and_return_documents_are_honoured),
         GV_CASE(an_object_passes_and_other_shapes_are_no_answer),
         GV_CASE(an_id_that_is_no_plain_text_is_left_out))
