/* The two conversations of the launcher, as fixed binary messages.
 *
 * server -> spawner: struct request, answered by struct answer with the same serial. Exits arrive unasked.
 * spawner -> init:   struct order,   answered by struct report.
 * spawner -> forker: struct fork_order, answered by struct fork_report; see fork/fork.h.
 *
 * Everything that the server sends is treated as hostile: exact length, bounded fields, counted descriptors. It names
 * code by digest and images by name; no field is a path. All integers are in the machine's byte order (same machine).
 */
#ifndef LAMBENT_PROTOCOL_H
#define LAMBENT_PROTOCOL_H

#include <stdint.h>

#define PROTOCOL_VERSION 1u

#define IMAGE_NAME_MAX 64
#define DIGEST_CHARS 64
#define STEP_MAX 32
#define PROGRAMS_MAX 16
#define PAYLOAD_BYTES_MAX (256u * 1024u) /* argv, environment and working directory of one program */
#define PAYLOAD_STRINGS_MAX 4096u
#define REQUEST_FDS_MAX 2
#define MESSAGE_FDS_MAX 20 /* of any message here; FORK_FDS_MAX is the most there is */
#define ANSWER_FDS_MAX 7

#define MEMORY_BYTES_MIN (16ull << 20)
#define MEMORY_BYTES_MAX (1ull << 40)
#define CPU_PERIOD_US 100000u
#define CPU_QUOTA_US_MIN 1000u /* below it cpu.cfs_quota_us answers EINVAL */
#define CPU_QUOTA_US_MAX (CPU_PERIOD_US * 1024u)
#define PROCESSES_MAX 32768u
#define DESCRIPTORS_MIN 16u
#define DESCRIPTORS_MAX 1048576u
#define TMP_MB_MAX 65536u

#define API_PORT 9001
#define INIT_ID 0u       /* user id of pid 1, as seen inside */
#define FUNCTION_ID 993u /* user id of the function, as seen inside */

enum op {
    OP_CREATE = 1,
    OP_BIND,
    OP_START,
    OP_RESET,
    OP_SET_CPU,
    OP_FREEZE,
    OP_THAW,
    OP_DESTROY,
    OP_NAMESPACES,
    OP_FORK,
    OP_SIGNAL,
    OP_HOLD,      /* stop the sandbox's program for good: a template; `status` of a refusal: what is in the way */
    OP_MAKE_COPY, /* a blank for a copy of `sandbox`, which is held; answered as OP_CREATE */
    OP_COPY,      /* fork the template into such a blank; answered as OP_START */
    OP_LAST = OP_COPY
};

struct limits {
    uint64_t memory_bytes;
    uint32_t cpu_quota_us; /* per CPU_PERIOD_US; 0: no quota */
    uint32_t processes_max;
    uint32_t descriptors_max;
    uint32_t tmp_mb;
};

#define REQUEST_HAS_TASK 1u
#define REQUEST_HAS_OPT 2u
#define REQUEST_HAS_CHANNEL 4u
#define REQUEST_HAS_EGRESS 8u /* to OP_BIND: a policy, see policy.h */
#define REQUEST_IS_ZYGOTE 16u  /* to OP_CREATE: no sandbox but a place to fork from, for trusted programs alone */
#define REQUEST_FORKS 32u      /* to OP_START: the program gets a socket on which it hears OP_FORK, see fork/fork.h */
#define REQUEST_FORK_AHEAD 64u /* to OP_FORK: the copy is for nobody yet */
#define REQUEST_MAY_HOLD 128u  /* to OP_CREATE: copies of what runs in it may be asked for */
#define REQUEST_FLAGS 255u

struct request {
    uint32_t version;
    uint32_t op;
    uint64_t serial;
    uint64_t sandbox; /* 0 for OP_CREATE */
    struct limits limits;
    uint32_t flags;
    uint32_t signal; /* OP_SIGNAL: SIGTERM or SIGKILL; else 0 */
    char image[IMAGE_NAME_MAX];
    char task[DIGEST_CHARS];
    char opt[DIGEST_CHARS];
    uint64_t from; /* OP_FORK: whose program forks itself into `sandbox`; OP_SIGNAL: serial of the program's start; else 0 */
};

enum answer_kind { ANSWER_HELLO = 1, ANSWER_RESULT, ANSWER_EXIT, ANSWER_MAP, ANSWER_EGRESS };

/* ANSWER_EGRESS, before the hello: whether sandboxes have a way out (status 1), else which step said why not. */
#define ANSWER_IPV6 4u

#define ANSWER_OUT_OF_MEMORY 1u
#define ANSWER_COPIES 8u   /* hello: templates can be held and copied here */
#define ANSWER_TMP_DISK 2u /* hello: /tmp is disk-backed, not charged to the memory limit */

struct answer {
    uint32_t version;
    uint32_t kind;
    uint64_t serial;
    uint64_t sandbox;
    int32_t error; /* errno; 0: done */
    int32_t status; /* exit: exit status, or -1; create: pid of init */
    int32_t signal; /* exit: signal, or 0 */
    uint32_t flags;
    char step[STEP_MAX]; /* which step failed; create, done: the name of the control group */
};

enum order_kind { ORDER_MAPPED = 1, ORDER_START, ORDER_RESET, ORDER_SIGNAL, ORDER_SHARE, ORDER_REST, ORDER_ADOPT };
/* ORDER_SIGNAL: to the program of `serial`, its number as `flags`.
 * ORDER_ADOPT: a process that was forked into the sandbox, `flags` is its id there, counts as a started program.
 * The two before are the confined tier's: the CPU quota, and whether nothing is asked of the function now, as `serial`. */

#define ORDER_HAS_CHANNEL 1u /* of ORDER_START: after the log pipe and the payload */
#define ORDER_HAS_FORKS 2u   /* and then a socket on which the program hears of forks */

struct order {
    uint32_t kind;
    uint32_t flags;
    uint64_t serial;
    uint64_t data_bytes_max; /* RLIMIT_DATA, where no cgroup limits memory; 0: none */
    uint32_t descriptors_max;
    uint32_t processes_max;
    /* Confined alone: what the keeper watches (0: a control group does), and the trees that may be read. */
    uint64_t memory_bytes_max, tmp_bytes_max;
    char task[DIGEST_CHARS], opt[DIGEST_CHARS];
};

#define REPORT_STEP_MEMORY "out of memory" /* of an exit: the keeper's watch ended the program for its memory */

enum report_kind { REPORT_UNMAPPED = 1, REPORT_READY, REPORT_FAILED, REPORT_STARTED, REPORT_EXIT, REPORT_RESET, REPORT_BORN };
/* REPORT_BORN: of a blank for a copy, whose init is no child of ours by clone; with its pidfd. */

struct report {
    uint32_t kind;
    int32_t error;
    int32_t status;
    int32_t signal;
    uint64_t serial;
    char step[STEP_MAX];
};

/* Descriptors of REPORT_UNMAPPED, in this order. */
enum built_fd { BUILT_LISTENER, BUILT_MOUNTS, BUILT_TASK, BUILT_OPT, BUILT_TMP, BUILT_FDS };
#define BUILT_GATE BUILT_FDS /* then the gate's three, where sandboxes have a way out */
#define BUILT_FDS_MAX (BUILT_FDS + 3)

_Static_assert(sizeof(struct request) == 256, "container.py packs requests of this size");
_Static_assert(sizeof(struct answer) == 72, "container.py unpacks answers of this size");

#endif
