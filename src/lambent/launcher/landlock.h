/* Landlock: what a process and all it starts may touch, kept by the kernel, asked for without any privilege. */
#ifndef LAMBENT_LANDLOCK_H
#define LAMBENT_LANDLOCK_H

#include "config.h"

#define LANDLOCK_ABI_NETWORK 4 /* from here on TCP is covered */
#define LANDLOCK_ABI_SCOPES 6  /* from here on signals and abstract sockets */

struct landlock_plan {
    const struct image_config *image; /* its "bind" records are readable */
    int trees[2];                     /* code and layers, readable, as descriptors; -1: none */
    const char *tmp;                  /* everything is allowed below it */
    uint16_t port;                    /* the one TCP port that may be connected to */
};

int landlock_abi(void);                             /* what this kernel has; 0: nothing */
int landlock_rules(const struct landlock_plan *plan, int *rules); /* a descriptor; -1 in it where there is no landlock */
int landlock_enter(int rules); /* for good; no_new_privs must be set */

#endif
