/*
 * target.h - the request target: what is asked for, in origin-form whatever form it was sent in.
 *
 * Private to http: the parser asks when a head is complete. Pure.
 */
#ifndef GV_HTTP_TARGET_H
#define GV_HTTP_TARGET_H

#include "grapevine/http/head.h"
#include "grapevine/http/problem.h"

/**
 * Check head->target and reduce it to origin-form; fills path and query. `host` is the value of the
 * Host header, `has_host` false when there is none. "*" passes with OPTIONS only. Refused are
 * characters that a URI cannot hold, fragments, broken escapes, "%00", and "." or ".." segments,
 * also escaped. GV_PROBLEM_NONE, or what is wrong.
 */
enum gv_problem gv_target_check(struct gv_head *head, struct gv_slice host, bool has_host);

#endif
