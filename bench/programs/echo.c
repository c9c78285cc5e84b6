/* A native function: asks the Runtime API for an event and answers it with itself, over one connection, until it ends. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static char in[1 << 16], out[1 << 16];

static const char *header(const char *name) {
    const char *at = strcasestr(in, name);
    return at == NULL ? NULL : at + strlen(name);
}

/* Reads one answer whole; answers where its body begins, and how long that is. */
static char *answer(int api, size_t *length) {
    size_t have = 0;
    for (;;) {
        ssize_t more = read(api, in + have, sizeof in - 1 - have);
        if (more <= 0)
            exit(0);
        have += (size_t)more;
        in[have] = 0;
        char *body = strstr(in, "\r\n\r\n");
        if (body == NULL)
            continue;
        const char *told = header("\r\ncontent-length:");
        *length = told == NULL || told > body ? 0 : strtoul(told, NULL, 10);
        body += 4;
        if (have - (size_t)(body - in) >= *length)
            return body;
    }
}

static void ask(int api, const char *text, size_t size) {
    if (write(api, text, size) != (ssize_t)size)
        exit(1);
}

int main(void) {
    char *place = getenv("AWS_LAMBDA_RUNTIME_API"), *colon = place == NULL ? NULL : strchr(place, ':');
    if (colon == NULL)
        return 2;
    *colon = 0;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(colon + 1))};
    inet_pton(AF_INET, place, &to.sin_addr);
    int api = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(api, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(api, (struct sockaddr *)&to, sizeof to) < 0)
        return 3;
    static const char next[] = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: api\r\n\r\n";
    for (;;) {
        size_t length, ignored;
        ask(api, next, sizeof next - 1);
        char *body = answer(api, &length);
        const char *id = header("\r\nlambda-runtime-aws-request-id: ");
        if (id == NULL)
            return 4;
        int head = snprintf(out, sizeof out,
                            "POST /2018-06-01/runtime/invocation/%.36s/response HTTP/1.1\r\nHost: api\r\n"
                            "Content-Length: %zu\r\n\r\n",
                            id, length);
        if (head + length > sizeof out)
            return 5;
        memcpy(out + head, body, length);
        ask(api, out, (size_t)head + length);
        answer(api, &ignored);
    }
}
