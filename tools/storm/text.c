/*
 * text.c - what a stream says: a function of the seed, its number and the event's.
 */
#include "storm.h"

#include <stdio.h>
#include <string.h>

#define BOOK_BYTES 4096

uint64_t storm_draw(uint64_t id, uint64_t what)
{
    uint64_t x = storm_options.seed + id * UINT64_C(0x9E3779B97F4A7C15) +
                 what * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* Mostly short answers, some long. */
uint32_t storm_event_count(uint64_t id)
{
    uint64_t draw = storm_draw(id, 1);
    uint32_t most = draw % 8 == 0 ? 1500 : 250;
    return 1 + (uint32_t)((draw >> 8) % most);
}

static const char *book(void)
{
    static char text[BOOK_BYTES];
    if (text[0] == '\0') {
        for (size_t i = 0; i < sizeof text; i++) {
            text[i] = "abcdefghijklmnopqrstuvwxyz 0123456789,.\\n"[storm_draw(0, 1000 + i) % 40];
        }
    }
    return text;
}

static char *put_hex(char *at, uint64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        *at++ = "0123456789abcdef"[(value >> (4 * i)) & 15];
    }
    return at;
}

size_t storm_event(uint64_t id, uint32_t number, char into[STORM_EVENT_MAX])
{
    static const char begin[] = "data: {\"stream\":\"";
    static const char between[] = "\",\"event\":\"";
    static const char text[] = "\",\"text\":\"";
    static const char end[] = "\"}\n\n";
    uint64_t draw = storm_draw(id, 16 + (uint64_t)number);
    size_t len = draw % 16 == 0 ? draw / 16 % 200 : draw / 16 % 60;
    char *at = into;
    memcpy(at, begin, sizeof begin - 1);
    at = put_hex(at + sizeof begin - 1, id, 16);
    memcpy(at, between, sizeof between - 1);
    at = put_hex(at + sizeof between - 1, number, 8);
    memcpy(at, text, sizeof text - 1);
    at += sizeof text - 1;
    memcpy(at, book() + (draw >> 32) % (BOOK_BYTES - 200), len);
    at += len;
    memcpy(at, end, sizeof end - 1);
    return (size_t)(at - into) + sizeof end - 1;
}

uint64_t storm_total_bytes(uint64_t id)
{
    char event[STORM_EVENT_MAX];
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < storm_event_count(id); i++) {
        bytes += storm_event(id, i, event);
    }
    return bytes;
}
