/*
 * list.h - a doubly linked list through a member of its elements. Owns nothing.
 *
 * A state is a place: an object moves between lists, and "which clients wait?" is a list.
 */
#ifndef GV_BASE_LIST_H
#define GV_BASE_LIST_H

#include "grapevine/base/assert.h"
#include <stdbool.h>
#include <stddef.h>

struct gv_list {
    struct gv_list *next; /* borrowed */
    struct gv_list *prev; /* borrowed */
};

/** Make `list` an empty list, or an element that is in none. */
static inline void gv_list_init(struct gv_list *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool gv_list_is_empty(const struct gv_list *list)
{
    return list->next == list;
}

/** Put `element`, which is in no list, at the end of `list`. */
static inline void gv_list_add(struct gv_list *list, struct gv_list *element)
{
    GV_ASSERT(element->next == element || element->next == NULL);
    element->prev = list->prev;
    element->next = list;
    list->prev->next = element;
    list->prev = element;
}

/** Take `element` out of its list; harmless when it is in none. */
static inline void gv_list_remove(struct gv_list *element)
{
    if (element->next == NULL) {
        return;
    }
    element->prev->next = element->next;
    element->next->prev = element->prev;
    gv_list_init(element);
}

/** The first element of a list, or NULL. */
static inline struct gv_list *gv_list_first(const struct gv_list *list)
{
    return gv_list_is_empty(list) ? NULL : list->next;
}

/** The struct of `type` whose `member` is at `element`. */
#define GV_CONTAINER(element, type, member)                                                        \
    ((type *)(void *)((char *)(element)-offsetof(type, member)))

/** Walk; the current element may be removed inside. */
#define GV_LIST_EACH(list, at, following)                                                          \
    for (struct gv_list *at = (list)->next, *following = at->next; at != (list);                   \
         at = following, following = at->next)

#endif
