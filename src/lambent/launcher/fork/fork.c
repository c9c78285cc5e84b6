/* See fork.h. What must not be done with a library's wrapper is a raw call: setresuid of a C library acts for all threads
 * of a list that lies in memory shared with the forker. */
#define _GNU_SOURCE
#include "fork.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR_CLONE3 435
#define NR_CLOSE_RANGE 436
#define FLAG_INTO_CGROUP 0x200000000ull
#define SET_MODE_FILTER 1u
#define MEMLOCK_BYTES 65536u
#define STACK_BYTES (8u << 20)
#define LOG_FD 1
#define CHANNEL_FD 3
#define PUBLIC __attribute__((visibility("default")))

struct clone_arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

struct sock_program {
    unsigned short length;
    const uint64_t *filter;
};

/* One copy being made. The two in between write their results here, in the forker's memory. */
struct job {
    struct fork_order order;
    int fds[FORK_FDS_MAX];
    unsigned fd_count;
    volatile int pid;
    volatile int error;
    const char *volatile step;
};

static struct fork_setup setup;
static struct job job;
static unsigned long count;

/* A child that shares this memory and runs on this very stack while its parent sleeps. Its calls may overwrite everything
 * below the caller's frame, the place of the return address among it, so that is kept in a register. */
__attribute__((returns_twice, visibility("hidden"))) long lambent_share(long number, unsigned long first, unsigned long second);
#if defined(__x86_64__)
__asm__(".text\n"
        ".hidden lambent_share\n"
        ".globl lambent_share\n"
        ".type lambent_share, @function\n"
        "lambent_share:\n"
        "    popq %r9\n"
        "    movq %rdi, %rax\n"
        "    movq %rsi, %rdi\n"
        "    movq %rdx, %rsi\n"
        "    xorl %edx, %edx\n"
        "    xorl %r10d, %r10d\n"
        "    xorl %r8d, %r8d\n"
        "    syscall\n"
        "    pushq %r9\n"
        "    ret\n"
        ".size lambent_share, . - lambent_share\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".hidden lambent_share\n"
        ".globl lambent_share\n"
        ".type lambent_share, %function\n"
        "lambent_share:\n" /* the return address is in x30, which a system call keeps */
        "    mov x8, x0\n"
        "    mov x0, x1\n"
        "    mov x1, x2\n"
        "    mov x2, #0\n"
        "    mov x3, #0\n"
        "    mov x4, #0\n"
        "    svc #0\n"
        "    ret\n"
        ".size lambent_share, . - lambent_share\n");
#else
#error "no way to share memory with a child on this architecture: add one"
#endif

static _Noreturn void leave(int status) {
    for (;;) syscall(SYS_exit_group, status);
}

static _Noreturn void give_up(const char *step) {
    job.error = errno ? errno : EIO;
    job.step = step;
    leave(1);
}

static int lower(int resource, rlim_t most, rlim_t wanted) {
    struct rlimit limit;
    if (syscall(SYS_prlimit64, 0, resource, NULL, &limit) != 0) return -1;
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > most) limit.rlim_max = most;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    return (int)syscall(SYS_prlimit64, 0, resource, &limit, NULL);
}

static int drop_capabilities(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2];
    memset(none, 0, sizeof none);
    return (int)syscall(SYS_capset, &header, none);
}

/* In the second: what came by message lies above FORKS_FD, so nothing is overwritten before its turn. */
static void take_descriptors(void) {
    bool channel = (job.order.flags & FORK_HAS_CHANNEL) != 0;
    int log = job.fds[FORK_NAMESPACES];
    if (dup2(log, LOG_FD) < 0 || dup2(log, LOG_FD + 1) < 0) give_up("take the log pipe");
    if (channel && dup2(job.fds[FORK_NAMESPACES + 1], CHANNEL_FD) < 0) give_up("take the channel");
    if (syscall(NR_CLOSE_RANGE, channel ? CHANNEL_FD + 1 : CHANNEL_FD, ~0u, 0) != 0) give_up("close the descriptors");
}

