/*
 * lock.c - pthread locks whose only failures are our own mistakes, and so are assertions.
 */
#include "grapevine/base/lock.h"
#include "grapevine/base/assert.h"

void gv_mutex_init(struct gv_mutex *mutex)
{
    GV_ASSERT(pthread_mutex_init(&mutex->inner, NULL) == 0);
}

void gv_mutex_deinit(struct gv_mutex *mutex)
{
    GV_ASSERT(pthread_mutex_destroy(&mutex->inner) == 0);
}

void gv_mutex_lock(struct gv_mutex *mutex)
{
    GV_ASSERT(pthread_mutex_lock(&mutex->inner) == 0);
}

void gv_mutex_unlock(struct gv_mutex *mutex)
{
    GV_ASSERT(pthread_mutex_unlock(&mutex->inner) == 0);
}

void gv_rwlock_init(struct gv_rwlock *lock)
{
    /* Writers first: with many loops reading, there may never be a moment without a reader. Hence
     * no thread may take the same lock for reading twice. */
    pthread_rwlockattr_t attributes;
    GV_ASSERT(pthread_rwlockattr_init(&attributes) == 0);
    GV_ASSERT(pthread_rwlockattr_setkind_np(&attributes,
                                            PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) == 0);
    GV_ASSERT(pthread_rwlock_init(&lock->inner, &attributes) == 0);
    GV_ASSERT(pthread_rwlockattr_destroy(&attributes) == 0);
}

void gv_rwlock_deinit(struct gv_rwlock *lock)
{
    GV_ASSERT(pthread_rwlock_destroy(&lock->inner) == 0);
}

void gv_rwlock_read(struct gv_rwlock *lock)
{
    GV_ASSERT(pthread_rwlock_rdlock(&lock->inner) == 0);
}

void gv_rwlock_write(struct gv_rwlock *lock)
{
    GV_ASSERT(pthread_rwlock_wrlock(&lock->inner) == 0);
}

void gv_rwlock_unlock(struct gv_rwlock *lock)
{
    GV_ASSERT(pthread_rwlock_unlock(&lock->inner) == 0);
}
