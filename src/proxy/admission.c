/*
 * admission.c - see admission.h. Counters, a bucket and a queue behind one lock.
 *
 * The lock is held for a few instructions and, when somebody's turn has come, for one message to
 * another loop. With neither limit configured there is no admission at all, and no lock.
 */
#include "grapevine/proxy/admission.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/lock.h"
#include "grapevine/base/mem.h"
#include "grapevine/base/metric.h"

enum result {
    RESULT_ADMITTED = 0, /* at once */
    RESULT_WAITED,       /* after a wait */
    RESULT_REFUSED,      /* the queue was full */
    RESULT_LATE,         /* waited too long */
    RESULT_GONE,         /* left the queue by itself */
    RESULT_COUNT
};

static const struct gv_metric_family requests_family = {
    .name = "gv_admission_requests_total",
    .help = "Requests that asked for a place, by what became of it.",
    .type = GV_METRIC_COUNTER,
    .labels = {"result"},
};
static const struct gv_metric_family running_family = {
    .name = "gv_admission_running",
    .help = "Requests that hold a place.",
    .type = GV_METRIC_GAUGE,
};
static const struct gv_metric_family waiting_family = {
    .name = "gv_admission_waiting",
    .help = "Requests that wait for a place.",
    .type = GV_METRIC_GAUGE,
};

struct gv_admission {
    struct gv_mutex lock; /* guards everything below but the limits */
    struct gv_admission_limits limits;
    struct gv_list waiting; /* the longest first */
    uint32_t running_count;
    uint32_t waiting_count;
    double tokens; /* in the bucket; below one: the next must wait */
    uint64_t filled_at_us;
    struct gv_metric *results[RESULT_COUNT];
    struct gv_metric *running_gauge;
    struct gv_metric *waiting_gauge;
};

/* One second's worth, and at least the one that is asked for. */
static double bucket_size(const struct gv_admission *admission)
{
    return admission->limits.per_second < 1 ? 1 : admission->limits.per_second;
}

static void check(const struct gv_admission *admission)
{
    const struct gv_admission_limits *limits = &admission->limits;
    GV_ASSERT(limits->running_max == 0 || admission->running_count <= limits->running_max);
    GV_ASSERT(admission->waiting_count <= limits->waiting_max);
    GV_ASSERT((admission->waiting_count == 0) == gv_list_is_empty(&admission->waiting));
    GV_ASSERT(admission->tokens >= 0 && admission->tokens <= bucket_size(admission));
}

static enum gv_err find_metrics(struct gv_admission *admission)
{
    static const char *const names[RESULT_COUNT] = {"admitted", "waited", "refused", "late",
                                                    "gone"};
    enum gv_err err = gv_metric_register(&requests_family);
    if (err == GV_OK) {
        err = gv_metric_register(&running_family);
    }
    if (err == GV_OK) {
        err = gv_metric_register(&waiting_family);
    }
    if (err != GV_OK) {
        return err;
    }
    for (int i = 0; i < RESULT_COUNT; i++) {
        admission->results[i] = gv_metric_get(&requests_family, &names[i]);
    }
    admission->running_gauge = gv_metric_get(&running_family, NULL);
    admission->waiting_gauge = gv_metric_get(&waiting_family, NULL);
    return GV_OK;
}

enum gv_err gv_admission_new(struct gv_admission_limits limits, uint64_t now_us,
                             struct gv_admission **admission)
{
    struct gv_admission *made = gv_mem_new(GV_MEM_GENERAL, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    enum gv_err err = find_metrics(made);
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_GENERAL, made);
        return err;
    }
    made->limits = limits;
    made->tokens = bucket_size(made);
    made->filled_at_us = now_us;
    gv_list_init(&made->waiting);
    gv_mutex_init(&made->lock);
    check(made);
    *admission = made;
    return GV_OK;
}

void gv_admission_free(struct gv_admission *admission)
{
    if (admission == NULL) {
        return;
    }
    GV_ASSERT(admission->running_count == 0 && admission->waiting_count == 0);
    gv_mutex_deinit(&admission->lock);
    gv_mem_free(GV_MEM_GENERAL, admission);
}

