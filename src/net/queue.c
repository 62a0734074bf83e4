/*
 * queue.c - see queue.h.
 */
#include "queue.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"

#define CHUNK_BYTES_MIN (16 * 1024)
#define CHUNK_BYTES_MAX (64 * 1024)

struct chunk {
    struct gv_list link;
    size_t start; /* bytes already sent */
    size_t len;   /* bytes still to send */
    size_t room;
    uint8_t data[];
};

static struct chunk *chunk_at(struct gv_list *link)
{
    return GV_CONTAINER(link, struct chunk, link);
}

void gv_queue_init(struct gv_queue *queue)
{
    gv_list_init(&queue->chunks);
    queue->bytes = 0;
}

void gv_queue_drop(struct gv_queue *queue, bool keep_first)
{
    struct gv_list *first = keep_first ? gv_list_first(&queue->chunks) : NULL;
    GV_LIST_EACH(&queue->chunks, at, following)
    {
        if (at != first) {
            queue->bytes -= chunk_at(at)->len;
            gv_list_remove(at);
            gv_mem_free(GV_MEM_BUFFER, chunk_at(at));
        }
    }
}

static struct chunk *add_chunk(struct gv_queue *queue, size_t wanted_bytes)
{
    size_t room = wanted_bytes < CHUNK_BYTES_MIN ? CHUNK_BYTES_MIN : wanted_bytes;
    room = room > CHUNK_BYTES_MAX ? CHUNK_BYTES_MAX : room;
    struct chunk *chunk = gv_mem_resize(GV_MEM_BUFFER, NULL, sizeof *chunk + room);
    if (chunk != NULL) {
        *chunk = (struct chunk){.room = room};
        gv_list_init(&chunk->link);
        gv_list_add(&queue->chunks, &chunk->link);
    }
    return chunk;
}

enum gv_err gv_queue_add(struct gv_queue *queue, struct gv_slice bytes, bool first_is_held)
{
    struct gv_list *last = queue->chunks.prev;
    bool is_first = last == queue->chunks.next;
    struct chunk *chunk = NULL;
    if (last != &queue->chunks && !(first_is_held && is_first)) {
        chunk = chunk_at(last);
    }
    while (bytes.len > 0) {
        if (chunk == NULL || chunk->start + chunk->len == chunk->room) {
            chunk = add_chunk(queue, bytes.len);
            if (chunk == NULL) {
                return GV_ENOMEM;
            }
        }
        size_t free_bytes = chunk->room - chunk->start - chunk->len;
        size_t part = bytes.len < free_bytes ? bytes.len : free_bytes;
        memcpy(chunk->data + chunk->start + chunk->len, bytes.data, part);
        chunk->len += part;
        queue->bytes += part;
        bytes = gv_slice_of(bytes.data + part, bytes.len - part);
    }
    return GV_OK;
}

unsigned gv_queue_peek(const struct gv_queue *queue, uv_buf_t *buffers, unsigned max_count,
                       size_t *bytes)
{
    unsigned count = 0;
    *bytes = 0;
    GV_LIST_EACH(&queue->chunks, at, following)
    {
        struct chunk *chunk = chunk_at(at);
        if (count == max_count) {
            break;
        }
        buffers[count++] = uv_buf_init((char *)chunk->data + chunk->start, (unsigned)chunk->len);
        *bytes += chunk->len;
    }
    return count;
}

void gv_queue_consume(struct gv_queue *queue, size_t bytes)
{
    GV_ASSERT(bytes <= queue->bytes);
    while (bytes > 0) {
        struct chunk *chunk = chunk_at(gv_list_first(&queue->chunks));
        size_t part = bytes < chunk->len ? bytes : chunk->len;
        chunk->start += part;
        chunk->len -= part;
        queue->bytes -= part;
        bytes -= part;
        if (chunk->len == 0) {
            gv_list_remove(&chunk->link);
            gv_mem_free(GV_MEM_BUFFER, chunk);
        }
    }
}

size_t gv_queue_first_bytes(const struct gv_queue *queue)
{
    struct gv_list *first = gv_list_first(&queue->chunks);
    return first == NULL ? 0 : chunk_at(first)->len;
}
