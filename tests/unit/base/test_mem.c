/* The counted heap: what is counted, what a cap refuses, and failing on demand. */
#include "grapevine/base/mem.h"
#include "support/suite.h"
#include <string.h>

static void what_is_taken_is_counted_until_it_is_freed(void)
{
    size_t before = gv_mem_used(GV_MEM_TRIE);
    size_t other = gv_mem_used(GV_MEM_NET);
    char *memory = gv_mem_new(GV_MEM_TRIE, 100);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    CU_ASSERT_TRUE(gv_mem_used(GV_MEM_TRIE) >= before + 100);
    memory = gv_mem_resize(GV_MEM_TRIE, memory, 10000);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    CU_ASSERT_TRUE(gv_mem_used(GV_MEM_TRIE) >= before + 10000);
    memory = gv_mem_resize(GV_MEM_TRIE, memory, 10);
    CU_ASSERT_TRUE(gv_mem_used(GV_MEM_TRIE) < before + 10000);
    gv_mem_free(GV_MEM_TRIE, memory);
    gv_mem_free(GV_MEM_TRIE, NULL);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_TRIE), before);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), other);
}

static void new_memory_is_zeroed_and_resizing_keeps_what_was_there(void)
{
    unsigned char *memory = gv_mem_new(GV_MEM_GENERAL, 64);
    for (size_t i = 0; i < 64; i++) {
        CU_ASSERT_EQUAL(memory[i], 0);
        memory[i] = (unsigned char)i;
    }
    memory = gv_mem_resize(GV_MEM_GENERAL, memory, 4096);
    for (size_t i = 0; i < 64; i++) {
        CU_ASSERT_EQUAL(memory[i], i);
    }
    gv_mem_free(GV_MEM_GENERAL, memory);
}

static void nothing_at_all_can_be_taken_too(void)
{
    void *memory = gv_mem_new(GV_MEM_GENERAL, 0);
    CU_ASSERT_PTR_NOT_NULL(memory);
    memory = gv_mem_resize(GV_MEM_GENERAL, memory, 0);
    CU_ASSERT_PTR_NOT_NULL(memory);
    gv_mem_free(GV_MEM_GENERAL, memory);
}

static void a_cap_is_exact_and_concerns_its_kind_only(void)
{
    size_t before = gv_mem_used(GV_MEM_FLEET);
    gv_mem_set_cap(GV_MEM_FLEET, before + 1000);
    CU_ASSERT_PTR_NULL(gv_mem_new(GV_MEM_FLEET, 1001));
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_FLEET), before);
    void *memory = gv_mem_new(GV_MEM_FLEET, 1000);
    CU_ASSERT_PTR_NOT_NULL(memory);
    CU_ASSERT_PTR_NULL(gv_mem_new(GV_MEM_FLEET, 64));
    CU_ASSERT_PTR_NULL(gv_mem_resize(GV_MEM_FLEET, memory, 5000));
    void *other = gv_mem_new(GV_MEM_NET, 5000);
    CU_ASSERT_PTR_NOT_NULL(other);
    gv_mem_free(GV_MEM_NET, other);
    gv_mem_set_cap(GV_MEM_FLEET, 0);
    memory = gv_mem_resize(GV_MEM_FLEET, memory, 5000);
    CU_ASSERT_PTR_NOT_NULL(memory);
    gv_mem_free(GV_MEM_FLEET, memory);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_FLEET), before);
}

