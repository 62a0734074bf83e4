/*
 * state.c - what survives a restart, when there is a --state-dir: the incarnation and the members
 * last known.
 *
 * One small text file, "<state-dir>/mesh.state", replaced whole by a rename, so that a crash leaves
 * the old or the new one. Failing to write (a full disk, no rights) is a warning and never an end:
 * the wall clock makes the next incarnation all the same, and the seeds are still there.
 *
 *     grapevine-mesh 1
 *     incarnation 1763800000000
 *     member 10.0.0.2:39527 node-b
 */
#include "grapevine/base/buf.h"
#include "shell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_BYTES_MAX   (256 * 1024)
#define STATE_MEMBERS_MAX 256
#define STATE_PATH_BYTES  1024
#define STATE_KEEP_MS     5000 /* between two writes */
static const char state_head[] = "grapevine-mesh 1";

struct gv_state {
    char path[STATE_PATH_BYTES]; /* "" : nothing is kept */
    uint64_t incarnation;        /* last kept */
    struct gv_addr members[STATE_MEMBERS_MAX];
    size_t member_count;
    uint64_t kept_hash; /* of what the file holds */
    uint64_t kept_at_ms;
};

static void read_line(struct gv_state *state, struct gv_slice line)
{
    const char incarnation[] = "incarnation ";
    const char member[] = "member ";
    if (gv_slice_starts_with(line, incarnation)) {
        size_t skip = sizeof incarnation - 1;
        (void)gv_slice_to_u64(gv_slice_of(line.data + skip, line.len - skip), &state->incarnation);
    } else if (gv_slice_starts_with(line, member) && state->member_count < STATE_MEMBERS_MAX) {
        size_t skip = sizeof member - 1;
        struct gv_slice rest = gv_slice_of(line.data + skip, line.len - skip);
        const uint8_t *blank = memchr(rest.data, ' ', rest.len);
        size_t len = blank == NULL ? rest.len : (size_t)(blank - rest.data);
        if (gv_addr_parse(gv_slice_of(rest.data, len), 0, &state->members[state->member_count]) ==
            GV_OK) {
            state->member_count += 1;
        }
    }
}

/* Lines that make no sense are skipped: the file may come from another version. */
static void read_text(struct gv_state *state, struct gv_slice text)
{
    if (!gv_slice_starts_with(text, state_head)) {
        gv_log(GV_LOG_WARN, "state.nonsense", GV_STR("path", state->path),
               GV_STR("why", text.len == 0 ? "it is empty" : "it is no state of this version"),
               GV_STR("instead", "nothing is remembered; it is written anew"));
        return;
    }
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data);
        read_line(state, gv_slice_of(text.data, len));
        size_t used = end == NULL ? len : len + 1;
        text = gv_slice_of(text.data + used, text.len - used);
    }
}

static enum gv_err read_file(struct gv_state *state)
{
    int fd = open(state->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno != ENOENT) {
            gv_log(GV_LOG_WARN, "state.unreadable", GV_STR("path", state->path),
                   GV_STR("why", strerror(errno)));
        }
        return GV_OK;
    }
    uint8_t *text = gv_mem_new(GV_MEM_GOSSIP, STATE_BYTES_MAX);
    size_t len = 0;
    while (text != NULL && len < STATE_BYTES_MAX) {
        ssize_t got = read(fd, text + len, STATE_BYTES_MAX - len);
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
    }
    (void)close(fd);
    if (text == NULL) {
        return GV_ENOMEM;
    }
    read_text(state, gv_slice_of(text, len));
    gv_mem_free(GV_MEM_GOSSIP, text);
    return GV_OK;
}

enum gv_err gv_state_open(struct gv_cluster *cluster)
{
    struct gv_state *state = gv_mem_new(GV_MEM_GOSSIP, sizeof *state);
    if (state == NULL) {
        return GV_ENOMEM;
    }
    cluster->state = state;
    const char *dir = cluster->options.config->state_dir;
    if (dir == NULL || dir[0] == '\0') {
        return GV_OK;
    }
    int len = snprintf(state->path, sizeof state->path, "%s/mesh.state", dir);
    if (len < 0 || (size_t)len + sizeof ".new" > sizeof state->path) {
        gv_log(GV_LOG_ERROR, "state.unusable", GV_STR("dir", dir), GV_ERR(GV_ETOOBIG));
        return GV_EINVAL;
    }
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        gv_log(GV_LOG_WARN, "state.unmade", GV_STR("dir", dir), GV_STR("why", strerror(errno)));
    }
    return read_file(state);
}

