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
#define ROOTLESS_SIGNALS_MAX 1024u        /* pending ones; a user has some ten thousand */
#define ROOTLESS_QUEUES_BYTES_MAX 131072u/* in message queues; a user has 800 KB */
#define HOST_NAME "sandbox.localdomain"
#define CAPABILITY(number) (1ull << (number))

struct program {
    pid_t pid; /* 0: free */
    uint64_t serial;
    int complaint; /* read end: errno of what failed before the program ran */
};

static struct program programs[PROGRAMS_MAX];

/* Who ended lately and was no program: one that forked itself in here may be among them, see adopt(). */
#define STRANGERS_MAX 16u
static struct stranger {
    pid_t pid;
    int status;
} strangers[STRANGERS_MAX];
static size_t stranger_next;

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

int listen_inside(void) {
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
    int own = CLONE_NEWIPC | CLONE_NEWUTS | (build->groups->version == 2 ? 0 : CLONE_NEWCGROUP);
    if (build->net >= 0) {
        if (unshare(own) != 0) give_up(build->control, "unshare");
        if (setns(build->net, CLONE_NEWNET) != 0) give_up(build->control, "enter the network");
        return;
    }
    struct failure failure = {"", 0};
    if (unshare(own | CLONE_NEWNET) != 0) give_up(build->control, "unshare");
    if (loopback_up() != 0) give_up(build->control, "bring up lo");
    if (!build->config->egress || gate_lay(build->config, &failure) == 0) return;
    errno = failure.error;
    give_up(build->control, failure.step);
}

static void mount_proc(int control) {
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0) give_up(control, "mount /proc");
}

static void enter_root(const struct build *build) {
    int control = build->control;
    if (setns(build->image, CLONE_NEWNS) != 0) give_up(control, "enter the image");
    if (unshare(CLONE_NEWNS) != 0) give_up(control, "copy the image's mounts");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) give_up(control, "make mounts private");
    if (mount_tmp(build) != 0) give_up(control, "mount /tmp");
}

static void finish_root(const struct build *build) {
    int control = build->control;
    mount_proc(control);
    /* OpenSSL knows a fork by its process id: of two copies with the same, both would draw the same random bytes. Where
     * the kernel does not let us choose, the copies stir theirs all the same. */
    char last_pid[16];
    snprintf(last_pid, sizeof last_pid, "%u", build->last_pid);
    write_at(AT_FDCWD, "/proc/sys/kernel/ns_last_pid", last_pid);
    if (mask_proc() != 0) give_up(control, "mask /proc");
    if (sethostname(HOST_NAME, strlen(HOST_NAME)) != 0) give_up(control, "set the host name");
}

/* For a copy of a template: all namespaces are owned by a user namespace below the template's, or its child could not enter
 * (see copier.h). The caller, born into the template's pid namespace as root, mounts what only root can, becomes the
 * template's user and makes them all at once; who goes on is pid 1 in them, and the spawner's child. */
static void be_born_below(const struct build *build) {
    int control = build->control, told[2], pidfd = -1;
    char path[64], map[64];
    if (build->groups->version == 1 && group_enter(build->groups, build->group) != 0) give_up(control, "join the cgroups");
    enter_root(build);
    mount_proc(control); /* a decoy: a user namespace may mount proc only where a complete one is visible */
    if (pipe2(told, O_CLOEXEC) != 0) give_up(control, "make a pipe");
    if (setns(build->template, CLONE_NEWUSER) != 0) give_up(control, "enter the template's users");
    if (setresgid(FUNCTION_ID, FUNCTION_ID, FUNCTION_ID) != 0 || setresuid(FUNCTION_ID, FUNCTION_ID, FUNCTION_ID) != 0)
        give_up(control, "become the template's user");
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) give_up(control, "show the id maps");
    pid_t pid = sys_clone3(CLONE_PARENT | CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                               CLONE_NEWUTS | CLONE_NEWCGROUP,
                           &pidfd, -1);
    if (pid < 0) give_up(control, "clone below the template");
    if (pid > 0) {
        snprintf(map, sizeof map, "%u %u 1\n%u %u 1\n", INIT_ID, build->inner, FUNCTION_ID, build->inner + 1);
        snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
        if (write_at(AT_FDCWD, path, map) != 0) give_up(control, "map the groups");
        snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
        if (write_at(AT_FDCWD, path, map) != 0) give_up(control, "map the users");
        struct report born = {.kind = REPORT_BORN};
        report(control, &born, &pidfd, 1);
        _exit(write(told[1], "", 1) == 1 ? 0 : 3);
    }
    char go;
    close(told[1]);
    if (read(told[0], &go, 1) != 1) _exit(3);
    close(told[0]);
    if (setresgid(INIT_ID, INIT_ID, INIT_ID) != 0 || setresuid(INIT_ID, INIT_ID, INIT_ID) != 0)
        give_up(control, "become the root of its own");
    struct failure failure = {"", 0};
    if (loopback_up() != 0) give_up(control, "bring up lo");
    if (!build->config->egress || gate_lay(build->config, &failure) == 0) return;
    errno = failure.error;
    give_up(control, failure.step);
}

