/* What runs inside a template's memory, see copier.h: position-independent, nothing but system calls. */
#ifndef LAMBENT_COPYBLOB_H
#define LAMBENT_COPYBLOB_H

#include <stdint.h>
#include <sys/socket.h>

#include "copier.h"

struct blob_argument {
    /* filled once, when the template is held */
    int32_t socket; /* whose other end the copier alone has */
    int32_t last_capability;
    uint64_t tid_at;
    uint64_t rseq_at, robust_at, robust_bytes;
    uint32_t rseq_bytes, rseq_signature;
    uint32_t function;
    /* for each copy */
    uint32_t groups;
    /* what came of it */
    int32_t step, error; /* 0: all went well */
    int32_t pid;
    /* where the descriptors are received */
    struct msghdr message;
    struct iovec part;
    char byte, zero;
    char directory[256]; /* where the template stood; empty: nowhere that a copy could go */
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * COPY_FDS_MAX)];
    } control;
};

enum blob_step { BLOB_FORK = 1, BLOB_RECEIVE, BLOB_GROUP, BLOB_SETNS, BLOB_IDS, BLOB_ENTER, BLOB_DROP, BLOB_COPY };

void copy_blob(struct blob_argument *argument);
extern const char __start_lambent_blob[], __stop_lambent_blob[];

#endif
