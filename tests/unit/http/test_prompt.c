/*
 * test_prompt.c - what routing reads from a body, and what it refuses.
 */
#include "grapevine/http/prompt.h"
#include "support/suite.h"
#include <stdio.h>
#include <stdlib.h>

#define TEXT_BYTES_MAX ((size_t)64 << 20)

struct fixture {
    struct gv_prompt_reader *reader;
    struct gv_buf text;
    struct gv_prompt prompt;
    enum gv_problem problem;
    enum gv_err err;
};

static struct fixture fixture_new(size_t max_bytes)
{
    struct fixture f = {0};
    CU_ASSERT_EQUAL_FATAL(gv_prompt_reader_new(&f.reader), GV_OK);
    gv_buf_init(&f.text, GV_MEM_BUFFER, max_bytes);
    return f;
}

static void fixture_free(struct fixture *f)
{
    gv_prompt_reader_free(f->reader);
    gv_buf_deinit(&f->text);
}

/* A body with room behind it is read where it lies: to the same end. */
static void read_lent(struct fixture *f, enum gv_endpoint endpoint, struct gv_slice bytes)
{
    struct gv_buf body;
    struct gv_buf text;
    struct gv_prompt prompt;
    enum gv_problem problem = GV_PROBLEM_NONE;
    gv_buf_init(&body, GV_MEM_BUFFER, bytes.len + GV_PROMPT_SPARE_BYTES);
    gv_buf_init(&text, GV_MEM_BUFFER, f->text.max_bytes);
    CU_ASSERT_EQUAL(gv_buf_append(&body, bytes), GV_OK);
    gv_prompt_reader_lend(f->reader, &body);
    enum gv_err err =
        gv_prompt_read(f->reader, endpoint, gv_buf_slice(&body), &text, &prompt, &problem);
    CU_ASSERT_EQUAL(err, f->err);
    CU_ASSERT_EQUAL(problem, f->problem);
    if (err == GV_OK && f->err == GV_OK) {
        CU_ASSERT(gv_slice_equal(prompt.canonical, f->prompt.canonical));
        CU_ASSERT(gv_slice_equal(prompt.model, f->prompt.model));
    }
    CU_ASSERT(gv_slice_equal(gv_buf_slice(&body), bytes));
    gv_buf_deinit(&body);
    gv_buf_deinit(&text);
}

