#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "groups.h"

#define GROUP_LEFT_BYTES_MAX (1u << 20)

/* memory + swap can never be below memory: it is raised first and lowered last. Absent without swap accounting. */
static int set_memory(int hierarchy, const char *name, uint64_t bytes) {
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, bytes);
    bool raised = group_write(hierarchy, name, "memory.memsw.limit_in_bytes", text) == 0;
    bool counts_swap = raised || errno != ENOENT;
    if (group_write(hierarchy, name, "memory.limit_in_bytes", text) != 0) return -1;
    return raised || !counts_swap ? 0 : group_write(hierarchy, name, "memory.memsw.limit_in_bytes", text);
}

int v1_cpu(const struct groups *groups, const char *name, uint32_t quota_us, struct failure *failure) {
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, quota_us ? (int64_t)quota_us : -1);
    for (uint32_t i = 0; i < groups->count; i++) {
        if (!groups->at[i].cpu || group_write(groups->at[i].fd, name, "cpu.cfs_quota_us", text) == 0) continue;
        /* More than a group above may use: no limit of its own, the one above holds. */
        if (errno != EINVAL || group_write(groups->at[i].fd, name, "cpu.cfs_quota_us", "-1") != 0)
            return fail(failure, "limit the CPU");
    }
    return 0;
}

int v1_limits(const struct groups *groups, const char *name, const struct limits *standing, const struct limits *limits,
              struct failure *failure) {
    bool memory = limits->memory_bytes != standing->memory_bytes, processes = limits->processes_max != standing->processes_max;
    char pids[16];
    snprintf(pids, sizeof pids, "%u", limits->processes_max);
    for (uint32_t i = 0; i < groups->count; i++) {
        const struct hierarchy *at = &groups->at[i];
        if (at->memory && memory && set_memory(at->fd, name, limits->memory_bytes) != 0) return fail(failure, "limit the memory");
        if (at->pids && processes && group_write(at->fd, name, "pids.max", pids) != 0)
            return fail(failure, "limit the processes");
    }
    return limits->cpu_quota_us == standing->cpu_quota_us ? 0 : v1_cpu(groups, name, limits->cpu_quota_us, failure);
}

/* What an owner leaves charged goes within milliseconds, but for files that it was the first to read: they stay charged for
 * as long as they are cached, and the next owner would begin with them. */
static bool is_empty(int hierarchy, const char *name, const char *file) {
    char text[32];
    return group_read(hierarchy, name, file, text, sizeof text) > 0 && strtoull(text, NULL, 10) <= GROUP_LEFT_BYTES_MAX;
}

int v1_renew(const struct groups *groups, const char *name, const struct limits *standing, const struct limits *limits) {
    struct failure ignored;
    char text[16];
    for (uint32_t i = 0; i < groups->count; i++) {
        const struct hierarchy *at = &groups->at[i];
        if (group_read(at->fd, name, "tasks", text, sizeof text) != 0) return 0;
        if (at->memory && !is_empty(at->fd, name, "memory.usage_in_bytes")) return 0;
    }
    if (v1_limits(groups, name, standing, limits, &ignored) != 0) return -1;
    for (uint32_t i = 0; i < groups->count; i++) {
        const struct hierarchy *at = &groups->at[i];
        if (at->freezer && (group_read(at->fd, name, "freezer.state", text, sizeof text) <= 0 || strcmp(text, "THAWED\n") != 0))
            return -1;
        if (at->memory && group_write(at->fd, name, "memory.max_usage_in_bytes", "0") != 0) return -1;
        if (at->cpuacct && group_write(at->fd, name, "cpuacct.usage", "0") != 0) return -1;
    }
    return 1;
}

/* Asks only: a process that its CPU quota keeps from running stops when it runs next, up to a period later, and to wait
 * for it would hold up every other sandbox. A thaw in between takes the request back. */
int v1_freeze(const struct groups *groups, const char *name, bool frozen, struct failure *failure) {
    for (uint32_t i = 0; i < groups->count; i++) {
        if (!groups->at[i].freezer) continue;
        if (group_write(groups->at[i].fd, name, "freezer.state", frozen ? "FROZEN" : "THAWED") != 0)
            return fail(failure, "freeze");
    }
    return 0;
}
