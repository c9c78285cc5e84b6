/* Connections: held at their first packet until the outside has answered, then two sockets and their bytes.
 *
 *   CONNECTING --connected, SYN put back--> HELD --accepted--> OPEN
 *
 * Back-pressure is the kernel's: what one side cannot take at once (never more than one piece) is kept, and nothing more is
 * read from the other until it is gone. An end travels as an end, a reset as a reset.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay.h"

#define BUCKETS 4096u
#define PIECE_BYTES 65536u
#define SMALL_PIECE_BYTES 4096u
#define PACKETS_PER_EVENT_MAX 32
#define KEEPALIVE_S 300

enum connection_state { CONNECTING, HELD, OPEN };

/* One direction. */
struct half {
    char *kept;
    uint32_t size, at;
    bool ended, told; /* its source has ended; its target was told */
};

struct connection {
    struct space *space;
    struct connection *next, *previous; /* of the space */
    struct connection *chain;           /* of the bucket */
    struct connection *next_dead;
    struct flow flow;
    struct syn *syn; /* until it is OPEN */
    enum connection_state state;
    struct watch inner, outer;
    struct half up, down; /* from the sandbox, to it */
    int64_t moved_ms;
};

static struct connection *buckets[BUCKETS];
static struct connection *dead;
static char piece[PIECE_BYTES];

static uint32_t bucket_of(const struct space *space, const struct flow *flow) {
    uint32_t hash = 2166136261u ^ (uint32_t)space->sandbox;
    const uint8_t *bytes = (const uint8_t *)flow;
    for (size_t i = 0; i < sizeof *flow; i++) hash = (hash ^ bytes[i]) * 16777619u;
    return hash % BUCKETS;
}

static struct connection *find(const struct space *space, const struct flow *flow) {
    struct connection *at = buckets[bucket_of(space, flow)];
    while (at && (at->space != space || memcmp(&at->flow, flow, sizeof *flow) != 0)) at = at->chain;
    return at;
}

static void forget_flow(struct connection *connection) {
    struct connection **at = &buckets[bucket_of(connection->space, &connection->flow)];
    while (*at && *at != connection) at = &(*at)->chain;
    if (*at) *at = connection->chain;
    free(connection->syn);
    connection->syn = NULL;
}

static void release_half(struct half *half) {
    relay.buffered -= half->size;
    free(half->kept);
    half->kept = NULL;
    half->size = half->at = 0;
}

/* reset: the other end of either socket is told that this was no orderly end. */
static void end(struct connection *connection, bool reset) {
    struct space *space = connection->space;
    if (connection->state != OPEN) forget_flow(connection);
    struct linger abrupt = {1, 0};
    if (reset && connection->inner.fd >= 0)
        setsockopt(connection->inner.fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt);
    if (reset && connection->outer.fd >= 0)
        setsockopt(connection->outer.fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt);
    watch_close(&connection->inner);
    watch_close(&connection->outer);
    release_half(&connection->up);
    release_half(&connection->down);
    if (connection->previous) connection->previous->next = connection->next;
    if (connection->next) connection->next->previous = connection->previous;
    if (space->connections == connection) space->connections = connection->next;
    space->connection_count--;
    relay.connection_count--;
    connection->next_dead = dead;
    dead = connection;
}

void tcp_bury(void) {
    while (dead) {
        struct connection *connection = dead;
        dead = connection->next_dead;
        free(connection);
    }
}

/* ---- bytes ---- */

static bool is_passing(int error) { return error == EAGAIN || error == EINTR; }

/* What was kept goes first. False: the target is broken. */
static bool push(struct half *half, int to) {
    while (half->at < half->size) {
        ssize_t sent = send(to, half->kept + half->at, half->size - half->at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) return is_passing(errno);
        half->at += (uint32_t)sent;
    }
    if (half->kept) release_half(half);
    return true;
}

static bool keep(struct half *half, const char *data, size_t size) {
    half->kept = malloc(size);
    if (!half->kept) return false;
    memcpy(half->kept, data, size);
    half->size = (uint32_t)size;
    half->at = 0;
    relay.buffered += size;
    return true;
}

