/* Copies of a template: a process that has initialised its function, stopped for good, from which others are forked.
 *
 * A template's memory belongs to a function: nothing in it is trusted. So it never runs again. One process per template, the
 * copier, holds it by ptrace; it has one system call after another made in it, by registers it sets itself, and by a page
 * of our own code that is put there while the template stands still and nobody else shares its memory. A child of the
 * template, which shares that memory and is ours from its first instruction to its last, joins the target's control groups
 * and namespaces, becomes the target's user, gives up everything, and forks the copy; only the copy, looked at from
 * outside and found to be as confined as any program, runs the function's own instructions again.
 *
 * What lets a child of an unprivileged process enter: the target's user namespace is made below the template's and is
 * owned by the template's user, who has all capabilities in it from outside. That is why the template must not run any
 * more: its user, with setns, could enter its copies. See docs/decisions/0013.
 */
#ifndef LAMBENT_COPIER_H
#define LAMBENT_COPIER_H

#include "base.h"
#include "config.h"
#include "groups.h"

#define COPY_NAMESPACES 7 /* user, mnt, net, ipc, uts, cgroup, pid: in this order they are entered */
#define COPY_FDS_MAX (COPY_NAMESPACES + HIERARCHIES_MAX + 3)

/* Ids of the sandboxes for copies, as the template's user namespace has them. */
#define COPY_IDS_BASE 0x10000u

enum copier_kind { COPIER_HELD = 1, COPIER_COPY, COPIER_COPIED };

/* Both ways. To the copier: COPY with the seven namespaces, the groups' `tasks` files, the channel, the log pipe, and with
 * version 2 the group's cgroup.procs. */
struct copier_message {
    uint32_t kind;
    int32_t error;
    int32_t pid;      /* COPIED: the copy's, as its own sandbox counts; HELD: how much is in the way */
    uint32_t groups;  /* COPY: how many `tasks` files */
    uint32_t user;    /* COPY: whom the copy must turn out to be, as the host counts */
    uint32_t joins;   /* COPY: a cgroup.procs comes last */
    char step[STEP_MAX];
};

struct copier_start {
    const struct groups *groups;
    const char *group; /* the template's */
    int control;
    pid_t init; /* the template's pid 1 */
    uint32_t user; /* the template's, as the host counts */
};

bool copier_is_possible(void); /* tried: a process is held as a template would be */
_Noreturn void copier_main(const struct copier_start *start);

#endif