/* In the second: the function's user, for good. What is given up here the copy never had. */
static void drop_privileges(void) {
    const struct fork_order *order = &job.order;
    if (lower(RLIMIT_NOFILE, order->descriptors_max, order->descriptors_max) != 0 || lower(RLIMIT_CORE, 0, 0) != 0 ||
        lower(RLIMIT_MEMLOCK, MEMLOCK_BYTES, MEMLOCK_BYTES) != 0 ||
        lower(RLIMIT_NPROC, order->processes_max, order->processes_max) != 0 ||
        lower(RLIMIT_STACK, RLIM_INFINITY, STACK_BYTES) != 0 ||
        (order->data_bytes_max && lower(RLIMIT_DATA, order->data_bytes_max, order->data_bytes_max) != 0))
        give_up("set the limits");
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) give_up("empty the ambient set");
    for (unsigned capability = 0; capability <= order->last_capability; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) give_up("empty the bounding set");
    if (syscall(SYS_setresgid, order->group, order->group, order->group) != 0) give_up("change the group");
    if (syscall(SYS_setresuid, order->user, order->user, order->user) != 0) give_up("change the user");
    if (drop_capabilities() != 0) give_up("drop the capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) give_up("refuse new privileges");
    struct sock_program program = {(unsigned short)setup.filter_length, setup.filter};
    if (setup.filter_length && syscall(SYS_seccomp, SET_MODE_FILTER, 0u, &program) != 0) give_up("load the filter");
}

