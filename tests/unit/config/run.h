/*
 * run.h - one run of the loader: what it was given, what came of it and what it said.
 *
 * For the tests of options, files, checks and printing, each of which is a program of its own.
 */
#ifndef GV_TESTS_UNIT_CONFIG_RUN_H
#define GV_TESTS_UNIT_CONFIG_RUN_H

#include "../../../src/config/inner.h"
#include "grapevine/base/mem.h"
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One run of the loader. */
struct run {
    struct gv_config config;
    struct gv_buf out;
    struct gv_buf err;
    enum gv_config_outcome outcome;
};

static inline const char *text_of(struct gv_buf *buf)
{
    if (gv_buf_append(buf, gv_slice_of("", 1)) != GV_OK) {
        return "";
    }
    buf->len -= 1;
    return (const char *)gv_buf_slice(buf).data;
}

static inline void load(struct run *run, const char *const *flags, const char *const *environment)
{
    char *argv[32] = {(char *)(uintptr_t) "grapevine"};
    int argc = 1;
    for (; flags != NULL && *flags != NULL; flags++) {
        argv[argc++] = (char *)(uintptr_t)*flags;
    }
    gv_buf_init(&run->out, GV_MEM_BUFFER, 1 << 20);
    gv_buf_init(&run->err, GV_MEM_BUFFER, 1 << 20);
    run->outcome = gv_config_load_quietly(argc, argv, (char **)(uintptr_t)environment, &run->config,
                                          &run->out, &run->err);
}

static inline void done(struct run *run)
{
    if (run->outcome == GV_CONFIG_RUN) {
        gv_config_deinit(&run->config);
    }
    gv_buf_deinit(&run->out);
    gv_buf_deinit(&run->err);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_GENERAL), 0);
}

#define FLAGS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static inline bool says(struct run *run, const char *text)
{
    bool has = strstr(text_of(&run->err), text) != NULL;
    if (!has) {
        printf("\nwanted '%s' in:\n%s", text, text_of(&run->err));
    }
    return has;
}

/* The run must be bad and say `text`. */
static inline void refuses(const char *const *flags, const char *text)
{
    struct run run;
    load(&run, flags, NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_BAD);
    CU_ASSERT(says(&run, text));
    done(&run);
}

static char path[64];

static inline const char *write_file(const char *text)
{
    (void)snprintf(path, sizeof path, "/tmp/grapevine-test-XXXXXX");
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
    return path;
}

#endif
