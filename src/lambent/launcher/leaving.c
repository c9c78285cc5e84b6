/* What sandboxes leave behind, and what of it is used again.
 *
 * When a sandbox has ended its slot is free at once; what it leaves waits here, and goes on to the janitor or a helper one by
 * one, when no sandbox is being made: taking down holds locks of the kernel that building up needs. What has waited
 * LEAVING_MS_MAX, or waits among too many, goes on all the same. There is room for LEAVING_MAX; beyond it the end itself waits.
 *
 * A network namespace and a control group (version 1) are kept when the janitor finds them as new, and thrown away otherwise,
 * or when enough are kept. /tmp is always thrown away.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "janitor.h"
#include "table.h"
#include "tmpdisk.h"

#define LEFT_BY_ONE_MAX 8u    /* a namespace, a group, two discs, a socket of the gate, and more to spare */
#define LEAVING_MS_MAX 200    /* demand goes first for so long */
#define LEAVING_CROWD 256u    /* more than this wait for nobody */
#define SETTLE_MS 15          /* from an end to the first look at its group: pages of the kernel */
/* And at its namespace. Who joins or leaves a multicast group has the kernel send a report for it two ticks later, from a
 * queue of its own: 8 to 20 ms were measured with 250 ticks a second. A look that comes first finds a network as new, whose
 * next owner then sees two packets. */
#define NET_SETTLE_MS 100
#define TRIES_MAX 6u          /* looks at what is not as new yet; each waits twice as long as the one before */
#define STRAGGLER_MS 500      /* a group that will not go is tried again */
#define JANITOR_ASKED_MAX 4u  /* at once, so that it need not wait for us */
#define TMP_LEAVING_MAX 2u    /* discs being taken down at once: the other helpers make new ones */

/* ---- what comes ---- */

static void add(struct spawner *spawner, enum leaving_kind kind, int *fd, uint64_t group, const struct limits *standing) {
    int64_t now = now_ms();
    struct leaving *item = &spawner->leaving[spawner->leaving_count++];
    *item = (struct leaving){.kind = kind, .fd = fd ? *fd : -1, .group = group, .since_ms = now, .due_ms = now};
    if (standing) item->standing = *standing;
    if (kind == LEAVING_NET) item->due_ms += NET_SETTLE_MS;
    if (kind == LEAVING_GROUP) item->due_ms += SETTLE_MS;
    if (fd) *fd = -1;
}

void leaving_tmp(struct spawner *spawner, int *tmp) {
    if (*tmp >= 0 && spawner->leaving_count < LEAVING_MAX) add(spawner, LEAVING_TMP, tmp, 0, NULL);
    close_fd(tmp);
}

/* The server is gone: nothing is kept, nobody is held up, and the warden removes what groups are left. */
static void throw_away(struct spawner *spawner, struct sandbox *sandbox) {
    char name[GROUP_NAME_MAX];
    name_of(spawner, sandbox, name);
    group_remove(&spawner->groups, name);
    for (int i = 0; i < 2; i++) {
        bool full = sandbox->held[i] >= 0 && spawner->helpers >= 0 &&
                    tmpdisk_release(spawner->helpers, sandbox->held[i]) != 0 && errno == EAGAIN;
        if (full) leaving_tmp(spawner, &sandbox->held[i]);
        close_fd(&sandbox->held[i]);
    }
    for (int i = 0; i < GATE_FDS; i++) close_fd(&sandbox->gate[i]);
    close_fd(&sandbox->net);
}

/* A group whose owner ended by itself is still read by the server, which has to find that one's figures. */
bool leaving_take(struct spawner *spawner, struct sandbox *sandbox) {
    if (spawner->server < 0) return throw_away(spawner, sandbox), true;
    if (spawner->leaving_count + LEFT_BY_ONE_MAX > LEAVING_MAX) return false;
    bool asked = sandbox->dying_serial != 0 && !sandbox->awaits_fork;
    for (int i = 0; i < 2; i++)
        if (sandbox->held[i] >= 0) add(spawner, LEAVING_TMP, &sandbox->held[i], 0, NULL);
    if (sandbox->gate[GATE_PACKETS] >= 0) add(spawner, LEAVING_SOCKET, &sandbox->gate[GATE_PACKETS], 0, NULL);
    for (int i = 0; i < GATE_FDS; i++) close_fd(&sandbox->gate[i]);
    if (sandbox->net >= 0) {
        add(spawner, LEAVING_NET, &sandbox->net, 0, NULL);
        spawner->leaving[spawner->leaving_count - 1].lives = sandbox->net_lives + 1;
    }
    if (sandbox->group && spawner->groups.count > 0)
        add(spawner, asked && spawner->groups.version == 1 ? LEAVING_GROUP : LEAVING_LOST_GROUP, NULL, sandbox->group,
            &sandbox->in_force);
    sandbox->group = 0;
    return true;
}

