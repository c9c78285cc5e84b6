/* The spawner's state: one table of sandboxes, one loop, no threads. */
#ifndef LAMBENT_SPAWNER_H
#define LAMBENT_SPAWNER_H

#include "config.h"
#include "groups.h"
#include "network.h"

#define LEAVING_MAX 1024u    /* what sandboxes have left; beyond it an end waits, and with it whoever asked for it */
#define NETS_KEPT_MAX 32u    /* network namespaces that are as new; each holds a quarter of a megabyte of the kernel's */
#define NETS_AHEAD 8u        /* of these made ahead, when nothing else is to be done */
#define GROUPS_KEPT_MAX 32u  /* control groups that are as new */
#define TMP_ASKED_MAX 8u     /* discs of unusual sizes asked for at once: two for each helper, so that none waits for us */

enum sandbox_state { FREE, WAITING_TMP, BUILDING, ALIVE, DYING, STRAGGLER };

struct sandbox {
    enum sandbox_state state;
    uint32_t generation;
    pid_t pid;
    int pidfd, control;
    int mounts, task, opt, tmp; /* kept until bound */
    int gate[GATE_FDS]; /* until the relay has them */
    int policy;         /* until then, too */
    bool relayed;       /* the relay knows it */
    bool relay_due;     /* the relay is to be told of it, when it has room */
    bool tmp_due;       /* a helper is to be asked for its disc, when that one's turn has come */
    int held[2]; /* mounts of /tmp, so that its end does not unmount them: the blank's, and one of another size */
    int image;
    int listener;   /* until the answer to OP_CREATE has gone */
    int log;        /* read end, until the answer to OP_START or OP_FORK has gone */
    int forks;      /* to whoever forks in here; -1: nobody does */
    uint32_t forks_asked; /* and has not been answered */
    uint64_t from;  /* OP_FORK: who forks */
    uint32_t op;    /* the one request being worked on; 0: none */
    uint64_t serial;
    uint64_t dying_serial; /* of OP_DESTROY, answered when everything is gone; 0: nobody asked */
    struct failure failure; /* why the creation failed */
    char failed_step[STEP_MAX];
    struct request request; /* kept while /tmp is being made */
    struct limits limits;
    struct limits in_force; /* what its control groups have; all zero: unknown */
    uint64_t group;         /* its control group is named after the sandbox that it was made for: the id of that one */
    int net;                /* its network namespace, from its end until it has been left to the janitor */
    uint32_t net_lives;     /* sandboxes that had it before */
    uint32_t transit_place; /* one more than its index among those in transit; 0: not among them */
    bool bound, frozen, reaped, answered;
    bool is_zygote;
    bool awaits_fork; /* a forker has been told of it and may come yet: nothing of it is used again */
    bool has_run; /* a program was started in it, or forked into it */
    bool clean; /* confined: its keeper said that nothing is left */
    uint64_t template; /* of a blank for a copy: whose; 0: an ordinary sandbox */
    bool may_hold;     /* its user namespace has room for copies */
    bool holding;      /* its program stands still for good: it is a template */
    int copier;        /* then, and while that is tried: the socket to who holds it */
    pid_t copier_pid;
    uint64_t copying; /* the sandbox that a copy is being made for; 0: none */
    uint64_t oom_kills; /* when a program was last started */
    int64_t deadline_ms;
};

/* What sandboxes leave behind, in the order in which they left it; see leaving.c. */
enum leaving_kind { LEAVING_NET = 1, LEAVING_GROUP, LEAVING_LOST_GROUP, LEAVING_TMP, LEAVING_SOCKET };

struct leaving {
    enum leaving_kind kind;
    int fd;
    uint32_t lives; /* of a namespace: sandboxes that had it */
    uint64_t group;
    struct limits standing, wanted;
    int64_t since_ms, due_ms;
    uint32_t tries;
};

struct kept_net {
    int fd;
    uint32_t lives;
};

struct kept_group {
    uint64_t group;
    struct limits limits;
};

struct spawner {
    struct config config;
    struct groups groups;
    int server, events, packages, helpers, own_mounts, own_pids;
    pid_t warden, relay_pid;
    int relay; /* -1: not started yet, or ended */
    bool copies;  /* templates can be held and copied here */
    int lifeline; /* closed by our end; the warden reads it */
    int turn;     /* our directory, locked: ours and the warden's */
    struct sandbox *sandboxes;
    uint32_t count;      /* slots */
    uint32_t busy;       /* slots in use */
    uint32_t *transit;   /* slots that wait for something with a deadline; few, so that nobody walks the table */
    uint32_t in_transit;
    uint32_t next_slot;
    uint32_t last_pid; /* what the next sandbox's process ids follow */
    uint32_t last_capability;
    uint64_t *removals; /* sandboxes that the relay is to forget, when it has room: as many as it knew, and no more */
    uint32_t removal_count, relay_due;
    int *pool; /* mounts for /tmp that wait */
    uint32_t pool_count, pool_asked;
    bool pool_rests; /* one could not be made: the pool is not filled again before somebody wants one */
    uint32_t tmp_asked, tmp_due; /* discs of other sizes: asked for, and to be asked for */
    uint32_t births; /* sandboxes that are being made */
    uint64_t made;   /* sandboxes that were asked for, ever */
    int janitor;     /* -1: none, and what is left is thrown away by the spawner itself */
    pid_t janitor_pid;
    uint32_t janitor_asked; /* about so many, the first of `leaving` */
    bool making_net;        /* it is, and is asked nothing else meanwhile */
    struct leaving leaving[LEAVING_MAX];
    uint32_t leaving_count;
    uint32_t tmp_leaving; /* discs that helpers are taking down */
    struct kept_net nets[NETS_KEPT_MAX];
    uint32_t net_count;
    struct kept_group groups_kept[GROUPS_KEPT_MAX];
    uint32_t group_count;
    struct limits usual; /* limits of the last sandbox made: the next one's, most likely */
    int64_t farewell_ms; /* when all is to be over; 0: the server is there */
};

