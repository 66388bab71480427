/* Logs what a program does to the files below one folder, in order, so that a power cut at any instant can be acted out.
 *
 * Loaded with LD_PRELOAD. POWER_CUT_FOLDER names the folder, POWER_CUT_LOG the log outside of it. power_cut.py reads
 * the log and says what of it a disk may hold. Each record is one write to the log, which is opened with O_APPEND:
 *
 *   char kind; uint64 inode; int64 offset; uint64 length of the path; uint64 length of the data; path; data
 *
 * kinds: o a file was made (path), w bytes were written, t the file was cut or grown to the offset, s the file or
 * folder was synced, r renamed (path to data), u unlinked, d a folder was made, m a mark of the program (data).
 * Paths are absolute. A call that would write in a way that is not logged ends the program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER; /* a call and its record are one */
static const char *folder;
static size_t folder_length;
static int log_file = -1;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("POWER_CUT_LOG");
    folder = getenv("POWER_CUT_FOLDER");
    if (!folder || !path) {
        folder = NULL;
        return;
    }
    folder_length = strlen(folder);
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    log_file = (int)syscall(SYS_fcntl, file, F_DUPFD_CLOEXEC, 500); /* out of the way of what the program counts on */
    syscall(SYS_close, file);
    if (log_file < 0) abort();
}

static void record(char kind, uint64_t inode, int64_t offset, const char *path, const void *data, uint64_t length) {
    uint64_t path_length = path ? strlen(path) : 0;
    char head[33];
    head[0] = kind;
    memcpy(head + 1, &inode, 8);
    memcpy(head + 9, &offset, 8);
    memcpy(head + 17, &path_length, 8);
    memcpy(head + 25, &length, 8);
    struct iovec parts[3] = {{head, 33}, {(void *)path, path_length}, {(void *)data, length}};
    ssize_t written = syscall(SYS_writev, log_file, parts, 3);
    if (written != (ssize_t)(33 + path_length + length)) abort();
}

/* For a program to say what it has acknowledged; see power_cut.py. */
void power_cut_mark(const char *text, uint64_t length) {
    pthread_mutex_lock(&turn);
    if (folder) record('m', 0, 0, NULL, text, length);
    pthread_mutex_unlock(&turn);
}

static int below(const char *path) {
    return folder && strncmp(path, folder, folder_length) == 0 && (path[folder_length] == '/' || !path[folder_length]);
}

