/* Forks, from the spawner's side: an order to whoever forks, and what it answers.
 *
 * A copy's sandbox is an ordinary blank in which nothing was ever started, so nothing of a function's sees it come. The
 * forker gets the namespaces and groups of that one sandbox, for the length of one fork; what it answers is checked like
 * the server's words: it may name nobody but a sandbox that waits for it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fork/fork.h"
#include "seccomp.h"
#include "table.h"

#define FORK_MS_MAX 10000

_Static_assert(FORK_FDS_MAX <= MESSAGE_FDS_MAX, "an order must fit into a message");
_Static_assert(HIERARCHIES_MAX <= FORK_GROUPS_MAX, "every hierarchy has a place in an order");

int forks_open(struct spawner *spawner, struct sandbox *forker, struct failure *failure) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        fail(failure, "make the forks' socket");
        return -1;
    }
    struct fork_setup setup = {.version = FORK_VERSION};
    setup.filter_length = seccomp_copy(setup.filter, FORK_FILTER_MAX);
    unwatch(spawner, &forker->forks);
    if (setup.filter_length == 0) fail_with(failure, "copy the filter", E2BIG);
    else if (fcntl(pair[0], F_SETFL, O_NONBLOCK) != 0) fail(failure, "make the forks' socket");
    else if (offer_message(pair[0], &setup, sizeof setup, NULL, 0) != 0) fail(failure, "speak to the forker");
    else if (watch(spawner, pair[0], WATCH_FORKS, slot_of(spawner, forker)) != 0) fail(failure, "watch the forker");
    if (failure->error) {
        close(pair[0]);
        close(pair[1]);
        return -1;
    }
    forker->forks = pair[0];
    forker->forks_asked = 0;
    return pair[1];
}

/* The seven, the user namespace last: who joins it first needs no capability of ours for the others. */
int namespaces_open(const struct sandbox *sandbox, int *fds, struct failure *failure) {
    static const char *const NAMES[FORK_NAMESPACES] = {"pid", "mnt", "net", "ipc", "uts", "cgroup", "user"};
    for (unsigned i = 0; i < FORK_NAMESPACES; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/ns/%s", sandbox->pid, NAMES[i]);
        fds[i] = open(path, O_RDONLY | O_CLOEXEC);
        if (fds[i] >= 0) continue;
        fail(failure, "open a namespace");
        while (i-- > 0) close_fd(&fds[i]);
        return -1;
    }
    return 0;
}

static bool can_fork(const struct sandbox *forker, const struct sandbox *sandbox, struct failure *failure) {
    if (!forker || !forker->is_zygote || forker->state != ALIVE || forker->forks < 0)
        fail_with(failure, "find the forker", ESRCH);
    else if (sandbox->is_zygote || sandbox->has_run)
        fail_with(failure, "find the sandbox unused", EALREADY);
    else if (forker->image != sandbox->image)
        fail_with(failure, "find the same image", EXDEV);
    return failure->error == 0;
}

