/* Templates and their copies, from the spawner's side; what is done in between is in copier.c.
 *
 * A sandbox for a copy is a sandbox like all others (limits, code, way out, init), but made below its template's user and
 * process namespaces. It is made ahead of the copy. A copy needs both to stand still for a moment: neither takes another
 * request meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "copier.h"
#include "table.h"

static struct sandbox *template_of(struct spawner *spawner, const struct sandbox *sandbox) {
    struct sandbox *template = sandbox_find(spawner, sandbox->template);
    return template && template->state == ALIVE && template->holding ? template : NULL;
}

/* ---- user ids ---- */

static uint32_t ids_below(const struct spawner *spawner, const struct sandbox *sandbox) {
    return slot_of(spawner, sandbox) * spawner->config.ids_stride;
}

/* All sandboxes' ids but its own, which have lines already: whichever slot a copy gets. */
void template_map(const struct spawner *spawner, const struct sandbox *sandbox, char *map, size_t size) {
    uint32_t base = spawner->config.ids_base, stride = spawner->config.ids_stride, below = ids_below(spawner, sandbox);
    uint32_t above = (spawner->count - 1) * stride - below;
    int used = below ? snprintf(map, size, "%u %u %u\n", COPY_IDS_BASE, base, below) : 0;
    if (above)
        snprintf(map + used, size - (size_t)used, "%u %u %u\n", COPY_IDS_BASE + below + stride, base + below + stride, above);
}

uint32_t template_inner_id(const struct spawner *spawner, const struct sandbox *sandbox) {
    return COPY_IDS_BASE + ids_below(spawner, sandbox);
}

/* ---- blanks for copies ---- */

int template_users(struct spawner *spawner, struct sandbox *sandbox, struct failure *failure) {
    struct sandbox *template = template_of(spawner, sandbox);
    char path[64];
    if (!template) return fail_with(failure, "find the template", ESRCH);
    snprintf(path, sizeof path, "/proc/%d/ns/user", template->pid);
    int users = open(path, O_RDONLY | O_CLOEXEC);
    return users < 0 ? fail(failure, "open the template's users") : users;
}

pid_t template_clone(struct spawner *spawner, struct sandbox *sandbox, int group, struct failure *failure) {
    struct sandbox *template = template_of(spawner, sandbox);
    char path[64];
    if (!template) return fail_with(failure, "find the template", ESRCH);
    snprintf(path, sizeof path, "/proc/%d/ns/pid", template->pid);
    int pids = open(path, O_RDONLY | O_CLOEXEC);
    if (pids < 0) return fail(failure, "open the template's processes");
    pid_t pid = -1;
    if (setns(pids, CLONE_NEWPID) != 0) {
        fail(failure, "enter the template's processes");
    } else {
        pid = sys_clone3(0, &sandbox->pidfd, group);
        if (pid < 0) fail(failure, "clone beside the template"); /* ENOMEM: its init has ended */
        if (pid != 0 && setns(spawner->own_pids, CLONE_NEWPID) != 0) {
            perror("lambent-launcher: no way back from a template");
            abort();
        }
    }
    close(pids);
    return pid;
}

static pid_t pid_of(int pidfd) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    if (read_at(AT_FDCWD, path, text, sizeof text) <= 0) return -1;
    const char *at = strstr(text, "\nPid:");
    return at ? (pid_t)strtol(at + 5, NULL, 10) : -1;
}

/* Who has built so far hands over to pid 1, and ends. */
void template_born(struct spawner *spawner, struct sandbox *sandbox, int *pidfd) {
    pid_t builder = sandbox->pid, pid = pid_of(*pidfd);
    unwatch(spawner, &sandbox->pidfd);
    sandbox->pidfd = *pidfd;
    *pidfd = -1;
    waitpid(builder, NULL, 0);
    sandbox->pid = pid;
    if (pid <= 0)
        sandbox_fail(spawner, sandbox, "know the init", ESRCH);
    else if (watch(spawner, sandbox->pidfd, WATCH_PIDFD, slot_of(spawner, sandbox)) != 0)
        sandbox_fail(spawner, sandbox, "watch the sandbox", errno);
}

