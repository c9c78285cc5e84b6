/* The warden outlives the spawner by a second: it waits for its end, however it came, and removes the cgroups.
 *
 * Everything else of a killed spawner goes by itself: sandboxes die with it (PDEATHSIG, lifeline socket), mounts with
 * their namespaces, loop devices with their last mount. Directories of cgroups do not.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spawner.h"

/* Nothing is left for it to do. */
void warden_dismiss(struct spawner *spawner) {
    groups_sweep(&spawner->groups, true);
    kill(spawner->warden, SIGKILL);
    waitpid(spawner->warden, NULL, 0);
}

int warden_start(struct spawner *spawner, struct failure *failure) {
    int parent = sys_pidfd_open(getpid());
    if (parent < 0) return fail(failure, "watch the spawner");
    pid_t child = fork();
    if (child != 0) {
        close(parent);
        spawner->warden = child;
        return child > 0 ? 0 : fail(failure, "fork the warden");
    }
    int kept[2 * HIERARCHIES_MAX + 1] = {parent};
    size_t count = 1;
    for (uint32_t i = 0; i < spawner->groups.count && count < 15; i++) {
        kept[count++] = spawner->groups.at[i].fd;
        kept[count++] = spawner->groups.at[i].above;
    }
    setsid();
    prctl(PR_SET_NAME, "lambent-warden", 0, 0, 0);
    keep_only(kept, count);
    struct pollfd ended = {parent, POLLIN, 0};
    while (poll(&ended, 1, -1) < 1) continue;
    groups_sweep(&spawner->groups, true);
    _exit(0);
}
