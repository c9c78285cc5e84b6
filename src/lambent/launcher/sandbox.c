/* The life of a sandbox, from the spawner's side.
 *
 *   FREE -> WAITING_TMP -> BUILDING -> ALIVE -> DYING -> FREE
 *                                                  \-> STRAGGLER -> FREE   (a cgroup that will not go yet)
 *
 * Building goes on in the child while the spawner serves others. Every failure leads through DYING: what was made is
 * undone there, and the answer (step and errno) goes out when it is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "images.h"
#include "init.h"
#include "spawner.h"
#include "tmpdisk.h"

#define BUILD_MS_MAX 10000
#define REMOVE_MS_MAX 100
#define STRAGGLER_MS 500

static uint64_t id_of(const struct spawner *spawner, const struct sandbox *sandbox) {
    return (uint64_t)sandbox->generation << 32 | (uint64_t)(sandbox - spawner->sandboxes + 1);
}

static uint32_t slot_of(const struct spawner *spawner, const struct sandbox *sandbox) {
    return (uint32_t)(sandbox - spawner->sandboxes);
}

static void name_of(const struct spawner *spawner, const struct sandbox *sandbox, char name[GROUP_NAME_MAX]) {
    snprintf(name, GROUP_NAME_MAX, "s-%" PRIx64, id_of(spawner, sandbox));
}

static struct sandbox *find(struct spawner *spawner, uint64_t id) {
    uint64_t slot = id & 0xFFFFFFFFu;
    if (slot == 0 || slot > spawner->count) return NULL;
    struct sandbox *sandbox = &spawner->sandboxes[slot - 1];
    return sandbox->generation == id >> 32 && sandbox->state != FREE ? sandbox : NULL;
}

static uint32_t function_id(const struct spawner *spawner, const struct sandbox *sandbox) {
    if (spawner->config.single_id) return 0;
    return spawner->config.ids_base + slot_of(spawner, sandbox) * spawner->config.ids_stride + 1;
}

static bool limits_are_sane(const struct limits *limits) {
    return limits->memory_bytes >= MEMORY_BYTES_MIN && limits->memory_bytes <= MEMORY_BYTES_MAX &&
           (limits->cpu_quota_us == 0 ||
            (limits->cpu_quota_us >= CPU_QUOTA_US_MIN && limits->cpu_quota_us <= CPU_QUOTA_US_MAX)) &&
           limits->processes_max >= 2 && limits->processes_max <= PROCESSES_MAX &&
           limits->descriptors_max >= DESCRIPTORS_MIN && limits->descriptors_max <= DESCRIPTORS_MAX &&
           limits->tmp_mb >= 1 && limits->tmp_mb <= TMP_MB_MAX;
}

static void settle(struct spawner *spawner, struct sandbox *sandbox, const struct failure *failure, int32_t status,
                   const int *fds, size_t count) {
    if (sandbox->op == 0) return;
    answer_result(spawner, sandbox->serial, id_of(spawner, sandbox), failure, status, fds, count);
    sandbox->op = 0;
}

static void forget_mount_points(struct sandbox *sandbox) {
    close_fd(&sandbox->mounts);
    close_fd(&sandbox->task);
    close_fd(&sandbox->opt);
    close_fd(&sandbox->tmp);
}

/* ---- the end ---- */

static void set_free(struct spawner *spawner, struct sandbox *sandbox) {
    uint64_t id = id_of(spawner, sandbox);
    settle(spawner, sandbox, sandbox->failure.error ? &sandbox->failure : &(struct failure){"destroyed", ECANCELED}, 0,
           NULL, 0);
    if (sandbox->dying_serial) answer_result(spawner, sandbox->dying_serial, id, NULL, 0, NULL, 0);
    tmpdisk_release(spawner->helpers, &sandbox->held[0]);
    tmpdisk_release(spawner->helpers, &sandbox->held[1]);
    uint32_t generation = sandbox->generation + 1;
    memset(sandbox, 0, sizeof *sandbox);
    sandbox->generation = generation ? generation : 1;
    spawner->busy--;
    spawner->in_transit--;
}

