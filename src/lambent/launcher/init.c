/* A sandbox from within: the calls that build it, then pid 1.
 *
 * The order matters. Groups first: what is allocated later is charged to the sandbox. The cgroup namespace after the
 * attach (v1), or it is rooted at the spawner's group. The listener before privileges go, made inside the network
 * namespace. The user namespace last: mnt, net, pid, ipc, uts and cgroup then belong to the namespace above, and nobody
 * inside, not even uid 0, has a capability over them.
 *
 * Pid 1 keeps three capabilities within its own user namespace, each for one thing: SETUID and SETGID to become the
 * function's user in a child, KILL to end the function's processes. Nothing inside can speak to it: another uid, not
 * dumpable, all signals blocked and only SIGCHLD ever read. It obeys its socket alone and ends when that closes.
 */
#define _GNU_SOURCE
#include "confined.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "network.h"
#include "seccomp.h"

#define LISTEN_BACKLOG 128
#define TMP_INODES_PER_MB 64u
#define RESET_MS_MAX 2000
#define RESET_PAUSE_NS 200000
#define HOST_NAME "sandbox.localdomain"
#define CAPABILITY(number) (1ull << (number))

struct program {
    pid_t pid; /* 0: free */
    uint64_t serial;
    int complaint; /* read end: errno of what failed before the program ran */
};

static struct program programs[PROGRAMS_MAX];

/* Elsewhere the kernel ends everyone with pid 1. */
static _Noreturn void leave(int status) {
    if (confined_is_active() && confined_finish()) status = CONFINED_CLEAN;
    _exit(status);
}

static void report(int control, const struct report *message, const int *fds, size_t count) {
    if (send_message(control, message, sizeof *message, fds, count) != 0) leave(3); /* the spawner is gone */
}

static _Noreturn void give_up(int control, const char *step) {
    struct report message = {.kind = REPORT_FAILED, .error = errno ? errno : EIO};
    snprintf(message.step, sizeof message.step, "%s", step);
    report(control, &message, NULL, 0);
    leave(2);
}

static int listen_inside(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(API_PORT);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, LISTEN_BACKLOG) != 0) return -1;
    return fd;
}

/* Files that tell about or steer the host. Absent ones need no mask. */
static int mask_proc(void) {
    static const char *const READ_ONLY[] = {"/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs"};
    static const char *const FILES[] = {"/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/timer_list",
                                        "/proc/sysrq-trigger", "/proc/latency_stats", "/proc/sched_debug",
                                        "/proc/interrupts", "/proc/kallsyms", "/proc/kmsg", "/proc/slabinfo"};
    static const char *const DIRECTORIES[] = {"/proc/scsi", "/proc/acpi", "/proc/asound", "/proc/driver"};
    for (size_t i = 0; i < sizeof READ_ONLY / sizeof READ_ONLY[0]; i++)
        if (clone_onto(READ_ONLY[i], READ_ONLY[i], ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC, false) != 0 &&
            errno != ENOENT)
            return -1;
    for (size_t i = 0; i < sizeof FILES / sizeof FILES[0]; i++)
        if (access(FILES[i], F_OK) == 0 && clone_onto("/dev/null", FILES[i], 0, false) != 0) return -1;
    for (size_t i = 0; i < sizeof DIRECTORIES / sizeof DIRECTORIES[0]; i++)
        if (access(DIRECTORIES[i], F_OK) == 0 && clone_onto("/var/empty", DIRECTORIES[i], 0, false) != 0) return -1;
    return 0;
}

static int mount_tmp(const struct build *build) {
    if (build->tmp >= 0) return sys_move_mount(build->tmp, "", AT_FDCWD, "/tmp", 4u);
    char options[96];
    snprintf(options, sizeof options, "size=%um,nr_inodes=%u,mode=1777", build->tmp_mb,
             build->tmp_mb * TMP_INODES_PER_MB);
    return mount("tmp", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options);
}

static void enter_namespaces(const struct build *build) {
    bool attach = build->groups->version == 1;
    if (attach && group_enter(build->groups, build->group) != 0) give_up(build->control, "join the cgroups");
    int own = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | (build->groups->version == 2 ? 0 : CLONE_NEWCGROUP);
    if (unshare(own) != 0) give_up(build->control, "unshare");
    if (loopback_up() != 0) give_up(build->control, "bring up lo");
}

static void build_root(const struct build *build) {
    int control = build->control;
    if (setns(build->image, CLONE_NEWNS) != 0) give_up(control, "enter the image");
    if (unshare(CLONE_NEWNS) != 0) give_up(control, "copy the image's mounts");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) give_up(control, "make mounts private");
    if (mount_tmp(build) != 0) give_up(control, "mount /tmp");
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0) give_up(control, "mount /proc");
    if (mask_proc() != 0) give_up(control, "mask /proc");
    if (sethostname(HOST_NAME, strlen(HOST_NAME)) != 0) give_up(control, "set the host name");
}

