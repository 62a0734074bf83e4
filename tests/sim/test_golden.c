/*
 * Short stories and their traces, byte for byte. After a change that is meant:
 * `vinesim --golden tests/sim/golden`, and read the difference.
 */
#include "support/suite.h"
#include "vinesim/golden.h"

#include <stdlib.h>
#include <string.h>

/* All of a file; ended by a NUL. */
static char *read_all(const char *path)
{
    char *text = calloc(1, 1 << 20);
    FILE *file = fopen(path, "r");
    if (text != NULL && file != NULL) {
        text[fread(text, 1, (1 << 20) - 1, file)] = '\0';
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return text;
}

static char *tell(uint32_t story)
{
    char *text = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&text, &len);
    golden_tell(story, file);
    (void)fclose(file);
    return text;
}

static void each_story_is_told_as_it_is_written(void)
{
    for (uint32_t i = 0; i < golden_count(); i++) {
        char path[256];
        (void)snprintf(path, sizeof path, "tests/sim/golden/%s.trace", golden_name(i));
        char *kept = read_all(path);
        char *told = tell(i);
        if (strcmp(kept, told) != 0) {
            printf("%s differs; it is told like this now:\n%s", path, told);
        }
        CU_ASSERT_STRING_EQUAL(kept, told);
        free(kept);
        free(told);
    }
}

static void each_story_ends_in_agreement(void)
{
    for (uint32_t i = 0; i < golden_count(); i++) {
        char *told = tell(i);
        CU_ASSERT_PTR_NOT_NULL(strstr(told, "all agree after"));
        free(told);
    }
}

GV_SUITE("sim/golden", GV_CASE(each_story_is_told_as_it_is_written),
         GV_CASE(each_story_ends_in_agreement))
