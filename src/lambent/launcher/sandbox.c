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
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confined.h"
#include "copier.h"
#include "images.h"
#include "table.h"
#include "tmpdisk.h"

#define BUILD_MS_MAX 10000
#define REMOVE_MS_MAX 100
#define STRAGGLER_MS 500
#define LAST_PID_MIN 300u /* as a process id that wraps around begins; the default of pid_max ends it */
#define LAST_PID_MAX 32000u
#define KEEPER_MS_MAX 5000 /* a keeper that takes longer to end its sandbox is ended, and the spawner does it */

/* ---- the end ---- */

static void set_free(struct spawner *spawner, struct sandbox *sandbox) {
    uint64_t id = id_of(spawner, sandbox);
    settle(spawner, sandbox, sandbox->failure.error ? &sandbox->failure : &(struct failure){"destroyed", ECANCELED}, 0,
           NULL, 0);
    if (sandbox->dying_serial) answer_result(spawner, sandbox->dying_serial, id, NULL, 0, NULL, 0);
    uint32_t generation = sandbox->generation + 1;
    leave_transit(spawner, sandbox);
    memset(sandbox, 0, sizeof *sandbox);
    sandbox->generation = generation ? generation : 1;
    spawner->busy--;
}

/* No process is left of it. What else is goes the way of leaving.c, while its slot is free already. */
static void part(struct spawner *spawner, struct sandbox *sandbox) {
    if (leaving_take(spawner, sandbox)) set_free(spawner, sandbox);
}

