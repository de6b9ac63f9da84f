/* Records, in order, what a process does to the files beneath one folder.
 *
 * Loaded by LD_PRELOAD. RELAIS_POWER_FOLDER is the folder (an absolute path), RELAIS_POWER_JOURNAL the
 * journal, which lies elsewhere and is appended to. Each operation is done and recorded under one lock,
 * so that the journal has the order in which they took effect. Only a sync is not done at all: what it
 * would have made durable is for the replay to decide. It is recorded with the place that the journal
 * had when it began, because only what was written before that is covered by it.
 *
 * A record is little-endian and packed: kind (1 byte), descriptor (4), number (8), length (4), data.
 *
 *   B  the folder                    a process begins; descriptors of the one before mean nothing any more
 *   O  descriptor, flags, path        opened: 1 may create it, 2 cut it to nothing
 *   C  descriptor                     closed
 *   W  descriptor, offset, data       written
 *   T  descriptor, length             cut or extended
 *   S  descriptor, place              synced: what the journal has before that place
 *   R  from NUL to                    renamed
 *   U  path                           unlinked
 *   M  path                           folder made
 *   X  name                           something this file knows nothing of: the replay refuses it
 *
 * Not here: reading, modes, mappings. SQLite maps its -shm file only, which no crash outlives.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static uint64_t place;
static const char *folder;
static size_t folder_len;
static char watched[FDS];

/* The function that is stood in for. */
#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

static void append(const void *bytes, size_t count)
{
    const char *from = bytes;
    while (count > 0) {
        ssize_t done = REAL(write)(journal, from, count);
        if (done <= 0)
            abort();
        from += done;
        count -= done;
        place += done;
    }
}

/* Called under the lock. */
static void record(char kind, int fd, uint64_t number, const void *data, size_t len)
{
    int saved = errno;
    char head[17];
    int32_t descriptor = fd;
    uint32_t count = len;
    head[0] = kind;
    memcpy(head + 1, &descriptor, 4);
    memcpy(head + 5, &number, 8);
    memcpy(head + 13, &count, 4);
    append(head, sizeof head);
    append(data, len);
    errno = saved;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("RELAIS_POWER_JOURNAL");
    folder = getenv("RELAIS_POWER_FOLDER");
    if (!path || !folder)
        return;
    folder_len = strlen(folder);
    int fd = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        abort();
    place = lseek(fd, 0, SEEK_END);
    journal = fd;
    record('B', -1, 0, folder, folder_len);
}

/* Whether a path is the folder, or beneath it. */
static int is_ours(const char *path)
{
    return journal >= 0 && path && strncmp(path, folder, folder_len) == 0 &&
           (path[folder_len] == '/' || path[folder_len] == 0);
}

static int is_watched(int fd)
{
    return journal >= 0 && fd >= 0 && fd < FDS && watched[fd];
}

/* The absolute path of one that may start at an open folder. */
static const char *resolve(int dir, const char *path, char *room)
{
    char link[64], base[PATH_MAX];
    if (path[0] == '/' || journal < 0)
        return path;
    if (dir == AT_FDCWD)
        snprintf(link, sizeof link, "/proc/self/cwd");
    else
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t len = readlink(link, base, sizeof base - 1);
    if (len < 0)
        return path;
    base[len] = 0;
    if (snprintf(room, PATH_MAX, "%s/%s", base, path) >= PATH_MAX)
        abort();
    return room;
}

static int opened(int (*call)(int, const char *, int, ...), int dir, const char *path, int flags,
                  mode_t mode)
{
    char room[PATH_MAX];
    const char *whole = resolve(dir, path, room);
    pthread_mutex_lock(&lock);
    int fd = call(dir, path, flags, mode);
    if (fd >= 0 && fd < FDS)
        watched[fd] = is_ours(whole);
    if (fd >= 0 && is_ours(whole)) {
        uint64_t how = (flags & O_CREAT ? 1 : 0) | (flags & O_TRUNC ? 2 : 0);
        if (fd >= FDS || (flags & O_TMPFILE) == O_TMPFILE)
            record('X', fd, 0, "open", 4);
        record('O', fd, how, whole, strlen(whole));
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags, mode)                                                                          \
    mode_t mode = 0;                                                                               \
    if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) {                               \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode = va_arg(list, mode_t);                                                               \
        va_end(list);                                                                              \
    }

