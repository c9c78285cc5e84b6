/* The spawner's state: one table of sandboxes, one loop, no threads. */
#ifndef LAMBENT_SPAWNER_H
#define LAMBENT_SPAWNER_H

#include "config.h"
#include "groups.h"
#include "network.h"

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
    int held[2]; /* mounts of /tmp, so that its end does not unmount them: the blank's, and one of another size */
    int image;
    int listener;   /* until the answer to OP_CREATE has gone */
    int log;        /* read end, until the answer to OP_START has gone */
    uint32_t op;    /* the one request being worked on; 0: none */
    uint64_t serial;
    uint64_t dying_serial; /* of OP_DESTROY, answered when everything is gone; 0: nobody asked */
    struct failure failure; /* why the creation failed */
    char failed_step[STEP_MAX];
    struct request request; /* kept while /tmp is being made */
    struct limits limits;
    uint32_t transit_place; /* one more than its index among those in transit; 0: not among them */
    bool bound, frozen, reaped, answered;
    bool clean; /* confined: its keeper said that nothing is left */
    uint64_t oom_kills; /* when a program was last started */
    int64_t deadline_ms;
};

struct spawner {
    struct config config;
    struct groups groups;
    int server, events, packages, helpers, own_mounts;
    pid_t warden, relay_pid;
    int relay; /* -1: not started yet, or ended */
    int lifeline; /* closed by our end; the warden reads it */
    struct sandbox *sandboxes;
    uint32_t count;      /* slots */
    uint32_t busy;       /* slots in use */
    uint32_t *transit;   /* slots that wait for something with a deadline; few, so that nobody walks the table */
    uint32_t in_transit;
    uint32_t next_slot;
    int *pool; /* mounts for /tmp that wait */
    uint32_t pool_count, pool_asked;
};

/* spawner.c */
int spawner_run(struct spawner *spawner); /* until the server is gone; answers the exit status */
void answer_result(struct spawner *spawner, uint64_t serial, uint64_t sandbox, const struct failure *failure,
                   int32_t status, const int *fds, size_t count);
void answer_exit(struct spawner *spawner, uint64_t serial, uint64_t sandbox, const struct report *report, bool oom);
int watch(struct spawner *spawner, int fd, uint32_t what, uint32_t slot);
void unwatch(struct spawner *spawner, int *fd); /* and close */

enum { WATCH_SERVER, WATCH_HELPERS, WATCH_CONTROL, WATCH_PIDFD, WATCH_RELAY };

/* orders.c and sandbox.c */
void sandbox_request(struct spawner *spawner, const struct request *request, int *fds, size_t count);
bool sandbox_control(struct spawner *spawner, uint32_t slot);
void sandbox_ended(struct spawner *spawner, uint32_t slot);
void sandbox_tmp_ready(struct spawner *spawner);
int sandbox_timer(struct spawner *spawner); /* milliseconds until it wants to be called again, -1: no need */
void sandbox_kill(struct spawner *spawner, uint32_t slot, uint64_t serial);
void sandbox_fill_pool(struct spawner *spawner);

/* bind.c */
int bind_trees(struct spawner *spawner, struct sandbox *sandbox, const struct request *request, int tmp,
               struct failure *failure);

/* egress.c */
int egress_bind(struct spawner *spawner, struct sandbox *sandbox, struct failure *failure); /* from now on by its policy */
void egress_end(struct spawner *spawner, struct sandbox *sandbox);
void egress_lost(struct spawner *spawner); /* the relay has spoken, which it does only by ending */
void egress_finish(struct spawner *spawner);

/* warden.c */
int warden_start(struct spawner *spawner, struct failure *failure);
void warden_finish(struct spawner *spawner); /* let it sweep, and wait */

#endif
