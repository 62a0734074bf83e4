/*
 * map.c - open addressing with linear probing.
 *
 * A taken key leaves a tombstone, so that a walk may take the key it stands on; tombstones go when
 * the table is laid out anew, which happens when keys and tombstones fill three quarters of it.
 * Short keys, as most are, lie in the table itself: whoever looks for one reads one place less.
 */
#include "grapevine/base/map.h"
#include "grapevine/base/assert.h"

#define FIRST_ROOM 8
#define NEAR_BYTES 16 /* a key of at most so many lies in its slot */

struct gv_map_slot {
    union {
        uint8_t near[NEAR_BYTES];
        uint8_t *far; /* owned */
    } key;
    void *value; /* borrowed; NULL: free, or a tombstone when `dead` */
    uint64_t hash;
    uint32_t key_len; /* bytes */
    bool dead;
};

static struct gv_slice key_of(const struct gv_map_slot *slot)
{
    bool is_near = slot->key_len <= NEAR_BYTES;
    return gv_slice_of(is_near ? slot->key.near : slot->key.far, slot->key_len);
}

static enum gv_err set_key(enum gv_mem_kind kind, struct gv_map_slot *slot, struct gv_slice key)
{
    uint8_t *at = slot->key.near;
    if (key.len > NEAR_BYTES) {
        at = gv_mem_new(kind, key.len);
        slot->key.far = at;
    }
    if (at == NULL) {
        return GV_ENOMEM;
    }
    if (key.len > 0) {
        memcpy(at, key.data, key.len);
    }
    slot->key_len = (uint32_t)key.len;
    return GV_OK;
}

static void free_key(enum gv_mem_kind kind, struct gv_map_slot *slot)
{
    if (slot->key_len > NEAR_BYTES) {
        gv_mem_free(kind, slot->key.far);
    }
}

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
        free_key(map->kind, &map->slots[i]);
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
        if (slot->value == NULL && !slot->dead) {
            return NULL;
        }
        if (slot->value != NULL && slot->hash == hash && gv_slice_equal(key_of(slot), key)) {
            return slot;
        }
    }
}

static struct gv_map_slot *find_free(struct gv_map_slot *slots, size_t room, uint64_t hash)
{
    size_t mask = room - 1;
    size_t i = (size_t)hash & mask;
    while (slots[i].value != NULL) {
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
        if (map->slots[i].value != NULL) {
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
    struct gv_map_slot made = {.value = value, .hash = hash};
    if (key.len > UINT32_MAX || set_key(map->kind, &made, key) != GV_OK) {
        return GV_ENOMEM;
    }
    if ((map->count + map->dead_count + 1) * 4 > map->room * 3) {
        enum gv_err err = rebuild(map);
        if (err != GV_OK) {
            free_key(map->kind, &made);
            return err;
        }
    }
    slot = find_free(map->slots, map->room, hash);
    map->dead_count -= slot->dead ? 1 : 0;
    *slot = made;
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
    free_key(map->kind, slot);
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
        if (slot->value != NULL) {
            *key = key_of(slot);
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

/* Written out, so that a compiler makes one load of it. */
static uint64_t word_of(const uint8_t bytes[8])
{
    return (uint64_t)bytes[0] | (uint64_t)bytes[1] << 8 | (uint64_t)bytes[2] << 16 |
           (uint64_t)bytes[3] << 24 | (uint64_t)bytes[4] << 32 | (uint64_t)bytes[5] << 40 |
           (uint64_t)bytes[6] << 48 | (uint64_t)bytes[7] << 56;
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
        sip_word(v, word_of(bytes.data + i));
    }
    uint64_t last = (uint64_t)(bytes.len & 0xff) << 56;
    for (size_t i = whole; i < bytes.len; i++) {
        last |= (uint64_t)bytes.data[i] << (8 * (i - whole));
    }
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++) {
        sip_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