static void open_the_gate(const struct build *build, int gate[GATE_FDS]) {
    struct failure failure = {"", 0};
    if (!build->config->egress || gate_build(build->config, gate, &failure) == 0) return;
    errno = failure.error;
    give_up(build->control, failure.step);
}

static void hand_out(const struct build *build, int listener, const int gate[GATE_FDS]) {
    int fds[BUILT_FDS_MAX];
    size_t count = build->config->egress ? BUILT_FDS_MAX : BUILT_FDS;
    fds[BUILT_LISTENER] = listener;
    fds[BUILT_MOUNTS] = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    fds[BUILT_TASK] = open("/var/task", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    fds[BUILT_OPT] = open("/opt", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    fds[BUILT_TMP] = open("/tmp", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    for (int i = 0; i < BUILT_FDS; i++)
        if (fds[i] < 0) give_up(build->control, "open the mount points");
    memcpy(fds + BUILT_GATE, gate, sizeof(int) * GATE_FDS);
    if (unshare(CLONE_NEWUSER) != 0) give_up(build->control, "unshare the user namespace");
    struct report message = {.kind = REPORT_UNMAPPED};
    report(build->control, &message, fds, count);
    for (size_t i = 0; i < count; i++) close(fds[i]);
    struct order order;
    if (recv(build->control, &order, sizeof order, 0) != (ssize_t)sizeof order || order.kind != ORDER_MAPPED) _exit(3);
}

static void drop_privileges(const struct build *build) {
    int control = build->control;
    uid_t id = build->config->single_id ? FUNCTION_ID : INIT_ID;
    /* As root a failure would keep root's groups; only the rootless tier, where setgroups is denied, may tolerate it. */
    if (setgroups(0, NULL) != 0 && !build->config->rootless) give_up(control, "drop the groups");
    if (setresgid(id, id, id) != 0) give_up(control, "change the group");
    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    if (setresuid(id, id, id) != 0) give_up(control, "change the user");
    prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
    int last = last_capability();
    if (last < 0) give_up(control, "read the last capability");
    for (int capability = 0; capability <= last; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) give_up(control, "empty the bounding set");
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) give_up(control, "empty the ambient set");
    uint64_t kept = CAPABILITY(CAP_SETUID) | CAPABILITY(CAP_SETGID) | CAPABILITY(CAP_KILL);
    if (sys_capset(build->config->single_id ? 0 : kept) != 0) give_up(control, "drop the capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) give_up(control, "refuse new privileges");
    if (seccomp_load() != 0) give_up(control, "load the filter"); /* every program inherits it */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) give_up(control, "hide from ptrace");
    /* After the last change of credentials, which clears it. Should the spawner be gone already, its end of the control
     * socket is closed and the first read says so; getppid() cannot (the parent is outside this pid namespace). */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) give_up(control, "bind to the spawner's life");
}

static void start_program(const struct build *build, const struct order *order, const int *fds, size_t count) {
    struct report message = {.kind = REPORT_STARTED, .serial = order->serial};
    struct program *slot = NULL;
    for (size_t i = 0; i < PROGRAMS_MAX && !slot; i++)
        if (programs[i].pid == 0) slot = &programs[i];
    int complain[2] = {-1, -1};
    struct stat payload;
    char *text = NULL;
    ssize_t size = -1;
    if (!slot) errno = EAGAIN;
    /* A private copy first: whoever holds the descriptor could change it while it is parsed. */
    if (slot && count >= 2 && fstat(fds[1], &payload) == 0 && payload.st_size <= (off_t)PAYLOAD_BYTES_MAX)
        text = malloc(PAYLOAD_BYTES_MAX + 1u);
    if (text) size = pread(fds[1], text, PAYLOAD_BYTES_MAX, 0);
    if (size > 0 && pipe2(complain, O_CLOEXEC | O_NONBLOCK) == 0) {
        text[size] = 0;
        pid_t pid = fork();
        if (pid == 0) {
            program_run(order, text, (size_t)size, fds[0], count > 2 ? fds[2] : -1, complain[1],
                        build->config->single_id);
        }
        if (pid > 0) {
            *slot = (struct program){pid, order->serial, complain[0]};
            confined_started(order);
            message.status = pid;
            complain[0] = -1;
        }
    }
    if (message.status == 0) {
        message.error = errno ? errno : EINVAL;
        snprintf(message.step, sizeof message.step, "fork the program");
    }
    if (text) explicit_bzero(text, PAYLOAD_BYTES_MAX); /* a function's environment holds its secrets */
    free(text);
    close_fd(&complain[0]);
    close_fd(&complain[1]);
    report(build->control, &message, NULL, 0);
}

static void reap(int control) {
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0) return;
        for (size_t i = 0; i < PROGRAMS_MAX; i++) {
            if (programs[i].pid != pid) continue;
            struct report message = {.kind = REPORT_EXIT, .serial = programs[i].serial, .status = -1};
            if (WIFEXITED(status)) message.status = WEXITSTATUS(status);
            if (WIFSIGNALED(status)) message.signal = WTERMSIG(status);
            int error;
            if (read(programs[i].complaint, &error, sizeof error) == (ssize_t)sizeof error) message.error = error;
            close(programs[i].complaint);
            programs[i].pid = 0;
            confined_mark(&message);
            report(control, &message, NULL, 0);
        }
    }
}

