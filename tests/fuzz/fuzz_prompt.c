/*
 * fuzz_prompt.c - bodies of requests. The first byte chooses the endpoint.
 *
 * Held: reading twice gives the same; a smaller text holds the beginning of the larger; nothing
 * points outside; and what jansson takes for an object, we do not call broken JSON.
 */
#include "grapevine/base/assert.h"
#include "grapevine/http/prompt.h"
#include <jansson.h>

#define TEXT_BYTES_MAX ((size_t)4 << 20)
#define SMALL_BYTES    64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_prompt(const struct gv_prompt *prompt, struct gv_slice body)
{
    if (prompt->model.len > 0) {
        GV_ASSERT(prompt->model.data >= body.data);
        GV_ASSERT(prompt->model.data + prompt->model.len <= body.data + body.len);
    }
    /* a piece is a mark and bytes of the body; keys are written unescaped, never longer */
    GV_ASSERT(prompt->canonical.len <= 2 * body.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    enum gv_endpoint endpoint = (enum gv_endpoint)(data[0] % GV_ENDPOINT_COUNT);
    struct gv_slice body = gv_slice_of(data + 1, size - 1);
    struct gv_prompt_reader *reader = NULL;
    GV_ASSERT(gv_prompt_reader_new(&reader) == GV_OK);
    struct gv_buf text;
    struct gv_buf small;
    gv_buf_init(&text, GV_MEM_GENERAL, TEXT_BYTES_MAX);
    gv_buf_init(&small, GV_MEM_GENERAL, SMALL_BYTES);
    struct gv_prompt prompt;
    struct gv_prompt again;
    enum gv_problem problem = GV_PROBLEM_NONE;
    enum gv_problem problem_again = GV_PROBLEM_NONE;
    enum gv_err err = gv_prompt_read(reader, endpoint, body, &text, &prompt, &problem);
    struct gv_buf lent; /* the second time where it lies */
    gv_buf_init(&lent, GV_MEM_GENERAL, size + GV_PROMPT_SPARE_BYTES);
    GV_ASSERT(gv_buf_append(&lent, body) == GV_OK);
    gv_prompt_reader_lend(reader, &lent);
    enum gv_err err_again =
        gv_prompt_read(reader, endpoint, gv_buf_slice(&lent), &small, &again, &problem_again);
    GV_ASSERT(err == err_again && problem == problem_again);
    GV_ASSERT(err == GV_OK || err == GV_EINVAL);
    if (err == GV_OK) {
        check_prompt(&prompt, body);
        size_t len = prompt.canonical.len < SMALL_BYTES ? prompt.canonical.len : SMALL_BYTES;
        GV_ASSERT(gv_slice_equal(again.canonical, gv_slice_of(prompt.canonical.data, len)));
        GV_ASSERT(gv_slice_equal(prompt.model, again.model));
    } else {
        GV_ASSERT(problem == GV_PROBLEM_BAD_JSON || problem == GV_PROBLEM_BAD_FIELD);
    }
    bool has_nul = body.len > 0 && memchr(body.data, 0, body.len) != NULL;
    if (problem == GV_PROBLEM_BAD_JSON && !has_nul) { /* jansson swallows one behind a number */
        json_t *tree = json_loadb((const char *)body.data, body.len, JSON_ALLOW_NUL, NULL);
        GV_ASSERT(tree == NULL);
    }
    gv_buf_deinit(&text);
    gv_buf_deinit(&small);
    gv_buf_deinit(&lent);
    gv_prompt_reader_free(reader);
    return 0;
}
