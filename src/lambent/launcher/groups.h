/* Control groups of one instance: a parent group per hierarchy, below it one group per sandbox.
 *
 * Only directories named after this instance are ever touched, so two servers never sweep each other.
 */
#ifndef LAMBENT_GROUPS_H
#define LAMBENT_GROUPS_H

#include "config.h"

#define GROUP_NAME_MAX 24

struct hierarchy {
    int fd; /* the instance's group */
    int above; /* the directory it stands in */
    bool memory, cpu, cpuacct, pids, freezer;
};

struct groups {
    int version; /* 0: none, 1, 2 */
    uint32_t count;
    uint32_t server; /* this group may freeze and thaw by itself; NOBODY_ELSE: who may, may */
    struct hierarchy at[HIERARCHIES_MAX];
    char instance[64]; /* lambent-INSTANCE */
};

int groups_open(const struct config *config, struct groups *groups, struct failure *failure);
void groups_sweep(const struct groups *groups, bool with_parents); /* kill and remove what is left, within 2 s */
int group_create(const struct groups *groups, const char *name, const struct limits *limits, struct failure *failure);
/* Writes what differs from what stands (NULL: it is new, and has no limit): a quota alone costs the kernel a walk over every
 * group of the machine. */
int group_limit(const struct groups *groups, const char *name, const struct limits *standing, const struct limits *limits,
                struct failure *failure);
int group_set_cpu(const struct groups *groups, const char *name, uint32_t quota_us, struct failure *failure);
int group_enter(const struct groups *groups, const char *name); /* v1: the caller, single-threaded, joins */
int group_directory(const struct groups *groups, const char *name); /* v2: a descriptor to be born into, or -1 */
/* What a process needs to join a group by itself (v1), or to be born into it as `user` (v2): descriptors for the caller to
 * close. How many, or -1. */
int group_doors(const struct groups *groups, const char *name, uint32_t user, int *fds);
int group_freeze(const struct groups *groups, const char *name, bool frozen, struct failure *failure);
void group_reset_peak(const struct groups *groups, const char *name);
uint64_t group_oom_kills(const struct groups *groups, const char *name);
int group_remove(const struct groups *groups, const char *name); /* 0 gone, -1 with errno (EBUSY: not yet) */
bool groups_limit_memory(const struct groups *groups);
/* Make the group of an ended sandbox as new, with these limits. 1: it is. 0: not yet. -1: it will not be, and is to go. */
int group_renew(const struct groups *groups, const char *name, const struct limits *standing, const struct limits *limits);

/* The two backends' own parts. */
int v1_limits(const struct groups *groups, const char *name, const struct limits *standing, const struct limits *limits,
              struct failure *failure);
int v1_cpu(const struct groups *groups, const char *name, uint32_t quota_us, struct failure *failure);
int v1_renew(const struct groups *groups, const char *name, const struct limits *standing, const struct limits *limits);
int v1_freeze(const struct groups *groups, const char *name, bool frozen, struct failure *failure);
int v2_limits(const struct groups *groups, const char *name, const struct limits *standing, const struct limits *limits,
              struct failure *failure);
int v2_cpu(const struct groups *groups, const char *name, uint32_t quota_us, struct failure *failure);
int v2_freeze(const struct groups *groups, const char *name, bool frozen, struct failure *failure);

int group_write(int hierarchy, const char *name, const char *file, const char *text);
ssize_t group_read(int hierarchy, const char *name, const char *file, char *buffer, size_t size);

#endif
