/* The filter of every sandbox: default allow, a balanced tree over the denied numbers.
 *
 * A tree, because it costs 0.02 us a call where a list of fifty comparisons is felt; by hand, because building one with
 * a library at run time takes 2 ms. Rules that need an argument (clone, socket, personality) stand before the tree.
 */
#define _GNU_SOURCE
#include "seccomp.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "denied.h"

#define INSTRUCTIONS_MAX 512
#define DENIED_MAX 128u
#define NAMESPACE_FLAGS 0x7E020000u /* NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET */
#define NEWTIME_FLAG 0x80u          /* only clone3 and unshare take it: both are closed */
#define OFFSET_NR 0u
#define OFFSET_ARCH 4u
#define OFFSET_ARG(n) (16u + 8u * (n)) /* low word; both architectures are little-endian */

#define ALLOW SECCOMP_RET_ALLOW
#define DENY (SECCOMP_RET_ERRNO | EPERM)
#define UNKNOWN (SECCOMP_RET_ERRNO | ENOSYS)

static struct sock_filter program[INSTRUCTIONS_MAX], forkers[INSTRUCTIONS_MAX];
static unsigned short length, forkers_length;

static void emit(uint16_t code, uint32_t k, uint8_t jump_true, uint8_t jump_false) {
    if (length >= INSTRUCTIONS_MAX) return; /* build() sees a full program and refuses it */
    program[length++] = (struct sock_filter){code, jump_true, jump_false, k};
}

static void load(uint32_t offset) { emit(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0); }
static void answer(uint32_t action) { emit(BPF_RET | BPF_K, action, 0, 0); }
static void skip_unless_equal(uint32_t value, uint8_t count) { emit(BPF_JMP | BPF_JEQ | BPF_K, value, 0, count); }

static void tree(const uint32_t *numbers, uint32_t count) {
    if (count <= 2) {
        /* each comparison jumps over what is left of them and over the "allow" */
        for (uint32_t i = 0; i < count; i++) emit(BPF_JMP | BPF_JEQ | BPF_K, numbers[i], (uint8_t)(count - i), 0);
        answer(ALLOW);
        answer(DENY);
        return;
    }
    uint32_t half = count / 2;
    unsigned short at = length;
    emit(BPF_JMP | BPF_JGE | BPF_K, numbers[half], 0, 0);
    tree(numbers, half);
    unsigned left = (unsigned)(length - at - 1);
    program[at].jt = (uint8_t)left;
    tree(numbers + half, count - half);
}

/* forks: for a zygote, which enters namespaces and is born into groups; what it forks loads the other one on top. */
static int build(const struct call_table *calls, bool forks) {
    uint32_t denied[DENIED_MAX], denied_count = 0;
    if (calls->denied_count > DENIED_MAX) return errno = E2BIG, -1;
    for (uint32_t i = 0; i < calls->denied_count; i++)
        if (!forks || calls->denied[i] != calls->setns) denied[denied_count++] = calls->denied[i];
    length = 0;
    load(OFFSET_ARCH);
    skip_unless_equal(calls->audit_arch, 1);
    emit(BPF_JMP | BPF_JA, 1, 0, 0);
    answer(SECCOMP_RET_KILL_PROCESS);
    load(OFFSET_NR);
    emit(BPF_JMP | BPF_JGT | BPF_K, HIGHEST_REVIEWED, 0, 1); /* x32 numbers (0x40000000 and up) are among these */
    answer(UNKNOWN);
    skip_unless_equal(calls->clone3, 1); /* libc falls back to clone, whose flags a filter can see */
    answer(forks ? ALLOW : UNKNOWN);

    skip_unless_equal(calls->clone, 4);
    load(OFFSET_ARG(0));
    emit(BPF_JMP | BPF_JSET | BPF_K, NAMESPACE_FLAGS, 0, 1);
    answer(DENY);
    answer(ALLOW);

    skip_unless_equal(calls->personality, 5);
    load(OFFSET_ARG(0));
    emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
    emit(BPF_JMP | BPF_JEQ | BPF_K, 0xFFFFFFFFu, 0, 1);
    answer(ALLOW);
    answer(DENY);

    skip_unless_equal(calls->socket, 9);
    load(OFFSET_ARG(0));
    emit(BPF_JMP | BPF_JEQ | BPF_K, 1 /* AF_UNIX */, 5, 0);
    emit(BPF_JMP | BPF_JEQ | BPF_K, 2 /* AF_INET */, 4, 0);
    emit(BPF_JMP | BPF_JEQ | BPF_K, 10 /* AF_INET6 */, 3, 0);
    emit(BPF_JMP | BPF_JEQ | BPF_K, 16 /* AF_NETLINK: getifaddrs asks protocol 0 */, 0, 3);
    load(OFFSET_ARG(2));
    emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1);
    answer(ALLOW);
    answer(DENY);

    load(OFFSET_NR);
    tree(denied, denied_count);
    if (length < INSTRUCTIONS_MAX) return 0;
    errno = E2BIG;
    return -1;
}

static const struct call_table *find_table(const char *name) {
    for (size_t i = 0; i < COUNT_OF(CALL_TABLES); i++)
        if (strcmp(CALL_TABLES[i].name, name) == 0) return &CALL_TABLES[i];
    return NULL;
}

int seccomp_prepare(struct failure *failure) {
#if defined(__x86_64__)
    const struct call_table *calls = find_table("x86_64");
#elif defined(__aarch64__)
    const struct call_table *calls = find_table("aarch64");
#else
#error "no system call table for this architecture: add one to denied.h"
#endif
    if (build(calls, true) != 0) return fail(failure, "build the forkers' filter");
    memcpy(forkers, program, sizeof program);
    forkers_length = length;
    return build(calls, false) == 0 ? 0 : fail(failure, "build the filter");
}

int seccomp_load(void) {
    struct sock_fprog filter = {length, program};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0u, &filter);
}

int seccomp_load_forkers(void) {
    struct sock_fprog filter = {forkers_length, forkers};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0u, &filter);
}

uint32_t seccomp_copy(uint64_t *instructions, uint32_t most) {
    if (length > most) return 0;
    memcpy(instructions, program, length * sizeof program[0]);
    return length;
}

int seccomp_dump(const char *architecture, bool forks) {
    const struct call_table *calls = find_table(architecture);
    if (!calls || build(calls, forks) != 0) return 1;
    size_t size = sizeof program[0] * length;
    return write(1, program, size) == (ssize_t)size ? 0 : 1;
}