static bool write_all(int fd, struct gv_slice text)
{
    while (text.len > 0) {
        ssize_t written = write(fd, text.data, text.len);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        text = gv_slice_of(text.data + written, text.len - (size_t)written);
    }
    return true;
}

static bool replace_file(const char *path, struct gv_slice text)
{
    char fresh[STATE_PATH_BYTES + 8];
    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    bool good = write_all(fd, text) && fsync(fd) == 0;
    int why = errno;
    good = close(fd) == 0 && good;
    if (!good || rename(fresh, path) != 0) {
        why = good ? errno : why;
        (void)unlink(fresh);
        errno = why;
        return false;
    }
    return true;
}

static enum gv_err write_text(const struct gv_cluster *cluster, struct gv_buf *text)
{
    const struct gv_cluster_view *now = &cluster->view.now;
    enum gv_err err = gv_buf_append_format(text, "%s\nincarnation %llu\n", state_head,
                                           (unsigned long long)cluster->state->incarnation);
    char addr[GV_ADDR_TEXT_BYTES];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < now->member_count && kept < STATE_MEMBERS_MAX; i++) {
        const struct gv_member *member = &now->members[i];
        if (member->status == GV_MEMBER_LEFT || strcmp(member->name, cluster->node) == 0 ||
            gv_addr_is_unspecified(&member->gossip_addr)) {
            continue;
        }
        kept += 1;
        if (err == GV_OK) {
            err = gv_buf_append_format(text, "member %s %s\n",
                                       gv_addr_format(&member->gossip_addr, addr), member->name);
        }
    }
    /* Nobody found yet: what is remembered stays. */
    for (size_t i = 0; kept == 0 && err == GV_OK && i < cluster->state->member_count; i++) {
        err = gv_buf_append_format(text, "member %s -\n",
                                   gv_addr_format(&cluster->state->members[i], addr));
    }
    return err;
}

static void keep(struct gv_cluster *cluster, uint64_t now_ms)
{
    static const uint64_t any[2] = {1, 2};
    struct gv_state *state = cluster->state;
    struct gv_buf text;
    gv_buf_init(&text, GV_MEM_GOSSIP, STATE_BYTES_MAX);
    if (write_text(cluster, &text) == GV_OK) {
        uint64_t hash = gv_siphash(any, gv_buf_slice(&text));
        if (hash != state->kept_hash) {
            state->kept_at_ms = now_ms;
            if (replace_file(state->path, gv_buf_slice(&text))) {
                state->kept_hash = hash;
            } else {
                cluster->counters.state_failed += 1;
                if (gv_shell_may_log(cluster, "state.unwritten", "")) {
                    gv_log(GV_LOG_WARN, "state.unwritten", GV_STR("path", state->path),
                           GV_STR("why", strerror(errno)));
                }
            }
        }
    }
    gv_buf_deinit(&text);
}

uint64_t gv_state_incarnation(struct gv_cluster *cluster, uint64_t wall_ms)
{
    struct gv_state *state = cluster->state;
    /* Kept while the clock ran far ahead: nobody would let us in with it. */
    if (state->incarnation >= wall_ms + GV_INCARNATION_AHEAD_MAX_MS) {
        gv_log(GV_LOG_WARN, "state.ahead", GV_UINT("incarnation", state->incarnation),
               GV_UINT("wall_ms", wall_ms), GV_STR("instead", "the clock of now"));
        state->incarnation = 0;
    }
    if (state->incarnation + 1 > wall_ms && state->incarnation < UINT64_MAX) {
        state->incarnation += 1;
    } else {
        state->incarnation = wall_ms;
    }
    return state->incarnation;
}

size_t gv_state_members(const struct gv_cluster *cluster, struct gv_addr *addrs, size_t room)
{
    const struct gv_state *state = cluster->state;
    size_t count = state->member_count < room ? state->member_count : room;
    if (count > 0) {
        memcpy(addrs, state->members, count * sizeof addrs[0]);
    }
    return count;
}

void gv_state_keep(struct gv_cluster *cluster)
{
    struct gv_state *state = cluster->state;
    uint64_t now_ms = gv_shell_now().now_ms;
    if (state->path[0] == '\0' ||
        (state->kept_at_ms != 0 && now_ms - state->kept_at_ms < STATE_KEEP_MS)) {
        return;
    }
    /* A restart must come back above what it refuted meanwhile. */
    if (cluster->view.now.incarnation > state->incarnation) {
        state->incarnation = cluster->view.now.incarnation;
    }
    keep(cluster, now_ms);
}

void gv_state_close(struct gv_cluster *cluster)
{
    gv_mem_free(GV_MEM_GOSSIP, cluster->state);
    cluster->state = NULL;
}
