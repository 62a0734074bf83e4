/*
 * flight.c - a ring of the last events of each thread.
 *
 * The ring is thread-local, so that noting needs no lock, and printing formats by hand, so that it
 * may run in a signal handler or after the heap is damaged.
 */
#include "grapevine/base/flight.h"
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define RECORD_COUNT 256 /* a power of two */

struct record {
    const char *what; /* static */
    uint64_t a;
    uint64_t b;
};

static _Thread_local struct record ring[RECORD_COUNT];
static _Thread_local uint64_t noted_count;

void gv_flight_note(const char *what, uint64_t a, uint64_t b)
{
    ring[noted_count % RECORD_COUNT] = (struct record){.what = what, .a = a, .b = b};
    noted_count += 1;
}

static size_t put_text(char *line, size_t at, size_t room, const char *text)
{
    while (*text != '\0' && at < room) {
        line[at] = *text;
        at += 1;
        text += 1;
    }
    return at;
}

static size_t put_number(char *line, size_t at, size_t room, uint64_t number)
{
    char digits[21];
    size_t first = sizeof digits - 1;
    digits[first] = '\0';
    do {
        first -= 1;
        digits[first] = (char)('0' + (char)(number % 10));
        number /= 10;
    } while (number != 0);
    return put_text(line, at, room, digits + first);
}

void gv_flight_print(int fd)
{
    uint64_t first = noted_count > RECORD_COUNT ? noted_count - RECORD_COUNT : 0;
    for (uint64_t i = first; i < noted_count; i++) {
        const struct record *record = &ring[i % RECORD_COUNT];
        char line[192];
        size_t room = sizeof line - 1; /* keeps a place for the newline */
        size_t at = put_text(line, 0, room, "flight ");
        at = put_number(line, at, room, i);
        at = put_text(line, at, room, " ");
        at = put_text(line, at, room, record->what == NULL ? "-" : record->what);
        at = put_text(line, at, room, " ");
        at = put_number(line, at, room, record->a);
        at = put_text(line, at, room, " ");
        at = put_number(line, at, room, record->b);
        line[at] = '\n';
        if (write(fd, line, at + 1) < 0) {
            return;
        }
    }
}
