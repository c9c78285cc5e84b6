/* The way out of a sandbox, from within: a namespace that has only lo, yet takes a connection to any address.
 *
 * Every address is local (the trick is known as AnyIP), so nothing ever leaves the namespace as a packet. A function's SYN
 * comes to lo; a packet socket has seen it when the rule drops it. The relay (relay.c) asks the policy, connects outside,
 * and only then puts the same SYN back with a mark, which the rule hands to the relay's listener. The function's connect
 * thus takes as long as the real one and fails as the real one does; accepting first would turn "refused" into a success
 * that is reset afterwards, and a client that has a second address to try would never try it. What the connection was
 * meant for is the accepted socket's own address: no translation, so no connection tracking.
 *
 * UDP to port 53 of any address reaches the relay's socket; to all other ports nobody listens, and the kernel says so at
 * once. Addresses and rules are written over netlink: no program is run, no library is needed.
 */
#define _GNU_SOURCE
#include "network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flow.h"

#define MESSAGES_BYTES_MAX 16384u
#define GATE_BACKLOG 1024
#define LO 1               /* its index, in every namespace */
#define PRIORITY_MANGLE (-150)
#define TCP_FLAGS_AT 13u
#define SYN_ACK_BITS 0x12u
#define SYN_BIT 0x02u
#define TABLE "lambent"
#define CHAIN "gate"

static const uint8_t OWN_ADDRESS_6[16] = {0xfd, 0x6c, 0x61, 0x6d, 0x62, 0x64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8};
static const uint8_t ANY[16];

int loopback_up(void) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    struct ifreq request;
    memset(&request, 0, sizeof request);
    memcpy(request.ifr_name, "lo", 3);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    int result = ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
    return result;
}

/* ---- netlink messages, one after another in one buffer ---- */

static union {
    struct nlmsghdr align;
    char bytes[MESSAGES_BYTES_MAX];
} messages;
static uint32_t used;
static uint32_t serial;

static void *add(const void *data, size_t size) {
    size_t whole = NLMSG_ALIGN(size);
    if (used + whole > sizeof messages.bytes) { /* commit() refuses a full buffer */
        used = sizeof messages.bytes;
        return messages.bytes;
    }
    char *at = messages.bytes + used;
    memset(at, 0, whole);
    if (data) memcpy(at, data, size);
    used += (uint32_t)whole;
    return at;
}

static uint32_t begin_message(uint16_t type, uint16_t flags, const void *family, size_t size) {
    uint32_t at = used;
    struct nlmsghdr header = {.nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags), .nlmsg_seq = ++serial};
    add(&header, sizeof header);
    add(family, size);
    return at;
}

static void end_message(uint32_t at) {
    uint32_t length = used - at;
    if (used < sizeof messages.bytes) memcpy(messages.bytes + at, &length, sizeof length);
}

static uint32_t begin_nest(uint16_t type) {
    uint32_t at = used;
    struct nlattr header = {.nla_type = (uint16_t)(type | NLA_F_NESTED)};
    add(&header, sizeof header);
    return at;
}

static void end_nest(uint32_t at) {
    uint16_t length = (uint16_t)(used - at);
    if (used < sizeof messages.bytes) memcpy(messages.bytes + at, &length, sizeof length);
}

static void attribute(uint16_t type, const void *data, size_t size) {
    struct nlattr header = {.nla_type = type, .nla_len = (uint16_t)(sizeof header + size)};
    char both[sizeof header + 32];
    if (size > 32) return;
    memcpy(both, &header, sizeof header);
    memcpy(both + sizeof header, data, size);
    add(both, sizeof header + size);
}

static void text(uint16_t type, const char *words) { attribute(type, words, strlen(words) + 1); }

static void number(uint16_t type, uint32_t value) {
    uint32_t wire = htonl(value);
    attribute(type, &wire, sizeof wire);
}

