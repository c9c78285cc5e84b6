/* /tmp on disk: a sparse ext4 image per sandbox, through a loop device, handed over as a detached mount.
 *
 * A tmpfs would be charged to the function's memory limit and kill a 128 MB function at 128 MB of files. Copying and
 * mounting an image takes about 12 ms, so helpers do it ahead and one waits in a pool. The image's name is removed as
 * soon as the loop device holds it, and the device clears itself with its last mount: a crash leaves nothing behind.
 * Nothing is used twice.
 */
#define _GNU_SOURCE
#include "tmpdisk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef LOOP_CONFIGURE /* Linux 5.8; older headers lack it */
#define LOOP_CONFIGURE 0x4C0A
struct loop_config {
    __u32 fd;
    __u32 block_size;
    struct loop_info64 info;
    __u64 reserved[8];
};
#endif

#define HELPERS 4 /* mounting and unmounting mostly wait: with two, create and destroy in turn is a fifth slower */
#define STOP_MS_MAX 3000
#define STOP_PAUSE_NS 500000
#define ATTACH_MS_MAX 3000 /* to get a loop device: whoever asks for a free one is told the same */
#define ATTACH_PAUSE_NS 100000
#define OWN_INODES 10u /* of an empty ext4, its root among them */
#define SET_FLAG 0u
#define SET_STRING 1u
#define CREATE 6u

static pid_t pids[HELPERS];

/* Bytes of an image that has `tmp_mb` to write: on top come the inodes (256 bytes for each 16 KB), what ext4 keeps for
 * its own metadata (a fiftieth, at most 16 MB), bitmaps and descriptors. Measured from 1 MB to 10 GB: 0 to 2 % over. */
static off_t image_bytes(uint32_t tmp_mb) {
    uint32_t kept_mb = tmp_mb / 48 < 16 ? tmp_mb / 48 : 16;
    return (off_t)(tmp_mb + kept_mb + tmp_mb / 64 + tmp_mb / 200 + 2) << 20;
}

static int copy_sparse(int from, int to, off_t size) {
    if (ftruncate(to, size) != 0) return -1;
    for (off_t at = 0; at < size;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0) return errno == ENXIO ? 0 : -1; /* holes to the end */
        off_t hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0) return -1;
        static char buffer[65536];
        for (off_t next = data; next < hole;) {
            size_t piece = (size_t)(hole - next) < sizeof buffer ? (size_t)(hole - next) : sizeof buffer;
            ssize_t got = pread(from, buffer, piece, next);
            if (got <= 0 || pwrite(to, buffer, (size_t)got, next) != got) return -1;
            next += got;
        }
        at = hole;
    }
    return 0;
}

/* A loop device over an open file. Another process may take the free one first, or hold it although it is free (one that
 * looks at new devices, or the kernel, which still lets go of it): ask again. */
static int attach(int file, char device[32]) {
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) return -1;
    int fd = -1;
    int64_t until = now_ms() + ATTACH_MS_MAX;
    for (long tries = 1; fd < 0; tries++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0) break;
        snprintf(device, 32, "/dev/loop%d", number);
        fd = open(device, O_RDWR | O_CLOEXEC);
        if (fd < 0) break;
        struct loop_config config;
        memset(&config, 0, sizeof config);
        config.fd = (__u32)file;
        config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO; /* direct: no second copy in the page cache */
        if (ioctl(fd, LOOP_CONFIGURE, &config) == 0) break;
        if (errno == EINVAL) { /* no direct input and output on this file system */
            config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
            if (ioctl(fd, LOOP_CONFIGURE, &config) == 0) break;
        }
        int error = errno;
        close(fd);
        fd = -1;
        errno = error;
        if (error != EBUSY || now_ms() > until) break;
        nanosleep(&(struct timespec){0, ATTACH_PAUSE_NS * ((getpid() + tries) % 8)}, NULL); /* not all at once again */
    }
    int error = errno;
    close(control);
    errno = error;
    return fd;
}

