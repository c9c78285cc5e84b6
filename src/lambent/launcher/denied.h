/* What a function may not call, per architecture; everything else is allowed.
 *
 * Reviewed up to HIGHEST_REVIEWED (Linux 6.18); higher numbers answer ENOSYS, or every new kernel would open a door.
 * Numbers are spelled out, because the headers of the building machine may be older than the running kernel.
 * Touch this and also tests/unit/sandbox/test_seccomp.py, which walks every number.
 */
#ifndef LAMBENT_DENIED_H
#define LAMBENT_DENIED_H

#include <stdint.h>

#define HIGHEST_REVIEWED 469u

struct call_table {
    const char *name;
    uint32_t audit_arch;
    uint32_t clone, clone3, socket, personality, setns;
    uint32_t has_x32;
    const uint32_t *denied; /* sorted */
    uint32_t denied_count;
};

static const uint32_t DENIED_X86_64[] = {
    101 /* ptrace */, 103 /* syslog */, 154 /* modify_ldt */, 155 /* pivot_root */, 161 /* chroot */, 163 /* acct */,
    164 /* settimeofday */, 165 /* mount */, 166 /* umount2 */, 167 /* swapon */, 168 /* swapoff */, 169 /* reboot */,
    172 /* iopl */, 173 /* ioperm */, 175 /* init_module */, 176 /* delete_module */, 179 /* quotactl */,
    227 /* clock_settime */, 246 /* kexec_load */, 248 /* add_key */, 249 /* request_key */, 250 /* keyctl */,
    272 /* unshare */, 298 /* perf_event_open */, 300 /* fanotify_init */, 303 /* name_to_handle_at */,
    304 /* open_by_handle_at */, 305 /* clock_adjtime */, 308 /* setns */, 310 /* process_vm_readv */,
    311 /* process_vm_writev */, 312 /* kcmp */, 313 /* finit_module */, 320 /* kexec_file_load */, 321 /* bpf */,
    323 /* userfaultfd */, 425 /* io_uring_setup */, 426 /* io_uring_enter */, 427 /* io_uring_register */,
    428 /* open_tree */, 429 /* move_mount */, 430 /* fsopen */, 431 /* fsconfig */, 432 /* fsmount */, 433 /* fspick */,
    438 /* pidfd_getfd */, 442 /* mount_setattr */, 443 /* quotactl_fd */, 467 /* open_tree_attr */,
};

static const uint32_t DENIED_AARCH64[] = {
    39 /* umount2 */, 40 /* mount */, 41 /* pivot_root */, 51 /* chroot */, 60 /* quotactl */, 89 /* acct */,
    97 /* unshare */, 104 /* kexec_load */, 105 /* init_module */, 106 /* delete_module */, 112 /* clock_settime */,
    116 /* syslog */, 117 /* ptrace */, 142 /* reboot */, 170 /* settimeofday */, 217 /* add_key */,
    218 /* request_key */, 219 /* keyctl */, 224 /* swapon */, 225 /* swapoff */, 241 /* perf_event_open */,
    262 /* fanotify_init */, 264 /* name_to_handle_at */, 265 /* open_by_handle_at */, 266 /* clock_adjtime */,
    268 /* setns */, 270 /* process_vm_readv */, 271 /* process_vm_writev */, 272 /* kcmp */, 273 /* finit_module */,
    280 /* bpf */, 282 /* userfaultfd */, 294 /* kexec_file_load */, 425 /* io_uring_setup */, 426 /* io_uring_enter */,
    427 /* io_uring_register */, 428 /* open_tree */, 429 /* move_mount */, 430 /* fsopen */, 431 /* fsconfig */,
    432 /* fsmount */, 433 /* fspick */, 438 /* pidfd_getfd */, 442 /* mount_setattr */, 443 /* quotactl_fd */,
    467 /* open_tree_attr */,
};

#define COUNT_OF(table) ((uint32_t)(sizeof(table) / sizeof((table)[0])))

static const struct call_table CALL_TABLES[] = {
    {"x86_64", 0xC000003Eu, 56, 435, 41, 135, 308, 1, DENIED_X86_64, COUNT_OF(DENIED_X86_64)},
    {"aarch64", 0xC00000B7u, 220, 435, 198, 92, 268, 0, DENIED_AARCH64, COUNT_OF(DENIED_AARCH64)},
};

#endif
