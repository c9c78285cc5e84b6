/* Sandboxes and the relay: who is told what, and what follows when the relay is gone.
 *
 * The gate's descriptors wait here from the building of a blank to its binding; then they and the policy go to the relay.
 * The policy is not read here: what the server writes is parsed where there is no privilege.
 *
 * Nobody waits for the relay, who reads what strangers send: what it has no room for is told when it has. A first packet
 * that comes before its sandbox is known waits in the gate meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
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

static int add(struct spawner *spawner, struct sandbox *sandbox) {
    struct relay_order order = {.kind = RELAY_ADD, .sandbox = id_of(spawner, sandbox)};
    int fds[RELAY_ADD_FDS];
    for (int i = 0; i < GATE_FDS; i++) fds[i] = sandbox->gate[i];
    fds[GATE_FDS] = sandbox->policy;
    if (offer_message(spawner->relay, &order, sizeof order, fds, RELAY_ADD_FDS) != 0) return -1;
    sandbox->relayed = true;
    forget(sandbox);
    return 0;
}

static int take_away(struct spawner *spawner, uint64_t sandbox) {
    struct relay_order order = {.kind = RELAY_REMOVE, .sandbox = sandbox};
    return offer_message(spawner->relay, &order, sizeof order, NULL, 0); /* a relay that is gone holds nothing */
}

static bool has_backlog(const struct spawner *spawner) { return spawner->removal_count > 0 || spawner->relay_due > 0; }

static void no_longer_due(struct spawner *spawner, struct sandbox *sandbox) {
    spawner->relay_due -= sandbox->relay_due;
    sandbox->relay_due = false;
}

int egress_bind(struct spawner *spawner, struct sandbox *sandbox, struct failure *failure) {
    no_longer_due(spawner, sandbox); /* of a bind that failed */
    if (sandbox->relayed || sandbox->policy < 0 || sandbox->gate[0] < 0) { /* a bind repeated; nothing asked; no gate */
        close_fd(&sandbox->policy);
        return 0;
    }
    if (start(spawner, failure) != 0) return -1;
    if (!has_backlog(spawner) && add(spawner, sandbox) == 0) return 0;
    if (!has_backlog(spawner) && errno != EAGAIN) return fail(failure, "speak to the relay");
    sandbox->relay_due = true;
    spawner->relay_due++;
    watch_room(spawner, spawner->relay, WATCH_RELAY, true);
    return 0;
}

/* A gate that never came so far stays open until it can be closed elsewhere: closing its packet socket takes milliseconds. */
void egress_end(struct spawner *spawner, struct sandbox *sandbox) {
    close_fd(&sandbox->policy);
    no_longer_due(spawner, sandbox);
    if (!sandbox->relayed || spawner->relay < 0) return;
    sandbox->relayed = false;
    if (!has_backlog(spawner) && (take_away(spawner, id_of(spawner, sandbox)) == 0 || errno != EAGAIN)) return;
    spawner->removals[spawner->removal_count++] = id_of(spawner, sandbox);
    watch_room(spawner, spawner->relay, WATCH_RELAY, true);
}

/* It has lost its way out for good: it ends, as when pid 1 is killed, and is replaced. */
static void lose(struct spawner *spawner, struct sandbox *sandbox) {
    sandbox->relayed = false;
    no_longer_due(spawner, sandbox);
    if (sandbox->pidfd >= 0) sys_pidfd_kill(sandbox->pidfd, SIGKILL);
    thaw_to_end(spawner, sandbox);
}

/* Removals first: while one waits nobody is added, so there are never more than it knew sandboxes. */
static void catch_up(struct spawner *spawner) {
    uint32_t told = 0;
    while (told < spawner->removal_count && take_away(spawner, spawner->removals[told]) == 0) told++;
    spawner->removal_count -= told;
    memmove(spawner->removals, spawner->removals + told, sizeof *spawner->removals * spawner->removal_count);
    if (spawner->removal_count > 0) return;
    for (uint32_t slot = 0; slot < spawner->count && spawner->relay_due > 0; slot++) {
        struct sandbox *sandbox = &spawner->sandboxes[slot];
        if (!sandbox->relay_due) continue;
        if (add(spawner, sandbox) == 0)
            no_longer_due(spawner, sandbox);
        else if (errno == EAGAIN)
            return;
        else
            lose(spawner, sandbox);
    }
    watch_room(spawner, spawner->relay, WATCH_RELAY, false);
}

void egress_finish(struct spawner *spawner) {
    unwatch(spawner, &spawner->relay);
    end_child(&spawner->relay_pid);
    spawner->removal_count = 0;
}

static void lost(struct spawner *spawner) {
    egress_finish(spawner);
    for (uint32_t slot = 0; slot < spawner->count; slot++) {
        struct sandbox *sandbox = &spawner->sandboxes[slot];
        if (sandbox->state != FREE && (sandbox->relayed || sandbox->relay_due)) lose(spawner, sandbox);
    }
}

void egress_heard(struct spawner *spawner, bool has_room) {
    if (has_room)
        catch_up(spawner);
    else
        lost(spawner);
}