static int mount_image(int file, struct failure *failure) {
    char device[32];
    int loop = attach(file, device);
    if (loop < 0) return fail(failure, "attach a loop device");
    int fs = sys_fsopen("ext4");
    int mounted = -1;
    if (fs < 0) {
        fail(failure, "open ext4");
    } else if (sys_fsconfig(fs, SET_STRING, "source", device) != 0 ||
               sys_fsconfig(fs, SET_FLAG, "noinit_itable", NULL) != 0 || sys_fsconfig(fs, CREATE, NULL, NULL) != 0) {
        fail(failure, "mount an ext4 image");
    } else if ((mounted = sys_fsmount(fs, ATTR_NOSUID | ATTR_NODEV)) < 0) {
        fail(failure, "mount an ext4 image");
    }
    close_fd(&fs);
    close(loop);
    return mounted;
}

/* By descriptor, not by name: whoever owns a directory above the scratch could put another one in its place. */
static int run_mkfs(const char *mkfs, int file) {
    char path[32];
    if (mkfs == NULL) {
        errno = ENOENT;
        return -1;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    pid_t child = fork();
    if (child == 0) {
        char *const arguments[] = {"mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal,^resize_inode", "-m", "0",
                                   "-i", "16384", "-E", "lazy_itable_init=1,nodiscard,root_owner=0:0", path, NULL};
        char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        if (fcntl(file, F_SETFD, 0) != 0) _exit(126);
        execve(mkfs, arguments, environment);
        _exit(127);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child) return -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
    errno = EIO; /* it ran, and failed; its own words went to /dev/null */
    return -1;
}

/* The template of one size, made on first use: an empty file system whose root is like /tmp. */
static int open_template(const struct config *config, int scratch, uint32_t tmp_mb, struct failure *failure) {
    char name[64], half[72];
    snprintf(name, sizeof name, "template-%u.ext4", tmp_mb);
    int lock = openat(scratch, "template.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) != 0) return fail(failure, "lock the templates");
    int file = openat(scratch, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) {
        snprintf(half, sizeof half, "%s.new", name);
        int made = openat(scratch, half, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        int mounted = -1, inside = -1;
        if (made < 0 || ftruncate(made, image_bytes(tmp_mb)) != 0) {
            fail(failure, "make a template");
        } else if (run_mkfs(config->mkfs, made) != 0) {
            fail(failure, "run mke2fs");
        } else if ((mounted = mount_image(made, failure)) >= 0) {
            inside = openat(mounted, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (inside < 0 || fchmod(inside, 01777) != 0 ||
                (unlinkat(inside, "lost+found", AT_REMOVEDIR) != 0 && errno != ENOENT))
                fail(failure, "prepare a template");
            close_fd(&inside);
            close_fd(&mounted); /* the last reference: unmounted and written back here */
            if (failure->error == 0 && (fsync(made) != 0 || renameat(scratch, half, scratch, name) != 0))
                fail(failure, "keep a template");
        }
        close_fd(&made);
        if (failure->error == 0) file = openat(scratch, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        else unlinkat(scratch, half, 0);
    }
    close(lock);
    return file;
}

static int make_one(const struct config *config, int scratch, uint32_t tmp_mb, struct failure *failure) {
    int template = open_template(config, scratch, tmp_mb, failure);
    if (template < 0) return -1;
    int file = openat(scratch, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600); /* never had a name */
    int mounted = -1;
    if (file < 0 || copy_sparse(template, file, image_bytes(tmp_mb)) != 0)
        fail(failure, "copy a template");
    else
        mounted = mount_image(file, failure);
    close_fd(&file);
    close(template);
    return mounted;
}

/* To shut another file system down would end the machine: looked at twice. */
static bool is_image(int directory) {
    struct stat facts;
    return fstat(directory, &facts) == 0 && major(facts.st_dev) == LOOP_MAJOR;
}

/* Whether a function left files, or so it seems. */
static bool holds_files(int mount) {
    struct statfs facts;
    return fstatfs(mount, &facts) != 0 || facts.f_files - facts.f_ffree > OWN_INODES;
}

/* The last reference of an image nobody will read again: without the shutdown everything a function left in /tmp would
 * first be written to disk. Where it left nothing there is nothing to write, and the kernel need not report an alert on the
 * machine's console, which takes it a third of a millisecond where that is a serial line. */
static void discard(int mount) {
    uint32_t without_flushing = 2;
    int inside = holds_files(mount) ? openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (inside >= 0 && is_image(inside)) ioctl(inside, _IOR('X', 125, uint32_t) /* EXT4_IOC_SHUTDOWN */, &without_flushing);
    close_fd(&inside);
    close(mount);
}

static _Noreturn void helper(const struct config *config, int socket) {
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    keep_only(&socket, 1);
    /* Before the drop: the scratch is root's own, but the directories above it are the server's and closed to others. */
    int scratch = open(config->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Mounting and loop devices ask for SYS_ADMIN alone; no_new_privs keeps mke2fs from getting root's others back. */
    if (sys_capset(1ull << CAP_SYS_ADMIN) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(1);
    prctl(PR_SET_NAME, "lambent-tmp", 0, 0, 0);
    for (;;) {
        uint32_t tmp_mb;
        int used;
        size_t count;
        if (receive_message(socket, &tmp_mb, sizeof tmp_mb, &used, 1, &count) != (ssize_t)sizeof tmp_mb) _exit(0);
        if (count > 0) {
            struct tmp_ready done = {.tmp_mb = 0};
            discard(used);
            if (send_message(socket, &done, sizeof done, NULL, 0) != 0) _exit(0);
            continue;
        }
        struct failure failure = {"", 0};
        int mounted = make_one(config, scratch, tmp_mb, &failure);
        struct tmp_ready ready = {.tmp_mb = tmp_mb, .error = mounted < 0 ? failure.error : 0};
        snprintf(ready.step, sizeof ready.step, "%s", failure.step);
        if (send_message(socket, &ready, sizeof ready, &mounted, mounted >= 0) != 0) _exit(0);
        close_fd(&mounted);
    }
}

int tmpdisk_start(const struct config *config, struct failure *failure) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return fail(failure, "make a socket");
    for (int i = 0; i < HELPERS; i++) {
        pid_t child = fork();
        if (child < 0) return fail(failure, "fork a helper");
        if (child == 0) helper(config, pair[1]);
        pids[i] = child;
    }
    close(pair[1]);
    return pair[0];
}

/* Helpers wait until their answers are read; were they waited for, too, all would wait for ever. */
int tmpdisk_ask(int helpers, uint32_t tmp_mb) { return offer_message(helpers, &tmp_mb, sizeof tmp_mb, NULL, 0); }

int tmpdisk_release(int helpers, int mount) {
    uint32_t nothing = 0;
    return offer_message(helpers, &nothing, sizeof nothing, &mount, 1);
}

int tmpdisk_release_by(int helpers, int mount, int64_t until_ms) {
    while (tmpdisk_release(helpers, mount) != 0) {
        int64_t left_ms = until_ms - now_ms();
        struct pollfd either = {helpers, POLLIN | POLLOUT, 0};
        if (errno != EAGAIN || left_ms <= 0 || poll(&either, 1, (int)left_ms) < 0) return -1;
        struct tmp_ready ready;
        int made = -1;
        if (either.revents & POLLIN && tmpdisk_take(helpers, &ready, &made) < 0) return -1;
        close_fd(&made);
    }
    return 0;
}

int tmpdisk_take(int helpers, struct tmp_ready *ready, int *mount) {
    size_t count;
    ssize_t got = receive_message(helpers, ready, sizeof *ready, mount, 1, &count);
    if (count == 0) *mount = -1;
    if (got == (ssize_t)sizeof *ready) return 1;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

void tmpdisk_stop(int *helpers) {
    if (*helpers < 0) return;
    close_fd(helpers); /* they read what is left, then the end */
    int64_t until = now_ms() + STOP_MS_MAX;
    for (int i = 0; i < HELPERS; i++) {
        while (waitpid(pids[i], NULL, WNOHANG) == 0) {
            if (now_ms() > until) kill(pids[i], SIGKILL);
            nanosleep(&(struct timespec){0, STOP_PAUSE_NS}, NULL);
        }
    }
}

void tmpdisk_clean(const struct config *config) {
    int scratch = open(config->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (scratch < 0) return;
    unlinkat(scratch, "template.lock", 0);
    close(scratch);
}
