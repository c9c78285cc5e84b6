#ifndef LAMBENT_SECCOMP_H
#define LAMBENT_SECCOMP_H

#include "base.h"

int seccomp_prepare(struct failure *failure); /* build the filter for this machine, once */
int seccomp_load(void);                       /* load it into the calling process; no_new_privs must be set */
int seccomp_dump(const char *architecture);   /* write the filter's instructions to standard output (tests) */

#endif
