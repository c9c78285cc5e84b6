/* The end of what runs as one user: nobody can outrun it, and nobody else is hit.
 *
 * kill(-1) reaches, in one step of the kernel, every process that the caller may signal; a fork under way is either
 * before it, and hit, or after it, and refused because its parent has a signal to take. So the caller must be somebody
 * who may signal the function's processes and no others, and whom they may not signal first: effective user the
 * function's, real and saved user its partner's (one less), no capability.
 */
#define _GNU_SOURCE
#include "confined.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "landlock.h"

#define TMP_DEPTH_MAX 200u
#define END_MS_MAX 3000
#define PAUSE_NS 2000000

static _Noreturn void kill_as(uint32_t user, pid_t whom, int number) {
    uint32_t partner = user - 1;
    uid_t real, effective, saved;
    if (user < 2 || setgroups(0, NULL) != 0 || setresgid(partner, partner, partner) != 0 ||
        setresuid(partner, user, partner) != 0 || sys_capset(0) != 0)
        _exit(3);
    /* Signalling "everybody" as somebody else would end the machine: looked at twice. */
    if (getresuid(&real, &effective, &saved) != 0 || real != partner || effective != user || saved != partner) _exit(3);
    /* Of everybody it answers 0 whether it met anybody or not. */
    _exit(kill(whom, number) == 0 || whom == -1 ? 0 : 4);
}

int confined_kill_some(uint32_t user, pid_t whom, int number) {
    pid_t pid = fork();
    if (pid < 0) return -1;
    if (pid == 0) kill_as(user, whom, number);
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
    errno = EPERM;
    return -1;
}

int confined_kill(uint32_t user) { return confined_kill_some(user, -1, SIGKILL); }

