/* What a living sandbox is asked, what its init reports, and what the helpers made for it.
 *
 * A sandbox works on one request at a time; who sends a second hears EBUSY. OP_DESTROY alone is always taken.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "confined.h"
#include "table.h"
#include "tmpdisk.h"

/* ---- requests to a living one ---- */

static void finish_bind(struct spawner *spawner, struct sandbox *sandbox, int tmp) {
    struct failure failure = {"", 0};
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    const struct request *request = &sandbox->request;
    if (group_limit(&spawner->groups, name, &request->limits, &failure) == 0 &&
        egress_bind(spawner, sandbox, &failure) == 0 && bind_trees(spawner, sandbox, request, tmp, &failure) == 0) {
        group_reset_peak(&spawner->groups, name);
        if (spawner->config.confined) confined_set_cpu(spawner, sandbox, request->limits.cpu_quota_us);
        sandbox->limits = request->limits;
        sandbox->bound = true;
        forget_mount_points(sandbox);
    }
    tmpdisk_release(spawner->helpers, &sandbox->held[1]); /* of a bind that failed */
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
    if (order_tmp(spawner, request->limits.tmp_mb) != 0) {
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

static void start(struct spawner *spawner, struct sandbox *sandbox, const struct request *request, int *fds, size_t count) {
    struct failure failure = {"", 0};
    bool channel = (request->flags & REQUEST_HAS_CHANNEL) != 0;
    struct stat payload, socket;
    int log[2] = {-1, -1};
    uint32_t owner = function_id(spawner, sandbox);
    wake(spawner, sandbox, &failure);
    if (failure.error != 0)
        ; /* told below */
    else if (count != (channel ? 2u : 1u))
        fail_with(&failure, "count the descriptors", EINVAL);
    else if (fstat(fds[0], &payload) != 0 || !S_ISREG(payload.st_mode) || payload.st_size > (off_t)PAYLOAD_BYTES_MAX)
        fail_with(&failure, "check the program", EINVAL);
    else if (channel && (fstat(fds[1], &socket) != 0 || !S_ISSOCK(socket.st_mode)))
        fail_with(&failure, "check the channel", ENOTSOCK);
    else if (pipe2(log, O_CLOEXEC) != 0)
        fail(&failure, "make the log pipe");
    /* The function owns its pipe, or opening /dev/stdout would be refused. */
    else if (fchown(log[1], owner, owner) != 0)
        fail(&failure, "own the log pipe");
    else if (fcntl(log[0], F_SETFL, O_NONBLOCK) != 0)
        fail(&failure, "make the log pipe");
    if (failure.error == 0) {
        char name[GROUP_NAME_MAX];
        name_of(spawner, sandbox, name);
        sandbox->oom_kills = group_oom_kills(&spawner->groups, name);
        struct order order = {.kind = ORDER_START, .serial = request->serial,
                              .descriptors_max = sandbox->limits.descriptors_max,
                              .processes_max = sandbox->limits.processes_max,
                              .data_bytes_max = groups_limit_memory(&spawner->groups) ? 0 : sandbox->limits.memory_bytes};
        if (spawner->config.confined) confined_order(spawner, sandbox, &order);
        int with[3] = {log[1], fds[0], channel ? fds[1] : -1};
        if (send_message(sandbox->control, &order, sizeof order, with, channel ? 3 : 2) != 0)
            fail(&failure, "speak to init");
    }
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
    if (spawner->config.confined) confined_set_rest(sandbox, frozen);
    settle(spawner, sandbox, failure.error ? &failure : NULL, 0, NULL, 0);
}

static void reset(struct spawner *spawner, struct sandbox *sandbox) {
    struct failure failure = {"", 0};
    struct order order = {.kind = ORDER_RESET};
    wake(spawner, sandbox, &failure);
    if (failure.error == 0 && send_message(sandbox->control, &order, sizeof order, NULL, 0) != 0)
        fail(&failure, "speak to init");
    if (failure.error) settle(spawner, sandbox, &failure, 0, NULL, 0);
}

/* The seven, the user namespace last: who joins it first needs no capability of ours for the others. */
static void namespaces(struct spawner *spawner, struct sandbox *sandbox) {
    static const char *const NAMES[] = {"pid", "mnt", "net", "ipc", "uts", "cgroup", "user"};
    struct failure failure = {"", 0};
    int fds[ANSWER_FDS_MAX];
    size_t count = 0;
    for (; count < ANSWER_FDS_MAX && failure.error == 0; count++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/ns/%s", sandbox->pid, NAMES[count]);
        if ((fds[count] = open(path, O_RDONLY | O_CLOEXEC)) < 0) fail(&failure, "open a namespace");
    }
    settle(spawner, sandbox, failure.error ? &failure : NULL, 0, fds, failure.error ? 0 : count);
    for (size_t i = 0; i < count; i++) close_fd(&fds[i]);
}

void sandbox_request(struct spawner *spawner, const struct request *request, int *fds, size_t count) {
    struct failure failure = {"", 0};
    if (request->op == OP_CREATE) {
        if (request->sandbox != 0 || count != 0)
            answer_result(spawner, request->serial, 0, (fail_with(&failure, "read the request", EINVAL), &failure), 0, NULL, 0);
        else
            sandbox_create(spawner, request);
        return;
    }
    struct sandbox *sandbox = sandbox_find(spawner, request->sandbox);
    bool limited = request->op == OP_BIND || request->op == OP_SET_CPU;
    if (!sandbox)
        fail_with(&failure, "find the sandbox", ESRCH);
    else if (count != 0 && request->op != OP_START && request->op != OP_BIND)
        fail_with(&failure, "count the descriptors", EINVAL);
    else if (limited && !limits_are_sane(&request->limits))
        fail_with(&failure, "read the limits", EINVAL);
    else if (request->op != OP_DESTROY && (sandbox->state != ALIVE || sandbox->op != 0))
        fail_with(&failure, "find the sandbox free", EBUSY);
    else if (request->op == OP_BIND && sandbox->bound)
        fail_with(&failure, "bind once", EALREADY);
    else if (request->op == OP_NAMESPACES && spawner->config.confined)
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
    case OP_FREEZE: freeze(spawner, sandbox, true); break;
    case OP_THAW: freeze(spawner, sandbox, false); break;
    case OP_NAMESPACES: namespaces(spawner, sandbox); break;
    default: /* OP_SET_CPU; the loop admits no other */
        group_set_cpu(&spawner->groups, name, request->limits.cpu_quota_us, &failure);
        if (spawner->config.confined) confined_set_cpu(spawner, sandbox, request->limits.cpu_quota_us);
        settle(spawner, sandbox, failure.error ? &failure : NULL, 0, NULL, 0);
    }
}

/* ---- what init says ---- */

static void map_ids(struct spawner *spawner, struct sandbox *sandbox) {
    char map[96], path[64];
    uint32_t function = function_id(spawner, sandbox);
    if (spawner->config.single_id)
        snprintf(map, sizeof map, "%u 0 1\n", FUNCTION_ID);
    else
        snprintf(map, sizeof map, "%u %u 1\n%u %u 1\n", INIT_ID, function - 1, FUNCTION_ID, function);
    snprintf(path, sizeof path, "/proc/%d/gid_map", sandbox->pid);
    if (write_at(AT_FDCWD, path, map) != 0) return sandbox_fail(spawner, sandbox, "map the groups", errno);
    snprintf(path, sizeof path, "/proc/%d/uid_map", sandbox->pid);
    if (write_at(AT_FDCWD, path, map) != 0) return sandbox_fail(spawner, sandbox, "map the users", errno);
    struct order order = {.kind = ORDER_MAPPED};
    if (send_message(sandbox->control, &order, sizeof order, NULL, 0) != 0)
        sandbox_fail(spawner, sandbox, "speak to init", errno);
}

static void ready(struct spawner *spawner, struct sandbox *sandbox) {
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    sandbox->state = ALIVE;
    sandbox->answered = true;
    leave_transit(spawner, sandbox);
    sandbox->oom_kills = group_oom_kills(&spawner->groups, name);
    settle(spawner, sandbox, NULL, sandbox->pid, &sandbox->listener, 1);
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

/* The one that has waited longest for this size. */
static struct sandbox *find_waiting(struct spawner *spawner, uint32_t tmp_mb) {
    struct sandbox *first = NULL;
    for (uint32_t i = 0; i < spawner->in_transit; i++) {
        struct sandbox *sandbox = &spawner->sandboxes[spawner->transit[i]];
        bool creating = sandbox->state == WAITING_TMP && sandbox->limits.tmp_mb == tmp_mb;
        bool binding = sandbox->state == ALIVE && sandbox->op == OP_BIND && sandbox->request.limits.tmp_mb == tmp_mb;
        if ((creating || binding) && (!first || sandbox->serial < first->serial)) first = sandbox;
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
    bool pooled = ready.tmp_mb == spawner->config.tmp_mb_default && spawner->pool_asked > 0;
    if (pooled) spawner->pool_asked--;
    struct sandbox *sandbox = find_waiting(spawner, ready.tmp_mb);
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
        close_fd(&tmp); /* whoever asked is gone */
    }
    if (ready.error == 0) sandbox_fill_pool(spawner);
}
