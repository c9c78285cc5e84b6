/* The warden outlives the spawner by a moment: it waits for its end, however it came, and removes the cgroups.
 *
 * Everything else of a killed spawner goes by itself: sandboxes die with it (PDEATHSIG, lifeline socket), mounts with
 * their namespaces, loop devices with their last mount. Directories of cgroups do not, and confined functions do not
 * either, should their keepers have been killed too. It keeps two capabilities, KILL
 * for who is still in them and DAC_OVERRIDE, because the top of a hierarchy is writable by nobody (mode 0555).
 *
 * Until it has ended the next life waits (take_turn in main.c): its groups have the same names.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confined.h"

#define KEEPERS_MS_MAX 500 /* keepers hear of the spawner's end as the warden does, and do it themselves */

static _Noreturn void wait_and_sweep(const struct spawner *spawner, int lifeline) {
    int kept[2 * HIERARCHIES_MAX + 2] = {lifeline, spawner->turn};
    size_t count = 2;
    for (uint32_t i = 0; i < spawner->groups.count && count < 15; i++) {
        kept[count++] = spawner->groups.at[i].fd;
        kept[count++] = spawner->groups.at[i].above;
    }
    setsid();
    keep_only(kept, count);
    uint64_t rights = 1ull << CAP_KILL | 1ull << CAP_DAC_OVERRIDE;
    if (spawner->config.confined) rights |= 1ull << CAP_SETUID | 1ull << CAP_SETGID | 1ull << CAP_FOWNER;
    if (sys_capset(rights) != 0) _exit(1);
    prctl(PR_SET_NAME, "lambent-warden", 0, 0, 0);
    char nothing;
    while (read(lifeline, &nothing, 1) < 0 && errno == EINTR) continue;
    groups_sweep(&spawner->groups, true);
    if (spawner->config.confined) confined_sweep(&spawner->config, KEEPERS_MS_MAX);
    _exit(0);
}

int warden_start(struct spawner *spawner, struct failure *failure) {
    int lifeline[2];
    if (pipe2(lifeline, O_CLOEXEC) != 0) return fail(failure, "make a pipe");
    spawner->warden = fork();
    if (spawner->warden < 0) return fail(failure, "fork the warden");
    if (spawner->warden == 0) {
        close(lifeline[1]);
        wait_and_sweep(spawner, lifeline[0]);
    }
    close(lifeline[0]);
    spawner->lifeline = lifeline[1];
    return 0;
}

void warden_finish(struct spawner *spawner) {
    close_fd(&spawner->lifeline);
    if (spawner->warden > 0) waitpid(spawner->warden, NULL, 0);
}