/* ---- the template ---- */

void template_hold(struct spawner *spawner, struct sandbox *sandbox) {
    struct failure failure = {"", 0};
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    int pair[2] = {-1, -1};
    if (!spawner->copies)
        fail_with(&failure, "hold what may be held", EOPNOTSUPP);
    else if (sandbox->frozen)
        fail_with(&failure, "find it awake", EBUSY);
    else if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        fail(&failure, "make the copier's socket");
    if (failure.error == 0) {
        pid_t pid = fork();
        if (pid == 0) {
            struct copier_start start = {&spawner->groups, name, pair[1], sandbox->pid, function_id(spawner, sandbox)};
            int kept[HIERARCHIES_MAX + 1] = {pair[1]};
            for (uint32_t i = 0; i < spawner->groups.count; i++) kept[1 + i] = spawner->groups.at[i].fd;
            keep_only(kept, 1 + spawner->groups.count);
            copier_main(&start);
        }
        close_fd(&pair[1]);
        if (pid < 0) {
            fail(&failure, "fork the copier");
        } else {
            sandbox->copier_pid = pid;
            sandbox->copier = pair[0];
            if (watch(spawner, pair[0], WATCH_COPIER, slot_of(spawner, sandbox)) == 0) return;
            fail(&failure, "watch the copier");
            template_end(spawner, sandbox);
            pair[0] = -1;
        }
    }
    close_fd(&pair[0]);
    settle(spawner, sandbox, &failure, 0, NULL, 0);
}

void template_end(struct spawner *spawner, struct sandbox *sandbox) {
    if (sandbox->copier < 0) return;
    struct sandbox *waiting = sandbox->copying ? sandbox_find(spawner, sandbox->copying) : NULL;
    unwatch(spawner, &sandbox->copier);
    kill(sandbox->copier_pid, SIGKILL); /* with it ends the program it holds */
    waitpid(sandbox->copier_pid, NULL, 0);
    sandbox->holding = false;
    sandbox->copying = 0;
    if (waiting) waiting->awaits_fork = false;
    if (!waiting || waiting->op != OP_COPY) return;
    close_fd(&waiting->log);
    settle(spawner, waiting, &(struct failure){"keep the template", ESRCH}, 0, NULL, 0);
}

