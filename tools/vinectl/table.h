/*
 * table.h - aligned columns for people. Cells are copied; numbers stand on the right.
 */
#ifndef GV_VINECTL_TABLE_H
#define GV_VINECTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_COLUMNS_MAX 34

struct table {
    const char
        *names[TABLE_COLUMNS_MAX]; /* static; a name that begins with '#' is a number column */
    size_t columns;
    char **cells; /* owned; row by row */
    size_t cell_count;
    size_t cell_room;
};

/** `names` is NULL-terminated. */
void table_init(struct table *table, const char *const *names);
void table_deinit(struct table *table);

/** The next cell; "" and NULL show as -. */
void table_text(struct table *table, const char *text);
void table_number(struct table *table, uint64_t number);

/** Bytes as "12.3 MiB". */
void table_bytes(struct table *table, uint64_t bytes);

/** Seconds as "3m12s". */
void table_age(struct table *table, uint64_t seconds);

/** Print to stdout. */
void table_print(const struct table *table, bool headers);

#endif
