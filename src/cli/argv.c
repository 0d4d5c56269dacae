/*
 * argv.c: credentials on the command line. Everybody on the machine can read it in /proc, for as long as the program
 * runs; so what may be a secret is overwritten there as soon as there is a copy. That leaves a moment in which it can be
 * seen, and the shell's history: a file or stdin is the better place, and the help says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "verbs.h"

/* user:password@host, with or without a scheme: what stands before the last "@". */
static void hide_before_at(char *text)
{
    char *scheme = strstr(text, "://"), *from = scheme ? scheme + 3 : text, *at = strrchr(from, '@');
    if (at) memset(from, '*', (size_t)(at - from));
}

/* host:port:user:password: what stands behind the port. */
static void hide_behind_port(char *text)
{
    char *host = strchr(text, ':'), *end = host ? host + 1 + strspn(host + 1, "0123456789") : NULL;
    if (end && end > host + 1 && *end == ':') memset(end + 1, '*', strlen(end + 1));
}

static int is_number(const char *text)
{
    return *text && !text[strspn(text, "0123456789")];
}

/* Both the other way round. user:password:host:port: what stands before a host with a dot. host:port@user:password, of which what
 * stands before the "@" is hidden already: the rest, unless that is the host and the port. */
static void hide_swapped(char *text)
{
    char *port = strrchr(text, ':'), *at = strrchr(text, '@'), *host = text;
    if (!port || text[0] == '[' || strchr(text, '/')) return;
    if (at) {
        if (port > at && (!is_number(port + 1) || !memchr(at, '.', (size_t)(port - at)))) memset(at + 1, '*', strlen(at + 1));
        return;
    }
    for (char *c = text; c < port; c++)
        if (*c == ':') host = c;
    if (is_number(port + 1) && memchr(host, '.', (size_t)(port - host))) memset(text, '*', (size_t)(host - text));
}

/* A header that identifies somebody, as a whole argument or glued to its option: -HCookie:... */
static void hide_header(char *text)
{
    static const char *const names[] = {"authorization:", "cookie:"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *name = strcasestr(text, names[i]);
        if (name) memset(name + strlen(names[i]), '*', strlen(name + strlen(names[i])));
    }
}

char **gyre__cli_take_arguments(int argc, char **argv)
{
    char **copy = calloc((size_t)argc + 1, sizeof *copy);
    for (int i = 0; copy && i < argc; i++) {
        if (!(copy[i] = strdup(argv[i]))) return NULL;
        hide_before_at(argv[i]);
        hide_swapped(argv[i]);
        hide_behind_port(argv[i]);
        hide_header(argv[i]);
    }
    return copy;
}
