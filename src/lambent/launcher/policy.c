/* Where one sandbox may connect to, decided on the address that would be connected to, at that moment.
 *
 * Two layers, the server's and the function's; both must agree, so that a function narrows and never widens. Some addresses
 * are closed whatever a layer's mode: everything that is this machine itself, link-local ones and the clouds' metadata
 * services. Only an entry of the server that names exactly that address opens one. What this machine is, the kernel's
 * routing table says, asked each time: a list of interfaces would be old when it is read.
 */
#define _GNU_SOURCE
#include "policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct block {
    uint8_t family, prefix;
    uint8_t address[16];
};

static const struct block CLOSED[] = {
    {AF_INET, 8, {0}},                                  /* this host on this network */
    {AF_INET, 8, {127}},                                /* loopback */
    {AF_INET, 16, {169, 254}},                          /* link-local, metadata services among them */
    {AF_INET, 4, {224}},                                /* multicast */
    {AF_INET, 4, {240}},                                /* reserved, broadcast */
    {AF_INET, 32, {168, 63, 129, 16}},                  /* metadata of Azure */
    {AF_INET, 32, {100, 100, 100, 200}},                /* of Alibaba */
    {AF_INET, 32, {192, 0, 0, 192}},                    /* of Oracle */
    {AF_INET, 29, {192, 0, 0, 8}},                      /* a sandbox's own address, from within */
    {AF_INET6, 128, {0}},                               /* unspecified */
    {AF_INET6, 128, {[15] = 1}},                        /* loopback */
    {AF_INET6, 10, {0xfe, 0x80}},                       /* link-local */
    {AF_INET6, 8, {0xff}},                              /* multicast */
    {AF_INET6, 48, {0xfd, 0x00, 0x0e, 0xc2}},           /* metadata of AWS: fd00:ec2::254, ::253, ::123 */
    {AF_INET6, 64, {0xfd, 0x6c, 0x61, 0x6d, 0x62, 0x64}}, /* a sandbox's own */
};

/* Version 6 addresses that carry one of version 4, and where. */
static const struct {
    struct block block;
    uint8_t at;
} EMBEDDING[] = {
    {{AF_INET6, 96, {0}}, 12},                                         /* IPv4-compatible */
    {{AF_INET6, 96, {[10] = 0xff, [11] = 0xff}}, 12},                  /* mapped */
    {{AF_INET6, 96, {[8] = 0xff, [9] = 0xff}}, 12},                    /* translated */
    {{AF_INET6, 96, {0x00, 0x64, 0xff, 0x9b}}, 12},                    /* NAT64 */
    {{AF_INET6, 16, {0x20, 0x02}}, 2},                                 /* 6to4 */
};

static bool within(const uint8_t *address, const uint8_t *block, unsigned prefix) {
    if (memcmp(address, block, prefix / 8) != 0) return false;
    unsigned rest = prefix % 8;
    return rest == 0 || (address[prefix / 8] ^ block[prefix / 8]) >> (8 - rest) == 0;
}

static bool is_in_closed_block(const struct endpoint *remote) {
    for (size_t i = 0; i < sizeof CLOSED / sizeof CLOSED[0]; i++)
        if (CLOSED[i].family == remote->family && within(remote->address, CLOSED[i].address, CLOSED[i].prefix)) return true;
    return false;
}

