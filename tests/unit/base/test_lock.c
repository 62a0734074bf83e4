/* Locks keep threads apart, and read locks let readers in together. */
#include "grapevine/base/lock.h"
#include "support/suite.h"

static struct gv_mutex mutex;
static struct gv_rwlock lock;
static int guarded;
static int pair[2];
static int torn;

static void *add_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < 10000; i++) {
        gv_mutex_lock(&mutex);
        guarded += 1;
        gv_mutex_unlock(&mutex);
    }
    return NULL;
}

static void a_mutex_lets_one_in_at_a_time(void)
{
    pthread_t threads[4];
    gv_mutex_init(&mutex);
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(pthread_create(&threads[i], NULL, add_many, NULL), 0);
    }
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(pthread_join(threads[i], NULL), 0);
    }
    CU_ASSERT_EQUAL(guarded, 40000);
    gv_mutex_deinit(&mutex);
}

static void *write_pairs(void *unused)
{
    (void)unused;
    for (int i = 0; i < 3000; i++) {
        gv_rwlock_write(&lock);
        pair[0] += 1;
        pair[1] += 1;
        gv_rwlock_unlock(&lock);
        gv_rwlock_read(&lock);
        int differs = pair[0] != pair[1];
        gv_rwlock_unlock(&lock);
        gv_mutex_lock(&mutex);
        torn += differs;
        gv_mutex_unlock(&mutex);
    }
    return NULL;
}

static void readers_never_see_half_of_a_write(void)
{
    pthread_t threads[3];
    gv_mutex_init(&mutex);
    gv_rwlock_init(&lock);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(pthread_create(&threads[i], NULL, write_pairs, NULL), 0);
    }
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(pthread_join(threads[i], NULL), 0);
    }
    CU_ASSERT_EQUAL(torn, 0);
    CU_ASSERT_EQUAL(pair[0], 9000);
    gv_rwlock_deinit(&lock);
    gv_mutex_deinit(&mutex);
}

static void two_readers_hold_the_lock_together(void)
{
    gv_rwlock_init(&lock);
    gv_rwlock_read(&lock);
    CU_ASSERT_EQUAL(pthread_rwlock_tryrdlock(&lock.inner), 0);
    gv_rwlock_unlock(&lock);
    CU_ASSERT_NOT_EQUAL(pthread_rwlock_trywrlock(&lock.inner), 0);
    gv_rwlock_unlock(&lock);
    gv_rwlock_write(&lock);
    gv_rwlock_unlock(&lock);
    gv_rwlock_deinit(&lock);
}

GV_SUITE("base/lock", GV_CASE(a_mutex_lets_one_in_at_a_time),
         GV_CASE(readers_never_see_half_of_a_write), GV_CASE(two_readers_hold_the_lock_together))
