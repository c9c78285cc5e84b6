/* The relay: one process beside the spawner, without privilege, that connects outside for all sandboxes. */
#ifndef LAMBENT_RELAY_H
#define LAMBENT_RELAY_H

#include "config.h"
#include "network.h"
#include "policy.h"

#define CONNECTIONS_PER_SANDBOX_MAX 1024u
#define CONNECTIONS_MAX 8192u
#define QUERIES_PER_SANDBOX_MAX 64u
#define QUERIES_MAX 1024u
#define QUERY_S_MAX 3 /* of one name server; then the next is asked */

#ifndef SHORT_WAITS /* which tests use: nobody waits for a quarter of an hour */
#define CONNECT_S_MAX 130     /* a kernel gives up after 127 s */
#define ACCEPT_S_MAX 5        /* from the SYN put back to the accepted connection */
#define HALF_CLOSED_S_MAX 900 /* without a byte, once one side has ended; the longest a function runs */
#define BUFFERED_BYTES_MAX (64u << 20) /* of all connections; beyond it they move less at a time */
#else
#define CONNECT_S_MAX SHORT_WAITS
#define ACCEPT_S_MAX SHORT_WAITS
#define HALF_CLOSED_S_MAX SHORT_WAITS
#define BUFFERED_BYTES_MAX (SHORT_WAITS * 0u)
#endif
#define TURNS_PER_EVENT_MAX 4

enum relay_kind { RELAY_ADD = 1, RELAY_REMOVE };

/* spawner -> relay; an addition brings the gate's descriptors and the policy's. */
struct relay_order {
    uint32_t kind;
    uint32_t reserved;
    uint64_t sandbox;
};

#define RELAY_ADD_FDS (GATE_FDS + 1)

/* Started when the first sandbox needs it. `uid` is nobody else's; answers the socket, which closes when the relay ends. */
int relay_start(const struct config *config, uint32_t uid, pid_t *pid, struct failure *failure);

/* ---- within the relay ---- */

struct watch {
    void (*on)(struct watch *watch, uint32_t events);
    void *owner;
    int fd;
    uint32_t wanted; /* 0: the poller does not know it, so that a hang-up nobody can act on yet does not spin */
};

struct connection;
struct query;

/* What the relay holds of one sandbox. */
struct space {
    uint64_t sandbox;
    struct space *next, *previous;
    struct watch packets, listener, dns;
    struct policy policy;
    struct connection *connections;
    struct query *queries;
    uint32_t connection_count, query_count;
    bool dead;
    struct space *next_dead;
};

struct relay {
    const struct config *config;
    int poller, orders, closers;
    struct space *spaces;
    uint32_t connection_count, connections_max, query_count;
    uint64_t buffered;
    int64_t now; /* of this turn */
};

extern struct relay relay;

void watch_set(struct watch *watch, uint32_t events);
void watch_close(struct watch *watch);

/* relay_tcp.c */
void tcp_on_packets(struct watch *watch, uint32_t events);
void tcp_on_listener(struct watch *watch, uint32_t events);
void tcp_drop_all(struct space *space);
void tcp_tick(struct space *space);
void tcp_bury(void); /* what ended during this turn */

/* relay_dns.c */
void dns_on_packets(struct watch *watch, uint32_t events);
void dns_drop_all(struct space *space);
void dns_tick(struct space *space);
void dns_bury(void);
/* Name servers in force; at most RESOLVERS_MAX. */
uint32_t dns_resolvers(const struct resolver **first);

#endif