/* What the kernel would do with a packet to this address: RTN_LOCAL, RTN_UNICAST, ...; -1 with errno. */
static int route_type(const struct endpoint *remote) {
    static int fd = -1;
    static uint32_t serial;
    if (fd < 0) fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) return -1;
    uint16_t size = remote->family == AF_INET ? 4 : 16;
    struct {
        struct nlmsghdr header;
        struct rtmsg route;
        struct rtattr attribute;
        uint8_t address[16];
    } ask = {.header = {.nlmsg_len = (uint32_t)(NLMSG_LENGTH(sizeof(struct rtmsg)) + RTA_LENGTH(0) + size),
                        .nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST, .nlmsg_seq = ++serial},
             .route = {.rtm_family = remote->family, .rtm_dst_len = (uint8_t)(size * 8)},
             .attribute = {.rta_len = (uint16_t)RTA_LENGTH(size), .rta_type = RTA_DST}};
    memcpy(ask.address, remote->address, size);
    if (send(fd, &ask, ask.header.nlmsg_len, 0) < 0) return -1;
    for (;;) {
        union {
            struct nlmsghdr header;
            char bytes[4096];
        } answer;
        ssize_t got = recv(fd, answer.bytes, sizeof answer.bytes, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < (ssize_t)NLMSG_LENGTH(sizeof(struct rtmsg))) {
            close(fd);
            fd = -1;
            errno = EIO;
            return -1;
        }
        if (answer.header.nlmsg_seq != serial) continue;
        if (answer.header.nlmsg_type == NLMSG_ERROR) {
            errno = -((struct nlmsgerr *)NLMSG_DATA(&answer.header))->error;
            return -1;
        }
        return ((struct rtmsg *)NLMSG_DATA(&answer.header))->rtm_type;
    }
}

/* 0: open to the outside; EACCES: closed; else why there is no way to it. */
static int closed_or_unreachable(const struct endpoint *remote) {
    if (is_in_closed_block(remote)) return EACCES;
    int type = route_type(remote);
    if (type == RTN_LOCAL || type == RTN_BROADCAST || type == RTN_MULTICAST || type == RTN_ANYCAST) return EACCES;
    return type >= 0 ? 0 : errno;
}

static int look_at(const struct endpoint *remote) {
    for (size_t i = 0; remote->family == AF_INET6 && i < sizeof EMBEDDING / sizeof EMBEDDING[0]; i++) {
        if (!within(remote->address, EMBEDDING[i].block.address, EMBEDDING[i].block.prefix)) continue;
        struct endpoint inner = {.family = AF_INET, .port = remote->port};
        memcpy(inner.address, remote->address + EMBEDDING[i].at, 4);
        if (closed_or_unreachable(&inner) == EACCES) return EACCES;
    }
    return closed_or_unreachable(remote);
}

static bool covers(const struct policy_rule *rule, const struct endpoint *remote) {
    return rule->family == remote->family && remote->port >= rule->first && remote->port <= rule->last &&
           within(remote->address, rule->address, rule->prefix);
}

static bool names_exactly(const struct policy *policy, const struct endpoint *remote) {
    for (uint32_t i = 0; i < policy->head.counts[LAYER_SERVER]; i++) {
        const struct policy_rule *rule = &policy->rules[LAYER_SERVER][i];
        if (covers(rule, remote) && rule->prefix == (rule->family == AF_INET ? 32 : 128)) return true;
    }
    return false;
}

static bool is_listed(const struct policy *policy, int layer, const struct endpoint *remote, int64_t now) {
    const struct policy_rule *rules = policy->rules[layer];
    for (uint32_t i = 0; i < policy->head.counts[layer]; i++)
        if (covers(&rules[i], remote)) return true;
    for (uint32_t l = 0; l < policy->learned_count; l++) {
        const struct learned *learned = &policy->learned[l];
        if (learned->until_ms < now || learned->endpoint.family != remote->family ||
            memcmp(learned->endpoint.address, remote->address, 16) != 0)
            continue;
        for (uint32_t i = 0; i < policy->head.counts[layer]; i++)
            if (learned->rules[layer] >> i & 1 && remote->port >= rules[i].first && remote->port <= rules[i].last) return true;
    }
    return false;
}

int policy_check(const struct policy *policy, const struct endpoint *remote, int64_t now) {
    for (int layer = 0; layer < LAYERS; layer++) {
        uint32_t mode = policy->head.modes[layer];
        if (mode == POLICY_NONE || (mode == POLICY_LISTED && !is_listed(policy, layer, remote, now))) return EACCES;
    }
    return names_exactly(policy, remote) ? 0 : look_at(remote);
}

/* ---- names ---- */

static bool matches(const struct policy_rule *rule, const char *name) {
    if (rule->family != 0) return false;
    if (rule->name[0] != '*') return strcmp(rule->name, name) == 0;
    size_t tail = strlen(rule->name + 1), length = strlen(name); /* ".example.com" */
    return length > tail && strcmp(name + length - tail, rule->name + 1) == 0;
}

