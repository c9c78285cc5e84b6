/* Closing a packet socket waits for every processor to have passed by, some milliseconds: these threads do that. */
#define _GNU_SOURCE
#include "base.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#define CLOSERS 4
#define CLOSER_STACK_BYTES 65536u

static void *close_later(void *argument) {
    int fd, from = *(int *)argument;
    while (read(from, &fd, sizeof fd) == (ssize_t)sizeof fd) close(fd);
    return NULL;
}

int closers_start(void) {
    static int ends[2];
    pthread_attr_t attributes;
    if (pipe2(ends, O_CLOEXEC) != 0 || pthread_attr_init(&attributes) != 0) return -1;
    pthread_attr_setstacksize(&attributes, CLOSER_STACK_BYTES);
    for (int i = 0; i < CLOSERS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, close_later, &ends[0]) != 0) return -1;
    }
    return ends[1];
}

void close_elsewhere(int closers, int *fd) {
    if (*fd >= 0 && write(closers, fd, sizeof *fd) == (ssize_t)sizeof *fd) *fd = -1;
    close_fd(fd);
}
