/* The fork object: a process that has loaded everything forks itself into a sandbox made for the purpose.
 *
 * A shared object without Python.h and without a C library of its own (what it calls is the process's own); one build
 * serves CPython 3.8 and up, and any other program that can call a C function. Between the fork and the
 * last privilege given up no interpreter runs.
 *
 * Whoever forks (the *forker*) was started with REQUEST_FORKS and holds a SEQPACKET socket to the spawner as descriptor
 * FORKS_FD, so that 0 to FORKS_FD are open. It gets ready, calls lambent_fork_serve and stays there. The spawner sends one `fork_setup`, then one
 * `fork_order` for each copy, with its descriptors, and hears one `fork_report` for each. The server never speaks to it.
 *
 * Who is whose child, and why there are two in between that share the forker's memory (vfork: no page table is copied for
 * them):
 *
 *     forker ── vfork ──► first: joins the groups and the namespaces, the pid namespace among them
 *                           └─ vfork ──► second, the first one born inside it: takes the descriptors, limits, the
 *                                        function's user, no capability, the filter
 *                                          └─ fork ──► the copy; its parent ends, so the sandbox's pid 1 inherits it
 *
 * Pid 1 reaps the copy and tells its exit status on every kernel. The forker reaps the first, the first the second, so no
 * zombie holds up a tear-down. Only the copy is made with the C library's fork: its handlers run once, and the cached
 * thread id is right. On cgroup version 2 the first is born in its group (clone3), as nobody can move there cheaply.
 */
#ifndef LAMBENT_FORK_H
#define LAMBENT_FORK_H

#include <stdint.h>

#define FORK_VERSION 1u
#define FORKS_FD 4 /* in the forker: its socket to the spawner */
#define FORK_STEP_MAX 32
#define FORK_NAMESPACES 7u
#define FORK_GROUPS_MAX 8u
#define FORK_FILTER_MAX 512u

/* Descriptors of an order: the namespaces in the order in which they are joined, the write end of the log pipe, the
 * channel (with FORK_HAS_CHANNEL), then the groups: for version 1 each one's `tasks`, open for writing; for version 2 its
 * directory. */
#define FORK_FDS_MAX (FORK_NAMESPACES + 2u + FORK_GROUPS_MAX)

#define FORK_HAS_CHANNEL 1u
#define FORK_AHEAD 2u /* the copy is for nobody yet: it has time to get its pages before it is asked for */

/* Sent once, first: the filter that every copy loads, `filter_length` instructions of 8 bytes; 0: none. */
struct fork_setup {
    uint32_t version;
    uint32_t filter_length;
    uint64_t filter[FORK_FILTER_MAX];
};

struct fork_order {
    uint32_t version;
    uint32_t flags;
    uint64_t serial;
    uint64_t sandbox; /* both come back with the report */
    uint32_t cgroup_version; /* 0, 1, 2 */
    uint32_t group_count;
    uint32_t user, group; /* ids of the copy, as its user namespace has them */
    uint32_t last_capability;
    uint32_t descriptors_max; /* RLIMIT_NOFILE */
    uint32_t processes_max;   /* RLIMIT_NPROC */
    uint32_t reserved;        /* 0 */
    uint64_t data_bytes_max;  /* RLIMIT_DATA, where no cgroup limits memory; 0: none */
};

struct fork_report {
    uint32_t version;
    int32_t error; /* errno; 0: the copy runs */
    uint64_t serial;
    uint64_t sandbox;
    int32_t pid; /* as the sandbox's pid 1 sees it */
    uint32_t reserved;
    char step[FORK_STEP_MAX]; /* which step failed */
};

/* CPython's hooks around a fork, or anybody's; each may be NULL. All are called on the one thread, with whatever lock the
 * caller of lambent_fork_serve holds. */
struct fork_hooks {
    void (*before)(void);       /* PyOS_BeforeFork: in the forker */
    void (*after_parent)(void); /* PyOS_AfterFork_Parent: in the forker, after success and failure */
    void (*after_child)(void);  /* PyOS_AfterFork_Child: in the copy, with everything given up */
};

/* Serve orders until the spawner goes. The caller must be single-threaded.
 *
 * Returns once in each copy: the order's flags. The copy then has 0 (as the forker's), 1 and 2 (the log pipe), 3 (the
 * channel) and no other descriptor; its working directory is `/` of the sandbox. Returns -1 in the forker when the
 * spawner is gone or out of step: it should end. */
int lambent_fork_serve(int socket, const struct fork_hooks *hooks);

/* What CPython calls when it imports this as a module named lambent_fork: serves with its hooks and under its lock. There
 * never is a module: it raises ImportError, whose text is what lambent_fork_serve returned.
 *
 * ctypes could call that as well, but whoever imports it has libffi's own file open (in later releases), from which libffi
 * maps more when it needs it. Copies have no descriptor of the forker's, so libffi would map what else has its number. */
void *PyInit_lambent_fork(void);

/* How many copies were made so far, in the forker and in its copies. */
unsigned long lambent_fork_count(void);

#endif
