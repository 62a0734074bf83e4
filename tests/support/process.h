/*
 * process.h - a program under test: started, watched through its output, ended. Never waited for by
 * time.
 *
 * Standard output and error go to one file, which is read again and again until a line says what
 * the test waits for, or the deadline passes. Every process that is still running when the test
 * program ends is killed.
 */
#ifndef GV_TESTS_SUPPORT_PROCESS_H
#define GV_TESTS_SUPPORT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define GV_PROCESS_DEADLINE_MS 60000u /* generous: sanitizers on a busy machine */
#define GV_PROCESS_ARGS_MAX    64

struct gv_process {
    pid_t pid;     /* 0: not running */
    char log[256]; /* path of its output */
    int status;    /* of waitpid, once it has ended */
};

/** Start `argv` (NULL-terminated; argv[0] is looked up in $GV_BIN). false: could not; says why. */
bool gv_process_start(struct gv_process *process, const char *name, const char *const *argv);

/**
 * Wait until a line of the output holds `needle`; the line is copied into `line` (may be NULL).
 * false: the deadline passed or the process ended without it; the output's end is then printed.
 */
bool gv_process_await(struct gv_process *process, const char *needle, char *line, size_t size);

/** Does the output hold `needle` now? */
bool gv_process_has_said(const struct gv_process *process, const char *needle);

/** Send a signal; after SIGSTOP the process stands still. */
void gv_process_signal(struct gv_process *process, int signum);

/** Wait for the end; the exit code, or 128 + signal, or -1 when the deadline passed (then killed).
 */
int gv_process_wait(struct gv_process *process);

/** Kill and reap; harmless when it is not running. */
void gv_process_kill(struct gv_process *process);

/**
 * Kill and reap one that ought to be running, and well. false, and it says why: it had ended on its
 * own, or a sanitizer has complained in its output.
 */
bool gv_process_end(struct gv_process *process);

/** The value of `key=` in a line, up to a blank, into `value`; false when absent. */
bool gv_line_value(const char *line, const char *key, char *value, size_t size);

/** Milliseconds of a clock that never goes back. */
uint64_t gv_test_now_ms(void);

/** Give the others 5 ms; for loops that poll a condition against a deadline. */
void gv_test_pause(void);

/** Poll `condition` until it holds or `deadline_ms` (0: GV_PROCESS_DEADLINE_MS) have passed. */
bool gv_test_await(bool (*condition)(void *owner), void *owner, uint64_t deadline_ms);

/** A fresh folder of this test program, removed at its end when all went well. */
const char *gv_test_folder(void);

#endif
