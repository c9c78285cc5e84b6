#ifndef LAMBENT_TABLE_H
#define LAMBENT_TABLE_H

#include "spawner.h"

uint64_t id_of(const struct spawner *spawner, const struct sandbox *sandbox); /* generation and slot: never used twice */
uint32_t slot_of(const struct spawner *spawner, const struct sandbox *sandbox);
void name_of(const struct spawner *spawner, const struct sandbox *sandbox, char name[GROUP_NAME_MAX]); /* of its group */
int limit(struct spawner *spawner, struct sandbox *sandbox, const struct limits *limits, struct failure *failure);
struct sandbox *sandbox_find(struct spawner *spawner, uint64_t id);
uint32_t function_id(const struct spawner *spawner, const struct sandbox *sandbox); /* user id outside; init's is one less */
bool limits_are_sane(const struct limits *limits);
void enter_transit(struct spawner *spawner, struct sandbox *sandbox);
void leave_transit(struct spawner *spawner, struct sandbox *sandbox);
/* Answer the request that the sandbox works on, if there is one. */
void settle(struct spawner *spawner, struct sandbox *sandbox, const struct failure *failure, int32_t status,
            const int *fds, size_t count);
void forget_mount_points(struct sandbox *sandbox);
uint32_t tmp_awaited(const struct sandbox *sandbox); /* size of the disc that one in transit waits for; 0: for none */
void tmp_no_longer_due(struct spawner *spawner, struct sandbox *sandbox);
void end_child(pid_t *pid); /* one that holds nothing of others': at once, and wait */

/* sandbox.c, for orders.c */
void sandbox_create(struct spawner *spawner, const struct request *request);
void sandbox_build(struct spawner *spawner, struct sandbox *sandbox, int tmp);
void sandbox_fail(struct spawner *spawner, struct sandbox *sandbox, const char *step, int error); /* undo, then answer */
int take_tmp(struct spawner *spawner, uint32_t tmp_mb);  /* from the pool, or -1: it has to be made first */
int order_tmp(struct spawner *spawner, struct sandbox *sandbox, uint32_t tmp_mb); /* have one made; sandbox_tmp_ready takes it on */

/* orders.c, for forks.c */
bool is_socket(int fd);
int log_open(const struct spawner *spawner, const struct sandbox *sandbox, int log[2], struct failure *failure);

#endif