static void pages_begin_where_they_must_are_zeroed_and_counted(void)
{
    size_t before = gv_mem_used(GV_MEM_TRIE);
    uint8_t *memory = gv_mem_new_pages(GV_MEM_TRIE, 8192, 3 * 8192);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    CU_ASSERT_EQUAL((uintptr_t)memory % 8192, 0);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_TRIE), before + 3 * 8192);
    CU_ASSERT_TRUE(memory[0] == 0 && memory[3 * 8192 - 1] == 0);
    memory[3 * 8192 - 1] = 1;
    gv_mem_warm_pages(memory, 3 * 8192); /* changes nothing that can be seen */
    CU_ASSERT_TRUE(memory[0] == 0 && memory[3 * 8192 - 1] == 1);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_TRIE), before + 3 * 8192);
    gv_mem_free_pages(GV_MEM_TRIE, memory, 3 * 8192);
    /* One page in between, and the next cannot begin at such a multiple by chance. */
    uint8_t *few[4];
    for (int i = 0; i < 4; i++) {
        size_t alignment = i % 2 == 0 ? 4096 : 65536;
        few[i] = gv_mem_new_pages(GV_MEM_TRIE, alignment, alignment);
        CU_ASSERT_EQUAL((uintptr_t)few[i] % alignment, 0);
    }
    for (int i = 0; i < 4; i++) {
        gv_mem_free_pages(GV_MEM_TRIE, few[i], i % 2 == 0 ? 4096 : 65536);
    }
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_TRIE), before);
    gv_mem_set_cap(GV_MEM_TRIE, before + 8191);
    CU_ASSERT_PTR_NULL(gv_mem_new_pages(GV_MEM_TRIE, 8192, 8192));
    gv_mem_set_cap(GV_MEM_TRIE, 0);
    gv_mem_fail_nth(1);
    CU_ASSERT_PTR_NULL(gv_mem_new_pages(GV_MEM_TRIE, 8192, 8192));
    gv_mem_fail_nth(0);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_TRIE), before);
}

static void exactly_the_nth_call_fails(void)
{
    void *taken[3] = {NULL, NULL, NULL};
    gv_mem_fail_nth(2);
    taken[0] = gv_mem_new(GV_MEM_GENERAL, 1);
    taken[1] = gv_mem_new(GV_MEM_GENERAL, 1);
    taken[2] = gv_mem_new(GV_MEM_GENERAL, 1);
    CU_ASSERT_PTR_NOT_NULL(taken[0]);
    CU_ASSERT_PTR_NULL(taken[1]);
    CU_ASSERT_PTR_NOT_NULL(taken[2]);
    gv_mem_fail_nth(1);
    CU_ASSERT_PTR_NULL(gv_mem_resize(GV_MEM_GENERAL, taken[0], 10));
    gv_mem_fail_nth(1);
    gv_mem_fail_nth(0);
    char *copy = gv_mem_copy_text(GV_MEM_GENERAL, "text");
    CU_ASSERT_STRING_EQUAL(copy, "text");
    gv_mem_fail_nth(1);
    CU_ASSERT_PTR_NULL(gv_mem_copy_text(GV_MEM_GENERAL, "text"));
    gv_mem_free(GV_MEM_GENERAL, copy);
    gv_mem_free(GV_MEM_GENERAL, taken[0]);
    gv_mem_free(GV_MEM_GENERAL, taken[2]);
}

static void a_size_no_machine_has_is_refused(void)
{
    CU_ASSERT_PTR_NULL(gv_mem_new(GV_MEM_GENERAL, SIZE_MAX));
    CU_ASSERT_PTR_NULL(gv_mem_resize(GV_MEM_GENERAL, NULL, SIZE_MAX));
}

static void every_kind_has_a_name_of_its_own(void)
{
    for (int i = 0; i < (int)GV_MEM_KIND_COUNT; i++) {
        for (int j = 0; j < i; j++) {
            CU_ASSERT_STRING_NOT_EQUAL(gv_mem_kind_name((enum gv_mem_kind)i),
                                       gv_mem_kind_name((enum gv_mem_kind)j));
        }
    }
    CU_ASSERT_STRING_EQUAL(gv_mem_kind_name(GV_MEM_TRIE), "trie");
}

GV_SUITE("base/mem", GV_CASE(what_is_taken_is_counted_until_it_is_freed),
         GV_CASE(new_memory_is_zeroed_and_resizing_keeps_what_was_there),
         GV_CASE(nothing_at_all_can_be_taken_too),
         GV_CASE(a_cap_is_exact_and_concerns_its_kind_only),
         GV_CASE(pages_begin_where_they_must_are_zeroed_and_counted),
         GV_CASE(exactly_the_nth_call_fails), GV_CASE(a_size_no_machine_has_is_refused),
         GV_CASE(every_kind_has_a_name_of_its_own))
