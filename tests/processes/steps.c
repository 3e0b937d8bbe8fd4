/* Counts the steps of a process that outlive it, and signals it before or after the one that was asked for, or lets
 * steps fail: the one with that number, or from it on all that happen to files, as on a disk that is broken or full.
 *
 * A step is a system call that changes a file below one folder (write, fsync, truncate, create, rename, unlink,
 * mkdir …) or that connects, sends or receives over TCP. Loaded with LD_PRELOAD; idle until steps_arm is called, or
 * until STEPS_FOLDER is in the environment when the program starts (with STEPS_FAIL_CALL and STEPS_FAIL_NUMBER that call
 * of that name fails once). Every step is a line of the trace file:
 * number, call, path below the folder (or "tcp"). test_steps.py compares the trace with strace's. It also turns clocks.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t folder_length;
static atomic_long counted;
static long wanted = -1;
static int wanted_after;
static int wanted_signal;
static int wanted_error; /* errno of a step that is to fail instead of a signal; 0: none */
static __thread int of_file;
static int wanted_on;    /* fail every step of a file from the wanted one on */
static char only[32]; /* if not empty, only calls of this name are counted for the strike */
static atomic_long matched;
static int trace = -1;
static atomic_int armed;
static long wall_offset, monotonic_offset; /* seconds that the clocks are wrong by, from the step `clocks_from` on */
static long clocks_from;

void steps_arm(const char *below, const char *trace_file, long number, int after, int signal_number,
               const char *only_call) {
    snprintf(folder, sizeof folder, "%s", below);
    folder_length = strlen(folder);
    int opened = (int)syscall(SYS_openat, AT_FDCWD, trace_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    trace = fcntl(opened, F_DUPFD_CLOEXEC, 500);
    syscall(SYS_close, opened);
    wanted = number;
    wanted_after = after;
    wanted_signal = signal_number;
    snprintf(only, sizeof only, "%s", only_call);
    atomic_store(&armed, 1);
}

void steps_fail(int error, int from_there_on) {
    wanted_error = error;
    wanted_on = from_there_on;
}

/* The wall clock is set, or the machine has been up for longer, from that step on; 0: from now on. */
void steps_clocks(long wall_seconds, long monotonic_seconds, long from_step) {
    wall_offset = wall_seconds;
    monotonic_offset = monotonic_seconds;
    clocks_from = from_step;
}

__attribute__((constructor)) static void arm_from_environment(void) {
    const char *below = getenv("STEPS_FOLDER"), *file = getenv("STEPS_TRACE");
    const char *call = getenv("STEPS_FAIL_CALL"), *number = getenv("STEPS_FAIL_NUMBER");
    if (below && file) steps_arm(below, file, number ? atol(number) : -1, 0, 0, call ? call : "");
    if (call && number) steps_fail(EIO, 0);
}

static void strike(void) {
    if (wanted_error) return;
    kill(getpid(), wanted_signal);
    while (wanted_signal == SIGKILL) pause();
}

/* The place of a new step among those that count, -1 if it does not; strikes if it is the wanted one. */
static long before(const char *call, const char *where) {
    long number = atomic_fetch_add(&counted, 1);
    char line[PATH_MAX + 100];
    int length = snprintf(line, sizeof line, "%ld\t%s\t%s\n", number, call, where);
    syscall(SYS_write, trace, line, (size_t)length);
    if (only[0]) {
        if (strcmp(call, only) != 0) return -1;
        number = atomic_fetch_add(&matched, 1);
    }
    if (number == wanted && !wanted_after) strike();
    return number;
}

static void after(long number) {
    if (number >= 0 && number == wanted && wanted_after) {
        int kept = errno;
        strike();
        errno = kept;
    }
}

static const char *below_folder(const char *path) {
    if (strncmp(path, folder, folder_length) != 0) return NULL;
    if (path[folder_length] == 0) return ".";
    return path[folder_length] == '/' ? path + folder_length + 1 : NULL;
}

/* The path of an open file below the folder, "tcp" for a TCP connection, NULL for anything else. */
static const char *of_descriptor(int fd, char *room) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, room, PATH_MAX - 1);
    if (length <= 0) return NULL;
    room[length] = 0;
    if (room[0] == '/') return below_folder(room);
    if (strncmp(room, "socket:", 7) == 0) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0 &&
            (peer.ss_family == AF_INET || peer.ss_family == AF_INET6))
            return "tcp";
    }
    return NULL;
}