/* Send all, and read answers until `acks` came or one is an error. */
static int commit(int protocol, int acks) {
    if (used >= sizeof messages.bytes) return errno = EMSGSIZE, -1;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0) return -1;
    int error = send(fd, messages.bytes, used, 0) == (ssize_t)used ? 0 : errno;
    while (error == 0 && acks > 0) {
        union {
            struct nlmsghdr header;
            char bytes[8192];
        } answer;
        ssize_t got = recv(fd, answer.bytes, sizeof answer.bytes, 0);
        if (got < 0) error = errno;
        size_t left = got > 0 ? (size_t)got : 0;
        for (struct nlmsghdr *at = &answer.header; left >= sizeof *at && at->nlmsg_len >= sizeof *at;
             at = (struct nlmsghdr *)(void *)((char *)at + NLMSG_ALIGN(at->nlmsg_len))) {
            if (at->nlmsg_type == NLMSG_ERROR && at->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr))) {
                int said = -((struct nlmsgerr *)NLMSG_DATA(at))->error;
                if (said != 0) error = said;
                acks--;
            }
            if (NLMSG_ALIGN(at->nlmsg_len) >= left) break;
            left -= NLMSG_ALIGN(at->nlmsg_len);
        }
    }
    close(fd);
    errno = error;
    return error == 0 ? 0 : -1;
}

/* ---- addresses ---- */

static void add_address(uint8_t family, const void *address, uint8_t size) {
    struct ifaddrmsg head = {.ifa_family = family, .ifa_prefixlen = (uint8_t)(size * 8), .ifa_flags = IFA_F_PERMANENT,
                             .ifa_scope = RT_SCOPE_UNIVERSE, .ifa_index = LO};
    uint32_t at = begin_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_ACK, &head, sizeof head);
    attribute(IFA_LOCAL, address, size);
    attribute(IFA_ADDRESS, address, size);
    uint32_t flags = IFA_F_PERMANENT | IFA_F_NODAD;
    attribute(IFA_FLAGS, &flags, sizeof flags);
    end_message(at);
}

static void add_route(uint8_t family, const void *source, size_t size) {
    struct rtmsg head = {.rtm_family = family, .rtm_table = RT_TABLE_LOCAL, .rtm_protocol = RTPROT_BOOT, .rtm_type = RTN_LOCAL,
                         .rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE};
    uint32_t at = begin_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_ACK, &head, sizeof head);
    uint32_t lo = LO;
    attribute(RTA_OIF, &lo, sizeof lo);
    attribute(RTA_PREFSRC, source, size);
    end_message(at);
}

/* What the relay puts back comes in from lo with addresses that are local: martians, but for these two settings. */
static void trust_lo(void) {
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = LO};
    uint32_t at = begin_message(RTM_SETLINK, NLM_F_ACK, &head, sizeof head);
    uint32_t families = begin_nest(IFLA_AF_SPEC), inet = begin_nest(AF_INET), settings = begin_nest(IFLA_INET_CONF);
    uint32_t on = 1, off = 0;
    attribute(IPV4_DEVCONF_ACCEPT_LOCAL, &on, sizeof on);
    attribute(IPV4_DEVCONF_ROUTE_LOCALNET, &on, sizeof on);
    attribute(IPV4_DEVCONF_RP_FILTER, &off, sizeof off);
    end_nest(settings);
    end_nest(inet);
    end_nest(families);
    end_message(at);
}

static int route_everything(bool with_ipv6) {
    uint32_t own = htonl(OWN_ADDRESS);
    used = 0;
    trust_lo();
    add_address(AF_INET, &own, sizeof own);
    add_route(AF_INET, &own, sizeof own);
    int acks = 3;
    if (with_ipv6) {
        add_address(AF_INET6, OWN_ADDRESS_6, sizeof OWN_ADDRESS_6);
        add_route(AF_INET6, OWN_ADDRESS_6, sizeof OWN_ADDRESS_6);
        acks += 2;
    }
    return commit(NETLINK_ROUTE, acks);
}

/* ---- rules ---- */

static uint32_t begin_nft(uint16_t type, uint16_t flags, uint8_t family) {
    struct nfgenmsg head = {.nfgen_family = family, .version = NFNETLINK_V0};
    return begin_message((uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, &head, sizeof head);
}

static void batch(uint16_t type) {
    struct nfgenmsg head = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES)};
    end_message(begin_message(type, 0, &head, sizeof head));
}