static void open_the_gate(const struct build *build, int gate[GATE_FDS]) {
    struct failure failure = {"", 0};
    if (!build->config->egress || gate_open(build->config, gate, &failure) == 0) return;
    errno = failure.error;
    give_up(build->control, failure.step);
}

/* Whoever makes a user namespace is charged, all the way up, for what is used in it: pending signals, message queues, inotify
 * instances. Were that one user for all, a function that takes the most would leave none for the others, nor for the host. */
static void own_the_users(const struct build *build) {
    if (build->config->single_id) return;
    if (seteuid(build->user - 1) != 0) give_up(build->control, "own the user namespace");
    /* Some hosts let nobody make one without this. */
    if (sys_capset(CAPABILITY(CAP_SYS_ADMIN)) != 0) give_up(build->control, "own the user namespace");
    if (build->config->rootless && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) give_up(build->control, "show the id maps");
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
    if (build->template < 0) { /* else it is in one from its birth */
        own_the_users(build);
        if (unshare(CLONE_NEWUSER) != 0) give_up(build->control, "unshare the user namespace");
    }
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
    /* Rootless all sandboxes are charged to one user (see own_the_users), so each gets a small part. */
    if (build->config->rootless && (lower_limit(RLIMIT_SIGPENDING, ROOTLESS_SIGNALS_MAX) != 0 ||
                                    lower_limit(RLIMIT_MSGQUEUE, ROOTLESS_QUEUES_BYTES_MAX) != 0))
        give_up(control, "limit what one user has");
    if (seccomp_load() != 0) give_up(control, "load the filter"); /* every program inherits it */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) give_up(control, "hide from ptrace");
    /* After the last change of credentials, which clears it. Should the spawner be gone already, its end of the control
     * socket is closed and the first read says so; getppid() cannot (the parent is outside this pid namespace). */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) give_up(control, "bind to the spawner's life");
}

ssize_t program_read(int payload, char *text) {
    struct stat facts;
    if (fstat(payload, &facts) != 0) return -1;
    if (facts.st_size > (off_t)PAYLOAD_BYTES_MAX) return errno = E2BIG, -1;
    ssize_t size = pread(payload, text, PAYLOAD_BYTES_MAX, 0);
    if (size > 0) text[size] = 0;
    return size;
}

