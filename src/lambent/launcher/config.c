#define _GNU_SOURCE
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char blob[CONFIG_BYTES_MAX];

static const struct {
    const char *name;
    int words;
} SHAPES[] = {
    {"instance", 1}, {"packages", 1}, {"scratch", 1}, {"mode", 1}, {"sandboxes", 1}, {"ids", 2}, {"cgroup1", 2},
    {"cgroup2", 2},  {"tmp", 3},      {"mkfs", 1},    {"image", 1}, {"dir", 1},      {"link", 2}, {"file", 2},
    {"bind", 2},     {"mask", 1},     {"egress", 1}, {"loopback", 2}, {"resolver", 2}, {"server", 1},
};

static const char *word(const char **cursor, const char *end) {
    const char *at = *cursor;
    if (at >= end) return NULL;
    *cursor = at + strlen(at) + 1;
    return at;
}

bool config_next(const char **cursor, const char *end, struct step_record *record) {
    record->name = word(cursor, end);
    record->first = record->second = "";
    if (!record->name) return false;
    for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++) {
        if (strcmp(SHAPES[i].name, record->name) != 0) continue;
        const char *third = "";
        if (SHAPES[i].words > 0) record->first = word(cursor, end);
        if (SHAPES[i].words > 1) record->second = word(cursor, end);
        if (SHAPES[i].words > 2) third = word(cursor, end);
        return record->first && record->second && third;
    }
    return false;
}

static uint32_t number(const char *text, uint32_t most) {
    unsigned long value = strtoul(text, NULL, 10);
    return value > most ? most : (uint32_t)value;
}

static bool endpoint(const struct step_record *record, uint8_t *family, uint8_t *address, uint16_t *port) {
    *family = strchr(record->first, ':') ? AF_INET6 : AF_INET;
    *port = (uint16_t)number(record->second, 65535);
    return *port != 0 && inet_pton(*family, record->first, address) == 1;
}

static bool is_image_step(const char *name) {
    return !strcmp(name, "dir") || !strcmp(name, "link") || !strcmp(name, "file") || !strcmp(name, "bind") ||
           !strcmp(name, "mask");
}

static bool apply(struct config *config, const struct step_record *record, const char *after, const char *end) {
    const char *name = record->name;
    if (is_image_step(name)) {
        if (config->image_count == 0) return false;
        config->images[config->image_count - 1].end = after;
    } else if (!strcmp(name, "image")) {
        if (config->image_count == IMAGES_MAX || strlen(record->first) >= IMAGE_NAME_MAX) return false;
        config->images[config->image_count++] = (struct image_config){record->first, after, after};
    } else if (!strcmp(name, "instance")) {
        config->instance = record->first;
    } else if (!strcmp(name, "packages")) {
        config->packages = record->first;
    } else if (!strcmp(name, "scratch")) {
        config->scratch = record->first;
    } else if (!strcmp(name, "mode")) {
        config->rootless = !strcmp(record->first, "rootless");
        config->confined = !strcmp(record->first, "confined");
    } else if (!strcmp(name, "sandboxes")) {
        config->sandboxes_max = number(record->first, SANDBOXES_MAX);
    } else if (!strcmp(name, "ids")) {
        config->ids_base = number(record->first, 0xF0000000u);
        config->ids_stride = number(record->second, 65536u);
        config->single_id = config->ids_stride == 0;
    } else if (!strcmp(name, "tmp")) {
        config->tmp_disk = !strcmp(record->first, "disk");
        config->tmp_pool = number(record->second, TMP_POOL_MAX);
        config->tmp_mb_default = number(record->second + strlen(record->second) + 1, TMP_MB_MAX);
    } else if (!strcmp(name, "server")) {
        config->server = number(record->first, 0xF0000000u);
    } else if (!strcmp(name, "egress")) {
        config->egress = !strcmp(record->first, "policy");
    } else if (!strcmp(name, "loopback")) {
        struct loopback_port *opened = &config->loopback[config->loopback_count];
        if (config->loopback_count == LOOPBACK_PORTS_MAX) return false;
        if (!endpoint(record, &opened->family, opened->address, &opened->port)) return false;
        config->loopback_count++;
    } else if (!strcmp(name, "resolver")) {
        struct resolver *resolver = &config->resolvers[config->resolver_count];
        if (config->resolver_count == RESOLVERS_MAX) return false;
        if (!endpoint(record, &resolver->family, resolver->address, &resolver->port)) return false;
        config->resolver_count++;
    } else if (!strcmp(name, "mkfs")) {
        config->mkfs = record->first;
    } else {
        if (config->hierarchy_count == HIERARCHIES_MAX) return false;
        config->cgroup_version = !strcmp(name, "cgroup2") ? 2 : 1;
        config->hierarchies[config->hierarchy_count++] = (struct hierarchy_config){record->first, record->second};
    }
    return after <= end;
}

int config_read(int fd, struct config *config, struct failure *failure) {
    size_t size = 0;
    for (;;) {
        ssize_t got = read(fd, blob + size, sizeof blob - size);
        if (got < 0) return fail(failure, "read the configuration");
        if (got == 0) break;
        size += (size_t)got;
        if (size == sizeof blob) return fail_with(failure, "read the configuration", E2BIG);
    }
    if (size == 0 || blob[size - 1] != 0) return fail_with(failure, "read the configuration", EINVAL);
    memset(config, 0, sizeof *config);
    config->server = NOBODY_ELSE;
    const char *cursor = blob, *end = blob + size;
    struct step_record record;
    while (cursor < end)
        if (!config_next(&cursor, end, &record) || !apply(config, &record, cursor, end))
            return fail_with(failure, "parse the configuration", EINVAL);
    if (!config->instance || !*config->instance || strlen(config->instance) > 40 || strchr(config->instance, '/') ||
        !config->packages || !config->scratch || config->sandboxes_max == 0)
        return fail_with(failure, "parse the configuration", EINVAL);
    return 0;
}

bool has_controller(const struct hierarchy_config *hierarchy, const char *name) {
    size_t length = strlen(name);
    for (const char *at = hierarchy->controllers; (at = strstr(at, name)) != NULL; at += length) {
        bool starts = at == hierarchy->controllers || at[-1] == ',';
        bool ends = at[length] == 0 || at[length] == ',';
        if (starts && ends) return true;
    }
    return false;
}
