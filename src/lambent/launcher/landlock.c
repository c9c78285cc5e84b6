/* The rules of a confined program: read the image, the code and the layers, write /tmp, connect to one port.
 *
 * Rights are refused by default once they are "handled", so every right that this kernel knows is handled and the rules
 * are the whole list. Not covered, whatever the rules say: stat, chdir, and the permissions of files the user owns. /proc
 * is readable whole, because the directory of a process that does not exist yet cannot be named in a rule; what is secret
 * there (memory, environment, descriptors) asks for ptrace rights, which other users' processes do not give.
 * Numbers are spelled out: the headers of the building machine may be older than the running kernel.
 */
#define _GNU_SOURCE
#include "landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR_CREATE_RULESET 444
#define NR_ADD_RULE 445
#define NR_RESTRICT_SELF 446
#define RULE_PATH 1
#define RULE_PORT 2

#define EXECUTE (1ull << 0)
#define WRITE_FILE (1ull << 1)
#define READ_FILE (1ull << 2)
#define READ_DIR (1ull << 3)
#define TRUNCATE (1ull << 14)
#define IOCTL_DEV (1ull << 15)
#define FOR_FILES (EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV)
#define READABLE (EXECUTE | READ_FILE | READ_DIR)
#define TCP_BIND (1ull << 0)
#define TCP_CONNECT (1ull << 1)
#define SCOPE_ABSTRACT_SOCKETS (1ull << 0)
#define SCOPE_SIGNALS (1ull << 1)

static const char *const DEVICES[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"};

struct ruleset_attributes {
    uint64_t files, network, scopes;
};

int landlock_abi(void) {
    long abi = syscall(NR_CREATE_RULESET, NULL, 0, 1u /* ask for the version */);
    return abi > 0 ? (int)abi : 0;
}

static uint64_t known_file_rights(int abi) {
    static const unsigned char BITS[] = {0, 13, 14, 15, 15, 16}; /* by ABI */
    return (1ull << (abi < 5 ? BITS[abi] : BITS[5])) - 1;
}

static size_t known_size(int abi) { return abi >= LANDLOCK_ABI_SCOPES ? 24 : abi >= LANDLOCK_ABI_NETWORK ? 16 : 8; }

static int allow_descriptor(int ruleset, int descriptor, uint64_t rights) {
    struct {
        uint64_t rights;
        int32_t parent;
    } __attribute__((packed)) rule = {rights, descriptor};
    struct stat found;
    if (fstat(descriptor, &found) == 0 && !S_ISDIR(found.st_mode)) rule.rights &= FOR_FILES;
    return (int)syscall(NR_ADD_RULE, ruleset, RULE_PATH, &rule, 0u);
}

/* What does not exist needs no rule. */
static int allow_path(int ruleset, const char *path, uint64_t rights) {
    int descriptor = open(path, O_PATH | O_CLOEXEC);
    if (descriptor < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    int result = allow_descriptor(ruleset, descriptor, rights);
    int error = errno;
    close(descriptor);
    errno = error;
    return result;
}

static int allow_port(int ruleset, uint16_t port) {
    struct {
        uint64_t rights, port;
    } rule = {TCP_CONNECT, port};
    return (int)syscall(NR_ADD_RULE, ruleset, RULE_PORT, &rule, 0u);
}

static int allow_image(int ruleset, const struct image_config *image) {
    struct step_record record;
    const char *cursor = image->cursor;
    while (cursor < image->end && config_next(&cursor, image->end, &record))
        if (strcmp(record.name, "bind") == 0 && allow_path(ruleset, record.first, READABLE) != 0) return -1;
    return 0;
}

static int allow(int ruleset, const struct landlock_plan *plan, int abi) {
    uint64_t known = known_file_rights(abi);
    if (allow_image(ruleset, plan->image) != 0) return -1;
    for (size_t i = 0; i < 2; i++)
        if (plan->trees[i] >= 0 && allow_descriptor(ruleset, plan->trees[i], READABLE) != 0) return -1;
    for (size_t i = 0; i < sizeof DEVICES / sizeof DEVICES[0]; i++)
        if (allow_path(ruleset, DEVICES[i], (READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV) & known) != 0) return -1;
    if (allow_path(ruleset, "/proc", READ_FILE | READ_DIR) != 0) return -1;
    if (allow_path(ruleset, plan->tmp, known) != 0) return -1;
    return abi >= LANDLOCK_ABI_NETWORK ? allow_port(ruleset, plan->port) : 0;
}

int landlock_rules(const struct landlock_plan *plan, int *rules) {
    *rules = -1;
    int abi = landlock_abi();
    if (abi == 0) return 0;
    struct ruleset_attributes handled = {known_file_rights(abi), TCP_BIND | TCP_CONNECT,
                                         SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS};
    int ruleset = (int)syscall(NR_CREATE_RULESET, &handled, known_size(abi), 0u);
    if (ruleset < 0) return -1;
    if (allow(ruleset, plan, abi) == 0) {
        *rules = ruleset;
        return 0;
    }
    int error = errno;
    close(ruleset);
    errno = error;
    return -1;
}

int landlock_enter(int rules) { return rules < 0 ? 0 : (int)syscall(NR_RESTRICT_SELF, rules, 0u); }
