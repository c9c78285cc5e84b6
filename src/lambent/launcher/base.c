#define _GNU_SOURCE
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Same numbers on every architecture since they were added to the common table. */
#define NR_PIDFD_SEND_SIGNAL 424
#define NR_OPEN_TREE 428
#define NR_MOVE_MOUNT 429
#define NR_FSOPEN 430
#define NR_FSCONFIG 431
#define NR_FSMOUNT 432
#define NR_PIDFD_OPEN 434
#define NR_CLONE3 435
#define NR_CLOSE_RANGE 436
#define NR_OPENAT2 437
#define NR_MOUNT_SETATTR 442

#define FLAG_INTO_CGROUP 0x200000000ull
#define FLAG_PIDFD 0x1000ull

int fail_with(struct failure *failure, const char *step, int error) {
    failure->step = step;
    failure->error = error ? error : EIO;
    return -1;
}

int fail(struct failure *failure, const char *step) { return fail_with(failure, step, errno); }

int sys_open_tree(int dir, const char *path, unsigned flags) {
    return (int)syscall(NR_OPEN_TREE, dir, path, flags | (unsigned)O_CLOEXEC);
}

int sys_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned flags) {
    return (int)syscall(NR_MOVE_MOUNT, from, from_path, to, to_path, flags);
}

int sys_mount_setattr(int dir, const char *path, unsigned flags, uint64_t set, uint64_t clear) {
    struct {
        uint64_t set, clear, propagation, userns;
    } attributes = {set, clear, 0, 0};
    return (int)syscall(NR_MOUNT_SETATTR, dir, path, flags, &attributes, sizeof attributes);
}

int sys_fsopen(const char *name) { return (int)syscall(NR_FSOPEN, name, 1u /* FSOPEN_CLOEXEC */); }

int sys_fsconfig(int fs, unsigned command, const char *key, const char *value) {
    return (int)syscall(NR_FSCONFIG, fs, command, key, value, 0);
}

int sys_fsmount(int fs, unsigned attributes) { return (int)syscall(NR_FSMOUNT, fs, 1u, attributes); }

int sys_openat2(int dir, const char *path, uint64_t flags, uint64_t resolve) {
    struct {
        uint64_t flags, mode, resolve;
    } how = {flags, 0, resolve};
    return (int)syscall(NR_OPENAT2, dir, path, &how, sizeof how);
}

int sys_pidfd_open(pid_t pid) { return (int)syscall(NR_PIDFD_OPEN, pid, 0u); }

int sys_pidfd_kill(int pidfd, int signal) { return (int)syscall(NR_PIDFD_SEND_SIGNAL, pidfd, signal, NULL, 0u); }

int sys_close_range(unsigned first, unsigned last) { return (int)syscall(NR_CLOSE_RANGE, first, last, 0u); }

pid_t sys_clone3(uint64_t flags, int *pidfd, int cgroup) {
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
    } arguments;
    memset(&arguments, 0, sizeof arguments);
    arguments.flags = flags | FLAG_PIDFD;
    arguments.pidfd = (uint64_t)(uintptr_t)pidfd;
    arguments.exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD; /* the caller's own */
    if (cgroup >= 0) {
        arguments.flags |= FLAG_INTO_CGROUP;
        arguments.cgroup = (uint64_t)cgroup;
    }
    return (pid_t)syscall(NR_CLONE3, &arguments, sizeof arguments);
}

int sys_capset(uint64_t permitted) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    memset(data, 0, sizeof data);
    for (int i = 0; i < 2; i++) {
        uint32_t word = (uint32_t)(permitted >> (32 * i));
        data[i].permitted = word;
        data[i].effective = word;
    }
    return (int)syscall(SYS_capset, &header, data);
}

int sys_pivot_root(const char *new_root, const char *put_old) {
    return (int)syscall(SYS_pivot_root, new_root, put_old);
}

int clone_onto(const char *source, const char *target, uint64_t attributes, bool recursive) {
    unsigned deep = recursive ? 0x8000u : 0u; /* AT_RECURSIVE */
    int tree = sys_open_tree(AT_FDCWD, source, TREE_CLONE | deep);
    if (tree < 0) return -1;
    int result = attributes ? sys_mount_setattr(tree, "", AT_EMPTY_PATH | deep, attributes, 0) : 0;
    if (result == 0) result = sys_move_mount(tree, "", AT_FDCWD, target, 4u /* F_EMPTY_PATH */);
    int error = errno;
    close(tree);
    errno = error;
    return result;
}