/* Every process of the namespace but this one, until there is none. */
static void reset(int control) {
    struct report message = {.kind = REPORT_RESET};
    int64_t until = now_ms() + RESET_MS_MAX;
    for (;;) {
        bool confined = confined_is_active(); /* where "everyone" would be the whole machine */
        bool none = confined ? confined_end_all() : kill(-1, SIGKILL) != 0 && errno == ESRCH;
        reap(control);
        if (none) break;
        if (now_ms() > until) {
            message.error = ETIMEDOUT;
            snprintf(message.step, sizeof message.step, "kill the processes");
            break;
        }
        nanosleep(&(struct timespec){0, RESET_PAUSE_NS}, NULL);
    }
    report(control, &message, NULL, 0);
}

static void occupy_standard_fds(void) {
    int null = open("/dev/null", O_RDWR);
    if (null < 0) _exit(2);
    for (int fd = 0; fd <= 3; fd++)
        if (fd != null) dup2(null, fd);
    if (null > 3) close(null);
}

static void build_inside(const struct build *build) {
    enter_namespaces(build);
    int listener = listen_inside();
    if (listener < 0) give_up(build->control, "listen inside");
    int gate[GATE_FDS] = {-1, -1, -1};
    open_the_gate(build, gate);
    build_root(build);
    hand_out(build, listener, gate);
    drop_privileges(build);
}

static int build_confined(const struct build *build) {
    struct failure failure = {"", 0};
    int listener = confined_build(build, &failure);
    if (listener < 0) {
        errno = failure.error;
        give_up(build->control, failure.step);
    }
    return listener;
}

static bool is_running(void) {
    for (size_t i = 0; i < PROGRAMS_MAX; i++)
        if (programs[i].pid != 0) return true;
    return false;
}

_Noreturn void init_main(const struct build *given) {
    struct build build = *given;
    build.control = fcntl(build.control, F_DUPFD_CLOEXEC, 64);
    if (build.control < 0) _exit(2);
    /* Without exec O_CLOEXEC does nothing: other sandboxes' descriptors go now. */
    bool confined = build.config->confined;
    int kept[HIERARCHIES_MAX + 3] = {build.control, confined ? build.packages : build.image, build.tmp};
    for (uint32_t i = 0; i < build.groups->count; i++) kept[3 + i] = build.groups->at[i].fd;
    keep_only(kept, 3 + build.groups->count);
    if (setsid() < 0) give_up(build.control, "start a session");
    /* Rootless: the spawner is not the owner of a hidden process's /proc files, and has to write the id maps. */
    if (build.config->rootless && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) give_up(build.control, "show the id maps");
    umask(022);

    if (!confined) build_inside(&build);
    occupy_standard_fds();
    /* A keeper's programs join the groups, and open their code; it does neither. */
    keep_only(kept, confined ? 3 + build.groups->count : 1);
    occupy_standard_fds(); /* descriptor 3 too: what a program gets never lands on it by chance */

    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    int ended = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    if (ended < 0) give_up(build.control, "watch the children");
    struct report ready = {.kind = REPORT_READY};
    int listener = confined ? build_confined(&build) : -1;
    report(build.control, &ready, &listener, confined ? 1 : 0);
    close_fd(&listener);

    for (;;) {
        struct pollfd waiting[2] = {{build.control, POLLIN, 0}, {ended, POLLIN, 0}};
        if (poll(waiting, 2, confined ? confined_watch(is_running()) : -1) < 0) continue;
        if (waiting[1].revents) {
            struct signalfd_siginfo notes[8];
            while (read(ended, notes, sizeof notes) > 0) continue;
            reap(build.control);
        }
        if (!waiting[0].revents) continue;
        struct order order;
        int fds[3];
        size_t count;
        ssize_t got = receive_message(build.control, &order, sizeof order, fds, 3, &count);
        if (got != (ssize_t)sizeof order) leave(0); /* the spawner is gone: the kernel ends everyone with us */
        if (order.kind == ORDER_START) start_program(&build, &order, fds, count);
        if (order.kind == ORDER_RESET) reset(build.control);
        if (order.kind == ORDER_SHARE) confined_share((uint32_t)order.serial);
        if (order.kind == ORDER_REST) confined_rest(order.serial != 0);
        for (size_t i = 0; i < count; i++) close(fds[i]);
    }
}
