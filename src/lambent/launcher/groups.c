#define _GNU_SOURCE
#include "groups.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SWEEP_MS_MAX 2000
#define SWEEP_PAUSE_NS 500000

int group_write(int hierarchy, const char *name, const char *file, const char *text) {
    char path[GROUP_NAME_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", name, file);
    return write_at(hierarchy, path, text);
}

ssize_t group_read(int hierarchy, const char *name, const char *file, char *buffer, size_t size) {
    char path[GROUP_NAME_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", name, file);
    return read_at(hierarchy, path, buffer, size);
}

int groups_open(const struct config *config, struct groups *groups, struct failure *failure) {
    memset(groups, 0, sizeof *groups);
    groups->version = config->cgroup_version;
    groups->server = config->server;
    snprintf(groups->instance, sizeof groups->instance, "lambent-%s", config->instance);
    for (uint32_t i = 0; i < config->hierarchy_count; i++) {
        const struct hierarchy_config *from = &config->hierarchies[i];
        struct hierarchy *to = &groups->at[groups->count];
        to->above = open(from->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (to->above < 0) return fail(failure, "open a cgroup hierarchy");
        if (mkdirat(to->above, groups->instance, 0755) != 0 && errno != EEXIST)
            return fail(failure, "make the instance's cgroup");
        to->fd = openat(to->above, groups->instance, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (to->fd < 0) return fail(failure, "open the instance's cgroup");
        to->memory = has_controller(from, "memory");
        to->cpu = has_controller(from, "cpu");
        to->cpuacct = has_controller(from, "cpuacct");
        to->pids = has_controller(from, "pids");
        to->freezer = has_controller(from, "freezer");
        groups->count++;
        if (groups->version != 2) continue;
        /* Whoever is born into a sandbox's group from another one of ours may write here, and into the sandbox's own,
         * which is its zygote's (see group_doors). To come from elsewhere would take the same right above. */
        if (fchmodat(to->fd, "cgroup.procs", 0666, 0) != 0) return fail(failure, "open the instance's cgroup");
        char wanted[64] = "";
        if (to->memory) strcat(wanted, " +memory");
        if (to->cpu) strcat(wanted, " +cpu");
        if (to->pids) strcat(wanted, " +pids");
        if (*wanted && write_at(to->fd, "cgroup.subtree_control", wanted + 1) != 0)
            return fail(failure, "enable the cgroup's controllers");
    }
    groups_sweep(groups, false);
    return 0;
}

bool groups_limit_memory(const struct groups *groups) {
    for (uint32_t i = 0; i < groups->count; i++)
        if (groups->at[i].memory) return true;
    return false;
}

int group_limit(const struct groups *groups, const char *name, const struct limits *standing, const struct limits *limits,
                struct failure *failure) {
    static const struct limits NONE = {0};
    if (!standing) standing = &NONE;
    if (groups->version == 1) return v1_limits(groups, name, standing, limits, failure);
    if (groups->version == 2) return v2_limits(groups, name, standing, limits, failure);
    return 0;
}

/* Version 2 has no way to begin a peak anew for whoever reads it (see group_reset_peak): its groups are made anew. */
int group_renew(const struct groups *groups, const char *name, const struct limits *standing, const struct limits *limits) {
    return groups->version == 1 ? v1_renew(groups, name, standing, limits) : -1;
}

int group_set_cpu(const struct groups *groups, const char *name, uint32_t quota_us, struct failure *failure) {
    if (groups->version == 1) return v1_cpu(groups, name, quota_us, failure);
    if (groups->version == 2) return v2_cpu(groups, name, quota_us, failure);
    return 0;
}

int group_freeze(const struct groups *groups, const char *name, bool frozen, struct failure *failure) {
    if (groups->version == 1) return v1_freeze(groups, name, frozen, failure);
    if (groups->version == 2) return v2_freeze(groups, name, frozen, failure);
    return 0;
}

/* The server stops and wakes what it runs by itself: to ask would take longer than the work of a quick function, and it
 * would wait behind births. Where it may not, it asks. */
static void hand_over_freezer(const struct groups *groups, const struct hierarchy *at, const char *name) {
    char path[GROUP_NAME_MAX + 16];
    if (groups->server == NOBODY_ELSE || (groups->version == 1 && !at->freezer)) return;
    snprintf(path, sizeof path, "%s/%s", name, groups->version == 1 ? "freezer.state" : "cgroup.freeze");
    /* Its owner stays: we write there, too. */
    if (fchownat(at->fd, path, (uid_t)-1, groups->server, AT_SYMLINK_NOFOLLOW) != 0) return;
    if (fchmodat(at->fd, path, 0664, 0) != 0) return; /* then it asks */
}

int group_create(const struct groups *groups, const char *name, const struct limits *limits, struct failure *failure) {
    for (uint32_t i = 0; i < groups->count; i++) {
        if (mkdirat(groups->at[i].fd, name, 0755) == 0) {
            hand_over_freezer(groups, &groups->at[i], name);
            continue;
        }
        fail(failure, "make the sandbox's cgroup");
        while (i-- > 0) unlinkat(groups->at[i].fd, name, AT_REMOVEDIR);
        return -1;
    }
    if (group_limit(groups, name, NULL, limits, failure) == 0) return 0;
    group_remove(groups, name);
    return -1;
}

/* `tasks`, never cgroup.procs: the latter takes the global threadgroup lock and waits 11 ms on a quiet machine. */
int group_enter(const struct groups *groups, const char *name) {
    for (uint32_t i = 0; i < groups->count; i++)
        if (group_write(groups->at[i].fd, name, "tasks", "0") != 0) return -1;
    return 0;
}

int group_directory(const struct groups *groups, const char *name) {
    if (groups->version != 2 || groups->count == 0) return -1;
    return openat(groups->at[0].fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

int group_doors(const struct groups *groups, const char *name, uint32_t user, int *fds) {
    char path[GROUP_NAME_MAX + 16];
    if (groups->version == 2) {
        snprintf(path, sizeof path, "%s/cgroup.procs", name);
        if (groups->count == 0 || fchownat(groups->at[0].fd, path, user, (gid_t)-1, AT_SYMLINK_NOFOLLOW) != 0) return -1;
        fds[0] = group_directory(groups, name);
        return fds[0] < 0 ? -1 : 1;
    }
    int count = 0;
    snprintf(path, sizeof path, "%s/tasks", name);
    for (uint32_t i = 0; groups->version == 1 && i < groups->count; i++) {
        fds[count] = openat(groups->at[i].fd, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fds[count] >= 0) {
            count++;
            continue;
        }
        int error = errno;
        while (count > 0) close(fds[--count]);
        errno = error;
        return -1;
    }
    return count;
}

void group_reset_peak(const struct groups *groups, const char *name) {
    /* v2 before 6.12 cannot reset memory.peak, and later only for one open file: there the blank's own start stays the
     * floor of the peak (see sandbox/usage.py). */
    for (uint32_t i = 0; groups->version == 1 && i < groups->count; i++)
        if (groups->at[i].memory) group_write(groups->at[i].fd, name, "memory.max_usage_in_bytes", "0");
}

uint64_t group_oom_kills(const struct groups *groups, const char *name) {
    const char *file = groups->version == 1 ? "memory.oom_control" : "memory.events";
    char text[512];
    for (uint32_t i = 0; i < groups->count; i++) {
        if (!groups->at[i].memory || group_read(groups->at[i].fd, name, file, text, sizeof text) <= 0) continue;
        const char *found = strstr(text, "oom_kill ");
        if (found) return strtoull(found + strlen("oom_kill "), NULL, 10);
    }
    return 0;
}

int group_remove(const struct groups *groups, const char *name) {
    int result = 0, error = 0;
    for (uint32_t i = 0; i < groups->count; i++)
        if (unlinkat(groups->at[i].fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT) {
            result = -1;
            error = errno;
        }
    errno = error;
    return result;
}

static void kill_members(const struct groups *groups, const struct hierarchy *hierarchy, const char *name) {
    if (groups->version == 2 && group_write(hierarchy->fd, name, "cgroup.kill", "1") == 0) return;
    static char text[65536];
    if (group_read(hierarchy->fd, name, "cgroup.procs", text, sizeof text) <= 0) return;
    for (char *at = text, *next; *at; at = next) {
        long pid = strtol(at, &next, 10);
        if (next == at) break;
        if (pid > 1 && pid != getpid()) kill((pid_t)pid, SIGKILL);
    }
    if (hierarchy->freezer) group_write(hierarchy->fd, name, "freezer.state", "THAWED");
}

/* One pass over the sandboxes' groups of one hierarchy; answers how many are left. */
static int sweep_once(const struct groups *groups, const struct hierarchy *hierarchy) {
    int copy = openat(hierarchy->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = copy < 0 ? NULL : fdopendir(copy);
    if (!listing) return 0;
    int left = 0;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        if (entry->d_type != DT_DIR || strncmp(entry->d_name, "s-", 2) != 0) continue;
        if (strlen(entry->d_name) >= GROUP_NAME_MAX) continue;
        kill_members(groups, hierarchy, entry->d_name);
        if (unlinkat(hierarchy->fd, entry->d_name, AT_REMOVEDIR) != 0 && errno != ENOENT) left++;
    }
    closedir(listing);
    return left;
}

void groups_sweep(const struct groups *groups, bool with_parents) {
    int64_t until = now_ms() + SWEEP_MS_MAX;
    for (;;) {
        int left = 0;
        for (uint32_t i = 0; i < groups->count; i++) {
            left += sweep_once(groups, &groups->at[i]);
            if (with_parents && unlinkat(groups->at[i].above, groups->instance, AT_REMOVEDIR) != 0 && errno == EBUSY)
                left++;
        }
        if (left == 0 || now_ms() > until) return;
        nanosleep(&(struct timespec){0, SWEEP_PAUSE_NS}, NULL);
    }
}
