/* What a confined program may not call beyond the filter of every sandbox, because no namespace stands behind it.
 *
 * System V and message-queue objects have no owner that ends with the sandbox, and those of others are there by number. Where landlock
 * covers TCP, everything that would carry bytes past it is closed: datagrams, other transports, MPTCP, and the connect
 * that hides in a first send (TCP fast open), none of which pass landlock's check.
 */
#define _GNU_SOURCE
#include "confined.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARGUMENT(n) (16u + 8u * (n)) /* low word; both architectures are little-endian */
#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define ANSWER(action) BPF_STMT(BPF_RET | BPF_K, action)
#define DENY ANSWER(SECCOMP_RET_ERRNO | EPERM)
#define ALLOW ANSWER(SECCOMP_RET_ALLOW)
#define FAST_OPEN 0x20000000u /* MSG_FASTOPEN */
/* The twelfth stands before the refusal. */
#define REFUSE_ONE_OF_TWELVE(place, call) IF_EQUAL(call, 12 - (place), 0)
/* Three instructions and their answers: deny when this argument carries the flag. */
#define REFUSE_FAST_OPEN(call, argument)                                                                               \
    IF_EQUAL(call, 0, 4), LOAD(ARGUMENT(argument)), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, FAST_OPEN, 0, 1), DENY, ALLOW

static struct sock_filter filter[] = {
    LOAD(0),
    REFUSE_ONE_OF_TWELVE(1, SYS_shmget),
    REFUSE_ONE_OF_TWELVE(2, SYS_shmat),
    REFUSE_ONE_OF_TWELVE(3, SYS_shmctl),
    REFUSE_ONE_OF_TWELVE(4, SYS_semget),
    REFUSE_ONE_OF_TWELVE(5, SYS_semop),
    REFUSE_ONE_OF_TWELVE(6, SYS_semtimedop),
    REFUSE_ONE_OF_TWELVE(7, SYS_semctl),
    REFUSE_ONE_OF_TWELVE(8, SYS_msgget),
    REFUSE_ONE_OF_TWELVE(9, SYS_msgsnd),
    REFUSE_ONE_OF_TWELVE(10, SYS_msgrcv),
    REFUSE_ONE_OF_TWELVE(11, SYS_msgctl),
    IF_EQUAL(SYS_mq_open, 0, 1),
    DENY,
    REFUSE_FAST_OPEN(SYS_sendto, 3),
    REFUSE_FAST_OPEN(SYS_sendmsg, 2),
    REFUSE_FAST_OPEN(SYS_sendmmsg, 3),
    IF_EQUAL(SYS_socket, 0, 9),
    LOAD(ARGUMENT(0)),
    IF_EQUAL(2 /* AF_INET */, 1, 0),
    IF_EQUAL(10 /* AF_INET6 */, 0, 6),
    LOAD(ARGUMENT(1)),
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xFu),
    IF_EQUAL(1 /* SOCK_STREAM */, 0, 4),
    LOAD(ARGUMENT(2)),
    IF_EQUAL(0, 1, 0),
    IF_EQUAL(6 /* IPPROTO_TCP */, 0, 1),
    ALLOW,
    DENY,
};
#define WITHOUT_NETWORK 14u /* instructions that stand before the network's */

int confined_filter_load(bool closed_network) {
    static struct sock_filter short_filter[WITHOUT_NETWORK + 1];
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    if (!closed_network) {
        for (size_t i = 0; i < WITHOUT_NETWORK; i++) short_filter[i] = filter[i];
        short_filter[WITHOUT_NETWORK] = (struct sock_filter)ALLOW;
        program = (struct sock_fprog){WITHOUT_NETWORK + 1, short_filter};
    }
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0u, &program);
}