/* The absolute path of `path` as seen from `directory`; says whether it lies in the folder. */
static int place(int directory, const char *path, char *out) {
    char base[PATH_MAX];
    if (!folder) return 0;
    if (path[0] == '/') {
        if (strlen(path) >= PATH_MAX) return 0;
        strcpy(out, path);
    } else {
        char link[64];
        if (directory == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return 0;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
            ssize_t length = readlink(link, base, sizeof base - 1);
            if (length < 0) return 0;
            base[length] = 0;
        }
        if (snprintf(out, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return 0;
    }
    return below(out);
}

/* The same for an open file. */
static int file_place(int file, char *out) {
    char link[64];
    if (!folder) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, out, PATH_MAX - 1);
    if (length < 0) return 0;
    out[length] = 0;
    return below(out);
}

static uint64_t inode_of(int file) {
    struct stat status;
    return fstat(file, &status) ? 0 : status.st_ino;
}

static int finish(int saved, int result) {
    errno = saved;
    pthread_mutex_unlock(&turn);
    return result;
}

static int open_logged(int directory, const char *path, int flags, mode_t mode) {
    char absolute[PATH_MAX];
    int saved = errno;
    int inside = place(directory, path, absolute);
    errno = saved;
    if (!inside || !(flags & (O_CREAT | O_TRUNC))) return (int)syscall(SYS_openat, directory, path, flags, mode);
    pthread_mutex_lock(&turn);
    int existed = syscall(SYS_faccessat, directory, path, F_OK) == 0;
    int file = (int)syscall(SYS_openat, directory, path, flags, mode);
    saved = file < 0 ? errno : saved;
    if (file >= 0 && !existed) record('o', inode_of(file), 0, absolute, NULL, 0);
    if (file >= 0 && existed && (flags & O_TRUNC)) record('t', inode_of(file), 0, absolute, NULL, 0);
    return finish(saved, file);
}

#define MODE(flags, last) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, last); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...) { MODE(flags, flags) return open_logged(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, flags) return open_logged(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags, flags) return open_logged(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags, flags) return open_logged(at, path, flags, mode); }
int creat(const char *path, mode_t mode) { return open_logged(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }

static ssize_t write_logged(int file, const void *data, size_t size, off_t offset, int placed) {
    char path[PATH_MAX];
    int saved = errno;
    int inside = file_place(file, path);
    errno = saved;
    if (!inside) return placed ? syscall(SYS_pwrite64, file, data, size, offset) : syscall(SYS_write, file, data, size);
    pthread_mutex_lock(&turn);
    ssize_t done = placed ? syscall(SYS_pwrite64, file, data, size, offset) : syscall(SYS_write, file, data, size);
    saved = done < 0 ? errno : saved;
    if (done > 0) {
        if (!placed) offset = syscall(SYS_lseek, file, 0, SEEK_CUR) - done; /* right for O_APPEND too */
        record('w', inode_of(file), offset, path, data, (uint64_t)done);
    }
    errno = saved;
    pthread_mutex_unlock(&turn);
    return done;
}

ssize_t write(int file, const void *data, size_t size) { return write_logged(file, data, size, 0, 0); }
ssize_t pwrite(int file, const void *data, size_t size, off_t at) { return write_logged(file, data, size, at, 1); }
ssize_t pwrite64(int file, const void *data, size_t size, off_t at) { return write_logged(file, data, size, at, 1); }

static int cut_logged(int file, off_t size) {
    char path[PATH_MAX];
    int saved = errno;
    int inside = file_place(file, path);
    errno = saved;
    if (!inside) return (int)syscall(SYS_ftruncate, file, size);
    pthread_mutex_lock(&turn);
    int failed = (int)syscall(SYS_ftruncate, file, size);
    saved = failed ? errno : saved;
    if (!failed) record('t', inode_of(file), size, path, NULL, 0);
    return finish(saved, failed);
}

int ftruncate(int file, off_t size) { return cut_logged(file, size); }
int ftruncate64(int file, off_t size) { return cut_logged(file, size); }

static int sync_logged(int file, long number) {
    char path[PATH_MAX];
    int saved = errno;
    int inside = file_place(file, path);
    errno = saved;
    if (!inside) return (int)syscall(number, file);
    pthread_mutex_lock(&turn);
    int failed = (int)syscall(number, file);
    saved = failed ? errno : saved;
    if (!failed) record('s', inode_of(file), 0, path, NULL, 0);
    return finish(saved, failed);
}

int fsync(int file) { return sync_logged(file, SYS_fsync); }
int fdatasync(int file) { return sync_logged(file, SYS_fdatasync); }

static int rename_logged(int from, const char *old, int to, const char *new) {
    char source[PATH_MAX], target[PATH_MAX];
    int saved = errno;
    int inside = place(from, old, source) | place(to, new, target) << 1;
    errno = saved;
    if (inside == 1 || inside == 2) abort(); /* in or out of the folder: not logged */
    pthread_mutex_lock(&turn);
    int failed = (int)syscall(SYS_renameat2, from, old, to, new, 0);
    saved = failed ? errno : saved;
    if (!failed && inside) record('r', 0, 0, source, target, strlen(target));
    return finish(saved, failed);
}

int rename(const char *old, const char *new) { return rename_logged(AT_FDCWD, old, AT_FDCWD, new); }
int renameat(int from, const char *old, int to, const char *new) { return rename_logged(from, old, to, new); }

static int unlink_logged(int directory, const char *path, int flags) {
    char absolute[PATH_MAX];
    int saved = errno;
    int inside = place(directory, path, absolute);
    errno = saved;
    if (!inside) return (int)syscall(SYS_unlinkat, directory, path, flags);
    pthread_mutex_lock(&turn);
    int failed = (int)syscall(SYS_unlinkat, directory, path, flags);
    saved = failed ? errno : saved;
    if (!failed) record('u', 0, 0, absolute, NULL, 0);
    return finish(saved, failed);
}

int unlink(const char *path) { return unlink_logged(AT_FDCWD, path, 0); }
int unlinkat(int directory, const char *path, int flags) { return unlink_logged(directory, path, flags); }
int rmdir(const char *path) { return unlink_logged(AT_FDCWD, path, AT_REMOVEDIR); }

static int mkdir_logged(int directory, const char *path, mode_t mode) {
    char absolute[PATH_MAX];
    int saved = errno;
    int inside = place(directory, path, absolute);
    errno = saved;
    if (!inside) return (int)syscall(SYS_mkdirat, directory, path, mode);
    pthread_mutex_lock(&turn);
    int failed = (int)syscall(SYS_mkdirat, directory, path, mode);
    saved = failed ? errno : saved;
    if (!failed) record('d', 0, 0, absolute, NULL, 0);
    return finish(saved, failed);
}

int mkdir(const char *path, mode_t mode) { return mkdir_logged(AT_FDCWD, path, mode); }
int mkdirat(int directory, const char *path, mode_t mode) { return mkdir_logged(directory, path, mode); }

/* What is not logged must not happen in silence. */
#define REFUSE_FILE(file) \
    do { \
        char path[PATH_MAX]; \
        int saved = errno; \
        if (file_place(file, path)) abort(); \
        errno = saved; \
    } while (0)

ssize_t writev(int file, const struct iovec *parts, int count) {
    REFUSE_FILE(file);
    return syscall(SYS_writev, file, parts, count);
}
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
    REFUSE_FILE(file);
    return syscall(SYS_pwritev, file, parts, count, offset, offset >> 32);
}
ssize_t sendfile(int out, int in, off_t *offset, size_t count) {
    REFUSE_FILE(out);
    return syscall(SYS_sendfile, out, in, offset, count);
}
ssize_t sendfile64(int out, int in, off_t *offset, size_t count) {
    REFUSE_FILE(out);
    return syscall(SYS_sendfile, out, in, offset, count);
}
ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t size, unsigned flags) {
    REFUSE_FILE(out);
    return syscall(SYS_copy_file_range, in, from, out, to, size, flags);
}
int truncate(const char *path, off_t size) {
    char absolute[PATH_MAX];
    if (place(AT_FDCWD, path, absolute)) abort();
    return (int)syscall(SYS_truncate, path, size);
}
int link(const char *old, const char *new) {
    char absolute[PATH_MAX];
    if (place(AT_FDCWD, new, absolute)) abort();
    return (int)syscall(SYS_linkat, AT_FDCWD, old, AT_FDCWD, new, 0);
}
