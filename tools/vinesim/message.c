/*
 * message.c - see message.h.
 */
#include "message.h"

#include <stdlib.h>
#include <string.h>

#define STEP_BYTES 64

#if defined(__SANITIZE_ADDRESS__)
#define KEEPS false /* who uses a message after its end shall be found */
#else
#define KEEPS true
#endif

static size_t size_of(size_t len)
{
    return (sizeof(struct world_message) + len + STEP_BYTES - 1) / STEP_BYTES;
}

void message_shelf_deinit(struct message_shelf *shelf)
{
    for (size_t size = 0; size < MESSAGE_SIZES; size++) {
        while (shelf->free[size] != NULL) {
            struct world_message *message = shelf->free[size];
            shelf->free[size] = message->next;
            free(message);
        }
    }
}

struct world_message *message_new(struct message_shelf *shelf, struct gv_slice bytes)
{
    size_t size = size_of(bytes.len);
    struct world_message *message = size < MESSAGE_SIZES ? shelf->free[size] : NULL;
    if (message != NULL) {
        shelf->free[size] = message->next;
        __builtin_prefetch(message->next); /* the next one taken */
    } else {
        message = malloc(size * STEP_BYTES);
    }
    if (message == NULL) {
        abort();
    }
    *message = (struct world_message){.len = bytes.len};
    if (bytes.len > 0) {
        memcpy(message->bytes, bytes.data, bytes.len);
    }
    return message;
}

void message_free(struct message_shelf *shelf, struct world_message *message)
{
    size_t size = message == NULL ? MESSAGE_SIZES : size_of(message->len);
    if (KEEPS && size < MESSAGE_SIZES) {
        message->next = shelf->free[size];
        shelf->free[size] = message;
    } else {
        free(message);
    }
}
