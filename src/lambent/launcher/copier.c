/* See copier.h. */
#define _GNU_SOURCE
#include "copier.h"

#include <ctype.h>
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "copyblob.h"

#if !defined(__x86_64__)

bool copier_is_possible(void) { return false; }
_Noreturn void copier_main(const struct copier_start *start) {
    (void)start;
    _exit(2);
}

#else

#define NR_PIDFD_GETFD 438
#define PR_TID_ADDRESS 40
#define TID_BEFORE_ROBUST 16u /* glibc on 64 bits, since 2.4: tid, an unused word, the list's back pointer, its head */
#define RESTART_FIRST 512 /* ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND; ERESTART_RESTARTBLOCK is 516 */
#define RESTART_BLOCK 516
#define SYSCALL_BYTES 0x050f
#define CODE_BYTES 4096u
#define PLACE_BYTES (CODE_BYTES + 16384u) /* the code, the argument, a stack */
#define LONGEST_S 5
#define STRAY_SIGNALS_MAX 128 /* pending ones; a signal number waits once, those of real time more often */

/* The filter is suspended only once no instruction of the function's can run any more. */
enum {
    SEIZED_OPTIONS = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL,
    HELD_OPTIONS = SEIZED_OPTIONS | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                   PTRACE_O_SUSPEND_SECCOMP
};

#define CLEAN_FLAGS 0x202ul /* interrupts on, as always; no single step, no direction */
#define CODE_SEGMENT 0x33u /* of 64-bit code: ours means something else in any other */
#define GET_RSEQ_CONFIGURATION 0x420f

struct rseq_configuration {
    uint64_t pointer;
    uint32_t size, signature, flags, pad;
};

struct template {
    const struct copier_start *start;
    pid_t pid;
    int memory;  /* /proc/PID/mem */
    int socket;  /* our end */
    uint64_t call; /* where it has a system call instruction */
    uint64_t place;
    int descriptors; /* how many it has of its own */
    struct user_regs_struct parked;
    struct blob_argument argument;
};

bool copier_is_possible(void) {
    if (__stop_lambent_blob - __start_lambent_blob > (long)CODE_BYTES) return false;
    pid_t pid = fork();
    if (pid == 0)
        for (;;) pause();
    if (pid < 0) return false;
    struct rseq_configuration rseq;
    int status;
    bool possible = ptrace(PTRACE_SEIZE, pid, NULL, HELD_OPTIONS) == 0 && ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0 &&
                    waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status) &&
                    ptrace(GET_RSEQ_CONFIGURATION, pid, sizeof rseq, &rseq) > 0;
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) continue;
    return possible;
}

/* ---- by ptrace ---- */

static int registers(pid_t pid, struct user_regs_struct *to) { return (int)ptrace(PTRACE_GETREGS, pid, NULL, to); }
static int set_registers(pid_t pid, struct user_regs_struct *from) { return (int)ptrace(PTRACE_SETREGS, pid, NULL, from); }

static bool is_call_stop(int status) { return WSTOPSIG(status) == (SIGTRAP | 0x80); }

/* Run until the next stop. A signal that it stopped for is not delivered. */
static int resume(pid_t pid, int *status) {
    if (ptrace(PTRACE_SYSCALL, pid, NULL, 0) != 0 || waitpid(pid, status, __WALL) != pid) return -1;
    return WIFSTOPPED(*status) ? 0 : (errno = ESRCH, -1);
}

/* One system call in a process that stands still; its registers are left as they come. Nothing but that one instruction is
 * run: whatever else it stops for (a signal that was pending; a trap that the function has laid for its own system calls) is
 * seen before the next instruction, and if it does not stand where we put it any more, that is the end. */