/* ---- what is kept ---- */

/* The one that has waited longest, so that none waits for ever below what is made ahead. */
int leaving_net(struct spawner *spawner, struct sandbox *sandbox) {
    if (spawner->net_count == 0) return -1;
    int net = spawner->nets[0].fd;
    sandbox->net_lives = spawner->nets[0].lives;
    spawner->net_count--;
    memmove(&spawner->nets[0], &spawner->nets[1], sizeof spawner->nets[0] * spawner->net_count);
    return net;
}

bool leaving_group(struct spawner *spawner, struct sandbox *sandbox) {
    spawner->usual = sandbox->limits;
    if (spawner->group_count == 0) return false;
    sandbox->group = spawner->groups_kept[0].group;
    sandbox->in_force = spawner->groups_kept[0].limits;
    spawner->group_count--;
    memmove(&spawner->groups_kept[0], &spawner->groups_kept[1], sizeof spawner->groups_kept[0] * spawner->group_count);
    return true;
}

/* ---- what goes ---- */

static void forget(struct spawner *spawner, uint32_t index) {
    close_fd(&spawner->leaving[index].fd);
    spawner->leaving_count--;
    memmove(&spawner->leaving[index], &spawner->leaving[index + 1],
            sizeof spawner->leaving[0] * (spawner->leaving_count - index));
}

static int ask(struct spawner *spawner, struct leaving *item) {
    struct janitor_order order = {.lives = item->lives, .standing = item->standing, .limits = spawner->usual};
    item->wanted = spawner->usual;
    snprintf(order.group, sizeof order.group, "s-%" PRIx64, item->group);
    switch (item->kind) {
    case LEAVING_NET: order.kind = JANITOR_LOOK_AT_NET; break;
    case LEAVING_GROUP: order.kind = JANITOR_RENEW_GROUP; break;
    case LEAVING_LOST_GROUP: order.kind = JANITOR_REMOVE_GROUP; break;
    default: order.kind = JANITOR_CLOSE; break;
    }
    return offer_message(spawner->janitor, &order, sizeof order, &item->fd, item->fd >= 0);
}

static void lose_janitor(struct spawner *spawner) {
    unwatch(spawner, &spawner->janitor);
    spawner->janitor_asked = 0;
    spawner->making_net = false;
    end_child(&spawner->janitor_pid);
}

static void make_ahead(struct spawner *spawner) {
    struct janitor_order order = {.kind = JANITOR_MAKE_NET};
    if (offer_message(spawner->janitor, &order, sizeof order, NULL, 0) == 0)
        spawner->making_net = true;
    else if (errno != EAGAIN)
        lose_janitor(spawner);
}

/* Nobody looks any more: nothing is used again, and groups are removed here. */
static void go_without_janitor(struct spawner *spawner) {
    for (uint32_t i = spawner->leaving_count; i-- > 0;) {
        struct leaving *item = &spawner->leaving[i];
        if (item->kind == LEAVING_TMP || item->due_ms > now_ms()) continue;
        char name[GROUP_NAME_MAX];
        snprintf(name, sizeof name, "s-%" PRIx64, item->group);
        if (item->group && group_remove(&spawner->groups, name) != 0)
            item->due_ms = now_ms() + STRAGGLER_MS;
        else
            forget(spawner, i);
    }
}

int leaving_turn(struct spawner *spawner) {
    int64_t now = now_ms();
    bool crowd = spawner->leaving_count > LEAVING_CROWD;
    if (spawner->janitor < 0) go_without_janitor(spawner);
    int64_t next = INT64_MAX;
    for (uint32_t i = spawner->janitor_asked; i < spawner->leaving_count; i++) {
        struct leaving *item = &spawner->leaving[i];
        int64_t due = item->due_ms;
        if (spawner->births > 0 && !crowd && item->since_ms + LEAVING_MS_MAX > due) due = item->since_ms + LEAVING_MS_MAX;
        bool is_tmp = item->kind == LEAVING_TMP;
        if (is_tmp ? spawner->tmp_leaving >= TMP_LEAVING_MAX
                   : spawner->making_net || spawner->janitor_asked >= JANITOR_ASKED_MAX)
            continue;
        if (due > now) {
            if (due < next) next = due;
            continue;
        }
        if (!is_tmp && spawner->janitor < 0) continue;
        if (is_tmp) {
            bool released = spawner->helpers >= 0 && tmpdisk_release(spawner->helpers, item->fd) == 0;
            if (released) spawner->tmp_leaving++;
            if (released || spawner->helpers < 0 || errno != EAGAIN) forget(spawner, i--);
            continue;
        }
        if (ask(spawner, item) != 0) {
            if (errno == EAGAIN) break; /* its answers come first */
            lose_janitor(spawner);
            return 0;
        }
        /* Before those that it was not asked about, so that answers find theirs by order. */
        struct leaving asked = *item;
        uint32_t place = spawner->janitor_asked++;
        memmove(&spawner->leaving[place + 1], &spawner->leaving[place], sizeof asked * (i - place));
        spawner->leaving[place] = asked;
    }
    /* After the first, which is the server's trial: one that has no functions needs none. */
    bool idle = spawner->janitor >= 0 && !spawner->making_net && spawner->births == 0 && spawner->leaving_count == 0;
    if (idle && spawner->made > 1 && spawner->net_count < NETS_AHEAD) make_ahead(spawner);
    return next == INT64_MAX ? -1 : (int)(next - now);
}