int open(const char *path, int flags, ...)
{
    MODE(flags, mode)
    return opened(REAL(openat), AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE(flags, mode)
    return opened(REAL(openat64), AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    MODE(flags, mode)
    return opened(REAL(openat), dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...)
{
    MODE(flags, mode)
    return opened(REAL(openat64), dir, path, flags, mode);
}

int creat(const char *path, mode_t mode)
{
    return opened(REAL(openat), AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int creat64(const char *path, mode_t mode)
{
    return opened(REAL(openat64), AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int close(int fd)
{
    if (!is_watched(fd))
        return REAL(close)(fd);
    pthread_mutex_lock(&lock);
    record('C', fd, 0, "", 0);
    watched[fd] = 0;
    int done = REAL(close)(fd);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    if (!is_watched(fd))
        return REAL(write)(fd, bytes, count);
    pthread_mutex_lock(&lock);
    ssize_t done = REAL(write)(fd, bytes, count);
    if (done > 0)
        record('W', fd, lseek(fd, 0, SEEK_CUR) - done, bytes, done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    if (!is_watched(fd))
        return REAL(writev)(fd, pieces, count);
    /* As few bytes as a caller must expect: the first piece that has any. */
    while (count > 1 && pieces->iov_len == 0)
        pieces++, count--;
    return count > 0 ? write(fd, pieces->iov_base, pieces->iov_len) : 0;
}

static ssize_t written(ssize_t (*call)(int, const void *, size_t, off64_t), int fd,
                       const void *bytes, size_t count, off64_t offset)
{
    if (!is_watched(fd))
        return call(fd, bytes, count, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = call(fd, bytes, count, offset);
    if (done > 0)
        record('W', fd, offset, bytes, done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    return written(REAL(pwrite64), fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset)
{
    return written(REAL(pwrite64), fd, bytes, count, offset);
}

static int cut(int (*call)(int, off64_t), int fd, off64_t len)
{
    if (!is_watched(fd))
        return call(fd, len);
    pthread_mutex_lock(&lock);
    int done = call(fd, len);
    if (done == 0)
        record('T', fd, len, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t len)
{
    return cut(REAL(ftruncate64), fd, len);
}

int ftruncate64(int fd, off64_t len)
{
    return cut(REAL(ftruncate64), fd, len);
}

/* Others may write between the beginning of a sync and its end: that is not covered. */
static int synced(int (*call)(int), int fd)
{
    if (!is_watched(fd))
        return call(fd);
    pthread_mutex_lock(&lock);
    uint64_t begun = place;
    pthread_mutex_unlock(&lock);
    sched_yield();
    pthread_mutex_lock(&lock);
    record('S', fd, begun, "", 0);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd)
{
    return synced(REAL(fsync), fd);
}

int fdatasync(int fd)
{
    return synced(REAL(fdatasync), fd);
}

int rename(const char *from, const char *to)
{
    char room[2][PATH_MAX], both[2 * PATH_MAX];
    const char *source = resolve(AT_FDCWD, from, room[0]);
    const char *target = resolve(AT_FDCWD, to, room[1]);
    pthread_mutex_lock(&lock);
    int done = REAL(rename)(from, to);
    if (done == 0 && (is_ours(source) || is_ours(target))) {
        size_t len = strlen(source) + 1;
        memcpy(both, source, len);
        memcpy(both + len, target, strlen(target));
        record('R', -1, 0, both, len + strlen(target));
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int unlinkat(int dir, const char *path, int flags)
{
    char room[PATH_MAX];
    const char *whole = resolve(dir, path, room);
    pthread_mutex_lock(&lock);
    int done = REAL(unlinkat)(dir, path, flags);
    if (done == 0 && is_ours(whole)) {
        if (flags & AT_REMOVEDIR)
            record('X', -1, 0, "rmdir", 5);
        else
            record('U', -1, 0, whole, strlen(whole));
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdir(const char *path, mode_t mode)
{
    char room[PATH_MAX];
    const char *whole = resolve(AT_FDCWD, path, room);
    pthread_mutex_lock(&lock);
    int done = REAL(mkdir)(path, mode);
    if (done == 0 && is_ours(whole))
        record('M', -1, 0, whole, strlen(whole));
    pthread_mutex_unlock(&lock);
    return done;
}

/* What nobody uses here is refused when somebody begins to. */
static void unknown(int is_about_us, const char *name)
{
    if (!is_about_us)
        return;
    pthread_mutex_lock(&lock);
    record('X', -1, 0, name, strlen(name));
    pthread_mutex_unlock(&lock);
}

#define UNKNOWN(answer, name, is_about_us, parameters, arguments)                                  \
    answer name parameters                                                                         \
    {                                                                                              \
        unknown(is_about_us, #name);                                                               \
        return REAL(name) arguments;                                                               \
    }

UNKNOWN(int, fallocate, is_watched(fd), (int fd, int mode, off_t from, off_t len),
        (fd, mode, from, len))
UNKNOWN(int, fallocate64, is_watched(fd), (int fd, int mode, off64_t from, off64_t len),
        (fd, mode, from, len))
UNKNOWN(int, posix_fallocate, is_watched(fd), (int fd, off_t from, off_t len), (fd, from, len))
UNKNOWN(int, posix_fallocate64, is_watched(fd), (int fd, off64_t from, off64_t len),
        (fd, from, len))
UNKNOWN(ssize_t, pwritev, is_watched(fd),
        (int fd, const struct iovec *pieces, int count, off_t offset), (fd, pieces, count, offset))
UNKNOWN(ssize_t, pwritev64, is_watched(fd),
        (int fd, const struct iovec *pieces, int count, off64_t offset),
        (fd, pieces, count, offset))
UNKNOWN(ssize_t, copy_file_range, is_watched(to),
        (int from, off64_t *at, int to, off64_t *there, size_t len, unsigned flags),
        (from, at, to, there, len, flags))
UNKNOWN(ssize_t, sendfile64, is_watched(to), (int to, int from, off64_t *at, size_t count),
        (to, from, at, count))
UNKNOWN(int, truncate, is_ours(path), (const char *path, off_t len), (path, len))
UNKNOWN(int, truncate64, is_ours(path), (const char *path, off64_t len), (path, len))
UNKNOWN(int, link, is_ours(to), (const char *from, const char *to), (from, to))
UNKNOWN(int, symlink, is_ours(to), (const char *from, const char *to), (from, to))
UNKNOWN(int, renameat, is_ours(to), (int dir, const char *from, int other, const char *to),
        (dir, from, other, to))
UNKNOWN(int, renameat2, is_ours(to),
        (int dir, const char *from, int other, const char *to, unsigned flags),
        (dir, from, other, to, flags))
UNKNOWN(int, dup, is_watched(fd), (int fd), (fd))