static int inject(pid_t pid, uint64_t call, const struct user_regs_struct *as, long number, const uint64_t arguments[6],
                  int64_t *result) {
    struct user_regs_struct now = *as;
    int status;
    now.rip = call;
    now.rax = (uint64_t)number;
    now.orig_rax = (uint64_t)-1; /* the kernel is not to restart what was interrupted */
    now.rdi = arguments[0];
    now.rsi = arguments[1];
    now.rdx = arguments[2];
    now.r10 = arguments[3];
    now.r8 = arguments[4];
    now.r9 = arguments[5];
    now.eflags = CLEAN_FLAGS;
    if (set_registers(pid, &now) != 0) return -1;
    for (int tries = 0;; tries++) {
        if (tries == STRAY_SIGNALS_MAX) return errno = ELOOP, -1;
        if (resume(pid, &status) != 0) return -1;
        if (is_call_stop(status)) break;
        if (registers(pid, &now) != 0) return -1;
        if (now.rip != call) return errno = EFAULT, -1;
    }
    if (registers(pid, &now) != 0) return -1;
    if (now.rip != call + 2 || now.orig_rax != (uint64_t)number) return errno = EFAULT, -1;
    if (resume(pid, &status) != 0) return -1;
    if (!is_call_stop(status) || registers(pid, &now) != 0) return errno = EFAULT, -1;
    *result = (int64_t)now.rax;
    return 0;
}

static int in_template(struct template *template, const char *step, long number, const uint64_t arguments[6],
                       int64_t *result, struct failure *failure) {
    if (inject(template->pid, template->call, &template->parked, number, arguments, result) != 0)
        return fail(failure, step);
    return *result < 0 && *result > -4096 ? fail_with(failure, step, (int)-*result) : 0;
}

/* ---- what a template may not have ---- */

/* Its /proc files are its user's, or root's when it hides; we have no capability to read over that. */
static void look_as(uint32_t user) {
    setfsgid(user);
    setfsuid(user);
}

static int open_its(pid_t pid, uint32_t user, const char *what, int flags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, what);
    look_as(user);
    int fd = open(path, flags | O_CLOEXEC);
    int error = errno;
    look_as(0);
    if (fd < 0 && error == EACCES) return open(path, flags | O_CLOEXEC);
    errno = error;
    return fd;
}

static int read_text(const char *path, char *text, size_t size) { return read_at(AT_FDCWD, path, text, size) >= 0 ? 0 : -1; }

/* Its pid 1 and itself, each with one thread: read from its control group, which nobody in it can leave. */
static int find(const struct copier_start *start, pid_t *found, int *others, struct failure *failure) {
    char text[4096];
    const struct groups *groups = start->groups;
    const char *file = groups->version == 1 ? "tasks" : "cgroup.threads";
    if (groups->count == 0) return fail_with(failure, "find control groups", EOPNOTSUPP);
    if (group_read(groups->at[0].fd, start->group, file, text, sizeof text) <= 0) return fail(failure, "find its processes");
    *found = 0;
    *others = -1;
    for (char *at = text, *next; *at; at = next) {
        long pid = strtol(at, &next, 10);
        if (next == at) break;
        if (pid == start->init) continue;
        ++*others;
        if (*found == 0) *found = (pid_t)pid;
    }
    if (*found == 0) return fail_with(failure, "find its processes", ESRCH);
    return *others == 0 ? 0 : fail_with(failure, "threads or processes", EBUSY);
}

static bool is_harmless_device(const struct stat *kind) { /* null, zero, full, random, urandom */
    unsigned minor_number = minor(kind->st_rdev);
    return S_ISCHR(kind->st_mode) && major(kind->st_rdev) == 1 &&
           (minor_number == 3 || minor_number == 5 || minor_number == 7 || minor_number == 8 || minor_number == 9);
}

static bool is_of_read_only_tree(const char *path) {
    static const char *const TREES[] = {"/usr/", "/var/", "/opt/", "/lib", "/etc/"};
    for (size_t i = 0; i < sizeof TREES / sizeof TREES[0]; i++)
        if (strncmp(path, TREES[i], strlen(TREES[i])) == 0) return true;
    return false;
}

