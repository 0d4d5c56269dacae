/*
 * What the fixture's origin has for crawls.
 *
 *   /graph/N/I      page I of a site of N small pages, each linked to a few others; all can be reached from page 1
 *   /patient/N/X    N pages a second: who asks for more gets 429 with Retry-After: 1, and who does not wait so long again
 *   /patient        how that went: "served S refused R early E"; early: asked in the second after a 429
 *   /robots.txt     $FIXTURE_ROBOTS, 404 when it is not set, and its number alone when that is what it is
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t window, pause_end;
static unsigned in_window, served, refused, early;

static void answer_graph(struct conn *conn, const char *rest)
{
    unsigned long count = 0, page = 0;
    char body[1024];
    int used;

    if (sscanf(rest, "%lu/%lu", &count, &page) != 2 || page < 1 || page > count) {
        fixture_respond(conn, 404, "", "", 0);
        return;
    }
    used = snprintf(body, sizeof body, "<html><head><title>Page %lu</title></head><body><p>A page of a large site.</p>", page);
    unsigned long next[] = {2 * page, 2 * page + 1, page / 2, page * 7919 % count + 1, page * 104729 % count + 1};
    for (size_t i = 0; i < sizeof next / sizeof *next; i++)
        if (next[i] >= 1 && next[i] <= count)
            used += snprintf(body + used, sizeof body - (size_t)used, "<a href=\"/graph/%lu/%lu\">%lu</a>\n", count, next[i], next[i]);
    used += snprintf(body + used, sizeof body - (size_t)used, "</body></html>\n");
    fixture_respond(conn, 200, "", body, (size_t)used);
}

static void answer_patient(struct conn *conn, const char *rest)
{
    uint64_t now = uv_now(conn->client.loop);
    unsigned limit = (unsigned)strtoul(rest, NULL, 10);

    if (now < pause_end) early++;
    if (now - window >= 1000) {
        window = now;
        in_window = 0;
    }
    if (now < pause_end || in_window >= limit) {
        refused++;
        pause_end = now + 1000;
        fixture_respond(conn, 429, "Retry-After: 1\r\n", "", 0);
    } else {
        in_window++;
        served++;
        fixture_respond(conn, 200, "", "patience\n", 9);
    }
}

static void report_patience(struct conn *conn)
{
    char text[128];
    int used = snprintf(text, sizeof text, "served %u refused %u early %u\n", served, refused, early);
    fixture_respond(conn, 200, "", text, (size_t)used);
}

static void answer_robots(struct conn *conn)
{
    const char *text = getenv("FIXTURE_ROBOTS");
    int status = text ? atoi(text) : 404;
    if (status > 0) fixture_respond(conn, status, "", "", 0);
    else fixture_respond(conn, 200, "", text, strlen(text));
}

int fixture_answer_crawl(struct conn *conn, const char *path)
{
    if (strncmp(path, "/graph/", 7) == 0) answer_graph(conn, path + 7);
    else if (strncmp(path, "/patient/", 9) == 0) answer_patient(conn, path + 9);
    else if (strcmp(path, "/patient") == 0) report_patience(conn);
    else if (strcmp(path, "/robots.txt") == 0) answer_robots(conn);
    else return 0;
    return 1;
}
