/* The confined tier: sandboxes without namespaces and without mounts, for root in an ordinary container. */
#ifndef LAMBENT_CONFINED_H
#define LAMBENT_CONFINED_H

#include "init.h"
#include "spawner.h"

#define CONFINED_CLEAN 10 /* a keeper's exit status: no process and no file of its sandbox is left */

enum confined_excess { EXCESS_NONE, EXCESS_MEMORY, EXCESS_DISK };

/* confined.c: in the keeper, which stands where other tiers have pid 1, and in its children */
int confined_build(const struct build *build, struct failure *failure); /* the listener, or -1 */
int confined_join(void);                            /* a child: into the control groups, where there are any */
int confined_rules(const struct order *order, int *rules); /* a child: what it may touch, as a descriptor; -1: no rules */
int confined_enter(const struct order *order, int rules); /* a child: become the function, for good */
bool confined_is_active(void);                      /* whether this process is a keeper or its child */
void confined_started(const struct order *order);   /* from now on its limits are watched */
void confined_share(uint32_t cpu_quota_us);         /* the share of the CPU, as niceness */
void confined_rest(bool resting);                   /* nothing is asked of the function: look less often */
int confined_watch(bool running);                   /* look at the limits; milliseconds until the next look, -1: none */
void confined_mark(struct report *exit);            /* why a program ended, when it was ended by the watch */
void confined_signal(pid_t leader, int number);     /* to a program and its group */
bool confined_end_all(void);                        /* kill once; true: no process is left */
bool confined_finish(void);                         /* kill, reap, remove /tmp; true: nothing is left */

/* confined_end.c: in whoever ends a sandbox */
int confined_kill(uint32_t user);                   /* everything of a user, in one step; 0 or -1 */
int confined_kill_some(uint32_t user, pid_t whom, int number); /* as kill(2), reaching this user's processes alone */
bool confined_lives(uint32_t user);                 /* whether a process of this user does */
int confined_empty(int parent, const char *name);   /* remove a directory and all below it */
void confined_empty_shared(uint32_t user);          /* what it owns in the directories that all may write to */
uint64_t confined_used(int directory, unsigned depth); /* bytes on disk below it */
void confined_sweep(const struct config *config, unsigned grace_ms); /* what keepers have not ended by then */

/* confined_filter.c */
int confined_filter_load(bool closed_network);

/* confined_spawner.c: in the spawner */
int confined_prepare(struct spawner *spawner, struct failure *failure);
int confined_find_image(const struct config *config, const char name[IMAGE_NAME_MAX]);
pid_t confined_fork(int *pidfd);
void confined_order(const struct spawner *spawner, const struct sandbox *sandbox, struct order *order);
int confined_set_rest(struct sandbox *sandbox, bool resting, struct failure *failure);
int confined_set_cpu(struct spawner *spawner, struct sandbox *sandbox, uint32_t cpu_quota_us, struct failure *failure);
bool confined_is_gone(struct spawner *spawner, struct sandbox *sandbox); /* nothing of an ended sandbox lives */

#endif