void template_copy(struct spawner *spawner, struct sandbox *sandbox, const struct request *request, const int *fds,
                   size_t count) {
    struct failure failure = {"", 0};
    struct sandbox *template = template_of(spawner, sandbox);
    struct copier_message order = {.kind = COPIER_COPY, .user = function_id(spawner, sandbox)};
    static const char *const NAMES[COPY_NAMESPACES] = {"user", "mnt", "net", "ipc", "uts", "cgroup", "pid"};
    int handed[COPY_FDS_MAX], log[2] = {-1, -1};
    size_t opened = 0, used = 0;
    char name[GROUP_NAME_MAX], path[96];
    struct stat socket;
    name_of(spawner, sandbox, name);
    if (!template)
        fail_with(&failure, "find the template", ESRCH);
    else if (template->copying)
        fail_with(&failure, "find the template free", EBUSY);
    else if (count != 1 || !(request->flags & REQUEST_HAS_CHANNEL) || fstat(fds[0], &socket) != 0 || !S_ISSOCK(socket.st_mode))
        fail_with(&failure, "check the channel", ENOTSOCK);
    for (int i = 0; i < COPY_NAMESPACES && failure.error == 0; i++) {
        snprintf(path, sizeof path, "/proc/%d/ns/%s", sandbox->pid, NAMES[i]);
        if ((handed[opened] = open(path, O_RDONLY | O_CLOEXEC)) < 0)
            fail(&failure, "open a namespace");
        else
            opened++;
    }
    bool moves = spawner->groups.version == 1;
    for (uint32_t i = 0; moves && i < spawner->groups.count && failure.error == 0; i++) {
        snprintf(path, sizeof path, "%s/tasks", name);
        if ((handed[opened] = openat(spawner->groups.at[i].fd, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW)) < 0)
            fail(&failure, "open the sandbox's cgroup");
        else
            opened++, order.groups++;
    }
    uint32_t owner = function_id(spawner, sandbox);
    if (failure.error == 0 && (pipe2(log, O_CLOEXEC) != 0 || fchown(log[1], owner, owner) != 0 ||
                               fcntl(log[0], F_SETFL, O_NONBLOCK) != 0))
        fail(&failure, "make the log pipe");
    used = opened;
    if (failure.error == 0) {
        handed[used++] = fds[0];
        handed[used++] = log[1];
        if (spawner->groups.version == 2) {
            snprintf(path, sizeof path, "%s/cgroup.procs", name);
            int procs = openat(spawner->groups.at[0].fd, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
            if (procs < 0) fail(&failure, "open the sandbox's cgroup");
            order.joins = procs >= 0;
            if (procs >= 0) handed[used++] = procs;
        }
    }
    if (failure.error == 0) {
        sandbox->oom_kills = group_oom_kills(&spawner->groups, name);
        if (offer_message(template->copier, &order, sizeof order, handed, used) != 0) fail(&failure, "speak to the copier");
    }
    for (size_t i = 0; i < opened; i++) close(handed[i]);
    if (order.joins) close(handed[used - 1]);
    close_fd(&log[1]);
    if (failure.error == 0) {
        template->copying = id_of(spawner, sandbox);
        sandbox->awaits_fork = true; /* until the copier has answered, one may come into its groups */
        sandbox->log = log[0];
        return;
    }
    close_fd(&log[0]);
    settle(spawner, sandbox, &failure, 0, NULL, 0);
}

static void copied(struct spawner *spawner, struct sandbox *sandbox, const struct copier_message *said) {
    struct failure failure = {said->step, said->error};
    if (said->error == 0) {
        struct order order = {.kind = ORDER_ADOPT, .serial = sandbox->serial, .flags = (uint32_t)said->pid};
        sandbox->has_run = true;
        if (offer_message(sandbox->control, &order, sizeof order, NULL, 0) != 0) fail(&failure, "speak to init");
    }
    settle(spawner, sandbox, failure.error ? &failure : NULL, 0, &sandbox->log, failure.error ? 0 : 1);
    close_fd(&sandbox->log);
}

void template_heard(struct spawner *spawner, uint32_t slot) {
    struct sandbox *sandbox = &spawner->sandboxes[slot];
    if (sandbox->copier < 0) return;
    struct copier_message said;
    size_t count;
    ssize_t got = receive_message(sandbox->copier, &said, sizeof said, NULL, 0, &count);
    if (got != (ssize_t)sizeof said) {
        template_end(spawner, sandbox);
        if (sandbox->op == OP_HOLD) settle(spawner, sandbox, &(struct failure){"keep the copier", ESRCH}, 0, NULL, 0);
        return; /* the program ended with it, of which the server hears; the sandbox stays, for its copies live below it */
    }
    said.step[STEP_MAX - 1] = 0;
    struct failure failure = {said.step, said.error};
    if (said.kind == COPIER_HELD && sandbox->op == OP_HOLD) {
        sandbox->holding = said.error == 0;
        if (said.error) template_end(spawner, sandbox);
        settle(spawner, sandbox, said.error ? &failure : NULL, said.pid, NULL, 0);
    } else if (said.kind == COPIER_COPIED && sandbox->copying) {
        struct sandbox *waiting = sandbox_find(spawner, sandbox->copying);
        sandbox->copying = 0;
        if (waiting) waiting->awaits_fork = false;
        if (waiting && waiting->op == OP_COPY) copied(spawner, waiting, &said);
    }
}
