/* A sandbox without namespaces: the keeper, and what a program goes through to become the function.
 *
 * What stands between two functions is what an unprivileged container still gives to root: a user of their own (files,
 * signals, memory, /proc/PID), landlock (files by path, TCP by port, abstract sockets), a filter of system calls, no
 * capability. Rejected: a chroot, since without mounts it needs every library copied or linked for every sandbox (a link
 * to a file of a lower overlay layer copies it) and has neither /proc nor /dev.
 *
 * The keeper is what pid 1 is elsewhere, except that the kernel does not end a sandbox with it. So it is a reaper: what
 * loses its parent becomes its child, and "no child left" means that nothing is left. It stays outside the function's
 * control groups, so that neither a full one nor a frozen one keeps it from ending what is in there. Limits that no
 * control group enforces are looked at, which is a limit with a delay; the tier says so.
 */
#define _GNU_SOURCE
#include "confined.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "landlock.h"
#include "seccomp.h"

#define KEEPER_BACKLOG 128
#define BIT(capability) (1ull << (capability))
#define KEPT (BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER))
#define FINISH_MS_MAX 3000
#define FINISH_PAUSE_NS 200000
#define LOOK_MS 50      /* at the memory, while less than half is used */
#define LOOK_NEAR_MS 10 /* … and above */
#define REST_LOOK_MS 1000 /* at both, while nothing is asked of the function: looking 20 times a second costs 0.3 % of a core */
#define DISK_LOOK_MS 200
#define DISK_SHARE 20 /* looking at the disk takes at most a twentieth of the time */
#define WATCHED_MAX 4096
#define NICE_MAX 19

static struct {
    bool begun; /* there is something to end and to remove */
    const struct config *config;
    const struct groups *groups;
    const struct image_config *image;
    char name[GROUP_NAME_MAX]; /* of its group, and of its directory in scratch */
    char tmp_path[4096];
    uint32_t user;
    uint16_t port;
    int scratch, tmp, packages;
    int niceness;
    bool resting;
    uint64_t memory_bytes_max, tmp_bytes_max; /* 0: not watched */
    enum confined_excess excess;
    int64_t memory_look_ms, disk_look_ms;
} keeper = {.scratch = -1, .tmp = -1, .packages = -1};

bool confined_is_active(void) { return keeper.config != NULL; }

/* ---- building ---- */

