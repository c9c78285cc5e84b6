/* Names: a question to any name server's address is put to the host's, and its answer sent back as from there.
 *
 * Questions and answers pass as they are, but for their id, which is drawn anew. One is read for its name only where the
 * policy lists names; the addresses it is answered with are then what these names stand for.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLV_CONF_BYTES_MAX 4096
#define LOOK_AGAIN_MS 1000
#define HEADER_BYTES 12u
#define QUESTION_BYTES_MAX 1232u
#define ANSWER_BYTES_MAX 65535u
#define PACKETS_PER_EVENT_MAX 16
#define JUMPS_MAX 16
#define SERVFAIL 2
#define REFUSED 5
#define TYPE_A 1
#define TYPE_AAAA 28

struct query {
    struct space *space;
    struct query *next, *previous, *next_dead;
    struct watch watch;
    struct sockaddr_in6 client;
    socklen_t client_size;
    struct in6_addr asked; /* the address that the question was put to */
    uint16_t id, own_id;
    uint32_t server; /* which one is being asked */
    uint32_t size;
    int64_t until_ms;
    uint8_t question[QUESTION_BYTES_MAX];
};

static struct query *dead;
static uint8_t answer[ANSWER_BYTES_MAX];

/* ---- the host's name servers ---- */

static uint32_t read_resolv_conf(struct resolver *found) {
    char text[RESOLV_CONF_BYTES_MAX], word[64], *rest = text;
    uint32_t count = 0;
    if (read_at(AT_FDCWD, RESOLV_CONF, text, sizeof text) <= 0) return 0;
    for (char *line; count < RESOLVERS_MAX && (line = strsep(&rest, "\n"));) {
        if (sscanf(line, " nameserver %63[^ \t#;%%]", word) != 1) continue;
        struct resolver *next = &found[count];
        memset(next, 0, sizeof *next);
        next->family = strchr(word, ':') ? AF_INET6 : AF_INET;
        next->port = DNS_PORT;
        if (inet_pton(next->family, word, next->address) == 1) count++;
    }
    return count;
}

uint32_t dns_resolvers(const struct resolver **first) {
    static struct resolver found[RESOLVERS_MAX];
    static uint32_t count;
    static int64_t looked_ms = -LOOK_AGAIN_MS;
    *first = relay.config->resolvers;
    if (relay.config->resolver_count > 0) return relay.config->resolver_count;
    if (relay.now - looked_ms >= LOOK_AGAIN_MS) {
        looked_ms = relay.now;
        count = read_resolv_conf(found);
    }
    *first = found;
    return count;
}

/* ---- messages ---- */

static uint32_t get16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }
static void put16(uint8_t *at, uint32_t value) { at[0] = (uint8_t)(value >> 8), at[1] = (uint8_t)value; }

/* The name at `at`, lower case, dotted; answers where the message goes on, 0: malformed. */
static size_t read_name(const uint8_t *message, size_t size, size_t at, char *name, size_t room) {
    size_t after = 0, length = 0;
    int jumps = 0;
    for (;;) {
        if (at >= size) return 0;
        uint8_t label = message[at];
        if (label >= 0xc0) {
            if (at + 1 >= size || ++jumps > JUMPS_MAX) return 0;
            if (!after) after = at + 2;
            at = get16(message + at) & 0x3fff;
            continue;
        }
        if (label > 63 || at + label + 1 > size) return 0;
        if (label == 0) break;
        if (length + label + 2 > room) return 0;
        if (length > 0) name[length++] = '.';
        for (uint8_t i = 0; i < label; i++) {
            uint8_t letter = message[at + 1 + i];
            if (letter == 0 || letter == '.') return 0; /* two names must not look alike */
            name[length++] = (char)tolower(letter);
        }
        at += label + 1u;
    }
    name[length] = 0;
    return after ? after : at + 1;
}

static bool is_question(const uint8_t *message, size_t size) {
    return size >= HEADER_BYTES + 5 && !(message[2] & 0x80) && get16(message + 4) == 1;
}