/* The body is copied to memory of its exact size, so that a read beyond it is seen by ASan. */
static void read_bytes(struct fixture *f, enum gv_endpoint endpoint, struct gv_slice body)
{
    char *exact = malloc(body.len + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(exact);
    char *trimmed = realloc(exact, body.len == 0 ? 1 : body.len);
    CU_ASSERT_PTR_NOT_NULL_FATAL(trimmed);
    memcpy(trimmed, body.data, body.len);
    f->problem = GV_PROBLEM_NONE;
    struct gv_slice copy = gv_slice_of(trimmed, body.len);
    f->err = gv_prompt_read(f->reader, endpoint, copy, &f->text, &f->prompt, &f->problem);
    if (f->err == GV_OK && f->prompt.model.data != NULL) {
        CU_ASSERT(f->prompt.model.data >= copy.data);
        CU_ASSERT(f->prompt.model.data + f->prompt.model.len <= copy.data + copy.len);
        size_t at = (size_t)(f->prompt.model.data - copy.data);
        f->prompt.model.data = body.data + at;
    }
    read_lent(f, endpoint, copy);
    free(trimmed);
}

static void read_text(struct fixture *f, enum gv_endpoint endpoint, const char *body)
{
    read_bytes(f, endpoint, gv_slice_text(body));
    if (f->err != GV_OK) {
        printf("refused (%s): %s\n", gv_problem_code(f->problem), body);
    }
    CU_ASSERT_EQUAL(f->err, GV_OK);
}

/* The canonical prompt with its marks as letters: A for 1, B for 2, ... */
static void expect(struct fixture *f, const char *canonical)
{
    char text[512];
    CU_ASSERT_FATAL(f->prompt.canonical.len < sizeof text);
    for (size_t i = 0; i < f->prompt.canonical.len; i++) {
        uint8_t c = f->prompt.canonical.data[i];
        text[i] = (char)(c < 0x20 ? '@' + c : c);
    }
    text[f->prompt.canonical.len] = 0;
    if (strcmp(text, canonical) != 0) {
        printf("read %s, wanted %s\n", text, canonical);
    }
    CU_ASSERT_STRING_EQUAL(text, canonical);
}

static void refuses(enum gv_endpoint endpoint, const char *body, enum gv_problem problem)
{
    struct fixture f = fixture_new(4096);
    read_bytes(&f, endpoint, gv_slice_text(body));
    if (f.err != GV_EINVAL || f.problem != problem) {
        printf("told %s (%s): %s\n", gv_problem_code(f.problem), gv_err_name(f.err), body);
    }
    CU_ASSERT_EQUAL(f.err, GV_EINVAL);
    CU_ASSERT_EQUAL(f.problem, problem);
    CU_ASSERT_EQUAL(f.text.len, 0);
    fixture_free(&f);
}

static void a_chat_reads_as_its_template_lays_it_out(void)
{
    struct fixture f = fixture_new(4096);
    read_text(&f, GV_ENDPOINT_CHAT,
              "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},"
              "{\"role\":\"user\",\"content\":\"hi\\n\\\"you\\\"\"}],\"stream\":true,"
              "\"max_tokens\":7}");
    expect(&f, "GsystemNbe briefGuserNhi\\n\\\"you\\\"");
    CU_ASSERT(gv_slice_is(f.prompt.model, "m"));
    CU_ASSERT(f.prompt.stream);
    CU_ASSERT(f.prompt.records);
    CU_ASSERT_FALSE(f.prompt.logprobs);
    CU_ASSERT_EQUAL(f.prompt.batch_size, 0);
    CU_ASSERT_EQUAL(f.prompt.max_tokens, 7);
    fixture_free(&f);
}

static void the_order_of_fields_does_not_matter(void)
{
    static const char canonical[] = "A/l"
                                    "Bs"
                                    "C[{\"t\": 1}]"
                                    "GuserNhi"
                                    "GassistantNyo"
                                    "Shm"
                                    "T[1]";
    struct fixture f = fixture_new(4096);
    read_text(&f, GV_ENDPOINT_CHAT,
              "{\"lora_path\":\"/l\",\"cache_salt\":\"s\",\"tools\":[{\"t\": 1}],\"messages\":["
              "{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":\"yo\","
              "\"reasoning_content\":\"hm\",\"tool_calls\":[1]}]}");
    expect(&f, canonical);
    read_text(
        &f, GV_ENDPOINT_CHAT,
        "{ \"messages\" : [ {\"content\": \"hi\" , \"role\": \"user\"}, {\"tool_calls\": [1] ,"
        "\"content\":\"yo\",\"reasoning_content\":\"hm\",\"role\":\"assistant\"} ] , "
        "\"tools\": [{\"t\": 1}] , \"cache_salt\":\"s\",\"lora_path\":\"/l\"}");
    expect(&f, canonical);
    fixture_free(&f);
}

static void content_parts_read_in_their_order(void)
{
    struct fixture f = fixture_new(4096);
    read_text(&f, GV_ENDPOINT_CHAT,
              "{\"messages\":[{\"role\":\"user\",\"content\":["
              "{\"type\":\"text\",\"text\":\"a\"},"
              "{\"type\":\"image_url\",\"image_url\":{\"detail\":\"low\",\"url\":\"http://i\"}},"
              "{\"image_url\":\"http://j\",\"type\":\"image_url\"},"
              "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"xy\"}},"
              "{\"type\":\"video_url\",\"video_url\":{\"url\":\"v\"}},\"b\"]}]}");
    expect(&f, "GuserNaOhttp://iOhttp://jP{\"data\":\"xy\"}Qvideo_urlR{\"url\":\"v\"}Nb");
    fixture_free(&f);
}

static void a_message_without_content_still_counts(void)
{
    struct fixture f = fixture_new(4096);
    read_text(&f, GV_ENDPOINT_CHAT,
              "{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{}]},"
              "{\"role\":\"tool\",\"tool_call_id\":\"c\",\"name\":\"n\",\"content\":\"42\"},{}]}");
    expect(&f, "GassistantT[{}]GtoolN42UcVnG");
    fixture_free(&f);
}

static void different_requests_never_read_alike(void)
{
    static const char *const bodies[] = {
        "{\"messages\":[{\"role\":\"user\",\"content\":\"ab\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":[\"a\",\"b\"]}]}",
        "{\"messages\":[{\"role\":\"usera\",\"content\":\"b\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"b\"}]}",
        "{\"messages\":[{\"role\":\"user\"},{\"role\":\"ab\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"name\":\"ab\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"image_url\":\"ab\"}]}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"ab\"}],\"cache_salt\":\"x\"}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"ab\"}],\"lora_path\":\"x\"}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"ab\"}],\"tools\":\"x\"}",
    };
    enum {
        COUNT = sizeof bodies / sizeof bodies[0]
    };
    static char seen[COUNT][256];
    struct fixture f = fixture_new(4096);
    for (size_t i = 0; i < COUNT; i++) {
        read_text(&f, GV_ENDPOINT_CHAT, bodies[i]);
        CU_ASSERT_FATAL(f.prompt.canonical.len < sizeof seen[i]);
        memcpy(seen[i], f.prompt.canonical.data, f.prompt.canonical.len);
        for (size_t k = 0; k < i; k++) {
            CU_ASSERT_STRING_NOT_EQUAL(seen[i], seen[k]);
        }
    }
    fixture_free(&f);
}

static void a_longer_conversation_begins_with_the_shorter(void)
{
    struct fixture f = fixture_new(4096);
    char first[256];
    read_text(&f, GV_ENDPOINT_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}");
    size_t len = f.prompt.canonical.len;
    memcpy(first, f.prompt.canonical.data, len);
    read_text(&f, GV_ENDPOINT_CHAT,
              "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
              "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"}]}");
    CU_ASSERT_FATAL(f.prompt.canonical.len > len);
    CU_ASSERT_EQUAL(memcmp(first, f.prompt.canonical.data, len), 0);
    fixture_free(&f);
}

