/*
 * secret_file.c - files that hold secrets: strict when read, all or nothing when written.
 */
#include "seal.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Read to the end; the room was reserved, so that no copy of a secret stays behind in the heap. */
static enum gv_err read_whole(int fd, struct gv_buf *out)
{
    uint8_t *where;
    enum gv_err err = gv_buf_reserve(out, out->max_bytes, &where);
    if (err != GV_OK) {
        return err;
    }
    for (;;) {
        uint8_t beyond;
        size_t room = out->max_bytes - out->len;
        ssize_t got = read(fd, room > 0 ? where + out->len : &beyond, room > 0 ? room : 1);
        if (got == 0) {
            return GV_OK;
        }
        if (got < 0 && errno != EINTR) {
            return GV_EIO;
        }
        if (got > 0 && room == 0) {
            return GV_ETOOBIG;
        }
        if (got > 0) {
            gv_buf_commit(out, (size_t)got);
        }
    }
}

enum gv_err gv_secret_file_read(const char *path, struct gv_buf *out)
{
    GV_ASSERT(out->len == 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return errno == ENOENT ? GV_ENOTFOUND : GV_EIO;
    }
    struct stat about;
    enum gv_err err = GV_OK;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        err = GV_EIO;
    } else if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        err = GV_EREFUSED;
    } else {
        err = read_whole(fd, out);
    }
    (void)close(fd);
    return err;
}

static bool write_whole(int fd, struct gv_slice bytes)
{
    while (bytes.len > 0) {
        ssize_t wrote = write(fd, bytes.data, bytes.len);
        if (wrote < 0 && errno != EINTR) {
            return false;
        }
        if (wrote > 0) {
            bytes = gv_slice_of(bytes.data + wrote, bytes.len - (size_t)wrote);
        }
    }
    return fsync(fd) == 0;
}

/* The rename itself must survive a crash too. `scratch` is overwritten. */
static bool sync_folder(char *scratch)
{
    int fd = open(dirname(scratch), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    bool ok = fsync(fd) == 0 || errno == EINVAL; /* some file systems cannot, and need not */
    (void)close(fd);
    return ok;
}

enum gv_err gv_secret_file_write(const char *path, struct gv_slice bytes)
{
    size_t room = strlen(path) + 32;
    char *scratch = gv_mem_new(GV_MEM_GENERAL, room);
    if (scratch == NULL) {
        return GV_ENOMEM;
    }
    gv_seal_ready();
    (void)snprintf(scratch, room, "%s.%08x.new", path, (unsigned)randombytes_random());
    enum gv_err err = GV_EIO;
    int fd = open(scratch, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd >= 0) {
        bool ok = write_whole(fd, bytes);
        ok = close(fd) == 0 && ok;
        if (ok && rename(scratch, path) == 0) {
            err = sync_folder(scratch) ? GV_OK : GV_EIO;
        } else {
            (void)unlink(scratch);
        }
    }
    gv_mem_free(GV_MEM_GENERAL, scratch);
    return err;
}