static uint64_t rules_of(const struct policy *policy, int layer, const char *name) {
    uint64_t found = 0;
    for (uint32_t i = 0; i < policy->head.counts[layer]; i++)
        if (matches(&policy->rules[layer][i], name)) found |= 1ull << i;
    return found;
}

bool policy_allows_name(const struct policy *policy, const char *name) {
    for (int layer = 0; layer < LAYERS; layer++) {
        uint32_t mode = policy->head.modes[layer];
        if (mode == POLICY_NONE || (mode == POLICY_LISTED && rules_of(policy, layer, name) == 0)) return false;
    }
    return true;
}

bool policy_allows_any_name(const struct policy *policy) {
    return policy->head.modes[LAYER_SERVER] == POLICY_OUTBOUND && policy->head.modes[LAYER_FUNCTION] == POLICY_OUTBOUND;
}

void policy_learn(struct policy *policy, const char *name, const struct endpoint *address, uint32_t ttl_s, int64_t now) {
    struct learned fresh = {.endpoint = *address};
    fresh.endpoint.port = 0;
    for (int layer = 0; layer < LAYERS; layer++) fresh.rules[layer] = rules_of(policy, layer, name);
    if (fresh.rules[LAYER_SERVER] == 0 && fresh.rules[LAYER_FUNCTION] == 0) return;
    fresh.until_ms = now + 1000ll * (ttl_s > LEARNED_S_MIN ? (ttl_s < 86400 ? ttl_s : 86400) : LEARNED_S_MIN);
    if (!policy->learned && !(policy->learned = calloc(LEARNED_MAX, sizeof *policy->learned))) return;
    for (uint32_t i = 0; i < policy->learned_count; i++) {
        struct learned *old = &policy->learned[i];
        if (memcmp(&old->endpoint, &fresh.endpoint, sizeof fresh.endpoint) != 0) continue;
        if (old->until_ms > now) /* two names with one address: it is open for both */
            for (int layer = 0; layer < LAYERS; layer++) fresh.rules[layer] |= old->rules[layer];
        *old = fresh;
        return;
    }
    if (policy->learned_count < LEARNED_MAX) {
        policy->learned[policy->learned_count++] = fresh;
    } else {
        policy->learned[policy->learned_next] = fresh; /* the oldest makes room */
        policy->learned_next = (policy->learned_next + 1) % LEARNED_MAX;
    }
}

/* ---- from the server ---- */

static bool is_sane(const struct policy_rule *rule) {
    bool named = rule->family == 0 && rule->name[0] != 0 && memchr(rule->name, 0, sizeof rule->name);
    bool four = rule->family == AF_INET && rule->prefix <= 32, six = rule->family == AF_INET6 && rule->prefix <= 128;
    return (named || four || six) && rule->first <= rule->last;
}

int policy_read(int fd, struct policy *policy) {
    memset(policy, 0, sizeof *policy);
    struct policy_head *head = &policy->head;
    struct stat file;
    if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) || pread(fd, head, sizeof *head, 0) != (ssize_t)sizeof *head) goto bad;
    off_t at = sizeof *head;
    for (int layer = 0; layer < LAYERS; layer++) {
        if (head->modes[layer] > POLICY_LISTED || head->counts[layer] > POLICY_RULES_MAX) goto bad;
        size_t bytes = head->counts[layer] * sizeof(struct policy_rule);
        policy->rules[layer] = malloc(bytes + 1);
        if (!policy->rules[layer] || pread(fd, policy->rules[layer], bytes, at) != (ssize_t)bytes) goto bad;
        at += (off_t)bytes;
        for (uint32_t i = 0; i < head->counts[layer]; i++)
            if (!is_sane(&policy->rules[layer][i])) goto bad;
    }
    return 0;
bad:
    policy_forget(policy);
    errno = EINVAL;
    return -1;
}

void policy_forget(struct policy *policy) {
    for (int layer = 0; layer < LAYERS; layer++) free(policy->rules[layer]);
    free(policy->learned);
    memset(policy, 0, sizeof *policy);
}