static void a_plain_prompt_is_text_or_tokens(void)
{
    struct fixture f = fixture_new(4096);
    read_text(&f, GV_ENDPOINT_COMPLETIONS, "{\"prompt\":\"once\",\"logprobs\":5}");
    expect(&f, "Eonce");
    CU_ASSERT(f.prompt.records);
    CU_ASSERT(f.prompt.logprobs);
    CU_ASSERT_EQUAL(f.prompt.batch_size, 0);
    read_text(&f, GV_ENDPOINT_COMPLETIONS, "{\"prompt\":[1, 2,3] ,\"n\":1}");
    expect(&f, "F[1, 2,3]");
    CU_ASSERT_EQUAL(f.prompt.batch_size, 0);
    read_text(&f, GV_ENDPOINT_GENERATE,
              "{\"text\":\"once\",\"sampling_params\":{\"max_new_tokens\":9},"
              "\"return_logprob\":true,\"input_ids\":null}");
    expect(&f, "Eonce");
    CU_ASSERT_EQUAL(f.prompt.max_tokens, 9);
    CU_ASSERT(f.prompt.logprobs);
    read_text(&f, GV_ENDPOINT_GENERATE, "{\"text\":null,\"input_ids\":[7],\"image_data\":\"i\"}");
    expect(&f, "DiF[7]");
    fixture_free(&f);
}