static int listen_on_loopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if (bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, KEEPER_BACKLOG) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &size) == 0) {
        keeper.port = ntohs(address.sin_port);
        return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int make_tmp(void) {
    keeper.scratch = open(keeper.config->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (keeper.scratch < 0 || mkdirat(keeper.scratch, keeper.name, 0700) != 0) return -1;
    keeper.tmp = openat(keeper.scratch, keeper.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (keeper.tmp < 0) return -1;
    return fchown(keeper.tmp, keeper.user, keeper.user);
}

static int drop(struct failure *failure) {
    if (setgroups(0, NULL) != 0) return fail(failure, "drop the groups");
    int last = last_capability();
    if (last < 0) return fail(failure, "read the last capability");
    for (int capability = 0; capability <= last; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return fail(failure, "empty the bounding set");
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return fail(failure, "empty the ambient set");
    if (sys_capset(KEPT) != 0) return fail(failure, "drop the capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail(failure, "refuse new privileges");
    if (seccomp_load() != 0) return fail(failure, "load the filter");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail(failure, "hide from ptrace");
    return 0;
}

int confined_build(const struct build *build, struct failure *failure) {
    keeper.config = build->config;
    keeper.groups = build->groups;
    keeper.image = &build->config->images[build->image];
    keeper.user = build->user;
    keeper.packages = build->packages;
    snprintf(keeper.name, sizeof keeper.name, "%s", build->group);
    snprintf(keeper.tmp_path, sizeof keeper.tmp_path, "%s/%s", build->config->scratch, build->group);
    prctl(PR_SET_NAME, "lambent-keeper", 0, 0, 0);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) return fail(failure, "become a reaper");
    int listener = listen_on_loopback();
    if (listener < 0) return fail(failure, "listen on loopback");
    /* Nobody else may be who the function will be: they would be ended with it. */
    if (confined_lives(keeper.user)) return fail_with(failure, "be a user of its own", EBUSY);
    keeper.begun = true;
    if (make_tmp() != 0) return fail(failure, "make /tmp");
    if (drop(failure) != 0) return -1;
    if (confined_kill(keeper.user) != 0) return fail(failure, "act as another user");
    return listener;
}

/* ---- a program ---- */

int confined_join(void) {
    if (keeper.groups->version == 0) return 0;
    if (keeper.groups->version == 1) return group_enter(keeper.groups, keeper.name);
    int group = group_directory(keeper.groups, keeper.name);
    int result = group < 0 ? -1 : write_at(group, "cgroup.procs", "0");
    int error = errno;
    close_fd(&group);
    errno = error;
    return result;
}

static int open_tree_of(const char digest[DIGEST_CHARS]) {
    return *digest ? package_open(keeper.packages, digest) : (errno = 0, -1);
}

int confined_rules(const struct order *order, int *rules) {
    struct landlock_plan plan = {.image = keeper.image,
                                 .trees = {open_tree_of(order->task), open_tree_of(order->opt)},
                                 .tmp = keeper.tmp_path,
                                 .port = keeper.port};
    bool found = (plan.trees[0] >= 0 || !*order->task) && (plan.trees[1] >= 0 || !*order->opt);
    int result = found ? landlock_rules(&plan, rules) : -1;
    int error = errno;
    close_fd(&plan.trees[0]);
    close_fd(&plan.trees[1]);
    errno = error;
    return result;
}

int confined_enter(const struct order *order, int rules) {
    struct rlimit file = {order->tmp_bytes_max, order->tmp_bytes_max};
    if (order->tmp_bytes_max && setrlimit(RLIMIT_FSIZE, &file) != 0) return -1;
    if (keeper.niceness > 0 && setpriority(PRIO_PROCESS, 0, keeper.niceness) != 0) return -1;
    umask(022);
    uint32_t user = keeper.user;
    if (landlock_enter(rules) != 0) return -1;
    if (setresgid(user, user, user) != 0 || setresuid(user, user, user) != 0 || sys_capset(0) != 0) return -1;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return -1;
    return confined_filter_load(landlock_abi() >= LANDLOCK_ABI_NETWORK);
}

void confined_started(const struct order *order) {
    keeper.memory_bytes_max = order->memory_bytes_max;
    keeper.tmp_bytes_max = order->tmp_bytes_max;
    keeper.excess = EXCESS_NONE;
    confined_rest(false);
}

void confined_rest(bool resting) {
    keeper.resting = resting;
    if (!resting) keeper.memory_look_ms = keeper.disk_look_ms = 0;
}

/* Each step of niceness is a fifth less: the kernel's weights. Only downwards, because upwards asks for CAP_SYS_NICE. */
void confined_share(uint32_t cpu_quota_us) {
    int niceness = 0;
    for (uint64_t share = cpu_quota_us; share && share < CPU_PERIOD_US && niceness < NICE_MAX; share = share * 5 / 4)
        niceness++;
    keeper.niceness = niceness;
    if (seteuid(keeper.user) != 0) return;
    setpriority(PRIO_USER, keeper.user, niceness);
    if (seteuid(0) != 0) abort(); /* half a keeper keeps nothing */
}

/* ---- watching ---- */

static uint64_t field_kb(const char *text, const char *name) {
    const char *found = strstr(text, name);
    return found ? strtoull(found + strlen(name), NULL, 10) : 0;
}

/* A child is listed by the thread that forked it, so every thread is asked. */
static void add_children(pid_t pid, pid_t *pids, unsigned *count) {
    char path[64];
    static char text[16384];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    const struct dirent *entry;
    while (threads && (entry = readdir(threads)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        char name[64];
        snprintf(name, sizeof name, "%.20s/children", entry->d_name);
        if (read_at(dirfd(threads), name, text, sizeof text) <= 0) continue;
        for (char *at = text, *end; *count < WATCHED_MAX; at = end) {
            long child = strtol(at, &end, 10);
            if (end == at) break;
            pids[(*count)++] = (pid_t)child;
        }
    }
    if (threads) closedir(threads);
}

/* Memory that belongs to the sandbox's processes alone; pages of files are the kernel's to take back. */
static uint64_t memory_used(void) {
    static pid_t pids[WATCHED_MAX];
    unsigned count = 0;
    uint64_t kb = 0;
    add_children(getpid(), pids, &count);
    for (unsigned i = 0; i < count; i++) {
        char path[64], text[4096];
        snprintf(path, sizeof path, "/proc/%d/status", pids[i]);
        if (read_at(AT_FDCWD, path, text, sizeof text) <= 0) continue;
        kb += field_kb(text, "\nRssAnon:") + field_kb(text, "\nRssShmem:");
        add_children(pids[i], pids, &count);
    }
    return kb * 1024;
}

static void look_at_memory(int64_t now) {
    if (!keeper.memory_bytes_max || now < keeper.memory_look_ms) return;
    uint64_t used = memory_used();
    if (used > keeper.memory_bytes_max) keeper.excess = EXCESS_MEMORY;
    int64_t pause = used > keeper.memory_bytes_max / 2 ? LOOK_NEAR_MS : LOOK_MS;
    keeper.memory_look_ms = now + (keeper.resting ? REST_LOOK_MS : pause);
}

static void look_at_disk(int64_t now) {
    if (!keeper.tmp_bytes_max || now < keeper.disk_look_ms) return;
    if (confined_used(keeper.tmp, 0) > keeper.tmp_bytes_max) keeper.excess = EXCESS_DISK;
    int64_t taken = now_ms() - now;
    keeper.disk_look_ms = now + (keeper.resting ? REST_LOOK_MS : DISK_LOOK_MS) + DISK_SHARE * taken;
}

int confined_watch(bool running) {
    if (!running) return -1;
    int64_t now = now_ms();
    look_at_memory(now);
    if (keeper.excess == EXCESS_NONE) look_at_disk(now);
    if (keeper.excess != EXCESS_NONE) confined_end_all();
    int64_t next = keeper.disk_look_ms;
    if (keeper.memory_bytes_max && keeper.memory_look_ms < next) next = keeper.memory_look_ms;
    return next > now ? (int)(next - now) : 1;
}

void confined_mark(struct report *exit) {
    if (exit->signal != SIGKILL) return;
    if (keeper.excess == EXCESS_MEMORY) snprintf(exit->step, sizeof exit->step, "%s", REPORT_STEP_MEMORY);
    if (keeper.excess == EXCESS_DISK) exit->signal = SIGXFSZ; /* what the kernel says of one file that is too large */
}

/* ---- the end ---- */

/* One that has only just been forked is still who we are and has no group; it makes one, then becomes the function's user.
 * So it is asked in that order, and once more as the user: it may have become it between the questions. */
void confined_signal(pid_t leader, int number) {
    if (confined_kill_some(keeper.user, -leader, number) == 0) return;
    if (kill(-leader, number) == 0 || kill(leader, number) == 0) return;
    confined_kill_some(keeper.user, -leader, number);
}

bool confined_end_all(void) {
    confined_kill(keeper.user);
    siginfo_t child;
    return waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD;
}

bool confined_finish(void) {
    if (!keeper.begun) return true;
    int64_t until = now_ms() + FINISH_MS_MAX;
    while (!confined_end_all()) {
        while (waitpid(-1, NULL, WNOHANG) > 0) continue;
        if (now_ms() > until) return false;
        nanosleep(&(struct timespec){0, FINISH_PAUSE_NS}, NULL);
    }
    if (landlock_abi() == 0) confined_empty_shared(keeper.user);
    return keeper.scratch < 0 || confined_empty(keeper.scratch, keeper.name) == 0;
}
