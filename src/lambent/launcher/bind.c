/* Code into a blank: trees are cloned in the spawner's mount namespace and moved onto mount points kept open since the
 * sandbox was built, so no path is ever resolved inside it. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "init.h"
#include "spawner.h"

#define BENEATH_NO_LINKS (0x08u | 0x04u | 0x02u) /* RESOLVE_BENEATH | NO_SYMLINKS | NO_MAGICLINKS */
#define ONTO (0x4u | 0x40u)                      /* MOVE_MOUNT_F_EMPTY_PATH | T_EMPTY_PATH */

static bool is_digest(const char text[DIGEST_CHARS]) {
    for (int i = 0; i < DIGEST_CHARS; i++)
        if (!isdigit((unsigned char)text[i]) && !(text[i] >= 'a' && text[i] <= 'f')) return false;
    return true;
}

int package_open(int packages, const char digest[DIGEST_CHARS]) {
    char path[DIGEST_CHARS + 8];
    snprintf(path, sizeof path, "%.*s/tree", DIGEST_CHARS, digest);
    return sys_openat2(packages, path, O_PATH | O_DIRECTORY | O_CLOEXEC, BENEATH_NO_LINKS);
}

static int find_package(struct spawner *spawner, const char digest[DIGEST_CHARS], struct failure *failure) {
    if (!is_digest(digest)) return fail_with(failure, "read the digest", EINVAL);
    int directory = package_open(spawner->packages, digest);
    return directory < 0 ? fail(failure, "open the package") : directory;
}

/* Confined: nothing is mounted, the trees are named to whoever starts a program. */
static int find_packages(struct spawner *spawner, const struct request *request, struct failure *failure) {
    const struct {
        uint32_t flag;
        const char *digest;
    } wanted[] = {{REQUEST_HAS_TASK, request->task}, {REQUEST_HAS_OPT, request->opt}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        int found = request->flags & wanted[i].flag ? find_package(spawner, wanted[i].digest, failure) : -1;
        if (request->flags & wanted[i].flag && found < 0) return -1;
        close_fd(&found);
    }
    return 0;
}

static int open_package(struct spawner *spawner, const char digest[DIGEST_CHARS], struct failure *failure) {
    int directory = find_package(spawner, digest, failure);
    if (directory < 0) return -1;
    int tree = sys_open_tree(directory, "", TREE_CLONE | (unsigned)AT_EMPTY_PATH);
    int error = errno;
    close(directory);
    errno = error;
    if (tree < 0) return fail(failure, "clone the package's tree");
    if (sys_mount_setattr(tree, "", AT_EMPTY_PATH, ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV, 0) == 0) return tree;
    fail(failure, "make the package read-only");
    close(tree);
    return -1;
}

static int resize_tmpfs(uint32_t tmp_mb) {
    char options[64];
    snprintf(options, sizeof options, "size=%um", tmp_mb);
    return mount(NULL, "/tmp", NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, options);
}

int bind_trees(struct spawner *spawner, struct sandbox *sandbox, const struct request *request, int tmp,
               struct failure *failure) {
    if (spawner->config.confined) return find_packages(spawner, request, failure);
    int task = -1, opt = -1, result = 0;
    bool resize = !spawner->config.tmp_disk && request->limits.tmp_mb != sandbox->limits.tmp_mb;
    if (request->flags & REQUEST_HAS_TASK && (task = open_package(spawner, request->task, failure)) < 0) return -1;
    if (request->flags & REQUEST_HAS_OPT && (opt = open_package(spawner, request->opt, failure)) < 0) {
        close_fd(&task);
        return -1;
    }
    if (task >= 0 || opt >= 0 || tmp >= 0 || resize) {
        if (setns(sandbox->mounts, CLONE_NEWNS) != 0) {
            result = fail(failure, "enter the sandbox's mounts");
        } else {
            if (task >= 0 && sys_move_mount(task, "", sandbox->task, "", ONTO) != 0)
                result = fail(failure, "mount the code");
            if (result == 0 && opt >= 0 && sys_move_mount(opt, "", sandbox->opt, "", ONTO) != 0)
                result = fail(failure, "mount the layers");
            if (result == 0 && tmp >= 0 && sys_move_mount(tmp, "", sandbox->tmp, "", ONTO) != 0)
                result = fail(failure, "mount /tmp");
            if (result == 0 && resize && resize_tmpfs(request->limits.tmp_mb) != 0)
                result = fail(failure, "resize /tmp");
            /* Serving the next request from inside a sandbox would be the end of all isolation. */
            if (setns(spawner->own_mounts, CLONE_NEWNS) != 0) {
                perror("lambent-launcher: no way back from a sandbox");
                abort();
            }
        }
    }
    close_fd(&task);
    close_fd(&opt);
    return result;
}
