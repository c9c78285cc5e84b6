#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "groups.h"

int v2_cpu(const struct groups *groups, const char *name, uint32_t quota_us, struct failure *failure) {
    char text[48];
    if (quota_us)
        snprintf(text, sizeof text, "%u %u", quota_us, CPU_PERIOD_US);
    else
        snprintf(text, sizeof text, "max %u", CPU_PERIOD_US);
    for (uint32_t i = 0; i < groups->count; i++)
        if (groups->at[i].cpu && group_write(groups->at[i].fd, name, "cpu.max", text) != 0)
            return fail(failure, "limit the CPU");
    return 0;
}

int v2_limits(const struct groups *groups, const char *name, const struct limits *standing, const struct limits *limits,
              struct failure *failure) {
    bool size = limits->memory_bytes != standing->memory_bytes, processes = limits->processes_max != standing->processes_max;
    bool fresh = standing->memory_bytes == 0;
    char memory[32], pids[16];
    snprintf(memory, sizeof memory, "%" PRIu64, limits->memory_bytes);
    snprintf(pids, sizeof pids, "%u", limits->processes_max);
    for (uint32_t i = 0; i < groups->count; i++) {
        const struct hierarchy *at = &groups->at[i];
        if (at->memory && size && group_write(at->fd, name, "memory.max", memory) != 0)
            return fail(failure, "limit the memory");
        if (at->memory && fresh) {
            /* absent where the kernel counts no swap */
            if (group_write(at->fd, name, "memory.swap.max", "0") != 0 && errno != ENOENT)
                return fail(failure, "limit the swap");
            /* 1 would take pid 1 along with the victim */
            if (group_write(at->fd, name, "memory.oom.group", "0") != 0 && errno != ENOENT)
                return fail(failure, "choose the out-of-memory victim");
        }
        if (at->pids && processes && group_write(at->fd, name, "pids.max", pids) != 0)
            return fail(failure, "limit the processes");
    }
    return limits->cpu_quota_us == standing->cpu_quota_us ? 0 : v2_cpu(groups, name, limits->cpu_quota_us, failure);
}

/* Asks only, for the reason given at v1_freeze. */
int v2_freeze(const struct groups *groups, const char *name, bool frozen, struct failure *failure) {
    if (groups->count == 0) return 0;
    if (group_write(groups->at[0].fd, name, "cgroup.freeze", frozen ? "1" : "0") != 0) return fail(failure, "freeze");
    return 0;
}
