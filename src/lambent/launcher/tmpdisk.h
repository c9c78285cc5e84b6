/* Disk-backed file systems for /tmp, made ahead by a helper process. */
#ifndef LAMBENT_TMPDISK_H
#define LAMBENT_TMPDISK_H

#include "config.h"

struct tmp_ready {
    uint32_t tmp_mb; /* 0: one has been taken down */
    int32_t error;
    char step[STEP_MAX];
};

int tmpdisk_start(const struct config *config, struct failure *failure); /* answers the helpers' socket */
/* Neither waits for room: EAGAIN, and helpers that are to answer. */
int tmpdisk_ask(int helpers, uint32_t tmp_mb);
int tmpdisk_release(int helpers, int mount); /* a helper takes it down, which takes milliseconds; the caller closes its own */
/* As tmpdisk_release at the end, when nobody waits for a disc any more: until then, and answers are thrown away meanwhile. */
int tmpdisk_release_by(int helpers, int mount, int64_t until_ms);
int tmpdisk_take(int helpers, struct tmp_ready *ready, int *mount); /* 1: one message taken, 0: none, -1: gone */
void tmpdisk_stop(int *helpers); /* let them finish what they have, and reap them */
void tmpdisk_clean(const struct config *config);

#endif