static const char *of_path(int at, const char *path, char *room) {
    if (path[0] == '/') return below_folder(path);
    char link[64];
    ssize_t length;
    if (at == AT_FDCWD) {
        if (!getcwd(room, PATH_MAX / 2)) return NULL;
        length = (ssize_t)strlen(room);
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        length = readlink(link, room, PATH_MAX / 2);
        if (length <= 0) return NULL;
    }
    snprintf(room + length, (size_t)(PATH_MAX - length), "/%s", path);
    return below_folder(room);
}

/* Is this step of a file one that is to fail? */
static int fails(long number) {
    if (!wanted_error || !of_file || number < 0 || wanted < 0) return 0;
    if (wanted_on ? number < wanted : number != wanted) return 0;
    errno = wanted_error;
    return 1;
}

/* Taking something away works on a full disk. */
static int needs_room(const char *call) {
    return wanted_error != ENOSPC || (call[0] != 'u' && strncmp(call, "rem", 3) != 0 && strcmp(call, "rmdir") != 0);
}

static int on(void) { return atomic_load_explicit(&armed, memory_order_relaxed); }

static long begin_fd(const char *call, int fd) {
    if (!on()) return -1;
    char room[PATH_MAX];
    int kept = errno;
    const char *where = of_descriptor(fd, room);
    long number = where ? before(call, where) : -1;
    of_file = where && strcmp(where, "tcp") != 0;
    errno = kept;
    return number;
}

