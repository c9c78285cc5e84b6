#ifndef LAMBENT_SECCOMP_H
#define LAMBENT_SECCOMP_H

#include "base.h"

int seccomp_prepare(struct failure *failure); /* build the filters for this machine, once */
int seccomp_load(void);                       /* load it into the calling process; no_new_privs must be set */
int seccomp_load_forkers(void);               /* the same for zygotes: they may join namespaces, and use clone3 */
uint32_t seccomp_copy(uint64_t *instructions, uint32_t most); /* the former's instructions; how many, 0: no room */
int seccomp_dump(const char *architecture, bool forks); /* write one to standard output (tests) */

#endif