static uint32_t element, expression_data;

static void begin_expression(const char *name) {
    element = begin_nest(NFTA_LIST_ELEM);
    text(NFTA_EXPR_NAME, name);
    expression_data = begin_nest(NFTA_EXPR_DATA);
}

static void end_expression(void) {
    end_nest(expression_data);
    end_nest(element);
}

static void value(uint16_t type, const void *data, size_t size) {
    uint32_t at = begin_nest(type);
    attribute(NFTA_DATA_VALUE, data, size);
    end_nest(at);
}

static void load_meta(uint32_t key) {
    begin_expression("meta");
    number(NFTA_META_KEY, key);
    number(NFTA_META_DREG, NFT_REG_1);
    end_expression();
}

static void load_payload(uint32_t base, uint32_t offset, uint32_t length) {
    begin_expression("payload");
    number(NFTA_PAYLOAD_DREG, NFT_REG_1);
    number(NFTA_PAYLOAD_BASE, base);
    number(NFTA_PAYLOAD_OFFSET, offset);
    number(NFTA_PAYLOAD_LEN, length);
    end_expression();
}

static void mask(const void *bits, uint32_t length) {
    begin_expression("bitwise");
    number(NFTA_BITWISE_SREG, NFT_REG_1);
    number(NFTA_BITWISE_DREG, NFT_REG_1);
    number(NFTA_BITWISE_LEN, length);
    value(NFTA_BITWISE_MASK, bits, length);
    value(NFTA_BITWISE_XOR, ANY, length);
    end_expression();
}

static void compare(uint32_t operation, const void *data, size_t length) {
    begin_expression("cmp");
    number(NFTA_CMP_SREG, NFT_REG_1);
    number(NFTA_CMP_OP, operation);
    value(NFTA_CMP_DATA, data, length);
    end_expression();
}

static void verdict(int code) {
    begin_expression("immediate");
    number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    uint32_t data = begin_nest(NFTA_IMMEDIATE_DATA), nested = begin_nest(NFTA_DATA_VERDICT);
    number(NFTA_VERDICT_CODE, (uint32_t)code);
    end_nest(nested);
    end_nest(data);
    end_expression();
}

static void to_listener(uint8_t family) {
    uint16_t port = htons(GATE_PORT);
    begin_expression("immediate");
    number(NFTA_IMMEDIATE_DREG, NFT_REG_1);
    value(NFTA_IMMEDIATE_DATA, &port, sizeof port);
    end_expression();
    begin_expression("tproxy");
    number(NFTA_TPROXY_FAMILY, family);
    number(NFTA_TPROXY_REG_PORT, NFT_REG_1);
    end_expression();
    verdict(NF_ACCEPT);
}

static uint32_t rule_message, rule_list;

static void begin_rule(uint8_t family, uint16_t flags) {
    rule_message = begin_nft(NFT_MSG_NEWRULE, (uint16_t)(NLM_F_CREATE | NLM_F_APPEND | flags), family);
    text(NFTA_RULE_TABLE, TABLE);
    text(NFTA_RULE_CHAIN, CHAIN);
    rule_list = begin_nest(NFTA_RULE_EXPRESSIONS);
}

static void end_rule(void) {
    end_nest(rule_list);
    end_message(rule_message);
}

static void if_first_syn(void) {
    uint8_t tcp = IPPROTO_TCP, bits = SYN_ACK_BITS, syn = SYN_BIT;
    load_meta(NFT_META_L4PROTO);
    compare(NFT_CMP_EQ, &tcp, sizeof tcp);
    load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS_AT, 1);
    mask(&bits, 1);
    compare(NFT_CMP_EQ, &syn, 1);
}

static void if_marked(void) {
    uint32_t mark = GATE_MARK;
    load_meta(NFT_META_MARK);
    compare(NFT_CMP_EQ, &mark, sizeof mark);
}