int write_at(int dir, const char *path, const char *text) {
    int fd = openat(dir, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return -1;
    size_t size = strlen(text);
    ssize_t written = write(fd, text, size);
    int error = written < 0 ? errno : EIO;
    close(fd);
    if (written == (ssize_t)size) return 0;
    errno = error;
    return -1;
}

ssize_t read_at(int dir, const char *path, char *buffer, size_t size) {
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return -1;
    ssize_t got = read(fd, buffer, size - 1);
    int error = errno;
    close(fd);
    buffer[got > 0 ? got : 0] = 0;
    errno = error;
    return got;
}

void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

void keep_only(const int *fds, size_t count) {
    int sorted[16];
    size_t kept = 0;
    for (size_t i = 0; i < count && kept < 16; i++)
        if (fds[i] >= 3) sorted[kept++] = fds[i];
    qsort(sorted, kept, sizeof sorted[0], by_value);
    unsigned from = 3;
    for (size_t i = 0; i < kept; i++) {
        unsigned fd = (unsigned)sorted[i];
        if (fd > from) sys_close_range(from, fd - 1);
        if (fd >= from) from = fd + 1;
    }
    sys_close_range(from, ~0u);
}

/* Read once: a zygote's place has no /proc to read it from. */
int last_capability(void) {
    static int known;
    char text[16];
    if (known > 0) return known;
    if (read_at(AT_FDCWD, "/proc/sys/kernel/cap_last_cap", text, sizeof text) <= 0) return -1;
    long value = strtol(text, NULL, 10);
    return value > 0 && value < 64 ? (known = (int)value) : -1;
}

int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int send_with(int socket, const void *message, size_t size, const int *fds, size_t count, bool waits) {
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)];
    } control;
    union {
        const void *in;
        void *out;
    } body = {message};
    struct iovec part = {body.out, size};
    struct msghdr header;
    memset(&header, 0, sizeof header);
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (count > MESSAGE_FDS_MAX) {
        errno = EMSGSIZE;
        return -1;
    }
    if (count > 0) {
        memset(&control, 0, sizeof control);
        header.msg_control = control.space;
        header.msg_controllen = (__typeof__(header.msg_controllen))CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = (__typeof__(rights->cmsg_len))CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(rights), fds, sizeof(int) * count);
    }
    for (;;) {
        ssize_t sent = sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent == (ssize_t)size) return 0;
        if (sent >= 0) {
            errno = EMSGSIZE;
            return -1;
        }
        if (errno != EINTR && (errno != EAGAIN || !waits)) return -1;
        if (errno == EINTR) continue;
        struct pollfd room = {socket, POLLOUT, 0};
        poll(&room, 1, -1);
    }
}

int send_message(int socket, const void *message, size_t size, const int *fds, size_t count) {
    return send_with(socket, message, size, fds, count, true);
}

int offer_message(int socket, const void *message, size_t size, const int *fds, size_t count) {
    return send_with(socket, message, size, fds, count, false);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-compare" /* musl's CMSG_NXTHDR */
ssize_t receive_message(int socket, void *message, size_t size, int *fds, size_t max_fds, size_t *count) {
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * 253)]; /* SCM_MAX_FD: whatever comes is seen and closed */
    } control;
    struct iovec part = {message, size};
    struct msghdr header;
    memset(&header, 0, sizeof header);
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.space;
    header.msg_controllen = sizeof control;
    *count = 0;
    ssize_t got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    if (got <= 0) return got;
    bool refused = (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    for (struct cmsghdr *item = CMSG_FIRSTHDR(&header); item; item = CMSG_NXTHDR(&header, item)) {
        if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
        size_t carried = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < carried; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(item) + i * sizeof(int), sizeof fd);
            if (*count < max_fds) {
                fds[(*count)++] = fd;
            } else {
                close(fd);
                refused = true;
            }
        }
    }
    if (!refused) return got;
    for (size_t i = 0; i < *count; i++) close(fds[i]);
    *count = 0;
    errno = EMSGSIZE;
    return -1;
}
#pragma GCC diagnostic pop