/* Later releases of libffi open their own file when ctypes is imported, keep it, and map parts of it from then on: nobody
 * reads it, so that the one position is no harm, and a copy without it could make no more callbacks. */
static bool is_libffis_own(pid_t pid, uint32_t user, int directory, const char *name, const struct stat *kind) {
    static const char FLAGS[] = "flags:\t";
    char target[512], path[64], text[256];
    if (!S_ISREG(kind->st_mode)) return false;
    look_as(user);
    ssize_t length = readlinkat(directory, name, target, sizeof target - 1);
    look_as(0);
    if (length < 0 && (length = readlinkat(directory, name, target, sizeof target - 1)) < 0) return false;
    target[length] = 0;
    const char *last = strrchr(target, '/');
    if (!last || strncmp(last, "/libffi.so", strlen("/libffi.so")) != 0 || !is_of_read_only_tree(target)) return false;
    snprintf(path, sizeof path, "fdinfo/%s", name);
    int fd = open_its(pid, user, path, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    close_fd(&fd);
    text[got > 0 ? got : 0] = 0;
    const char *flags = strstr(text, FLAGS);
    return flags && (strtoul(flags + strlen(FLAGS), NULL, 8) & O_ACCMODE) == O_RDONLY;
}

/* An open file is one for all copies: its position, and what is written. Answers how many descriptors there are. */
static int check_descriptors(pid_t pid, uint32_t user, int *count, struct failure *failure) {
    int directory = open_its(pid, user, "fd", O_RDONLY | O_DIRECTORY);
    DIR *listing = directory < 0 ? NULL : fdopendir(directory);
    unsigned standard = 0;
    int worst = -1;
    *count = 0;
    if (!listing) return fail(failure, "read its descriptors");
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        if (!isdigit((unsigned char)entry->d_name[0])) continue;
        int fd = atoi(entry->d_name);
        ++*count;
        struct stat kind;
        look_as(user);
        int seen = fstatat(directory, entry->d_name, &kind, 0);
        look_as(0);
        if (seen != 0 && (seen = fstatat(directory, entry->d_name, &kind, 0)) != 0) kind.st_mode = S_IFSOCK;
        if (fd < 4) standard |= 1u << fd;
        if (fd >= 1 && fd <= 3) continue; /* replaced in each copy */
        if (!is_harmless_device(&kind) && !is_libffis_own(pid, user, directory, entry->d_name, &kind)) worst = fd;
    }
    closedir(listing);
    if (standard != 15u) return fail_with(failure, "standard descriptors", EBADF);
    return worst < 0 ? 0 : fail_with(failure, "open files or sockets", worst);
}

/* Memory that is shared when it is written would be shared among copies. What is mapped of read-only trees is not. */
static int check_memory(pid_t pid, uint32_t user, struct failure *failure) {
    char line[4400];
    int fd = open_its(pid, user, "maps", O_RDONLY);
    FILE *maps = fd < 0 ? NULL : fdopen(fd, "r");
    if (!maps) return fail(failure, "read its memory map");
    bool shared = false;
    while (fgets(line, sizeof line, maps)) {
        char rights[5] = "";
        int name = -1;
        if (sscanf(line, "%*x-%*x %4s %*x %*s %*u %n", rights, &name) < 1 || rights[3] != 's') continue;
        if (rights[1] == 'w' || name <= 0 || !is_of_read_only_tree(line + name)) shared = true;
    }
    fclose(maps);
    return shared ? fail_with(failure, "shared memory", EBUSY) : 0;
}

static int check_tmp(pid_t pid, uint32_t user, struct failure *failure) {
    int directory = open_its(pid, user, "root/tmp", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    DIR *listing = directory < 0 ? NULL : fdopendir(directory);
    if (!listing) return fail(failure, "read its /tmp");
    bool empty = true;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) empty = false;
    closedir(listing);
    return empty ? 0 : fail_with(failure, "files in /tmp", ENOTEMPTY);
}