/* Whether there is room for it. */
static bool keep(struct spawner *spawner, struct leaving *item) {
    bool is_net = item->kind == LEAVING_NET;
    if (is_net ? spawner->net_count == NETS_KEPT_MAX : spawner->group_count == GROUPS_KEPT_MAX) return false;
    if (is_net) {
        spawner->nets[spawner->net_count++] = (struct kept_net){item->fd, item->lives};
        item->fd = -1;
    } else {
        spawner->groups_kept[spawner->group_count++] = (struct kept_group){item->group, item->wanted};
    }
    return true;
}

/* Whether it goes to the end of the line, to be asked about again. A group that is not kept is still to be removed. */
static bool stays(struct leaving *item, enum janitor_verdict verdict) {
    int64_t now = now_ms();
    if (item->kind == LEAVING_SOCKET) return false;
    if (item->kind == LEAVING_LOST_GROUP) {
        item->due_ms = now + (item->tries++ < TRIES_MAX ? SETTLE_MS : STRAGGLER_MS);
        return verdict != JANITOR_AS_NEW;
    }
    bool again = verdict == JANITOR_NOT_YET && ++item->tries < TRIES_MAX;
    if (again) {
        item->due_ms = now + (SETTLE_MS << item->tries);
        return true;
    }
    if (item->kind == LEAVING_NET) return false;
    item->kind = LEAVING_LOST_GROUP;
    item->tries = 0;
    item->due_ms = now;
    return true;
}

void leaving_answered(struct spawner *spawner) {
    struct janitor_answer answer;
    int made;
    size_t count;
    ssize_t got = receive_message(spawner->janitor, &answer, sizeof answer, &made, 1, &count);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got != (ssize_t)sizeof answer) return lose_janitor(spawner);
    if (spawner->making_net) {
        spawner->making_net = false;
        if (count > 0 && spawner->net_count < NETS_KEPT_MAX)
            spawner->nets[spawner->net_count++] = (struct kept_net){.fd = made};
        else if (count > 0)
            close(made);
        return;
    }
    if (spawner->janitor_asked == 0) return lose_janitor(spawner);
    spawner->janitor_asked--;
    struct leaving item = spawner->leaving[0];
    spawner->leaving_count--;
    memmove(&spawner->leaving[0], &spawner->leaving[1], sizeof item * spawner->leaving_count);
    bool kept = answer.verdict == JANITOR_AS_NEW && item.kind != LEAVING_LOST_GROUP && keep(spawner, &item);
    if (!kept && stays(&item, answer.verdict))
        spawner->leaving[spawner->leaving_count++] = item;
    else
        close_fd(&item.fd);
}

/* ---- beginning and end ---- */

void leaving_start(struct spawner *spawner) {
    struct failure ignored = {"", 0};
    spawner->janitor = janitor_start(&spawner->config, &spawner->groups, &spawner->janitor_pid, &ignored);
    if (spawner->janitor >= 0 && fcntl(spawner->janitor, F_SETFL, O_NONBLOCK) != 0) close_fd(&spawner->janitor);
}

void leaving_finish(struct spawner *spawner) {
    close_fd(&spawner->janitor);
    end_child(&spawner->janitor_pid);
    while (spawner->net_count > 0) close(spawner->nets[--spawner->net_count].fd);
    while (spawner->leaving_count > 0) {
        struct leaving *item = &spawner->leaving[spawner->leaving_count - 1];
        if (item->kind == LEAVING_TMP && spawner->helpers >= 0)
            tmpdisk_release_by(spawner->helpers, item->fd, spawner->farewell_ms);
        forget(spawner, spawner->leaving_count - 1);
    }
}