/* Nothing is kept and nothing more will come. */
static bool tell_end(struct half *half, int to) {
    half->ended = true;
    if (half->told) return true;
    half->told = true;
    return shutdown(to, SHUT_WR) == 0 || errno == ENOTCONN;
}

/* Move what there is, for a few turns. False: the connection is broken. */
static bool pump(struct connection *connection, struct half *half, int from, int to) {
    for (int turn = 0; turn < TURNS_PER_EVENT_MAX; turn++) {
        if (!push(half, to)) return false;
        if (half->kept) return true;
        if (half->ended) return tell_end(half, to);
        ssize_t got = recv(from, piece, relay.buffered < BUFFERED_BYTES_MAX ? PIECE_BYTES : SMALL_PIECE_BYTES, MSG_DONTWAIT);
        if (got < 0) return is_passing(errno);
        connection->moved_ms = relay.now;
        if (got == 0) return tell_end(half, to); /* now: an ended source wakes nobody again */
        ssize_t sent = send(to, piece, (size_t)got, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && !is_passing(errno)) return false;
        size_t taken = sent > 0 ? (size_t)sent : 0;
        if (taken < (size_t)got && !keep(half, piece + taken, (size_t)got - taken)) return false;
        if (got < (ssize_t)SMALL_PIECE_BYTES) return true; /* most likely all there was; the poller knows */
    }
    return true;
}

static uint32_t interest(const struct half *from, const struct half *to) {
    return (from->kept || from->ended ? 0 : (uint32_t)EPOLLIN) | (to->kept ? (uint32_t)EPOLLOUT : 0);
}

static void move(struct connection *connection) {
    int inner = connection->inner.fd, outer = connection->outer.fd;
    if (!pump(connection, &connection->up, inner, outer) || !pump(connection, &connection->down, outer, inner)) {
        end(connection, true);
    } else if (connection->up.told && connection->down.told) {
        end(connection, false);
    } else {
        watch_set(&connection->inner, interest(&connection->up, &connection->down));
        watch_set(&connection->outer, interest(&connection->down, &connection->up));
    }
}

static void on_inner(struct watch *watch, uint32_t events) {
    (void)events; /* whatever it is, the next read or write says it */
    move(watch->owner);
}

/* ---- the beginning ---- */

static void refuse(const struct space *space, const struct syn *syn, int error) {
    if (error == ECONNREFUSED || error == ECONNRESET)
        syn_reset(space->packets.fd, syn);
    else if (error != ETIMEDOUT) /* of that the client's own kernel will tell, in its own time */
        syn_unreachable(space->packets.fd, syn, error == EPERM ? EACCES : error);
}

static void connected(struct connection *connection) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection->outer.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
        refuse(connection->space, connection->syn, error);
        end(connection, false);
        return;
    }
    connection->state = HELD;
    connection->moved_ms = relay.now;
    watch_set(&connection->outer, 0); /* until somebody is there to take its bytes */
    syn_put_back(connection->space->packets.fd, connection->syn);
}

static void on_outer(struct watch *watch, uint32_t events) {
    (void)events;
    struct connection *connection = watch->owner;
    if (connection->state == CONNECTING)
        connected(connection);
    else
        move(connection);
}

/* A question over TCP goes to our name server, whichever address it was put to, like one over UDP. */
static int real_remote(const struct space *space, const struct endpoint *asked, struct endpoint *remote) {
    *remote = *asked;
    if (asked->port != DNS_PORT) return policy_check(&space->policy, asked, relay.now);
    const struct resolver *resolver;
    if (!policy_allows_any_name(&space->policy)) return EACCES;
    if (dns_resolvers(&resolver) == 0) return EHOSTUNREACH;
    remote->family = resolver->family;
    remote->port = resolver->port;
    memcpy(remote->address, resolver->address, sizeof remote->address);
    return 0;
}

