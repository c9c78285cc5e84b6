/* From a fork of pid 1 to the program: descriptors, limits, the function's user, exec. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "confined.h"

#define MEMLOCK_BYTES 65536u
#define COMPLAINT_FD 4
#define RULES_FD 5

static _Noreturn void complain(int fd) {
    int error = errno ? errno : EIO;
    ssize_t ignored = write(fd, &error, sizeof error);
    _exit(ignored == (ssize_t)sizeof error ? 127 : 126);
}

static int lower(int resource, rlim_t most) {
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

_Noreturn void program_run(const struct order *order, const char *payload, size_t size, int log, int channel,
                           int complain_fd, bool single_id) {
    static char *strings[2 * PAYLOAD_STRINGS_MAX + 2];
    char **environment = strings;
    char *directory = parse((char *)(uintptr_t)payload, size, strings, &environment);
    if (!directory) errno = EINVAL, complain(complain_fd);
    if (setsid() < 0) complain(complain_fd);
    int rules = -1;
    if (confined_is_active()) {
        if (confined_join() != 0 || confined_rules(order, &rules) != 0) complain(complain_fd);
        if (rules >= 0 && (rules = fcntl(rules, F_DUPFD_CLOEXEC, 128)) < 0) complain(complain_fd);
    }

    /* What came by message is above 3, because 0 to 3 are occupied: nothing below is overwritten before its turn. */
    if (dup2(log, 1) < 0 || dup2(log, 2) < 0) complain(complain_fd);
    if (channel >= 0 && dup2(channel, 3) < 0) complain(complain_fd);
    if (channel < 0) close(3);
    int up = fcntl(complain_fd, F_DUPFD_CLOEXEC, 128);
    if (up < 0 || dup3(up, COMPLAINT_FD, O_CLOEXEC) < 0) complain(complain_fd);
    if (rules >= 0 && (rules = dup3(rules, RULES_FD, O_CLOEXEC)) < 0) complain(COMPLAINT_FD);
    sys_close_range(COMPLAINT_FD + (rules >= 0 ? 2u : 1u), ~0u);

    struct rlimit stack;
    if (lower(RLIMIT_NOFILE, order->descriptors_max) != 0 || lower(RLIMIT_CORE, 0) != 0 ||
        lower(RLIMIT_MEMLOCK, MEMLOCK_BYTES) != 0 || lower(RLIMIT_NPROC, order->processes_max) != 0)
        complain(COMPLAINT_FD);
    if (order->data_bytes_max && lower(RLIMIT_DATA, order->data_bytes_max) != 0) complain(COMPLAINT_FD);
    if (getrlimit(RLIMIT_STACK, &stack) == 0 && (stack.rlim_cur = 8u << 20) <= stack.rlim_max)
        setrlimit(RLIMIT_STACK, &stack);

    if (confined_is_active()) {
        if (confined_enter(order, rules) != 0) complain(COMPLAINT_FD);
    } else if (!single_id && (setresgid(FUNCTION_ID, FUNCTION_ID, FUNCTION_ID) != 0 ||
                       setresuid(FUNCTION_ID, FUNCTION_ID, FUNCTION_ID) != 0)) {
        complain(COMPLAINT_FD);
    }
    if (sys_capset(0) != 0) complain(COMPLAINT_FD);

    /* Dispositions and the mask are inherited through exec: an ignored SIGCHLD would make every exit code read 0. */
    for (int number = 1; number < 65; number++) signal(number, SIG_DFL);
    if (confined_is_active()) signal(SIGXFSZ, SIG_IGN); /* too large a file is an error, as on a full disk */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (chdir(directory) != 0) complain(COMPLAINT_FD);
    execve(strings[0], strings, environment);
    complain(COMPLAINT_FD);
}
