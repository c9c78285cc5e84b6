/* From a fork of pid 1 to the program: descriptors, limits, the function's user, exec. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confined.h"
#include "fork/fork.h"
#include "seccomp.h"

#define MEMLOCK_BYTES 65536u
#define CHANNEL_FD 3
#define COMPLAINT_FD 4 /* where no forks are told */
#define RULES_FD 5
#define BIT(capability) (1ull << (capability))

static _Noreturn void complain(int fd) {
    int error = errno ? errno : EIO;
    if (fd < 0) dprintf(STDERR_FILENO, "not started: %s\n", strerror(error));
    bool told = fd < 0 || write(fd, &error, sizeof error) == (ssize_t)sizeof error;
    _exit(told ? 127 : 126);
}

int lower_limit(int resource, uint64_t most) {
    struct rlimit limit;
    if (getrlimit((__typeof__(RLIMIT_NOFILE))resource, &limit) != 0) return -1;
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > most) limit.rlim_max = most;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit((__typeof__(RLIMIT_NOFILE))resource, &limit);
}

/* Payload: u32 count of arguments, u32 count of variables, then NUL-terminated strings: directory, arguments,
 * variables. `strings` gets both lists, each ended by NULL. Answers the directory or NULL. */
static char *parse(char *payload, size_t size, char **strings, char ***environment) {
    uint32_t counts[2];
    if (size < sizeof counts + 1) return NULL;
    memcpy(counts, payload, sizeof counts);
    if (counts[0] == 0 || counts[0] > PAYLOAD_STRINGS_MAX || counts[1] > PAYLOAD_STRINGS_MAX) return NULL;
    char *at = payload + sizeof counts, *end = payload + size;
    if (end[-1] != 0) return NULL;
    char *directory = at;
    at += strlen(at) + 1;
    uint32_t total = counts[0] + counts[1], out = 0;
    for (uint32_t i = 0; i < total; i++) {
        if (at >= end) return NULL;
        strings[out++] = at;
        at += strlen(at) + 1;
        if (i + 1 == counts[0]) {
            strings[out++] = NULL;
            *environment = strings + out;
        }
    }
    strings[out] = NULL;
    return at == end ? directory : NULL;
}

/* Outside of all user namespaces: joining those of a sandbox takes SYS_ADMIN, its mounts SYS_CHROOT, and the rest comes
 * with its user namespace, which is joined last. A user that nobody else has, nothing to see but the image, no network. */
static int become_zygote(uint32_t id) {
    uint64_t kept = BIT(CAP_SYS_ADMIN) | BIT(CAP_SYS_CHROOT);
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    memset(data, 0, sizeof data);
    data[0].effective = data[0].permitted = data[0].inheritable = (uint32_t)kept;
    int last = last_capability();
    if (last < 0 || setgroups(0, NULL) != 0 || setresgid(id, id, id) != 0) return -1;
    for (int capability = 0; capability <= last; capability++)
        if (!(kept & BIT(capability)) && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return -1;
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || setresuid(id, id, id) != 0) return -1;
    if (syscall(SYS_capset, &header, data) != 0) return -1;
    for (int capability = 0; capability <= last; capability++)
        if (kept & BIT(capability) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0) return -1;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || seccomp_load_forkers() != 0) return -1;
    return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}

_Noreturn void program_run(const struct order *order, const char *payload, size_t size, const struct gift *gift,
                           bool single_id, uint32_t zygote) {
    int complain_fd = gift->complain, complaint = gift->forks >= 0 ? FORKS_FD + 1 : COMPLAINT_FD;
    static char *strings[2 * PAYLOAD_STRINGS_MAX + 2];
    char **environment = strings;
    char *directory = parse((char *)(uintptr_t)payload, size, strings, &environment);
    if (!directory) errno = EINVAL, complain(complain_fd);
    if (!zygote && setsid() < 0) complain(complain_fd);
    int rules = -1;
    if (confined_is_active()) {
        if (confined_join() != 0 || confined_rules(order, &rules) != 0) complain(complain_fd);
        if (rules >= 0 && (rules = fcntl(rules, F_DUPFD_CLOEXEC, 128)) < 0) complain(complain_fd);
    }

    /* What came by message is above 5, because 0 to 5 are occupied: nothing below is overwritten before its turn. */
    if (dup2(gift->log, 1) < 0 || dup2(gift->log, 2) < 0) complain(complain_fd);
    if (gift->channel >= 0 && dup2(gift->channel, CHANNEL_FD) < 0) complain(complain_fd);
    if (gift->channel < 0) close(CHANNEL_FD);
    if (gift->forks >= 0 && dup2(gift->forks, FORKS_FD) < 0) complain(complain_fd);
    if (complain_fd < 0) {
        complaint = -1;
    } else {
        int up = fcntl(complain_fd, F_DUPFD_CLOEXEC, 128);
        if (up < 0 || dup3(up, complaint, O_CLOEXEC) < 0) complain(complain_fd);
    }
    if (rules >= 0 && (rules = dup3(rules, RULES_FD, O_CLOEXEC)) < 0) complain(complaint);
    sys_close_range((unsigned)(gift->forks >= 0 ? FORKS_FD : CHANNEL_FD) + (complaint >= 0) + (rules >= 0) + 1u, ~0u);

    struct rlimit stack;
    if (lower_limit(RLIMIT_NOFILE, order->descriptors_max) != 0 || lower_limit(RLIMIT_CORE, 0) != 0 ||
        lower_limit(RLIMIT_MEMLOCK, MEMLOCK_BYTES) != 0 || lower_limit(RLIMIT_NPROC, order->processes_max) != 0)
        complain(complaint);
    if (order->data_bytes_max && lower_limit(RLIMIT_DATA, order->data_bytes_max) != 0) complain(complaint);
    if (getrlimit(RLIMIT_STACK, &stack) == 0 && (stack.rlim_cur = 8u << 20) <= stack.rlim_max)
        setrlimit(RLIMIT_STACK, &stack);

    if (zygote) {
        if (become_zygote(zygote) != 0) complain(complaint);
    } else if (confined_is_active()) {
        if (confined_enter(order, rules) != 0) complain(complaint);
    } else if (!single_id && (setresgid(FUNCTION_ID, FUNCTION_ID, FUNCTION_ID) != 0 ||
                       setresuid(FUNCTION_ID, FUNCTION_ID, FUNCTION_ID) != 0)) {
        complain(complaint);
    }
    if (!zygote && sys_capset(0) != 0) complain(complaint);

    /* Dispositions and the mask are inherited through exec: an ignored SIGCHLD would make every exit code read 0. */
    for (int number = 1; number < 65; number++) signal(number, SIG_DFL);
    if (confined_is_active()) signal(SIGXFSZ, SIG_IGN); /* too large a file is an error, as on a full disk */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (chdir(directory) != 0) complain(complaint);
    execve(strings[0], strings, environment);
    complain(complaint);
}
