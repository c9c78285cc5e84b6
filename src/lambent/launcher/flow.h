#ifndef LAMBENT_FLOW_H
#define LAMBENT_FLOW_H

#include <netinet/in.h>

#include "base.h"

#define SYN_BYTES_MAX 128u /* an IP and a TCP header at their longest */

/* An address of either family; one that is mapped into version 6 is kept as version 4. */
struct endpoint {
    uint16_t port;
    uint8_t family; /* AF_INET or AF_INET6 */
    uint8_t reserved; /* 0: endpoints are hashed and compared as bytes */
    uint8_t address[16];
};

struct flow {
    struct endpoint client, remote;
};

struct syn {
    struct flow flow;
    uint32_t network_bytes, size; /* of the IP header, of both headers */
    uint8_t packet[SYN_BYTES_MAX];
};

struct endpoint endpoint_of(const struct sockaddr_in6 *address); /* a sockaddr_in is read as such */
socklen_t endpoint_address(const struct endpoint *endpoint, struct sockaddr_in6 *address);

/* The first packet of a connection, as a packet socket gave it; false: it is none, or malformed. */
bool syn_read(const uint8_t *packet, size_t size, struct syn *syn);
/* Into the sandbox: the SYN itself, or what a network would answer it. */
void syn_put_back(int packets, const struct syn *syn);
void syn_reset(int packets, const struct syn *syn);
void syn_unreachable(int packets, const struct syn *syn, int error); /* errno of what went wrong */

#endif
