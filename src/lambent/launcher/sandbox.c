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
#include "images.h"
#include "table.h"
#include "tmpdisk.h"

#define BUILD_MS_MAX 10000
#define REMOVE_MS_MAX 100
#define STRAGGLER_MS 500
#define KEEPER_MS_MAX 5000 /* a keeper that takes longer to end its sandbox is ended, and the spawner does it */

/* ---- the end ---- */

static void set_free(struct spawner *spawner, struct sandbox *sandbox) {
    uint64_t id = id_of(spawner, sandbox);
    settle(spawner, sandbox, sandbox->failure.error ? &sandbox->failure : &(struct failure){"destroyed", ECANCELED}, 0,
           NULL, 0);
    if (sandbox->dying_serial) answer_result(spawner, sandbox->dying_serial, id, NULL, 0, NULL, 0);
    tmpdisk_release(spawner->helpers, &sandbox->held[0]);
    tmpdisk_release(spawner->helpers, &sandbox->held[1]);
    uint32_t generation = sandbox->generation + 1;
    leave_transit(spawner, sandbox);
    memset(sandbox, 0, sizeof *sandbox);
    sandbox->generation = generation ? generation : 1;
    spawner->busy--;
}

static void remove_groups(struct spawner *spawner, struct sandbox *sandbox) {
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    bool gone = !spawner->config.confined || confined_is_gone(spawner, sandbox);
    if (gone && group_remove(&spawner->groups, name) == 0) {
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
    enter_transit(spawner, sandbox);
    sandbox->state = DYING;
    sandbox->deadline_ms = now_ms() + REMOVE_MS_MAX;
    close_fd(&sandbox->listener);
    close_fd(&sandbox->log);
    egress_end(spawner, sandbox);
    forget_mount_points(sandbox);
    if (sandbox->pid == 0) {
        set_free(spawner, sandbox);
        return;
    }
    if (spawner->config.confined)
        unwatch(spawner, &sandbox->control); /* its keeper ends everyone first: nothing would end with it */
    else if (sandbox->pidfd >= 0)
        sys_pidfd_kill(sandbox->pidfd, SIGKILL);
    if (sandbox->frozen) { /* v1 keeps the kill pending until it is thawed */
        char name[GROUP_NAME_MAX];
        struct failure ignored;
        name_of(spawner, sandbox, name);
        group_freeze(&spawner->groups, name, false, &ignored);
    }
}

void sandbox_fail(struct spawner *spawner, struct sandbox *sandbox, const char *step, int error) {
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
    bool confined = spawner->config.confined;
    if (!confined && spawner->groups.version == 2 && (group = group_directory(&spawner->groups, name)) < 0) {
        fail(failure, "open the sandbox's cgroup");
        goto undo;
    }
    uint64_t flags = CLONE_NEWPID | (group >= 0 ? (uint64_t)CLONE_NEWCGROUP : 0);
    pid_t pid = confined ? confined_fork(&sandbox->pidfd) : sys_clone3(flags, &sandbox->pidfd, group);
    if (pid == 0) {
        struct build build = {&spawner->config, &spawner->groups, name, pair[1], sandbox->image, tmp, sandbox->limits.tmp_mb,
                              function_id(spawner, sandbox), spawner->packages};
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
        sandbox_fail(spawner, sandbox, "watch the sandbox", errno);
    return 0;
undo:
    close_fd(&group);
    close_fd(&pair[0]);
    close_fd(&pair[1]);
    group_remove(&spawner->groups, name);
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
    int tmp = spawner->pool[--spawner->pool_count];
    sandbox_fill_pool(spawner);
    return tmp;
}

/* Have one made; the first that is ready goes to whoever waits for that size. */
int order_tmp(struct spawner *spawner, uint32_t tmp_mb) {
    if (spawner->helpers < 0) return errno = EPIPE, -1;
    if (tmp_mb != spawner->config.tmp_mb_default) return tmpdisk_ask(spawner->helpers, tmp_mb);
    sandbox_fill_pool(spawner);
    return 0;
}

void sandbox_create(struct spawner *spawner, const struct request *request) {
    struct failure failure = {"", 0};
    bool confined = spawner->config.confined;
    int image = confined ? confined_find_image(&spawner->config, request->image) : image_find(request->image);
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
                                .task = -1, .opt = -1, .tmp = -1, .listener = -1, .log = -1, .gate = {-1, -1, -1},
                                .policy = -1, .held = {-1, -1}, .image = image,
                                .op = OP_CREATE, .serial = request->serial, .limits = request->limits,
                                .deadline_ms = now_ms() + BUILD_MS_MAX};
    spawner->next_slot = slot_of(spawner, sandbox) + 1; /* a slot's user ids rest as long as possible */
    spawner->busy++;
    enter_transit(spawner, sandbox);
    if (!spawner->config.tmp_disk) {
        sandbox_build(spawner, sandbox, -1);
        return;
    }
    int tmp = take_tmp(spawner, request->limits.tmp_mb);
    if (tmp >= 0)
        sandbox_build(spawner, sandbox, tmp);
    else if (order_tmp(spawner, request->limits.tmp_mb) != 0)
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
        else if (sandbox->state == DYING && !sandbox->reaped && spawner->config.confined &&
                 now > sandbox->deadline_ms + KEEPER_MS_MAX)
            sys_pidfd_kill(sandbox->pidfd, SIGKILL);
        else if (sandbox->state == DYING && sandbox->reaped)
            remove_groups(spawner, sandbox);
        else if (sandbox->state == STRAGGLER && now > sandbox->deadline_ms)
            remove_groups(spawner, sandbox);
        if (sandbox->state == DYING && sandbox->reaped) next_ms = 1;
    }
    return next_ms;
}
