#ifndef LAMBENT_NETWORK_H
#define LAMBENT_NETWORK_H

#include "base.h"
#include "config.h"

#define GATE_PORT 9002
#define GATE_MARK 0x1a3bda01u /* on packets that the relay puts back; a function cannot set marks */
#define OWN_ADDRESS 0xC0000008u /* 192.0.0.8, RFC 7600: a source, never a destination */
#define DNS_PORT 53

/* Descriptors that a relay needs of one sandbox, in this order. */
enum gate_fd { GATE_PACKETS, GATE_LISTENER, GATE_DNS, GATE_FDS };

int loopback_up(void);
/* In a fresh network namespace with lo up: every address is routed to lo, where rules hold first packets. Once. */
int gate_lay(const struct config *config, struct failure *failure);
/* In a namespace so laid: the relay's sockets, anew for each sandbox that lives in it. Fills `fds`. */
int gate_open(const struct config *config, int fds[GATE_FDS], struct failure *failure);
/* Whether the rules let the first packet of such a connection through: it stays in the sandbox. */
bool gate_is_inward(const struct config *config, uint8_t family, const uint8_t *address, uint16_t port);
/* Whether this machine can: built once in a namespace of its own, in a child. */
int gate_probe(const struct config *config, struct failure *failure);

#endif