static void start_program(const struct build *build, const struct order *order, const int *fds, size_t count) {
    struct report message = {.kind = REPORT_STARTED, .serial = order->serial};
    struct program *slot = NULL;
    for (size_t i = 0; i < PROGRAMS_MAX && !slot; i++)
        if (programs[i].pid == 0) slot = &programs[i];
    int complain[2] = {-1, -1};
    char *text = NULL;
    ssize_t size = -1;
    bool channel = (order->flags & ORDER_HAS_CHANNEL) != 0, forks = (order->flags & ORDER_HAS_FORKS) != 0;
    if (!slot) errno = EAGAIN;
    /* A private copy first: whoever holds the descriptor could change it while it is parsed. */
    if (slot && count == 2u + channel + forks) text = malloc(PAYLOAD_BYTES_MAX + 1u);
    if (text) size = program_read(fds[1], text);
    if (size > 0 && pipe2(complain, O_CLOEXEC | O_NONBLOCK) == 0) {
        pid_t pid = fork();
        if (pid == 0) {
            struct gift gift = {fds[0], channel ? fds[2] : -1, forks ? fds[2 + channel] : -1, complain[1]};
            program_run(order, text, (size_t)size, &gift, build->config->single_id, 0);
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

/* To the program's whole group, a wrapper's child too: it is not reaped yet, so the number is still its own. */
static void signal_program(uint64_t serial, uint32_t number) {
    if (number != SIGTERM && number != SIGKILL) return;
    for (size_t i = 0; i < PROGRAMS_MAX; i++) {
        if (programs[i].pid <= 1 || programs[i].serial != serial) continue;
        if (confined_is_active())
            confined_signal(programs[i].pid, (int)number);
        else if (kill(-programs[i].pid, (int)number) != 0)
            kill(programs[i].pid, (int)number); /* only just forked: no group of its own yet */
    }
}

static void report_exit(int control, struct program *program, int status) {
    struct report message = {.kind = REPORT_EXIT, .serial = program->serial, .status = -1};
    if (WIFEXITED(status)) message.status = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) message.signal = WTERMSIG(status);
    int error;
    if (program->complaint >= 0 && read(program->complaint, &error, sizeof error) == (ssize_t)sizeof error)
        message.error = error;
    close_fd(&program->complaint);
    program->pid = 0;
    confined_mark(&message);
    report(control, &message, NULL, 0);
}

static void reap(int control) {
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0) return;
        bool known = false;
        for (size_t i = 0; i < PROGRAMS_MAX; i++) {
            if (programs[i].pid != pid) continue;
            known = true;
            report_exit(control, &programs[i], status);
        }
        if (!known) strangers[stranger_next++ % STRANGERS_MAX] = (struct stranger){pid, status};
    }
}

/* A process that forked itself in here is ours since its parent ended, and from now on it counts as a program. It may
 * have ended before we hear of it. */
static void adopt(int control, const struct order *order) {
    struct program program = {(pid_t)order->flags, order->serial, -1};
    reap(control);
    for (size_t i = 0; i < STRANGERS_MAX; i++) {
        if (strangers[i].pid != program.pid) continue;
        strangers[i].pid = 0;
        report_exit(control, &program, strangers[i].status);
        return;
    }
    for (size_t i = 0; i < PROGRAMS_MAX; i++) {
        if (programs[i].pid != 0) continue;
        programs[i] = program;
        return;
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

void occupy_fds(int from) {
    int null = open("/dev/null", O_RDWR);
    if (null < 0) _exit(2);
    for (int fd = from; fd < OCCUPIED; fd++)
        if (fd != null) dup2(null, fd);
    if (null >= OCCUPIED || null < from) close(null);
}

static void build_inside(const struct build *build) {
    bool below = build->template >= 0;
    if (below)
        be_born_below(build);
    else
        enter_namespaces(build);
    int listener = listen_inside();
    if (listener < 0) give_up(build->control, "listen inside");
    int gate[GATE_FDS] = {-1, -1, -1};
    open_the_gate(build, gate);
    if (!below) enter_root(build);
    finish_root(build);
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
    int kept[HIERARCHIES_MAX + 5] = {build.control, confined ? build.packages : build.image, build.tmp, build.net,
                                     build.template};
    for (uint32_t i = 0; i < build.groups->count; i++) kept[5 + i] = build.groups->at[i].fd;
    keep_only(kept, 5 + build.groups->count);
    if (setsid() < 0) give_up(build.control, "start a session");
    /* Rootless: the spawner is not the owner of a hidden process's /proc files, and has to write the id maps. */
    if (build.config->rootless && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) give_up(build.control, "show the id maps");
    umask(022);

    if (!confined) build_inside(&build);
    occupy_fds(0);
    /* A keeper's programs join the groups, and open their code; it does neither. */
    keep_only(kept, confined ? 5 + build.groups->count : 1);
    occupy_fds(0);

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
        int fds[4];
        size_t count;
        ssize_t got = receive_message(build.control, &order, sizeof order, fds, 4, &count);
        if (got != (ssize_t)sizeof order) leave(0); /* the spawner is gone: the kernel ends everyone with us */
        if (order.kind == ORDER_START) start_program(&build, &order, fds, count);
        if (order.kind == ORDER_RESET) reset(build.control);
        if (order.kind == ORDER_SIGNAL) signal_program(order.serial, order.flags);
        if (order.kind == ORDER_SHARE) confined_share((uint32_t)order.serial);
        if (order.kind == ORDER_REST) confined_rest(order.serial != 0);
        if (order.kind == ORDER_ADOPT) adopt(build.control, &order);
        for (size_t i = 0; i < count; i++) close(fds[i]);
    }
}
