/* The janitor: one process beside the spawner that makes network namespaces ahead, and looks whether what a sandbox has left
 * is as new. The spawner holds what it is asked about and decides what becomes of it (leaving.c). */
#ifndef LAMBENT_JANITOR_H
#define LAMBENT_JANITOR_H

#include "config.h"
#include "groups.h"

enum janitor_kind { JANITOR_MAKE_NET = 1, JANITOR_LOOK_AT_NET, JANITOR_RENEW_GROUP, JANITOR_REMOVE_GROUP, JANITOR_CLOSE };

struct janitor_order { /* JANITOR_LOOK_AT_NET and JANITOR_CLOSE bring a descriptor */
    uint32_t kind;
    uint32_t lives; /* sandboxes that had this namespace */
    char group[GROUP_NAME_MAX];
    struct limits standing, limits;
};

enum janitor_verdict { JANITOR_AS_NEW = 1, JANITOR_NOT_YET, JANITOR_NEVER };

struct janitor_answer { /* JANITOR_MAKE_NET brings a descriptor, when it is AS_NEW */
    uint32_t kind;
    uint32_t verdict;
};

int janitor_start(const struct config *config, const struct groups *groups, pid_t *pid, struct failure *failure);

/* netprint.c: what the kernel tells inside the caller's network namespace, as a text of so many files (the first counts every
 * packet); bytes, or 0 when it does not fit. */
size_t netprint(char *text, size_t size, size_t files);
#define NETPRINT_ALL 64u
/* What the kernel tells of the caller's routes as a tree, searches in it included where it counts them: the numbers, and how
 * many; -1 when they do not fit. */
#define SEARCHES_MAX 128u
int net_searches(uint64_t numbers[SEARCHES_MAX]);
/* Whether a socket, or what is left of one, stands in the caller's network namespace. */
bool net_has_sockets(void);

#endif
