/* An open loop: requests go out when they are due, at random moments, whoever is late; latencies count from then.
 *
 *   openloop ADDRESS PORT PER_S SECONDS SEED FIRST OUT REQUEST...
 *
 * REQUEST: files with a whole HTTP request; one is drawn for each. MARK in it becomes the request's number, from FIRST on.
 * OUT gets a `struct sample` for each. A client that costs as little as this leaves the processors to what is measured.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MARK "@@@@@@@@@@@@"
#define MARK_SIZE 12
#define CONNECTIONS_MAX 2000 /* what is due when all are busy waits here, and its latency counts */
#define REQUESTS_MAX 64
#define EVENTS_MAX 256
#define DRAIN_NS 30000000000ll

struct sample {
    int64_t number, due_ns, latency_ns; /* due: from the begin; latency -1: there was no answer */
    int32_t status, size;
    char body[64];
};

struct connection {
    int fd;
    int64_t sample; /* -1: free */
    bool connecting;
    size_t got;
    char in[4096];
};

static struct connection connections[CONNECTIONS_MAX];
static struct connection *idle[CONNECTIONS_MAX];
static size_t opened, idle_count;
static struct sample *samples;
static int64_t total, next_due, waiting, running; /* samples up to `waiting` have been sent, up to `next_due` are due */
static char *requests[REQUESTS_MAX];
static size_t sizes[REQUESTS_MAX], request_count;
static struct sockaddr_in address;
static int poller;
static int64_t begin_ns, first;
static uint64_t dice;

static void fail(const char *what) {
    perror(what);
    exit(2);
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static uint64_t draw(void) {
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return dice;
}

static void open_connection(struct connection *at) {
    at->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (at->fd < 0) fail("socket");
    int on = 1;
    setsockopt(at->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    at->connecting = connect(at->fd, (struct sockaddr *)&address, sizeof address) != 0;
    if (at->connecting && errno != EINPROGRESS) fail("connect");
    struct epoll_event event = {.events = EPOLLIN | (at->connecting ? EPOLLOUT : 0), .data.ptr = at};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, at->fd, &event) != 0) fail("epoll_ctl");
}

static void ended(struct connection *at) {
    close(at->fd);
    at->fd = -1;
    at->connecting = false;
    if (at->sample >= 0) {
        samples[at->sample].latency_ns = -1;
        at->sample = -1;
        running--;
        idle[idle_count++] = at;
    } /* else it is among the idle, and is opened anew when it is taken */
}

static void transmit(struct connection *at) {
    struct sample *sample = &samples[at->sample];
    size_t which = (size_t)(sample->status);
    char text[8192];
    memcpy(text, requests[which], sizes[which]);
    char *mark = memmem(text, sizes[which], MARK, MARK_SIZE), number[MARK_SIZE + 1];
    snprintf(number, sizeof number, "%*lld", MARK_SIZE, (long long)sample->number);
    if (mark) memcpy(mark, number, MARK_SIZE);
    at->got = 0;
    if (send(at->fd, text, sizes[which], MSG_NOSIGNAL) != (ssize_t)sizes[which]) ended(at);
}

static void dispatch(struct connection *at) {
    at->sample = waiting++;
    running++;
    if (at->fd < 0) open_connection(at);
    if (!at->connecting) transmit(at);
}

static void answered(struct connection *at, const char *body, size_t size) {
    struct sample *sample = &samples[at->sample];
    sample->latency_ns = now_ns() - begin_ns - sample->due_ns;
    sample->status = atoi(at->in + 9);
    sample->size = (int32_t)size;
    memcpy(sample->body, body, size < sizeof sample->body ? size : sizeof sample->body);
    at->sample = -1;
    running--;
    idle[idle_count++] = at;
}

static void readable(struct connection *at) {
    ssize_t got = recv(at->fd, at->in + at->got, sizeof at->in - at->got - 1, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0 || at->sample < 0) {
        ended(at);
        return;
    }
    at->got += (size_t)got;
    at->in[at->got] = 0;
    char *end = strstr(at->in, "\r\n\r\n"), *length = strcasestr(at->in, "\r\ncontent-length:");
    if (!end) return;
    size_t size = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    if (at->got >= (size_t)(end + 4 - at->in) + size) answered(at, end + 4, size);
}

static void on_event(const struct epoll_event *event) {
    struct connection *at = event->data.ptr;
    if (at->fd < 0) return;
    if (at->connecting) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(at->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            ended(at);
            return;
        }
        struct epoll_event reading = {.events = EPOLLIN, .data.ptr = at};
        epoll_ctl(poller, EPOLL_CTL_MOD, at->fd, &reading);
        at->connecting = false;
        transmit(at);
    } else {
        readable(at);
    }
}

static void prepare(double per_s, double seconds) {
    int64_t room = (int64_t)(per_s * seconds * 1.2) + 1000;
    samples = calloc((size_t)room, sizeof *samples);
    if (!samples) fail("calloc");
    double due = 0;
    for (total = 0; total < room; total++) {
        due += -log((double)(draw() >> 11) * 0x1p-53 + 0x1p-54) / per_s;
        if (due >= seconds) break;
        samples[total].number = first + total;
        samples[total].due_ns = (int64_t)(due * 1e9);
        samples[total].latency_ns = -1;
        samples[total].status = (int32_t)(draw() % request_count);
    }
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) connections[i] = (struct connection){.fd = -1, .sample = -1};
}

static struct connection *take(void) {
    if (idle_count > 0) return idle[--idle_count];
    return opened < CONNECTIONS_MAX ? &connections[opened++] : NULL;
}

static void run(void) {
    begin_ns = now_ns();
    int64_t last_ns = total ? samples[total - 1].due_ns : 0;
    for (;;) {
        int64_t now = now_ns() - begin_ns;
        while (next_due < total && samples[next_due].due_ns <= now) next_due++;
        struct connection *at;
        while (waiting < next_due && (at = take()) != NULL) dispatch(at);
        if ((next_due == total && waiting == total && running == 0) || now > last_ns + DRAIN_NS) return;
        int64_t left = next_due < total ? samples[next_due].due_ns - (now_ns() - begin_ns) : 100000000;
        struct timespec pause = {left > 0 ? left / 1000000000 : 0, left > 0 ? left % 1000000000 : 0};
        struct epoll_event events[EVENTS_MAX];
        long count = syscall(SYS_epoll_pwait2, poller, events, EVENTS_MAX, &pause, NULL, 0);
        for (long i = 0; i < count; i++) on_event(&events[i]);
    }
}

int main(int count, char **words) {
    if (count < 9) return fprintf(stderr, "openloop ADDRESS PORT PER_S SECONDS SEED FIRST OUT REQUEST...\n"), 2;
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)atoi(words[2]));
    if (inet_pton(AF_INET, words[1], &address.sin_addr) != 1) fail("inet_pton");
    dice = strtoull(words[5], NULL, 10) * 2654435769u + 88172645463325252ull;
    first = atoll(words[6]);
    for (int i = 8; i < count && request_count < REQUESTS_MAX; i++) {
        FILE *file = fopen(words[i], "rb");
        requests[request_count] = calloc(1, 8192);
        if (!file || !requests[request_count]) fail(words[i]);
        sizes[request_count] = fread(requests[request_count], 1, 8192, file);
        fclose(file);
        request_count++;
    }
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0) fail("epoll_create1");
    prepare(atof(words[3]), atof(words[4]));
    run();
    FILE *out = fopen(words[7], "wb");
    if (!out || fwrite(samples, sizeof *samples, (size_t)total, out) != (size_t)total || fclose(out) != 0) fail(words[7]);
    return 0;
}
