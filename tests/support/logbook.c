/*
 * logbook.c - see logbook.h. The log writes from a thread of its own: await what it must hold.
 */
#include "support/logbook.h"

#include "grapevine/base/log.h"
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];
static int fd = -1;

void gv_logbook_open(void)
{
    (void)strcpy(path, "/tmp/test_logbook_XXXXXX");
    fd = mkstemp(path);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(gv_log_open((struct gv_log_options){.level = GV_LOG_INFO, .fd = fd}),
                          GV_OK);
}

void gv_logbook_close(void)
{
    gv_log_close();
    (void)close(fd);
    (void)unlink(path);
}

int gv_logbook_lines(const char *one, const char *two, const char *three)
{
    FILE *file = fopen(path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    char line[4096];
    int count = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        count +=
            strstr(line, one) != NULL && strstr(line, two) != NULL && strstr(line, three) != NULL;
    }
    (void)fclose(file);
    return count;
}
