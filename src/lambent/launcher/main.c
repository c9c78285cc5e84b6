/* lambent-launcher: builds sandboxes for a server that may not.
 *
 *   lambent-launcher CONTROL CONFIG    descriptors: a SEQPACKET socket to the server, the configuration to read
 *   lambent-launcher --seccomp ARCH    write the filter for x86_64 or aarch64 (tests); --seccomp-forkers: that of zygotes
 *
 * Single-threaded for life: with a second thread setns and unshare of mounts and users answer EINVAL.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "confined.h"
#include "copier.h"
#include "images.h"
#include "init.h"
#include "landlock.h"
#include "seccomp.h"
#include "spawner.h"
#include "tmpdisk.h"

#define INSIDE "inside"
#define TURN_MS_MAX 5000 /* twice what the last life's warden takes at most */
#define TURN_PAUSE_NS 2000000
#define BIT(capability) (1ull << (capability))
#define KEPT                                                                                                           \
    (BIT(CAP_SYS_ADMIN) | BIT(CAP_SYS_CHROOT) | BIT(CAP_SYS_PTRACE) | BIT(CAP_SETUID) | BIT(CAP_SETGID) |              \
     BIT(CAP_SETPCAP) | BIT(CAP_NET_ADMIN) | BIT(CAP_NET_RAW) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_KILL) |          \
     BIT(CAP_CHOWN))

#if defined(__SANITIZE_ADDRESS__)
const char *__asan_default_options(void);
/* Leaks are looked for with ptrace, which is closed here; children end by signal or _exit anyway. */
const char *__asan_default_options(void) { return "detect_leaks=0"; }
#endif

static struct spawner spawner;

/* Rootless: an outer user and mount namespace first. The parent writes the maps (newuidmap needs to be outside). Then the
 * program runs itself again: memory belongs to the user namespace of its exec, and only inside it can this process later
 * open the namespaces of sandboxes that hide from ptrace. */
static int enter_outer(char **argv, int config, struct failure *failure) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return fail(failure, "unshare a user namespace");
    struct answer ask = {.version = PROTOCOL_VERSION, .kind = ANSWER_MAP, .status = getpid()};
    char mapped;
    if (send_message(spawner.server, &ask, sizeof ask, NULL, 0) != 0 || recv(spawner.server, &mapped, 1, 0) != 1)
        return fail(failure, "have the ids mapped");
    if (setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0) return fail(failure, "become the outer root");
    if (!spawner.config.single_id && setgroups(0, NULL) != 0) return fail(failure, "drop the groups");
    char control[16], configuration[16], inside[] = INSIDE;
    snprintf(control, sizeof control, "%d", spawner.server);
    snprintf(configuration, sizeof configuration, "%d", config);
    if (lseek(config, 0, SEEK_SET) != 0 || fcntl(config, F_SETFD, 0) != 0 || fcntl(spawner.server, F_SETFD, 0) != 0)
        return fail(failure, "keep the descriptors");
    char *const arguments[] = {argv[0], control, configuration, inside, NULL};
    char *const environment[] = {NULL};
    execve("/proc/self/exe", arguments, environment);
    return fail(failure, "run inside the outer namespace");
}