/* The four lines of ids all name `user`. */
static bool has_ids(const char *status, const char *word, uint32_t user) {
    const char *at = strstr(status, word);
    if (!at) return false;
    at += strlen(word);
    for (int i = 0; i < 4; i++) {
        char *next;
        if (strtoul(at, &next, 10) != user || next == at) return false;
        at = next;
    }
    return true;
}

static bool says(const char *status, const char *line) { return strstr(status, line) != NULL; }

static bool is_confined(const char *status) {
    static const char *const LINES[] = {"\nCapInh:\t0000000000000000\n", "\nCapPrm:\t0000000000000000\n",
                                        "\nCapEff:\t0000000000000000\n", "\nCapBnd:\t0000000000000000\n",
                                        "\nCapAmb:\t0000000000000000\n", "\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n",
                                        "\nThreads:\t1\n"};
    for (size_t i = 0; i < sizeof LINES / sizeof LINES[0]; i++)
        if (!says(status, LINES[i])) return false;
    return true;
}

static int check_status(pid_t pid, uint32_t user, struct failure *failure) {
    char path[64], status[4096];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    if (read_text(path, status, sizeof status) != 0) return fail(failure, "read its status");
    if (!is_confined(status) || !has_ids(status, "\nUid:", user) || !has_ids(status, "\nGid:", user))
        return fail_with(failure, "find it confined", EPERM);
    return 0;
}

/* ---- to hold ---- */

static int seize(struct template *template, struct failure *failure) {
    int status;
    pid_t pid = template->pid;
    if (ptrace(PTRACE_SEIZE, pid, NULL, SEIZED_OPTIONS) != 0) return fail(failure, "seize it");
    if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) != 0 || waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
        return fail(failure, "stop it");
    struct user_regs_struct *parked = &template->parked;
    if (registers(pid, parked) != 0) return fail(failure, "read its registers");
    /* It is on the way to, or in, the read that ends with its restoration. */
    int64_t result = (int64_t)parked->rax;
    bool in_call = (int64_t)parked->orig_rax >= 0 && result <= -RESTART_FIRST && result >= -RESTART_BLOCK;
    bool entering = false;
    for (int tries = 0; !in_call; tries++) {
        if (tries == 4096) return fail_with(failure, "find it waiting", ETIMEDOUT);
        if (resume(pid, &status) != 0) return fail(failure, "find it waiting");
        if (!is_call_stop(status)) continue;
        if (registers(pid, parked) != 0) return fail(failure, "read its registers");
        in_call = entering = parked->rax == (uint64_t)-ENOSYS && parked->orig_rax == SYS_read && parked->rdi == 3;
    }
    if (parked->orig_rax != SYS_read || parked->rdi != 3) return fail_with(failure, "find it waiting", EBUSY);
    if (parked->cs != CODE_SEGMENT) return fail_with(failure, "find 64-bit code", EINVAL);
    template->call = parked->rip - 2;
    long word = 0;
    errno = 0;
    word = ptrace(PTRACE_PEEKTEXT, pid, template->call, NULL);
    if (errno != 0 || (word & 0xffff) != SYSCALL_BYTES) return fail_with(failure, "find its system call", EINVAL);
    /* Whoever goes on from here makes the same call again. */
    parked->rip = template->call;
    parked->rax = SYS_read;
    parked->orig_rax = (uint64_t)-1;
    if (entering) {
        /* It stands before the call, which is not made: the next stop is behind it. */
        struct user_regs_struct skipped = *parked;
        skipped.rip += 2;
        if (set_registers(pid, &skipped) != 0 || resume(pid, &status) != 0 || !is_call_stop(status))
            return fail(failure, "skip its call");
    }
    return 0;
}

/* A process can have the kernel send it elsewhere when it is interrupted between two instructions (restartable sequences);
 * its memory says when and where. It does not write there any more. */
