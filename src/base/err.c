/*
 * err.c - the two texts of each error code, from the one list.
 */
#include "grapevine/base/err.h"
#include <stddef.h>

static const char *const names[] = {
#define NAME(name, text) [GV_##name] = "GV_" #name,
    GV_ERR_LIST(NAME)
#undef NAME
};

static const char *const texts[] = {
#define TEXT(name, text) [GV_##name] = text,
    GV_ERR_LIST(TEXT)
#undef TEXT
};

_Static_assert(sizeof names / sizeof names[0] == GV_ERR_COUNT, "one name per code");
_Static_assert(sizeof texts / sizeof texts[0] == GV_ERR_COUNT, "one text per code");

/* A code may come from a damaged or newer source; the number is checked before it is an index. */
static size_t index_of(enum gv_err err)
{
    size_t number = (size_t)err;
    return number < (size_t)GV_ERR_COUNT ? number : (size_t)GV_ERR_COUNT;
}

const char *gv_err_name(enum gv_err err)
{
    size_t index = index_of(err);
    return index == (size_t)GV_ERR_COUNT ? "GV_E?" : names[index];
}

const char *gv_err_text(enum gv_err err)
{
    size_t index = index_of(err);
    return index == (size_t)GV_ERR_COUNT ? "unknown error" : texts[index];
}