static void a_batch_routes_by_its_longest_prompt(void)
{
    struct fixture f = fixture_new(4096);
    read_text(&f, GV_ENDPOINT_COMPLETIONS, "{\"prompt\":[\"a\",\"ccc\",\"bb\"]}");
    expect(&f, "Eccc");
    CU_ASSERT_EQUAL(f.prompt.batch_size, 3);
    read_text(&f, GV_ENDPOINT_COMPLETIONS, "{\"prompt\":[\"a\"],\"n\":4}");
    expect(&f, "Ea");
    CU_ASSERT_EQUAL(f.prompt.batch_size, 1);
    read_text(&f, GV_ENDPOINT_GENERATE, "{\"input_ids\":[[1],[2,3]]}");
    expect(&f, "F[2,3]");
    CU_ASSERT_EQUAL(f.prompt.batch_size, 2);
    read_text(&f, GV_ENDPOINT_CHAT, "{\"messages\":[],\"n\":2}");
    CU_ASSERT_EQUAL(f.prompt.batch_size, 2);
    read_text(&f, GV_ENDPOINT_CHAT, "{\"messages\":[],\"n\":1}");
    CU_ASSERT_EQUAL(f.prompt.batch_size, 0);
    read_text(&f, GV_ENDPOINT_COMPLETIONS, "{\"prompt\":[]}");
    expect(&f, "");
    CU_ASSERT_EQUAL(f.prompt.batch_size, 0);
    fixture_free(&f);
}

static void what_keeps_no_cache_is_not_recorded(void)
{
    struct fixture f = fixture_new(4096);
    read_text(&f, GV_ENDPOINT_EMBEDDINGS, "{\"input\":[\"a\",\"bc\"],\"model\":\"e\"}");
    expect(&f, "Ebc");
    CU_ASSERT_FALSE(f.prompt.records);
    read_text(&f, GV_ENDPOINT_RERANK, "{\"query\":\"q\",\"documents\":[\"d\"]}");
    expect(&f, "Eq");
    CU_ASSERT_FALSE(f.prompt.records);
    read_text(&f, GV_ENDPOINT_CLASSIFY, "{\"input\":\"c\"}");
    expect(&f, "Ec");
    CU_ASSERT_FALSE(f.prompt.records);
    fixture_free(&f);
}

/* Each item of a batch is a prompt, whatever it is made of; a text to go on from is no object. */
static void embeddings_may_be_of_objects_and_classes_of_token_numbers(void)
{
    struct fixture f = fixture_new(4096);
    read_text(&f, GV_ENDPOINT_EMBEDDINGS,
              "{\"input\":[{\"text\":\"a\"},{\"text\":\"bc\",\"image\":\"i\"}]}");
    CU_ASSERT_EQUAL(f.prompt.batch_size, 2);
    read_text(&f, GV_ENDPOINT_CLASSIFY, "{\"input_ids\":[[1,2],[3]]}");
    CU_ASSERT_EQUAL(f.prompt.batch_size, 2);
    struct gv_prompt prompt;
    enum gv_problem problem = GV_PROBLEM_NONE;
    CU_ASSERT_EQUAL(gv_prompt_read(f.reader, GV_ENDPOINT_COMPLETIONS,
                                   gv_slice_text("{\"prompt\":[{\"text\":\"a\"}]}"), &f.text,
                                   &prompt, &problem),
                    GV_EINVAL);
    CU_ASSERT_EQUAL(problem, GV_PROBLEM_BAD_FIELD);
    fixture_free(&f);
}