/* What an answer says that its name stands for. Aliases on the way are the name server's word, and it is ours. */
static void learn(struct query *query, const uint8_t *message, size_t size) {
    char asked[POLICY_NAME_MAX], name[POLICY_NAME_MAX];
    size_t at = read_name(message, size, HEADER_BYTES, asked, sizeof asked);
    if (at == 0 || get16(message + 4) != 1) return;
    at += 4;
    for (uint32_t i = get16(message + 6); i > 0; i--) {
        at = read_name(message, size, at, name, sizeof name);
        if (at == 0 || at + 10 > size) return;
        uint32_t type = get16(message + at), data = get16(message + at + 8);
        uint32_t ttl_s = get16(message + at + 4) << 16 | get16(message + at + 6);
        at += 10;
        if (at + data > size) return;
        struct endpoint address = {.family = type == TYPE_A ? AF_INET : AF_INET6};
        if ((type == TYPE_A && data == 4) || (type == TYPE_AAAA && data == 16)) {
            memcpy(address.address, message + at, data);
            policy_learn(&query->space->policy, asked, &address, ttl_s, relay.now);
        }
        at += data;
    }
}

/* ---- back to the sandbox ---- */

static void reply(const struct query *query, const uint8_t *message, size_t size) {
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(struct in6_pktinfo))];
    } control;
    union {
        struct in_pktinfo four;
        struct in6_pktinfo six;
    } from;
    union {
        const void *in;
        void *out;
    } body = {message}, client = {&query->client};
    struct endpoint asked = endpoint_of(&(struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = query->asked});
    bool four = asked.family == AF_INET;
    size_t length = four ? sizeof from.four : sizeof from.six;
    memset(&control, 0, sizeof control);
    memset(&from, 0, sizeof from);
    if (four)
        memcpy(&from.four.ipi_spec_dst, asked.address, 4);
    else
        from.six.ipi6_addr = query->asked;
    struct iovec part = {body.out, size};
    struct msghdr header;
    memset(&header, 0, sizeof header);
    header.msg_name = client.out;
    header.msg_namelen = query->client_size;
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.space;
    header.msg_controllen = (__typeof__(header.msg_controllen))CMSG_SPACE(length);
    struct cmsghdr *item = CMSG_FIRSTHDR(&header);
    item->cmsg_len = (__typeof__(item->cmsg_len))CMSG_LEN(length);
    item->cmsg_level = four ? IPPROTO_IP : IPPROTO_IPV6;
    item->cmsg_type = four ? IP_PKTINFO : IPV6_PKTINFO;
    memcpy(CMSG_DATA(item), &from, length);
    (void)!sendmsg(query->space->dns.fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL); /* lost: it is asked again */
}

/* The question itself, as an answer with an error and nothing else. */
static void reply_error(struct query *query, uint8_t code) {
    query->question[2] = (uint8_t)((query->question[2] & 0x79) | 0x80);
    query->question[3] = (uint8_t)(0x80 | code);
    char name[POLICY_NAME_MAX];
    size_t after = read_name(query->question, query->size, HEADER_BYTES, name, sizeof name);
    if (after == 0 || after + 4 > query->size) return;
    put16(query->question, query->id);
    memset(query->question + 6, 0, 6); /* no record follows the question */
    reply(query, query->question, after + 4);
}

/* ---- questions under way ---- */

static void end(struct query *query) {
    struct space *space = query->space;
    watch_close(&query->watch);
    if (query->previous) query->previous->next = query->next;
    if (query->next) query->next->previous = query->previous;
    if (space->queries == query) space->queries = query->next;
    space->query_count--;
    relay.query_count--;
    query->next_dead = dead;
    dead = query;
}

void dns_bury(void) {
    while (dead) {
        struct query *query = dead;
        dead = query->next_dead;
        free(query);
    }
}

