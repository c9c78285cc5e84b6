/* What the trusted parent tells the spawner at its start, before it gives up its own privilege.
 *
 * A file of NUL-terminated words: a record's name, then its words. Everything here is trusted (it comes from the
 * process that started us, through a descriptor nobody else has); it is checked for shape only.
 */
#ifndef LAMBENT_CONFIG_H
#define LAMBENT_CONFIG_H

#include "base.h"

#define CONFIG_BYTES_MAX (1u << 20)
#define IMAGES_MAX 64
#define HIERARCHIES_MAX 8
#define SANDBOXES_MAX 16384u
#define TMP_POOL_MAX 64u

#define NOBODY_ELSE UINT32_MAX

#define LOOPBACK_PORTS_MAX 16u
#define RESOLVERS_MAX 3u /* as the C library */

struct step_record {
    const char *name; /* dir, link, file, bind, mask */
    const char *first, *second;
};

struct image_config {
    const char *name;
    const char *cursor, *end; /* its records */
};

struct hierarchy_config {
    const char *controllers; /* comma-separated */
    const char *path;
};

/* One port of the host's loopback that sandboxes may reach under the same address. */
struct loopback_port {
    uint8_t family; /* NFPROTO_IPV4 or _IPV6: AF_INET or AF_INET6 by another name */
    uint8_t address[16];
    uint16_t port;
};

struct resolver {
    uint8_t family;
    uint8_t address[16];
    uint16_t port;
};

struct config {
    const char *instance, *packages, *scratch;
    bool rootless;
    bool confined; /* no namespaces, no mounts: see confined.c */
    bool single_id; /* rootless with one mapped id: init and function share it */
    uint32_t sandboxes_max;
    uint32_t ids_base, ids_stride;
    uint32_t server; /* the group that the server joins; NOBODY_ELSE: it stays who it is */
    bool tmp_disk;
    uint32_t tmp_pool;
    uint32_t tmp_mb_default;
    const char *mkfs;
    bool egress;      /* sandboxes have a way out, by policy */
    bool egress_ipv6; /* found by trying */
    struct loopback_port loopback[LOOPBACK_PORTS_MAX];
    uint32_t loopback_count;
    struct resolver resolvers[RESOLVERS_MAX]; /* none: those of /etc/resolv.conf */
    uint32_t resolver_count;
    int cgroup_version; /* 0: none */
    struct hierarchy_config hierarchies[HIERARCHIES_MAX];
    uint32_t hierarchy_count;
    struct image_config images[IMAGES_MAX];
    uint32_t image_count;
};

int config_read(int fd, struct config *config, struct failure *failure);
bool config_next(const char **cursor, const char *end, struct step_record *record); /* walks an image's records */
bool has_controller(const struct hierarchy_config *hierarchy, const char *name);

#endif