static void if_address(uint8_t family, uint32_t operation, const void *address) {
    bool four = family == NFPROTO_IPV4;
    load_payload(NFT_PAYLOAD_NETWORK_HEADER, four ? 16 : 24, four ? 4 : 16);
    compare(operation, address, four ? 4 : 16);
}

/* A connection within the sandbox is none of our business, but for what the server opened of the host's loopback.
 * `gate_is_inward` says the same of one that has been seen. */
static void if_outward(uint8_t family) {
    if (family == NFPROTO_IPV4) {
        static const uint8_t FIRST[4] = {255, 0, 0, 0}, LOOPBACK[4] = {127, 0, 0, 0};
        uint32_t own = htonl(OWN_ADDRESS);
        load_payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 4);
        mask(FIRST, 4);
        compare(NFT_CMP_NEQ, LOOPBACK, 4);
        if_address(family, NFT_CMP_NEQ, &own);
    } else {
        if_address(family, NFT_CMP_NEQ, &in6addr_loopback);
        if_address(family, NFT_CMP_NEQ, OWN_ADDRESS_6);
    }
}

static void if_opened(uint8_t family, const struct loopback_port *opened) {
    uint16_t port = htons(opened->port);
    if_address(family, NFT_CMP_EQ, opened->address);
    load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
    compare(NFT_CMP_EQ, &port, sizeof port);
}

bool gate_is_inward(const struct config *config, uint8_t family, const uint8_t *address, uint16_t port) {
    uint32_t own = htonl(OWN_ADDRESS);
    bool four = family == AF_INET;
    size_t size = four ? 4 : 16;
    bool inward = four ? address[0] == 127 || memcmp(address, &own, size) == 0
                       : memcmp(address, &in6addr_loopback, size) == 0 || memcmp(address, OWN_ADDRESS_6, size) == 0;
    for (uint32_t i = 0; inward && i < config->loopback_count; i++) {
        const struct loopback_port *opened = &config->loopback[i];
        inward = opened->family != family || opened->port != port || memcmp(opened->address, address, size) != 0;
    }
    return inward;
}

static void add_rules(uint8_t family, const struct loopback_port *opened, bool last) {
    for (int drops = 0; drops < 2; drops++) {
        begin_rule(family, last && drops ? NLM_F_ACK : 0);
        if_first_syn();
        if (opened)
            if_opened(family, opened);
        else
            if_outward(family);
        if (drops) {
            verdict(NF_DROP);
        } else {
            if_marked();
            to_listener(family);
        }
        end_rule();
    }
}

static void add_gate(const struct config *config, uint8_t family) {
    uint32_t at = begin_nft(NFT_MSG_NEWTABLE, NLM_F_CREATE, family);
    text(NFTA_TABLE_NAME, TABLE);
    end_message(at);
    at = begin_nft(NFT_MSG_NEWCHAIN, NLM_F_CREATE, family);
    text(NFTA_CHAIN_TABLE, TABLE);
    text(NFTA_CHAIN_NAME, CHAIN);
    uint32_t hook = begin_nest(NFTA_CHAIN_HOOK);
    number(NFTA_HOOK_HOOKNUM, NF_INET_PRE_ROUTING);
    number(NFTA_HOOK_PRIORITY, (uint32_t)PRIORITY_MANGLE);
    end_nest(hook);
    text(NFTA_CHAIN_TYPE, "filter");
    end_message(at);
    for (uint32_t i = 0; i < config->loopback_count; i++)
        if (config->loopback[i].family == family) add_rules(family, &config->loopback[i], false);
    add_rules(family, NULL, true);
}

static int write_rules(const struct config *config, bool with_ipv6) {
    used = 0;
    batch(NFNL_MSG_BATCH_BEGIN);
    add_gate(config, NFPROTO_IPV4);
    if (with_ipv6) add_gate(config, NFPROTO_IPV6);
    batch(NFNL_MSG_BATCH_END);
    return commit(NETLINK_NETFILTER, with_ipv6 ? 2 : 1);
}

/* ---- sockets ---- */

/* The first packets of connections, and nothing else: neither what goes out nor what we put back. On a cooked packet
 * socket a filter sees the packet from the network header on. */