static int open_directory(int parent, const char *name) {
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static DIR *list_of(int directory) {
    int own = open_directory(directory, ".");
    DIR *list = own < 0 ? NULL : fdopendir(own);
    if (!list && own >= 0) close(own);
    return list;
}

static bool is_dots(const char *name) { return !strcmp(name, ".") || !strcmp(name, ".."); }

/* Remove what is in `directory`; answers the first directory in it that is not empty, opened, -1 if there is none, or -2. */
static int clear_level(int directory) {
    DIR *list = list_of(directory);
    if (!list) return -2;
    int deeper = -1;
    const struct dirent *entry;
    while (deeper == -1 && (entry = readdir(list)) != NULL) {
        const char *name = entry->d_name;
        if (is_dots(name) || unlinkat(directory, name, 0) == 0 || errno == ENOENT) continue;
        if ((errno == EISDIR || errno == EPERM) && (unlinkat(directory, name, AT_REMOVEDIR) == 0 || errno == ENOENT))
            continue;
        deeper = open_directory(directory, name);
        if (deeper < 0) deeper = errno == ENOENT ? -1 : -2;
    }
    closedir(list);
    return deeper;
}

/* Level by level with one descriptor, however deep it is; nobody is left who could move a directory meanwhile. */
int confined_empty(int parent, const char *name) {
    int at = open_directory(parent, name);
    if (at < 0) return errno == ENOENT ? 0 : -1;
    for (unsigned long depth = 0;;) {
        int next = clear_level(at);
        if (next == -2 || (next == -1 && depth == 0)) {
            close(at);
            return next == -1 && (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT) ? 0 : -1;
        }
        if (next >= 0)
            depth++;
        else if (depth--, (next = open_directory(at, "..")) < 0)
            return close(at), -1;
        close(at);
        at = next;
    }
}

uint64_t confined_used(int directory, unsigned depth) {
    if (depth > TMP_DEPTH_MAX) return UINT64_MAX / 2; /* nested to hide: over every limit */
    DIR *list = list_of(directory);
    if (!list) return 0; /* removed meanwhile */
    uint64_t bytes = 0;
    const struct dirent *entry;
    while ((entry = readdir(list)) != NULL && bytes < UINT64_MAX / 2) {
        struct stat found;
        if (is_dots(entry->d_name) || fstatat(directory, entry->d_name, &found, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (S_ISDIR(found.st_mode)) {
            int deeper = open_directory(directory, entry->d_name);
            if (deeper >= 0) bytes += confined_used(deeper, depth + 1);
            close_fd(&deeper);
        }
        bytes += (uint64_t)found.st_blocks * 512u / (found.st_nlink > 0 && !S_ISDIR(found.st_mode) ? found.st_nlink : 1u);
    }
    closedir(list);
    return bytes;
}

/* Without landlock a function writes where everybody may, and the next one with its user id would find it. */
void confined_empty_shared(uint32_t user) {
    static const char *const SHARED[] = {"/tmp", "/var/tmp", "/dev/shm", "/run/lock"};
    for (size_t i = 0; i < sizeof SHARED / sizeof SHARED[0]; i++) {
        int directory = open(SHARED[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *list = directory < 0 ? NULL : list_of(directory);
        const struct dirent *entry;
        while (list && (entry = readdir(list)) != NULL) {
            struct stat found;
            if (is_dots(entry->d_name) || fstatat(directory, entry->d_name, &found, AT_SYMLINK_NOFOLLOW) != 0 ||
                found.st_uid != user)
                continue;
            if (S_ISDIR(found.st_mode))
                confined_empty(directory, entry->d_name);
            else
                unlinkat(directory, entry->d_name, 0);
        }
        if (list) closedir(list);
        close_fd(&directory);
    }
}

/* The user of a process as the kernel tells everybody; the owner of its directory would be root for one that hides. */
static uint32_t user_of(const char *pid) {
    char path[64], text[2048];
    snprintf(path, sizeof path, "/proc/%.20s/status", pid);
    if (read_at(AT_FDCWD, path, text, sizeof text) <= 0) return 0;
    const char *state = strstr(text, "\nState:\t"), *user = strstr(text, "\nUid:\t");
    if (!user || (state && state[8] == 'Z')) return 0;
    return (uint32_t)strtoul(user + 6, NULL, 10);
}

bool confined_lives(uint32_t user) {
    DIR *list = opendir("/proc");
    bool found = !list;
    const struct dirent *entry;
    while (!found && (entry = readdir(list)) != NULL)
        found = entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && user_of(entry->d_name) == user;
    if (list) closedir(list);
    return found;
}

/* The directory of a sandbox stands for as long as something of it may live, and its name leads to its user. */
static void end_of(const struct config *config, int scratch, const char *name) {
    uint64_t slot = (strtoull(name + 2, NULL, 16) & 0xFFFFFFFFu) - 1;
    if (slot >= config->sandboxes_max) return;
    uint32_t user = config->ids_base + (uint32_t)slot * config->ids_stride + 1;
    int64_t until = now_ms() + END_MS_MAX;
    do {
        confined_kill(user);
        if (!confined_lives(user)) break;
        nanosleep(&(struct timespec){0, PAUSE_NS}, NULL);
    } while (now_ms() < until);
    if (landlock_abi() == 0) confined_empty_shared(user);
    confined_empty(scratch, name);
}

/* End every sandbox there is; how many there were. */
static unsigned end_each(const struct config *config, bool only_look) {
    int scratch = open(config->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *list = scratch < 0 ? NULL : list_of(scratch);
    unsigned found = 0;
    const struct dirent *entry;
    while (list && (entry = readdir(list)) != NULL) {
        if (strncmp(entry->d_name, "s-", 2) != 0) continue;
        found++;
        if (!only_look) end_of(config, scratch, entry->d_name);
    }
    if (list) closedir(list);
    close_fd(&scratch);
    return found;
}

void confined_sweep(const struct config *config, unsigned grace_ms) {
    int64_t until = now_ms() + grace_ms;
    while (end_each(config, true) > 0 && now_ms() < until) nanosleep(&(struct timespec){0, PAUSE_NS}, NULL);
    end_each(config, false);
}
