/*
 * answer.c - how a handler says what it found: JSON, or a problem in the words of the one table.
 */
#include "admin/admin.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void gv_answer_init(struct gv_answer *answer)
{
    *answer = (struct gv_answer){.status = 200, .problem = GV_PROBLEM_NONE};
    gv_buf_init(&answer->body, GV_MEM_BUFFER, GV_ANSWER_BYTES_MAX);
}

void gv_answer_deinit(struct gv_answer *answer)
{
    gv_buf_deinit(&answer->body);
}

static int append(const char *bytes, size_t len, void *buf)
{
    return gv_buf_append(buf, gv_slice_of(bytes, len)) == GV_OK ? 0 : -1;
}

void gv_answer_json(struct gv_answer *answer, uint16_t status, json_t *json)
{
    answer->status = status;
    answer->content_type = "application/json";
    gv_buf_clear(&answer->body);
    if (json == NULL || json_dump_callback(json, append, &answer->body, JSON_COMPACT) != 0) {
        gv_buf_clear(&answer->body);
        answer->problem = GV_PROBLEM_INTERNAL;
    }
    json_decref(json);
}

void gv_answer_problem(struct gv_answer *answer, enum gv_problem problem, const char *format, ...)
{
    answer->problem = problem;
    va_list args;
    va_start(args, format);
    vsnprintf(answer->detail, sizeof answer->detail, format, args);
    va_end(args);
}

void gv_answer_error(struct gv_answer *answer, uint16_t status, const char *code,
                     const char *format, ...)
{
    char text[320];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    gv_answer_json(answer, status, json_pack("{s:s, s:s}", "error", text, "code", code));
}