static void remove_groups(struct spawner *spawner, struct sandbox *sandbox) {
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    if (group_remove(&spawner->groups, name) == 0) {
        set_free(spawner, sandbox);
    } else if (now_ms() > sandbox->deadline_ms) {
        /* Retried by the timer for as long as it takes; the slot stays taken. No process is left, so whoever asked for
         * the end is told now. */
        sandbox->state = STRAGGLER;
        sandbox->deadline_ms = now_ms() + STRAGGLER_MS;
        if (sandbox->dying_serial)
            answer_result(spawner, sandbox->dying_serial, id_of(spawner, sandbox), NULL, 0, NULL, 0);
        sandbox->dying_serial = 0;
    }
}

void sandbox_ended(struct spawner *spawner, uint32_t slot) {
    struct sandbox *sandbox = &spawner->sandboxes[slot];
    if (sandbox->state == FREE || sandbox->pid == 0 || sandbox->reaped) return;
    if (waitpid(sandbox->pid, NULL, WNOHANG) != sandbox->pid) return;
    sandbox->reaped = true;
    while (sandbox->control >= 0 && sandbox_control(spawner, slot)) continue; /* its last words come first */
    if (sandbox->state != DYING) {
        /* Nobody asked for it: pid 1 itself was killed. The server hears it as an exit of serial 0. */
        char name[GROUP_NAME_MAX];
        name_of(spawner, sandbox, name);
        struct report report = {.kind = REPORT_EXIT, .status = -1, .signal = SIGKILL};
        bool oom = group_oom_kills(&spawner->groups, name) > sandbox->oom_kills;
        if (sandbox->answered) answer_exit(spawner, 0, id_of(spawner, sandbox), &report, oom);
        if (sandbox->failure.error == 0) fail_with(&sandbox->failure, "init ended", ESRCH);
        sandbox_kill(spawner, slot, 0);
    }
    unwatch(spawner, &sandbox->pidfd);
    unwatch(spawner, &sandbox->control);
    sandbox->deadline_ms = now_ms() + REMOVE_MS_MAX;
    remove_groups(spawner, sandbox);
}

void sandbox_kill(struct spawner *spawner, uint32_t slot, uint64_t serial) {
    struct sandbox *sandbox = &spawner->sandboxes[slot];
    if (serial && sandbox->dying_serial) answer_result(spawner, serial, id_of(spawner, sandbox), NULL, 0, NULL, 0);
    if (serial && !sandbox->dying_serial) sandbox->dying_serial = serial;
    if (sandbox->state == DYING || sandbox->state == STRAGGLER) return;
    if (sandbox->state == ALIVE) spawner->in_transit++;
    sandbox->state = DYING;
    sandbox->deadline_ms = now_ms() + REMOVE_MS_MAX;
    close_fd(&sandbox->listener);
    close_fd(&sandbox->log);
    forget_mount_points(sandbox);
    if (sandbox->pid == 0) {
        set_free(spawner, sandbox);
        return;
    }
    if (sandbox->pidfd >= 0) sys_pidfd_kill(sandbox->pidfd, SIGKILL);
    if (sandbox->frozen) { /* v1 keeps the kill pending until it is thawed */
        char name[GROUP_NAME_MAX];
        struct failure ignored;
        name_of(spawner, sandbox, name);
        group_freeze(&spawner->groups, name, false, &ignored);
    }
}

static void give_up(struct spawner *spawner, struct sandbox *sandbox, const char *step, int error) {
    snprintf(sandbox->failed_step, sizeof sandbox->failed_step, "%s", step);
    fail_with(&sandbox->failure, sandbox->failed_step, error);
    sandbox_kill(spawner, slot_of(spawner, sandbox), 0);
}

/* ---- the beginning ---- */

void sandbox_fill_pool(struct spawner *spawner) {
    while (spawner->helpers >= 0 && spawner->pool_count + spawner->pool_asked < spawner->config.tmp_pool) {
        if (tmpdisk_ask(spawner->helpers, spawner->config.tmp_mb_default) != 0) return;
        spawner->pool_asked++;
    }
}

