#include "../../../src/proxy/merge.h"
#include "grapevine/base/mem.h"
#include "support/suite.h"
#include <string.h>

/* Feed both answers in pieces of `piece` bytes; what comes out must be `expected`. */
static void merges(bool stream, const char *prefill, const char *decode, const char *expected)
{
    for (size_t piece = 1; piece <= 64; piece++) {
        struct gv_merge merge;
        struct gv_buf out;
        gv_merge_init(&merge);
        gv_buf_init(&out, GV_MEM_BUFFER, 1 << 20);
        merge.stream = stream;
        for (size_t at = 0; at < strlen(prefill); at += piece) {
            size_t left = strlen(prefill) - at;
            gv_merge_prefill(&merge, gv_slice_of(prefill + at, left < piece ? left : piece));
        }
        gv_merge_prefill_end(&merge);
        for (size_t at = 0; at < strlen(decode); at += piece) {
            size_t left = strlen(decode) - at;
            CU_ASSERT_EQUAL(
                gv_merge_feed(&merge, gv_slice_of(decode + at, left < piece ? left : piece), &out),
                GV_OK);
        }
        CU_ASSERT_EQUAL(gv_merge_end(&merge, &out), GV_OK);
        bool same = gv_slice_is(gv_buf_slice(&out), expected);
        CU_ASSERT_TRUE_FATAL(same);
        gv_buf_deinit(&out);
        gv_merge_deinit(&merge);
    }
}

#define WITH(list)                                                                                 \
    "{\"text\" : \"a\\\"]\",\"meta_info\":{\"id\":1, \"input_token_logprobs\": " list              \
    ",\"x\":[1]},\"z\":{}}"

static void prefills_logprobs_come_before_decodes_and_no_other_byte_changes(void)
{
    merges(false, WITH("[[null,1],[-0.5,2]]"), WITH("[[-1,3]]"),
           WITH("[[null,1],[-0.5,2],[-1,3]]"));
    merges(false, WITH("[[1]]"), WITH("[ ]"), WITH("[[1]]"));
    merges(false, WITH("[]"), WITH("[[2]]"), WITH("[[2]]"));
    merges(false, WITH("[[1]]"), WITH("null"), WITH("[[1]]"));
    merges(false, WITH("[[1]]") "\n", " " WITH("[[2]]") "\n", " " WITH("[[1],[2]]") "\n");
}

static void items_of_a_batch_find_each_other(void)
{
    merges(false, "[" WITH("[[1]]") ", " WITH("[[2]]") "]",
           "[ " WITH("[[3]]") " ," WITH("[[4]]") " ]",
           "[ " WITH("[[1],[3]]") " ," WITH("[[2],[4]]") " ]");
    merges(true,
           "data: {\"index\":1,\"meta_info\":{\"input_token_logprobs\":[8]}}\n\n"
           "data: {\"index\":0,\"meta_info\":{\"input_token_logprobs\":[7]}}\n\ndata: [DONE]\n\n",
           "data: {\"meta_info\":{\"input_token_logprobs\":[1]},\"index\":0}\n\n"
           "data: {\"meta_info\":{\"input_token_logprobs\":[2]},\"index\":1}\n\n",
           "data: {\"meta_info\":{\"input_token_logprobs\":[7,1]},\"index\":0}\n\n"
           "data: {\"meta_info\":{\"input_token_logprobs\":[8,2]},\"index\":1}\n\n");
}

static void every_event_is_merged_however_it_was_cut(void)
{
    merges(true, "data: " WITH("[[1]]") "\n\n",
           ": ping\r\n\r\ndata: " WITH("[[2]]") "\r\n\r\nid: 3\ndata:" WITH(
               "[[3]]") "\n\ndata: {\"no\":1}\n\ndata: [DONE]\n\n",
           ": ping\r\n\r\ndata: " WITH("[[1],[2]]") "\r\n\r\nid: 3\ndata:" WITH(
               "[[1],[3]]") "\n\ndata: {\"no\":1}\n\ndata: [DONE]\n\n");
    merges(true, WITH("[[1]]"), "data: " WITH("[[2]]"), "data: " WITH("[[1],[2]]"));
}

static void what_is_not_understood_passes_as_it_stands(void)
{
    static const char *const odd[] = {"",
                                      "{",
                                      "[{]",
                                      "not json",
                                      "[1,2",
                                      "{\"meta_info\":{\"input_token_logprobs\":7}}",
                                      "{\"meta_info\":[]}",
                                      "data: {\"meta_info\":\n\n",
                                      "{\"meta_info\":{\"input_token_logprobs\":[1}}",
                                      "\n\n\r\n",
                                      "data:",
                                      "[{\"meta_info\":{}},{\"meta_info\":3}]"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        merges(false, WITH("[[1]]"), odd[i], odd[i]);
        merges(true, WITH("[[1]]"), odd[i], odd[i]);
        merges(false, odd[i], WITH("[[2]]"), WITH("[[2]]"));
    }
    merges(false, "{\"index\":4096,\"meta_info\":{\"input_token_logprobs\":[1]}}", WITH("[2]"),
           WITH("[2]"));
}

static void without_memory_everything_passes_and_nothing_leaks(void)
{
    size_t before = gv_mem_used(GV_MEM_BUFFER);
    for (uint64_t n = 1; n < 12; n++) {
        struct gv_merge merge;
        struct gv_buf out;
        gv_merge_init(&merge);
        gv_buf_init(&out, GV_MEM_GENERAL, 1 << 20);
        uint8_t *room;
        CU_ASSERT_EQUAL_FATAL(gv_buf_reserve(&out, 4096, &room), GV_OK);
        gv_mem_fail_nth(n);
        gv_merge_prefill(&merge, gv_slice_text(WITH("[[1]]")));
        gv_merge_prefill_end(&merge);
        CU_ASSERT_EQUAL(gv_merge_feed(&merge, gv_slice_text(WITH("[[2]]")), &out), GV_OK);
        CU_ASSERT_EQUAL(gv_merge_end(&merge, &out), GV_OK);
        gv_mem_fail_nth(0);
        bool merged = gv_slice_is(gv_buf_slice(&out), WITH("[[1],[2]]"));
        CU_ASSERT_TRUE(merged || gv_slice_is(gv_buf_slice(&out), WITH("[[2]]")));
        gv_buf_deinit(&out);
        gv_merge_deinit(&merge);
        CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_BUFFER), before);
    }
}

GV_SUITE("proxy/merge", GV_CASE(prefills_logprobs_come_before_decodes_and_no_other_byte_changes),
         GV_CASE(items_of_a_batch_find_each_other),
         GV_CASE(every_event_is_merged_however_it_was_cut),
         GV_CASE(what_is_not_understood_passes_as_it_stands),
         GV_CASE(without_memory_everything_passes_and_nothing_leaks))
