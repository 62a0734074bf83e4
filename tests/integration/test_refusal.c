/*
 * test_refusal.c - two real nodes that must not form a cluster say so, both, with both values.
 */
#include "support/suite.h"
#include "support/world.h"

#include <stdio.h>
#include <string.h>

/* Make a key ring by the CLI; its path goes into `path`. */
static void make_keys(const char *name, char *path, size_t size)
{
    struct gv_process vinectl;
    snprintf(path, size, "%s/%s", gv_test_folder(), name);
    const char *const argv[] = {"vinectl", "keys", "generate", path, NULL};
    CU_ASSERT_TRUE_FATAL(gv_process_start(&vinectl, "keys", argv));
    CU_ASSERT_EQUAL_FATAL(gv_process_wait(&vinectl), 0);
}

/* The public id of the key in a ring file: the word behind "key ". */
static void read_id(const char *path, char *id, size_t size)
{
    char line[256];
    FILE *file = fopen(path, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    id[0] = '\0';
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "key ", 4) == 0) {
            snprintf(id, size, "%.16s", line + 4);
        }
    }
    fclose(file);
}

/* Start a node with `first`, and one with `second` that has it for a seed; expect both to refuse.
 */
static void expect_refusal(const char *const *first, const char *const *second, const char *mine,
                           const char *theirs)
{
    struct gv_world world = {.node_count = 0};
    char line[1024];
    gv_world_add_node(&world, first);
    gv_world_add_node(&world, second);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_TRUE_FATAL(
            gv_process_await(&world.nodes[i].process, "mesh.refused", line, sizeof line));
        CU_ASSERT_PTR_NOT_NULL(strstr(line, mine));
        CU_ASSERT_PTR_NOT_NULL(strstr(line, theirs));
    }
    CU_ASSERT_TRUE(gv_world_await_members(&world, 1));
    gv_world_end(&world);
}

static void another_cluster_id_is_refused_on_both_sides_with_both_names(void)
{
    const char *const first[] = {"--cluster-id", "vineyard", NULL};
    const char *const second[] = {"--cluster-id", "orchard", NULL};
    expect_refusal(first, second, "vineyard", "orchard");
}

static void another_block_size_is_refused_on_both_sides_with_both_sizes(void)
{
    const char *const first[] = {"--block-bytes", "256", NULL};
    const char *const second[] = {"--block-bytes", "512", NULL};
    expect_refusal(first, second, "256", "512");
}

static void another_key_is_refused_on_both_sides_with_both_key_ids(void)
{
    char path[2][200];
    char id[2][20];
    make_keys("one.keys", path[0], sizeof path[0]);
    make_keys("two.keys", path[1], sizeof path[1]);
    read_id(path[0], id[0], sizeof id[0]);
    read_id(path[1], id[1], sizeof id[1]);
    const char *const first[] = {"--mesh-keyring", path[0], NULL};
    const char *const second[] = {"--mesh-keyring", path[1], NULL};
    expect_refusal(first, second, id[0], id[1]);
}

static void a_node_without_keys_is_refused_by_one_with_keys(void)
{
    char path[200];
    char id[20];
    make_keys("only.keys", path, sizeof path);
    read_id(path, id, sizeof id);
    const char *const first[] = {"--mesh-keyring", path, NULL};
    const char *const second[] = {"--mesh-insecure", NULL};
    expect_refusal(first, second, id, "none");
}

static void nodes_with_the_same_key_form_a_cluster(void)
{
    struct gv_world world = {.node_count = 0};
    char path[200];
    make_keys("same.keys", path, sizeof path);
    const char *const flags[] = {"--mesh-keyring", path, NULL};
    gv_world_add_node(&world, flags);
    gv_world_add_node(&world, flags);
    CU_ASSERT_TRUE(gv_world_await_members(&world, 2));
    gv_world_end(&world);
}

GV_SUITE("integration/refusal",
         GV_CASE(another_cluster_id_is_refused_on_both_sides_with_both_names),
         GV_CASE(another_block_size_is_refused_on_both_sides_with_both_sizes),
         GV_CASE(another_key_is_refused_on_both_sides_with_both_key_ids),
         GV_CASE(a_node_without_keys_is_refused_by_one_with_keys),
         GV_CASE(nodes_with_the_same_key_form_a_cluster))
