/* Where one sandbox may connect to. */
#ifndef LAMBENT_POLICY_H
#define LAMBENT_POLICY_H

#include "flow.h"

#define POLICY_RULES_MAX 64u
#define POLICY_NAME_MAX 254u
#ifndef SHORT_WAITS
#define LEARNED_MAX 256u   /* addresses that names were answered with, of one sandbox */
#else
#define LEARNED_MAX (SHORT_WAITS * 2u)
#endif
#define LEARNED_S_MIN 300u  /* clients keep an address for longer than its time to live */

enum policy_mode { POLICY_NONE, POLICY_OUTBOUND, POLICY_LISTED };
enum policy_layer { LAYER_SERVER, LAYER_FUNCTION, LAYERS };

/* As wire.py packs it: a head, then the rules of the server, then the function's. */
struct policy_head {
    uint32_t modes[LAYERS], counts[LAYERS];
};

struct policy_rule {
    uint8_t family; /* AF_INET, AF_INET6; 0: a name */
    uint8_t prefix;
    uint16_t first, last; /* ports */
    uint8_t address[16];
    char name[POLICY_NAME_MAX]; /* lower case; "*.example.com" stands for what lies below it */
};

_Static_assert(sizeof(struct policy_head) == 16, "wire.py packs heads of this size");
_Static_assert(sizeof(struct policy_rule) == 276, "wire.py packs rules of this size");

struct learned {
    struct endpoint endpoint; /* its port is not used */
    uint64_t rules[LAYERS];   /* a bit for each name rule that named it */
    int64_t until_ms;
};

struct policy {
    struct policy_head head;
    struct policy_rule *rules[LAYERS];
    struct learned *learned;
    uint32_t learned_count, learned_next;
};

int policy_read(int fd, struct policy *policy); /* -1: malformed */
void policy_forget(struct policy *policy);
/* 0, or the errno of the refusal. */
int policy_check(const struct policy *policy, const struct endpoint *remote, int64_t now);
bool policy_allows_name(const struct policy *policy, const char *name);
bool policy_allows_any_name(const struct policy *policy);
void policy_learn(struct policy *policy, const char *name, const struct endpoint *address, uint32_t ttl_s, int64_t now);

#endif