static int keep_few_capabilities(struct failure *failure) {
    /* Since Linux 5.12 mapping the parent's id 0, all that a single mapped id leaves, asks for SETFCAP. */
    uint64_t kept = spawner.config.single_id ? KEPT | BIT(CAP_SETFCAP) : KEPT;
    int last = last_capability();
    if (last < 0) return fail(failure, "read the last capability");
    for (int capability = 0; capability <= last; capability++)
        if (!(kept & BIT(capability)) && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
            return fail(failure, "narrow the bounding set");
    return sys_capset(kept) == 0 ? 0 : fail(failure, "narrow the capabilities");
}

/* The disk pool is tried before it is promised: a machine without loop devices gets a tmpfs, and the server hears why. */
static int start_helpers(struct failure *refused) {
    spawner.helpers = -1;
    if (!spawner.config.tmp_disk) return 0;
    struct failure failure = {"", 0};
    spawner.helpers = tmpdisk_start(&spawner.config, &failure);
    struct tmp_ready ready = {.error = failure.error};
    int tmp = -1;
    static char step[STEP_MAX];
    if (spawner.helpers >= 0 && (tmpdisk_ask(spawner.helpers, spawner.config.tmp_mb_default) != 0 ||
                                 tmpdisk_take(spawner.helpers, &ready, &tmp) != 1))
        ready.error = EIO;
    if (ready.error == 0) {
        spawner.pool[spawner.pool_count++] = tmp;
        return 0;
    }
    close_fd(&spawner.helpers);
    spawner.config.tmp_disk = false;
    snprintf(step, sizeof step, "%s", *ready.step ? ready.step : failure.step);
    return fail_with(refused, step, ready.error);
}

/* Tried before it is promised: a kernel without the modules gives sandboxes without a way out, and the server hears why. */
static void try_egress(void) {
    struct answer told = {.version = PROTOCOL_VERSION, .kind = ANSWER_EGRESS};
    struct failure failure = {"", 0};
    if (!spawner.config.egress) return;
    spawner.config.egress_ipv6 = true;
    if (gate_probe(&spawner.config, &failure) != 0) {
        spawner.config.egress_ipv6 = false;
        spawner.config.egress = gate_probe(&spawner.config, &failure) == 0;
    }
    told.status = spawner.config.egress;
    told.flags = spawner.config.egress_ipv6 ? ANSWER_IPV6 : 0;
    told.error = spawner.config.egress ? 0 : failure.error;
    if (!spawner.config.egress) snprintf(told.step, sizeof told.step, "%s", failure.step);
    send_message(spawner.server, &told, sizeof told, NULL, 0);
}

/* Two descriptors per sandbox: the soft limit of an ordinary shell would end at 500 of them. */
static void raise_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* The warden of a life that was killed a moment ago removes its groups and ends who is in them, and they have the names of
 * ours: what we made meanwhile would go with them. It holds this lock until it has ended, as ours will. Where there are no
 * locks, or it does not end, we go on as if it were gone. */
static int take_turn(struct failure *failure) {
    spawner.turn = open(spawner.config.scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (spawner.turn < 0) return fail(failure, "open the spawner's directory");
    int64_t until = now_ms() + TURN_MS_MAX;
    while (flock(spawner.turn, LOCK_EX | LOCK_NB) != 0 && (errno == EWOULDBLOCK || errno == EINTR) && now_ms() < until)
        nanosleep(&(struct timespec){0, TURN_PAUSE_NS}, NULL);
    return 0;
}

static int prepare(struct failure *failure, struct failure *refused) {
    raise_descriptors();
    int last = last_capability();
    if (last < 0) return fail(failure, "read the last capability");
    spawner.last_capability = (uint32_t)last;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* inherited "ignored" would lose exit codes */
    /* A service manager asks the whole group to stop. The server drains first; its end is our order to end. */
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    umask(022);
    if (seccomp_prepare(failure) != 0) return -1;
    bool mounts = !spawner.config.confined;
    if (mounts && !spawner.config.rootless && unshare(CLONE_NEWNS) != 0) return fail(failure, "unshare the mounts");
    if (mounts && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return fail(failure, "make mounts private");
    if (take_turn(failure) != 0 || groups_open(&spawner.config, &spawner.groups, failure) != 0) return -1;
    spawner.packages = open(spawner.config.packages, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (spawner.packages < 0) return fail(failure, "open the packages");
    spawner.count = spawner.config.sandboxes_max;
    spawner.sandboxes = calloc(spawner.count, sizeof *spawner.sandboxes);
    spawner.pool = calloc(spawner.config.tmp_pool + 1u, sizeof *spawner.pool);
    spawner.transit = calloc(spawner.count, sizeof *spawner.transit);
    spawner.removals = calloc(spawner.count, sizeof *spawner.removals);
    if (!spawner.sandboxes || !spawner.pool || !spawner.transit || !spawner.removals) return fail(failure, "allocate the table");
    if (warden_start(&spawner, failure) != 0) return -1;
    if (mounts && images_build(&spawner.config, failure) != 0) return -1;
    spawner.own_mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    spawner.own_pids = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (spawner.own_mounts < 0 || spawner.own_pids < 0) return fail(failure, "keep the way back");
    try_egress();
    if (spawner.config.tmp_pool == 0) spawner.config.tmp_pool = 1;
    start_helpers(refused);
    if (mounts) leaving_start(&spawner);
    spawner.events = epoll_create1(EPOLL_CLOEXEC);
    if (spawner.events < 0 || watch(&spawner, spawner.server, WATCH_SERVER, 0) != 0 ||
        (spawner.helpers >= 0 && watch(&spawner, spawner.helpers, WATCH_HELPERS, 0) != 0) ||
        (spawner.janitor >= 0 && watch(&spawner, spawner.janitor, WATCH_JANITOR, 0) != 0))
        return fail(failure, "watch the server");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail(failure, "hide from ptrace");
    return mounts ? keep_few_capabilities(failure) : confined_prepare(&spawner, failure);
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--seccomp") == 0) return seccomp_dump(argv[2], false);
    if (argc == 3 && strcmp(argv[1], "--seccomp-forkers") == 0) return seccomp_dump(argv[2], true);
    bool inside = argc == 4 && strcmp(argv[3], INSIDE) == 0;
    if (argc != 3 && !inside) {
        fprintf(stderr, "usage: lambent-launcher CONTROL CONFIG\n");
        return 2;
    }
    struct failure failure = {"", 0}, refused = {"", 0};
    spawner.server = fcntl(atoi(argv[1]), F_DUPFD_CLOEXEC, OCCUPIED);
    int config = fcntl(atoi(argv[2]), F_DUPFD_CLOEXEC, OCCUPIED);
    int both[2] = {spawner.server, config};
    keep_only(both, 2);
    occupy_fds(3); /* what inits keep of ours lies above what their programs get */
    spawner.lifeline = spawner.relay = spawner.janitor = -1;
    struct answer hello = {.version = PROTOCOL_VERSION, .kind = ANSWER_HELLO};
    bool started = config_read(config, &spawner.config, &failure) == 0;
    if (started && spawner.config.rootless && !inside) started = enter_outer(argv, config, &failure) == 0;
    close(config);
    started = started && prepare(&failure, &refused) == 0;
    spawner.copies = started && !spawner.config.rootless && !spawner.config.confined && spawner.groups.count > 0 &&
                     copier_is_possible();
    hello.flags = (spawner.config.tmp_disk ? ANSWER_TMP_DISK : 0) | (spawner.copies ? ANSWER_COPIES : 0);
    hello.error = started ? refused.error : failure.error;
    hello.status = started;
    hello.signal = landlock_abi();
    snprintf(hello.step, sizeof hello.step, "%s", started ? refused.step : failure.step);
    bool told = send_message(spawner.server, &hello, sizeof hello, NULL, 0) == 0;
    int status = 1;
    if (told && started && fcntl(spawner.server, F_SETFL, O_NONBLOCK) == 0) status = spawner_run(&spawner);
    warden_finish(&spawner);
    return status;
}
