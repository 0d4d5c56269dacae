/* What fixture.c (connections, proxying) and fixture_origin.c (answers) share. */
#ifndef GYRE_TESTS_FIXTURE_H
#define GYRE_TESTS_FIXTURE_H

#include <uv.h>

#define INPUT_SIZE 16384

enum fixture_state { START, SOCKS_AUTH, SOCKS_REQUEST, CONNECTING, RELAY, ANSWERING };

struct conn {
    uv_tcp_t client, upstream;
    uv_timer_t timer;
    int handles, closing, socks, tunnel;
    enum fixture_state state;
    void (*more)(struct conn *); /* called when everything written so far is out */
    uint64_t left;               /* of a body being made, for `more` */
    size_t length;
    char input[INPUT_SIZE + 1];
};

void fixture_close(struct conn *conn);
void fixture_reset(struct conn *conn);
void fixture_send(struct conn *conn, const char *bytes, size_t length, int last);
void fixture_endless(struct conn *conn);

void fixture_respond(struct conn *conn, int status, const char *extra, const char *body, size_t length);

/* Answers what fixture_crawl.c knows; 0: it does not know the path. */
int fixture_answer_crawl(struct conn *conn, const char *path);

/* Answers as an origin; the length is that of head and body. Returns 1 when the next request on the connection may follow. */
int fixture_answer(struct conn *conn, const char *method, const char *path, size_t request_length);

#endif
