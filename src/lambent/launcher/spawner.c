/* The loop: one message, one action. Ends when the server does.
 *
 * It waits for room towards the server alone, who is to read; a helper that does not must hold up nobody. What it can't be
 * told yet stays with whom it concerns, and is told in a later turn.
 */
#define _GNU_SOURCE
#include "spawner.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tmpdisk.h"

#define EVENTS_MAX 64
#define FAREWELL_MS_MAX 3000

int watch(struct spawner *spawner, int fd, uint32_t what, uint32_t slot) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)what << 32 | slot};
    return epoll_ctl(spawner->events, EPOLL_CTL_ADD, fd, &event);
}

void watch_room(struct spawner *spawner, int fd, uint32_t what, bool wanted) {
    struct epoll_event event = {.events = EPOLLIN | (wanted ? (uint32_t)EPOLLOUT : 0u), .data.u64 = (uint64_t)what << 32};
    epoll_ctl(spawner->events, EPOLL_CTL_MOD, fd, &event);
}

/* Explicitly, since a child that has not closed its copies yet would keep the registration alive. */
void unwatch(struct spawner *spawner, int *fd) {
    if (*fd >= 0) epoll_ctl(spawner->events, EPOLL_CTL_DEL, *fd, NULL);
    close_fd(fd);
}

static void answer(struct spawner *spawner, const struct answer *message, const int *fds, size_t count) {
    if (spawner->server < 0) return;
    if (send_message(spawner->server, message, sizeof *message, fds, count) != 0) close_fd(&spawner->server);
}

void answer_result(struct spawner *spawner, uint64_t serial, uint64_t sandbox, const struct failure *failure,
                   int32_t status, const int *fds, size_t count) {
    struct answer message = {.version = PROTOCOL_VERSION, .kind = ANSWER_RESULT, .serial = serial, .sandbox = sandbox,
                             .status = status};
    if (failure) {
        message.error = failure->error;
        snprintf(message.step, sizeof message.step, "%s", failure->step);
    }
    answer(spawner, &message, fds, count);
}

void answer_exit(struct spawner *spawner, uint64_t serial, uint64_t sandbox, const struct report *report, bool oom) {
    struct answer message = {.version = PROTOCOL_VERSION, .kind = ANSWER_EXIT, .serial = serial, .sandbox = sandbox,
                             .error = report->error, .status = report->status, .signal = report->signal,
                             .flags = oom ? ANSWER_OUT_OF_MEMORY : 0};
    answer(spawner, &message, NULL, 0);
}

/* One message of the server, checked as if it were hostile. A malformed one is answered, not obeyed. */
static void serve(struct spawner *spawner) {
    struct request request;
    int fds[REQUEST_FDS_MAX];
    size_t count;
    struct failure failure = {"", 0};
    ssize_t got = receive_message(spawner->server, &request, sizeof request, fds, REQUEST_FDS_MAX, &count);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got == 0 || (got < 0 && errno != EMSGSIZE)) {
        close_fd(&spawner->server);
        return;
    }
    if (got != (ssize_t)sizeof request)
        fail_with(&failure, "read the request", EMSGSIZE);
    else if (request.version != PROTOCOL_VERSION)
        fail_with(&failure, "read the request", EPROTO);
    else if (request.op == 0 || request.op > OP_LAST || request.flags > REQUEST_FLAGS ||
             (request.op == OP_SIGNAL) != (request.signal != 0) || (request.op == OP_SIGNAL && request.from == 0))
        fail_with(&failure, "read the request", EINVAL);
    if (failure.error)
        answer_result(spawner, got == (ssize_t)sizeof request ? request.serial : 0, 0, &failure, 0, NULL, 0);
    else
        sandbox_request(spawner, &request, fds, count);
    for (size_t i = 0; i < count; i++) close_fd(&fds[i]); /* what was kept is taken out */
}

static void dispatch(struct spawner *spawner, const struct epoll_event *event) {
    uint32_t what = (uint32_t)(event->data.u64 >> 32), slot = (uint32_t)event->data.u64;
    if (what == WATCH_SERVER && spawner->server >= 0) serve(spawner);
    if (what == WATCH_HELPERS && spawner->helpers >= 0) sandbox_tmp_ready(spawner);
    if (what == WATCH_CONTROL) sandbox_control(spawner, slot);
    if (what == WATCH_PIDFD) sandbox_ended(spawner, slot);
    if (what == WATCH_COPIER) template_heard(spawner, slot);
    if (what == WATCH_FORKS) forks_reported(spawner, slot);
    if (what == WATCH_RELAY && spawner->relay >= 0) egress_heard(spawner, event->events == EPOLLOUT);
    if (what == WATCH_JANITOR && spawner->janitor >= 0) leaving_answered(spawner);
}

static int turn(struct spawner *spawner, int timeout_ms) {
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(spawner->events, events, EVENTS_MAX, timeout_ms);
    for (int i = 0; i < count; i++) dispatch(spawner, &events[i]);
    sandbox_ask_tmp(spawner);
    int sandboxes_ms = sandbox_timer(spawner), leaving_ms = leaving_turn(spawner);
    return sandboxes_ms < 0 || (leaving_ms >= 0 && leaving_ms < sandboxes_ms) ? leaving_ms : sandboxes_ms;
}

int spawner_run(struct spawner *spawner) {
    int timeout_ms = -1;
    sandbox_ask_tmp(spawner);
    while (spawner->server >= 0) timeout_ms = turn(spawner, timeout_ms);
    /* The server is gone, and nothing outlives it. */
    spawner->farewell_ms = now_ms() + FAREWELL_MS_MAX;
    for (uint32_t slot = 0; slot < spawner->count; slot++)
        if (spawner->sandboxes[slot].state != FREE) sandbox_kill(spawner, slot, 0);
    while (spawner->busy > 0 && now_ms() < spawner->farewell_ms) turn(spawner, 1);
    egress_finish(spawner);
    leaving_finish(spawner);
    while (spawner->pool_count > 0) {
        int *tmp = &spawner->pool[--spawner->pool_count];
        tmpdisk_release_by(spawner->helpers, *tmp, spawner->farewell_ms);
        close_fd(tmp);
    }
    tmpdisk_stop(&spawner->helpers);
    tmpdisk_clean(&spawner->config);
    return spawner->busy == 0 ? 0 : 1;
}