static void of_a_key_that_occurs_twice_the_last_one_counts(void)
{
    struct fixture f = fixture_new(4096);
    read_text(&f, GV_ENDPOINT_CHAT,
              "{\"model\":\"a\",\"stream\":true,\"messages\":[{\"role\":\"x\"}],\"model\":\"b\","
              "\"stream\":false,\"messages\":[{\"role\":\"y\"}]}");
    CU_ASSERT(gv_slice_is(f.prompt.model, "b"));
    CU_ASSERT_FALSE(f.prompt.stream);
    expect(&f, "Gy");
    read_text(&f, GV_ENDPOINT_CHAT, "{\"messages\":[],\"model\":\"a\",\"mod\\u0065l\":\"c\"}");
    CU_ASSERT(gv_slice_is(f.prompt.model, "c"));
    read_text(&f, GV_ENDPOINT_COMPLETIONS, "{\"prompt\":[\"a\",\"b\"],\"prompt\":\"c\"}");
    expect(&f, "Ec");
    CU_ASSERT_EQUAL(f.prompt.batch_size, 0);
    fixture_free(&f);
}

static void a_missing_model_is_an_empty_slice(void)
{
    struct fixture f = fixture_new(4096);
    read_text(&f, GV_ENDPOINT_CHAT, "{\"messages\":[]}");
    CU_ASSERT_EQUAL(f.prompt.model.len, 0);
    read_text(&f, GV_ENDPOINT_CHAT, "{\"model\":null,\"messages\":[],\"stream\":null}");
    CU_ASSERT_EQUAL(f.prompt.model.len, 0);
    CU_ASSERT_FALSE(f.prompt.stream);
    read_text(&f, GV_ENDPOINT_CHAT, "{}");
    CU_ASSERT_EQUAL(f.prompt.canonical.len, 0);
    fixture_free(&f);
}

static void what_is_no_json_is_refused(void)
{
    static const char *const bodies[] = {
        "",
        " ",
        "x",
        "{",
        "}",
        "{\"model\"",
        "{\"model\":",
        "{\"model\":}",
        "{\"model\":\"a",
        "{\"model\":\"a\"",
        "{\"model\":\"a\",}",
        "{\"model\" \"a\"}",
        "{model:\"a\"}",
        "{\"model\":\"a\"} x",
        "{\"model\":\"a\"}{}",
        "{\"a\":1 \"model\":\"a\"}",
        "\xef\xbb\xbf{}",
        "{\"model\":\"\xff\"}",
        "{\"model\":\"\xc0\xaf\"}",
        "{\"messages\":[{\"role\":\"user\"]}",
        "{\"messages\":[{]}}",
        "{\"stream\":tru}",
        "{\"model\":\"\x01\"}",
        "{\"messages\":[}",
        "{\"model\":\"a\"]",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        refuses(GV_ENDPOINT_CHAT, bodies[i], GV_PROBLEM_BAD_JSON);
    }
}

static void a_field_of_the_wrong_type_is_refused(void)
{
    static const char *const bodies[] = {
        "[]",
        "\"x\"",
        "5",
        "null",
        "{\"stream\":\"true\"}",
        "{\"stream\":1}",
        "{\"model\":5}",
        "{\"model\":[]}",
        "{\"messages\":\"x\"}",
        "{\"messages\":{}}",
        "{\"messages\":null}",
        "{\"messages\":[5]}",
        "{\"messages\":[\"x\"]}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        refuses(GV_ENDPOINT_CHAT, bodies[i], GV_PROBLEM_BAD_FIELD);
    }
    refuses(GV_ENDPOINT_COMPLETIONS, "{\"prompt\":5}", GV_PROBLEM_BAD_FIELD);
    refuses(GV_ENDPOINT_COMPLETIONS, "{\"prompt\":{}}", GV_PROBLEM_BAD_FIELD);
    refuses(GV_ENDPOINT_COMPLETIONS, "{\"prompt\":[{}]}", GV_PROBLEM_BAD_FIELD);
    refuses(GV_ENDPOINT_COMPLETIONS, "{\"prompt\":[\"a\",1]}", GV_PROBLEM_BAD_FIELD);
}