/* ---- under the lock ---- */

/* Clocks of several loops may be a little apart: time never runs back here. */
static void fill(struct gv_admission *admission, uint64_t now_us)
{
    if (now_us <= admission->filled_at_us) {
        return;
    }
    double passed_s = (double)(now_us - admission->filled_at_us) / 1e6;
    double tokens = admission->tokens + passed_s * admission->limits.per_second;
    double size = bucket_size(admission);
    admission->tokens = tokens < size ? tokens : size;
    admission->filled_at_us = now_us;
}

static bool has_place(const struct gv_admission *admission)
{
    const struct gv_admission_limits *limits = &admission->limits;
    return (limits->running_max == 0 || admission->running_count < limits->running_max) &&
           (limits->per_second <= 0 || admission->tokens >= 1);
}

static void take_place(struct gv_admission *admission, enum result result)
{
    admission->running_count += 1;
    if (admission->limits.per_second > 0) {
        admission->tokens -= 1;
    }
    gv_metric_add(admission->results[result], 1);
}

static void remove_waiter(struct gv_admission *admission, struct gv_waiter *waiter)
{
    gv_list_remove(&waiter->link);
    admission->waiting_count -= 1;
}

static void admit_waiting(struct gv_admission *admission)
{
    struct gv_list *first;
    while ((first = gv_list_first(&admission->waiting)) != NULL && has_place(admission)) {
        struct gv_waiter *waiter = GV_CONTAINER(first, struct gv_waiter, link);
        remove_waiter(admission, waiter);
        take_place(admission, RESULT_WAITED);
        waiter->on_admitted(waiter); /* it may be gone when this returns */
    }
}

static void unlock(struct gv_admission *admission)
{
    check(admission);
    gv_metric_set(admission->running_gauge, admission->running_count);
    gv_metric_set(admission->waiting_gauge, admission->waiting_count);
    gv_mutex_unlock(&admission->lock);
}

/* ---- from anywhere ---- */

enum gv_admission_verdict gv_admission_enter(struct gv_admission *admission,
                                             struct gv_waiter *waiter, uint64_t now_us)
{
    enum gv_admission_verdict verdict = GV_ADMISSION_WAITING;
    gv_mutex_lock(&admission->lock);
    fill(admission, now_us);
    admit_waiting(admission); /* who came before goes first */
    if (admission->waiting_count == 0 && has_place(admission)) {
        take_place(admission, RESULT_ADMITTED);
        verdict = GV_ADMISSION_ADMITTED;
    } else if (admission->waiting_count >= admission->limits.waiting_max) {
        gv_metric_add(admission->results[RESULT_REFUSED], 1);
        verdict = GV_ADMISSION_FULL;
    } else {
        gv_list_init(&waiter->link);
        gv_list_add(&admission->waiting, &waiter->link);
        admission->waiting_count += 1;
    }
    unlock(admission);
    return verdict;
}

void gv_admission_leave(struct gv_admission *admission, uint64_t now_us)
{
    gv_mutex_lock(&admission->lock);
    GV_ASSERT(admission->running_count > 0);
    admission->running_count -= 1;
    fill(admission, now_us);
    admit_waiting(admission);
    unlock(admission);
}

bool gv_admission_withdraw(struct gv_admission *admission, struct gv_waiter *waiter, bool is_late)
{
    gv_mutex_lock(&admission->lock);
    bool was_waiting = !gv_list_is_empty(&waiter->link);
    if (was_waiting) {
        remove_waiter(admission, waiter);
        gv_metric_add(admission->results[is_late ? RESULT_LATE : RESULT_GONE], 1);
    }
    unlock(admission);
    return was_waiting;
}

void gv_admission_tick(struct gv_admission *admission, uint64_t now_us)
{
    gv_mutex_lock(&admission->lock);
    fill(admission, now_us);
    admit_waiting(admission);
    unlock(admission);
}

void gv_admission_stats(struct gv_admission *admission, struct gv_admission_stats *stats)
{
    gv_mutex_lock(&admission->lock);
    stats->running = admission->running_count;
    stats->waiting = admission->waiting_count;
    gv_mutex_unlock(&admission->lock);
}