static void remove_groups(struct spawner *spawner, struct sandbox *sandbox) {
    if (!spawner->config.confined) return part(spawner, sandbox);
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    if (confined_is_gone(spawner, sandbox) && group_remove(&spawner->groups, name) == 0) {
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
    int status;
    if (waitpid(sandbox->pid, &status, WNOHANG) != sandbox->pid) return;
    sandbox->reaped = true;
    sandbox->clean = WIFEXITED(status) && WEXITSTATUS(status) == CONFINED_CLEAN;
    while (sandbox->control >= 0 && sandbox_control(spawner, slot)) continue; /* its last words come first */
    if (sandbox->state != DYING) {
        /* Nobody asked for it: pid 1 itself was killed. The server hears it as an exit of serial 0. */
        char name[GROUP_NAME_MAX];
        name_of(spawner, sandbox, name);
        struct report report = {.kind = REPORT_EXIT, .status = -1, .signal = SIGKILL};
        if (sandbox->is_zygote && WIFEXITED(status)) report.status = WEXITSTATUS(status), report.signal = 0;
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

/* While pid 1 is there to name it. Where it has ended by itself the kernel has taken the namespace down already. */
static void keep_network(struct spawner *spawner, struct sandbox *sandbox) {
    char path[64];
    if (spawner->janitor < 0 || sandbox->reaped || sandbox->is_zygote || sandbox->awaits_fork) return;
    if (sandbox->template) return; /* its owner is a function's user namespace */
    snprintf(path, sizeof path, "/proc/%d/ns/net", sandbox->pid);
    sandbox->net = open(path, O_RDONLY | O_CLOEXEC);
}

/* Version 1 keeps a kill pending while a group is frozen. Who froze it, the server by itself or through us, and whether
 * anybody did, is not asked. */
void thaw_to_end(struct spawner *spawner, struct sandbox *sandbox) {
    char name[GROUP_NAME_MAX];
    struct failure ignored;
    name_of(spawner, sandbox, name);
    group_freeze(&spawner->groups, name, false, &ignored);
    sandbox->frozen = false;
}

void sandbox_kill(struct spawner *spawner, uint32_t slot, uint64_t serial) {
    struct sandbox *sandbox = &spawner->sandboxes[slot];
    if (serial && sandbox->dying_serial) answer_result(spawner, serial, id_of(spawner, sandbox), NULL, 0, NULL, 0);
    if (serial && !sandbox->dying_serial) sandbox->dying_serial = serial;
    if (sandbox->state == DYING || sandbox->state == STRAGGLER) return;
    enter_transit(spawner, sandbox);
    tmp_no_longer_due(spawner, sandbox);
    if (sandbox->state == ALIVE)
        keep_network(spawner, sandbox);
    else
        spawner->births--;
    sandbox->state = DYING;
    sandbox->deadline_ms = now_ms() + REMOVE_MS_MAX;
    close_fd(&sandbox->listener);
    close_fd(&sandbox->log);
    forks_lost(spawner, sandbox);
    egress_end(spawner, sandbox);
    template_end(spawner, sandbox);
    forget_mount_points(sandbox);
    if (sandbox->pid == 0) { /* of a creation that did not come so far */
        sandbox->reaped = true;
        remove_groups(spawner, sandbox);
        return;
    }
    if (spawner->config.confined)
        unwatch(spawner, &sandbox->control); /* its keeper ends everyone first: nothing would end with it */
    else if (sandbox->pidfd >= 0)
        sys_pidfd_kill(sandbox->pidfd, SIGKILL);
    thaw_to_end(spawner, sandbox);
}

void sandbox_fail(struct spawner *spawner, struct sandbox *sandbox, const char *step, int error) {
    snprintf(sandbox->failed_step, sizeof sandbox->failed_step, "%s", step);
    fail_with(&sandbox->failure, sandbox->failed_step, error);
    sandbox_kill(spawner, slot_of(spawner, sandbox), 0);
}

/* ---- the beginning ---- */

/* The one that has waited longest for its disc to be asked for. */
static struct sandbox *find_due(struct spawner *spawner) {
    struct sandbox *first = NULL;
    for (uint32_t i = 0; i < spawner->in_transit; i++) {
        struct sandbox *sandbox = &spawner->sandboxes[spawner->transit[i]];
        if (sandbox->tmp_due && (!first || sandbox->serial < first->serial)) first = sandbox;
    }
    return first;
}

/* Few at once: whoever no longer waits when its turn comes is not asked for, and the queue is never full. */
void sandbox_ask_tmp(struct spawner *spawner) {
    while (spawner->helpers >= 0 && !spawner->pool_rests && spawner->pool_count + spawner->pool_asked < spawner->config.tmp_pool) {
        if (tmpdisk_ask(spawner->helpers, spawner->config.tmp_mb_default) != 0) return;
        spawner->pool_asked++;
    }
    while (spawner->helpers >= 0 && spawner->tmp_due > 0 && spawner->tmp_asked < TMP_ASKED_MAX) {
        struct sandbox *sandbox = find_due(spawner);
        if (!sandbox || tmpdisk_ask(spawner->helpers, tmp_awaited(sandbox)) != 0) return;
        tmp_no_longer_due(spawner, sandbox);
        spawner->tmp_asked++;
    }
}

/* One that is as new, or a new one. */
static int find_group(struct spawner *spawner, struct sandbox *sandbox, struct failure *failure) {
    char name[GROUP_NAME_MAX];
    if (leaving_group(spawner, sandbox)) return limit(spawner, sandbox, &sandbox->limits, failure);
    name_of(spawner, sandbox, name);
    if (group_create(&spawner->groups, name, &sandbox->limits, failure) != 0) return -1;
    sandbox->group = id_of(spawner, sandbox);
    sandbox->in_force = sandbox->limits;
    return 0;
}

static int spawn(struct spawner *spawner, struct sandbox *sandbox, int tmp, struct failure *failure) {
    char name[GROUP_NAME_MAX];
    int pair[2] = {-1, -1}, group = -1, net = -1;
    if (find_group(spawner, sandbox, failure) != 0) return -1;
    name_of(spawner, sandbox, name);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
        fcntl(pair[0], F_SETFL, O_NONBLOCK) != 0) {
        fail(failure, "make the control socket");
        goto undo;
    }
    bool confined = spawner->config.confined;
    if (!confined && !sandbox->is_zygote && !sandbox->template) net = leaving_net(spawner, sandbox);
    if (!confined && spawner->groups.version == 2 && (group = group_directory(&spawner->groups, name)) < 0) {
        fail(failure, "open the sandbox's cgroup");
        goto undo;
    }
    int users = -1;
    if (sandbox->template && (users = template_users(spawner, sandbox, failure)) < 0) goto undo;
    uint64_t flags = CLONE_NEWPID | (group >= 0 ? (uint64_t)CLONE_NEWCGROUP : 0);
    if (sandbox->is_zygote) flags = 0;
    spawner->last_pid = spawner->last_pid < LAST_PID_MIN || spawner->last_pid >= LAST_PID_MAX ? LAST_PID_MIN
                                                                                              : spawner->last_pid + 1;
    pid_t pid = confined            ? confined_fork(&sandbox->pidfd)
                : sandbox->template ? template_clone(spawner, sandbox, group, failure)
                                    : sys_clone3(flags, &sandbox->pidfd, group);
    if (pid == 0) {
        struct build build = {.config = &spawner->config, .groups = &spawner->groups, .group = name, .control = pair[1],
                              .net = net, .image = sandbox->image, .tmp = tmp, .tmp_mb = sandbox->limits.tmp_mb,
                              .user = function_id(spawner, sandbox), .packages = spawner->packages,
                              .last_pid = spawner->last_pid, .template = users,
                              .inner = template_inner_id(spawner, sandbox)};
        if (sandbox->is_zygote) zygote_main(&build);
        init_main(&build);
    }
    close_fd(&users);
    if (pid < 0) {
        sandbox->pidfd = -1;
        if (failure->error == 0) fail(failure, "clone");
        goto undo;
    }
    close_fd(&group);
    close_fd(&net);
    close_fd(&pair[1]);
    sandbox->pid = pid;
    sandbox->control = pair[0];
    sandbox->state = BUILDING;
    sandbox->deadline_ms = now_ms() + BUILD_MS_MAX;
    uint32_t slot = slot_of(spawner, sandbox);
    if (watch(spawner, sandbox->control, WATCH_CONTROL, slot) != 0 ||
        watch(spawner, sandbox->pidfd, WATCH_PIDFD, slot) != 0)
        sandbox_fail(spawner, sandbox, "watch the sandbox", errno);
    return 0;
undo: /* the group goes the way of all that a sandbox leaves */
    close_fd(&group);
    close_fd(&net);
    close_fd(&pair[0]);
    close_fd(&pair[1]);
    return -1;
}

void sandbox_build(struct spawner *spawner, struct sandbox *sandbox, int tmp) {
    struct failure failure = {"", 0};
    sandbox->held[0] = tmp;
    if (spawn(spawner, sandbox, tmp, &failure) != 0) sandbox_fail(spawner, sandbox, failure.step, failure.error);
}

/* A mount of that size: from the pool, or -1 when it has to be made first. */
int take_tmp(struct spawner *spawner, uint32_t tmp_mb) {
    if (tmp_mb != spawner->config.tmp_mb_default || spawner->pool_count == 0) return -1;
    spawner->pool_rests = false;
    return spawner->pool[--spawner->pool_count]; /* another one is asked for at the end of this turn */
}

/* Have one made; the first that is ready goes to whoever waits for that size. */
int order_tmp(struct spawner *spawner, struct sandbox *sandbox, uint32_t tmp_mb) {
    if (spawner->helpers < 0) return errno = EPIPE, -1;
    sandbox->tmp_due = tmp_mb != spawner->config.tmp_mb_default; /* else it is of those that the pool is filled with */
    spawner->tmp_due += sandbox->tmp_due;
    spawner->pool_rests = false;
    return 0;
}

void sandbox_create(struct spawner *spawner, const struct request *request) {
    struct failure failure = {"", 0};
    bool confined = spawner->config.confined, zygote = (request->flags & REQUEST_IS_ZYGOTE) != 0;
    struct sandbox *sandbox = NULL, *template = request->op == OP_MAKE_COPY ? sandbox_find(spawner, request->sandbox) : NULL;
    int image = template   ? template->image
                : confined ? confined_find_image(&spawner->config, request->image)
                           : image_find(request->image);
    if (request->op == OP_MAKE_COPY && (!template || template->state != ALIVE || !template->holding)) {
        fail_with(&failure, "find the template", ESRCH);
    } else if (!limits_are_sane(&request->limits)) {
        fail_with(&failure, "read the limits", EINVAL);
    } else if (image < 0) {
        fail_with(&failure, "find the image", ENOENT);
    } else if (zygote && (confined || spawner->config.rootless)) {
        fail_with(&failure, "make a place for a zygote", EOPNOTSUPP);
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
                                .task = -1, .opt = -1, .tmp = -1, .listener = -1, .log = -1, .forks = -1,
                                .is_zygote = zygote, .gate = {-1, -1, -1}, .policy = -1, .held = {-1, -1}, .net = -1,
                                .image = image, .copier = -1, .template = template ? request->sandbox : 0,
                                .may_hold = (request->flags & REQUEST_MAY_HOLD) != 0,
                                .op = request->op, .serial = request->serial, .limits = request->limits,
                                .deadline_ms = now_ms() + BUILD_MS_MAX};
    spawner->next_slot = slot_of(spawner, sandbox) + 1; /* a slot's user ids rest as long as possible */
    spawner->busy++;
    spawner->births++;
    spawner->made++;
    enter_transit(spawner, sandbox);
    if (!spawner->config.tmp_disk || zygote) {
        sandbox_build(spawner, sandbox, -1);
        return;
    }
    int tmp = take_tmp(spawner, request->limits.tmp_mb);
    if (tmp >= 0)
        sandbox_build(spawner, sandbox, tmp);
    else if (order_tmp(spawner, sandbox, request->limits.tmp_mb) != 0)
        sandbox_fail(spawner, sandbox, "order a /tmp", errno);
}

/* ---- time ---- */

int sandbox_timer(struct spawner *spawner) {
    int64_t now = now_ms();
    int next_ms = spawner->in_transit > 0 ? 50 : -1;
    /* Backwards: who is done leaves, and the last takes its place. */
    for (uint32_t i = spawner->in_transit; i-- > 0;) {
        if (i >= spawner->in_transit) continue;
        struct sandbox *sandbox = &spawner->sandboxes[spawner->transit[i]];
        if ((sandbox->state == BUILDING || sandbox->state == WAITING_TMP) && now > sandbox->deadline_ms)
            sandbox_fail(spawner, sandbox, "build in time", ETIMEDOUT);
        else if (sandbox->state == ALIVE && sandbox->op == OP_FORK && now > sandbox->deadline_ms)
            fork_failed(spawner, sandbox, "fork in time", ETIMEDOUT);
        else if (sandbox->state == DYING && !sandbox->reaped && spawner->config.confined &&
                 now > sandbox->deadline_ms + KEEPER_MS_MAX)
            sys_pidfd_kill(sandbox->pidfd, SIGKILL);
        else if (sandbox->state == DYING && !sandbox->reaped && now > sandbox->deadline_ms)
            thaw_to_end(spawner, sandbox); /* the server may have frozen it once more */
        else if (sandbox->state == DYING && sandbox->reaped)
            remove_groups(spawner, sandbox);
        else if (sandbox->state == STRAGGLER && now > sandbox->deadline_ms)
            remove_groups(spawner, sandbox);
        if (sandbox->state == DYING && sandbox->reaped) next_ms = 1;
    }
    return next_ms;
}