static int disarm(struct template *template, struct failure *failure) {
    struct rseq_configuration rseq = {0, 0, 0, 0, 0};
    const uint64_t none = 0;
    if (ptrace(GET_RSEQ_CONFIGURATION, template->pid, sizeof rseq, &rseq) <= 0)
        return fail(failure, "ask for restartable sequences");
    template->argument.rseq_at = rseq.pointer;
    template->argument.rseq_bytes = rseq.size;
    template->argument.rseq_signature = rseq.signature;
    if (rseq.pointer != 0 && pwrite(template->memory, &none, sizeof none, (off_t)(rseq.pointer + 8)) != (ssize_t)sizeof none)
        return fail(failure, "end restartable sequences");
    if (ptrace(PTRACE_SETOPTIONS, template->pid, NULL, HELD_OPTIONS) != 0) return fail(failure, "suspend its filter");
    return 0;
}

static int store(struct template *template, uint64_t at, const void *data, size_t size) {
    return pwrite(template->memory, data, size, (off_t)at) == (ssize_t)size ? 0 : -1;
}

static int load(struct template *template, uint64_t at, void *data, size_t size) {
    return pread(template->memory, data, size, (off_t)at) == (ssize_t)size ? 0 : -1;
}

static uint64_t argument_at(const struct template *template) { return template->place + CODE_BYTES; }

static int make_place(struct template *template, struct failure *failure) {
    int64_t at;
    const uint64_t wanted[6] = {0, PLACE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0};
    if (in_template(template, "map a place", SYS_mmap, wanted, &at, failure) != 0) return -1;
    template->place = (uint64_t)at;
    const uint64_t code[6] = {(uint64_t)at, CODE_BYTES, PROT_READ | PROT_EXEC, 0, 0, 0};
    int64_t done;
    if (in_template(template, "make it code", SYS_mprotect, code, &done, failure) != 0) return -1;
    size_t size = (size_t)(__stop_lambent_blob - __start_lambent_blob);
    return store(template, template->place, __start_lambent_blob, size) == 0 ? 0 : fail(failure, "write the code");
}

/* A socket pair made in it, of which we take one end: what it receives there comes from us. */
static int make_socket(struct template *template, struct failure *failure) {
    int64_t done;
    int pair[2];
    const uint64_t wanted[6] = {AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, argument_at(template), 0, 0};
    if (in_template(template, "make a socket", SYS_socketpair, wanted, &done, failure) != 0) return -1;
    if (load(template, argument_at(template), pair, sizeof pair) != 0) return fail(failure, "read its memory");
    int pidfd = sys_pidfd_open(template->pid);
    template->socket = pidfd < 0 ? -1 : (int)syscall(NR_PIDFD_GETFD, pidfd, pair[1], 0);
    close_fd(&pidfd);
    if (template->socket < 0) return fail(failure, "take the socket");
    template->argument.socket = pair[0];
    const uint64_t ours[6] = {(uint64_t)pair[1], 0, 0, 0, 0, 0};
    return in_template(template, "close the socket", SYS_close, ours, &done, failure);
}

/* What the kernel knows of a thread beside its registers, and a copy has to be told anew. */
static int learn_thread(struct template *template, struct failure *failure) {
    struct blob_argument *argument = &template->argument;
    int64_t done;
    int32_t tid = 0, counted;
    const uint64_t wanted[6] = {PR_TID_ADDRESS, argument_at(template), 0, 0, 0, 0};
    if (in_template(template, "find its thread id", SYS_prctl, wanted, &done, failure) != 0) return -1;
    if (load(template, argument_at(template), &argument->tid_at, sizeof argument->tid_at) != 0)
        return fail(failure, "read its memory");
    int64_t own;
    const uint64_t none[6] = {0, 0, 0, 0, 0, 0};
    if (in_template(template, "ask its thread id", SYS_gettid, none, &own, failure) != 0) return -1;
    counted = (int32_t)own;
    void *head = NULL;
    size_t length = 0;
    if (syscall(SYS_get_robust_list, template->pid, &head, &length) == 0) {
        argument->robust_at = (uint64_t)(uintptr_t)head;
        argument->robust_bytes = length;
    }
    /* glibc keeps it there, and reads it instead of asking; another library keeps a lock there. Since 2.43 glibc, too, has
     * another word there until a thread forks, and its child has the id there again, which lies before the list of robust
     * mutexes as ever: so it is in a copy. */
    if (load(template, argument->tid_at, &tid, sizeof tid) == 0 && tid == counted) return 0;
    uint64_t before = argument->robust_at - TID_BEFORE_ROBUST;
    if (argument->robust_at < TID_BEFORE_ROBUST || load(template, before, &tid, sizeof tid) != 0 || tid != counted)
        return fail_with(failure, "an unknown C library", ENOSYS);
    argument->tid_at = before;
    return 0;
}

