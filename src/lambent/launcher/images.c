/* Root images, each as a mount namespace of its own.
 *
 * An image is a small tmpfs with the directories, links and generated files of a minimal system, and read-only clones
 * of the host's directories. It is built once, pivoted into and kept as a namespace descriptor. A sandbox enters it and
 * copies it (setns, unshare): the root is in place at once, no clone of a tree, no pivot_root, and only this image's
 * mounts are copied, never the host's table. Rejected: a tree in the spawner's own namespace, cloned per sandbox (every
 * sandbox copies all images and the host's mounts and tears them down again; 200 us and a tail to 6 ms).
 */
#define _GNU_SOURCE
#include "images.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define IN_ROOT 0x10u /* RESOLVE_IN_ROOT: links inside the image lead nowhere else */
#define NO_MAGIC 0x02u
#define EMPTY "/var/empty"

static struct {
    char name[IMAGE_NAME_MAX];
    int mounts;
} images[IMAGES_MAX];
static uint32_t image_count;

int image_find(const char name[IMAGE_NAME_MAX]) {
    for (uint32_t i = 0; i < image_count; i++)
        if (memcmp(images[i].name, name, IMAGE_NAME_MAX) == 0) return images[i].mounts;
    return -1;
}

/* mkdir -p inside the root; a directory that exists (also through a link or a mount) is fine. */
static int make_directories(int root, const char *path, bool is_file) {
    char copy[4096];
    size_t length = strlen(path);
    if (path[0] != '/' || length >= sizeof copy) return errno = EINVAL, -1;
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        if (path[i] == 0 && is_file) break;
        memcpy(copy, path, i);
        copy[i] = 0;
        int there = sys_openat2(root, copy, O_PATH | O_CLOEXEC, IN_ROOT | NO_MAGIC);
        if (there >= 0) {
            close(there);
            continue;
        }
        char *slash = strrchr(copy, '/');
        *slash = 0;
        int parent = slash == copy ? dup(root) : sys_openat2(root, copy, O_PATH | O_DIRECTORY | O_CLOEXEC, IN_ROOT);
        if (parent < 0) return -1;
        int made = mkdirat(parent, slash + 1, 0755);
        close(parent);
        if (made != 0 && errno != EEXIST) return -1;
    }
    return 0;
}

static int parent_of(int root, const char *path, const char **last) {
    if (make_directories(root, path, true) != 0) return -1;
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", path);
    char *slash = strrchr(copy, '/');
    *last = path + (slash - copy) + 1;
    *slash = 0;
    return slash == copy ? fcntl(root, F_DUPFD_CLOEXEC, 3)
                         : sys_openat2(root, copy, O_PATH | O_DIRECTORY | O_CLOEXEC, IN_ROOT | NO_MAGIC);
}

