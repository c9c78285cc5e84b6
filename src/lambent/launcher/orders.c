/* What a living sandbox is asked, what its init reports, and what the helpers made for it.
 *
 * A sandbox works on one request at a time; who sends a second hears EBUSY. OP_DESTROY alone is always taken.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "confined.h"
#include "fork/fork.h"
#include "policy.h"
#include "table.h"
#include "tmpdisk.h"

#define POLICY_BYTES_MAX (sizeof(struct policy_head) + LAYERS * POLICY_RULES_MAX * sizeof(struct policy_rule))

/* ---- requests to a living one ---- */

/* What the server hands over is looked at without asking whoever stands behind it: a file of its own making (FUSE) could
 * hold up even fstat(), a pipe the one who reads it. */
bool is_socket(int fd) {
    int type;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

static bool is_memory_file(int fd, off_t most) {
    struct stat facts;
    return fcntl(fd, F_GET_SEALS) >= 0 && fstat(fd, &facts) == 0 && facts.st_size <= most;
}

static void finish_bind(struct spawner *spawner, struct sandbox *sandbox, int tmp) {
    struct failure failure = {"", 0};
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    const struct request *request = &sandbox->request;
    if (limit(spawner, sandbox, &request->limits, &failure) == 0 &&
        egress_bind(spawner, sandbox, &failure) == 0 && bind_trees(spawner, sandbox, request, tmp, &failure) == 0 &&
        (!spawner->config.confined || confined_set_cpu(spawner, sandbox, request->limits.cpu_quota_us, &failure) == 0)) {
        group_reset_peak(&spawner->groups, name);
        sandbox->limits = request->limits;
        sandbox->bound = true;
        forget_mount_points(sandbox);
    }
    leaving_tmp(spawner, &sandbox->held[1]); /* of a bind that failed */
    sandbox->held[1] = tmp;
    leave_transit(spawner, sandbox);
    settle(spawner, sandbox, failure.error ? &failure : NULL, 0, NULL, 0);
}

static void bind_sandbox(struct spawner *spawner, struct sandbox *sandbox, const struct request *request, int *fds,
                         size_t count) {
    struct failure failure = {"", 0};
    if (count != (request->flags & REQUEST_HAS_EGRESS ? 1u : 0u)) {
        fail_with(&failure, "count the descriptors", EINVAL);
        settle(spawner, sandbox, &failure, 0, NULL, 0);
        return;
    }
    if (count > 0 && !is_memory_file(fds[0], POLICY_BYTES_MAX)) {
        fail_with(&failure, "check the policy", EINVAL);
        settle(spawner, sandbox, &failure, 0, NULL, 0);
        return;
    }
    sandbox->request = *request;
    close_fd(&sandbox->policy); /* of a bind that failed */
    if (count > 0) {
        sandbox->policy = fds[0];
        fds[0] = -1;
    }
    if (!spawner->config.tmp_disk || request->limits.tmp_mb == sandbox->limits.tmp_mb) {
        finish_bind(spawner, sandbox, -1);
        return;
    }
    int tmp = take_tmp(spawner, request->limits.tmp_mb);
    if (tmp >= 0) {
        finish_bind(spawner, sandbox, tmp);
        return;
    }
    if (order_tmp(spawner, sandbox, request->limits.tmp_mb) != 0) {
        fail(&failure, "order a /tmp");
        settle(spawner, sandbox, &failure, 0, NULL, 0);
        return;
    }
    enter_transit(spawner, sandbox);
}

/* Before an order: a frozen init would not hear it. */
static void wake(struct spawner *spawner, struct sandbox *sandbox, struct failure *failure) {
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    if (sandbox->frozen && group_freeze(&spawner->groups, name, false, failure) == 0) sandbox->frozen = false;
}

int log_open(const struct spawner *spawner, const struct sandbox *sandbox, int log[2], struct failure *failure) {
    uint32_t owner = function_id(spawner, sandbox);
    if (pipe2(log, O_CLOEXEC) != 0) return fail(failure, "make the log pipe");
    /* The function owns its pipe, or opening /dev/stdout would be refused. */
    if (fchown(log[1], owner, owner) != 0) return fail(failure, "own the log pipe");
    return fcntl(log[0], F_SETFL, O_NONBLOCK) == 0 ? 0 : fail(failure, "make the log pipe");
}

static void start(struct spawner *spawner, struct sandbox *sandbox, const struct request *request, int *fds, size_t count) {
    struct failure failure = {"", 0};
    bool channel = (request->flags & REQUEST_HAS_CHANNEL) != 0, forks = (request->flags & REQUEST_FORKS) != 0;
    int log[2] = {-1, -1}, forked = -1;
    wake(spawner, sandbox, &failure);
    if (failure.error != 0)
        ; /* told below */
    else if (count != (channel ? 2u : 1u))
        fail_with(&failure, "count the descriptors", EINVAL);
    else if (sandbox->is_zygote && (sandbox->has_run || !channel || !forks))
        fail_with(&failure, "start the zygote", EINVAL);
    else if (!is_memory_file(fds[0], PAYLOAD_BYTES_MAX))
        fail_with(&failure, "check the program", EINVAL);
    else if (channel && !is_socket(fds[1]))
        fail_with(&failure, "check the channel", ENOTSOCK);
    else if (log_open(spawner, sandbox, log, &failure) == 0 && forks)
        forked = forks_open(spawner, sandbox, &failure);
    if (failure.error == 0) {
        sandbox->has_run = true;
        char name[GROUP_NAME_MAX];
        name_of(spawner, sandbox, name);
        sandbox->oom_kills = group_oom_kills(&spawner->groups, name);
        struct order order = {.kind = ORDER_START, .serial = request->serial,
                              .descriptors_max = sandbox->limits.descriptors_max,
                              .processes_max = sandbox->limits.processes_max,
                              .data_bytes_max = groups_limit_memory(&spawner->groups) ? 0 : sandbox->limits.memory_bytes};
        if (spawner->config.confined) confined_order(spawner, sandbox, &order);
        int with[4] = {log[1], fds[0]};
        size_t number = 2;
        if (channel) {
            order.flags |= ORDER_HAS_CHANNEL;
            with[number++] = fds[1];
        }
        if (forks) {
            order.flags |= ORDER_HAS_FORKS;
            with[number++] = forked;
        }
        if (offer_message(sandbox->control, &order, sizeof order, with, number) != 0) fail(&failure, "speak to init");
    }
    close_fd(&forked);
    close_fd(&log[1]);
    if (failure.error == 0) {
        sandbox->log = log[0];
        return;
    }
    close_fd(&log[0]);
    settle(spawner, sandbox, &failure, 0, NULL, 0);
}

static void freeze(struct spawner *spawner, struct sandbox *sandbox, bool frozen) {
    struct failure failure = {"", 0};
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    if (frozen) sandbox->frozen = true; /* also when it fails half way: destroy then thaws */
    if (group_freeze(&spawner->groups, name, frozen, &failure) == 0) sandbox->frozen = frozen;
    if (spawner->config.confined && failure.error == 0) confined_set_rest(sandbox, frozen, &failure);
    settle(spawner, sandbox, failure.error ? &failure : NULL, 0, NULL, 0);
}

static void reset(struct spawner *spawner, struct sandbox *sandbox) {
    struct failure failure = {"", 0};
    struct order order = {.kind = ORDER_RESET};
    wake(spawner, sandbox, &failure);
    if (failure.error == 0 && offer_message(sandbox->control, &order, sizeof order, NULL, 0) != 0)
        fail(&failure, "speak to init");
    if (failure.error) settle(spawner, sandbox, &failure, 0, NULL, 0);
}

/* Done when init has been told: the end that may follow is reported like any other. */
static void signal_program(struct spawner *spawner, struct sandbox *sandbox, const struct request *request) {
    struct failure failure = {"", 0};
    struct order order = {.kind = ORDER_SIGNAL, .flags = request->signal, .serial = request->from};
    if (request->signal != SIGTERM && request->signal != SIGKILL) fail_with(&failure, "read the signal", EINVAL);
    if (failure.error == 0) wake(spawner, sandbox, &failure);
    if (failure.error == 0 && offer_message(sandbox->control, &order, sizeof order, NULL, 0) != 0)
        fail(&failure, "speak to init");
    settle(spawner, sandbox, failure.error ? &failure : NULL, 0, NULL, 0);
}

static void namespaces(struct spawner *spawner, struct sandbox *sandbox) {
    struct failure failure = {"", 0};
    int fds[FORK_NAMESPACES];
    bool opened = namespaces_open(sandbox, fds, &failure) == 0;
    settle(spawner, sandbox, opened ? NULL : &failure, 0, fds, opened ? FORK_NAMESPACES : 0);
    for (unsigned i = 0; opened && i < FORK_NAMESPACES; i++) close_fd(&fds[i]);
}

void sandbox_request(struct spawner *spawner, const struct request *request, int *fds, size_t count) {
    struct failure failure = {"", 0};
    if (request->op == OP_CREATE) {
        if (request->sandbox != 0 || count != 0 ||
            (request->flags & REQUEST_MAY_HOLD && (spawner->config.confined || spawner->config.rootless)))
            answer_result(spawner, request->serial, 0, (fail_with(&failure, "read the request", EINVAL), &failure), 0, NULL, 0);
        else
            sandbox_create(spawner, request);
        return;
    }
    if (request->op == OP_MAKE_COPY && count == 0) {
        sandbox_create(spawner, request);
        return;
    }
    struct sandbox *sandbox = sandbox_find(spawner, request->sandbox);
    bool limited = request->op == OP_BIND || request->op == OP_SET_CPU;
    if (!sandbox)
        fail_with(&failure, "find the sandbox", ESRCH);
    else if (count != 0 && request->op != OP_START && request->op != OP_BIND && request->op != OP_FORK &&
             request->op != OP_COPY)
        fail_with(&failure, "count the descriptors", EINVAL);
    else if (limited && !limits_are_sane(&request->limits))
        fail_with(&failure, "read the limits", EINVAL);
    else if (request->op != OP_DESTROY && (sandbox->state != ALIVE || sandbox->op != 0))
        fail_with(&failure, "find the sandbox free", EBUSY);
    else if (request->op == OP_BIND && sandbox->bound)
        fail_with(&failure, "bind once", EALREADY);
    else if (sandbox->is_zygote && request->op != OP_START && request->op != OP_DESTROY)
        fail_with(&failure, "find a sandbox", EOPNOTSUPP);
    else if (sandbox->holding && request->op != OP_DESTROY)
        fail_with(&failure, "leave the template alone", EBUSY);
    else if (request->op == OP_HOLD && (!sandbox->may_hold || sandbox->copier >= 0))
        fail_with(&failure, "hold what may be held", EOPNOTSUPP);
    else if (request->op == OP_COPY && !sandbox->template)
        fail_with(&failure, "find a blank for a copy", EINVAL);
    else if ((request->op == OP_NAMESPACES || request->op == OP_FORK) && spawner->config.confined)
        fail_with(&failure, "find namespaces of its own", EOPNOTSUPP);
    if (failure.error) {
        answer_result(spawner, request->serial, request->sandbox, &failure, 0, NULL, 0);
        return;
    }
    if (request->op == OP_DESTROY) {
        sandbox_kill(spawner, slot_of(spawner, sandbox), request->serial);
        return;
    }
    sandbox->op = request->op;
    sandbox->serial = request->serial;
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    switch (request->op) {
    case OP_BIND: bind_sandbox(spawner, sandbox, request, fds, count); break;
    case OP_START: start(spawner, sandbox, request, fds, count); break;
    case OP_RESET: reset(spawner, sandbox); break;
    case OP_SIGNAL: signal_program(spawner, sandbox, request); break;
    case OP_FREEZE: freeze(spawner, sandbox, true); break;
    case OP_THAW: freeze(spawner, sandbox, false); break;
    case OP_NAMESPACES: namespaces(spawner, sandbox); break;
    case OP_HOLD: template_hold(spawner, sandbox); break;
    case OP_COPY: template_copy(spawner, sandbox, request, fds, count); break;
    case OP_FORK: fork_into(spawner, sandbox, request, fds, count); break;
    default: /* OP_SET_CPU; the loop admits no other */
        if (sandbox->in_force.cpu_quota_us != request->limits.cpu_quota_us &&
            group_set_cpu(&spawner->groups, name, request->limits.cpu_quota_us, &failure) == 0)
            sandbox->in_force.cpu_quota_us = request->limits.cpu_quota_us;
        if (spawner->config.confined && failure.error == 0)
            confined_set_cpu(spawner, sandbox, request->limits.cpu_quota_us, &failure);
        settle(spawner, sandbox, failure.error ? &failure : NULL, 0, NULL, 0);
    }
}

/* ---- what init says ---- */

static void map_ids(struct spawner *spawner, struct sandbox *sandbox) {
    char map[256], path[64];
    uint32_t function = function_id(spawner, sandbox);
    if (spawner->config.single_id)
        snprintf(map, sizeof map, "%u 0 1\n", FUNCTION_ID);
    else
        snprintf(map, sizeof map, "%u %u 1\n%u %u 1\n", INIT_ID, function - 1, FUNCTION_ID, function);
    if (sandbox->may_hold) template_map(spawner, sandbox, map + strlen(map), sizeof map - strlen(map));
    if (!sandbox->template) {
        /* Rootless, init shows its files, and they belong to the user that it has become to own the namespace: without
         * CAP_DAC_OVERRIDE only that one may open them. What the maps may hold is decided by the rest of who we are. */
        bool as_init = spawner->config.rootless && !spawner->config.single_id;
        if (as_init) setfsuid(function - 1);
        const char *step = NULL;
        snprintf(path, sizeof path, "/proc/%d/gid_map", sandbox->pid);
        if (write_at(AT_FDCWD, path, map) != 0) step = "map the groups";
        int error = errno;
        snprintf(path, sizeof path, "/proc/%d/uid_map", sandbox->pid);
        if (step == NULL && write_at(AT_FDCWD, path, map) != 0) {
            step = "map the users";
            error = errno;
        }
        if (as_init) setfsuid(geteuid());
        if (step != NULL) return sandbox_fail(spawner, sandbox, step, error);
    }
    struct order order = {.kind = ORDER_MAPPED};
    if (offer_message(sandbox->control, &order, sizeof order, NULL, 0) != 0)
        sandbox_fail(spawner, sandbox, "speak to init", errno);
}

static void ready(struct spawner *spawner, struct sandbox *sandbox) {
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    sandbox->state = ALIVE;
    spawner->births--;
    sandbox->answered = true;
    leave_transit(spawner, sandbox);
    sandbox->oom_kills = group_oom_kills(&spawner->groups, name);
    struct failure none = {name, 0}; /* the server reads figures in the group of this name */
    settle(spawner, sandbox, &none, sandbox->pid, &sandbox->listener, sandbox->is_zygote ? 0 : 1);
    close_fd(&sandbox->listener);
}

bool sandbox_control(struct spawner *spawner, uint32_t slot) {
    struct sandbox *sandbox = &spawner->sandboxes[slot];
    if (sandbox->control < 0) return false;
    struct report report;
    int fds[BUILT_FDS_MAX];
    size_t count, wanted = spawner->config.egress ? BUILT_FDS_MAX : BUILT_FDS;
    ssize_t got = receive_message(sandbox->control, &report, sizeof report, fds, BUILT_FDS_MAX, &count);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (got != (ssize_t)sizeof report) {
        unwatch(spawner, &sandbox->control); /* init ended; its pidfd tells the rest */
        return false;
    }
    report.step[STEP_MAX - 1] = 0;
    struct failure failure = {report.step, report.error};
    if (report.kind == REPORT_UNMAPPED && sandbox->state == BUILDING && count == wanted) {
        sandbox->listener = fds[BUILT_LISTENER];
        sandbox->mounts = fds[BUILT_MOUNTS];
        sandbox->task = fds[BUILT_TASK];
        sandbox->opt = fds[BUILT_OPT];
        sandbox->tmp = fds[BUILT_TMP];
        if (count == BUILT_FDS_MAX) memcpy(sandbox->gate, fds + BUILT_GATE, sizeof sandbox->gate);
        map_ids(spawner, sandbox);
        return true;
    }
    if (report.kind == REPORT_BORN && sandbox->template && sandbox->state == BUILDING && count == 1) {
        template_born(spawner, sandbox, &fds[0]);
        return true;
    }
    if (report.kind == REPORT_READY && spawner->config.confined && sandbox->state == BUILDING && count == 1) {
        sandbox->listener = fds[0];
        count = 0;
    }
    for (size_t i = 0; i < count; i++) close(fds[i]);
    if (report.kind == REPORT_READY && sandbox->state == BUILDING) {
        ready(spawner, sandbox);
    } else if (report.kind == REPORT_FAILED && sandbox->state == BUILDING) {
        sandbox_fail(spawner, sandbox, report.step, report.error);
    } else if (report.kind == REPORT_STARTED && sandbox->op == OP_START) {
        settle(spawner, sandbox, report.error ? &failure : NULL, 0, &sandbox->log, report.error ? 0 : 1);
        close_fd(&sandbox->log);
    } else if (report.kind == REPORT_RESET && sandbox->op == OP_RESET) {
        char name[GROUP_NAME_MAX];
        name_of(spawner, sandbox, name);
        group_reset_peak(&spawner->groups, name); /* what the ended programs held is not the next one's */
        settle(spawner, sandbox, report.error ? &failure : NULL, 0, NULL, 0);
    } else if (report.kind == REPORT_EXIT && sandbox->state == ALIVE) {
        char name[GROUP_NAME_MAX];
        name_of(spawner, sandbox, name);
        bool oom = group_oom_kills(&spawner->groups, name) > sandbox->oom_kills ||
                   strcmp(report.step, REPORT_STEP_MEMORY) == 0;
        answer_exit(spawner, report.serial, id_of(spawner, sandbox), &report, oom);
    }
    return true;
}

/* ---- what the helpers made ---- */

/* The one that has waited longest for this size, of those for whom one was asked for: each of them is to get one. */
static struct sandbox *find_waiting(struct spawner *spawner, uint32_t tmp_mb) {
    struct sandbox *first = NULL;
    for (uint32_t i = 0; i < spawner->in_transit; i++) {
        struct sandbox *sandbox = &spawner->sandboxes[spawner->transit[i]];
        if (tmp_awaited(sandbox) != tmp_mb) continue;
        bool earlier = !first || (sandbox->tmp_due == first->tmp_due ? sandbox->serial < first->serial : first->tmp_due);
        if (earlier) first = sandbox;
    }
    return first;
}

void sandbox_tmp_ready(struct spawner *spawner) {
    struct tmp_ready ready;
    int tmp;
    if (tmpdisk_take(spawner->helpers, &ready, &tmp) <= 0) {
        close_fd(&spawner->helpers);
        return;
    }
    ready.step[STEP_MAX - 1] = 0;
    if (ready.tmp_mb == 0) {
        if (spawner->tmp_leaving > 0) spawner->tmp_leaving--;
        return;
    }
    bool pooled = ready.tmp_mb == spawner->config.tmp_mb_default && spawner->pool_asked > 0;
    if (pooled) spawner->pool_asked--;
    if (!pooled && spawner->tmp_asked > 0) spawner->tmp_asked--;
    struct sandbox *sandbox = find_waiting(spawner, ready.tmp_mb);
    if (sandbox) tmp_no_longer_due(spawner, sandbox);
    spawner->pool_rests = ready.error != 0;
    struct failure failure = {ready.step, ready.error};
    if (sandbox && ready.error) {
        if (sandbox->state == WAITING_TMP) {
            sandbox_fail(spawner, sandbox, ready.step, ready.error);
        } else {
            leave_transit(spawner, sandbox);
            settle(spawner, sandbox, &failure, 0, NULL, 0);
        }
    } else if (sandbox && sandbox->state == WAITING_TMP) {
        sandbox_build(spawner, sandbox, tmp);
    } else if (sandbox) {
        finish_bind(spawner, sandbox, tmp);
    } else if (pooled && ready.error == 0 && spawner->pool_count < spawner->config.tmp_pool) {
        spawner->pool[spawner->pool_count++] = tmp;
    } else {
        leaving_tmp(spawner, &tmp); /* whoever asked is gone */
    }
}
