/* First packets of connections: read as a packet socket shows them, put back, or answered in the network's name. */
#define _GNU_SOURCE
#include "flow.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>

#define LO 1
#define HOPS 64
#define ICMP_UNREACHABLE 3
#define ICMP6_UNREACHABLE 1
#define FLAG_RST_ACK 0x14

static uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }
static uint32_t get32(const uint8_t *at) { return (uint32_t)get16(at) << 16 | get16(at + 2); }
static void put16(uint8_t *at, uint32_t value) { at[0] = (uint8_t)(value >> 8), at[1] = (uint8_t)value; }
static void put32(uint8_t *at, uint32_t value) { put16(at, value >> 16), put16(at + 2, value & 0xffff); }

struct endpoint endpoint_of(const struct sockaddr_in6 *address) {
    static const uint8_t MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    struct endpoint result = {.family = AF_INET, .port = ntohs(address->sin6_port)}; /* the port lies at the same place */
    if (address->sin6_family == AF_INET) {
        memcpy(result.address, (const char *)address + offsetof(struct sockaddr_in, sin_addr), 4);
    } else if (memcmp(&address->sin6_addr, MAPPED, sizeof MAPPED) == 0) {
        memcpy(result.address, (const char *)&address->sin6_addr + sizeof MAPPED, 4);
    } else {
        result.family = AF_INET6;
        memcpy(result.address, &address->sin6_addr, 16);
    }
    return result;
}

socklen_t endpoint_address(const struct endpoint *endpoint, struct sockaddr_in6 *address) {
    memset(address, 0, sizeof *address);
    address->sin6_family = endpoint->family;
    address->sin6_port = htons(endpoint->port);
    if (endpoint->family == AF_INET) {
        memcpy((char *)address + offsetof(struct sockaddr_in, sin_addr), endpoint->address, 4);
        return sizeof(struct sockaddr_in);
    }
    memcpy(&address->sin6_addr, endpoint->address, 16);
    return sizeof *address;
}

bool syn_read(const uint8_t *packet, size_t size, struct syn *syn) {
    bool four = size >= 20 && packet[0] >> 4 == 4, six = size >= 40 && packet[0] >> 4 == 6;
    if (!four && !six) return false;
    uint32_t network = four ? (packet[0] & 15u) * 4u : 40u, length = four ? 4 : 16;
    if (network < 20 || size < network + 20 || packet[four ? 9 : 6] != IPPROTO_TCP) return false;
    uint32_t whole = network + (uint32_t)(packet[network + 12] >> 4) * 4u;
    if (whole < network + 20 || whole > size || whole > SYN_BYTES_MAX || (packet[network + 13] & 0x12) != 0x02) return false;
    memset(syn, 0, sizeof *syn);
    syn->network_bytes = network;
    syn->size = whole; /* data that came with it is sent again when it is not acknowledged */
    memcpy(syn->packet, packet, whole);
    struct flow *flow = &syn->flow;
    flow->client.family = flow->remote.family = four ? AF_INET : AF_INET6;
    memcpy(flow->client.address, packet + (four ? 12 : 8), length);
    memcpy(flow->remote.address, packet + (four ? 16 : 24), length);
    flow->client.port = get16(packet + network);
    flow->remote.port = get16(packet + network + 2);
    return true;
}

/* ---- what is sent ---- */

static uint32_t sum(const uint8_t *data, size_t size, uint32_t start) {
    for (size_t i = 0; i + 1 < size; i += 2) start += get16(data + i);
    if (size & 1) start += (uint32_t)data[size - 1] << 8;
    return start;
}

static uint16_t folded(uint32_t total) {
    while (total >> 16) total = (total & 0xffff) + (total >> 16);
    return (uint16_t)~total;
}

static void send_packet(int packets, uint8_t *packet, uint32_t network, uint32_t size, uint32_t checksum_at) {
    bool four = packet[0] >> 4 == 4;
    uint32_t payload = size - network;
    uint8_t protocol = packet[four ? 9 : 6];
    put16(packet + network + checksum_at, 0);
    /* Both families sum addresses, length and protocol; ICMP of version 4 alone sums only itself. */
    uint32_t pseudo = sum(packet + (four ? 12 : 8), four ? 8 : 32, protocol + payload);
    uint16_t check = folded(sum(packet + network, payload, protocol == IPPROTO_ICMP ? 0 : pseudo));
    put16(packet + network + checksum_at, check);
    if (four) {
        put16(packet + 2, size);
        put16(packet + 10, 0);
        put16(packet + 10, folded(sum(packet, network, 0)));
    } else {
        put16(packet + 4, payload);
    }
    struct sockaddr_ll lo = {.sll_family = AF_PACKET, .sll_protocol = htons(four ? ETH_P_IP : ETH_P_IPV6), .sll_ifindex = LO,
                             .sll_halen = 6};
    /* Lost when there is no room: the client sends its SYN again. */
    (void)!sendto(packets, packet, size, MSG_DONTWAIT, (struct sockaddr *)&lo, sizeof lo);
}

void syn_put_back(int packets, const struct syn *syn) {
    uint8_t packet[SYN_BYTES_MAX];
    memcpy(packet, syn->packet, syn->size);
    send_packet(packets, packet, syn->network_bytes, syn->size, 16);
}

/* An IP header from the remote to the client; answers its length. */
static uint32_t answer_header(uint8_t *packet, const struct syn *syn, uint8_t protocol) {
    const struct flow *flow = &syn->flow;
    bool four = flow->client.family == AF_INET;
    packet[0] = four ? 0x45 : 0x60;
    packet[four ? 9 : 6] = protocol;
    packet[four ? 8 : 7] = HOPS;
    memcpy(packet + (four ? 12 : 8), flow->remote.address, four ? 4 : 16);
    memcpy(packet + (four ? 16 : 24), flow->client.address, four ? 4 : 16);
    return four ? 20 : 40;
}

void syn_reset(int packets, const struct syn *syn) {
    uint8_t packet[64] = {0};
    uint32_t network = answer_header(packet, syn, IPPROTO_TCP);
    uint8_t *tcp = packet + network;
    put16(tcp, syn->flow.remote.port);
    put16(tcp + 2, syn->flow.client.port);
    put32(tcp + 8, get32(syn->packet + syn->network_bytes + 4) + 1);
    tcp[12] = 0x50;
    tcp[13] = FLAG_RST_ACK;
    send_packet(packets, packet, network, network + 20, 16);
}

/* Codes that the client's kernel turns back into the error that we met. */
static uint8_t unreachable_code(bool four, int error) {
    switch (error) {
    case ENETUNREACH: return 0;                /* no route */
    case EACCES: return four ? 13 : 1;         /* prohibited by administration */
    default: return four ? 1 : 3;              /* host or address */
    }
}

void syn_unreachable(int packets, const struct syn *syn, int error) {
    bool four = syn->flow.client.family == AF_INET;
    uint8_t packet[48 + SYN_BYTES_MAX] = {0};
    uint32_t network = answer_header(packet, syn, four ? IPPROTO_ICMP : IPPROTO_ICMPV6);
    packet[network] = four ? ICMP_UNREACHABLE : ICMP6_UNREACHABLE;
    packet[network + 1] = unreachable_code(four, error);
    memcpy(packet + network + 8, syn->packet, syn->size);
    send_packet(packets, packet, network, network + 8 + syn->size, 2);
}
