/*
 * test_splice.c - fields set in a body, the rest left alone.
 */
#include "grapevine/http/splice.h"
#include "support/suite.h"
#include <stdio.h>
#include <stdlib.h>

#define TWO                                                                                        \
    (const struct gv_splice_field[])                                                               \
    {                                                                                              \
        {"room", {(const uint8_t *)"7", 1}},                                                       \
        {                                                                                          \
            "host",                                                                                \
            {                                                                                      \
                (const uint8_t *)"\"h\"", 3                                                        \
            }                                                                                      \
        }                                                                                          \
    }

static void becomes(const char *body, const char *wanted)
{
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_BUFFER, 4096);
    CU_ASSERT_EQUAL(gv_buf_append_text(&out, ">"), GV_OK);
    enum gv_err err = gv_splice(gv_slice_text(body), TWO, 2, &out);
    if (err != GV_OK || !gv_slice_is(gv_buf_slice(&out), wanted)) {
        printf("%s: %s became %.*s\n", gv_err_name(err), body, (int)out.len, (char *)out.data);
    }
    CU_ASSERT_EQUAL(err, GV_OK);
    CU_ASSERT(gv_slice_is(gv_buf_slice(&out), wanted));
    gv_buf_deinit(&out);
}

static void refuses(const char *body)
{
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_BUFFER, 4096);
    CU_ASSERT_EQUAL(gv_buf_append_text(&out, ">"), GV_OK);
    enum gv_err err = gv_splice(gv_slice_text(body), TWO, 2, &out);
    if (err != GV_EINVAL) {
        printf("%s: %s\n", gv_err_name(err), body);
    }
    CU_ASSERT_EQUAL(err, GV_EINVAL);
    CU_ASSERT(gv_slice_is(gv_buf_slice(&out), ">")); /* nothing of it stays */
    gv_buf_deinit(&out);
}

static void new_fields_stand_first(void)
{
    becomes("{\"a\":1}", ">{\"room\":7,\"host\":\"h\",\"a\":1}");
    becomes("{}", ">{\"room\":7,\"host\":\"h\"}");
    becomes(" { } ", ">{\"room\":7,\"host\":\"h\"}");
    becomes("{\"a\": {\"room\" : 5, \"b\":[1 , {}]} , \"c\" :null}",
            ">{\"room\":7,\"host\":\"h\",\"a\": {\"room\" : 5, \"b\":[1 , {}]} , \"c\" :null}");
}

static void old_fields_of_these_names_are_dropped_wherever_they_stand(void)
{
    becomes("{\"room\":1}", ">{\"room\":7,\"host\":\"h\"}");
    becomes("{\"room\":1,\"a\":2}", ">{\"room\":7,\"host\":\"h\",\"a\":2}");
    becomes("{\"a\":2,\"room\":[1,{\"x\":\"}\"}]}", ">{\"room\":7,\"host\":\"h\",\"a\":2}");
    becomes("{\"a\":2,\"room\":1,\"b\":3,\"host\":\"e\",\"room\":4,\"c\":5}",
            ">{\"room\":7,\"host\":\"h\",\"a\":2,\"b\":3,\"c\":5}");
    becomes("{\"Room\":1,\"roo\":2,\"rooms\":3}",
            ">{\"room\":7,\"host\":\"h\",\"Room\":1,\"roo\":2,\"rooms\":3}");
}

static void escaped_spellings_of_a_name_are_the_same_name(void)
{
    becomes("{\"ro\\u006fm\":1}", ">{\"room\":7,\"host\":\"h\"}");
    becomes("{\"\\u0072\\u006F\\u006f\\u006d\":1,\"a\":2}", ">{\"room\":7,\"host\":\"h\",\"a\":2}");
    becomes("{\"ro\\u016fm\":1}", ">{\"room\":7,\"host\":\"h\",\"ro\\u016fm\":1}");
    becomes("{\"room\\n\":1}", ">{\"room\":7,\"host\":\"h\",\"room\\n\":1}");
    becomes("{\"room\\u0000\":1}", ">{\"room\":7,\"host\":\"h\",\"room\\u0000\":1}");
}

static void what_is_no_whole_json_object_is_refused(void)
{
    static const char *const bodies[] = {
        "",
        " ",
        "[]",
        "5",
        "\"x\"",
        "null",
        "{",
        "}",
        "{]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1}x",
        "{\"a\":1}{}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":tru}",
        "{\"a\":nul}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":-}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":1e}",
        "{\"a\":NaN}",
        "{\"a\":\"x}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\",
        "{\"a\":\"\\u",
        "{\"a\":\"\x01\"}",
        "{\"a\":\"12345678\n12345678\"}",
        "{\"a\":[}]}",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
        "{\"a\":[1}}",
        "{\"a\":{\"b\"}}",
        "{\"a\":{\"b\":1]}",
        "{\"a\":{1:1}}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        refuses(bodies[i]);
    }
}

