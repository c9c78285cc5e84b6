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
    int net;           /* a network namespace that is as new, or -1: one is made */
    int image;         /* mount namespace of the image; confined: its index in the configuration */
    int tmp;           /* detached mount for /tmp, or -1: a tmpfs */
    uint32_t tmp_mb;
    uint32_t user; /* the function's, outside */
    int packages;  /* confined: the packages' directory; trees are opened below it by digest */
    uint32_t last_pid; /* process ids in the sandbox follow this one: no two copies of a process have the same */
    int template;      /* user namespace of the template whose copy comes here, or -1 */
    uint32_t inner;    /* then: the init's id in it; the function's is one more */
};

/* What a program gets, descriptors that lie above 5; -1: not this one. Without `complain` it complains in its log. */
struct gift {
    int log, channel, forks, complain;
};

_Noreturn void init_main(const struct build *build); /* child after clone3: build, drop, obey; never returns */
_Noreturn void zygote_main(const struct build *build); /* the same for a place to fork from; becomes its program */
/* child of init: drop and exec. zygote: become this user, outside of all user namespaces, with what forking needs; 0: no */
_Noreturn void program_run(const struct order *order, const char *payload, size_t size, const struct gift *gift,
                           bool single_id, uint32_t zygote);
ssize_t program_read(int payload, char *text); /* a private copy: PAYLOAD_BYTES_MAX and a zero byte have room; or -1 */
#define OCCUPIED 6
void occupy_fds(int from); /* up to OCCUPIED, with /dev/null: what a program gets never lands on one by chance */

int listen_inside(void); /* where the runtime API is, in the caller's network namespace; -1 with errno */
int lower_limit(int resource, uint64_t most); /* of the caller and its children, for good */

/* bind.c: a package's tree below the packages' directory, without following a link; -1 with errno */
int package_open(int packages, const char digest[DIGEST_CHARS]);

#endif