/* Ask the next name server that can be asked. A socket each: an answer must hit its port and its id. */
static bool ask(struct query *query) {
    const struct resolver *servers;
    uint32_t count = dns_resolvers(&servers);
    for (; query->server < count; query->server++) {
        const struct resolver *server = &servers[query->server];
        watch_close(&query->watch);
        struct endpoint remote = {.family = server->family, .port = server->port};
        memcpy(remote.address, server->address, sizeof remote.address);
        struct sockaddr_in6 address;
        socklen_t size = endpoint_address(&remote, &address);
        query->watch.fd = socket(server->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (query->watch.fd < 0) return false;
        if (getrandom(&query->own_id, sizeof query->own_id, 0) < 0) return false;
        put16(query->question, query->own_id);
        if (connect(query->watch.fd, (struct sockaddr *)&address, size) == 0 &&
            send(query->watch.fd, query->question, query->size, MSG_NOSIGNAL) == (ssize_t)query->size) {
            watch_set(&query->watch, EPOLLIN);
            query->until_ms = relay.now + QUERY_S_MAX * 1000;
            return true;
        }
    }
    return false;
}

static void ask_next(struct query *query) {
    query->server++;
    if (ask(query)) return;
    reply_error(query, SERVFAIL);
    end(query);
}

static void on_answer(struct watch *watch, uint32_t events) {
    (void)events;
    struct query *query = watch->owner;
    ssize_t got = recv(watch->fd, answer, sizeof answer, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got < 0) return ask_next(query); /* nobody listens there */
    if ((size_t)got < HEADER_BYTES || get16(answer) != query->own_id || !(answer[2] & 0x80)) return;
    if (!policy_allows_any_name(&query->space->policy)) learn(query, answer, (size_t)got);
    put16(answer, query->id);
    reply(query, answer, (size_t)got);
    end(query);
}

static void take(struct space *space, struct query *query) {
    char name[POLICY_NAME_MAX];
    query->space = space;
    query->watch = (struct watch){on_answer, query, -1, 0};
    query->id = (uint16_t)get16(query->question);
    bool named = read_name(query->question, query->size, HEADER_BYTES, name, sizeof name) != 0;
    bool allowed = named && policy_allows_name(&space->policy, name);
    bool room = space->query_count < QUERIES_PER_SANDBOX_MAX && relay.query_count < QUERIES_MAX;
    if (allowed && !room) return free(query); /* it is asked again */
    if (allowed && ask(query)) {
        query->next = space->queries;
        if (space->queries) space->queries->previous = query;
        space->queries = query;
        space->query_count++;
        relay.query_count++;
        return;
    }
    watch_close(&query->watch);
    reply_error(query, allowed ? SERVFAIL : REFUSED);
    free(query);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-compare" /* musl's CMSG_NXTHDR */
static void read_asked(struct msghdr *header, struct query *query) {
    for (struct cmsghdr *item = CMSG_FIRSTHDR(header); item; item = CMSG_NXTHDR(header, item)) {
        if (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(item), sizeof info);
            memset(&query->asked, 0, sizeof query->asked);
            query->asked.s6_addr[10] = query->asked.s6_addr[11] = 0xff;
            memcpy(query->asked.s6_addr + 12, &info.ipi_addr, 4);
        } else if (item->cmsg_level == IPPROTO_IPV6 && item->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(item), sizeof info);
            query->asked = info.ipi6_addr;
        }
    }
}
#pragma GCC diagnostic pop

void dns_on_packets(struct watch *watch, uint32_t events) {
    (void)events;
    for (int i = 0; i < PACKETS_PER_EVENT_MAX; i++) {
        union {
            struct cmsghdr align;
            char space[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
        } control;
        struct query *query = calloc(1, sizeof *query);
        if (!query) return;
        struct iovec part = {query->question, sizeof query->question};
        struct msghdr header;
        memset(&header, 0, sizeof header);
        header.msg_name = &query->client;
        header.msg_namelen = sizeof query->client;
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        header.msg_control = control.space;
        header.msg_controllen = sizeof control;
        ssize_t got = recvmsg(watch->fd, &header, MSG_DONTWAIT);
        if (got < 0) return free(query);
        query->size = (uint32_t)got;
        query->client_size = header.msg_namelen;
        read_asked(&header, query);
        if (!(header.msg_flags & MSG_TRUNC) && is_question(query->question, query->size))
            take(watch->owner, query);
        else
            free(query);
    }
}

void dns_drop_all(struct space *space) {
    while (space->queries) end(space->queries);
}

void dns_tick(struct space *space) {
    for (struct query *at = space->queries, *next; at; at = next) {
        next = at->next;
        if (relay.now >= at->until_ms) ask_next(at);
    }
}