static int spawn(struct spawner *spawner, struct sandbox *sandbox, int tmp, struct failure *failure) {
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    int pair[2] = {-1, -1}, group = -1;
    if (group_create(&spawner->groups, name, &sandbox->limits, failure) != 0) return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
        fcntl(pair[0], F_SETFL, O_NONBLOCK) != 0) {
        fail(failure, "make the control socket");
        goto undo;
    }
    if (spawner->groups.version == 2 && (group = group_directory(&spawner->groups, name)) < 0) {
        fail(failure, "open the sandbox's cgroup");
        goto undo;
    }
    uint64_t flags = CLONE_NEWPID | (group >= 0 ? (uint64_t)CLONE_NEWCGROUP : 0);
    pid_t pid = sys_clone3(flags, &sandbox->pidfd, group);
    if (pid == 0) {
        struct build build = {&spawner->config, &spawner->groups, name, pair[1], sandbox->image, tmp, sandbox->limits.tmp_mb};
        init_main(&build);
    }
    if (pid < 0) {
        sandbox->pidfd = -1;
        fail(failure, "clone");
        goto undo;
    }
    close_fd(&group);
    close_fd(&pair[1]);
    sandbox->pid = pid;
    sandbox->control = pair[0];
    sandbox->state = BUILDING;
    sandbox->deadline_ms = now_ms() + BUILD_MS_MAX;
    uint32_t slot = slot_of(spawner, sandbox);
    if (watch(spawner, sandbox->control, WATCH_CONTROL, slot) != 0 ||
        watch(spawner, sandbox->pidfd, WATCH_PIDFD, slot) != 0)
        give_up(spawner, sandbox, "watch the sandbox", errno);
    return 0;
undo:
    close_fd(&group);
    close_fd(&pair[0]);
    close_fd(&pair[1]);
    group_remove(&spawner->groups, name);
    return -1;
}

static void build(struct spawner *spawner, struct sandbox *sandbox, int tmp) {
    struct failure failure = {"", 0};
    sandbox->held[0] = tmp;
    if (spawn(spawner, sandbox, tmp, &failure) != 0) give_up(spawner, sandbox, failure.step, failure.error);
}

/* A mount of that size: from the pool, or -1 when it has to be made first. */
static int take_tmp(struct spawner *spawner, uint32_t tmp_mb) {
    if (tmp_mb != spawner->config.tmp_mb_default || spawner->pool_count == 0) return -1;
    int tmp = spawner->pool[--spawner->pool_count];
    sandbox_fill_pool(spawner);
    return tmp;
}

/* Have one made; the first that is ready goes to whoever waits for that size. */
static int order_tmp(struct spawner *spawner, uint32_t tmp_mb) {
    if (spawner->helpers < 0) return errno = EPIPE, -1;
    if (tmp_mb != spawner->config.tmp_mb_default) return tmpdisk_ask(spawner->helpers, tmp_mb);
    sandbox_fill_pool(spawner);
    return 0;
}

static void create(struct spawner *spawner, const struct request *request) {
    struct failure failure = {"", 0};
    int image = image_find(request->image);
    struct sandbox *sandbox = NULL;
    if (!limits_are_sane(&request->limits)) {
        fail_with(&failure, "read the limits", EINVAL);
    } else if (image < 0) {
        fail_with(&failure, "find the image", ENOENT);
    } else {
        for (uint32_t i = 0; i < spawner->count && !sandbox; i++) {
            struct sandbox *candidate = &spawner->sandboxes[(spawner->next_slot + i) % spawner->count];
            if (candidate->state == FREE) sandbox = candidate;
        }
        if (!sandbox) fail_with(&failure, "find a free slot", EAGAIN);
    }
    if (!sandbox) {
        answer_result(spawner, request->serial, 0, &failure, 0, NULL, 0);
        return;
    }
    uint32_t generation = sandbox->generation ? sandbox->generation : 1;
    *sandbox = (struct sandbox){.state = WAITING_TMP, .generation = generation, .pidfd = -1, .control = -1, .mounts = -1,
                                .task = -1, .opt = -1, .tmp = -1, .listener = -1, .log = -1, .held = {-1, -1}, .image = image,
                                .op = OP_CREATE, .serial = request->serial, .limits = request->limits,
                                .deadline_ms = now_ms() + BUILD_MS_MAX};
    spawner->next_slot = slot_of(spawner, sandbox) + 1; /* a slot's user ids rest as long as possible */
    spawner->busy++;
    spawner->in_transit++;
    if (!spawner->config.tmp_disk) {
        build(spawner, sandbox, -1);
        return;
    }
    int tmp = take_tmp(spawner, request->limits.tmp_mb);
    if (tmp >= 0)
        build(spawner, sandbox, tmp);
    else if (order_tmp(spawner, request->limits.tmp_mb) != 0)
        give_up(spawner, sandbox, "order a /tmp", errno);
}

