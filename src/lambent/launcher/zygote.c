/* A zygote's place: what a program sees that waits to fork itself into sandboxes.
 *
 * It has the same root image as its copies, so that files opened late are where they were, and a control group, a network
 * (without even a loopback), ipc and uts namespaces of its own. It is in no pid namespace but the spawner's, because
 * namespaces of processes can only be joined downwards, and has no /proc, so it sees none of them. Trusted programs alone run
 * here: the server names an image and an interpreter's program; no code of a function, no variable and no key comes in.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init.h"

static _Noreturn void fail_to_build(int control, const char *step) {
    struct report message = {.kind = REPORT_FAILED, .error = errno ? errno : EIO};
    snprintf(message.step, sizeof message.step, "%s", step);
    send_message(control, &message, sizeof message, NULL, 0);
    _exit(2);
}

/* The cgroup namespace on version 1 alone: where processes are born into groups, a namespace is a fence around it. */
static void build_place(const struct build *build) {
    bool attach = build->groups->version == 1;
    if (attach && group_enter(build->groups, build->group) != 0) fail_to_build(build->control, "join the cgroups");
    if (unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | (attach ? CLONE_NEWCGROUP : 0)) != 0)
        fail_to_build(build->control, "unshare");
    if (setns(build->image, CLONE_NEWNS) != 0) fail_to_build(build->control, "enter the image");
    if (unshare(CLONE_NEWNS) != 0) fail_to_build(build->control, "copy the image's mounts");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) fail_to_build(build->control, "make mounts private");
}

_Noreturn void zygote_main(const struct build *given) {
    struct build build = *given;
    build.control = fcntl(build.control, F_DUPFD_CLOEXEC, 64);
    if (build.control < 0) _exit(2);
    int kept[HIERARCHIES_MAX + 2] = {build.control, build.image};
    for (uint32_t i = 0; i < build.groups->count; i++) kept[2 + i] = build.groups->at[i].fd;
    keep_only(kept, 2 + build.groups->count);
    if (setsid() < 0) fail_to_build(build.control, "start a session");
    umask(022);
    build_place(&build);
    occupy_fds(0);
    keep_only(kept, 1);
    occupy_fds(0);
    struct report message = {.kind = REPORT_READY};
    struct order order;
    int fds[4];
    size_t count;
    if (send_message(build.control, &message, sizeof message, NULL, 0) != 0) _exit(3);
    if (receive_message(build.control, &order, sizeof order, fds, 4, &count) != (ssize_t)sizeof order) _exit(0);
    if (order.kind != ORDER_START || order.flags != (ORDER_HAS_CHANNEL | ORDER_HAS_FORKS) || count != 4) _exit(3);
    static char text[PAYLOAD_BYTES_MAX + 1];
    ssize_t size = program_read(fds[1], text);
    message = (struct report){.kind = REPORT_STARTED, .serial = order.serial, .status = 1};
    if (size <= 0 || send_message(build.control, &message, sizeof message, NULL, 0) != 0) _exit(3);
    program_run(&order, text, (size_t)size, &(struct gift){fds[0], fds[2], fds[3], -1}, false, build.user);
}
