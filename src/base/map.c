/*
 * map.c - open addressing with linear probing.
 *
 * A taken key leaves a tombstone, so that a walk may take the key it stands on; tombstones go when
 * the table is laid out anew, which happens when keys and tombstones fill three quarters of it.
 */
#include "grapevine/base/map.h"
#include "grapevine/base/assert.h"

#define FIRST_ROOM 8

struct gv_map_slot {
    uint8_t *key;   /* owned; NULL: free, or a tombstone when `dead` */
    void *value;    /* borrowed */
    size_t key_len; /* bytes */
    uint64_t hash;
    bool dead;
};

void gv_map_init(struct gv_map *map, enum gv_mem_kind kind, size_t max_count,
                 const uint64_t secret[2])
{
    *map = (struct gv_map){.max_count = max_count, .kind = kind};
    map->secret[0] = secret == NULL ? UINT64_C(0x0706050403020100) : secret[0];
    map->secret[1] = secret == NULL ? UINT64_C(0x0f0e0d0c0b0a0908) : secret[1];
}

void gv_map_deinit(struct gv_map *map)
{
    for (size_t i = 0; i < map->room; i++) {
        gv_mem_free(map->kind, map->slots[i].key);
    }
    gv_mem_free(map->kind, map->slots);
    map->slots = NULL;
    map->room = 0;
    map->count = 0;
    map->dead_count = 0;
}

static void check(const struct gv_map *map)
{
    GV_ASSERT((map->room & (map->room - 1)) == 0 || map->room == 0);
    GV_ASSERT(map->count + map->dead_count <= map->room);
}

static struct gv_map_slot *find_slot(const struct gv_map *map, struct gv_slice key, uint64_t hash)
{
    if (map->room == 0) {
        return NULL;
    }
    size_t mask = map->room - 1;
    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        struct gv_map_slot *slot = &map->slots[i];
        if (slot->key == NULL && !slot->dead) {
            return NULL;
        }
        if (slot->key != NULL && slot->hash == hash &&
            gv_slice_equal(gv_slice_of(slot->key, slot->key_len), key)) {
            return slot;
        }
    }
}

static struct gv_map_slot *find_free(struct gv_map_slot *slots, size_t room, uint64_t hash)
{
    size_t mask = room - 1;
    size_t i = (size_t)hash & mask;
    while (slots[i].key != NULL) {
        i = (i + 1) & mask;
    }
    return &slots[i];
}

/* Lay the table out anew, without tombstones, with place for one more key. */
static enum gv_err rebuild(struct gv_map *map)
{
    size_t room = map->room == 0 ? FIRST_ROOM : map->room;
    while ((map->count + 1) * 2 > room) {
        room *= 2;
    }
    struct gv_map_slot *slots = gv_mem_new(map->kind, room * sizeof *slots);
    if (slots == NULL) {
        return GV_ENOMEM;
    }
    for (size_t i = 0; i < map->room; i++) {
        if (map->slots[i].key != NULL) {
            *find_free(slots, room, map->slots[i].hash) = map->slots[i];
        }
    }
    gv_mem_free(map->kind, map->slots);
    map->slots = slots;
    map->room = room;
    map->dead_count = 0;
    return GV_OK;
}

void *gv_map_find(const struct gv_map *map, struct gv_slice key)
{
    check(map);
    if (map->count == 0) {
        return NULL;
    }
    struct gv_map_slot *slot = find_slot(map, key, gv_siphash(map->secret, key));
    return slot == NULL ? NULL : slot->value;
}

enum gv_err gv_map_put(struct gv_map *map, struct gv_slice key, void *value)
{
    check(map);
    GV_ASSERT(value != NULL);
    uint64_t hash = gv_siphash(map->secret, key);
    struct gv_map_slot *slot = find_slot(map, key, hash);
    if (slot != NULL) {
        slot->value = value;
        return GV_OK;
    }
    if (map->count >= map->max_count) {
        return GV_EFULL;
    }
    uint8_t *copy = gv_mem_new(map->kind, key.len);
    if (copy == NULL) {
        return GV_ENOMEM;
    }
    if (key.len > 0) {
        memcpy(copy, key.data, key.len);
    }
    if ((map->count + map->dead_count + 1) * 4 > map->room * 3) {
        enum gv_err err = rebuild(map);
        if (err != GV_OK) {
            gv_mem_free(map->kind, copy);
            return err;
        }
    }
    slot = find_free(map->slots, map->room, hash);
    map->dead_count -= slot->dead ? 1 : 0;
    *slot = (struct gv_map_slot){.key = copy, .value = value, .key_len = key.len, .hash = hash};
    map->count += 1;
    check(map);
    return GV_OK;
}

void *gv_map_take(struct gv_map *map, struct gv_slice key)
{
    check(map);
    struct gv_map_slot *slot = find_slot(map, key, gv_siphash(map->secret, key));
    if (slot == NULL) {
        return NULL;
    }
    void *value = slot->value;
    gv_mem_free(map->kind, slot->key);
    *slot = (struct gv_map_slot){.dead = true};
    map->count -= 1;
    map->dead_count += 1;
    return value;
}

bool gv_map_next(const struct gv_map *map, size_t *cursor, struct gv_slice *key, void **value)
{
    while (*cursor < map->room) {
        const struct gv_map_slot *slot = &map->slots[*cursor];
        *cursor += 1;
        if (slot->key != NULL) {
            *key = gv_slice_of(slot->key, slot->key_len);
            *value = slot->value;
            return true;
        }
    }
    return false;
}

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static uint64_t little_endian(const uint8_t *bytes, size_t len)
{
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++) {
        word |= (uint64_t)bytes[i] << (8 * i);
    }
    return word;
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

uint64_t gv_siphash(const uint64_t secret[2], struct gv_slice bytes)
{
    uint64_t v[4] = {
        secret[0] ^ UINT64_C(0x736f6d6570736575), secret[1] ^ UINT64_C(0x646f72616e646f6d),
        secret[0] ^ UINT64_C(0x6c7967656e657261), secret[1] ^ UINT64_C(0x7465646279746573)};
    size_t whole = bytes.len - bytes.len % 8;
    for (size_t i = 0; i < whole; i += 8) {
        sip_word(v, little_endian(bytes.data + i, 8));
    }
    uint64_t last = (uint64_t)(bytes.len & 0xff) << 56;
    if (bytes.len > whole) {
        last |= little_endian(bytes.data + whole, bytes.len - whole);
    }
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++) {
        sip_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