static int hold(struct template *template, int *inconvenient, struct failure *failure) {
    const struct copier_start *start = template->start;
    int others;
    if (find(start, &template->pid, &others, failure) != 0) {
        *inconvenient = others;
        return -1;
    }
    if (seize(template, failure) != 0) return -1;
    pid_t again;
    if (find(start, &again, &others, failure) != 0 || again != template->pid) {
        if (failure->error == 0) fail_with(failure, "find it again", ESRCH);
        *inconvenient = others;
        return -1;
    }
    if (check_status(template->pid, start->user, failure) != 0) return -1;
    if (check_descriptors(template->pid, start->user, &template->descriptors, failure) != 0 ||
        check_memory(template->pid, start->user, failure) != 0 || check_tmp(template->pid, start->user, failure) != 0)
        return -1;
    template->argument.last_capability = last_capability();
    template->argument.function = FUNCTION_ID;
    template->argument.zero = '0';
    if (template->argument.last_capability < 0) return fail(failure, "read the last capability");
    template->memory = open_its(template->pid, start->user, "mem", O_RDWR);
    if (template->memory < 0) return fail(failure, "open its memory");
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/cwd", template->pid);
    ssize_t length = readlink(path, template->argument.directory, sizeof template->argument.directory - 1);
    if (length < 0 || length == (ssize_t)sizeof template->argument.directory - 1) length = 0;
    template->argument.directory[length] = 0;
    if (disarm(template, failure) != 0 || make_place(template, failure) != 0 || make_socket(template, failure) != 0 ||
        learn_thread(template, failure) != 0)
        return -1;
    template->argument.part = (struct iovec){(void *)(uintptr_t)(argument_at(template) + offsetof(struct blob_argument, byte)), 1};
    template->argument.message.msg_iov = (void *)(uintptr_t)(argument_at(template) + offsetof(struct blob_argument, part));
    template->argument.message.msg_iovlen = 1;
    template->argument.message.msg_control = (void *)(uintptr_t)(argument_at(template) + offsetof(struct blob_argument, control));
    return 0;
}

/* ---- to copy ---- */

/* Whether it stands behind a trap of our code; another SIGTRAP is no word of ours. */
static bool is_at_trap(const struct template *template, pid_t pid) {
    struct user_regs_struct now;
    uint64_t size = (uint64_t)(__stop_lambent_blob - __start_lambent_blob);
    if (registers(pid, &now) != 0 || now.rip <= template->place || now.rip > template->place + size) return false;
    return (unsigned char)__start_lambent_blob[now.rip - template->place - 1] == 0xcc;
}

/* Before it goes on: nothing but our code may be run. */
static bool is_in_place(const struct template *template, pid_t pid) {
    struct user_regs_struct now;
    uint64_t size = (uint64_t)(__stop_lambent_blob - __start_lambent_blob);
    return registers(pid, &now) == 0 && now.rip >= template->place && now.rip < template->place + size;
}

