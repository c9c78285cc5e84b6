/* The relay's process: its start, its loop, its sandboxes.
 *
 * It holds descriptors made inside the sandboxes' namespaces and stands itself in the host's, so it alone can be on both
 * sides. It has no capability, a user id that is nobody's, the sandboxes' own system call filter, and reads nothing that a
 * function wrote but first packets and questions for names; bytes of connections it only moves. One process and no lock:
 * a thousand connections cost it no more than their bytes.
 */
#define _GNU_SOURCE
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "seccomp.h"

#define RELAY_EVENTS_MAX 128
#define TICK_MS 250
#define ORDERS_PER_TURN_MAX 64

struct relay relay;
static struct space *dead_spaces;

/* ---- what is watched ---- */

void watch_set(struct watch *watch, uint32_t events) {
    if (watch->wanted == events) return;
    struct epoll_event event = {.events = events, .data.ptr = watch};
    int operation = events == 0 ? EPOLL_CTL_DEL : watch->wanted == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(relay.poller, operation, watch->fd, &event) == 0) watch->wanted = events;
}

void watch_close(struct watch *watch) {
    if (watch->fd < 0) return;
    watch_set(watch, 0);
    close_fd(&watch->fd);
}

/* ---- sandboxes ---- */

static void add_space(uint64_t sandbox, const int *fds) {
    struct space *space = calloc(1, sizeof *space);
    if (!space || policy_read(fds[GATE_FDS], &space->policy) != 0) {
        for (int i = 0; i < RELAY_ADD_FDS; i++) close(fds[i]);
        free(space);
        return; /* the sandbox's packets are dropped; the server alone writes policies */
    }
    close(fds[GATE_FDS]);
    space->sandbox = sandbox;
    space->packets = (struct watch){tcp_on_packets, space, fds[GATE_PACKETS], 0};
    space->listener = (struct watch){tcp_on_listener, space, fds[GATE_LISTENER], 0};
    space->dns = (struct watch){dns_on_packets, space, fds[GATE_DNS], 0};
    space->next = relay.spaces;
    if (relay.spaces) relay.spaces->previous = space;
    relay.spaces = space;
    watch_set(&space->packets, EPOLLIN);
    watch_set(&space->listener, EPOLLIN);
    watch_set(&space->dns, EPOLLIN);
}

static void remove_space(uint64_t sandbox) {
    struct space *space = relay.spaces;
    while (space && space->sandbox != sandbox) space = space->next;
    if (!space) return;
    tcp_drop_all(space);
    dns_drop_all(space);
    watch_set(&space->packets, 0);
    close_elsewhere(relay.closers, &space->packets.fd);
    watch_close(&space->listener);
    watch_close(&space->dns);
    policy_forget(&space->policy);
    if (space->previous) space->previous->next = space->next;
    if (space->next) space->next->previous = space->previous;
    if (relay.spaces == space) relay.spaces = space->next;
    space->dead = true;
    space->next_dead = dead_spaces;
    dead_spaces = space;
}

static void on_orders(struct watch *watch, uint32_t events) {
    (void)events;
    for (int i = 0; i < ORDERS_PER_TURN_MAX; i++) {
        struct relay_order order;
        int fds[RELAY_ADD_FDS];
        size_t count;
        ssize_t got = receive_message(watch->fd, &order, sizeof order, fds, RELAY_ADD_FDS, &count);
        if (got < 0 && (errno == EAGAIN || errno == EINTR || errno == EMSGSIZE)) return;
        if (got != (ssize_t)sizeof order) _exit(0); /* the spawner is gone, and all sandboxes with it */
        if (order.kind == RELAY_ADD && count == RELAY_ADD_FDS) {
            add_space(order.sandbox, fds);
            continue;
        }
        if (order.kind == RELAY_REMOVE) remove_space(order.sandbox);
        for (size_t f = 0; f < count; f++) close(fds[f]);
    }
}

/* ---- the process ---- */

static void bury(void) {
    tcp_bury();
    dns_bury();
    while (dead_spaces) {
        struct space *space = dead_spaces;
        dead_spaces = space->next_dead;
        free(space);
    }
}

static _Noreturn void run(void) {
    struct watch orders = {on_orders, NULL, relay.orders, 0};
    watch_set(&orders, EPOLLIN);
    int64_t next_tick = 0;
    for (;;) {
        struct epoll_event events[RELAY_EVENTS_MAX];
        bool timed = relay.connection_count > 0 || relay.query_count > 0;
        int count = epoll_wait(relay.poller, events, RELAY_EVENTS_MAX, timed ? TICK_MS : -1);
        relay.now = now_ms();
        for (int i = 0; i < count; i++) {
            struct watch *watch = events[i].data.ptr;
            if (watch->fd >= 0) watch->on(watch, events[i].events); /* else ended by an event before it */
        }
        if (timed && relay.now >= next_tick) {
            next_tick = relay.now + TICK_MS;
            for (struct space *space = relay.spaces; space; space = space->next) {
                tcp_tick(space);
                dns_tick(space);
            }
        }
        bury();
    }
}

static int drop_everything(uint32_t uid, bool rootless) {
    if (!rootless && (setgroups(0, NULL) != 0 || setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0)) return -1;
    if (sys_capset(0) != 0) return -1;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || seccomp_load() != 0) return -1;
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static _Noreturn void relay_main(const struct config *config, uint32_t uid, int orders) {
    orders = fcntl(orders, F_DUPFD_CLOEXEC, 3);
    keep_only(&orders, 1);
    setsid();
    struct rlimit limit = {0, 0};
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t room = limit.rlim_cur / 4; /* two each; as many again for the sandboxes' own */
    relay.config = config;
    relay.orders = orders;
    relay.connections_max = room < CONNECTIONS_MAX ? (uint32_t)room : CONNECTIONS_MAX;
    relay.poller = epoll_create1(EPOLL_CLOEXEC);
    if (orders < 0 || relay.poller < 0 || fcntl(orders, F_SETFL, O_NONBLOCK) != 0) _exit(2);
    if (drop_everything(uid, config->rootless) != 0 || (relay.closers = closers_start()) < 0) _exit(2);
    prctl(PR_SET_NAME, "lambent-relay", 0, 0, 0); /* last: who bears the name has dropped everything */
    run();
}

int relay_start(const struct config *config, uint32_t uid, pid_t *pid, struct failure *failure) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return fail(failure, "make the relay's socket");
    pid_t child = fork();
    if (child == 0) relay_main(config, uid, pair[1]);
    close(pair[1]);
    *pid = child;
    if (child > 0) return pair[0];
    fail(failure, "fork the relay");
    close(pair[0]);
    return -1;
}
