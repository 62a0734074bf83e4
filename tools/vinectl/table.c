#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void table_init(struct table *table, const char *const *names)
{
    *table = (struct table){.columns = 0};
    while (names[table->columns] != NULL && table->columns < TABLE_COLUMNS_MAX) {
        table->names[table->columns] = names[table->columns];
        table->columns += 1;
    }
}

void table_deinit(struct table *table)
{
    for (size_t i = 0; i < table->cell_count; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
}

void table_text(struct table *table, const char *text)
{
    if (table->cell_count == table->cell_room) {
        size_t room = table->cell_room == 0 ? 64 : 2 * table->cell_room;
        char **cells = realloc(table->cells, room * sizeof *cells);
        if (cells == NULL) {
            fputs("vinectl: out of memory\n", stderr);
            exit(1);
        }
        table->cells = cells;
        table->cell_room = room;
    }
    table->cells[table->cell_count++] = strdup(text == NULL || text[0] == '\0' ? "-" : text);
}

void table_number(struct table *table, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    table_text(table, text);
}

void table_bytes(struct table *table, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    char text[32];
    snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    table_text(table, text);
}

void table_age(struct table *table, uint64_t seconds)
{
    char text[32];
    uint64_t minutes = seconds / 60;
    uint64_t hours = minutes / 60;
    if (hours >= 24) {
        snprintf(text, sizeof text, "%" PRIu64 "d%02" PRIu64 "h", hours / 24, hours % 24);
    } else if (hours > 0) {
        snprintf(text, sizeof text, "%" PRIu64 "h%02" PRIu64 "m", hours, minutes % 60);
    } else if (minutes > 0) {
        snprintf(text, sizeof text, "%" PRIu64 "m%02" PRIu64 "s", minutes, seconds % 60);
    } else {
        snprintf(text, sizeof text, "%" PRIu64 "s", seconds);
    }
    table_text(table, text);
}

static const char *title(const char *name)
{
    return name[0] == '#' ? name + 1 : name;
}

static void print_cell(const struct table *table, size_t column, const char *text, size_t width)
{
    if (table->names[column][0] == '#') {
        printf("%*s", (int)width, text);
    } else if (column + 1 == table->columns) {
        fputs(text, stdout);
    } else {
        printf("%-*s", (int)width, text);
    }
    fputs(column + 1 == table->columns ? "\n" : "  ", stdout);
}

void table_print(const struct table *table, bool headers)
{
    size_t width[TABLE_COLUMNS_MAX] = {0};
    for (size_t column = 0; column < table->columns; column++) {
        width[column] = headers ? strlen(title(table->names[column])) : 1;
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t len = strlen(table->cells[i]);
        size_t column = i % table->columns;
        width[column] = len > width[column] ? len : width[column];
    }
    for (size_t column = 0; headers && column < table->columns; column++) {
        print_cell(table, column, title(table->names[column]), width[column]);
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        print_cell(table, i % table->columns, table->cells[i], width[i % table->columns]);
    }
}