/* The template runs to the end of the code: its children are born, work and end, the copy stands at its trap. */
static int run_blob(struct template *template, pid_t *copy, struct failure *failure) {
    struct user_regs_struct now = template->parked;
    now.rip = template->place; /* the code has one function, and it comes first */
    now.rdi = argument_at(template);
    now.rsp = template->place + PLACE_BYTES - 64 - 8; /* as after a call */
    now.rax = 0;
    now.eflags = CLEAN_FLAGS;
    if (set_registers(template->pid, &now) != 0 || ptrace(PTRACE_CONT, template->pid, NULL, 0) != 0)
        return fail(failure, "run the template");
    pid_t last = 0;
    bool copied = false, template_back = false;
    *copy = 0;
    while (!template_back || (last != 0 && !copied)) {
        int status;
        pid_t who = waitpid(-1, &status, __WALL);
        if (who < 0) return fail(failure, "wait for the copy");
        if (!WIFSTOPPED(status)) {
            if (who == template->pid) return fail_with(failure, "keep the template", ESRCH);
            if (who == last) return fail_with(failure, "keep the copy", ESRCH);
            continue; /* the two in between have done their work */
        }
        int event = status >> 16, signal = WSTOPSIG(status);
        if (event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_CLONE) {
            unsigned long born = 0;
            ptrace(PTRACE_GETEVENTMSG, who, NULL, &born);
            /* News of one may come before that of its parent, but only the copy is forked. */
            if (event == PTRACE_EVENT_FORK) *copy = last = (pid_t)born;
        } else if (event == 0 && signal == SIGTRAP && is_at_trap(template, who)) {
            if (who == template->pid) {
                template_back = true;
                continue;
            }
            copied = true;
            *copy = last = who;
            continue;
        }
        bool is_fault = event == 0 && (signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE ||
                                       signal == SIGSYS);
        if (is_fault || !is_in_place(template, who)) {
            kill(who, SIGKILL);
            if (who == template->pid) return fail_with(failure, "run the template", EFAULT);
            continue;
        }
        if (ptrace(PTRACE_CONT, who, NULL, 0) != 0 && errno != ESRCH) return fail(failure, "go on");
    }
    return 0;
}

static bool is_there(pid_t pid, const char *name, int namespace) {
    char path[64];
    struct stat own, wanted;
    snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, name);
    return stat(path, &own) == 0 && fstat(namespace, &wanted) == 0 && own.st_ino == wanted.st_ino &&
           own.st_dev == wanted.st_dev;
}

static int check_copy(struct template *template, pid_t copy, uint32_t user, const int *namespaces, struct failure *failure) {
    static const char *const NAMES[COPY_NAMESPACES] = {"user", "mnt", "net", "ipc", "uts", "cgroup", "pid"};
    for (int i = 0; i < COPY_NAMESPACES; i++)
        if (!is_there(copy, NAMES[i], namespaces[i])) return fail_with(failure, "find it in its sandbox", EPERM);
    if (check_status(copy, user, failure) != 0) return -1;
    int found;
    if (check_descriptors(copy, user, &found, failure) != 0) return -1;
    return found == template->descriptors ? 0 : fail_with(failure, "count its descriptors", EBADF);
}

static int let_go(struct template *template, pid_t copy, struct failure *failure) {
    int64_t done;
    const uint64_t place[6] = {template->place, PLACE_BYTES, 0, 0, 0, 0};
    struct user_regs_struct parked = template->parked;
    if (inject(copy, template->call, &parked, SYS_munmap, place, &done) != 0) return fail(failure, "take the place back");
    if (done != 0) return fail_with(failure, "take the place back", (int)-done);
    if (set_registers(copy, &parked) != 0 || ptrace(PTRACE_DETACH, copy, NULL, 0) != 0) return fail(failure, "let it go");
    return 0;
}

static const char *step_name(int step) {
    static const char *const NAMES[] = {"", "fork the template", "receive the sandbox", "join the cgroups",
                                        "enter the sandbox", "become the function's user", "enter its processes",
                                        "drop the capabilities", "fork the copy"};
    return step > 0 && step < (int)(sizeof NAMES / sizeof NAMES[0]) ? NAMES[step] : "copy";
}