static int dial(const struct endpoint *remote) {
    int fd = socket(remote->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    int on = 1, idle_s = KEEPALIVE_S;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on); /* a peer that vanished must not hold its place for ever */
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    struct sockaddr_in6 address;
    socklen_t size = endpoint_address(remote, &address);
    if (connect(fd, (struct sockaddr *)&address, size) == 0 || errno == EINPROGRESS) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void begin(struct space *space, const struct syn *syn) {
    const struct endpoint *asked = &syn->flow.remote;
    /* Seen as all first packets are, but it went its way: a refusal, too, would leave an error with whoever has connected. */
    if (gate_is_inward(relay.config, asked->family, asked->address, asked->port)) return;
    struct connection *known = find(space, &syn->flow);
    if (known) return; /* sent again because the outside takes its time */
    if (space->connection_count >= CONNECTIONS_PER_SANDBOX_MAX) return refuse(space, syn, EACCES);
    if (relay.connection_count >= relay.connections_max) return; /* it is sent again, and finds room then */
    struct endpoint remote;
    int error = real_remote(space, asked, &remote);
    if (error != 0) return refuse(space, syn, error);
    int outer = dial(&remote);
    if (outer < 0) {
        if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) refuse(space, syn, errno);
        return;
    }
    struct connection *connection = calloc(1, sizeof *connection);
    struct syn *copy = malloc(sizeof *copy);
    if (!connection || !copy) {
        free(connection);
        free(copy);
        close(outer);
        return;
    }
    *copy = *syn;
    *connection = (struct connection){.space = space, .next = space->connections, .flow = syn->flow, .syn = copy,
                                      .state = CONNECTING, .moved_ms = relay.now};
    connection->inner = (struct watch){on_inner, connection, -1, 0};
    connection->outer = (struct watch){on_outer, connection, outer, 0};
    if (space->connections) space->connections->previous = connection;
    space->connections = connection;
    space->connection_count++;
    relay.connection_count++;
    struct connection **bucket = &buckets[bucket_of(space, &syn->flow)];
    connection->chain = *bucket;
    *bucket = connection;
    watch_set(&connection->outer, EPOLLOUT);
}

void tcp_on_packets(struct watch *watch, uint32_t events) {
    (void)events;
    struct space *space = watch->owner;
    for (int i = 0; i < PACKETS_PER_EVENT_MAX; i++) {
        uint8_t packet[SYN_BYTES_MAX];
        struct syn syn;
        ssize_t got = recv(watch->fd, packet, sizeof packet, MSG_DONTWAIT);
        if (got < 0) return;
        if (syn_read(packet, (size_t)got, &syn)) begin(space, &syn);
    }
}

static void accepted(struct space *space, int fd) {
    struct sockaddr_in6 mine, theirs;
    socklen_t mine_size = sizeof mine, theirs_size = sizeof theirs;
    struct flow flow;
    memset(&flow, 0, sizeof flow);
    if (getsockname(fd, (struct sockaddr *)&mine, &mine_size) == 0 &&
        getpeername(fd, (struct sockaddr *)&theirs, &theirs_size) == 0) {
        flow.remote = endpoint_of(&mine);
        flow.client = endpoint_of(&theirs);
    }
    struct connection *connection = find(space, &flow);
    int on = 1;
    if (!connection || connection->state != HELD) { /* somebody who called the listener itself */
        struct linger abrupt = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt);
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    forget_flow(connection);
    connection->state = OPEN;
    connection->inner.fd = fd;
    connection->moved_ms = relay.now;
    move(connection);
}

void tcp_on_listener(struct watch *watch, uint32_t events) {
    (void)events;
    for (int i = 0; i < PACKETS_PER_EVENT_MAX; i++) {
        int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) return;
        accepted(watch->owner, fd);
    }
}

/* ---- the end ---- */

void tcp_drop_all(struct space *space) {
    while (space->connections) end(space->connections, true);
}

void tcp_tick(struct space *space) {
    for (struct connection *at = space->connections, *next; at; at = next) {
        next = at->next;
        int64_t quiet_s = (relay.now - at->moved_ms) / 1000;
        bool half_closed = at->up.ended || at->down.ended;
        if ((at->state == CONNECTING && quiet_s >= CONNECT_S_MAX) || (at->state == HELD && quiet_s >= ACCEPT_S_MAX) ||
            (at->state == OPEN && half_closed && quiet_s >= HALF_CLOSED_S_MAX))
            end(at, true);
    }
}
