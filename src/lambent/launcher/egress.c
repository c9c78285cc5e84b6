/* Sandboxes and the relay: who is told what, and what follows when the relay is gone.
 *
 * The gate's descriptors wait here from the building of a blank to its binding; then they and the policy go to the relay.
 * The policy is not read here: what the server writes is parsed where there is no privilege.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relay.h"
#include "table.h"

/* The last id of the first slot's sixteen, of which sandboxes use two. Rootless, the relay stays the server's user. */
static uint32_t relay_id(const struct spawner *spawner) {
    return spawner->config.ids_base + spawner->config.ids_stride - 1;
}

static int start(struct spawner *spawner, struct failure *failure) {
    if (spawner->relay >= 0) return 0;
    spawner->relay = relay_start(&spawner->config, relay_id(spawner), &spawner->relay_pid, failure);
    if (spawner->relay < 0) return -1;
    if (watch(spawner, spawner->relay, WATCH_RELAY, 0) == 0) return 0;
    close_fd(&spawner->relay);
    return fail(failure, "watch the relay");
}

static void forget(struct sandbox *sandbox) {
    for (int i = 0; i < GATE_FDS; i++) close_fd(&sandbox->gate[i]);
    close_fd(&sandbox->policy);
}

int egress_bind(struct spawner *spawner, struct sandbox *sandbox, struct failure *failure) {
    if (sandbox->relayed || sandbox->policy < 0 || sandbox->gate[0] < 0) { /* a bind repeated; nothing asked; no gate */
        close_fd(&sandbox->policy);
        return 0;
    }
    if (start(spawner, failure) != 0) return -1;
    struct relay_order order = {.kind = RELAY_ADD, .sandbox = id_of(spawner, sandbox)};
    int fds[RELAY_ADD_FDS];
    for (int i = 0; i < GATE_FDS; i++) fds[i] = sandbox->gate[i];
    fds[GATE_FDS] = sandbox->policy;
    if (send_message(spawner->relay, &order, sizeof order, fds, RELAY_ADD_FDS) != 0)
        return fail(failure, "speak to the relay");
    sandbox->relayed = true;
    forget(sandbox);
    return 0;
}

void egress_end(struct spawner *spawner, struct sandbox *sandbox) {
    forget(sandbox);
    if (!sandbox->relayed || spawner->relay < 0) return;
    struct relay_order order = {.kind = RELAY_REMOVE, .sandbox = id_of(spawner, sandbox)};
    send_message(spawner->relay, &order, sizeof order, NULL, 0); /* a relay that is gone holds nothing */
    sandbox->relayed = false;
}

/* Its sandboxes have lost their way out for good: they end, as when pid 1 is killed, and are replaced. */
void egress_lost(struct spawner *spawner) {
    egress_finish(spawner);
    for (uint32_t slot = 0; slot < spawner->count; slot++) {
        struct sandbox *sandbox = &spawner->sandboxes[slot];
        if (sandbox->state == FREE || !sandbox->relayed) continue;
        sandbox->relayed = false;
        if (sandbox->pidfd >= 0) sys_pidfd_kill(sandbox->pidfd, SIGKILL);
        if (sandbox->frozen) {
            char name[GROUP_NAME_MAX];
            struct failure ignored;
            name_of(spawner, sandbox, name);
            group_freeze(&spawner->groups, name, false, &ignored);
        }
    }
}

void egress_finish(struct spawner *spawner) {
    unwatch(spawner, &spawner->relay);
    if (spawner->relay_pid > 0) waitpid(spawner->relay_pid, NULL, 0);
    spawner->relay_pid = 0;
}
