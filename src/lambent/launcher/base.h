/* System calls that older C libraries do not wrap, and the few shapes every file here uses. */
#ifndef LAMBENT_BASE_H
#define LAMBENT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol.h"

/* A failed step: its name and the kernel's answer. Functions that can fail fill one and answer -1. */
struct failure {
    const char *step;
    int error;
};

int fail(struct failure *failure, const char *step);            /* records errno, answers -1 */
int fail_with(struct failure *failure, const char *step, int error);

#define TREE_CLONE 1u
#define ATTR_RDONLY 0x1ull
#define ATTR_NOSUID 0x2ull
#define ATTR_NODEV 0x4ull
#define ATTR_NOEXEC 0x8ull

int sys_open_tree(int dir, const char *path, unsigned flags);
int sys_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned flags);
int sys_mount_setattr(int dir, const char *path, unsigned flags, uint64_t set, uint64_t clear);
int sys_fsopen(const char *name);
int sys_fsconfig(int fs, unsigned command, const char *key, const char *value);
int sys_fsmount(int fs, unsigned attributes);
int sys_openat2(int dir, const char *path, uint64_t flags, uint64_t resolve);
int sys_pidfd_open(pid_t pid);
int sys_pidfd_kill(int pidfd, int signal);
int sys_close_range(unsigned first, unsigned last);
pid_t sys_clone3(uint64_t flags, int *pidfd, int cgroup);
int sys_capset(uint64_t permitted); /* permitted and effective; inheritable is emptied */
int sys_pivot_root(const char *new_root, const char *put_old);

/* Move a clone of `source` onto `target` (both as seen here), with mount attributes. */
int clone_onto(const char *source, const char *target, uint64_t attributes, bool recursive);
int write_at(int dir, const char *path, const char *text);
ssize_t read_at(int dir, const char *path, char *buffer, size_t size); /* NUL-terminated; bytes or -1 */
void close_fd(int *fd);
int closers_start(void);                    /* threads of this process that close what takes long; what to write to, or -1 */
void close_elsewhere(int closers, int *fd); /* by one of them */
void keep_only(const int *fds, size_t count); /* close everything else from 3 on */
int last_capability(void);
int64_t now_ms(void);

/* One message with descriptors. `send` blocks until there is room; `receive` answers the length, 0 at the end of the
 * conversation, -1 with errno; descriptors beyond `max_fds` make it EMSGSIZE and are closed. `offer` is `send` to somebody
 * who may never read: EAGAIN where there is no room. */
int send_message(int socket, const void *message, size_t size, const int *fds, size_t count);
int offer_message(int socket, const void *message, size_t size, const int *fds, size_t count);
ssize_t receive_message(int socket, void *message, size_t size, int *fds, size_t max_fds, size_t *count);

#endif