/* Runs in the second. Returns in the copy alone. */
static __attribute__((noinline)) void become(void) {
    take_descriptors();
    drop_privileges();
    pid_t pid = fork();
    if (pid < 0) give_up("fork");
    if (pid > 0) {
        job.pid = pid;
        leave(0);
    }
    setsid();
    /* The change of user made it unreadable to itself, /proc/self/environ among it. Safe, as nobody else has this user,
     * and ptrace is closed. */
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

/* Runs in the first. Returns in the copy alone. */
static __attribute__((noinline)) void enter(void) {
    const struct fork_order *order = &job.order;
    const int *groups = job.fds + FORK_NAMESPACES + 1 + (order->flags & FORK_HAS_CHANNEL ? 1 : 0);
    for (unsigned i = 0; order->cgroup_version == 1 && i < order->group_count; i++)
        if (write(groups[i], "0", 1) != 1) give_up("join the cgroups");
    for (unsigned i = 0; i < FORK_NAMESPACES; i++)
        if (syscall(SYS_setns, job.fds[i], 0) != 0) give_up("join the namespaces");
    long pid = lambent_share(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0);
    if (pid == 0) {
        become();
        return;
    }
    if (pid < 0) {
        errno = (int)-pid;
        give_up("be born inside");
    }
    syscall(SYS_wait4, pid, NULL, __WALL, NULL);
    leave(0);
}

/* Answers true in the copy. In the forker `job` says what came of it. */
static __attribute__((noinline)) bool make_copy(void) {
    struct clone_arguments arguments;
    memset(&arguments, 0, sizeof arguments);
    arguments.flags = CLONE_VM | CLONE_VFORK;
    arguments.exit_signal = SIGCHLD;
    bool born_in_group = job.order.cgroup_version == 2;
    if (born_in_group) {
        arguments.flags |= FLAG_INTO_CGROUP;
        arguments.cgroup = (uint64_t)job.fds[job.fd_count - 1];
    }
    job.pid = job.error = 0;
    job.step = "";
    /* clone where clone3 has nothing to add: filters of functions answer ENOSYS to the latter. */
    long pid = born_in_group ? lambent_share(NR_CLONE3, (unsigned long)&arguments, sizeof arguments)
                             : lambent_share(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0);
    if (pid == 0) {
        enter();
        return true;
    }
    if (pid < 0) {
        job.error = (int)-pid;
        job.step = "be born in the cgroup";
        return false;
    }
    int status = 0;
    while (syscall(SYS_wait4, pid, &status, __WALL, NULL) < 0 && errno == EINTR) continue;
    if (job.pid == 0 && job.error == 0) { /* one of the two was killed in between: the sandbox has gone, most likely */
        job.error = ESRCH;
        job.step = "make the copy";
    }
    return false;
}

static void close_all(void) {
    for (unsigned i = 0; i < job.fd_count; i++) close(job.fds[i]);
    job.fd_count = 0;
}

/* One message into `job`; 0 at the end of the conversation, -1 for what is no order. */
static ssize_t receive(int socket, void *message, size_t size) {
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * FORK_FDS_MAX)];
    } control;
    struct iovec part = {message, size};
    struct msghdr header;
    memset(&header, 0, sizeof header);
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.space;
    header.msg_controllen = sizeof control;
    ssize_t got;
    do got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    job.fd_count = 0;
    if (got <= 0) return 0;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS) {
        job.fd_count = (unsigned)((rights->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        if (job.fd_count > FORK_FDS_MAX) job.fd_count = FORK_FDS_MAX;
        memcpy(job.fds, CMSG_DATA(rights), sizeof(int) * job.fd_count);
    }
    return header.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -1 : got;
}

static bool is_an_order(ssize_t got) {
    const struct fork_order *order = &job.order;
    unsigned fds = FORK_NAMESPACES + 1 + (order->flags & FORK_HAS_CHANNEL ? 1 : 0) + order->group_count;
    return got == (ssize_t)sizeof *order && order->version == FORK_VERSION && order->cgroup_version <= 2 &&
           order->group_count <= FORK_GROUPS_MAX && job.fd_count == fds &&
           (order->cgroup_version != 2 || order->group_count == 1);
}

static bool answer(int socket) {
    struct fork_report report;
    memset(&report, 0, sizeof report);
    report.version = FORK_VERSION;
    report.error = job.error;
    report.serial = job.order.serial;
    report.sandbox = job.order.sandbox;
    report.pid = job.pid;
    for (unsigned i = 0; job.step[i] && i < FORK_STEP_MAX - 1; i++) report.step[i] = job.step[i];
    ssize_t sent;
    do sent = send(socket, &report, sizeof report, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)sizeof report;
}

PUBLIC int lambent_fork_serve(int socket, const struct fork_hooks *hooks) {
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* nobody reads or traces a forker; the copies take it back */
    if (receive(socket, &setup, sizeof setup) != (ssize_t)sizeof setup || setup.version != FORK_VERSION ||
        setup.filter_length > FORK_FILTER_MAX)
        return -1;
    close_all();
    for (;;) {
        ssize_t got = receive(socket, &job.order, sizeof job.order);
        if (!is_an_order(got)) {
            close_all();
            return -1;
        }
        if (hooks->before) hooks->before();
        count++;
        if (make_copy()) {
            if (hooks->after_child) hooks->after_child();
            return (int)job.order.flags;
        }
        if (hooks->after_parent) hooks->after_parent();
        close_all();
        if (!answer(socket)) return -1;
    }
}

/* CPython's, where CPython loads this; weak, for any other program. */
__attribute__((weak)) void PyOS_BeforeFork(void);
__attribute__((weak)) void PyOS_AfterFork_Parent(void);
__attribute__((weak)) void PyOS_AfterFork_Child(void);
__attribute__((weak)) void PyErr_SetString(void *kind, const char *text);
extern __attribute__((weak)) void *PyExc_ImportError;

PUBLIC void *PyInit_lambent_fork(void) {
    const struct fork_hooks hooks = {PyOS_BeforeFork, PyOS_AfterFork_Parent, PyOS_AfterFork_Child};
    int flags = lambent_fork_serve(FORKS_FD, &hooks);
    char text[] = {(char)('0' + (flags & 7)), 0}; /* of flags there are two */
    PyErr_SetString(PyExc_ImportError, flags < 0 ? "-1" : text);
    return NULL;
}

PUBLIC unsigned long lambent_fork_count(void) { return count; }
