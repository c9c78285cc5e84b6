#define _GNU_SOURCE
#include "janitor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "init.h"
#include "network.h"

#define PRINT_BYTES_MAX 131072u
#define SETTLE_NS 50000000 /* after lo is up, before a new namespace is taken as the measure */

static char reference[PRINT_BYTES_MAX], found[PRINT_BYTES_MAX];
static size_t reference_bytes;
/* Most distributions' kernels count the searches in a namespace's routes, and one is made whenever a socket is bound to an
 * address or connected, without a packet. Nobody can set that back: it must be what so many births make of it. */
static uint64_t searches[SEARCHES_MAX], searches_born[SEARCHES_MAX];
static int searches_count;
static int home = -1; /* its own namespace: rootless there is no way back into the host's */

static void go_back(void) {
    if (setns(home, CLONE_NEWNET) != 0) _exit(1);
}

static int make_net(const struct config *config) {
    struct failure failure = {"", 0};
    if (unshare(CLONE_NEWNET) != 0) return -1;
    int net = -1;
    if (loopback_up() == 0 && (!config->egress || gate_lay(config, &failure) == 0))
        net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    go_back();
    return net;
}

/* A namespace of its own is the measure: the one in which it is taken never meets a function. */
static void take_reference(const struct config *config) {
    int net = make_net(config);
    if (net < 0 || setns(net, CLONE_NEWNET) != 0) return;
    nanosleep(&(struct timespec){0, SETTLE_NS}, NULL);
    reference_bytes = netprint(reference, sizeof reference, NETPRINT_ALL);
    searches_count = net_searches(searches);
    int listener = listen_inside();
    if (listener < 0 || searches_count < 0 || net_searches(searches_born) != searches_count) reference_bytes = 0;
    close_fd(&listener);
    go_back();
    close(net);
}

static bool is_like_the_reference(size_t bytes) { return bytes > 0 && memcmp(found, reference, bytes) == 0; }

static bool only_births_searched(uint32_t lives) {
    uint64_t now[SEARCHES_MAX];
    bool same = net_searches(now) == searches_count;
    for (int i = 0; same && i < searches_count; i++) same = now[i] == searches[i] + lives * (searches_born[i] - searches[i]);
    return same;
}

/* A packet is counted for good. The last sockets are closed a moment after their owners have ended; what is read while there
 * are some tells nothing. */
static enum janitor_verdict look(uint32_t lives) {
    if (!is_like_the_reference(netprint(found, sizeof found, 1))) return JANITOR_NEVER;
    if (net_has_sockets()) return JANITOR_NOT_YET;
    size_t bytes = netprint(found, sizeof found, NETPRINT_ALL);
    bool as_new = bytes == reference_bytes && is_like_the_reference(bytes) && only_births_searched(lives);
    return as_new ? JANITOR_AS_NEW : JANITOR_NEVER;
}

static enum janitor_verdict look_at_net(int net, uint32_t lives) {
    if (reference_bytes == 0 || setns(net, CLONE_NEWNET) != 0) return JANITOR_NEVER;
    enum janitor_verdict verdict = look(lives);
    go_back();
    return verdict;
}

static enum janitor_verdict renew_group(const struct groups *groups, const struct janitor_order *order) {
    int renewed = group_renew(groups, order->group, &order->standing, &order->limits);
    return renewed > 0 ? JANITOR_AS_NEW : renewed == 0 ? JANITOR_NOT_YET : JANITOR_NEVER;
}

static _Noreturn void run(const struct config *config, const struct groups *groups, int socket) {
    take_reference(config);
    int closers = closers_start();
    if (closers < 0) _exit(1);
    prctl(PR_SET_NAME, "lambent-janitor", 0, 0, 0);
    for (;;) {
        struct janitor_order order;
        int fd = -1;
        size_t count;
        ssize_t got = receive_message(socket, &order, sizeof order, &fd, 1, &count);
        if (got != (ssize_t)sizeof order) _exit(0);
        if (count == 0) fd = -1;
        order.group[GROUP_NAME_MAX - 1] = 0;
        struct janitor_answer answer = {.kind = order.kind, .verdict = JANITOR_NEVER};
        int made = -1;
        switch (order.kind) {
        case JANITOR_MAKE_NET:
            made = make_net(config);
            if (made >= 0) answer.verdict = JANITOR_AS_NEW;
            break;
        case JANITOR_LOOK_AT_NET: answer.verdict = look_at_net(fd, order.lives); break;
        case JANITOR_RENEW_GROUP: answer.verdict = renew_group(groups, &order); break;
        case JANITOR_REMOVE_GROUP:
            answer.verdict = group_remove(groups, order.group) == 0 ? JANITOR_AS_NEW : JANITOR_NOT_YET;
            break;
        default: close_elsewhere(closers, &fd); /* JANITOR_CLOSE */
        }
        close_fd(&fd);
        if (send_message(socket, &answer, sizeof answer, &made, made >= 0) != 0) _exit(0);
        close_fd(&made);
    }
}

static _Noreturn void janitor_main(const struct config *config, const struct groups *groups, int socket) {
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    socket = fcntl(socket, F_DUPFD_CLOEXEC, 3);
    int kept[HIERARCHIES_MAX + 1] = {socket};
    for (uint32_t i = 0; i < groups->count; i++) kept[1 + i] = groups->at[i].fd;
    keep_only(kept, 1 + groups->count);
    if (unshare(CLONE_NEWNET) != 0) _exit(1);
    home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    /* Namespaces are made and entered with SYS_ADMIN, addresses and rules written with NET_ADMIN. */
    if (socket < 0 || home < 0 || sys_capset(1ull << CAP_SYS_ADMIN | 1ull << CAP_NET_ADMIN) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        _exit(1);
    run(config, groups, socket);
}

int janitor_start(const struct config *config, const struct groups *groups, pid_t *pid, struct failure *failure) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return fail(failure, "make a socket");
    *pid = fork();
    if (*pid == 0) janitor_main(config, groups, pair[1]);
    close(pair[1]);
    if (*pid > 0) return pair[0];
    fail(failure, "fork the janitor");
    close(pair[0]);
    return -1;
}
