/* What happens inside a sandbox: building it from within, being its pid 1, starting programs. */
#ifndef LAMBENT_INIT_H
#define LAMBENT_INIT_H

#include "config.h"
#include "groups.h"

struct build {
    const struct config *config;
    const struct groups *groups;
    const char *group; /* this sandbox's group */
    int control;       /* socket to the spawner */
    int image;         /* mount namespace of the image; confined: its index in the configuration */
    int tmp;           /* detached mount for /tmp, or -1: a tmpfs */
    uint32_t tmp_mb;
    uint32_t user; /* the function's, outside */
    int packages;  /* confined: the packages' directory; trees are opened below it by digest */
};

_Noreturn void init_main(const struct build *build); /* child after clone3: build, drop, obey; never returns */
_Noreturn void program_run(const struct order *order, const char *payload, size_t size, int log, int channel,
                           int complain, bool single_id); /* child of init: drop and exec */

/* bind.c: a package's tree below the packages' directory, without following a link; -1 with errno */
int package_open(int packages, const char digest[DIGEST_CHARS]);

#endif