static void map_ids(struct spawner *spawner, struct sandbox *sandbox) {
    char map[96], path[64];
    uint32_t function = function_id(spawner, sandbox);
    if (spawner->config.single_id)
        snprintf(map, sizeof map, "%u 0 1\n", FUNCTION_ID);
    else
        snprintf(map, sizeof map, "%u %u 1\n%u %u 1\n", INIT_ID, function - 1, FUNCTION_ID, function);
    snprintf(path, sizeof path, "/proc/%d/gid_map", sandbox->pid);
    if (write_at(AT_FDCWD, path, map) != 0) return give_up(spawner, sandbox, "map the groups", errno);
    snprintf(path, sizeof path, "/proc/%d/uid_map", sandbox->pid);
    if (write_at(AT_FDCWD, path, map) != 0) return give_up(spawner, sandbox, "map the users", errno);
    struct order order = {.kind = ORDER_MAPPED};
    if (send_message(sandbox->control, &order, sizeof order, NULL, 0) != 0)
        give_up(spawner, sandbox, "speak to init", errno);
}

static void ready(struct spawner *spawner, struct sandbox *sandbox) {
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    sandbox->state = ALIVE;
    sandbox->answered = true;
    spawner->in_transit--;
    sandbox->oom_kills = group_oom_kills(&spawner->groups, name);
    settle(spawner, sandbox, NULL, sandbox->pid, &sandbox->listener, 1);
    close_fd(&sandbox->listener);
}

/* ---- requests to a living one ---- */

static void finish_bind(struct spawner *spawner, struct sandbox *sandbox, int tmp) {
    struct failure failure = {"", 0};
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    const struct request *request = &sandbox->request;
    if (group_limit(&spawner->groups, name, &request->limits, &failure) == 0 &&
        bind_trees(spawner, sandbox, request, tmp, &failure) == 0) {
        group_reset_peak(&spawner->groups, name);
        sandbox->limits = request->limits;
        sandbox->bound = true;
        forget_mount_points(sandbox);
    }
    tmpdisk_release(spawner->helpers, &sandbox->held[1]); /* of a bind that failed */
    sandbox->held[1] = tmp;
    settle(spawner, sandbox, failure.error ? &failure : NULL, 0, NULL, 0);
}

static void bind_sandbox(struct spawner *spawner, struct sandbox *sandbox, const struct request *request) {
    sandbox->request = *request;
    if (!spawner->config.tmp_disk || request->limits.tmp_mb == sandbox->limits.tmp_mb) {
        finish_bind(spawner, sandbox, -1);
        return;
    }
    int tmp = take_tmp(spawner, request->limits.tmp_mb);
    if (tmp >= 0) {
        finish_bind(spawner, sandbox, tmp);
        return;
    }
    struct failure failure;
    if (order_tmp(spawner, request->limits.tmp_mb) != 0) {
        fail(&failure, "order a /tmp");
        settle(spawner, sandbox, &failure, 0, NULL, 0);
    }
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
            create(spawner, request);
        return;
    }
    struct sandbox *sandbox = find(spawner, request->sandbox);
    bool limited = request->op == OP_BIND || request->op == OP_SET_CPU;
    if (!sandbox)
        fail_with(&failure, "find the sandbox", ESRCH);
    else if (count != 0 && request->op != OP_START)
        fail_with(&failure, "count the descriptors", EINVAL);
    else if (limited && !limits_are_sane(&request->limits))
        fail_with(&failure, "read the limits", EINVAL);
    else if (request->op != OP_DESTROY && (sandbox->state != ALIVE || sandbox->op != 0))
        fail_with(&failure, "find the sandbox free", EBUSY);
    else if (request->op == OP_BIND && sandbox->bound)
        fail_with(&failure, "bind once", EALREADY);
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
    case OP_BIND: bind_sandbox(spawner, sandbox, request); break;
    case OP_START: start(spawner, sandbox, request, fds, count); break;
    case OP_RESET: reset(spawner, sandbox); break;
    case OP_FREEZE: freeze(spawner, sandbox, true); break;
    case OP_THAW: freeze(spawner, sandbox, false); break;
    case OP_NAMESPACES: namespaces(spawner, sandbox); break;
    default: /* OP_SET_CPU; the loop admits no other */
        group_set_cpu(&spawner->groups, name, request->limits.cpu_quota_us, &failure);
        settle(spawner, sandbox, failure.error ? &failure : NULL, 0, NULL, 0);
    }
}

/* ---- what init says ---- */

