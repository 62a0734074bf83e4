/*
 * lock.h - mutexes and read-write locks that cannot fail in the caller's face.
 *
 * The few files that may use it are listed in tools/lint (locks). A lock is held for a bounded,
 * short time and never across a callback (but for the one that route/fleet.h tells of).
 */
#ifndef GV_BASE_LOCK_H
#define GV_BASE_LOCK_H

#include <pthread.h>

struct gv_mutex {
    pthread_mutex_t inner;
};

struct gv_rwlock {
    pthread_rwlock_t inner;
};

void gv_mutex_init(struct gv_mutex *mutex);
void gv_mutex_deinit(struct gv_mutex *mutex);
void gv_mutex_lock(struct gv_mutex *mutex);
void gv_mutex_unlock(struct gv_mutex *mutex);

void gv_rwlock_init(struct gv_rwlock *lock);
void gv_rwlock_deinit(struct gv_rwlock *lock);
void gv_rwlock_read(struct gv_rwlock *lock);
void gv_rwlock_write(struct gv_rwlock *lock);
void gv_rwlock_unlock(struct gv_rwlock *lock);

#endif
