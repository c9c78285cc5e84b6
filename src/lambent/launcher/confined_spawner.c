/* The spawner's part of the confined tier: what it does where the others clone, mount and map. */
#define _GNU_SOURCE
#include "confined.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "table.h"

#define DATA_BYTES_SPARE (512ull << 20) /* what threads and runtimes reserve without using it */
#define BIT(capability) (1ull << (capability))
#define KEPT                                                                                                           \
    (BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_SETPCAP) | BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER))

int confined_prepare(struct spawner *spawner, struct failure *failure) {
    confined_sweep(&spawner->config, 0); /* of a server that was killed with its warden and its keepers */
    /* Should a keeper be killed, what it kept becomes ours to reap. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) return fail(failure, "become a reaper");
    int last = last_capability();
    if (last < 0) return fail(failure, "read the last capability");
    for (int capability = 0; capability <= last; capability++)
        if (!(KEPT & BIT(capability)) && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
            return fail(failure, "narrow the bounding set");
    return sys_capset(KEPT) == 0 ? 0 : fail(failure, "keep six capabilities");
}

int confined_find_image(const struct config *config, const char name[IMAGE_NAME_MAX]) {
    for (uint32_t i = 0; i < config->image_count; i++) {
        char padded[IMAGE_NAME_MAX] = {0};
        memcpy(padded, config->images[i].name, strlen(config->images[i].name)); /* config.c checked the length */
        if (memcmp(padded, name, IMAGE_NAME_MAX) == 0) return (int)i;
    }
    return -1;
}

/* By fork: containers answer ENOSYS to clone3, because their filter cannot see its flags. */
pid_t confined_fork(int *pidfd) {
    pid_t pid = fork();
    if (pid > 0) *pidfd = sys_pidfd_open(pid);
    return pid;
}

void confined_order(const struct spawner *spawner, const struct sandbox *sandbox, struct order *order) {
    const struct request *bound = &sandbox->request;
    bool memory = groups_limit_memory(&spawner->groups);
    order->memory_bytes_max = memory ? 0 : sandbox->limits.memory_bytes;
    order->data_bytes_max = memory ? 0 : 2 * sandbox->limits.memory_bytes + DATA_BYTES_SPARE;
    order->tmp_bytes_max = (uint64_t)sandbox->limits.tmp_mb << 20;
    if (sandbox->bound && bound->flags & REQUEST_HAS_TASK) memcpy(order->task, bound->task, DIGEST_CHARS);
    if (sandbox->bound && bound->flags & REQUEST_HAS_OPT) memcpy(order->opt, bound->opt, DIGEST_CHARS);
}

/* One that is gone is told of elsewhere; one that does not read is not waited for. */
static int tell_keeper(const struct sandbox *sandbox, const struct order *order, struct failure *failure) {
    if (offer_message(sandbox->control, order, sizeof *order, NULL, 0) == 0 || errno != EAGAIN) return 0;
    return fail(failure, "speak to init");
}

int confined_set_rest(struct sandbox *sandbox, bool resting, struct failure *failure) {
    struct order order = {.kind = ORDER_REST, .serial = resting};
    return tell_keeper(sandbox, &order, failure);
}

static bool groups_limit_cpu(const struct groups *groups) {
    for (uint32_t i = 0; i < groups->count; i++)
        if (groups->at[i].cpu) return true;
    return false;
}

int confined_set_cpu(struct spawner *spawner, struct sandbox *sandbox, uint32_t cpu_quota_us, struct failure *failure) {
    if (groups_limit_cpu(&spawner->groups)) return 0;
    struct order order = {.kind = ORDER_SHARE, .serial = cpu_quota_us};
    return tell_keeper(sandbox, &order, failure);
}

bool confined_is_gone(struct spawner *spawner, struct sandbox *sandbox) {
    if (sandbox->clean) return true;
    uint32_t user = function_id(spawner, sandbox);
    if (confined_kill(user) == 0 && !confined_lives(user)) return true;
    siginfo_t child = {.si_pid = 0};
    while (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0 && child.si_pid != 0 && child.si_uid == user) {
        waitpid(child.si_pid, NULL, WNOHANG);
        child.si_pid = 0;
    }
    return false;
}