static void values_of_every_kind_are_copied_as_they_stand(void)
{
    becomes("{\"a\":[true,false,null,-0.5e+10,0,12,\"\\u00e4\\n\\\\\",{\"b\":[[],{}]},\"\"]}",
            ">{\"room\":7,\"host\":\"h\",\"a\":[true,false,null,-0.5e+10,0,12,"
            "\"\\u00e4\\n\\\\\",{\"b\":[[],{}]},\"\"]}");
    becomes("{\"a\":\"a long text, longer than eight bytes, with \xc3\xa4 and \\\" in it\"}",
            ">{\"room\":7,\"host\":\"h\",\"a\":\"a long text, longer than eight bytes, with "
            "\xc3\xa4 and \\\" in it\"}");
}

static void nesting_has_a_limit_and_one_more_is_refused(void)
{
    for (size_t depth = 1023; depth <= 1025; depth++) {
        char text[2200] = "{\"a\":";
        memset(text + 5, '[', depth);
        memset(text + 5 + depth, ']', depth);
        text[5 + 2 * depth] = '}';
        struct gv_buf out;
        gv_buf_init(&out, GV_MEM_BUFFER, 8192);
        enum gv_err err = gv_splice(gv_slice_text(text), TWO, 2, &out);
        CU_ASSERT_EQUAL(err, depth <= 1024 ? GV_OK : GV_EINVAL);
        gv_buf_deinit(&out);
    }
}

static void an_output_that_does_not_fit_is_not_begun(void)
{
    static const char body[] = "{\"a\":1,\"room\":2,\"b\":3}";
    static const char wanted[] = "{\"room\":7,\"host\":\"h\",\"a\":1,\"b\":3}";
    for (size_t max = 0; max <= sizeof wanted; max++) {
        struct gv_buf out;
        gv_buf_init(&out, GV_MEM_BUFFER, max);
        enum gv_err err = gv_splice(gv_slice_text(body), TWO, 2, &out);
        bool fits = max >= sizeof wanted - 1;
        CU_ASSERT_EQUAL(err, fits ? GV_OK : GV_ETOOBIG);
        CU_ASSERT_EQUAL(out.len, fits ? sizeof wanted - 1 : 0);
        gv_buf_deinit(&out);
    }
}

static void a_member_is_found_raw_and_of_two_the_last(void)
{
    static const char *const cases[][2] = {
        {"{\"a\":1,\"x\": [1, {\"x\":2}] ,\"b\":2}", "[1, {\"x\":2}]"},
        {" { \"x\" : \"a\\\"}\" } ", "\"a\\\"}\""},
        {"{\"x\":1,\"\\u0078\":2}", "2"},
        {"{\"a\":{\"x\":1}}", NULL},
        {"{}", NULL},
        {"", NULL},
        {"[1]", NULL},
        {"{\"x\":1", NULL},
        {"{\"x\":}", NULL},
        {"{\"x\":1,}", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gv_slice value = gv_slice_text("untouched");
        bool found = gv_splice_find(gv_slice_text(cases[i][0]), "x", &value);
        CU_ASSERT_EQUAL(found, cases[i][1] != NULL);
        CU_ASSERT_TRUE(!found || gv_slice_is(value, cases[i][1]));
    }
}

static void elements_come_one_by_one_until_something_is_wrong(void)
{
    static const struct {
        const char *array;
        int count;
    } cases[] = {{"[1, \"a]\" ,{\"b\":[2]}]", 3},
                 {"[]", 0},
                 {" [ ] ", 0},
                 {"", 0},
                 {"{\"a\":1}", 0},
                 {"[1,", 1},
                 {"[1 2]", 1},
                 {"[tru]", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gv_slice rest = gv_slice_text(cases[i].array);
        struct gv_slice element;
        int count = 0;
        while (gv_splice_next(&rest, &element)) {
            count += 1;
        }
        CU_ASSERT_EQUAL(count, cases[i].count);
    }
}

GV_SUITE("http/splice", GV_CASE(a_member_is_found_raw_and_of_two_the_last),
         GV_CASE(elements_come_one_by_one_until_something_is_wrong),
         GV_CASE(new_fields_stand_first),
         GV_CASE(old_fields_of_these_names_are_dropped_wherever_they_stand),
         GV_CASE(escaped_spellings_of_a_name_are_the_same_name),
         GV_CASE(what_is_no_whole_json_object_is_refused),
         GV_CASE(values_of_every_kind_are_copied_as_they_stand),
         GV_CASE(nesting_has_a_limit_and_one_more_is_refused),
         GV_CASE(an_output_that_does_not_fit_is_not_begun))