static int copy(struct template *template, const struct copier_message *order, const int *fds, size_t count, int32_t *pid,
                struct failure *failure) {
    size_t handed = COPY_NAMESPACES + order->groups + 2;
    if (count != handed + order->joins || order->groups > HIERARCHIES_MAX || order->joins > 1)
        return fail_with(failure, "count the descriptors", EINVAL);
    struct blob_argument *argument = &template->argument;
    argument->groups = order->groups;
    argument->step = argument->error = argument->pid = 0;
    argument->message.msg_controllen = (__typeof__(argument->message.msg_controllen))sizeof argument->control;
    if (store(template, argument_at(template), argument, sizeof *argument) != 0) return fail(failure, "write the order");
    if (send_message(template->socket, "", 1, fds, handed) != 0) return fail(failure, "hand over the sandbox");
    pid_t born = 0;
    int result = run_blob(template, &born, failure);
    struct blob_argument said;
    if (result == 0 && load(template, argument_at(template), &said, sizeof said) != 0) result = fail(failure, "read its memory");
    if (result == 0 && said.step != 0) result = fail_with(failure, step_name(said.step), said.error);
    if (result == 0 && (born == 0 || said.pid <= 0)) result = fail_with(failure, "find the copy", ESRCH);
    if (result == 0 && order->joins) {
        char text[16];
        int length = snprintf(text, sizeof text, "%d", born);
        if (write(fds[handed], text, (size_t)length) != length) result = fail(failure, "join the cgroup");
    }
    if (result == 0) result = check_copy(template, born, order->user, fds, failure);
    if (result == 0) result = let_go(template, born, failure);
    if (result == 0)
        *pid = said.pid;
    else if (born > 0)
        kill(born, SIGKILL);
    return result;
}

/* ---- the process ---- */

static void answer(const struct template *template, uint32_t kind, int32_t pid, const struct failure *failure) {
    struct copier_message message = {.kind = kind, .error = failure->error, .pid = pid};
    if (failure->error) snprintf(message.step, sizeof message.step, "%s", failure->step);
    if (send_message(template->start->control, &message, sizeof message, NULL, 0) != 0) _exit(0);
}

_Noreturn void copier_main(const struct copier_start *start) {
    static struct template template;
    template.start = start;
    template.memory = template.socket = -1;
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    prctl(PR_SET_NAME, "lambent-copier", 0, 0, 0);
    struct failure failure = {"", 0};
    int inconvenient = 0;
    /* The function's code may keep us waiting before it is held, and ours never should: SIGALRM ends us, and the program. */
    signal(SIGALRM, SIG_DFL);
    alarm(LONGEST_S);
    bool held = hold(&template, &inconvenient, &failure) == 0;
    alarm(0);
    answer(&template, COPIER_HELD, inconvenient, &failure);
    int ended = held ? sys_pidfd_open(template.pid) : -1;
    while (held) {
        struct pollfd waiting[2] = {{start->control, POLLIN, 0}, {ended, POLLIN, 0}};
        if (poll(waiting, 2, -1) < 0) continue;
        if (waiting[1].revents) break;
        struct copier_message order;
        int fds[COPY_FDS_MAX], pid = 0;
        size_t count;
        ssize_t got = receive_message(start->control, &order, sizeof order, fds, COPY_FDS_MAX, &count);
        if (got != (ssize_t)sizeof order || order.kind != COPIER_COPY) break;
        failure = (struct failure){"", 0};
        alarm(LONGEST_S);
        int result = copy(&template, &order, fds, count, &pid, &failure);
        alarm(0);
        for (size_t i = 0; i < count; i++) close(fds[i]);
        answer(&template, COPIER_COPIED, pid, &failure);
        if (result != 0 && kill(template.pid, 0) != 0) break;
        if (result != 0 && failure.error == EFAULT) break;
    }
    _exit(0); /* and with us, by PTRACE_O_EXITKILL, the template */
}

#endif