static int see_connections(void) {
    static struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 16, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_MARK)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 14),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 6, 8, 0),
        /* version 4 */
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 9),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 7, 0),
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, TCP_FLAGS_AT),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN_ACK_BITS),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN_BIT, 4, 3),
        /* version 6; a header between is neither let through nor seen */
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6), /* next header and hop limit */
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 8),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 2, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, SYN_BYTES_MAX),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 40 + TCP_FLAGS_AT),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN_ACK_BITS),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN_BIT, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SYN_BYTES_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); /* 0: deaf until the filter stands */
    if (fd < 0) return -1;
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    struct sockaddr_ll lo = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = LO};
    uint32_t mark = GATE_MARK;
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0 && bind(fd, (struct sockaddr *)&lo, sizeof lo) == 0)
        return fd;
    close(fd);
    return -1;
}

/* For both families where there are both, else for version 4. */
static int open_socket(int type, uint16_t port, bool with_ipv6) {
    int on = 1, off = 0, result;
    int fd = socket(with_ipv6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    bool stream = type == SOCK_STREAM;
    if (with_ipv6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    /* Transparent: it accepts for, and answers from, whatever address was meant. */
    if (with_ipv6 && setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof on) != 0) goto failed;
    if (setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on) != 0) goto failed;
    if (!stream && with_ipv6 && setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) != 0) goto failed;
    if (!stream && setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) != 0) goto failed;
    if (with_ipv6) {
        struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        result = bind(fd, (struct sockaddr *)&any, sizeof any);
    } else {
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
        result = bind(fd, (struct sockaddr *)&any, sizeof any);
    }
    if (result == 0 && (!stream || listen(fd, GATE_BACKLOG) == 0)) return fd;
failed:
    close(fd);
    return -1;
}

int gate_lay(const struct config *config, struct failure *failure) {
    if (route_everything(config->egress_ipv6) != 0) return fail(failure, "route the sandbox's packets");
    if (write_rules(config, config->egress_ipv6) != 0) return fail(failure, "write the gate's rules");
    return 0;
}

int gate_open(const struct config *config, int fds[GATE_FDS], struct failure *failure) {
    for (int i = 0; i < GATE_FDS; i++) fds[i] = -1;
    bool with_ipv6 = config->egress_ipv6;
    if ((fds[GATE_PACKETS] = see_connections()) < 0) return fail(failure, "see the sandbox's packets");
    if ((fds[GATE_LISTENER] = open_socket(SOCK_STREAM, GATE_PORT, with_ipv6)) < 0) return fail(failure, "listen at the gate");
    if ((fds[GATE_DNS] = open_socket(SOCK_DGRAM, DNS_PORT, with_ipv6)) < 0) return fail(failure, "listen for DNS");
    return 0;
}

int gate_probe(const struct config *config, struct failure *failure) {
    int pipes[2];
    static struct {
        int error;
        char step[STEP_MAX];
    } said;
    if (pipe2(pipes, O_CLOEXEC) != 0) return fail(failure, "make a pipe");
    pid_t child = fork();
    if (child == 0) {
        struct failure found = {"", 0};
        int fds[GATE_FDS];
        if (unshare(CLONE_NEWNET) != 0) fail(&found, "unshare a network");
        if (!found.error && loopback_up() != 0) fail(&found, "bring up lo");
        if (!found.error && gate_lay(config, &found) == 0) gate_open(config, fds, &found);
        said.error = found.error;
        snprintf(said.step, sizeof said.step, "%s", found.step);
        _exit(write(pipes[1], &said, sizeof said) == (ssize_t)sizeof said ? 0 : 1);
    }
    close(pipes[1]);
    bool heard = child > 0 && read(pipes[0], &said, sizeof said) == (ssize_t)sizeof said;
    close(pipes[0]);
    if (child > 0) waitpid(child, NULL, 0);
    if (!heard) return fail_with(failure, "try the gate", ECHILD);
    return said.error ? fail_with(failure, said.step, said.error) : 0;
}