static long begin_path(const char *call, int at, const char *path) {
    if (!on() || !path) return -1;
    char room[PATH_MAX];
    int kept = errno;
    const char *where = of_path(at, path, room);
    long number = where ? before(call, where) : -1;
    of_file = where != NULL;
    errno = kept;
    return number;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define FD_STEP(type, name, parameters, arguments) \
    type name parameters {                         \
        REAL(name);                                \
        long number = begin_fd(#name, fd);         \
        if (fails(number)) return -1;              \
        type found = real arguments;               \
        after(number);                             \
        return found;                              \
    }

FD_STEP(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
FD_STEP(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
FD_STEP(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
FD_STEP(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
FD_STEP(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at))
FD_STEP(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off64_t at), (fd, parts, count, at))
FD_STEP(int, fsync, (int fd), (fd))
FD_STEP(int, fdatasync, (int fd), (fd))
FD_STEP(int, ftruncate, (int fd, off_t size), (fd, size))
FD_STEP(int, ftruncate64, (int fd, off64_t size), (fd, size))
FD_STEP(int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
FD_STEP(int, posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size))
FD_STEP(int, posix_fallocate64, (int fd, off64_t at, off64_t size), (fd, at, size))
FD_STEP(ssize_t, send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))
FD_STEP(ssize_t, sendto,
        (int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length),
        (fd, data, size, flags, to, length))
FD_STEP(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))

/* Bytes that have arrived are a step; a call that found none is not. */
#define RECEIVE_STEP(name, parameters, arguments)                  \
    ssize_t name parameters {                                      \
        REAL(name);                                                \
        ssize_t found = real arguments;                            \
        if (found > 0) after(begin_fd(#name, fd));                 \
        return found;                                              \
    }

RECEIVE_STEP(recv, (int fd, void *data, size_t size, int flags), (fd, data, size, flags))
RECEIVE_STEP(recvfrom,
             (int fd, void *data, size_t size, int flags, struct sockaddr *from, socklen_t *length),
             (fd, data, size, flags, from, length))
RECEIVE_STEP(recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))

/* Not yet a step that outlives the process, but the last one before a request leaves it. */
int connect(int fd, const struct sockaddr *to, socklen_t length) {
    REAL(connect);
    int over_tcp = on() && to && (to->sa_family == AF_INET || to->sa_family == AF_INET6);
    long number = over_tcp ? before("connect", "tcp") : -1;
    int found = real(fd, to, length);
    after(number);
    return found;
}

#define PATH_STEP(name, parameters, at, path, arguments)  \
    int name parameters {                                 \
        REAL(name);                                       \
        long number = begin_path(#name, at, path);        \
        if (needs_room(#name) && fails(number)) return -1; \
        int found = real arguments;                       \
        after(number);                                    \
        return found;                                     \
    }

PATH_STEP(rename, (const char *old, const char *new), AT_FDCWD, new, (old, new))
PATH_STEP(renameat, (int from, const char *old, int to, const char *new), to, new, (from, old, to, new))
PATH_STEP(renameat2, (int from, const char *old, int to, const char *new, unsigned flags), to, new,
          (from, old, to, new, flags))
PATH_STEP(link, (const char *old, const char *new), AT_FDCWD, new, (old, new))
PATH_STEP(unlink, (const char *path), AT_FDCWD, path, (path))
PATH_STEP(unlinkat, (int at, const char *path, int flags), at, path, (at, path, flags))
PATH_STEP(rmdir, (const char *path), AT_FDCWD, path, (path))
PATH_STEP(remove, (const char *path), AT_FDCWD, path, (path))
PATH_STEP(mkdir, (const char *path, mode_t mode), AT_FDCWD, path, (path, mode))
PATH_STEP(mkdirat, (int at, const char *path, mode_t mode), at, path, (at, path, mode))
PATH_STEP(truncate, (const char *path, off_t size), AT_FDCWD, path, (path, size))

/* Opening is a step if it makes a file or empties one. */
static long begin_open(int at, const char *path, int flags) {
    if (!on() || !(flags & (O_CREAT | O_TRUNC))) return -1;
    if (!(flags & O_TRUNC) && syscall(SYS_faccessat, at, path, F_OK) == 0) return -1;
    return begin_path("open", at, path);
}

#define MODE(flags, last)                               \
    mode_t mode = 0;                                    \
    if ((flags) & (O_CREAT | O_TMPFILE)) {              \
        va_list rest;                                   \
        va_start(rest, last);                           \
        mode = (mode_t)va_arg(rest, int);               \
        va_end(rest);                                   \
    }

#define OPEN_STEP(name, parameters, at, last, arguments) \
    int name parameters {                                \
        REAL(name);                                      \
        MODE(flags, last)                                \
        long number = begin_open(at, path, flags);       \
        if (fails(number)) return -1;                    \
        int found = real arguments;                      \
        after(number);                                   \
        return found;                                    \
    }

OPEN_STEP(open, (const char *path, int flags, ...), AT_FDCWD, flags, (path, flags, mode))
OPEN_STEP(open64, (const char *path, int flags, ...), AT_FDCWD, flags, (path, flags, mode))
OPEN_STEP(openat, (int at, const char *path, int flags, ...), at, flags, (at, path, flags, mode))
OPEN_STEP(openat64, (int at, const char *path, int flags, ...), at, flags, (at, path, flags, mode))

static int turned(void) { return (wall_offset || monotonic_offset) && atomic_load(&counted) >= clocks_from; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int found = real(clock, now);
    if (found == 0 && turned()) {
        if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += wall_offset;
        if (clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME) now->tv_sec += monotonic_offset;
    }
    return found;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    REAL(gettimeofday);
    int found = real(now, zone);
    if (found == 0 && turned()) now->tv_sec += wall_offset;
    return found;
}

time_t time(time_t *kept) {
    REAL(time);
    time_t now = real(NULL) + (turned() ? wall_offset : 0);
    if (kept) *kept = now;
    return now;
}
