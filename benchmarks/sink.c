/* An HTTP server that takes anything, counts it and answers at once: so fast that the client is what is measured.
 *
 *   cc -O2 -o sink sink.c && ./sink PORT        (127.0.0.1 only; prints "ready" when it listens)
 *
 * POST, PUT, PATCH: an upsert; DELETE, or a path that contains "delete": a removal. Every record of a body is found by
 * its "id": the number behind it is added up, by sort of request. GET /stats tells the sums, GET /reset tells and zeroes.
 * One thread, epoll, keep-alive and pipelining. Chunked bodies are refused with 411: no client here sends them.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, HEADER_MAX = 16384, BODY_MAX = 64 << 20, EVENTS_MAX = 64 };

struct tally { uint64_t requests, bytes, rows, ids; };
struct connection { char *data; size_t used, room; };

static struct connection connections[CONNECTIONS_MAX];
static struct tally upserts, removals;
static const char TAKEN[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"taken\": true}";
static const char LENGTH_REQUIRED[] = "HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

static int send_all(int socket, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t sent = send(socket, bytes, length, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) return -1;
            struct pollfd wait = {.fd = socket, .events = POLLOUT};
            if (poll(&wait, 1, 5000) <= 0) return -1;
            continue;
        }
        bytes += sent;
        length -= (size_t)sent;
    }
    return 0;
}

static void count(struct tally *tally, const char *body, size_t length) {
    const char *at = body, *end = body + length;
    tally->requests++;
    tally->bytes += length;
    while ((at = memmem(at, (size_t)(end - at), "\"id\"", 4)) != NULL) {
        uint64_t id = 0;
        at += 4;
        while (at < end && (*at == ' ' || *at == ':' || *at == '"')) at++;
        while (at < end && *at >= '0' && *at <= '9') id = id * 10 + (uint64_t)(*at++ - '0');
        tally->rows++;
        tally->ids += id;
    }
}

static int tell(int socket, int zero) {
    char body[512], answer[640];
    int length = snprintf(body, sizeof body,
        "{\"upserts\": {\"requests\": %lu, \"bytes\": %lu, \"rows\": %lu, \"ids\": %lu},"
        " \"removals\": {\"requests\": %lu, \"bytes\": %lu, \"rows\": %lu, \"ids\": %lu}}",
        upserts.requests, upserts.bytes, upserts.rows, upserts.ids,
        removals.requests, removals.bytes, removals.rows, removals.ids);
    if (zero) {
        memset(&upserts, 0, sizeof upserts);
        memset(&removals, 0, sizeof removals);
    }
    int total = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", length, body);
    return send_all(socket, answer, (size_t)total);
}

/* The first complete request of what was received: its length, 0 if it is not complete yet, -1 to hang up. */
static ssize_t answer_one(int socket, char *data, size_t used) {
    char *blank = memmem(data, used, "\r\n\r\n", 4);
    if (blank == NULL) return used > HEADER_MAX ? -1 : 0;
    size_t head = (size_t)(blank - data) + 4, body = 0;
    for (char *line = memmem(data, head, "\r\n", 2); line != NULL && line < blank; line = memmem(line, head - (size_t)(line - data), "\r\n", 2)) {
        line += 2;
        if (strncasecmp(line, "content-length:", 15) == 0) body = strtoull(line + 15, NULL, 10);
        if (strncasecmp(line, "transfer-encoding:", 18) == 0) {
            send_all(socket, LENGTH_REQUIRED, sizeof LENGTH_REQUIRED - 1);
            return -1;
        }
    }
    if (body > BODY_MAX) return -1;
    if (used < head + body) return 0;
    if (strncmp(data, "GET ", 4) == 0) {
        int zero = strncmp(data + 4, "/reset", 6) == 0;
        return tell(socket, zero) < 0 ? -1 : (ssize_t)(head + body);
    }
    char *line_end = memchr(data, '\r', head);
    int removes = strncmp(data, "DELETE ", 7) == 0 || memmem(data, (size_t)(line_end - data), "delete", 6) != NULL;
    count(removes ? &removals : &upserts, data + head, body);
    return send_all(socket, TAKEN, sizeof TAKEN - 1) < 0 ? -1 : (ssize_t)(head + body);
}

static void hang_up(int socket) {
    free(connections[socket].data);
    memset(&connections[socket], 0, sizeof connections[socket]);
    close(socket);
}

static void receive(int socket) {
    struct connection *c = &connections[socket];
    if (c->room - c->used < 65536) {
        c->room = c->room ? c->room * 2 : 131072;
        c->data = realloc(c->data, c->room);
        if (c->data == NULL) abort();
    }
    ssize_t got = recv(socket, c->data + c->used, c->room - c->used, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) { hang_up(socket); return; }
    if (got < 0) return;
    c->used += (size_t)got;
    size_t done = 0;
    while (done < c->used) {
        ssize_t length = answer_one(socket, c->data + done, c->used - done);
        if (length < 0) { hang_up(socket); return; }
        if (length == 0) break;
        done += (size_t)length;
    }
    memmove(c->data, c->data + done, c->used - done);
    c->used -= done;
}

int main(int count_of_arguments, char **arguments) {
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)(count_of_arguments > 1 ? atoi(arguments[1]) : 0));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 256)) { perror("sink"); return 1; }
    int poller = epoll_create1(0);
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS_MAX];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &wanted);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int found = epoll_wait(poller, events, EVENTS_MAX, -1);
        for (int i = 0; i < found; i++) {
            int socket = events[i].data.fd;
            if (socket != listener) { receive(socket); continue; }
            while ((socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                if (socket >= CONNECTIONS_MAX) { close(socket); continue; }
                setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                struct epoll_event more = {.events = EPOLLIN, .data.fd = socket};
                epoll_ctl(poller, EPOLL_CTL_ADD, socket, &more);
            }
        }
    }
}