static void odd_values_elsewhere_are_left_to_the_engine(void)
{
    struct fixture f = fixture_new(4096);
    read_text(&f, GV_ENDPOINT_CHAT,
              "{\"temperature\":1e999999,\"messages\":[{\"role\":\"user\",\"content\":"
              "\"\\ud800 \\u0000\"}],\"n\":-1,\"max_tokens\":99999999999,\"x\":\"\\q\"}");
    expect(&f, "GuserN\\ud800 \\u0000");
    CU_ASSERT_EQUAL(f.prompt.batch_size, 0);
    CU_ASSERT_EQUAL(f.prompt.max_tokens, UINT32_MAX);
    fixture_free(&f);
}

/* `depth` times `open`, then `middle`, then `depth` times `close`, inside `before` and `after`. */
static char *nested(size_t depth, const char *before, const char *open, const char *close)
{
    char *text = malloc(depth * (strlen(open) + strlen(close)) + strlen(before) + 8);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    char *at = stpcpy(text, before);
    for (size_t i = 0; i < depth; i++) {
        at = stpcpy(at, open);
    }
    at = stpcpy(at, "1");
    for (size_t i = 0; i < depth; i++) {
        at = stpcpy(at, close);
    }
    (void)stpcpy(at, "}");
    return text;
}

static void a_hundred_thousand_nested_brackets_do_no_harm(void)
{
    static const char *const befores[] = {
        "{\"x\":", "{\"messages\":", "{\"tools\":", "{\"messages\":[{\"content\":"};
    struct fixture f = fixture_new(4096);
    for (size_t i = 0; i < sizeof befores / sizeof befores[0]; i++) {
        char *text = nested(100000, befores[i], "[", "]");
        read_bytes(&f, GV_ENDPOINT_CHAT, gv_slice_text(text));
        CU_ASSERT(f.err == GV_OK || f.err == GV_EINVAL);
        free(text);
        text = nested(100000, befores[i], "{\"a\":", "}");
        read_bytes(&f, GV_ENDPOINT_CHAT, gv_slice_text(text));
        CU_ASSERT(f.err == GV_OK || f.err == GV_EINVAL);
        free(text);
    }
    fixture_free(&f);
}

static void a_prompt_longer_than_the_text_may_be_is_cut(void)
{
    struct fixture f = fixture_new(8);
    read_text(&f, GV_ENDPOINT_COMPLETIONS, "{\"prompt\":\"1234567\"}");
    expect(&f, "E1234567");
    read_text(&f, GV_ENDPOINT_COMPLETIONS, "{\"prompt\":\"12345678\"}");
    expect(&f, "E1234567");
    read_text(&f, GV_ENDPOINT_COMPLETIONS, "{\"prompt\":\"12345678\",\"cache_salt\":\"ab\"}");
    expect(&f, "BabE1234");
    read_text(&f, GV_ENDPOINT_COMPLETIONS, "{\"prompt\":\"1\",\"cache_salt\":\"abcdefghij\"}");
    expect(&f, "Babcdefg");
    fixture_free(&f);
}

static void a_body_of_many_megabytes_is_read_whole(void)
{
    size_t bytes = (size_t)20 << 20;
    char *text = malloc(bytes + 64);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    char *at = stpcpy(text, "{\"prompt\":\"");
    memset(at, 'a', bytes);
    (void)stpcpy(at + bytes, "\",\"model\":\"m\"}");
    struct fixture f = fixture_new(TEXT_BYTES_MAX);
    read_bytes(&f, GV_ENDPOINT_COMPLETIONS, gv_slice_text(text));
    CU_ASSERT_EQUAL(f.err, GV_OK);
    CU_ASSERT_EQUAL(f.prompt.canonical.len, bytes + 1);
    CU_ASSERT(gv_slice_is(f.prompt.model, "m"));
    read_text(&f, GV_ENDPOINT_COMPLETIONS, "{\"prompt\":\"small again\"}");
    expect(&f, "Esmall again");
    free(text);
    fixture_free(&f);
}