void fork_into(struct spawner *spawner, struct sandbox *sandbox, const struct request *request, const int *given,
               size_t count) {
    struct failure failure = {"", 0};
    struct sandbox *forker = sandbox_find(spawner, request->from);
    bool channel = (request->flags & REQUEST_HAS_CHANNEL) != 0;
    int fds[FORK_FDS_MAX], log[2] = {-1, -1};
    unsigned opened = 0;
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    if (!can_fork(forker, sandbox, &failure)) goto done;
    if (count != (channel ? 1u : 0u) || (channel && !is_socket(given[0]))) {
        fail_with(&failure, "check the channel", ENOTSOCK);
        goto done;
    }
    if (log_open(spawner, sandbox, log, &failure) != 0 || namespaces_open(sandbox, fds, &failure) != 0) goto done;
    opened = FORK_NAMESPACES;
    struct fork_order order = {.version = FORK_VERSION, .serial = request->serial, .sandbox = request->sandbox,
                               .user = FUNCTION_ID, .group = FUNCTION_ID,
                               .last_capability = spawner->last_capability,
                               .descriptors_max = sandbox->limits.descriptors_max,
                               .processes_max = sandbox->limits.processes_max,
                               .data_bytes_max = groups_limit_memory(&spawner->groups) ? 0 : sandbox->limits.memory_bytes};
    unsigned with = opened;
    fds[with++] = log[1];
    if (channel) {
        order.flags |= FORK_HAS_CHANNEL;
        fds[with++] = given[0];
    }
    if (request->flags & REQUEST_FORK_AHEAD) order.flags |= FORK_AHEAD;
    order.cgroup_version = (uint32_t)spawner->groups.version;
    unsigned groups = with;
    int opened_groups = group_doors(&spawner->groups, name, function_id(spawner, forker), fds + with);
    if (opened_groups < 0) {
        fail(&failure, "open the sandbox's cgroup");
        goto done;
    }
    with += order.group_count = (uint32_t)opened_groups;
    sandbox->oom_kills = group_oom_kills(&spawner->groups, name);
    if (offer_message(forker->forks, &order, sizeof order, fds, with) != 0) fail(&failure, "speak to the forker");
    for (unsigned i = groups; i < with; i++) close_fd(&fds[i]);
done:
    for (unsigned i = 0; i < opened; i++) close_fd(&fds[i]);
    close_fd(&log[1]);
    if (failure.error) {
        close_fd(&log[0]);
        settle(spawner, sandbox, &failure, 0, NULL, 0);
        return;
    }
    sandbox->log = log[0];
    sandbox->from = request->from;
    sandbox->has_run = sandbox->awaits_fork = true;
    sandbox->deadline_ms = now_ms() + FORK_MS_MAX;
    forker->forks_asked++;
    enter_transit(spawner, sandbox);
}

static void finish_fork(struct spawner *spawner, struct sandbox *sandbox, const struct fork_report *report) {
    struct failure failure = {report->step, report->error};
    struct order order = {.kind = ORDER_ADOPT, .flags = (uint32_t)report->pid, .serial = sandbox->serial};
    sandbox->awaits_fork = false;
    leave_transit(spawner, sandbox);
    if (failure.error == 0 && report->pid <= 1) fail_with(&failure, "read the forker's report", EPROTO);
    if (failure.error == 0 && offer_message(sandbox->control, &order, sizeof order, NULL, 0) != 0)
        fail(&failure, "speak to init");
    settle(spawner, sandbox, failure.error ? &failure : NULL, 0, &sandbox->log, failure.error ? 0 : 1);
    close_fd(&sandbox->log);
}

void forks_reported(struct spawner *spawner, uint32_t slot) {
    struct sandbox *forker = &spawner->sandboxes[slot];
    struct fork_report report;
    int none[1];
    size_t count;
    if (forker->forks < 0) return;
    ssize_t got = receive_message(forker->forks, &report, sizeof report, none, 0, &count);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got != (ssize_t)sizeof report || report.version != FORK_VERSION || forker->forks_asked == 0) {
        forks_lost(spawner, forker);
        return;
    }
    forker->forks_asked--;
    report.step[FORK_STEP_MAX - 1] = 0;
    struct sandbox *sandbox = sandbox_find(spawner, report.sandbox);
    if (sandbox && sandbox->state == ALIVE && sandbox->op == OP_FORK && sandbox->serial == report.serial &&
        sandbox->from == id_of(spawner, forker))
        finish_fork(spawner, sandbox, &report);
}

/* It ended, or speaks what is no report: nobody waits for it any longer. */
void forks_lost(struct spawner *spawner, struct sandbox *forker) {
    uint64_t id = id_of(spawner, forker);
    unwatch(spawner, &forker->forks);
    for (uint32_t i = spawner->in_transit; i-- > 0;) {
        if (i >= spawner->in_transit) continue;
        struct sandbox *sandbox = &spawner->sandboxes[spawner->transit[i]];
        if (sandbox->op != OP_FORK || sandbox->from != id || sandbox->state != ALIVE) continue;
        fork_failed(spawner, sandbox, "hear from the forker", EPIPE);
    }
}

void fork_failed(struct spawner *spawner, struct sandbox *sandbox, const char *step, int error) {
    struct failure failure = {step, error};
    leave_transit(spawner, sandbox);
    close_fd(&sandbox->log);
    settle(spawner, sandbox, &failure, 0, NULL, 0);
}