static int write_file(int root, const char *path, const char *content) {
    const char *last;
    int parent = parent_of(root, path, &last);
    if (parent < 0) return -1;
    int fd = openat(parent, last, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    close(parent);
    if (fd < 0) return -1;
    size_t size = strlen(content);
    ssize_t written = write(fd, content, size);
    close(fd);
    return written == (ssize_t)size ? 0 : -1;
}

static int make_link(int root, const char *path, const char *target) {
    const char *last;
    int parent = parent_of(root, path, &last);
    if (parent < 0) return -1;
    int result = symlinkat(target, parent, last);
    close(parent);
    return result;
}

/* A read-only clone of a host path onto the same kind of object inside; the target is made if it can be. */
static int bind_host(int root, const char *source, const char *target) {
    struct stat kind;
    if (stat(source, &kind) != 0) return -1;
    if (make_directories(root, target, !S_ISDIR(kind.st_mode)) != 0) return -1;
    int at = sys_openat2(root, target, O_PATH | O_CLOEXEC, IN_ROOT | NO_MAGIC);
    if (at < 0 && !S_ISDIR(kind.st_mode)) {
        if (write_file(root, target, "") != 0) return -1;
        at = sys_openat2(root, target, O_PATH | O_CLOEXEC, IN_ROOT | NO_MAGIC);
    }
    if (at < 0) return -1;
    int tree = sys_open_tree(AT_FDCWD, source, TREE_CLONE | 0x8000u);
    int result = tree < 0 ? -1 : sys_mount_setattr(tree, "", AT_EMPTY_PATH | 0x8000u,
                                                   ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV, 0);
    if (result == 0) result = sys_move_mount(tree, "", at, "", 0x44u /* F_EMPTY_PATH | T_EMPTY_PATH */);
    int error = errno;
    if (tree >= 0) close(tree);
    close(at);
    errno = error;
    return result;
}

static int bind_empty(int root, const char *target) {
    int at = sys_openat2(root, target, O_PATH | O_DIRECTORY | O_CLOEXEC, IN_ROOT | NO_MAGIC);
    if (at < 0) return errno == ENOENT ? 0 : -1; /* nothing there to hide */
    int source = sys_openat2(root, EMPTY, O_PATH | O_DIRECTORY | O_CLOEXEC, IN_ROOT | NO_MAGIC);
    int tree = source < 0 ? -1 : sys_open_tree(source, "", TREE_CLONE | (unsigned)AT_EMPTY_PATH);
    int result = tree < 0 ? -1 : sys_mount_setattr(tree, "", AT_EMPTY_PATH, ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV, 0);
    if (result == 0) result = sys_move_mount(tree, "", at, "", 0x44u);
    int error = errno;
    if (tree >= 0) close(tree);
    if (source >= 0) close(source);
    close(at);
    errno = error;
    return result;
}

/* /dev: a tmpfs of its own with five devices and the links to descriptors; no shm, no terminals. */
static int make_devices(struct failure *failure) {
    static const struct {
        const char *name;
        unsigned minor;
    } DEVICES[] = {{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}};
    if (mount("dev", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,nr_inodes=32,mode=755") != 0)
        return fail(failure, "mount the devices");
    for (size_t i = 0; i < sizeof DEVICES / sizeof DEVICES[0]; i++) {
        char path[32], host[32];
        snprintf(path, sizeof path, "dev/%s", DEVICES[i].name);
        snprintf(host, sizeof host, "/dev/%s", DEVICES[i].name);
        if (mknod(path, S_IFCHR | 0666, makedev(1, DEVICES[i].minor)) == 0) {
            if (chmod(path, 0666) != 0) return fail(failure, "make a device");
            continue;
        }
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666); /* rootless: no mknod, the host's node is bound */
        if (fd < 0) return fail(failure, "make a device");
        close(fd);
        if (mount(host, path, NULL, MS_BIND, NULL) != 0) return fail(failure, "bind a device");
    }
    if (symlink("/proc/self/fd", "dev/fd") != 0 || symlink("/proc/self/fd/0", "dev/stdin") != 0 ||
        symlink("/proc/self/fd/1", "dev/stdout") != 0 || symlink("/proc/self/fd/2", "dev/stderr") != 0)
        return fail(failure, "link the descriptors");
    if (sys_mount_setattr(AT_FDCWD, "dev", 0, ATTR_RDONLY | ATTR_NOSUID | ATTR_NOEXEC, 0) != 0)
        return fail(failure, "make the devices read-only");
    return 0;
}

static int apply_steps(const struct image_config *image, int root, struct failure *failure) {
    const char *cursor = image->cursor;
    struct step_record record;
    while (cursor < image->end && config_next(&cursor, image->end, &record)) {
        int result = -1;
        if (!strcmp(record.name, "dir")) result = make_directories(root, record.first, false);
        if (!strcmp(record.name, "link")) result = make_link(root, record.first, record.second);
        if (!strcmp(record.name, "file")) result = write_file(root, record.first, record.second);
        if (!strcmp(record.name, "bind")) result = bind_host(root, record.first, record.second);
        if (!strcmp(record.name, "mask")) result = bind_empty(root, record.first);
        if (result != 0) {
            fprintf(stderr, "lambent-launcher: image %s: %s %s %s: %s\n", image->name, record.name, record.first,
                    !strcmp(record.name, "file") ? "" : record.second, strerror(errno));
            return fail(failure, "build an image");
        }
    }
    return 0;
}

static int build_image(const struct config *config, const struct image_config *image, struct failure *failure) {
    if (unshare(CLONE_NEWNS) != 0) return fail(failure, "unshare for an image");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return fail(failure, "make mounts private");
    if (mount("root", config->scratch, "tmpfs", MS_NOSUID | MS_NODEV, "size=4m,nr_inodes=4096,mode=755") != 0)
        return fail(failure, "mount an image's root");
    if (chdir(config->scratch) != 0) return fail(failure, "enter an image's root");
    int root = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    /* The two of libraries: a program that waits for its code has looked there for some, and the dynamic linker never looks
     * again where it found no directory. */
    static const char *const BASE[] = {"/dev", "/proc", "/tmp", "/var/task/lib", "/opt/lib", "/var/runtime", "/var/lang", EMPTY};
    for (size_t i = 0; i < sizeof BASE / sizeof BASE[0]; i++)
        if (make_directories(root, BASE[i], false) != 0) return fail(failure, "make an image's directories");
    if (make_devices(failure) != 0 || apply_steps(image, root, failure) != 0) return -1;
    /* A user namespace may mount proc only where a complete one is visible: it stays as a decoy under the real one. */
    if (config->rootless && clone_onto("/proc", "proc", 0, true) != 0) return fail(failure, "keep proc visible");
    close(root);
    if (sys_pivot_root(".", ".") != 0) return fail(failure, "pivot into an image");
    if (umount2(".", MNT_DETACH) != 0) return fail(failure, "leave the host's root");
    if (chdir("/") != 0) return fail(failure, "enter an image's root");
    if (sys_mount_setattr(AT_FDCWD, "/", 0, ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV, 0) != 0)
        return fail(failure, "make an image read-only");
    return 0;
}

/* In a child, because a namespace can only be left by those who have another to go back to; the parent takes the
 * descriptor while the child waits. */
static int keep_image(const struct config *config, const struct image_config *image, struct failure *failure) {
    int told[2], wait_for[2];
    if (pipe2(told, O_CLOEXEC) != 0 || pipe2(wait_for, O_CLOEXEC) != 0) return fail(failure, "make a pipe");
    pid_t child = fork();
    if (child < 0) return fail(failure, "fork for an image");
    if (child == 0) {
        struct failure inner = {"", 0};
        char note[STEP_MAX + sizeof(int)] = {0};
        close(wait_for[1]);
        int result = build_image(config, image, &inner);
        if (result != 0) snprintf(note + sizeof(int), STEP_MAX, "%s", inner.step);
        memcpy(note, &inner.error, sizeof(int));
        if (write(told[1], note, sizeof note) != (ssize_t)sizeof note) _exit(1);
        _exit(read(wait_for[0], note, 1) == 0 ? 0 : 1);
    }
    close(told[1]);
    close(wait_for[0]);
    static char note[STEP_MAX + sizeof(int)];
    int mounts = -1, error = EIO;
    if (read(told[0], note, sizeof note) == (ssize_t)sizeof note) {
        memcpy(&error, note, sizeof error);
        char link[64];
        snprintf(link, sizeof link, "/proc/%d/ns/mnt", child);
        if (error == 0 && (mounts = open(link, O_RDONLY | O_CLOEXEC)) < 0) error = errno;
    }
    close(told[0]);
    close(wait_for[1]);
    waitpid(child, NULL, 0);
    if (mounts < 0) return fail_with(failure, note[sizeof(int)] ? note + sizeof(int) : "keep an image", error);
    snprintf(images[image_count].name, IMAGE_NAME_MAX, "%s", image->name);
    images[image_count++].mounts = mounts;
    return 0;
}

int images_build(const struct config *config, struct failure *failure) {
    for (uint32_t i = 0; i < config->image_count; i++)
        if (keep_image(config, &config->images[i], failure) != 0) return -1;
    return 0;
}
