/*
 * logbook.h - this program's own log, kept in a file while a test runs, and asked what it holds.
 */
#ifndef GV_TESTS_SUPPORT_LOGBOOK_H
#define GV_TESTS_SUPPORT_LOGBOOK_H

/** From now on what is logged, GV_LOG_INFO and above, goes into a new file. One at a time. */
void gv_logbook_open(void);

/** Log no more, and take the file away. */
void gv_logbook_close(void);

/** How many lines hold all three texts. */
int gv_logbook_lines(const char *one, const char *two, const char *three);

#endif