static void when_memory_runs_out_nothing_is_left_half_made(void)
{
    static const char body[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    int refused = 0;
    for (uint64_t n = 1; n < 20; n++) {
        struct gv_prompt_reader *reader = NULL;
        struct gv_buf text;
        struct gv_prompt prompt;
        enum gv_problem problem;
        gv_buf_init(&text, GV_MEM_BUFFER, 4096);
        gv_mem_fail_nth(n);
        enum gv_err err = gv_prompt_reader_new(&reader);
        if (err == GV_OK) {
            err = gv_prompt_read(reader, GV_ENDPOINT_CHAT, gv_slice_text(body), &text, &prompt,
                                 &problem);
        }
        gv_mem_fail_nth(0);
        CU_ASSERT(err == GV_OK || err == GV_ENOMEM);
        refused += err == GV_ENOMEM ? 1 : 0;
        gv_prompt_reader_free(reader);
        gv_buf_deinit(&text);
    }
    CU_ASSERT(refused >= 3);
    CU_ASSERT(refused < 19);
}

static void every_path_to_an_engine_has_its_endpoint(void)
{
    static const struct {
        const char *path;
        enum gv_endpoint endpoint;
        const char *name;
    } rows[] = {
        {"/v1/chat/completions", GV_ENDPOINT_CHAT, "chat"},
        {"/v1/completions", GV_ENDPOINT_COMPLETIONS, "completions"},
        {"/generate", GV_ENDPOINT_GENERATE, "generate"},
        {"/v1/embeddings", GV_ENDPOINT_EMBEDDINGS, "embeddings"},
        {"/rerank", GV_ENDPOINT_RERANK, "rerank"},
        {"/v1/rerank", GV_ENDPOINT_RERANK, "rerank"},
        {"/v1/classify", GV_ENDPOINT_CLASSIFY, "classify"},
    };
    enum gv_endpoint endpoint;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CU_ASSERT(gv_endpoint_find(gv_slice_text(rows[i].path), &endpoint));
        CU_ASSERT_EQUAL(endpoint, rows[i].endpoint);
        CU_ASSERT_STRING_EQUAL(gv_endpoint_name(endpoint), rows[i].name);
    }
    CU_ASSERT_FALSE(gv_endpoint_find(gv_slice_text("/v1/models"), &endpoint));
    CU_ASSERT_FALSE(gv_endpoint_find(gv_slice_text("/generate/"), &endpoint));
    CU_ASSERT_FALSE(gv_endpoint_find(gv_slice_text(""), &endpoint));
}

GV_SUITE("http/prompt", GV_CASE(a_chat_reads_as_its_template_lays_it_out),
         GV_CASE(the_order_of_fields_does_not_matter), GV_CASE(content_parts_read_in_their_order),
         GV_CASE(a_message_without_content_still_counts),
         GV_CASE(different_requests_never_read_alike),
         GV_CASE(a_longer_conversation_begins_with_the_shorter),
         GV_CASE(a_plain_prompt_is_text_or_tokens), GV_CASE(a_batch_routes_by_its_longest_prompt),
         GV_CASE(what_keeps_no_cache_is_not_recorded),
         GV_CASE(embeddings_may_be_of_objects_and_classes_of_token_numbers),
         GV_CASE(of_a_key_that_occurs_twice_the_last_one_counts),
         GV_CASE(a_missing_model_is_an_empty_slice), GV_CASE(what_is_no_json_is_refused),
         GV_CASE(a_field_of_the_wrong_type_is_refused),
         GV_CASE(odd_values_elsewhere_are_left_to_the_engine),
         GV_CASE(a_hundred_thousand_nested_brackets_do_no_harm),
         GV_CASE(a_prompt_longer_than_the_text_may_be_is_cut),
         GV_CASE(a_body_of_many_megabytes_is_read_whole),
         GV_CASE(when_memory_runs_out_nothing_is_left_half_made),
         GV_CASE(every_path_to_an_engine_has_its_endpoint))