bool sandbox_control(struct spawner *spawner, uint32_t slot) {
    struct sandbox *sandbox = &spawner->sandboxes[slot];
    if (sandbox->control < 0) return false;
    struct report report;
    int fds[BUILT_FDS];
    size_t count;
    ssize_t got = receive_message(sandbox->control, &report, sizeof report, fds, BUILT_FDS, &count);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (got != (ssize_t)sizeof report) {
        unwatch(spawner, &sandbox->control); /* init ended; its pidfd tells the rest */
        return false;
    }
    report.step[STEP_MAX - 1] = 0;
    struct failure failure = {report.step, report.error};
    if (report.kind == REPORT_UNMAPPED && sandbox->state == BUILDING && count == BUILT_FDS) {
        sandbox->listener = fds[BUILT_LISTENER];
        sandbox->mounts = fds[BUILT_MOUNTS];
        sandbox->task = fds[BUILT_TASK];
        sandbox->opt = fds[BUILT_OPT];
        sandbox->tmp = fds[BUILT_TMP];
        map_ids(spawner, sandbox);
        return true;
    }
    for (size_t i = 0; i < count; i++) close(fds[i]);
    if (report.kind == REPORT_READY && sandbox->state == BUILDING) {
        ready(spawner, sandbox);
    } else if (report.kind == REPORT_FAILED && sandbox->state == BUILDING) {
        give_up(spawner, sandbox, report.step, report.error);
    } else if (report.kind == REPORT_STARTED && sandbox->op == OP_START) {
        settle(spawner, sandbox, report.error ? &failure : NULL, 0, &sandbox->log, report.error ? 0 : 1);
        close_fd(&sandbox->log);
    } else if (report.kind == REPORT_RESET && sandbox->op == OP_RESET) {
        settle(spawner, sandbox, report.error ? &failure : NULL, 0, NULL, 0);
    } else if (report.kind == REPORT_EXIT && sandbox->state == ALIVE) {
        char name[GROUP_NAME_MAX];
        name_of(spawner, sandbox, name);
        bool oom = group_oom_kills(&spawner->groups, name) > sandbox->oom_kills;
        answer_exit(spawner, report.serial, id_of(spawner, sandbox), &report, oom);
    }
    return true;
}

/* ---- what the helpers made ---- */

static struct sandbox *find_waiting(struct spawner *spawner, uint32_t tmp_mb) {
    for (uint32_t i = 0; i < spawner->count && spawner->busy > 0; i++) {
        struct sandbox *sandbox = &spawner->sandboxes[i];
        if (sandbox->state == WAITING_TMP && sandbox->limits.tmp_mb == tmp_mb) return sandbox;
        if (sandbox->state == ALIVE && sandbox->op == OP_BIND && sandbox->request.limits.tmp_mb == tmp_mb) return sandbox;
    }
    return NULL;
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
        if (sandbox->state == WAITING_TMP) give_up(spawner, sandbox, ready.step, ready.error);
        else settle(spawner, sandbox, &failure, 0, NULL, 0);
    } else if (sandbox && sandbox->state == WAITING_TMP) {
        build(spawner, sandbox, tmp);
    } else if (sandbox) {
        finish_bind(spawner, sandbox, tmp);
    } else if (pooled && ready.error == 0 && spawner->pool_count < spawner->config.tmp_pool) {
        spawner->pool[spawner->pool_count++] = tmp;
    } else {
        close_fd(&tmp); /* whoever asked is gone */
    }
    if (ready.error == 0) sandbox_fill_pool(spawner);
}

/* ---- time ---- */

int sandbox_timer(struct spawner *spawner) {
    int64_t now = now_ms();
    int next_ms = spawner->in_transit > 0 ? 50 : -1;
    for (uint32_t i = 0; i < spawner->count && spawner->in_transit > 0; i++) {
        struct sandbox *sandbox = &spawner->sandboxes[i];
        if ((sandbox->state == BUILDING || sandbox->state == WAITING_TMP) && now > sandbox->deadline_ms)
            give_up(spawner, sandbox, "build in time", ETIMEDOUT);
        else if (sandbox->state == DYING && sandbox->reaped)
            remove_groups(spawner, sandbox);
        else if (sandbox->state == STRAGGLER && now > sandbox->deadline_ms)
            remove_groups(spawner, sandbox);
        if (sandbox->state == DYING && sandbox->reaped) next_ms = 1;
    }
    return next_ms;
}
