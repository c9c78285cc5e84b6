/* See copyblob.h. No call, no constant in memory, no canary: every byte that this needs is its own code and its argument.
 *
 * Whoever arrives here is traced; `int3` hands over to the copier. Three are born: the middle one, which shares the
 * template's memory and enters; the inner one, born into the target's pid namespace so that the copy becomes a child of
 * the target's init; the copy, with memory of its own. */
#define _GNU_SOURCE
#include "copyblob.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if defined(__x86_64__)

#if defined(__clang__)
#define BARE no_sanitize("address", "undefined"), no_stack_protector
#else
#pragma GCC target("general-regs-only")
#pragma GCC optimize("O2", "no-tree-loop-distribute-patterns")
#define BARE no_sanitize_address, no_sanitize_undefined, no_stack_protector
#endif
/* Some linkers throw away what only a section's two ends refer to. */
#if defined(__has_attribute) && __has_attribute(retain)
#define KEPT used, retain
#else
#define KEPT used
#endif
#define BLOB __attribute__((section("lambent_blob"), noinline, KEPT, BARE))
#define INLINE static inline __attribute__((always_inline, BARE))

#define CALL_RSEQ 334
#define ALL_CHILDREN 0x40000000 /* __WALL: one without a signal at its end, too */

INLINE long call5(long number, long a, long b, long c, long d, long e) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

INLINE long call3(long number, long a, long b, long c) { return call5(number, a, b, c, 0, 0); }

INLINE void trap(void) { __asm__ volatile("int3" ::: "memory"); }

INLINE void leave(struct blob_argument *argument, int step, long error) {
    argument->step = step;
    argument->error = (int32_t)-error;
    for (;;) call3(SYS_exit, step, 0, 0);
}

BLOB void copy_blob(struct blob_argument *argument) {
    /* A child of the template's init, which reaps it: the template never will. */
    long middle = call5(SYS_clone, CLONE_VM | CLONE_VFORK | CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    if (middle != 0) {
        if (middle < 0) {
            argument->step = BLOB_FORK;
            argument->error = (int32_t)-middle;
        }
        for (;;) trap(); /* the template, which the copier parks again */
    }
    long got = call3(SYS_recvmsg, argument->socket, (long)&argument->message, 0);
    if (got != 1) leave(argument, BLOB_RECEIVE, got < 0 ? got : -5);
    int *fds = (int *)(void *)(argument->control.space + sizeof(struct cmsghdr));
    uint32_t groups = argument->groups;
    int channel = fds[COPY_NAMESPACES + groups], log = fds[COPY_NAMESPACES + groups + 1];
    for (uint32_t i = 0; i < groups; i++) {
        long written = call3(SYS_write, fds[COPY_NAMESPACES + i], (long)&argument->zero, 1);
        if (written != 1) leave(argument, BLOB_GROUP, written < 0 ? written : -5);
    }
    for (int i = 0; i < COPY_NAMESPACES; i++) {
        long entered = call3(SYS_setns, fds[i], 0, 0);
        if (entered != 0) leave(argument, BLOB_SETNS, entered);
    }
    long id = argument->function, changed = call3(SYS_setresgid, id, id, id);
    if (changed == 0) changed = call3(SYS_setresuid, id, id, id);
    if (changed != 0) leave(argument, BLOB_IDS, changed);

    long inner = call5(SYS_clone, CLONE_VM | CLONE_VFORK, 0, 0, 0, 0);
    if (inner < 0) leave(argument, BLOB_ENTER, inner);
    if (inner > 0) {
        call5(SYS_wait4, inner, 0, ALL_CHILDREN, 0, 0); /* nobody else would, and the target could not end */
        for (;;) call3(SYS_exit, 0, 0, 0);
    }
    for (int i = 0; i <= argument->last_capability; i++) {
        long dropped = call3(SYS_prctl, PR_CAPBSET_DROP, i, 0);
        if (dropped != 0) leave(argument, BLOB_DROP, dropped);
    }
    struct {
        uint32_t version, pid;
        volatile uint32_t none[6];
    } capabilities;
    capabilities.version = _LINUX_CAPABILITY_VERSION_3;
    capabilities.pid = 0;
    for (int i = 0; i < 6; i++) capabilities.none[i] = 0;
    long emptied = call3(SYS_capset, (long)&capabilities, (long)capabilities.none, 0);
    if (emptied != 0) leave(argument, BLOB_DROP, emptied);

    long copy = call5(SYS_clone, CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, 0, 0, (long)argument->tid_at, 0);
    if (copy < 0) leave(argument, BLOB_COPY, copy);
    if (copy > 0) {
        argument->pid = (int32_t)copy;
        for (;;) call3(SYS_exit, 0, 0, 0);
    }
    /* 0 to 3 are taken in the template, so what came lies above. */
    call3(SYS_dup3, channel, 3, 0);
    call3(SYS_dup3, log, 1, 0);
    call3(SYS_dup3, log, 2, 0);
    for (uint32_t i = 0; i < COPY_NAMESPACES + groups + 2; i++) call3(SYS_close, fds[i], 0, 0);
    call3(SYS_close, argument->socket, 0, 0);
    call3(SYS_setsid, 0, 0, 0); /* the template's is one for all copies, who could signal each other by it */
    if (argument->directory[0]) call3(SYS_chdir, (long)argument->directory, 0, 0); /* entering has moved it to the root */
    call3(SYS_prctl, PR_SET_DUMPABLE, 1, 0); /* as any program has it after exec: the change of user took it */
    if (argument->rseq_at) call5(CALL_RSEQ, (long)argument->rseq_at, argument->rseq_bytes, 0, argument->rseq_signature, 0);
    if (argument->robust_at) call3(SYS_set_robust_list, (long)argument->robust_at, (long)argument->robust_bytes, 0);
    for (;;) trap();
}

#endif
