/* Whether a network namespace is as new: what it tells about itself must be, word for word, what a new one tells.
 *
 * Nobody inside could change addresses, routes, rules or settings, for want of a capability over the namespace. What a function
 * could leave behind without one is a socket, what the kernel keeps of a closed one, a multicast membership, a flow label,
 * and counters, by which the next owner would learn what this one has sent. All of these show in /proc/net; so one packet
 * is enough for a namespace to be thrown away. Searches in the routes, where they are counted, grow with every birth: see
 * net_searches and janitor.c.
 */
#define _GNU_SOURCE
#include "janitor.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES_MAX 32768u
#define LINES_MAX 1024u

/* The one that tells most comes first. Files that this kernel lacks have no part. Left out: what is not of the
 * namespace alone (protocols, ptype, softnet_stat, memory in sockstat), and tables that the kernel finds by a walk over those
 * of the whole machine, milliseconds each (tcp, udp, conntrack): no socket, and not one packet, leaves nothing for them. */
static const char *const LOOKED_AT[] = {
    "dev",      "snmp",      "netstat",     "snmp6",         "dev_snmp6/lo", "sockstat6", "raw",        "raw6",
    "icmp",     "icmp6",     "unix",        "packet",        "igmp",         "igmp6",     "route",      "mcfilter",
    "mcfilter6", "dev_mcast", "ip6_flowlabel", "if_inet6",   "fib_trie",     "ipv6_route", "anycast6",  "arp",
    "ip_mr_vif", "ip_mr_cache", "ip6_mr_vif", "ip6_mr_cache", "xfrm_stat",   "rt6_stats",
};

static ssize_t read_whole(const char *name, char *text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/net/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    size_t have = 0;
    ssize_t got = 1;
    while (got > 0 && have < size - 1) {
        got = read(fd, text + have, size - 1 - have);
        if (got > 0) have += (size_t)got;
    }
    close_fd(&fd);
    text[have] = 0;
    return have < size - 1 ? (ssize_t)have : -1;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Lines in an order of their own: the kernel lists some by a hash that differs from namespace to namespace. */
static size_t add_sorted(char *from, char *to, size_t room) {
    static char *lines[LINES_MAX];
    size_t count = 0, used = 0;
    for (char *at = strtok(from, "\n"); at; at = strtok(NULL, "\n")) {
        if (count == LINES_MAX) return 0;
        lines[count++] = at;
    }
    qsort(lines, count, sizeof lines[0], by_text);
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(lines[i]);
        if (used + length + 1 >= room) return 0;
        memcpy(to + used, lines[i], length);
        to[used + length] = '\n';
        used += length + 1;
    }
    return used;
}

size_t netprint(char *text, size_t size, size_t files) {
    static char file[FILE_BYTES_MAX];
    size_t used = 0;
    for (size_t i = 0; i < files && i < sizeof LOOKED_AT / sizeof LOOKED_AT[0]; i++) {
        ssize_t got = read_whole(LOOKED_AT[i], file, sizeof file);
        if (got < 0) return 0;
        int named = snprintf(text + used, size - used, "=%s\n", LOOKED_AT[i]);
        if (named < 0 || (size_t)named >= size - used) return 0;
        used += (size_t)named;
        size_t added = add_sorted(file, text + used, size - used);
        if (added == 0 && got > 0) return 0;
        used += added;
    }
    return used;
}

int net_searches(uint64_t numbers[SEARCHES_MAX]) {
    char text[8192];
    unsigned count = 0;
    ssize_t got = read_whole("fib_triestat", text, sizeof text);
    if (got <= 0) return (int)got;
    for (char *at = text; *at;) {
        if (*at < '0' || *at > '9') {
            at++;
            continue;
        }
        if (count == SEARCHES_MAX) return -1;
        numbers[count++] = strtoull(at, &at, 10);
    }
    return (int)count;
}

bool net_has_sockets(void) {
    char text[2048];
    if (read_whole("sockstat", text, sizeof text) <= 0) return true;
    const char *used = strstr(text, "sockets: used "), *waiting = strstr(text, " tw ");
    if (!used || !waiting) return true;
    return strtol(used + strlen("sockets: used "), NULL, 10) != 0 || strtol(waiting + strlen(" tw "), NULL, 10) != 0;
}
