/* The table of sandboxes: who is who, who waits, and the answer to the one request each of them works on. */
#define _GNU_SOURCE
#include "table.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

uint64_t id_of(const struct spawner *spawner, const struct sandbox *sandbox) {
    return (uint64_t)sandbox->generation << 32 | (uint64_t)(sandbox - spawner->sandboxes + 1);
}

uint32_t slot_of(const struct spawner *spawner, const struct sandbox *sandbox) {
    return (uint32_t)(sandbox - spawner->sandboxes);
}

void name_of(const struct spawner *spawner, const struct sandbox *sandbox, char name[GROUP_NAME_MAX]) {
    snprintf(name, GROUP_NAME_MAX, "s-%" PRIx64, sandbox->group ? sandbox->group : id_of(spawner, sandbox));
}

int limit(struct spawner *spawner, struct sandbox *sandbox, const struct limits *limits, struct failure *failure) {
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    int result = group_limit(&spawner->groups, name, &sandbox->in_force, limits, failure);
    sandbox->in_force = result == 0 ? *limits : (struct limits){.cpu_quota_us = UINT32_MAX};
    return result;
}

struct sandbox *sandbox_find(struct spawner *spawner, uint64_t id) {
    uint64_t slot = id & 0xFFFFFFFFu;
    if (slot == 0 || slot > spawner->count) return NULL;
    struct sandbox *sandbox = &spawner->sandboxes[slot - 1];
    return sandbox->generation == id >> 32 && sandbox->state != FREE ? sandbox : NULL;
}

uint32_t function_id(const struct spawner *spawner, const struct sandbox *sandbox) {
    if (spawner->config.single_id) return 0;
    return spawner->config.ids_base + slot_of(spawner, sandbox) * spawner->config.ids_stride + 1;
}

bool limits_are_sane(const struct limits *limits) {
    return limits->memory_bytes >= MEMORY_BYTES_MIN && limits->memory_bytes <= MEMORY_BYTES_MAX &&
           (limits->cpu_quota_us == 0 ||
            (limits->cpu_quota_us >= CPU_QUOTA_US_MIN && limits->cpu_quota_us <= CPU_QUOTA_US_MAX)) &&
           limits->processes_max >= 2 && limits->processes_max <= PROCESSES_MAX &&
           limits->descriptors_max >= DESCRIPTORS_MIN && limits->descriptors_max <= DESCRIPTORS_MAX &&
           limits->tmp_mb >= 1 && limits->tmp_mb <= TMP_MB_MAX;
}

void enter_transit(struct spawner *spawner, struct sandbox *sandbox) {
    if (sandbox->transit_place) return;
    spawner->transit[spawner->in_transit++] = slot_of(spawner, sandbox);
    sandbox->transit_place = spawner->in_transit;
}

void leave_transit(struct spawner *spawner, struct sandbox *sandbox) {
    if (!sandbox->transit_place) return;
    uint32_t last = spawner->transit[--spawner->in_transit];
    spawner->transit[sandbox->transit_place - 1] = last;
    spawner->sandboxes[last].transit_place = sandbox->transit_place;
    sandbox->transit_place = 0;
}

void settle(struct spawner *spawner, struct sandbox *sandbox, const struct failure *failure, int32_t status,
                   const int *fds, size_t count) {
    if (sandbox->op == 0) return;
    answer_result(spawner, sandbox->serial, id_of(spawner, sandbox), failure, status, fds, count);
    sandbox->op = 0;
}

void forget_mount_points(struct sandbox *sandbox) {
    close_fd(&sandbox->mounts);
    close_fd(&sandbox->task);
    close_fd(&sandbox->opt);
    close_fd(&sandbox->tmp);
}

uint32_t tmp_awaited(const struct sandbox *sandbox) {
    if (sandbox->state == WAITING_TMP) return sandbox->limits.tmp_mb;
    return sandbox->state == ALIVE && sandbox->op == OP_BIND ? sandbox->request.limits.tmp_mb : 0;
}

void tmp_no_longer_due(struct spawner *spawner, struct sandbox *sandbox) {
    spawner->tmp_due -= sandbox->tmp_due;
    sandbox->tmp_due = false;
}

/* By force, since one that does not read does not see that it is to end. */
void end_child(pid_t *pid) {
    if (*pid > 0 && kill(*pid, SIGKILL) == 0) waitpid(*pid, NULL, 0);
    *pid = 0;
}