/* spawner.c */
int spawner_run(struct spawner *spawner); /* until the server is gone; answers the exit status */
void answer_result(struct spawner *spawner, uint64_t serial, uint64_t sandbox, const struct failure *failure,
                   int32_t status, const int *fds, size_t count);
void answer_exit(struct spawner *spawner, uint64_t serial, uint64_t sandbox, const struct report *report, bool oom);
int watch(struct spawner *spawner, int fd, uint32_t what, uint32_t slot);
void watch_room(struct spawner *spawner, int fd, uint32_t what, bool wanted); /* whether to hear of room to write, too */
void unwatch(struct spawner *spawner, int *fd); /* and close */

enum { WATCH_SERVER, WATCH_HELPERS, WATCH_CONTROL, WATCH_PIDFD, WATCH_RELAY, WATCH_FORKS, WATCH_JANITOR, WATCH_COPIER };

/* orders.c and sandbox.c */
void sandbox_request(struct spawner *spawner, const struct request *request, int *fds, size_t count);
bool sandbox_control(struct spawner *spawner, uint32_t slot);
void sandbox_ended(struct spawner *spawner, uint32_t slot);
void sandbox_tmp_ready(struct spawner *spawner);
int sandbox_timer(struct spawner *spawner); /* milliseconds until it wants to be called again, -1: no need */
void sandbox_kill(struct spawner *spawner, uint32_t slot, uint64_t serial);
void thaw_to_end(struct spawner *spawner, struct sandbox *sandbox);
void sandbox_ask_tmp(struct spawner *spawner); /* for discs that are waited for, and for the pool's, as far as helpers have room */

/* leaving.c */
void leaving_start(struct spawner *spawner);
bool leaving_take(struct spawner *spawner, struct sandbox *sandbox); /* all that it leaves; false: no room, ask again */
void leaving_tmp(struct spawner *spawner, int *tmp);                  /* a disc that nobody uses any more */
int leaving_net(struct spawner *spawner, struct sandbox *sandbox);    /* one that is as new, or -1 */
bool leaving_group(struct spawner *spawner, struct sandbox *sandbox); /* give it a group that is as new, if one is there */
void leaving_answered(struct spawner *spawner);
int leaving_turn(struct spawner *spawner); /* hand on what may go now; milliseconds until the next look, -1: nothing waits */
void leaving_finish(struct spawner *spawner);

/* forks.c */
int forks_open(struct spawner *spawner, struct sandbox *forker, struct failure *failure); /* the forker's end, or -1 */
void fork_into(struct spawner *spawner, struct sandbox *sandbox, const struct request *request, const int *given,
               size_t count);
void forks_reported(struct spawner *spawner, uint32_t slot); /* the forker in this slot has spoken */
void forks_lost(struct spawner *spawner, struct sandbox *forker);
void fork_failed(struct spawner *spawner, struct sandbox *sandbox, const char *step, int error);
int namespaces_open(const struct sandbox *sandbox, int *fds, struct failure *failure); /* seven, or -1 */

/* bind.c */
int bind_trees(struct spawner *spawner, struct sandbox *sandbox, const struct request *request, int tmp,
               struct failure *failure);

/* template.c */
void template_hold(struct spawner *spawner, struct sandbox *sandbox);
void template_copy(struct spawner *spawner, struct sandbox *sandbox, const struct request *request, const int *fds, size_t count);
void template_heard(struct spawner *spawner, uint32_t slot); /* its copier has spoken, or ended */
void template_end(struct spawner *spawner, struct sandbox *sandbox);
pid_t template_clone(struct spawner *spawner, struct sandbox *sandbox, int group, struct failure *failure); /* a child beside it */
int template_users(struct spawner *spawner, struct sandbox *sandbox, struct failure *failure); /* its user namespace */
void template_born(struct spawner *spawner, struct sandbox *sandbox, int *pidfd); /* the init of a blank for a copy */
void template_map(const struct spawner *spawner, const struct sandbox *sandbox, char *map, size_t size); /* more lines */
uint32_t template_inner_id(const struct spawner *spawner, const struct sandbox *sandbox);

/* egress.c */
int egress_bind(struct spawner *spawner, struct sandbox *sandbox, struct failure *failure); /* from now on by its policy */
void egress_end(struct spawner *spawner, struct sandbox *sandbox);
void egress_heard(struct spawner *spawner, bool has_room); /* the relay has room, or has spoken, which it does only by ending */
void egress_finish(struct spawner *spawner);

/* warden.c */
int warden_start(struct spawner *spawner, struct failure *failure);
void warden_finish(struct spawner *spawner); /* let it sweep, and wait */

#endif
